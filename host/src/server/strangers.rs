//! Channels of those whom nobody has let in.
//!
//! Whoever knows the controller's key can have a channel, and keys cost nothing: there is
//! always a place for each receiver of the fleet, whoever else comes (PROTOCOL C8). Who
//! has an invitation that counts is no stranger. Who says nothing, or was refused, is
//! forgotten.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{PeerSlot, ReceiverId, StaticKey, TokenId};
use fleetcast_core::limits::SEND_WINDOW;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::{Down, RefusedWhy, Standing};

use super::ServerNode;
use super::guests::Strangers;
use super::link::Link;

/// How long a channel may be without Hello, and one whose receiver was refused.
const GRACE: Duration = Duration::from_secs(10);

impl<A: Aead> ServerNode<A> {
    /// A channel has come into use.
    pub(super) fn on_connected(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        (key, token, constrained): (StaticKey, Option<TokenId>, bool),
    ) {
        let known = self.registry.receiver(&ReceiverId::of(&key));
        let is_in = known.is_some_and(|record| record.standing == Standing::Member);
        let invited = token.is_some_and(|token| self.lets_in(&token));
        if !self.make_place(now, is_in || invited) {
            return self.endpoint.disconnect(slot);
        }
        if !is_in {
            self.strangers.due.push_back((now + GRACE, slot, now));
            if !invited {
                self.strangers.here.insert(slot);
            }
        }
        self.links.insert(slot, Link::new(now, key, token, constrained));
    }

    /// Whether one more may stay. Strangers have the places that receivers do not need, of
    /// those that are there for them only the spare ones: what is then left is enough for
    /// every receiver of the fleet, and for as many new ones at a time as there are spare
    /// places. Where that is no longer so, a stranger gives up its own.
    // PROTOCOL C8
    fn make_place(&mut self, now: Instant, is_welcome: bool) -> bool {
        let (here, all) = (self.strangers.here.len(), self.strangers.receivers);
        let spare = Strangers::spare(all);
        // Most of the time there are few, and nobody has to be counted.
        if here < spare {
            return true;
        }
        let members = self.registry.receivers().filter(|r| r.standing == Standing::Member);
        let most = all.saturating_sub(members.count()).max(spare);
        if !is_welcome {
            return here < most;
        }
        if here >= most {
            let silent =
                |slot: &&PeerSlot| self.links.get(slot).is_none_or(|l| l.receiver.is_none());
            let first = self.strangers.here.iter().find(silent);
            if let Some(&slot) = first.or(self.strangers.here.first()) {
                self.hang_up(now, slot);
            }
        }
        true
    }

    /// Whether a token would let its bearer in now.
    fn lets_in(&self, token: &TokenId) -> bool {
        let time = self.registry.time();
        let counts = |voucher: &crate::model::VoucherRecord| {
            !voucher.revoked && voucher.expires >= time && voucher.used < voucher.uses
        };
        self.registry.voucher(token).is_some_and(counts)
    }

    /// Nothing will come of a channel: it is told why, and forgotten.
    pub(super) fn refuse(&mut self, now: Instant, slot: PeerSlot, why: RefusedWhy) {
        let Some(link) = self.links.get_mut(&slot) else { return };
        link.refused = true;
        let since = link.since;
        self.strangers.due.push_back((now + GRACE, slot, since));
        self.tell(now, slot, &Down::Refused { why });
    }

    /// There is room in a channel; where nothing more is to be said, it ends.
    pub(super) fn on_drained(&mut self, now: Instant, slot: PeerSlot) {
        self.flush(now, slot);
        let told = |link: &Link| link.refused && link.outbox.is_empty();
        if self.links.get(&slot).is_some_and(told) && self.endpoint.room(slot) == SEND_WINDOW {
            self.hang_up(now, slot);
        }
    }

    /// Forgets the channels that have come to nothing in their time.
    // PROTOCOL C8
    pub(super) fn drop_strangers(&mut self, now: Instant) {
        while let Some((_, slot, since)) = self.strangers.due.pop_front_if(|(at, ..)| *at <= now) {
            let idle = |link: &Link| link.since == since && (link.hello.is_none() || link.refused);
            if self.links.get(&slot).is_some_and(idle) {
                self.hang_up(now, slot);
            }
        }
    }

    fn hang_up(&mut self, now: Instant, slot: PeerSlot) {
        self.endpoint.disconnect(slot);
        self.drop_link(now, slot);
    }
}
