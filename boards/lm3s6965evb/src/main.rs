//! The fleetcast receiver for the Stellaris LM3S6965 evaluation board: a Cortex-M3 with
//! 256 KiB of flash and 64 KiB of RAM, Ethernet and an SD card.
//!
//! Everything that is not this board is in `fleetcast-board`. For the host this crate is
//! an empty program, so that the workspace builds as a whole; `cargo xtask build
//! lm3s6965evb` makes the firmware.

#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(target_os = "none")]
mod registers;

#[cfg(target_os = "none")]
mod chip;
#[cfg(target_os = "none")]
mod spi;
#[cfg(target_os = "none")]
mod stack;
#[cfg(target_os = "none")]
mod uart;
#[cfg(target_os = "none")]
mod work;

#[cfg(target_os = "none")]
mod receiving;

#[cfg(target_os = "none")]
mod ethernet;

#[cfg(target_os = "none")]
mod log;

#[cfg(target_os = "none")]
mod firmware;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is firmware; help: cargo xtask build lm3s6965evb");
}
