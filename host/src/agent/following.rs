//! Authority documents as they come, and what to do when the controller that is known does
//! not answer.

use fleetcast_core::chain::ChainEvent;
use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::StaticKey;
use fleetcast_core::limits::CHAIN_AFTER;
use fleetcast_core::time::Instant;
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::wire::chain::Wanted;
use fleetcast_core::wire::control::Up;

use super::succession::Succession;
use super::{Agent, AgentEvent};
use crate::disk::Disk;

impl<D: Disk, A: Aead> Agent<D, A> {
    /// Asks for what came after the document that is trusted, once per initiation that
    /// nobody has answered.
    pub(super) fn look_for_successor(&mut self, now: Instant) {
        self.succession.asker.handle_timeout(now);
        let unanswered = self.endpoint.unanswered();
        if unanswered <= CHAIN_AFTER {
            self.succession.asked_at = 0;
            if self.endpoint.is_connected() {
                self.succession.asker.stop();
            }
            return;
        }
        if unanswered == self.succession.asked_at {
            return;
        }
        self.succession.asked_at = unanswered;
        self.ask_for_successor();
        // PROTOCOL A3: where the document names several, each has its turn.
        let next = self.authority.as_ref().and_then(|a| a.controller_after(&self.server_key));
        if let Some(next) = next.filter(|next| *next != self.server_key)
            && unanswered.is_multiple_of(CHAIN_AFTER)
        {
            self.server_key = next;
            self.endpoint.set_server_key(now, next);
        }
    }

    fn ask_for_successor(&mut self) {
        let pinned = self.state.enrolment.as_ref().map(|enrolment| enrolment.authority);
        let (digest, wanted) = match (&self.authority, pinned) {
            (Some(trusted), _) => (trusted.digest(), Wanted::Successor),
            (None, Some(pinned)) => (pinned, Wanted::Itself),
            (None, None) => return,
        };
        self.succession.asker.ask(digest, wanted);
    }

    /// Takes a datagram that answers a request for the chain.
    pub(super) fn on_chain_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let Succession { asker, room, .. } = &mut self.succession;
        asker.handle_datagram(now, datagram, room);
        let Some(ChainEvent::Whole { len }) = asker.poll_event() else { return };
        let document = room[..len].to_vec();
        if self.trust(now, document) {
            // There may be more: the controller that this one names may be lost, too.
            self.ask_for_successor();
        }
    }

    /// PROTOCOL T2: the pinned document first, then only successors. Whether it counts now.
    pub(super) fn trust(&mut self, now: Instant, document: Vec<u8>) -> bool {
        let next = match &self.authority {
            Some(trusted) => trusted.advance(&document).ok(),
            None => {
                let pinned = self.state.enrolment.as_ref().map(|enrolment| enrolment.authority);
                pinned.and_then(|pinned| TrustedAuthority::pin(&document, pinned).ok())
            }
        };
        let Some(next) = next else { return false };
        let before = self.state.clone();
        let is_first = before.authority.is_none();
        self.state.authority = Some((next.digest(), document));
        let another = Some(&next)
            .filter(|next| next.controller(&self.server_key).is_none())
            .and_then(|next| next.controller_after(&self.server_key));
        if let (Some(key), Some(enrolment)) = (another, &mut self.state.enrolment) {
            enrolment.server_key = key;
        }
        let kept = self.save().is_ok();
        // PROTOCOL A2: durable before it counts. The first one is trusted also where it
        // cannot be kept: nothing older could come back, and the server does not send it
        // twice on one channel.
        if !kept && !is_first {
            self.state = before;
            return false;
        }
        let stricter = self.authority.as_ref().is_some_and(|old| next.is_stricter_than(old));
        let version = next.document().version;
        self.authority = Some(next);
        if let Some(key) = another {
            self.server_key = key;
            self.begin_anew(now, Some(key));
        } else if stricter && (self.delivery.is_some() || !self.holding.parked.is_empty()) {
            self.begin_anew(now, None);
        } else if kept {
            // PROTOCOL A5
            self.say(now, &Up::Trusts { version });
        }
        true
    }

    /// What was begun under the document before is judged by the newest: it is opened
    /// again from storage, on a new channel, with another controller where one is named.
    // PROTOCOL T8
    fn begin_anew(&mut self, now: Instant, controller: Option<StaticKey>) {
        self.drop_delivery();
        self.holding.parked.clear();
        self.queue.clear();
        self.forsake();
        match controller {
            Some(key) => self.endpoint.set_server_key(now, key),
            None => self.endpoint.restart(now),
        }
        if std::mem::take(&mut self.member) {
            self.tell(AgentEvent::Disconnected { reason: "authority-changed" });
        }
    }
}
