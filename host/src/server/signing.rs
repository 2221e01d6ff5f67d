//! Releases that wait until enough admins have signed them.
//!
//! A release has its number from the first signature on. One that was overtaken
//! while it waited can be installed nowhere any more, where the newer one is: it
//! has to be made anew, with a number of its own.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::VerifyingKey;
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::time::Instant;
use fleetcast_core::trust::document::{SignedDocument, Untrusted};

use super::releases::untrusted;
use super::{ServerNode, signatures};
use crate::error::Failure;
use crate::model::{ReleaseRecord, ReleaseState};

impl<A: Aead> ServerNode<A> {
    /// Takes further signatures on a release; it is offered as soon as there are enough.
    /// Again is fine.
    ///
    /// # Errors
    /// `release-unknown`, `release-cancelled`, `release-overtaken`, `not-trusted`.
    pub fn sign_release(
        &mut self,
        now: Instant,
        actor: &str,
        document: &[u8],
    ) -> Result<Digest, Failure> {
        let signed = SignedDocument::parse(document, MAX_ROOT)
            .map_err(|fault| untrusted("the release", &fault))?;
        let digest = signed.digest(Context::Release);
        let record = self.registry.release(&digest).cloned().ok_or_else(|| {
            let message = format!("there is no release {digest}");
            Failure::failed("release-unknown", message, "fleetcast releases list")
        })?;
        let title = self.registry.release_title(&record.name);
        self.check_may_be_signed(&record, &title)?;
        let keys: Vec<VerifyingKey> = self.authority.admins().collect();
        if !keys.iter().any(|key| signed.signature_by(Context::Release, key).is_some()) {
            return Err(untrusted("the release", &Untrusted { valid: 0, threshold: 1 }));
        }
        let (known, context) = (Some(&record.document[..]), Context::Release);
        let merged = signatures::merged(&signed, known, context, MAX_ROOT, &keys);
        let document = merged.ok_or_else(|| untrusted("the release", &"another one"))?;
        if document != record.document {
            self.registry.log(actor, "release-signed", &title, "ok");
        }
        let record = ReleaseRecord { document, ..record };
        // Sessions from now on carry the root with all of its signatures.
        self.contents.remove(&digest);
        if record.state == ReleaseState::Unsigned && self.is_signed(&record.document) {
            let mark = mark_of(&digest);
            let queue = self.registry.mark(&mark).is_some();
            if queue {
                self.registry.put_mark(&mark, None);
            }
            self.publish(now, actor, record, queue);
        } else {
            self.registry.put_release(record);
        }
        Ok(digest)
    }

    /// The document with the signatures that count, and whether they are enough.
    ///
    /// # Errors
    /// `not-trusted` when there is none.
    pub(super) fn judge_signatures(
        &self,
        signed: &SignedDocument<'_>,
    ) -> Result<(Vec<u8>, ReleaseState), Failure> {
        let keys: Vec<VerifyingKey> = self.authority.admins().collect();
        let merged = signatures::merged(signed, None, Context::Release, MAX_ROOT, &keys);
        let document = merged.ok_or_else(|| untrusted("the release", &"it is too large"))?;
        self.authority
            .verify_one(Context::Release, signed)
            .map_err(|fault| untrusted("the release", &fault))?;
        let enough = self.is_signed(&document);
        Ok((document, if enough { ReleaseState::Current } else { ReleaseState::Unsigned }))
    }

    /// Keeps a release until further admins have signed it.
    pub(super) fn keep_unsigned(&mut self, actor: &str, record: ReleaseRecord, queue: bool) {
        let title = self.registry.release_title(&record.name);
        self.registry.log(actor, "release-proposed", &title, &record.label);
        if queue {
            // What `pending add` asked for still holds when it is signed.
            self.registry.put_mark(&mark_of(&record.name.digest), Some(1));
        }
        self.registry.put_release(record);
    }

    fn is_signed(&self, document: &[u8]) -> bool {
        let signed = SignedDocument::parse(document, MAX_ROOT);
        signed.is_ok_and(|signed| self.authority.verify(Context::Release, &signed).is_ok())
    }

    fn check_may_be_signed(&self, record: &ReleaseRecord, title: &str) -> Result<(), Failure> {
        match record.state {
            ReleaseState::Cancelled => {
                let message = format!("{title} was taken back");
                Err(Failure::failed("release-cancelled", message, "send it again"))
            }
            ReleaseState::Unsigned => {
                let newer = self.registry.current_release(record.name.group);
                match newer.filter(|newer| newer.name.order > record.name.order) {
                    None => Ok(()),
                    Some(newer) => {
                        let newer = self.registry.release_title(&newer.name);
                        let message = format!("{title} was overtaken by {newer} while it waited");
                        let hint = "`fleetcast releases sign X --anew` makes a new one of it";
                        Err(Failure::failed("release-overtaken", message, hint))
                    }
                }
            }
            ReleaseState::Current | ReleaseState::Superseded => Ok(()),
        }
    }
}

/// The mark of a release whose deliveries wait for `pending send` once it is signed.
fn mark_of(release: &Digest) -> String {
    format!("queue {release}")
}
