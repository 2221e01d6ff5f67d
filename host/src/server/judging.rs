//! Memberships as the newest authority document judges them, and who is shut out of
//! sessions: whoever was removed, and whoever is in a group by a certificate that counts
//! no more (PROTOCOL T7, M2).
//!
//! The second is no removal. Its receiver may be an honest one whose admin has gone: the
//! record stays, what it is owed fails with the reason, and is owed again as soon as an
//! admin has signed the membership anew.

use std::collections::BTreeSet;

use chacha20::rand_core::Rng as _;
use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{GroupId, ReceiverId, SessionId};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::membership::VerifiedMembership;
use fleetcast_core::wire::control::{Down, FailCode};

use super::ServerNode;
use super::live::LiveSession;
use crate::model::{DeliveryRecord, DeliveryState};

/// Why a receiver gets nothing of a group that it is in.
const DISTRUSTED: &str =
    "no admin stands behind its membership any more: `fleetcast authority renew`";

impl<A: Aead> ServerNode<A> {
    /// Whether a receiver is in a group by a membership that counts now.
    // PROTOCOL T7
    pub(super) fn counts(&mut self, receiver: ReceiverId, group: GroupId) -> bool {
        let place = (receiver, group);
        let Some(record) = self.registry.membership(receiver, group) else {
            self.judged.known.remove(&place);
            return false;
        };
        let time = Some(self.registry.time());
        let proves = |found: &Option<VerifiedMembership>| found.is_some_and(|m| m.counts_at(time));
        if let Some((certificate, found)) = self.judged.known.get(&place)
            && *certificate == record.certificate
        {
            return proves(found);
        }
        let Some(device) = self.registry.receiver(&receiver).map(|record| record.key) else {
            return false;
        };
        let (certificate, voucher) = self.papers(receiver, group);
        let found = VerifiedMembership::verify(&self.authority, &device, &certificate, &voucher);
        let found = found.ok().filter(|found| found.membership().group == group);
        let counts = proves(&found);
        self.judged.known.insert(place, (certificate, found));
        counts
    }

    /// Before anything is planned: who is in no group any more by the document in force
    /// leaves its sessions, and is told what it is not given.
    pub(super) fn judge_members(&mut self, now: Instant) {
        if std::mem::take(&mut self.judged.is_new) {
            let sessions = self.sessions.iter();
            let keyed: BTreeSet<(ReceiverId, GroupId)> =
                sessions.flat_map(LiveSession::keyed).collect();
            for (receiver, group) in keyed {
                if !self.counts(receiver, group) {
                    self.suspend(now, receiver, group);
                }
            }
        }
        if self.in_doubt().is_some() {
            return;
        }
        let idle = self.links.values().filter(|link| link.ready && link.busy.is_none());
        for receiver in idle.filter_map(|link| link.receiver).collect::<Vec<_>>() {
            self.refuse_distrusted(receiver);
        }
    }

    /// Ends the deliveries of a receiver that no membership stands behind.
    fn refuse_distrusted(&mut self, receiver: ReceiverId) {
        let open = self.registry.open_deliveries(receiver).filter(|d| self.may_go(d));
        let groups: BTreeSet<GroupId> = open.map(|delivery| delivery.release.group).collect();
        for group in groups {
            if !self.counts(receiver, group) {
                self.fail_distrusted(receiver, group);
            }
        }
    }

    fn fail_distrusted(&mut self, receiver: ReceiverId, group: GroupId) {
        let open = self.registry.open_deliveries(receiver).filter(|d| d.release.group == group);
        for delivery in open.cloned().collect::<Vec<DeliveryRecord>>() {
            let (state, code) = (DeliveryState::Failed, FailCode::NotTrusted.word());
            self.settle_delivery(receiver, &delivery.release, state, code, DISTRUSTED);
        }
    }

    /// Takes a receiver out of a group's sessions whose membership counts no more. It is
    /// not told that it was removed, which nobody has said: it judges that by itself.
    fn suspend(&mut self, now: Instant, receiver: ReceiverId, group: GroupId) {
        let left = self.shut_out(now, receiver, group);
        let busy = self.busy_delivery(&receiver);
        self.fail_distrusted(receiver, group);
        let (name, group_name) = (self.name_of(&receiver), self.group_name(group));
        self.registry.log("server", "member-distrusted", &name, &group_name);
        let Some(&slot) = self.connected.get(&receiver) else { return };
        for session in left {
            self.tell(now, slot, &Down::Ended { session });
        }
        if busy.is_some_and(|delivery| delivery.release.group == group) {
            self.idle(now, slot, receiver);
        }
    }

    /// Takes a receiver out of a group's sessions, and gives the others a new key: also
    /// where it has left before, since it kept the old one. Returns which it was in.
    // PROTOCOL S25
    pub(super) fn shut_out(
        &mut self,
        now: Instant,
        receiver: ReceiverId,
        group: GroupId,
    ) -> Vec<SessionId> {
        let (mut left, mut told) = (Vec::new(), Vec::new());
        for session in &mut self.sessions {
            if !session.is_keyed(&receiver, group) {
                continue;
            }
            if session.leave(&receiver) {
                left.push(session.id());
            }
            let mut key = [0; 32];
            self.rng.fill_bytes(&mut key);
            let (epoch, key) = session.new_epoch(key, now);
            let members: Vec<ReceiverId> = session.members().keys().copied().collect();
            told.push((session.id(), epoch, key, members));
        }
        for (session, epoch, key, members) in told {
            for member in members {
                if let Some(&slot) = self.connected.get(&member) {
                    self.tell(now, slot, &Down::Epoch { session, epoch, key });
                }
            }
        }
        left
    }

    /// A membership was signed anew: what its receiver was refused for the lack of that
    /// is owed again.
    pub(super) fn owe_anew(&mut self, now: Instant, receiver: ReceiverId, group: GroupId) {
        let current = self.registry.current_release(group).map(|release| release.name);
        let refused = current.filter(|release| {
            let ended = self.registry.delivery_of(receiver, &release.digest);
            let distrusted = |d: &DeliveryRecord| d.code == FailCode::NotTrusted.word();
            ended.is_some_and(|d| d.state == DeliveryState::Failed && distrusted(d))
        });
        if let Some(release) = refused
            && self.counts(receiver, group)
        {
            let hold = self.hold_of_new(&release.digest);
            self.owe(now, receiver, release, hold);
        }
    }
}
