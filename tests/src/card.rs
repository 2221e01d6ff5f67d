//! A simulated memory card: sectors, a barrier, power cuts and faults.
//!
//! What was written before a flush is durable after it. At a power cut the card
//! holds what was durable and any subset of the sectors written since, the last
//! one possibly torn: some of its bytes are new, the others old.

use std::cell::RefCell;
use std::rc::Rc;

use embedded_io::{Error, ErrorKind, ErrorType, Read, Seek, SeekFrom, Write};

use crate::random::Random;

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// When and how the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// At which write of a sector, counted from 0.
    pub write: u64,
    /// How.
    pub kind: CutKind,
}

/// What becomes of the write at which the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutKind {
    /// Nothing of it is written.
    Before,
    /// All of it is.
    After,
    /// Its first bytes are.
    TornHead,
    /// Its last bytes are.
    TornTail,
}

impl CutKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Before, Self::After, Self::TornHead, Self::TornTail];
}

/// Which of the sectors that were not yet flushed survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// All of them.
    All,
    /// None but the one at which the power failed.
    Last,
    /// None at all.
    Nothing,
    /// Half of them, by chance.
    Some(u64),
}

/// The card failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the simulated card failed")
    }
}

impl core::error::Error for Broken {}

impl Error for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

#[derive(Default)]
struct State {
    /// What is durable.
    durable: Vec<u8>,
    /// What is read.
    cache: Vec<u8>,
    /// Sectors written since the last flush, oldest first.
    pending: Vec<(usize, Vec<u8>)>,
    writes: u64,
    flushes: u64,
    reads: u64,
    cut: Option<Cut>,
    /// The power is off.
    off: bool,
    /// Sectors that cannot be read.
    unreadable: Vec<u32>,
    /// Sectors that cannot be written.
    unwritable: Vec<u32>,
    /// The flush with this number fails.
    bad_flush: Option<u64>,
    /// Flushes do nothing: what a store without barriers would do.
    careless: bool,
}

/// A card. Clones are the same card; each has a position of its own.
#[derive(Clone)]
pub struct Card {
    state: Rc<RefCell<State>>,
    at: u64,
}

impl Card {
    /// A card of so many sectors, all zeros.
    #[must_use]
    pub fn new(sectors: usize) -> Self {
        Self::of(vec![0; sectors * SECTOR])
    }

    /// A card that holds these bytes.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        let state = State { cache: bytes.clone(), durable: bytes, ..State::default() };
        Self { state: Rc::new(RefCell::new(state)), at: 0 }
    }

    /// The power will fail then.
    pub fn cut_at(&self, cut: Cut) {
        self.state.borrow_mut().cut = Some(cut);
    }

    /// Flushes are acknowledged and do nothing.
    pub fn be_careless(&self) {
        self.state.borrow_mut().careless = true;
    }

    /// A sector cannot be read any more.
    pub fn spoil_reading(&self, sector: u32) {
        self.state.borrow_mut().unreadable.push(sector);
    }

    /// A sector cannot be written any more.
    pub fn spoil_writing(&self, sector: u32) {
        self.state.borrow_mut().unwritable.push(sector);
    }

    /// The flush with this number, counted from 0, will fail.
    pub fn spoil_flush(&self, number: u64) {
        self.state.borrow_mut().bad_flush = Some(number);
    }

    /// Whether the power has failed.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state.borrow().off
    }

    /// Sectors written, flushes, and sectors read so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let state = self.state.borrow();
        (state.writes, state.flushes, state.reads)
    }

    /// What is read from it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.state.borrow().cache.clone()
    }

    /// Changes a byte, as time does.
    pub fn rot(&self, at: usize) {
        let mut state = self.state.borrow_mut();
        state.cache[at] ^= 0x40;
        state.durable[at] ^= 0x40;
    }

    /// The card when the power comes back.
    #[must_use]
    pub fn reboot(&self, survivors: Survivors) -> Self {
        let state = self.state.borrow();
        let mut bytes = state.durable.clone();
        let mut random = match survivors {
            Survivors::Some(seed) => Some(Random::new(seed)),
            Survivors::All | Survivors::Last | Survivors::Nothing => None,
        };
        let last = state.pending.len().saturating_sub(1);
        for (n, (at, sector)) in state.pending.iter().enumerate() {
            let survives = match &mut random {
                Some(random) => n == last || random.chance(0.5),
                None if n == last => survivors != Survivors::Nothing,
                None => survivors == Survivors::All,
            };
            if survives {
                bytes[*at..*at + SECTOR].copy_from_slice(sector);
            }
        }
        Self::of(bytes)
    }
}

/// A store as a newer version would make it, by its number and nothing else.
#[must_use]
pub fn newer(mut store: Vec<u8>, version: u8) -> Vec<u8> {
    // Both superblocks (core/STORE.md): the version, and the check at the end.
    for start in [0, 8 * SECTOR] {
        store[start + 8] = version;
        let check = crc(&store[start..start + 508]);
        store[start + 508..start + 512].copy_from_slice(&check.to_le_bytes());
    }
    store
}

/// CRC-32 by its definition, bit by bit.
#[must_use]
pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

impl ErrorType for Card {
    type Error = Broken;
}

impl Read for Card {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Broken> {
        let mut state = self.state.borrow_mut();
        let at = self.at as usize;
        assert!(at.is_multiple_of(SECTOR) && into.len().is_multiple_of(SECTOR), "whole sectors");
        let sectors = at / SECTOR..(at + into.len()) / SECTOR;
        state.reads += sectors.len() as u64;
        if state.off || state.unreadable.iter().any(|bad| sectors.contains(&(*bad as usize))) {
            return Err(Broken);
        }
        into.copy_from_slice(&state.cache[at..at + into.len()]);
        self.at += into.len() as u64;
        Ok(into.len())
    }
}

impl Write for Card {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut state = self.state.borrow_mut();
        let at = self.at as usize;
        assert!(at.is_multiple_of(SECTOR) && bytes.len().is_multiple_of(SECTOR), "whole sectors");
        for (n, sector) in bytes.chunks(SECTOR).enumerate() {
            state.write(at + n * SECTOR, sector)?;
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Broken> {
        let mut state = self.state.borrow_mut();
        if state.off {
            return Err(Broken);
        }
        let number = state.flushes;
        state.flushes += 1;
        if state.bad_flush == Some(number) {
            // What it would have made durable is in the cache for now, and nowhere else.
            state.pending.clear();
            return Err(Broken);
        }
        if !state.careless {
            let pending = std::mem::take(&mut state.pending);
            for (at, sector) in pending {
                state.durable[at..at + SECTOR].copy_from_slice(&sector);
            }
        }
        Ok(())
    }
}

impl Seek for Card {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, Broken> {
        let state = self.state.borrow();
        if state.off {
            return Err(Broken);
        }
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(back) => state.cache.len() as u64 - back.unsigned_abs(),
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

impl State {
    /// Writes one sector.
    fn write(&mut self, at: usize, sector: &[u8]) -> Result<(), Broken> {
        if self.off || self.unwritable.contains(&((at / SECTOR) as u32)) {
            return Err(Broken);
        }
        let cut = self.cut.filter(|cut| cut.write == self.writes);
        self.writes += 1;
        let mut new = sector.to_vec();
        let old = &self.cache[at..at + SECTOR];
        match cut.map(|cut| cut.kind) {
            None | Some(CutKind::After) => {}
            Some(CutKind::Before) => new.copy_from_slice(old),
            // A third, so that it ends within what is told of a chunk.
            Some(CutKind::TornHead) => new[SECTOR / 3..].copy_from_slice(&old[SECTOR / 3..]),
            Some(CutKind::TornTail) => new[..SECTOR / 3].copy_from_slice(&old[..SECTOR / 3]),
        }
        self.cache[at..at + SECTOR].copy_from_slice(&new);
        self.pending.push((at, new));
        self.off = cut.is_some();
        if self.off { Err(Broken) } else { Ok(()) }
    }
}
