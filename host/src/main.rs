//! The fleetcast command.

fn main() {}
