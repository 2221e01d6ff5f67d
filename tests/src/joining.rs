//! A crowd that comes all at once: with one code between them, without any, and some
//! that speak and never hear.

use std::collections::BTreeMap;

use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::Standing;

use crate::admin::Tree;
use crate::doorway::Doorway;
use crate::faults::Faults;
use crate::fleet::{fair_shape, world};
use crate::link::Weather;
use crate::random::Random;
use crate::world::World;

/// Who comes.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Receivers that have the code.
    pub invited: usize,
    /// How many of them it is good for.
    pub uses: u32,
    /// Receivers that have a code without a token.
    pub uninvited: usize,
    /// Receivers that no datagram reaches: they begin a handshake again and again.
    pub unreached: usize,
}

/// What has become of a crowd.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Virtual seconds until as many were members as the code is good for.
    pub seconds: f64,
    /// Receivers that were taken in and have a channel.
    pub members: usize,
    /// The most that waited for approval at a time.
    pub waiting: usize,
    /// The most that the server has known at a time.
    pub known: usize,
    /// The most uses of the code that were counted at a time.
    pub used: u32,
    /// Why others were turned away, and how many.
    pub refused: BTreeMap<&'static str, usize>,
    /// Handshakes, as seen at the server's door.
    pub doorway: Doorway,
    /// Those that were half open in the end.
    pub half_open: usize,
}

impl Crowd {
    /// All who come.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.invited + self.uninvited + self.unreached
    }

    /// Whether nobody comes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets them come at the same instant, looks at every tick of the admin (who approves
    /// nobody), and goes on for a while after all who can be in are in.
    ///
    /// # Panics
    /// When that takes more than two virtual minutes, or a promise is broken.
    #[must_use]
    pub fn join(self, seed: u64) -> Joined {
        let mut world = self.world(seed);
        let mut joined = Joined {
            seconds: 0.0,
            members: 0,
            waiting: 0,
            known: 0,
            used: 0,
            refused: BTreeMap::new(),
            doorway: Doorway::default(),
            half_open: 0,
        };
        let end = Instant::ZERO + Duration::from_secs(120);
        while joined.members < self.uses as usize {
            let before = world.now;
            world.run(end, |world| world.now > before && world.tick_is_due());
            joined.look(&world);
            assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
            assert!(world.now < end, "some did not connect: {joined:?}");
        }
        joined.seconds = world.now.as_micros() as f64 / 1e6;
        // Whoever was to be turned away has been by then.
        let end = world.now + Duration::from_secs(15);
        while world.now < end {
            let before = world.now;
            world.run(end, |world| world.now > before && world.tick_is_due());
            joined.look(&world);
            assert!(world.oracle.violations.is_empty(), "{:?}", world.oracle.violations);
        }
        joined.half_open = world.doorway.open_at(world.now);
        joined.refused = world.refusals.take().unwrap_or_default();
        joined.doorway = world.doorway;
        joined
    }

    fn world(self, seed: u64) -> World {
        let mut random = Random::new(seed);
        let mut shape = fair_shape(self.len(), Tree::new(), Instant::FAR_FUTURE);
        shape.shared = Some(self.uses);
        shape.tokens.iter_mut().skip(self.invited).for_each(|token| *token = false);
        // Nobody is approved or added: all that happens, happens by itself.
        shape.members.iter_mut().skip(self.invited).for_each(Vec::clear);
        let mut faults = Faults::none(self.len());
        let unheard = Weather { loss: 1.0, ..Weather::CALM };
        let unreached = faults.weather.iter_mut().skip(self.invited + self.uninvited);
        unreached.for_each(|(_, down)| *down = unheard);
        let mut world = world(&mut random, shape, faults);
        world.deep = false;
        world.script.members.clear();
        world.refusals = Some(BTreeMap::new());
        world
    }
}

impl Joined {
    fn look(&mut self, world: &World) {
        let Some(node) = &world.server.node else { return };
        let of = |standing| {
            node.registry().receivers().filter(move |record| record.standing == standing)
        };
        self.members = of(Standing::Member).filter(|record| node.is_here(&record.id)).count();
        self.waiting = self.waiting.max(of(Standing::Waiting).count());
        self.known = self.known.max(node.registry().receivers().count());
        let used = node.registry().vouchers().map(|voucher| voucher.used).sum();
        self.used = self.used.max(used);
    }
}
