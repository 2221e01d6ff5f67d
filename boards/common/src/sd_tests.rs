//! The driver against a model of a card, written from the specification and from what
//! QEMU's card was seen to answer.

use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use super::*;

/// A card.
struct Model {
    bytes: Vec<u8>,
    high: bool,
    /// Like QEMU's: CMD58 says "idle" after initialisation.
    still_idle: bool,
    /// Initialisation is over after so many tries.
    starts: u32,
    selected: bool,
    command: Vec<u8>,
    answers: VecDeque<u8>,
    /// Where the block that comes goes to.
    writing: Option<(usize, Vec<u8>)>,
    /// More blocks may follow, up to the token that stops them.
    several: bool,
    /// Commands to write.
    writes: usize,
    /// This sector cannot be written.
    bad: Option<usize>,
}

impl Model {
    fn new(sectors: usize, high: bool) -> Self {
        Self {
            bytes: vec![0; sectors * 512],
            high,
            still_idle: false,
            starts: 3,
            selected: false,
            command: Vec::new(),
            answers: VecDeque::new(),
            writing: None,
            several: false,
            writes: 0,
            bad: None,
        }
    }

    fn execute(&mut self) {
        let command = core::mem::take(&mut self.command);
        let argument = u32::from_be_bytes(command[1..5].try_into().unwrap());
        let unit = if self.high { 512 } else { 1 };
        let place = argument as usize * unit;
        let idle = u8::from(self.starts > 0);
        // A byte of delay before each answer.
        self.answers.push_back(0xFF);
        match command[0] & 0x3F {
            0 => {
                // The check counts here (CMD0: 0x95).
                assert_eq!(command[5], 0x95);
                self.answers.push_back(1);
            }
            8 => {
                assert_eq!(command[5], 0x87);
                self.answers.extend([1, 0, 0, 1, 0xAA]);
            }
            55 => self.answers.push_back(idle),
            41 => {
                self.starts = self.starts.saturating_sub(1);
                self.answers.push_back(u8::from(self.starts > 0));
            }
            58 => {
                let capacity = if self.high { 0xC0 } else { 0x80 };
                let r1 = if self.still_idle { 1 } else { idle };
                self.answers.extend([r1, capacity, 0xFF, 0xFF, 0]);
            }
            16 => self.answers.push_back(0),
            9 => {
                let csd = self.csd();
                self.answers.extend([0, 0xFF, 0xFE]);
                self.answers.extend(csd);
                self.answers.extend([0, 0]);
            }
            17 => {
                self.answers.extend([0, 0xFF, 0xFF, 0xFE]);
                self.answers.extend(&self.bytes[place..place + 512]);
                self.answers.extend([0, 0]);
            }
            command @ (24 | 25) => {
                self.answers.push_back(0);
                self.writing = Some((place, Vec::new()));
                self.several = command == 25;
                self.writes += 1;
            }
            12 => {
                assert!(self.several, "there is nothing to stop");
                self.several = false;
                // A stuff byte, then the answer, then busy.
                self.answers.extend([0xFF, 0, 0, 0]);
            }
            other => panic!("CMD{other}"),
        }
    }

    /// By the tables of chapter 5.3.
    fn csd(&self) -> [u8; 16] {
        let sectors = self.bytes.len() / 512;
        let mut csd = [0; 16];
        if self.high {
            csd[0] = 0x40;
            csd[7..10].copy_from_slice(&(sectors as u32 / 1_024 - 1).to_be_bytes()[1..]);
        } else {
            // READ_BL_LEN 9, C_SIZE_MULT 0: four blocks of 512 bytes each.
            let size = sectors / 4 - 1;
            csd[5] = 9;
            csd[6] = (size >> 10) as u8;
            csd[7] = (size >> 2) as u8;
            csd[8] = (size << 6) as u8;
        }
        csd
    }
}

impl Spi for &mut Model {
    fn select(&mut self, selected: bool) {
        self.selected = selected;
        if !selected {
            self.command.clear();
            self.answers.clear();
            assert!(self.writing.is_none(), "let go in the middle of a block");
            assert!(!self.several, "let go where a block was expected");
        }
    }

    fn transfer(&mut self, byte: u8) -> u8 {
        if !self.selected {
            return 0xFF;
        }
        if let Some(answer) = self.answers.pop_front() {
            return answer;
        }
        if let Some((place, block)) = &mut self.writing {
            if block.is_empty() && self.several && byte == 0xFD {
                (self.writing, self.several) = (None, false);
                self.answers.extend([0xFF, 0, 0]);
                return 0xFF;
            }
            if !block.is_empty() || byte == if self.several { 0xFC } else { 0xFE } {
                block.push(byte);
            }
            if block.len() == 1 + 512 + 2 {
                let good = self.bad != Some(*place / 512);
                if good {
                    self.bytes[*place..*place + 512].copy_from_slice(&block[1..513]);
                }
                let next = *place + 512;
                self.writing = (self.several && good).then_some((next, Vec::new()));
                // The answer, and a while of being busy.
                self.answers.extend([if good { 0xE5 } else { 0xED }, 0, 0, 0]);
            }
            return 0xFF;
        }
        if !self.command.is_empty() || byte & 0xC0 == 0x40 {
            self.command.push(byte);
        }
        if self.command.len() == 6 {
            self.execute();
        }
        0xFF
    }

    fn speed_up(&mut self) {}
}

#[test]
fn sectors_come_back_from_cards_of_both_kinds_and_from_qemus() {
    for (high, still_idle) in [(false, false), (true, false), (false, true)] {
        let mut model = Model::new(4_096, high);
        model.still_idle = still_idle;
        let mut card = SdCard::new(&mut model).unwrap();
        assert_eq!(card.sectors(), 4_096);
        assert_eq!(card.seek(SeekFrom::End(0)), Ok(4_096 * 512));
        for sector in [0, 7, 4_095_u64] {
            card.seek(SeekFrom::Start(sector * 512)).unwrap();
            card.write_all(&[(sector as u8).wrapping_add(1); 512]).unwrap();
        }
        card.seek(SeekFrom::Start(7 * 512)).unwrap();
        let mut read = [0; 1_024];
        card.read_exact(&mut read).unwrap();
        assert_eq!(read[..512], [8; 512]);
        assert_eq!(read[512..], [0; 512]);
        assert_eq!(model.bytes[4_095 * 512..], [0; 512]);
    }
}

#[test]
fn what_is_no_whole_sector_or_behind_the_end_is_refused() {
    let mut model = Model::new(1_024, true);
    let mut card = SdCard::new(&mut model).unwrap();
    assert_eq!(card.read(&mut [0; 100]), Err(ErrorKind::InvalidInput));
    card.seek(SeekFrom::Start(100)).unwrap();
    assert_eq!(card.write(&[0; 512]), Err(ErrorKind::InvalidInput));
    card.seek(SeekFrom::Start(1_024 * 512)).unwrap();
    assert_eq!(card.read(&mut [0; 512]), Ok(0));
    assert_eq!(card.write(&[0; 512]), Err(ErrorKind::InvalidInput));
    // All of it or nothing.
    card.seek(SeekFrom::Start(1_023 * 512)).unwrap();
    assert_eq!(card.write(&[9; 1_024]), Err(ErrorKind::InvalidInput));
    assert_eq!(model.bytes[1_023 * 512..], [0; 512]);
}

#[test]
fn several_sectors_are_written_by_one_command_and_lie_where_they_belong() {
    for high in [false, true] {
        let mut model = Model::new(1_024, high);
        let bytes: Vec<u8> = (0..7 * 512_u32).map(|n| (n % 251) as u8).collect();
        let mut card = SdCard::new(&mut model).unwrap();
        card.seek(SeekFrom::Start(1_017 * 512)).unwrap();
        card.write_all(&bytes).unwrap();
        assert_eq!(card.seek(SeekFrom::Current(0)), Ok(1_024 * 512));
        assert_eq!(model.writes, 1);
        assert_eq!(model.bytes[1_017 * 512..], bytes);
        assert!(model.bytes[..1_017 * 512].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_bad_sector_among_several_is_an_error_and_the_card_goes_on() {
    let mut model = Model::new(1_024, false);
    model.bad = Some(5);
    let mut card = SdCard::new(&mut model).unwrap();
    card.seek(SeekFrom::Start(4 * 512)).unwrap();
    assert_eq!(card.write(&[1; 4 * 512]), Err(ErrorKind::Other));
    card.seek(SeekFrom::Start(8 * 512)).unwrap();
    assert_eq!(card.write_all(&[2; 2 * 512]), Ok(()));
    assert_eq!(model.bytes[4 * 512..10 * 512].as_chunks::<512>().0[0], [1; 512]);
    assert_eq!(model.bytes[8 * 512..10 * 512], [2; 1_024]);
}

#[test]
fn a_sector_that_cannot_be_written_is_an_error_and_the_card_goes_on() {
    let mut model = Model::new(1_024, false);
    model.bad = Some(3);
    let mut card = SdCard::new(&mut model).unwrap();
    card.seek(SeekFrom::Start(3 * 512)).unwrap();
    assert_eq!(card.write(&[1; 512]), Err(ErrorKind::Other));
    card.seek(SeekFrom::Start(4 * 512)).unwrap();
    assert_eq!(card.write(&[1; 512]), Ok(512));
}

#[test]
fn no_card_and_one_that_never_gets_ready_are_told_apart() {
    struct Nothing;
    impl Spi for Nothing {
        fn select(&mut self, _selected: bool) {}
        fn transfer(&mut self, _byte: u8) -> u8 {
            0xFF
        }
        fn speed_up(&mut self) {}
    }
    assert_eq!(SdCard::new(Nothing).err(), Some(ErrorKind::NotFound));
    let mut model = Model::new(1_024, false);
    model.starts = u32::MAX;
    assert_eq!(SdCard::new(&mut model).err(), Some(ErrorKind::TimedOut));
}

#[test]
fn the_check_of_a_command_is_that_of_the_specification() {
    // Chapter 4.5 gives these three.
    assert_eq!(crc7(&[0x40, 0, 0, 0, 0]), 0x4A << 1 | 1);
    assert_eq!(crc7(&[0x51, 0, 0, 0, 0]), 0x2A << 1 | 1);
    assert_eq!(crc7(&[0x11, 0, 0, 0x09, 0]), 0x33 << 1 | 1);
}
