//! Words become messages when the channel has room for them.

use fleetcast_core::constrained::BOUNDS;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::limits::MAX_MESSAGE;
use fleetcast_core::store::KeptAs;
use fleetcast_core::time::Instant;
use fleetcast_core::trust::statement::Receipt;
use fleetcast_core::wire::bounds::LEN;
use fleetcast_core::wire::control::{CODEC_LZ4, FailCode, MAX_WANT_RUNS, ReleaseName, Up, encode};
use fleetcast_core::wire::transport::Sending;
use heapless::Vec;

use super::words::Word;
use super::{Appliance, Event};
use crate::partition::Disk;

/// Bytes of the longest message that may be lost.
const SHORT: usize = 64;

/// A release that is not installed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) release: ReleaseName,
    pub(super) code: FailCode,
    pub(super) reason: &'static str,
}

/// Where the list of what is lacking goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Want {
    from: u32,
    page: u16,
}

impl<D: Disk> Appliance<'_, D> {
    /// Says what waits, as far as the channel takes it; `scratch` holds MAX_MESSAGE bytes.
    #[inline(never)]
    pub(super) fn say_all(&mut self, now: Instant, scratch: &mut [u8]) {
        let Some(scratch) = scratch.get_mut(..MAX_MESSAGE) else { return };
        while let Some(word) = self.words.first() {
            if self.endpoint.room() == 0 || !self.say(now, word, scratch) {
                return;
            }
        }
    }

    /// Says a word, and takes it out unless more of it follows; whether there was room.
    fn say(&mut self, now: Instant, word: Word, scratch: &mut [u8]) -> bool {
        let want = self.want;
        let (message, more) = match self.message(word, scratch) {
            Some((len, more)) => (scratch.get(..len).unwrap_or(&[]), more),
            None => {
                // There is nothing to be said any more.
                self.words.pop();
                return true;
            }
        };
        if self.endpoint.send(now, Sending::Reliable, message).is_err() {
            self.want = want;
            return false;
        }
        if !more {
            self.words.pop();
        }
        true
    }

    /// Writes the message of a word: its length, and whether more of it follows.
    #[inline(never)]
    fn message(&mut self, word: Word, out: &mut [u8]) -> Option<(usize, bool)> {
        let written = match word {
            Word::Hello => return self.hello(out).map(|len| (len, false)),
            // PROTOCOL M6
            Word::Bounds => {
                *out.first_chunk_mut::<LEN>()? = BOUNDS.to_bytes();
                return Some((LEN, false));
            }
            Word::Holds => return self.holds(out).map(|len| (len, false)),
            Word::Installed(number) => return self.receipt(number, out).map(|len| (len, false)),
            Word::Want => return self.wants(out),
            Word::Joined(session, epoch, heard) => {
                encode(&Up::Joined { session, epoch, heard }, out)
            }
            Word::KeyRequest(session) => encode(&Up::KeyRequest { session }, out),
            Word::Poisoned(session, block) => encode(&Up::Poisoned { session, block }, out),
            Word::Finished(session, poisoned) => encode(&Up::Finished { session, poisoned }, out),
            Word::Pong(nonce) => encode(&Up::Pong { nonce }, out),
            Word::Failed => {
                let Refusal { release, code, reason } = self.failed?;
                encode(&Up::Failed { release, code, reason }, out)
            }
        };
        written.ok().map(|message| (message.len(), false))
    }

    #[inline(never)]
    fn hello(&mut self, out: &mut [u8]) -> Option<usize> {
        let nonce = u128::from(self.next_random()) | u128::from(self.boot) << 64;
        let nonce = nonce.to_le_bytes();
        self.nonce = Some(nonce);
        let hello = Up::Hello {
            name: &self.identity.name,
            version: env!("CARGO_PKG_VERSION"),
            signing: self.signing.verifying_key(),
            codecs: CODEC_LZ4,
            free: self.store.free().unwrap_or(0),
            authority: self.authority.as_ref().map_or(0, |trusted| trusted.document().version),
            nonce,
        };
        encode(&hello, out).ok().map(<[u8]>::len)
    }

    #[inline(never)]
    fn holds(&self, out: &mut [u8]) -> Option<usize> {
        // No more than it has groups: one page.
        let mut releases = Vec::new();
        for release in self.active() {
            // There are places for more than the store keeps.
            let _ = releases.push(release);
        }
        encode(&Up::Holds { releases, more: false }, out).ok().map(<[u8]>::len)
    }

    #[inline(never)]
    fn receipt(&self, number: u8, out: &mut [u8]) -> Option<usize> {
        let release = self.active().nth(number.into())?;
        // A board has no clock that it trusts.
        let receipt = Receipt { device: self.device, release, at: 0 };
        let body = receipt.body().ok()?;
        let signature = self.signing.sign(Context::Receipt, &[&body]);
        let installed = Up::Installed { release, at: 0, receipt: &signature };
        encode(&installed, out).ok().map(<[u8]>::len)
    }

    #[inline(never)]
    fn wants(&mut self, out: &mut [u8]) -> Option<(usize, bool)> {
        let release = self.delivery.as_ref()?.release;
        let mut runs = Vec::<_, MAX_WANT_RUNS>::new();
        let Want { mut from, page } = self.want;
        // The store tells at most so many at a time.
        let told = self.store.missing(&mut from, |run| {
            // As many as there are places for.
            let _ = runs.push(run);
        });
        let more = told.ok()?;
        if runs.is_empty() && page == 0 {
            return None;
        }
        let written = encode(&Up::Want { release, page, more, runs }, out).ok()?.len();
        self.want = Want { from, page: page.saturating_add(1) };
        Some((written, more))
    }

    /// Asks for all that is lacking, from the beginning.
    pub(super) fn ask(&mut self) {
        self.want = Want::default();
        self.words.push(Word::Want);
    }

    /// Says something that may be lost.
    #[inline(never)]
    pub(super) fn mention(&mut self, now: Instant, message: &Up<'_>) {
        let mut scratch = [0; SHORT];
        if let Ok(bytes) = encode(message, &mut scratch) {
            // When the channel is full the next report says more.
            let _ = self.endpoint.send(now, Sending::Unreliable, bytes);
        }
    }

    /// Tells that a release will not be installed, and why.
    pub(super) fn refuse(&mut self, release: ReleaseName, code: FailCode, reason: &'static str) {
        self.failed = Some(Refusal { release, code, reason });
        self.words.push(Word::Failed);
        self.tell(Event::Failed(code));
    }

    /// Releases that are installed.
    pub(super) fn active(&self) -> impl Iterator<Item = ReleaseName> + '_ {
        let releases = self.store.releases();
        releases.filter(|kept| matches!(kept.kept_as, KeptAs::Active)).map(|kept| kept.name)
    }
}
