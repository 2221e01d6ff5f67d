//! What may go wrong in a run: each seed switches a random subset of fault
//! kinds off and weighs the others wildly.

use std::time;

use fleetcast_core::time::Duration;

use crate::disk::Abilities;
use crate::link::{Burst, Weather};
use crate::random::Random;

/// The faults of one run. Times are means between two of a kind; `None`: never.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Per receiver: the ways up and down.
    pub weather: Vec<(Weather, Weather)>,
    /// Receivers that multicast never reaches.
    pub deaf: Vec<bool>,
    /// Chance of a loss for all.
    pub common_loss: f64,
    /// A receiver is cut off, both or one way, for a while.
    pub partition: Option<Duration>,
    /// Multicast to a receiver stops or comes back.
    pub flapping: Option<Duration>,
    /// A receiver's power fails.
    pub receiver_crash: Option<Duration>,
    /// A receiver's power fails at one of its next storage operations.
    pub storage_cut: Option<Duration>,
    /// A storage operation of a receiver fails once.
    pub storage_error: Option<Duration>,
    /// The server stops dead.
    pub server_crash: Option<Duration>,
    /// A receiver gets another address.
    pub readdress: Option<Duration>,
    /// A receiver's clock jumps, or is lost.
    pub clock: Option<Duration>,
    /// An attacker sends what it has heard again, changed or not, or noise.
    pub attack: Option<Duration>,
    /// Longest time until a batch of facts is durable.
    pub persist: Duration,
    /// What the receivers' file systems can do.
    pub abilities: Abilities,
}

/// File systems with all abilities and room.
pub const PLENTY: Abilities =
    Abilities { clones: false, links: true, exchange: true, capacity: 1 << 40 };

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none(receivers: usize) -> Self {
        Self {
            weather: vec![(Weather::CALM, Weather::CALM); receivers],
            deaf: vec![false; receivers],
            common_loss: 0.0,
            partition: None,
            flapping: None,
            receiver_crash: None,
            storage_cut: None,
            storage_error: None,
            server_crash: None,
            readdress: None,
            clock: None,
            attack: None,
            persist: Duration::from_millis(1),
            abilities: PLENTY,
        }
    }

    /// A random subset, wildly weighed.
    #[must_use]
    pub fn wild(random: &mut Random, receivers: usize) -> Self {
        let kinds = WeatherKinds::wild(random);
        let weather =
            (0..receivers).map(|_| (kinds.weather(random), kinds.weather(random))).collect();
        let deaf_share = if random.below(3) == 0 { random.unit() } else { 0.0 };
        Self {
            weather,
            deaf: (0..receivers).map(|_| random.chance(deaf_share)).collect(),
            common_loss: if random.below(2) == 0 { random.wild(0.001, 0.2) } else { 0.0 },
            partition: sometimes(random, 1.0, 60.0),
            flapping: sometimes(random, 1.0, 30.0),
            receiver_crash: sometimes(random, 0.5, 60.0),
            storage_cut: sometimes(random, 0.2, 20.0),
            storage_error: rarely(random, 0.5, 20.0),
            server_crash: sometimes(random, 1.0, 60.0),
            readdress: rarely(random, 1.0, 30.0),
            clock: rarely(random, 1.0, 30.0),
            attack: sometimes(random, 0.002, 1.0),
            persist: Duration::from_micros(random.within(0, 50_000)),
            abilities: Abilities {
                clones: random.below(2) == 0,
                links: random.below(4) > 0,
                exchange: random.below(4) > 0,
                capacity: PLENTY.capacity,
            },
        }
    }
}

/// Which kinds of weather there are in a run, and how bad at most.
struct WeatherKinds {
    loss: f64,
    burst: bool,
    duplicate: f64,
    reorder: f64,
    damage: f64,
    delay_us: u64,
    jitter_us: u64,
}

impl WeatherKinds {
    fn wild(random: &mut Random) -> Self {
        let on = |random: &mut Random| random.below(2) == 0;
        let wild = |random: &mut Random, least, most| {
            if on(random) { random.wild(least, most) } else { 0.0 }
        };
        Self {
            loss: wild(random, 0.001, 0.5),
            burst: on(random),
            duplicate: wild(random, 0.001, 0.5),
            reorder: wild(random, 0.001, 0.5),
            damage: wild(random, 0.000_1, 0.1),
            delay_us: wild(random, 50.0, 100_000.0) as u64,
            jitter_us: wild(random, 10.0, 50_000.0) as u64,
        }
    }

    fn weather(&self, random: &mut Random) -> Weather {
        let burst = (self.burst && random.below(2) == 0).then(|| Burst {
            begins: random.wild(0.000_1, 0.05),
            ends: random.wild(0.005, 0.5),
            loss: 0.3 + 0.7 * random.unit(),
        });
        Weather {
            loss: self.loss * random.unit(),
            burst,
            duplicate: self.duplicate * random.unit(),
            reorder: self.reorder * random.unit(),
            damage: self.damage * random.unit(),
            delay: time::Duration::from_micros(random.within(50, 50 + self.delay_us)),
            jitter: time::Duration::from_micros(random.below(self.jitter_us + 1)),
            ..Weather::CALM
        }
    }
}

fn sometimes(random: &mut Random, least: f64, most: f64) -> Option<Duration> {
    let on = random.below(2) == 0;
    on.then(|| Duration::from_micros((random.wild(least, most) * 1e6) as u64))
}

fn rarely(random: &mut Random, least: f64, most: f64) -> Option<Duration> {
    if random.below(2) == 0 { sometimes(random, least, most) } else { None }
}
