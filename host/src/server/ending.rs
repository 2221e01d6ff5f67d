//! How a delivery ends, by the word of its receiver.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{GroupId, PeerSlot, ReceiverId};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::statement::Receipt;
use fleetcast_core::wire::control::{FailCode, ReleaseName};

use super::ServerNode;
use super::delivering::MOST_REASON;
use crate::model::{DeliveryState, HeldRecord, ReceiptRecord};

impl<A: Aead> ServerNode<A> {
    pub(super) fn on_installed(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        id: ReceiverId,
        release: &ReleaseName,
        at: u64,
        receipt: &[u8],
    ) {
        if !self.is_receipt(now, id, release, at, receipt) {
            return;
        }
        // A word about a group that is not there would be kept for ever.
        if self.registry.group(&release.group).is_none() {
            return;
        }
        let title = self.registry.release_title(release);
        let name = self.name_of(&id);
        let Some(record) = self.registry.receiver(&id) else { return };
        let (device, signing) = (record.key, record.signing);
        let receipt = receipt.to_vec();
        let before = self.is_held(id, release);
        let held = HeldRecord { receiver: id, release: *release, at, receipt: receipt.clone() };
        self.note_holds(slot, release);
        let news = self.registry.put_held(held) && self.registry.release(&release.digest).is_some();
        if let (true, Some(signing)) = (news, signing) {
            let (certificate, voucher) = self.papers(id, release.group);
            self.registry.put_receipt(ReceiptRecord {
                receiver: id,
                receiver_name: name.clone(),
                device,
                signing,
                release: *release,
                group_name: self.group_name(release.group),
                at,
                signature: receipt,
                certificate,
                voucher,
            });
        }
        if self.settle_delivery(id, release, DeliveryState::Installed, "", "") {
            self.registry.log(&name, "installed", &title, "ok");
            if !before {
                self.note_saving(release);
            }
        }
        self.take_place(now, id, release);
        self.leave_sessions(&id, release);
        // A receipt is repeated on every new channel: that ends nothing.
        if self.busy_delivery(&id).is_some_and(|busy| busy.release == *release) {
            self.idle(now, slot, id);
        }
    }

    /// What a receiver noticed when it installed a release that it holds.
    pub(super) fn on_findings(
        &mut self,
        now: Instant,
        id: ReceiverId,
        release: &ReleaseName,
        changes: u32,
        atomic: bool,
    ) {
        // PROTOCOL M8
        let held = self.registry.held(id, release.group).map(|held| held.release);
        if held != Some(*release) || !self.patience.lines.take(now, &id) {
            return;
        }
        let (name, title) = (self.name_of(&id), self.registry.release_title(release));
        if changes > 0 {
            let kept = format!("{changes} kept aside at the receiver");
            self.registry.log(&name, "local-changes", &title, &kept);
        }
        if !atomic {
            let why = "its file system cannot exchange directories";
            self.registry.log(&name, "activated-in-two-steps", &title, why);
        }
    }

    /// A receiver has a release that was on its way to it, for the first time.
    pub(super) fn note_saving(&mut self, release: &ReleaseName) {
        let bytes = self.registry.release(&release.digest).map_or(0, |release| release.bytes);
        self.savings.installed(release.digest, bytes);
        self.reckon_savings(&release.digest);
    }

    /// Whether a receipt is its receiver's. The one that is known is repeated on every
    /// channel, and not checked again; others cost time, and nobody has more of them than
    /// groups.
    fn is_receipt(
        &mut self,
        now: Instant,
        id: ReceiverId,
        release: &ReleaseName,
        at: u64,
        receipt: &[u8],
    ) -> bool {
        let held = self.registry.held(id, release.group);
        let known = held.is_some_and(|held| {
            (held.release, held.at, held.receipt.as_slice()) == (*release, at, receipt)
        });
        if known && !receipt.is_empty() {
            return true;
        }
        let may = self.patience.pages.take(now, &id);
        let Some(record) = self.registry.receiver(&id).filter(|_| may) else { return false };
        let (statement, key) =
            (Receipt { device: record.key, release: *release, at }, record.signing);
        receipt
            .try_into()
            .is_ok_and(|signature| key.is_some_and(|key| statement.verify(&key, signature).is_ok()))
    }

    /// What proves that a receiver is in a group: its certificate, and the voucher that
    /// this names.
    pub(super) fn papers(&self, id: ReceiverId, group: GroupId) -> (Vec<u8>, Vec<u8>) {
        let Some(record) = self.registry.membership(id, group) else { return Default::default() };
        let voucher = record.voucher.and_then(|digest| self.registry.voucher_of(&digest));
        let voucher = voucher.map(|voucher| voucher.document.clone()).unwrap_or_default();
        (record.certificate.clone(), voucher)
    }

    pub(super) fn on_failed(
        &mut self,
        now: Instant,
        id: ReceiverId,
        release: &ReleaseName,
        code: FailCode,
        reason: &str,
    ) {
        let word = code.word();
        let known = self.registry.delivery_of(id, &release.digest);
        let before = known.filter(|d| d.state == DeliveryState::Failed);
        // Said before: nothing is written for that again, and of other reasons a few.
        let is_news = match before.map(|d| d.code == word) {
            Some(same) => !same && self.patience.changes.take(now, &id),
            None => true,
        };
        let title = self.registry.release_title(release);
        let name = self.name_of(&id);
        let reason: String = reason.chars().take(MOST_REASON).collect();
        if is_news && self.settle_delivery(id, release, DeliveryState::Failed, word, &reason) {
            self.registry.log(&name, "failed", &title, &format!("{word}: {reason}"));
        }
        self.leave_sessions(&id, release);
        let busy = self.busy_delivery(&id).is_some_and(|busy| busy.release == *release);
        if let (true, Some(&slot)) = (busy, self.connected.get(&id)) {
            self.idle(now, slot, id);
        }
    }
}
