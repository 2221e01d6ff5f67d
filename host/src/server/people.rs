//! What people at receivers ask for: which groups there are, to join one, to
//! leave one. Only receivers that are approved are heard (PROTOCOL G1).

use std::ops::Bound;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, PeerSlot, ReceiverId, StaticKey};
use fleetcast_core::limits::{MAX_REQUESTS, MAX_REQUESTS_EACH};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::document;
use fleetcast_core::trust::membership::{MAX_MEMBERSHIP, Membership};
use fleetcast_core::wire::control::{Down, Standing, Up, encode};
use fleetcast_core::wire::people::{Answer, Available, MAX_LISTED, Relation};

use super::ServerNode;
use crate::model::{GroupRecord, MembershipRecord, RequestRecord};

/// Messages that wait for a receiver which asks without reading the answers.
const MOST_UNREAD: usize = 64;

impl<A: Aead> ServerNode<A> {
    // PROTOCOL G1: nobody is heard before an admin, or an invitation, has let it in.
    pub(super) fn on_person(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        id: ReceiverId,
        message: &Up<'_>,
    ) {
        if matches!(message, Up::Login { .. } | Up::Password { .. }) {
            return self.on_account(now, slot, id, message);
        }
        let standing = self.registry.receiver(&id).map(|record| record.standing);
        if standing != Some(Standing::Member) {
            return;
        }
        match *message {
            // What was decided since the copy of the catalog was made is not known.
            Up::Join { group } | Up::Leave { group } if self.in_doubt().is_some() => {
                self.tell(now, slot, &Down::Answer { group, answer: Answer::Later });
            }
            Up::Groups { after } => self.on_list(now, slot, id, after),
            Up::Join { group } => {
                let answer = self.join(now, slot, id, group);
                self.tell(now, slot, &Down::Answer { group, answer });
            }
            Up::Leave { group } => {
                let answer = self.leave(now, id, group);
                self.tell(now, slot, &Down::Answer { group, answer });
            }
            _ => {}
        }
    }

    /// One page of the groups, in the order of their identities.
    fn on_list(&mut self, now: Instant, slot: PeerSlot, id: ReceiverId, after: Option<GroupId>) {
        let reads = self.links.get(&slot).is_some_and(|link| link.outbox.len() < MOST_UNREAD);
        // Who asks faster than that is no person: it gets no answer.
        if !reads || !self.patience.pages.take(now, &id) {
            return;
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page: Vec<GroupRecord> =
            self.registry.groups_from(from).take(MAX_LISTED + 1).cloned().collect();
        let more = page.len() > MAX_LISTED;
        page.truncate(MAX_LISTED);
        let groups = page.iter().map(|record| Available {
            group: record.id,
            name: &record.name,
            open: record.open,
            relation: self.relation(id, record.id),
        });
        let groups = groups.collect();
        self.tell(now, slot, &Down::Groups { more, groups });
    }

    fn relation(&self, receiver: ReceiverId, group: GroupId) -> Relation {
        if self.registry.is_member(receiver, group) {
            return Relation::Member;
        }
        match self.registry.request(receiver, group) {
            None => Relation::None,
            // Only proposed by an operator, which is no business of the receiver's.
            Some(request) if !request.asked => Relation::None,
            Some(request) if request.denied.is_some() => Relation::Denied,
            Some(_) => Relation::Asked,
        }
    }

    /// What becomes of a request to join.
    fn join(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        id: ReceiverId,
        name: &str,
    ) -> Answer<'static> {
        let Some(group) = self.registry.group_named(name).cloned() else { return Answer::Unknown };
        match self.relation(id, group.id) {
            Relation::Member => return Answer::Member,
            // PROTOCOL G2: asked twice is asked once.
            Relation::Asked if self.open_voucher(&group).is_none() => return Answer::Asked,
            _ => {}
        }
        if !self.patience.changes.take(now, &id) {
            return Answer::Later;
        }
        match self.open_membership(id, &group) {
            Some(record) => {
                self.registry.put_membership(record.clone());
                let receiver = self.name_of(&id);
                self.registry.log(&receiver, "joined-open", &receiver, &group.name);
                self.send_membership(now, slot, &record);
                self.owe_current(now, id);
                Answer::Member
            }
            None => self.ask(id, &group),
        }
    }

    /// PROTOCOL G4: a membership in an open group, by the voucher that admins signed for it.
    fn open_membership(&self, id: ReceiverId, group: &GroupRecord) -> Option<MembershipRecord> {
        let voucher = self.open_voucher(group)?;
        let key = self.registry.receiver(&id)?.key;
        let certificate = self.certify(key, group.id, voucher)?;
        let since = self.registry.time();
        let (group, voucher) = (group.id, Some(voucher));
        Some(MembershipRecord { receiver: id, group, certificate, voucher, since })
    }

    /// The voucher of an open group, while it counts.
    fn open_voucher(&self, group: &GroupRecord) -> Option<Digest> {
        let voucher = self.registry.voucher_of(&group.voucher.filter(|_| group.open)?)?;
        let counts = !voucher.revoked && self.registry.time() <= voucher.expires;
        counts.then_some(voucher.digest)
    }

    /// PROTOCOL G2: writes a request down, within bounds.
    fn ask(&mut self, id: ReceiverId, group: &GroupRecord) -> Answer<'static> {
        if !self.make_room(id, group.id, true) {
            return Answer::Full;
        }
        let proposed = self.registry.request(id, group.id).and_then(|r| r.proposed.clone());
        let (group_id, since) = (group.id, self.registry.time());
        let (receiver, asked, denied) = (id, true, None);
        let record = RequestRecord { receiver, group: group_id, asked, proposed, denied, since };
        self.registry.put_request(record);
        let receiver = self.name_of(&id);
        self.registry.log(&receiver, "join-requested", &receiver, &group.name);
        Answer::Asked
    }

    /// Whether a request of a receiver may be kept besides the others; its oldest denied one
    /// gives way, and to one that it `asks` for what is only proposed.
    pub(super) fn make_room(&mut self, id: ReceiverId, group: GroupId, asks: bool) -> bool {
        if self.registry.request(id, group).is_some() {
            return true;
        }
        let others: Vec<RequestRecord> = self.registry.requests_of(id).cloned().collect();
        if others.len() >= MAX_REQUESTS_EACH {
            let yields = |other: &&RequestRecord| other.denied.is_some() || asks && !other.asked;
            let oldest = others.iter().filter(yields).min_by_key(|other| other.since);
            let Some(oldest) = oldest else { return false };
            self.registry.remove_request(id, oldest.group);
        }
        self.registry.requests().count() < MAX_REQUESTS
    }

    /// Takes a membership or a request back.
    fn leave(&mut self, now: Instant, id: ReceiverId, name: &str) -> Answer<'static> {
        let Some(group) = self.registry.group_named(name).cloned() else { return Answer::Unknown };
        let action = match self.relation(id, group.id) {
            Relation::None => return Answer::Left,
            Relation::Member => "left",
            Relation::Asked | Relation::Denied => "request-withdrawn",
        };
        if !self.patience.changes.take(now, &id) {
            return Answer::Later;
        }
        self.registry.remove_request(id, group.id);
        if self.registry.remove_membership(id, group.id) {
            self.expel(now, id, group.id);
        }
        let receiver = self.name_of(&id);
        self.registry.log(&receiver, action, &receiver, &group.name);
        Answer::Left
    }

    /// PROTOCOL G3: tells a receiver that has come what was denied while it was away.
    pub(super) fn tell_denials(&mut self, now: Instant, slot: PeerSlot, id: ReceiverId) {
        let denied = self.registry.requests_of(id).filter_map(|request| {
            let group = self.registry.group(&request.group)?.name.clone();
            Some((group, request.denied.clone()?))
        });
        for (group, reason) in denied.collect::<Vec<_>>() {
            let answer = Answer::Denied { reason: &reason };
            self.tell(now, slot, &Down::Answer { group: &group, answer });
        }
    }

    /// PROTOCOL G3: tells what an admin has decided to who is here.
    pub(super) fn tell_answer(
        &mut self,
        now: Instant,
        id: ReceiverId,
        group: &str,
        answer: Answer<'_>,
    ) {
        if let Some(&slot) = self.connected.get(&id) {
            self.tell(now, slot, &Down::Answer { group, answer });
        }
    }

    /// A membership made from a voucher, signed by the controller (PROTOCOL T5).
    pub(super) fn certify(
        &self,
        device: StaticKey,
        group: GroupId,
        voucher: Digest,
    ) -> Option<Vec<u8>> {
        let membership = Membership {
            fleet: self.authority.document().fleet,
            device,
            group,
            serial: self.registry.time(),
            issued: self.registry.time(),
            not_after: 0,
            voucher: Some(voucher),
        };
        let mut body = [0; MAX_MEMBERSHIP];
        let body = encode(&membership, &mut body).ok()?;
        let mut out = vec![0; document::signed_len(body.len(), 1)];
        let len = document::assemble(body, &mut out).ok()?;
        let len = document::add_signature(&mut out, len, Context::Membership, &self.config.signing);
        out.truncate(len.ok()?);
        Some(out)
    }
}
