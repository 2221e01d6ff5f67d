//! What receivers say, and what follows from it.

use chacha20::rand_core::Rng as _;
use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{PeerSlot, ReceiverId, SessionId, StaticKey, TokenId, VerifyingKey};
use fleetcast_core::limits::{MAX_MESSAGE, MAX_NAME};
use fleetcast_core::time::Instant;
use fleetcast_core::wire::bounds::{self, Bounds};
use fleetcast_core::wire::control::{
    Down, GIVES_UP, RefusedWhy, ReleaseName, Standing, Up, decode,
};
use fleetcast_core::wire::nack::{self, Nack};

use super::ServerNode;
use super::commands::voucher_groups;
use super::hearing::Hears;
use super::registry::ID_PREFIX;
use super::shown::Piece;
use crate::model::{DeliveryState, HeldRecord, MembershipRecord, ReceiverRecord};

/// Receivers that may wait for approval at a time.
const MAX_WAITING: usize = 1_000;
/// Bytes of an authority document, or of a segment header, per message.
const AUTHORITY_PIECE: usize = MAX_MESSAGE - 32;

/// What a Hello says.
struct Greeting<'a> {
    name: &'a str,
    version: &'a str,
    signing: VerifyingKey,
    codecs: u8,
    free: u64,
    authority: u32,
    nonce: [u8; 16],
}

impl<A: Aead> ServerNode<A> {
    pub(super) fn on_message(&mut self, now: Instant, slot: PeerSlot, body: &[u8]) {
        let Some(link) = self.links.get(&slot).filter(|link| !link.refused) else { return };
        let receiver = link.receiver;
        if body.first() == Some(&nack::KIND) {
            if let (Ok(nack), Some(id)) = (Nack::parse(body), receiver) {
                self.on_nack(now, slot, id, &nack);
            }
            return;
        }
        if body.first() == Some(&bounds::KIND) {
            // PROTOCOL M6: the last one counts, from the next session on.
            if let (Ok(told), Some(link)) = (Bounds::parse(body), self.links.get_mut(&slot)) {
                link.bounds = Some(told);
            }
            return;
        }
        // PROTOCOL M3: what makes no sense is ignored, and so is everything before Hello.
        let Ok(message) = decode::<Up<'_>>(body) else { return };
        if let Up::Hello { name, version, signing, codecs, free, authority, nonce } = message {
            let greeting = Greeting { name, version, signing, codecs, free, authority, nonce };
            return self.on_hello(now, slot, &greeting);
        }
        // Who was removed is heard no more: what it says would rest on nothing.
        let Some(id) = receiver.filter(|id| self.registry.receiver(id).is_some()) else { return };
        match message {
            Up::Installed { .. } | Up::Failed { .. } | Up::Staged { .. } | Up::Evidence { .. }
                if !self.is_approved(&id) => {}
            Up::Holds { releases, more } => self.on_holds(now, slot, id, &releases, more),
            Up::Pong { nonce } => self.on_pong(now, slot, nonce),
            Up::Trusts { version } => self.on_trusts(slot, version),
            Up::Bye => {
                self.endpoint.disconnect(slot);
                self.drop_link(now, slot);
            }
            Up::Want { release, more, runs, page } => {
                self.on_want(now, id, &release, page, more, &runs);
            }
            Up::Installed { release, at, receipt } => {
                self.on_installed(now, slot, id, &release, at, receipt);
            }
            Up::Failed { release, code, reason } => self.on_failed(now, id, &release, code, reason),
            Up::Staged { release } => self.on_staged(now, (slot, id), &release),
            Up::Findings { release, changes, atomic } => {
                self.on_findings(now, id, &release, changes, atomic);
            }
            Up::Evidence { release, offset, total, bytes } => {
                let (offset, total) = (offset.into(), total.into());
                self.on_evidence(now, (slot, id), Piece { release, offset, total, bytes });
            }
            other => self.on_session_message(now, slot, id, &other),
        }
    }

    /// PROTOCOL A5: a receiver has the newer document, durably.
    fn on_trusts(&mut self, slot: PeerSlot, version: u32) {
        let newest = self.authority.document().version;
        if let Some((known, _)) = self.links.get_mut(&slot).and_then(|link| link.hello.as_mut()) {
            *known = (*known).max(version.min(newest));
        }
    }

    fn on_nack(&mut self, now: Instant, slot: PeerSlot, id: ReceiverId, nack: &Nack<'_>) {
        let record = self.registry.receiver(&id);
        let gives_up = record.is_some_and(|record| record.codecs & GIVES_UP != 0);
        let session = nack.session();
        let Some(live) = self.session_of(session, &id) else { return };
        // PROTOCOL S22
        for block in live.handle_nack(now, (&id, gives_up), nack) {
            self.tell(now, slot, &Down::GiveUp { session, block });
        }
    }

    fn is_approved(&self, id: &ReceiverId) -> bool {
        self.registry.receiver(id).is_some_and(|record| record.standing == Standing::Member)
    }

    /// PROTOCOL S24: a segment header over the channel, in pieces.
    fn tell_header(&mut self, now: Instant, slot: PeerSlot, session: SessionId, header: &[u8]) {
        let total = header.len() as u16;
        for (bytes, offset) in header.chunks(AUTHORITY_PIECE).zip((0..).step_by(AUTHORITY_PIECE)) {
            self.tell(now, slot, &Down::Header { session, offset, total, bytes });
        }
    }

    /// Messages about a session that the receiver takes part in.
    fn on_session_message(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        id: ReceiverId,
        message: &Up<'_>,
    ) {
        match *message {
            Up::Joined { session, epoch, heard } => {
                if heard {
                    let mut symbol = None;
                    if let Some(live) = self.session_of(session, &id) {
                        live.joined(now, &id, epoch);
                        symbol = live.is_multicast().then(|| live.symbol());
                    }
                    if let (Some(symbol), Some(link)) = (symbol, self.links.get_mut(&slot)) {
                        link.hears = Hears::of(symbol);
                    }
                    self.advance_delivery(id, DeliveryState::Transferring);
                } else {
                    self.on_deaf(now, slot, id, session);
                }
            }
            Up::Progress { session, received, lost, counter, held, .. } => {
                let (mut slow, mut silent) = (None, false);
                if let Some(live) = self.session_of(session, &id) {
                    slow = live.handle_progress(now, &id, (received, lost), counter);
                    silent = live.fell_silent(now, &id, received, counter);
                }
                if let Some(pace) = slow.filter(|_| !silent) {
                    self.set_aside(now, (slot, id), session, pace);
                }
                self.note_progress(id, held);
                if silent {
                    self.on_silent(now, slot, id, session);
                }
            }
            Up::HeaderRequest { session, block } => {
                let told = self
                    .session_of(session, &id)
                    .and_then(|live| live.handle_header_request(now, &id, block));
                if let Some(header) = told {
                    self.tell_header(now, slot, session, &header);
                }
            }
            Up::KeyRequest { session } => {
                let key = self.session_of(session, &id).map(|live| live.newest_key());
                if let Some((epoch, key)) = key {
                    self.tell(now, slot, &Down::Epoch { session, epoch, key });
                }
            }
            Up::Finished { session, .. } => {
                if let Some(live) = self.session_of(session, &id) {
                    live.finished(&id);
                }
            }
            Up::Poisoned { session, block } => self.on_poisoned(now, id, session, block),
            _ => self.on_person(now, slot, id, message),
        }
    }

    // --- the beginning of a channel ---

    fn on_hello(&mut self, now: Instant, slot: PeerSlot, greeting: &Greeting<'_>) {
        let Some(link) = self.links.get(&slot) else { return };
        let (key, token, constrained) = (link.key, link.token, link.constrained);
        if let Some(why) = self.refuses(&key) {
            return self.refuse(now, slot, why);
        }
        let id = ReceiverId::of(&key);
        // Once is enough for a channel: each writes, and is answered with a signature.
        if link.hello.is_some() && !self.patience.pages.take(now, &id) {
            return;
        }
        let known = self.registry.receiver(&id).cloned();
        let invited = token.is_some();
        let Some(record) = known.or_else(|| self.newcomer(key, greeting.name, invited)) else {
            return self.refuse(now, slot, RefusedWhy::Full);
        };
        if let Some(&other) = self.connected.get(&id).filter(|&&other| other != slot) {
            self.drop_link(now, other);
        }
        let record = ReceiverRecord {
            signing: Some(greeting.signing),
            constrained,
            last_seen: self.registry.time(),
            address: self.endpoint.address(slot),
            version: greeting.version.chars().take(MAX_NAME).collect(),
            free: greeting.free,
            codecs: greeting.codecs,
            ..record
        };
        self.registry.put_receiver(record);
        let doubted = self.in_doubt().is_some();
        if let Some(why) = token.filter(|_| !doubted).and_then(|t| self.redeem(now, id, key, t)) {
            return self.refuse(now, slot, why);
        }
        if let Some(link) = self.links.get_mut(&slot) {
            link.receiver = Some(id);
            link.hello = Some((greeting.authority, greeting.nonce));
        }
        self.connected.insert(id, slot);
        // PROTOCOL H5: it leaves once all this is durable.
        self.welcome(now, slot);
        let waits = self.registry.receiver(&id).is_some_and(|r| r.standing == Standing::Waiting);
        if doubted && waits && token.is_some() {
            self.put_off(now, slot);
        }
    }

    /// A receiver that enrols now, waiting until something says otherwise.
    ///
    /// Where too many wait, who has gone longest makes room: nobody can fill the list
    /// without staying. Who has a token does not wait: those who do keep it out of nothing.
    fn newcomer(
        &mut self,
        key: StaticKey,
        wanted_name: &str,
        invited: bool,
    ) -> Option<ReceiverRecord> {
        let waiting = || self.registry.receivers().filter(|r| r.standing == Standing::Waiting);
        if !invited && waiting().count() >= MAX_WAITING {
            let gone = waiting().filter(|waiting| !self.connected.contains_key(&waiting.id));
            let longest = gone.min_by_key(|gone| (gone.last_seen, gone.id))?.id;
            self.registry.remove_receiver(&longest);
        }
        let id = ReceiverId::of(&key);
        Some(ReceiverRecord {
            id,
            key,
            signing: None,
            name: self.free_name(wanted_name, &id),
            standing: Standing::Waiting,
            constrained: false,
            order: (0, 0),
            enrolled: self.registry.time(),
            last_seen: self.registry.time(),
            address: None,
            version: String::new(),
            free: 0,
            codecs: 0,
            owner: None,
        })
    }

    /// The wanted name, or one like it that nobody has.
    fn free_name(&self, wanted: &str, id: &ReceiverId) -> String {
        let safe = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        // What an option or a hidden directory begins with, no name does.
        let wanted = wanted.chars().filter(safe).skip_while(|c| matches!(c, '-' | '.'));
        let mut name: String = wanted.take(MAX_NAME / 4).collect();
        // Nobody calls itself what an admin may type for another: the beginning of its identity.
        let passes_for_id = name.len() >= ID_PREFIX && name.bytes().all(|b| b.is_ascii_hexdigit());
        if name.is_empty() {
            name = format!("receiver-{}", &id.to_string()[..8]);
        } else if passes_for_id {
            name.insert_str(0, "receiver-");
        }
        if !self.registry.has_name(&name) {
            return name;
        }
        // Many come by the name that their image has: most of the numbers are taken.
        let like = self.registry.names_like(&format!("{name}-"));
        let mut numbered = (2..9).chain(like + 2..).map(|n| format!("{name}-{n}"));
        numbered.find(|candidate| !self.registry.has_name(candidate)).unwrap_or(name)
    }

    /// Uses a token: the receiver is in at once, and in the voucher's groups.
    ///
    /// Returns why not, if the token does not count; one who is in already stays in.
    pub(super) fn redeem(
        &mut self,
        now: Instant,
        id: ReceiverId,
        key: StaticKey,
        token: TokenId,
    ) -> Option<RefusedWhy> {
        let mut record = self.registry.receiver(&id).cloned()?;
        if record.standing != Standing::Waiting {
            return None;
        }
        let mut voucher = self.registry.voucher(&token).cloned()?;
        let time = self.registry.time();
        let refused = if voucher.revoked {
            Some(RefusedWhy::Revoked)
        } else if voucher.expires < time {
            Some(RefusedWhy::Expired)
        } else if voucher.used >= voucher.uses {
            Some(RefusedWhy::Used)
        } else {
            None
        };
        if let Some(why) = refused {
            let result = format!("invitation {why:?}").to_lowercase();
            // A code that was used up may be tried without end.
            if self.logins.lines.take(now, &()) {
                self.registry.log(&record.name, "enrolment-refused", &id.to_string(), &result);
            }
            self.registry.remove_receiver(&id);
            return refused;
        }
        voucher.used += 1;
        record.standing = Standing::Member;
        let name = record.name.clone();
        self.registry.put_receiver(record);
        let groups = voucher_groups(&voucher.document);
        for group in groups {
            if self.registry.group(&group).is_some()
                && let Some(certificate) = self.certify(key, group, voucher.digest)
            {
                self.registry.put_membership(MembershipRecord {
                    receiver: id,
                    group,
                    certificate,
                    voucher: Some(voucher.digest),
                    since: time,
                });
            }
        }
        self.registry.put_voucher(voucher);
        self.registry.log(&name, "enrolled", &id.to_string(), "by token");
        None
    }

    /// Greets a receiver: who it is, whom to trust, where it is a member.
    pub(super) fn welcome(&mut self, now: Instant, slot: PeerSlot) {
        let Some(link) = self.links.get(&slot) else { return };
        let (Some(id), Some((authority, nonce))) = (link.receiver, link.hello) else { return };
        let Some(record) = self.registry.receiver(&id) else {
            return self.tell(now, slot, &Down::Refused { why: RefusedWhy::Unknown });
        };
        let (name, standing) = (record.name.clone(), record.standing);
        let time = self.registry.time();
        self.tell(now, slot, &Down::Welcome { id, name: &name, standing, time, nonce });
        if standing == Standing::Member {
            self.strangers.forget(slot);
            self.send_authority(now, slot, authority);
            let memberships: Vec<_> = self.registry.memberships_of(id).cloned().collect();
            for membership in memberships {
                self.send_membership(now, slot, &membership);
            }
            self.send_freshness(now, slot, id, nonce);
            self.tell_denials(now, slot, id);
        }
    }

    // PROTOCOL A4: all that it lacks, in the order of their versions.
    pub(super) fn send_authority(&mut self, now: Instant, slot: PeerSlot, known: u32) {
        let newer = self.chain.above(known).map(|(version, document)| (version, document.to_vec()));
        for (version, document) in newer.collect::<Vec<_>>() {
            let total = document.len() as u16;
            for (piece, at) in document.chunks(AUTHORITY_PIECE).zip((0..).step_by(AUTHORITY_PIECE))
            {
                let message = Down::Authority { version, offset: at as u16, total, bytes: piece };
                self.tell(now, slot, &message);
            }
        }
    }

    pub(super) fn send_membership(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        record: &MembershipRecord,
    ) {
        let voucher = record.voucher.and_then(|digest| self.registry.voucher_of(&digest));
        let voucher = voucher.map(|voucher| voucher.document.clone()).unwrap_or_default();
        let message = Down::Membership { certificate: &record.certificate, voucher: &voucher };
        self.tell(now, slot, &message);
    }

    fn on_holds(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        id: ReceiverId,
        releases: &[ReleaseName],
        more: bool,
    ) {
        // Once is enough for a channel; who changes its mind without end fills the disk.
        if !self.patience.pages.take(now, &id) {
            if let Some(link) = self.links.get_mut(&slot) {
                // What it could not tell is not taken for lost.
                link.ready = true;
            }
            return;
        }
        let known = |release: &&ReleaseName| self.registry.group(&release.group).is_some();
        let known: Vec<ReleaseName> = releases.iter().filter(known).copied().collect();
        for release in known {
            self.note_holds(slot, &release);
            let (at, before) = (self.registry.time(), self.is_held(id, &release));
            self.registry.put_held(HeldRecord { receiver: id, release, at, receipt: Vec::new() });
            if self.settle_delivery(id, &release, DeliveryState::Installed, "", "") && !before {
                self.note_saving(&release);
            }
            self.take_place(now, id, &release);
        }
        if !more {
            let link = self.links.get_mut(&slot);
            if link.is_some_and(|link| !std::mem::replace(&mut link.ready, true)) {
                self.forget_lost(now, slot, id);
            }
            self.owe_current(now, id);
            self.release_to(now, id);
        }
    }

    // --- pings ---

    fn on_pong(&mut self, now: Instant, slot: PeerSlot, nonce: u64) {
        self.follow(slot);
        if let Some(link) = self.links.get_mut(&slot)
            && let Some((_, sent)) = link.ping.filter(|(expected, _)| *expected == nonce)
        {
            link.ping = None;
            link.round_trip = Some(now.since(sent));
        }
    }

    // --- the end of a channel ---

    /// A receiver is elsewhere: it is asked whether it really is there, since
    /// catch-up waits for an answer that may never be due otherwise (PROTOCOL C6).
    pub(super) fn on_moved(&mut self, now: Instant, slot: PeerSlot) {
        let nonce = self.rng.next_u64();
        self.tell(now, slot, &Down::Ping { nonce });
        let address = self.endpoint.address(slot);
        if let Some(id) = self.links.get(&slot).and_then(|link| link.receiver) {
            self.registry.touch_receiver(&id, |record| record.address = address);
        }
    }

    /// Sends a receiver's catch-up where it is now, if it has proved that (PROTOCOL C6).
    fn follow(&mut self, slot: PeerSlot) {
        let Some(to) = self.endpoint.address(slot) else { return };
        let Some(id) = self.links.get(&slot).and_then(|link| link.receiver) else { return };
        if !self.endpoint.address_confirmed(slot) {
            return;
        }
        for session in &mut self.sessions {
            if !session.is_multicast() && session.members().contains_key(&id) {
                session.redirect(to);
            }
        }
    }

    pub(super) fn on_gone(&mut self, now: Instant, slot: PeerSlot) {
        self.drop_link(now, slot);
    }

    pub(super) fn drop_link(&mut self, now: Instant, slot: PeerSlot) {
        self.strangers.forget(slot);
        let Some(link) = self.links.remove(&slot) else { return };
        let Some(id) = link.receiver else { return };
        if self.connected.get(&id) == Some(&slot) {
            self.connected.remove(&id);
        }
        if let Some(mut record) = self.registry.receiver(&id).cloned() {
            record.last_seen = self.registry.time();
            self.registry.put_receiver(record);
        }
        self.abandon(now, id);
    }

    pub(super) fn name_of(&self, id: &ReceiverId) -> String {
        self.registry.receiver(id).map_or_else(|| id.to_string(), |record| record.name.clone())
    }
}
