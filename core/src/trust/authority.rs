//! The authority document: whose signatures count, version by version.
//!
//! A receiver pins the digest of the first one it trusts; from there each
//! version introduces the next, signed by enough admins of both. Nothing but
//! this chain changes keys, and it needs no server that is trusted.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use super::document::{Fingerprint, SignedDocument, Untrusted};
use crate::crypto::sign::Context;
use crate::digest::Digest;
use crate::ids::{FleetId, GroupId, StaticKey, VerifyingKey};
use crate::limits::{MAX_ADMINS, MAX_AUTHORITY, MAX_CONTROLLERS};
use crate::tree::path::{Component, UnsafeName};
use crate::wire::Malformed;
use crate::wire::control;

/// Most roles of an authority document.
pub const MAX_ROLES: usize = 4;
/// Most groups of a role.
pub const MAX_ROLE_GROUPS: usize = 4;
/// Longest path prefix of a role in bytes.
pub const MAX_PREFIX: usize = 64;
/// Most revoked keys of an authority document.
pub const MAX_REVOKED: usize = 16;

/// A server's two public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// X25519, for handshakes.
    pub exchange: StaticKey,
    /// Ed25519, for session control, freshness and memberships by voucher.
    pub signing: VerifyingKey,
}

/// What a key may sign besides the admins' (reserved: nothing counts it yet).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its key.
    pub key: VerifyingKey,
    /// The groups it may sign for.
    pub groups: Vec<GroupId, MAX_ROLE_GROUPS>,
    /// The directory it may fill, components with `/` between; empty for all.
    pub prefix: String<MAX_PREFIX>,
    /// Most bytes of content.
    pub cap: u64,
    /// Whether files may be executable.
    pub executables: bool,
}

/// One version of a fleet's authority document.
///
/// Not every combination of full lists fits [`MAX_AUTHORITY`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityDocument {
    /// From 1; each version is one greater than the one before.
    pub version: u32,
    /// The fleet; never changes.
    pub fleet: FleetId,
    /// Admin keys.
    pub admins: Vec<VerifyingKey, MAX_ADMINS>,
    /// How many admins must sign.
    pub threshold: u8,
    /// Servers.
    pub controllers: Vec<Controller, MAX_CONTROLLERS>,
    /// Further signers.
    pub roles: Vec<Role, MAX_ROLES>,
    /// Keys of any kind that do not count any more, though they may be listed.
    pub revoked: Vec<Fingerprint, MAX_REVOKED>,
    /// The reset epoch of release orders; never falls.
    pub reset_epoch: u32,
}

/// Why an authority document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityRefused {
    /// Its bytes.
    Malformed(Malformed),
    /// A version of zero.
    VersionZero,
    /// A threshold that is zero, or more than there are admins.
    Threshold {
        /// The threshold.
        found: u8,
        /// Admins listed.
        admins: u8,
    },
    /// A key that is listed twice, or two with the same fingerprint.
    RepeatedKey(Fingerprint),
    /// A role's path prefix is not made of safe names.
    Prefix(UnsafeName),
    /// It is not the document that was pinned.
    Pin {
        /// The digest pinned.
        expected: Digest,
        /// Its digest.
        found: Digest,
    },
    /// It is not the next version.
    Version {
        /// The version that would come next.
        expected: u32,
        /// Its version.
        found: u32,
    },
    /// It is another fleet's.
    Fleet {
        /// The fleet that is trusted.
        expected: FleetId,
        /// Its fleet.
        found: FleetId,
    },
    /// Its reset epoch is less than the one before.
    ResetEpochFell {
        /// The least that it could be.
        least: u32,
        /// Its reset epoch.
        found: u32,
    },
    /// Too few admins of the version before have signed it.
    UntrustedByPredecessor(Untrusted),
    /// Too few of its own admins have signed it.
    UntrustedByItself(Untrusted),
}

impl AuthorityDocument {
    /// Writes the body; returns its length.
    ///
    /// # Errors
    /// [`AuthorityRefused`] for what no receiver would accept.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, AuthorityRefused> {
        self.check()?;
        let room = out.len().min(MAX_AUTHORITY);
        let body = control::encode(self, &mut out[..room]);
        body.map(<[u8]>::len).map_err(AuthorityRefused::Malformed)
    }

    /// Reads a body, signed or not: a statement, no evidence.
    ///
    /// # Errors
    /// [`AuthorityRefused`] when it contradicts itself.
    pub fn decode(body: &[u8]) -> Result<Self, AuthorityRefused> {
        let mut document = Self::empty();
        document.fill(body)?;
        Ok(document)
    }

    /// A document that says nothing, to be filled.
    const fn empty() -> Self {
        Self {
            version: 0,
            fleet: FleetId([0; 16]),
            admins: Vec::new(),
            threshold: 0,
            controllers: Vec::new(),
            roles: Vec::new(),
            revoked: Vec::new(),
            reset_epoch: 0,
        }
    }

    /// Becomes what a body says.
    // In place, and field by field: each copy of a document would be 1.2 KB of a board's
    // stack, and the derived code makes five.
    #[inline(never)]
    fn fill(&mut self, body: &[u8]) -> Result<(), AuthorityRefused> {
        let read = self.read(&mut postcard::Deserializer::from_bytes(body));
        read.map_err(|_| AuthorityRefused::Malformed(Malformed::NotCanonical))?;
        control::check_body(self, body).map_err(AuthorityRefused::Malformed)?;
        self.check()
    }

    #[inline(never)]
    fn read(&mut self, reader: &mut Reader<'_>) -> postcard::Result<()> {
        read_field(reader, &mut self.version)?;
        read_field(reader, &mut self.fleet)?;
        read_field(reader, &mut self.admins)?;
        read_field(reader, &mut self.threshold)?;
        read_field(reader, &mut self.controllers)?;
        read_field(reader, &mut self.roles)?;
        read_field(reader, &mut self.revoked)?;
        read_field(reader, &mut self.reset_epoch)
    }

    fn check(&self) -> Result<(), AuthorityRefused> {
        if self.version == 0 {
            return Err(AuthorityRefused::VersionZero);
        }
        let (found, admins) = (self.threshold, self.admins.len() as u8);
        if !(1..=admins).contains(&found) {
            return Err(AuthorityRefused::Threshold { found, admins });
        }
        // PROTOCOL T1: a key that is listed twice must not become two votes.
        all_differ(self.admins.iter().map(|key| &key.0))?;
        all_differ(self.controllers.iter().map(|controller| &controller.signing.0))?;
        all_differ(self.controllers.iter().map(|controller| &controller.exchange.0))?;
        let prefixes = self.roles.iter().filter(|role| !role.prefix.is_empty());
        for component in prefixes.flat_map(|role| role.prefix.split('/')) {
            Component::parse(component.as_bytes()).map_err(AuthorityRefused::Prefix)?;
        }
        Ok(())
    }
}

/// What a body is read by.
type Reader<'b> = postcard::Deserializer<'b, postcard::de_flavors::Slice<'b>>;

// What one field takes of the stack is free again when the next is read.
#[inline(never)]
fn read_field<'b, T: Deserialize<'b>>(
    reader: &mut Reader<'b>,
    place: &mut T,
) -> postcard::Result<()> {
    *place = T::deserialize(reader)?;
    Ok(())
}

fn all_differ<'k>(
    keys: impl Iterator<Item = &'k [u8; 32]> + Clone,
) -> Result<(), AuthorityRefused> {
    for (place, key) in keys.clone().enumerate() {
        let fingerprint = Fingerprint::of(key);
        if keys.clone().take(place).any(|earlier| Fingerprint::of(earlier) == fingerprint) {
            return Err(AuthorityRefused::RepeatedKey(fingerprint));
        }
    }
    Ok(())
}

/// An authority document at the end of a chain that begins with a pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedAuthority {
    document: AuthorityDocument,
    digest: Digest,
}

impl TrustedAuthority {
    /// Trusts the signed document whose digest is pinned: by an enrolment code,
    /// or by this receiver's own storage after a restart.
    ///
    /// # Errors
    /// [`AuthorityRefused`] when it is another, or its own admins did not sign it.
    #[inline(never)]
    pub fn pin(document: &[u8], pinned: Digest) -> Result<Self, AuthorityRefused> {
        let signed = parse(document)?;
        // PROTOCOL T2: as the first one, only that whose digest is pinned.
        let found = signed.digest(Context::Authority);
        if found != pinned {
            return Err(AuthorityRefused::Pin { expected: pinned, found });
        }
        let mut first = Self { document: AuthorityDocument::empty(), digest: found };
        first.document.fill(signed.body())?;
        first.verify(Context::Authority, &signed).map_err(AuthorityRefused::UntrustedByItself)?;
        Ok(first)
    }

    /// Trusts the next version; `self` stays what it was.
    ///
    /// # Errors
    /// [`AuthorityRefused`] when it is not the next version of this fleet, or
    /// too few admins of either version have signed it.
    #[inline(never)]
    pub fn advance(&self, document: &[u8]) -> Result<Self, AuthorityRefused> {
        let signed = parse(document)?;
        let digest = signed.digest(Context::Authority);
        let mut trusted = Self { document: AuthorityDocument::empty(), digest };
        trusted.document.fill(signed.body())?;
        let next = &trusted.document;
        let (expected, found) = (self.document.fleet, next.fleet);
        if found != expected {
            return Err(AuthorityRefused::Fleet { expected, found });
        }
        // PROTOCOL T2: one greater, and t admins of both versions.
        let (expected, found) = (self.document.version.saturating_add(1), next.version);
        if found != expected || found == self.document.version {
            return Err(AuthorityRefused::Version { expected, found });
        }
        let (least, found) = (self.document.reset_epoch, next.reset_epoch);
        if found < least {
            return Err(AuthorityRefused::ResetEpochFell { least, found });
        }
        self.verify(Context::Authority, &signed)
            .map_err(AuthorityRefused::UntrustedByPredecessor)?;
        trusted.verify(Context::Authority, &signed).map_err(AuthorityRefused::UntrustedByItself)?;
        Ok(trusted)
    }

    /// Checks that enough admins have signed a document.
    ///
    /// # Errors
    /// [`Untrusted`] says how many have.
    pub fn verify(&self, context: Context, document: &SignedDocument<'_>) -> Result<(), Untrusted> {
        document.verify_threshold(context, self.admins(), self.document.threshold)
    }

    /// Checks that an admin has signed a document: enough for what lets receivers in
    /// and installs nothing.
    ///
    /// # Errors
    /// [`Untrusted`] when none has.
    // PROTOCOL T7
    pub fn verify_one(
        &self,
        context: Context,
        document: &SignedDocument<'_>,
    ) -> Result<(), Untrusted> {
        document.verify_threshold(context, self.admins(), 1)
    }

    /// Checks that a controller has signed a document.
    ///
    /// # Errors
    /// [`Untrusted`] when none has.
    pub fn verify_controller(
        &self,
        context: Context,
        document: &SignedDocument<'_>,
    ) -> Result<(), Untrusted> {
        let keys = self.controllers().map(|controller| controller.signing);
        document.verify_threshold(context, keys, 1)
    }

    /// Admin keys that count.
    pub fn admins(&self) -> impl Iterator<Item = VerifyingKey> + '_ {
        // PROTOCOL T1: listed, and not revoked.
        self.document.admins.iter().copied().filter(|key| !self.is_revoked(&key.0))
    }

    /// Controllers that count: neither of their keys is revoked.
    pub fn controllers(&self) -> impl Iterator<Item = Controller> + '_ {
        self.document.controllers.iter().copied().filter(|controller| {
            !self.is_revoked(&controller.signing.0) && !self.is_revoked(&controller.exchange.0)
        })
    }

    /// The signing key of the controller with this key for handshakes, if it counts.
    #[must_use]
    pub fn controller(&self, exchange: &StaticKey) -> Option<VerifyingKey> {
        let mut controllers = self.controllers();
        controllers.find(|keys| keys.exchange == *exchange).map(|keys| keys.signing)
    }

    /// The controller to try after the one with key `tried`: the next that counts, the
    /// first after the last. `None` where none counts.
    // PROTOCOL A3: only those that the newest document names.
    #[must_use]
    pub fn controller_after(&self, tried: &StaticKey) -> Option<StaticKey> {
        let mut keys = self.controllers().map(|controller| controller.exchange);
        let after = keys.find(|key| key == tried).and_then(|_| keys.next());
        after.or_else(|| self.controllers().next().map(|first| first.exchange))
    }

    /// Whether something that counted under the version before counts no more: an
    /// admin is gone, or more of them must sign, or orders begin anew.
    #[must_use]
    pub fn is_stricter_than(&self, before: &Self) -> bool {
        let gone = |admin: VerifyingKey| !self.admins().any(|kept| kept == admin);
        self.document.threshold > before.document.threshold
            || self.document.reset_epoch > before.document.reset_epoch
            || before.admins().any(gone)
            || self.document.revoked.iter().any(|key| !before.document.revoked.contains(key))
    }

    /// Whether a key, of whatever kind, is revoked.
    #[must_use]
    pub fn is_revoked(&self, key: &[u8; 32]) -> bool {
        self.document.revoked.contains(&Fingerprint::of(key))
    }

    /// What the document says.
    #[must_use]
    pub const fn document(&self) -> &AuthorityDocument {
        &self.document
    }

    /// The digest to pin it by.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

fn parse(document: &[u8]) -> Result<SignedDocument<'_>, AuthorityRefused> {
    SignedDocument::parse(document, MAX_AUTHORITY).map_err(AuthorityRefused::Malformed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "authority_tests.rs"]
mod tests;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "authority_model_tests.rs"]
mod model_tests;
