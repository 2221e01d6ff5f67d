//! What the server says, and what follows from it.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::membership::VerifiedMembership;
use fleetcast_core::trust::statement::Receipt;
use fleetcast_core::wire::control::{
    CODEC_LZ4, CODEC_PATCH, CODEC_ZSTD, Down, GIVES_UP, HOLDS_BACK, MAX_HELD, RefusedWhy,
    ReleaseName, Standing, Up, decode,
};

use super::pieces::Pieces;
use super::state::Certificate;
use super::{Agent, AgentEvent};
use crate::disk::Disk;
use crate::health::Condition;
use crate::staging::area::Area;

impl<D: Disk, A: Aead> Agent<D, A> {
    /// PROTOCOL M1: Hello and the whole inventory come first.
    pub(super) fn greet(&mut self, now: Instant) {
        self.queue.clear();
        self.forsake();
        self.certified.clear();
        self.free = self.destination.space().map_or(self.free, |space| space.free);
        let name = self.state.identity.as_ref().map_or(&self.name, |(_, name)| name).clone();
        let authority = self.authority.as_ref().map_or(0, |trusted| trusted.document().version);
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.next_seed().to_le_bytes());
        nonce[8..].copy_from_slice(&self.state.boot.to_le_bytes());
        self.nonce = Some(nonce);
        let hello = Up::Hello {
            name: &name,
            version: env!("CARGO_PKG_VERSION"),
            signing: self.signing.verifying_key(),
            codecs: CODEC_LZ4 | CODEC_ZSTD | CODEC_PATCH | GIVES_UP | HOLDS_BACK,
            free: self.free,
            authority,
            nonce,
        };
        self.say(now, &hello);
        let held: Vec<ReleaseName> = Area::open(&self.destination)
            .and_then(|area| area.held())
            .map(|held| held.iter().map(|held| held.release).collect())
            .unwrap_or_default();
        let pages = held.len().div_ceil(MAX_HELD).max(1);
        for page in 0..pages {
            let releases = held.iter().skip(page * MAX_HELD).take(MAX_HELD).copied().collect();
            self.say(now, &Up::Holds { releases, more: page + 1 < pages });
        }
        // Again each time: a server that stopped in between may have lost a receipt
        // that it had got.
        for release in held {
            self.confirm(now, release);
        }
        self.tell_staged(now);
    }

    /// Tells the server that a release is installed, with a receipt.
    pub(super) fn confirm(&mut self, now: Instant, release: ReleaseName) {
        let at = self.state.installed_at(&release);
        let receipt = Receipt { device: self.device, release, at };
        let Ok(body) = receipt.body() else { return };
        let signature = self.signing.sign(Context::Receipt, &[&body]);
        self.say(now, &Up::Installed { release, at, receipt: &signature });
    }

    pub(super) fn on_message(&mut self, now: Instant, body: &[u8]) {
        // PROTOCOL M3: what makes no sense is ignored.
        let Ok(message) = decode::<Down<'_>>(body) else { return };
        match message {
            Down::Welcome { id, name, standing, .. } => {
                self.on_welcome(id, name, standing);
                self.log_in(now);
            }
            Down::Refused { why } => self.on_refused(why),
            Down::Authority { version, offset, total, bytes } => {
                self.on_authority(now, version, (offset.into(), total.into()), bytes);
            }
            Down::Membership { certificate, voucher } => self.on_membership(certificate, voucher),
            Down::Removed { group } => self.on_removed(group),
            Down::Invitation(invitation) => self.on_invitation(now, &invitation),
            Down::Epoch { session, epoch, key } => self.on_epoch(now, session, epoch, &key),
            Down::Ended { session } => self.on_ended(now, session),
            Down::GiveUp { session, block } => self.on_give_up(session, block),
            Down::Cancelled { release } => self.cancel(&release),
            Down::Groups { more, groups } => self.on_groups(now, more, &groups),
            Down::Answer { group, answer } => self.on_answer(group, answer),
            Down::Account { answer } => self.on_account(answer),
            Down::Hold { release } => self.on_hold(release),
            Down::Activate { release } => self.on_activate(now, release),
            Down::Header { session, offset, total, bytes } => {
                self.on_header(now, session, (offset.into(), total.into()), bytes);
            }
            // Nobody sends these.
            Down::Kept17 | Down::Kept18 => {}
            Down::Bye { spread_ms } => self.on_bye(now, spread_ms),
            Down::Ping { nonce } => self.say(now, &Up::Pong { nonce }),
            // It comes last: by now the pinned authority document must have come.
            Down::Freshness { .. } if self.authority.is_none() => self.end("authority-mismatch"),
            Down::Freshness { nonce, authority, newest, signature } => {
                self.on_freshness(now, nonce, authority, &newest, signature);
            }
        }
    }

    fn on_welcome(&mut self, id: ReceiverId, name: &str, standing: Standing) {
        self.waits = standing == Standing::Waiting;
        if standing == Standing::Waiting {
            self.note_removal();
        }
        match standing {
            // Who logs in waits for nobody.
            Standing::Waiting if self.login.is_some() => {}
            Standing::Waiting => {
                self.tell(AgentEvent::Waiting { fingerprint: Digest::of(&self.device.0) });
            }
            Standing::Revoked => self.on_refused(RefusedWhy::Revoked),
            Standing::Member => {
                let news = self.state.identity.as_ref().map(|(_, known)| known.as_str());
                if news != Some(name) {
                    let first = news.is_none();
                    self.state.identity = Some((id, name.to_owned()));
                    if let Some(enrolment) = &mut self.state.enrolment {
                        // Used: a restart connects by the device key alone.
                        enrolment.token = None;
                    }
                    // If it cannot be kept, the next start enrols by the key it has.
                    let _ = self.save();
                    if first {
                        self.tell(AgentEvent::Enrolled { id, name: name.to_owned() });
                    }
                }
                self.member = true;
                self.health.lower(Condition::ServerSuspended, "");
                if self.delivery.is_some() {
                    // It says what it lacks before somebody sends it everything again.
                    self.work_at = Some(Instant::ZERO);
                }
                self.tell(AgentEvent::Connected { server: self.server() });
            }
        }
    }

    /// PROTOCOL C7: the server stops. It is gone at once, not only after its silence.
    fn on_bye(&mut self, now: Instant, spread_ms: u32) {
        self.endpoint.come_back(now, Duration::from_millis(spread_ms.into()));
        self.on_disconnected("server-stopped");
    }

    /// The server does not know it any more, or does not want it: it was taken in before.
    /// It is told once; from now on it is a receiver that enrols.
    fn note_removal(&mut self) -> bool {
        let was_in = self.state.identity.take().is_some();
        if was_in {
            // If it cannot be kept, the next start tells it again.
            let _ = self.save();
            self.member = false;
            self.tell(AgentEvent::Removed);
        }
        was_in
    }

    fn on_refused(&mut self, why: RefusedWhy) {
        if matches!(why, RefusedWhy::Revoked | RefusedWhy::Unknown) && self.note_removal() {
            return self.end("receiver-removed");
        }
        let code = match why {
            RefusedWhy::Expired => "invite-expired",
            RefusedWhy::Used => "invite-used",
            // It was shown to an admin, who did not want it.
            RefusedWhy::Revoked if self.waits => "receiver-denied",
            RefusedWhy::Revoked => "invite-revoked",
            RefusedWhy::Full => "waiting-list-full",
            RefusedWhy::Unknown => "receiver-unknown",
        };
        self.end(code);
    }

    /// Nothing will come of this enrolment.
    pub(super) fn end(&mut self, code: &'static str) {
        self.member = false;
        self.drop_delivery();
        self.tell(AgentEvent::Refused { code });
    }

    fn on_authority(
        &mut self,
        now: Instant,
        version: u32,
        (offset, total): (usize, usize),
        bytes: &[u8],
    ) {
        let pieces = self.pieces.take().filter(|_| offset > 0);
        let mut pieces = pieces.unwrap_or_else(|| Pieces::new(version, total));
        match pieces.add(version, offset, total, bytes) {
            Some(document) => drop(self.trust(now, document)),
            None => self.pieces = Some(pieces),
        }
    }

    fn on_membership(&mut self, certificate: &[u8], voucher: &[u8]) {
        let Some(authority) = &self.authority else { return };
        let verified = VerifiedMembership::verify(authority, &self.device, certificate, voucher);
        let Ok(verified) = verified else { return };
        let group = verified.membership().group;
        self.certified.insert(group);
        let record =
            Certificate { group, certificate: certificate.to_vec(), voucher: voucher.to_vec() };
        if self.state.memberships.contains(&record) {
            return;
        }
        self.state.memberships.retain(|known| known.group != group);
        self.state.memberships.push(record);
        // Kept in memory in any case; the server sends it again after a restart.
        let _ = self.save();
    }

    pub(super) fn on_removed(&mut self, group: GroupId) {
        let before = self.state.memberships.len();
        self.state.memberships.retain(|known| known.group != group);
        self.certified.remove(&group);
        self.holding.forget_group(group);
        if self.delivery.as_ref().is_some_and(|delivery| delivery.release().group == group) {
            self.drop_delivery();
        }
        if self.state.memberships.len() == before {
            return;
        }
        // The highest order stays: who comes back goes on from there.
        let _ = self.save();
        let name = self.group_name(group);
        self.health.lower(Condition::FreshnessBackwards, &name);
        self.health.lower(Condition::FreshnessWithheld, &name);
        self.tell(AgentEvent::TakenOut { group: name });
    }

    pub(super) const fn next_seed(&mut self) -> u64 {
        self.seeds = self.seeds.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x9E37_79B9);
        self.seeds
    }
}
