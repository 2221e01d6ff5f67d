//! The Stellaris Ethernet controller (LM3S6965 data sheet, chapter 15).
//!
//! A received frame stands in the FIFO as its length (with two bytes of length and four
//! of check) in 16 bits, the frame, the check, all packed into words; the interrupt takes
//! it ([`receiving`]). A frame to be sent is written as the length of what follows its 14
//! bytes of header, then the frame.

use fleetcast_board::filter::{ANSWER, Listening};
use fleetcast_board::net::{FRAME, Nic};
use fleetcast_board::queue::words_of;
use fleetcast_board::settings::MAX_FILE;
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use crate::chip;
use crate::receiving;
use crate::registers::Peripheral;

const STATUS: u16 = 0x00;
const INTERRUPTS: u16 = 0x04;
const RECEIVE_CONTROL: u16 = 0x08;
const TRANSMIT_CONTROL: u16 = 0x0C;
const DATA: u16 = 0x10;
const ADDRESS_0: u16 = 0x14;
const ADDRESS_1: u16 = 0x18;
const TRANSMIT: u16 = 0x38;
const HEADER: usize = 14;

const _: () = assert!(MAX_FILE <= FRAME);

/// Room for the frame that is looked at, or made: the two are never there at once, but for
/// an answer, which is short.
pub(crate) struct Frames {
    frame: [u8; words_of(FRAME) * 4],
    answer: [u8; ANSWER],
}

impl Frames {
    /// Empty room.
    pub(crate) const fn new() -> Self {
        Self { frame: [0; words_of(FRAME) * 4], answer: [0; ANSWER] }
    }

    /// Room for a file that is read before the first frame comes.
    pub(crate) fn room_for_file(&mut self) -> &mut [u8] {
        &mut self.frame[..MAX_FILE]
    }
}

/// The controller.
pub(crate) struct Ethernet<'f> {
    frames: &'f mut Frames,
}

impl<'f> Ethernet<'f> {
    /// Sets it up.
    pub(crate) fn start(mac: [u8; 6], frames: &'f mut Frames) -> Self {
        // PF2 and PF3 show link and traffic.
        Peripheral::GpioF.modify(0x420, 0, 0x0C);
        Peripheral::GpioF.modify(0x51C, 0, 0x0C);
        let controller = Peripheral::Ethernet;
        controller.write(ADDRESS_0, u32::from_le_bytes([mac[0], mac[1], mac[2], mac[3]]));
        controller.write(ADDRESS_1, u32::from_le_bytes([mac[4], mac[5], 0, 0]));
        // Frames with a good check, multicast too; full duplex, padding and check.
        controller.write(RECEIVE_CONTROL, 1 << 4 | 1 << 3 | 1 << 1);
        controller.write(TRANSMIT_CONTROL, 1 << 4 | 1 << 2 | 1 << 1);
        controller.write(STATUS, 0x7F);
        // Of all that can be told by an interrupt, that a frame has come.
        controller.write(INTERRUPTS, 1);
        chip::enable_ethernet();
        controller.modify(RECEIVE_CONTROL, 0, 1);
        controller.modify(TRANSMIT_CONTROL, 0, 1);
        Self { frames }
    }
}

impl Nic for Ethernet<'_> {
    fn listen(&mut self, listening: &Listening) {
        receiving::listen(listening);
    }
}

impl Device for Ethernet<'_> {
    type RxToken<'a>
        = RxToken<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = TxToken<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        let Frames { frame, answer } = &mut *self.frames;
        let len = receiving::next(frame)?;
        Some((RxToken(frame.get(2..)?.get(..len)?), TxToken(answer)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<TxToken<'_>> {
        let busy = Peripheral::Ethernet.read(TRANSMIT) & 1 != 0;
        (!busy).then_some(TxToken(&mut self.frames.frame))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = FRAME;
        capabilities.medium = Medium::Ethernet;
        capabilities
    }
}

/// A frame that came.
pub(crate) struct RxToken<'f>(&'f [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

/// Room for a frame to be sent.
pub(crate) struct TxToken<'f>(&'f mut [u8]);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        // The stack keeps to our largest frame, and answers what passes the filter with
        // none but the shortest; it would fill none of another one.
        let frame = self.0.split_at_mut_checked(len).map_or(&mut [][..], |(frame, _)| frame);
        let result = fill(frame);
        send(frame);
        result
    }
}

fn send(frame: &[u8]) {
    let controller = Peripheral::Ethernet;
    // A frame takes 0.13 ms at most.
    for _ in 0..100_000 {
        if controller.read(TRANSMIT) & 1 == 0 {
            break;
        }
    }
    let [low, high] = (frame.len().saturating_sub(HEADER) as u16).to_le_bytes();
    let Some((&[first, second], rest)) = frame.split_first_chunk::<2>() else { return };
    controller.write(DATA, u32::from_le_bytes([low, high, first, second]));
    let (words, last) = rest.as_chunks::<4>();
    words.iter().for_each(|word| controller.write(DATA, u32::from_le_bytes(*word)));
    if !last.is_empty() {
        let mut word = [0; 4];
        word.iter_mut().zip(last).for_each(|(place, &byte)| *place = byte);
        controller.write(DATA, u32::from_le_bytes(word));
    }
    controller.write(TRANSMIT, 1);
}
