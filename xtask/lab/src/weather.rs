//! What a way through a network does to the datagrams on it, drawn from a seed:
//! the one model of faults, for the simulator's virtual links and for the bridge
//! that stands between real processes.
//!
//! A [`Path`] is one direction. It reads no clock: `now` is the time since whatever
//! its user counts from, and all chance comes from the [`Random`] that is lent to
//! it. So the same seed and the same datagrams have the same fate, here and there.

use std::time::Duration;

use crate::random::Random;

/// How much later an overtaken datagram arrives, at most.
const OVERTAKEN_US: u64 = 30_000;
/// IPv4 and UDP headers in front of every datagram.
pub const IP_UDP: usize = 28;
/// Longest datagram that damage makes.
const LONGEST: usize = 1_500;

/// Bursts of loss after Gilbert (1960) and Elliott (1963): chances per datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// That a burst begins.
    pub begins: f64,
    /// That it ends.
    pub ends: f64,
    /// That a datagram in it is lost.
    pub loss: f64,
}

impl Burst {
    /// Bursts in which all is lost, `length` datagrams long in the mean, that take
    /// `share` (below 1) of all datagrams.
    #[must_use]
    pub fn of(share: f64, length: f64) -> Self {
        // In the steady state the bad one has begins / (begins + ends) of the time.
        let ends = 1.0 / length.max(1.0);
        Self { begins: ends * share / (1.0 - share), ends, loss: 1.0 }
    }
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
    /// Damaged in whatever way that UDP's checksum does not see: cut short, with a
    /// tail, as noise, or as in the two kinds that follow.
    pub damage: f64,
    /// One bit flipped.
    pub corrupt: f64,
    /// Cut short.
    pub truncate: f64,
    /// Time under way, at least.
    pub delay: Duration,
    /// And at most this much longer.
    pub jitter: Duration,
}

impl Weather {
    /// Nothing happens, at once.
    pub const STILL: Self = Self {
        loss: 0.0,
        burst: None,
        duplicate: 0.0,
        reorder: 0.0,
        damage: 0.0,
        corrupt: 0.0,
        truncate: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
    };

    /// A quiet LAN.
    pub const CALM: Self = Self { delay: Duration::from_micros(200), ..Self::STILL };
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

/// What goes wrong with a datagram on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// Lost by chance or in a burst.
    Lost,
    /// It met a full queue.
    Dropped,
    /// It met a cut, was too long, or was multicast where that is blocked.
    Blocked,
    /// Delivered twice or more.
    Doubled,
    /// Overtaken by later ones.
    Delayed,
    /// Bits, or its length, changed.
    Damaged,
}

/// What [`Path::carry`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This went wrong.
    Mishap(Mishap),
    /// A copy arrives so much later; `damaged` is what has become of its payload,
    /// `None` when it is whole.
    Arrival {
        /// From now on.
        after: Duration,
        /// In place of the payload that was sent.
        damaged: Option<Vec<u8>>,
    },
}

/// A direction and its state.
#[derive(Clone, Debug)]
pub struct Path {
    /// What happens by chance.
    pub weather: Weather,
    /// Nothing gets through.
    pub cut: bool,
    /// No multicast gets through.
    pub deaf: bool,
    /// Carries so much and no more.
    pub bottleneck: Option<Bottleneck>,
    /// Longest payload that gets through; longer ones vanish.
    pub longest: usize,
    in_burst: bool,
    /// When all that waits at the bottleneck has left it.
    drained: Duration,
}

impl Path {
    /// A direction without limits.
    #[must_use]
    pub const fn new(weather: Weather) -> Self {
        Self {
            weather,
            cut: false,
            deaf: false,
            bottleneck: None,
            longest: usize::MAX,
            in_burst: false,
            drained: Duration::ZERO,
        }
    }

    /// Sends a datagram with this payload on its way; `tell` hears of every mishap
    /// and of every copy that arrives.
    pub fn carry(
        &mut self,
        now: Duration,
        random: &mut Random,
        payload: &[u8],
        is_multicast: bool,
        mut tell: impl FnMut(Outcome),
    ) {
        if self.cut || payload.len() > self.longest || (self.deaf && is_multicast) {
            return tell(Outcome::Mishap(Mishap::Blocked));
        }
        if self.loses(random) {
            return tell(Outcome::Mishap(Mishap::Lost));
        }
        let again = random.chance(self.weather.duplicate);
        let copies = if again { random.within(2, 3) } else { 1 };
        if again {
            tell(Outcome::Mishap(Mishap::Doubled));
        }
        for _ in 0..copies {
            let Some(queued) = self.queue(now, payload.len()) else {
                tell(Outcome::Mishap(Mishap::Dropped));
                continue;
            };
            let (delay, overtaken) = self.delay(random);
            let damaged = self.damage(random, payload);
            if overtaken {
                tell(Outcome::Mishap(Mishap::Delayed));
            }
            if damaged.is_some() {
                tell(Outcome::Mishap(Mishap::Damaged));
            }
            tell(Outcome::Arrival { after: queued + delay, damaged });
        }
    }

    fn loses(&mut self, random: &mut Random) -> bool {
        if let Some(burst) = self.weather.burst {
            let flips = if self.in_burst { burst.ends } else { burst.begins };
            self.in_burst ^= random.chance(flips);
            if self.in_burst && random.chance(burst.loss) {
                return true;
            }
        }
        random.chance(self.weather.loss)
    }

    /// Lets a datagram of `len` bytes into the queue of the bottleneck, where there
    /// is one: how long it waits there, or `None` when the queue is full.
    fn queue(&mut self, now: Duration, len: usize) -> Option<Duration> {
        let Some(Bottleneck { rate, queue }) = self.bottleneck else { return Some(Duration::ZERO) };
        let len = (len + IP_UDP) as u64;
        let waiting = micros(self.drained.saturating_sub(now)) * rate / 1_000_000;
        if waiting + len > queue {
            return None;
        }
        self.drained = self.drained.max(now) + Duration::from_micros(len * 1_000_000 / rate);
        Some(self.drained.saturating_sub(now))
    }

    /// The time under way, and whether others overtake.
    fn delay(&self, random: &mut Random) -> (Duration, bool) {
        let jitter = random.below(micros(self.weather.jitter) + 1);
        let overtaken = random.chance(self.weather.reorder);
        let more = if overtaken { random.within(1, OVERTAKEN_US) } else { 0 };
        (self.weather.delay + Duration::from_micros(jitter + more), overtaken)
    }

    /// The payload with wrong bits, cut short, with a tail, or as noise.
    fn damage(&self, random: &mut Random, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.is_empty() {
            return None;
        }
        let mut damaged = None;
        if random.chance(self.weather.damage) {
            let bytes = damaged.insert(payload.to_vec());
            match random.below(4) {
                0 => truncate(random, bytes),
                1 => lengthen(random, bytes),
                2 => {
                    let from = random.below(bytes.len() as u64) as usize;
                    random.fill(&mut bytes[from..]);
                }
                _ => flip(random, bytes),
            }
        }
        if random.chance(self.weather.corrupt) {
            flip(random, damaged.get_or_insert_with(|| payload.to_vec()));
        }
        if random.chance(self.weather.truncate) {
            truncate(random, damaged.get_or_insert_with(|| payload.to_vec()));
        }
        damaged
    }
}

fn truncate(random: &mut Random, bytes: &mut Vec<u8>) {
    bytes.truncate(random.below(bytes.len() as u64) as usize);
}

fn lengthen(random: &mut Random, bytes: &mut Vec<u8>) {
    let most = LONGEST.saturating_sub(bytes.len()) as u64;
    let len = bytes.len() + random.below(most + 1).min(64) as usize;
    bytes.resize(len, 0xa5);
    // At least one byte differs from the original in any case.
    bytes[0] ^= 0x40;
}

fn flip(random: &mut Random, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len() as u64) as usize;
    bytes[at] ^= 1 << random.below(8);
}

/// Whole microseconds; a duration here is never 500,000 years long.
const fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of `count` datagrams arrive.
    fn arrivals(weather: Weather, seed: u64, count: usize) -> Vec<bool> {
        let (mut path, mut random) = (Path::new(weather), Random::new(seed));
        let mut arrives = || {
            let mut came = false;
            path.carry(Duration::ZERO, &mut random, &[1; 100], false, |outcome| {
                came |= matches!(outcome, Outcome::Arrival { .. });
            });
            came
        };
        (0..count).map(|_| arrives()).collect()
    }

    #[test]
    fn bursts_take_their_share_and_have_their_length() {
        let weather = Weather { burst: Some(Burst::of(0.2, 10.0)), ..Weather::STILL };
        let arrived = arrivals(weather, 5, 100_000);
        let lost = arrived.iter().filter(|arrived| !**arrived).count();
        // Some 2,000 bursts of 10: the deviation of their sum is about 600.
        assert!(lost.abs_diff(20_000) < 3_000, "{lost}");
        let bursts = arrived.windows(2).filter(|pair| pair[0] && !pair[1]).count();
        let length = lost as f64 / bursts as f64;
        assert!((length - 10.0).abs() < 1.0, "{length}");
    }

    #[test]
    fn the_same_seed_gives_the_same_fate() {
        let weather = Weather { loss: 0.3, ..Weather::STILL };
        assert_eq!(arrivals(weather, 5, 500), arrivals(weather, 5, 500));
        assert_ne!(arrivals(weather, 5, 500), arrivals(weather, 6, 500));
    }

    #[test]
    fn one_bit_is_flipped_or_the_end_is_missing() {
        let payload: Vec<u8> = (0..100).collect();
        let damaged = |weather| {
            let (mut path, mut random) = (Path::new(weather), Random::new(3));
            let mut all = Vec::new();
            for _ in 0..1_000 {
                path.carry(Duration::ZERO, &mut random, &payload, false, |outcome| match outcome {
                    Outcome::Arrival { damaged, .. } => all.extend(damaged),
                    Outcome::Mishap(mishap) => assert_eq!(mishap, Mishap::Damaged),
                });
            }
            all
        };
        let flipped = damaged(Weather { corrupt: 0.5, ..Weather::STILL });
        assert!(flipped.len().abs_diff(500) < 80, "{}", flipped.len());
        for bytes in flipped {
            let bits = bytes.iter().zip(&payload).map(|(a, b)| (a ^ b).count_ones());
            assert_eq!((bytes.len(), bits.sum()), (100, 1_u32));
        }
        for bytes in damaged(Weather { truncate: 0.5, ..Weather::STILL }) {
            assert!(bytes.len() < 100 && payload.starts_with(&bytes));
        }
    }
}
