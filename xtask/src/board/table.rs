//! The boards that there is firmware for.

use std::path::PathBuf;

use crate::shell;

/// A board that there is firmware for.
#[derive(Debug)]
pub(super) struct Board {
    /// Its name, which is that of its package.
    pub(super) name: &'static str,
    /// What QEMU calls it.
    pub(super) machine: &'static str,
    /// What probe-rs calls its chip.
    pub(super) chip: &'static str,
    /// First address and bytes of its RAM.
    pub(super) ram: (u64, u64),
    /// Most bytes of flash and of RAM that its firmware may take.
    pub(super) budget: (u64, u64),
}

const BOARDS: [Board; 1] = [Board {
    name: "lm3s6965evb",
    machine: "lm3s6965evb",
    chip: "LM3S6965",
    ram: (0x2000_0000, 64 * 1_024),
    budget: (224 * 1_024, 48 * 1_024),
}];

/// The board of that name.
///
/// # Errors
/// What boards there are.
pub(super) fn find(name: &str) -> Result<&'static Board, String> {
    let known = || BOARDS.iter().map(|board| board.name).collect::<Vec<_>>().join(", ");
    let found = BOARDS.iter().find(|board| board.name == name);
    found.ok_or_else(|| format!("no board {name}; there is {}", known()))
}

/// Where the deepest stack of the last run is noted.
pub(super) fn note(board: &Board) -> PathBuf {
    shell::root().join(format!("target/bare-metal/{}.stack", board.name))
}
