//! What the server says, and what follows from it.

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::GroupId;
use fleetcast_core::limits::{MAX_AUTHORITY, MAX_SIGNATURES};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::document::signed_len;
use fleetcast_core::trust::membership::VerifiedMembership;
use fleetcast_core::wire::Malformed;
use fleetcast_core::wire::control::{Down, RefusedWhy, Standing, decode};

use super::opening::IDENTITY;
use super::words::Word;
use super::{Appliance, DOCUMENT, Event};
use crate::identity::KEPT;
use crate::partition::Disk;

const _: () = assert!(signed_len(MAX_AUTHORITY, MAX_SIGNATURES) <= DOCUMENT);

impl<D: Disk> Appliance<'_, D> {
    #[inline(never)]
    pub(super) fn on_message(&mut self, now: Instant, body: &[u8]) {
        // PROTOCOL M3: what makes no sense is ignored.
        let Ok(message) = read(body) else { return };
        match message {
            Down::Welcome { standing, .. } => self.on_welcome(standing),
            Down::Refused { why } => self.on_refused(why),
            Down::Authority { version, offset, total, bytes } => {
                self.on_authority(version, offset.into(), total.into(), bytes);
            }
            Down::Membership { certificate, voucher } => self.on_membership(certificate, voucher),
            Down::Removed { group } => self.on_removed(group),
            Down::Invitation(invitation) => self.on_invitation(now, &invitation),
            Down::Epoch { session, epoch, key } => self.on_epoch(session, epoch, &key),
            Down::Ended { session } => self.on_ended(now, session),
            Down::Cancelled { release } => self.cancel(&release),
            Down::Ping { nonce } => self.words.push(Word::Pong(nonce)),
            // PROTOCOL C7: the server stops.
            Down::Bye { spread_ms } => {
                self.endpoint.come_back(now, Duration::from_millis(spread_ms.into()));
                self.on_disconnected();
            }
            // It comes last: by now the pinned authority document must have come.
            Down::Freshness { .. } if self.authority.is_none() => {
                self.tell(Event::AuthorityMismatch);
            }
            Down::Freshness { nonce, authority, newest, signature } => {
                self.on_freshness(nonce, authority, newest, signature);
            }
            // Nobody asks at a board; its Hello does not say that it holds back or gives up.
            Down::Groups { .. }
            | Down::Answer { .. }
            | Down::Account { .. }
            | Down::Hold { .. }
            | Down::GiveUp { .. }
            | Down::Activate { .. }
            // A board that finds no headers leaves its session: the rest comes by catch-up.
            | Down::Header { .. }
            | Down::Kept17
            | Down::Kept18 => {}
        }
    }

    fn on_welcome(&mut self, standing: Standing) {
        match standing {
            Standing::Waiting => {
                self.tell(Event::Waiting { fingerprint: Digest::of(&self.device.0) });
            }
            Standing::Revoked => self.on_refused(RefusedWhy::Revoked),
            Standing::Member => {
                // Used: a restart connects by the device key alone.
                if self.identity.enrolment.token.take().is_some() {
                    self.keep_identity();
                    self.tell(Event::Enrolled);
                }
                self.member = true;
                self.tell(Event::Connected);
            }
        }
    }

    fn on_refused(&mut self, why: RefusedWhy) {
        self.member = false;
        self.drop_delivery();
        self.tell(Event::Refused(why));
    }

    fn on_authority(&mut self, version: u32, offset: usize, total: usize, bytes: &[u8]) {
        let here = match self.pieces.take() {
            _ if offset == 0 => 0,
            // A piece of another document, or out of its turn, is ignored: the channel
            // keeps the order, so a sender that breaks it starts anew.
            Some((of, length, here)) if (of, length, here) == (version, total, offset) => here,
            other => return self.pieces = other,
        };
        let end = here.saturating_add(bytes.len());
        let fits = total <= DOCUMENT && end <= total;
        let Some(room) = self.document.get_mut(here..end).filter(|_| fits) else { return };
        room.copy_from_slice(bytes);
        // A whole one is judged when the message is gone from the stack.
        self.pieces = Some((version, total, end));
    }

    /// Whether an authority document waits to be judged.
    pub(super) fn has_document(&self) -> bool {
        self.pieces.is_some_and(|(_, total, here)| total == here)
    }

    /// Judges an authority document that is whole.
    pub(super) fn judge_document(&mut self, now: Instant) {
        if let Some((_, total, _)) = self.pieces.take_if(|(_, total, here)| total == here)
            && self.trust(total)
        {
            self.begin_anew(now);
        }
    }

    /// What was begun under the document before is judged by the newest, on a new channel.
    // PROTOCOL T8
    #[inline(never)]
    fn begin_anew(&mut self, now: Instant) {
        self.drop_delivery();
        self.words.clear();
        if !self.follow_controller(now) {
            self.endpoint.restart(now);
        }
        if core::mem::take(&mut self.member) {
            self.tell(Event::Disconnected);
        }
    }

    /// Shakes hands with another controller where the newest document names the one that
    /// is known no more; whether it does.
    // PROTOCOL A3
    #[inline(never)]
    pub(super) fn follow_controller(&mut self, now: Instant) -> bool {
        let known = self.identity.enrolment.controller;
        let lost = self.authority.as_ref().filter(|a| a.controller(&known).is_none());
        let Some(key) = lost.and_then(|authority| authority.controller_after(&known)) else {
            return false;
        };
        self.identity.enrolment.controller = key;
        self.keep_identity();
        self.endpoint.set_server_key(now, key);
        true
    }

    /// PROTOCOL T2: the pinned document first, then only successors. Whether one took the
    /// place of another.
    #[inline(never)]
    fn trust(&mut self, len: usize) -> bool {
        let Some(document) = self.document.get(..len) else { return false };
        let next = match &self.authority {
            Some(trusted) => trusted.advance(document),
            None => TrustedAuthority::pin(document, self.identity.enrolment.authority),
        };
        let Ok(next) = next else { return false };
        let is_first = self.authority.is_none();
        // The first one is trusted also where it cannot be kept: nothing older could
        // come back, and the server does not send it twice on one channel.
        let kept = self.store.put_authority(document).is_ok();
        if kept || is_first {
            self.identity.trusted = next.digest();
            self.authority = Some(next);
            self.keep_identity();
            !is_first
        } else {
            self.tell(Event::NotKept);
            false
        }
    }

    #[inline(never)]
    fn on_membership(&mut self, certificate: &[u8], voucher: &[u8]) {
        let Some(authority) = &self.authority else { return };
        let verified = VerifiedMembership::verify(authority, &self.device, certificate, voucher);
        let Ok(verified) = verified else { return };
        let group = verified.membership().group;
        // The room may have held pieces of an authority document: it comes again.
        self.pieces = None;
        let kept = self.store.membership(group, &mut self.document[..]);
        if kept.is_ok_and(|kept| kept == Some((certificate, voucher))) {
            return;
        }
        // The server sends it again after a restart.
        self.note_failure(|store| store.put_membership(group, certificate, voucher).is_ok());
    }

    fn on_removed(&mut self, group: GroupId) {
        self.note_failure(|store| store.put_membership(group, &[], &[]).is_ok());
        if self.delivery.as_ref().is_some_and(|delivery| delivery.release.group == group) {
            self.drop_delivery();
        }
    }

    fn keep_identity(&mut self) {
        let mut kept = [0; KEPT];
        self.identity.write(&mut kept);
        self.note_failure(|store| store.put_note(IDENTITY, &kept).is_ok());
    }

    /// Keeps something, and tells where that fails.
    fn note_failure(
        &mut self,
        keep: impl FnOnce(&mut fleetcast_core::store::Store<'_, D>) -> bool,
    ) {
        if !keep(&mut self.store) {
            self.tell(Event::NotKept);
        }
    }
}

// What this takes of the stack is free again when the message is acted on.
#[inline(never)]
fn read(body: &[u8]) -> Result<Down<'_>, Malformed> {
    decode(body)
}
