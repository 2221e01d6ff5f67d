//! Bytes that did not have to be sent: what installed releases have, less what went over
//! the wire for them.
//!
//! Nobody knows that while a session runs, since what it costs is not known before its end:
//! so a release is reckoned up when nothing is sent for it any more, and what was saved by
//! then stays saved. What was sent for a release beyond what was installed of it is held
//! against its next installations.

use std::collections::BTreeMap;

use fleetcast_core::digest::Digest;

/// What was saved since the server started.
#[derive(Debug, Default)]
pub(super) struct Savings {
    saved: u64,
    open: BTreeMap<Digest, Balance>,
}

/// Of one release, since it was reckoned up.
#[derive(Clone, Copy, Debug, Default)]
struct Balance {
    installed: u64,
    sent: u64,
}

impl Savings {
    /// Bytes saved; never less than before.
    pub(super) const fn total(&self) -> u64 {
        self.saved
    }

    /// A receiver has installed a release of so many bytes.
    pub(super) fn installed(&mut self, release: Digest, bytes: u64) {
        let balance = self.open.entry(release).or_default();
        balance.installed = balance.installed.saturating_add(bytes);
    }

    /// A session is over that has sent so many bytes for a release, headers included.
    pub(super) fn sent(&mut self, release: Digest, bytes: u64) {
        let balance = self.open.entry(release).or_default();
        balance.sent = balance.sent.saturating_add(bytes);
    }

    /// Nothing is sent for a release at present.
    pub(super) fn reckon(&mut self, release: &Digest) {
        let Some(Balance { installed, sent }) = self.open.remove(release) else { return };
        self.saved = self.saved.saturating_add(installed.saturating_sub(sent));
        if sent > installed {
            let sent = sent - installed;
            self.open.insert(*release, Balance { installed: 0, sent });
        }
    }

    /// A release is gone.
    pub(super) fn forget(&mut self, release: &Digest) {
        self.open.remove(release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Digest = Digest([1; 32]);
    const B: Digest = Digest([2; 32]);

    #[test]
    fn eight_copies_for_one_are_seven_saved_once_that_is_known() {
        let mut savings = Savings::default();
        (0..8).for_each(|_| savings.installed(A, 100));
        assert_eq!(savings.total(), 0, "what it costs is not known yet");
        savings.sent(A, 106);
        savings.reckon(&A);
        assert_eq!(savings.total(), 694);
        savings.reckon(&A);
        assert_eq!((savings.total(), savings.open.len()), (694, 0));
    }

    #[test]
    fn what_was_sent_in_vain_counts_against_the_same_release_and_takes_nothing_back() {
        let mut savings = Savings::default();
        (0..2).for_each(|_| savings.installed(A, 100));
        savings.sent(A, 110);
        savings.reckon(&A);
        assert_eq!(savings.total(), 90);
        savings.sent(A, 150);
        savings.reckon(&A);
        assert_eq!(savings.total(), 90);
        for total in [90, 140] {
            savings.installed(A, 100);
            savings.reckon(&A);
            assert_eq!(savings.total(), total);
        }
        savings.sent(B, 1_000);
        savings.forget(&B);
        savings.installed(B, 5);
        savings.reckon(&B);
        assert_eq!(savings.total(), 145);
    }
}
