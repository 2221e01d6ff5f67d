//! A receiver's channel, and what it has said there.

use std::collections::BTreeMap;

use fleetcast_core::ids::{GroupId, ReceiverId, StaticKey, TokenId};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::bounds::Bounds;
use fleetcast_core::wire::control::{ReleaseName, WantRun};

use super::durable::Outbox;
use super::hearing::Hears;
use super::shown::Shown;
use super::slow::Slow;

/// A receiver's channel, and what is known of it besides the facts.
pub(super) struct Link {
    pub(super) key: StaticKey,
    pub(super) token: Option<TokenId>,
    pub(super) constrained: bool,
    /// When it came into use.
    pub(super) since: Instant,
    /// Nothing will come of it, and its receiver is told so.
    pub(super) refused: bool,
    /// What it has room for, where it has told.
    pub(super) bounds: Option<Bounds>,
    /// Known after its Hello.
    pub(super) receiver: Option<ReceiverId>,
    /// Authority version and nonce of its Hello.
    pub(super) hello: Option<(u32, [u8; 16])>,
    /// What it has installed, as it has told on this channel.
    pub(super) holds: BTreeMap<GroupId, ReleaseName>,
    /// Its inventory has come, all of it or as much as is taken.
    pub(super) ready: bool,
    /// Messages that are not durable yet, or that the channel has no room for.
    pub(super) outbox: Outbox,
    /// The delivery that it is busy with.
    pub(super) busy: Option<u64>,
    /// What of multicast reaches it.
    pub(super) hears: Hears,
    /// It cannot follow the others: its pace, and since when.
    pub(super) slow: Option<Slow>,
    /// It had not joined when its last multicast session began to send.
    pub(super) tardy: bool,
    /// Nonce of the ping under way, and when it left.
    pub(super) ping: Option<(u64, Instant)>,
    pub(super) round_trip: Option<Duration>,
    /// It was told that nothing is taken in while the catalog is in doubt.
    pub(super) put_off: bool,
    /// What it shows of a release that we do not know.
    pub(super) shown: Option<Shown>,
}

impl Link {
    /// One that has just come into use.
    pub(super) fn new(
        now: Instant,
        key: StaticKey,
        token: Option<TokenId>,
        constrained: bool,
    ) -> Self {
        Self {
            key,
            token,
            constrained,
            since: now,
            refused: false,
            bounds: None,
            receiver: None,
            hello: None,
            holds: BTreeMap::new(),
            ready: false,
            outbox: Outbox::default(),
            busy: None,
            hears: Hears::default(),
            slow: None,
            tardy: false,
            ping: None,
            round_trip: None,
            put_off: false,
            shown: None,
        }
    }
}

/// What a receiver lacks of a release, as it has said.
pub(super) struct Wanted {
    pub(super) runs: Vec<WantRun>,
    pub(super) complete: bool,
    pub(super) rounds: u32,
}
