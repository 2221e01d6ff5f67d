//! The part of the facts that lets receivers in: vouchers and their tokens.

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::TokenId;

use super::Registry;
use crate::model::{Change, VoucherRecord};

impl Registry {
    /// All vouchers.
    pub fn vouchers(&self) -> impl Iterator<Item = &VoucherRecord> {
        self.vouchers.values()
    }

    /// The voucher behind a token.
    #[must_use]
    pub fn voucher(&self, token: &TokenId) -> Option<&VoucherRecord> {
        self.vouchers.get(token)
    }

    /// The voucher with this digest.
    #[must_use]
    pub fn voucher_of(&self, digest: &Digest) -> Option<&VoucherRecord> {
        self.vouchers.values().find(|voucher| voucher.digest == *digest)
    }

    /// Forgets the vouchers that `is` picks.
    pub fn remove_vouchers(&mut self, is: impl Fn(&VoucherRecord) -> bool) {
        for (_, record) in self.vouchers.extract_if(.., |_, record| is(record)) {
            self.changes.push(Change::VoucherGone(record.digest));
        }
    }

    /// Writes a voucher.
    pub fn put_voucher(&mut self, record: VoucherRecord) {
        self.changes.push(Change::Voucher(record.clone()));
        self.vouchers.insert(record.token_id, record);
    }
}
