//! One direction between the server and one receiver.

use std::sync::Arc;

use fleetcast_core::time::{Duration, Instant};

use super::LinkEvent;
use crate::random::Random;

/// How much later an overtaken datagram arrives, at most.
const OVERTAKEN_US: u64 = 30_000;
/// IPv4 and UDP headers in front of every datagram.
pub(super) const IP_UDP: usize = 28;
/// Longest datagram that damage makes.
const LONGEST: usize = 1_500;

/// Bursts of loss after Gilbert and Elliott: chances per datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// That a burst begins.
    pub begins: f64,
    /// That it ends.
    pub ends: f64,
    /// That a datagram in it is lost.
    pub loss: f64,
}

/// What a path does to a datagram, as chances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Lost, whatever happened to others.
    pub loss: f64,
    /// Lost with its neighbours.
    pub burst: Option<Burst>,
    /// Delivered twice or three times.
    pub duplicate: f64,
    /// Overtaken.
    pub reorder: f64,
    /// Damaged in a way that UDP's checksum does not see.
    pub damage: f64,
    /// Time under way, at least.
    pub delay: Duration,
    /// And at most this much longer.
    pub jitter: Duration,
}

impl Weather {
    /// A quiet LAN.
    pub const CALM: Self = Self {
        loss: 0.0,
        burst: None,
        duplicate: 0.0,
        reorder: 0.0,
        damage: 0.0,
        delay: Duration::from_micros(200),
        jitter: Duration::ZERO,
    };
}

/// A link that carries so much and no more, with a queue in front that drops what
/// does not fit into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// Bytes per second, with IP and UDP headers.
    pub rate: u64,
    /// Bytes that wait at most.
    pub queue: u64,
}

/// What becomes of a datagram.
pub(super) enum Fate {
    Lost(LinkEvent),
    Carried { copies: u32 },
}

/// A direction and its state.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) weather: Weather,
    pub(super) cut: bool,
    pub(super) bottleneck: Option<Bottleneck>,
    /// Longest datagram that gets through; longer ones vanish.
    pub(super) longest: usize,
    in_burst: bool,
    /// When all that waits at the bottleneck has left it.
    drained: Instant,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            weather: Weather::CALM,
            cut: false,
            bottleneck: None,
            longest: usize::MAX,
            in_burst: false,
            drained: Instant::ZERO,
        }
    }
}

impl Path {
    pub(super) fn fate(&mut self, random: &mut Random) -> Fate {
        if self.cut {
            return Fate::Lost(LinkEvent::Blocked);
        }
        if let Some(burst) = self.weather.burst {
            let flips = if self.in_burst { burst.ends } else { burst.begins };
            self.in_burst ^= random.chance(flips);
            if self.in_burst && random.chance(burst.loss) {
                return Fate::Lost(LinkEvent::Lost);
            }
        }
        if random.chance(self.weather.loss) {
            return Fate::Lost(LinkEvent::Lost);
        }
        let again = random.chance(self.weather.duplicate);
        let copies = if again { random.within(2, 3) as u32 } else { 1 };
        Fate::Carried { copies }
    }

    /// Lets a datagram of `len` bytes into the queue of the bottleneck, where there
    /// is one: how long it waits there, or `None` when the queue is full.
    pub(super) fn queue(&mut self, now: Instant, len: usize) -> Option<Duration> {
        let Some(Bottleneck { rate, queue }) = self.bottleneck else { return Some(Duration::ZERO) };
        let len = (len + IP_UDP) as u64;
        let waiting = self.drained.since(now).as_micros() * rate / 1_000_000;
        if waiting + len > queue {
            return None;
        }
        self.drained = self.drained.max(now) + Duration::from_micros(len * 1_000_000 / rate);
        Some(self.drained.since(now))
    }

    /// The time under way, and whether others overtake.
    pub(super) fn delay(&self, random: &mut Random) -> (Duration, bool) {
        let jitter = random.below(self.weather.jitter.as_micros() + 1);
        let overtaken = random.chance(self.weather.reorder);
        let more = if overtaken { random.within(1, OVERTAKEN_US) } else { 0 };
        (self.weather.delay + Duration::from_micros(jitter + more), overtaken)
    }

    /// The datagram with wrong bits, cut short, with a tail, or as noise.
    pub(super) fn damage(&self, random: &mut Random, bytes: &[u8]) -> Option<Arc<[u8]>> {
        if bytes.is_empty() || !random.chance(self.weather.damage) {
            return None;
        }
        let mut bytes = bytes.to_vec();
        match random.below(4) {
            0 => bytes.truncate(random.below(bytes.len() as u64) as usize),
            1 => {
                let most = LONGEST.saturating_sub(bytes.len()) as u64;
                let len = bytes.len() + random.below(most + 1).min(64) as usize;
                bytes.resize(len, 0xa5);
                // At least one byte differs from the original in any case.
                bytes[0] ^= 0x40;
            }
            2 => {
                let from = random.below(bytes.len() as u64) as usize;
                random.fill(&mut bytes[from..]);
            }
            _ => {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
        }
        Some(bytes.into())
    }
}
