//! The Stellaris Ethernet controller (LM3S6965 data sheet, chapter 15).
//!
//! A received frame stands in the FIFO as its length (with two bytes of length and four
//! of check) in 16 bits, the frame, the check, all packed into words. A frame to be sent
//! is written as the length of what follows its 14 bytes of header, then the frame.

use fleetcast_board::net::{FRAME, Nic};
use fleetcast_board::settings::MAX_FILE;
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use crate::registers::Peripheral;
use crate::work;

const STATUS: u16 = 0x00;
const RECEIVE_CONTROL: u16 = 0x08;
const TRANSMIT_CONTROL: u16 = 0x0C;
const DATA: u16 = 0x10;
const ADDRESS_0: u16 = 0x14;
const ADDRESS_1: u16 = 0x18;
const PACKETS: u16 = 0x34;
const TRANSMIT: u16 = 0x38;
/// Length and check of a received frame.
const EXTRA: usize = 6;
const HEADER: usize = 14;

const _: () = assert!(MAX_FILE <= FRAME);

/// Room for a received frame: two bytes come in the word of its length, then whole words.
const ROOM: usize = 2 + (FRAME - 2).next_multiple_of(4);

/// Room for one frame in each direction.
pub(crate) struct Frames {
    received: [u8; ROOM],
    sent: [u8; FRAME],
}

impl Frames {
    /// Empty room.
    pub(crate) const fn new() -> Self {
        Self { received: [0; ROOM], sent: [0; FRAME] }
    }

    /// Room for a file that is read before the first frame comes.
    pub(crate) fn room_for_file(&mut self) -> &mut [u8] {
        &mut self.received[..MAX_FILE]
    }
}

/// The controller.
pub(crate) struct Ethernet<'f> {
    frames: &'f mut Frames,
    mac: [u8; 6],
    group: Option<[u8; 6]>,
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
        controller.modify(RECEIVE_CONTROL, 0, 1);
        controller.modify(TRANSMIT_CONTROL, 0, 1);
        Self { frames, mac, group: None }
    }

    /// Reads frames until one is for us; its length.
    fn read(&mut self) -> Option<usize> {
        // As many as wait now: a flood must not keep us here.
        for _ in 0..Peripheral::Ethernet.read(PACKETS) & 0x3F {
            if let Some(len) = self.read_one() {
                return Some(len);
            }
        }
        None
    }

    /// Reads a frame out of the FIFO; its length if it is for us and not too long.
    ///
    /// Whom it is for comes first. What is for others is read away and not kept: the
    /// controller has no other way to be rid of a single frame, and a flood of them must
    /// leave time for ours.
    fn read_one(&mut self) -> Option<usize> {
        let controller = Peripheral::Ethernet;
        let [low, high, a, b] = controller.read(DATA).to_le_bytes();
        let whole = usize::from(u16::from_le_bytes([low, high]));
        let words = whole.div_ceil(4).saturating_sub(1);
        let Some(words) = words.checked_sub(1) else { return None };
        let [c, d, e, f] = controller.read(DATA).to_le_bytes();
        let to = [a, b, c, d, e, f];
        let len = whole.saturating_sub(EXTRA);
        let wanted = (HEADER..=FRAME).contains(&len) && self.is_wanted(to);
        work::count_frame(wanted);
        if !wanted {
            skip(words);
            return None;
        }
        let (front, rest) = self.frames.received.split_first_chunk_mut::<6>()?;
        *front = to;
        let places = rest.as_chunks_mut::<4>().0;
        // Of the longest frame not the check.
        let kept = words.min(places.len());
        let (fours, ones) = places.get_mut(..kept)?.as_chunks_mut::<4>();
        for four in fours {
            let next = || controller.read(DATA).to_le_bytes();
            *four = [next(), next(), next(), next()];
        }
        ones.iter_mut().for_each(|one| *one = controller.read(DATA).to_le_bytes());
        skip(words - kept);
        Some(len)
    }

    /// Whether a frame to this address is for us: what nobody listens to goes no further.
    fn is_wanted(&self, to: [u8; 6]) -> bool {
        // Queries about memberships go to all hosts (RFC 1112).
        let query = [0x01, 0x00, 0x5E, 0, 0, 1];
        to == self.mac || self.group == Some(to) || to == [0xFF; 6] || to == query
    }
}

/// Reads words away, four at a time: a loop takes longer than the words.
fn skip(words: usize) {
    let next = || {
        Peripheral::Ethernet.read(DATA);
    };
    for _ in 0..words / 4 {
        next();
        next();
        next();
        next();
    }
    (0..words % 4).for_each(|_| next());
}

impl Nic for Ethernet<'_> {
    fn listen(&mut self, group: Option<[u8; 6]>) {
        self.group = group;
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
        let len = self.read()?;
        let Frames { received, sent } = &mut *self.frames;
        Some((RxToken(received.get(..len)?), TxToken(sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<TxToken<'_>> {
        let busy = Peripheral::Ethernet.read(TRANSMIT) & 1 != 0;
        (!busy).then_some(TxToken(&mut self.frames.sent))
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
pub(crate) struct TxToken<'f>(&'f mut [u8; FRAME]);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        // The stack keeps to our largest frame; it would fill none of another one.
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
