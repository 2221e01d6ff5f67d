//! Release roots, and the one gate that a release passes before installation.

use serde::{Deserialize, Serialize};

use super::authority::TrustedAuthority;
use super::document::{SignedDocument, Untrusted};
use super::membership::VerifiedMembership;
use super::order::{OutOfOrder, Succession, succession};
use crate::crypto::sign::Context;
use crate::digest::Digest;
use crate::ids::{FleetId, GroupId, ReleaseOrder};
use crate::limits::{MAX_NAME, MAX_ROOT};
use crate::tree::index::{BadTop, IndexLayout, TreeTop};
use crate::tree::path::{Component, UnsafeName};
use crate::wire::Malformed;
use crate::wire::control::{self, ReleaseName};

/// The format of release roots that this version reads and writes.
pub const FORMAT: u8 = 1;

/// The body of a release root: a whole snapshot of one group's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRoot<'a> {
    /// [`FORMAT`].
    pub format: u8,
    /// The fleet.
    pub fleet: FleetId,
    /// Version of the authority document that the signers knew.
    pub authority: u32,
    /// The group.
    pub group: GroupId,
    /// The group's name when this was signed, which becomes a directory.
    pub group_name: &'a str,
    /// Its place among the group's releases.
    pub order: ReleaseOrder,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Last second of a first installation, since 1970; 0 for ever.
    pub expires: u64,
    /// What people call it; data, to be escaped wherever it is shown.
    pub label: &'a str,
    /// The tree in chunks of the standard profile.
    #[serde(borrow)]
    pub standard: TreeTop<'a>,
    /// The same content in chunks for boards.
    #[serde(borrow)]
    pub constrained: Option<TreeTop<'a>>,
}

/// What contradicts itself in a release root; the fault is the signers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRoot {
    /// Its bytes.
    Malformed(Malformed),
    /// Another format than [`FORMAT`]: perhaps this software is too old.
    Format(u8),
    /// The group's name is no safe name.
    GroupName(UnsafeName),
    /// The group's name or the label is longer than [`MAX_NAME`].
    NameTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// Numbers of a tree.
    Tree(BadTop),
    /// The two trees cannot have the same content.
    TreesDiffer,
}

/// Why a release must not be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseRefused {
    /// Signers' fault: the root is bad.
    Root(BadRoot),
    /// Another fleet's.
    Fleet {
        /// The fleet that is trusted.
        expected: FleetId,
        /// Its fleet.
        found: FleetId,
    },
    /// Not a fault: the authority document must be brought up to date first.
    AuthorityBehind {
        /// The version that the signers knew.
        needed: u32,
        /// The version trusted here.
        held: u32,
    },
    /// Sender's fault: for a group that the membership is not in.
    Group {
        /// The membership's group.
        expected: GroupId,
        /// Its group.
        found: GroupId,
    },
    /// Our caller's fault: the membership was checked under another authority.
    MembershipUnchecked,
    /// The membership counts no longer.
    MembershipExpired {
        /// Its last second.
        not_after: u64,
    },
    /// Too few admins have signed it.
    Untrusted(Untrusted),
    /// A reset epoch that the authority document does not know.
    ResetEpoch {
        /// The greatest known.
        most: u32,
        /// Its reset epoch.
        found: u32,
    },
    /// Older than, or other than, what was accepted before.
    Order(OutOfOrder),
    /// First installation after its expiry.
    Expired {
        /// Its last second.
        expires: u64,
    },
}

impl<'a> ReleaseRoot<'a> {
    /// Writes the body; returns its length.
    ///
    /// # Errors
    /// [`BadRoot`] for what no receiver would accept.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, BadRoot> {
        self.layouts()?;
        let room = out.len().min(MAX_ROOT);
        let body = control::encode(self, &mut out[..room]);
        body.map(<[u8]>::len).map_err(BadRoot::Malformed)
    }

    /// Reads a body, signed or not: a statement, no evidence.
    ///
    /// # Errors
    /// [`BadRoot`] when it contradicts itself.
    // What this takes of the stack must be free again before signatures take theirs.
    #[inline(never)]
    pub fn decode(body: &'a [u8]) -> Result<Self, BadRoot> {
        let root: Self = control::decode_body(body).map_err(BadRoot::Malformed)?;
        root.layouts()?;
        Ok(root)
    }

    /// How the root of a signed document calls the release.
    #[must_use]
    pub const fn name(&self, digest: Digest) -> ReleaseName {
        ReleaseName { group: self.group, order: self.order, digest }
    }

    fn layouts(&self) -> Result<(IndexLayout, Option<IndexLayout>), BadRoot> {
        if self.format != FORMAT {
            return Err(BadRoot::Format(self.format));
        }
        for name in [self.group_name, self.label] {
            if name.len() > MAX_NAME {
                return Err(BadRoot::NameTooLong { found: name.len() });
            }
        }
        Component::parse(self.group_name.as_bytes()).map_err(BadRoot::GroupName)?;
        let standard = self.standard.layout().map_err(BadRoot::Tree)?;
        let Some(constrained) = &self.constrained else { return Ok((standard, None)) };
        let content = |tree: &TreeTop<'_>| (tree.entries, tree.files, tree.content_bytes);
        if content(constrained) != content(&self.standard) {
            return Err(BadRoot::TreesDiffer);
        }
        Ok((standard, Some(constrained.layout().map_err(BadRoot::Tree)?)))
    }
}

/// What this receiver knows when a release arrives.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The highest order accepted for the group, and its digest.
    pub highest: Option<(ReleaseOrder, Digest)>,
    /// Seconds since 1970 by a trusted clock; without one nothing expires.
    pub now: Option<u64>,
    /// This very release was installed here before.
    pub installed_before: bool,
}

/// A release that may be installed here and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRelease<'a> {
    root: ReleaseRoot<'a>,
    digest: Digest,
    succession: Succession,
    standard: IndexLayout,
    constrained: Option<IndexLayout>,
}

impl<'a> VerifiedRelease<'a> {
    /// Checks a signed root against all that is known; cheap checks come first,
    /// so that a refusal names what would have helped.
    ///
    /// # Errors
    /// [`ReleaseRefused`] says what is wrong, and whose fault it is.
    pub fn verify(
        document: &'a [u8],
        authority: &TrustedAuthority,
        membership: &VerifiedMembership,
        circumstances: &Circumstances,
    ) -> Result<Self, ReleaseRefused> {
        let signed = SignedDocument::parse(document, MAX_ROOT)
            .map_err(|fault| ReleaseRefused::Root(BadRoot::Malformed(fault)))?;
        let root = ReleaseRoot::decode(signed.body()).map_err(ReleaseRefused::Root)?;
        let digest = signed.digest(Context::Release);
        check_authority(&root, authority)?;
        check_membership(&root, authority, membership, circumstances.now)?;
        // PROTOCOL T3: at least t admins, a membership of its group, a higher order.
        authority.verify(Context::Release, &signed).map_err(ReleaseRefused::Untrusted)?;
        let succession =
            succession(circumstances.highest, root.order, digest).map_err(ReleaseRefused::Order)?;
        // PROTOCOL T6: no first installation after expiry; what is here stays.
        let expired = root.expires != 0 && circumstances.now.is_some_and(|now| now > root.expires);
        if expired && !circumstances.installed_before {
            return Err(ReleaseRefused::Expired { expires: root.expires });
        }
        let (standard, constrained) = root.layouts().map_err(ReleaseRefused::Root)?;
        Ok(Self { root, digest, succession, standard, constrained })
    }

    /// The root that was signed.
    #[must_use]
    pub const fn root(&self) -> &ReleaseRoot<'a> {
        &self.root
    }

    /// Group, order and digest: what is to be persisted before activation.
    #[must_use]
    pub const fn name(&self) -> ReleaseName {
        self.root.name(self.digest)
    }

    /// Whether it is newer, or the highest accepted once more.
    #[must_use]
    pub const fn succession(&self) -> Succession {
        self.succession
    }

    /// The group's name: the directory that it is installed in.
    ///
    /// # Errors
    /// Never: it was checked.
    pub fn directory(&self) -> Result<Component<'a>, UnsafeName> {
        Component::parse(self.root.group_name.as_bytes())
    }

    /// The standard tree and how its index is laid out.
    #[must_use]
    pub const fn standard(&self) -> (&TreeTop<'a>, &IndexLayout) {
        (&self.root.standard, &self.standard)
    }

    /// The constrained tree, if there is one, and how its index is laid out.
    #[must_use]
    pub fn constrained(&self) -> Option<(&TreeTop<'a>, &IndexLayout)> {
        self.root.constrained.as_ref().zip(self.constrained.as_ref())
    }
}

fn check_authority(
    root: &ReleaseRoot<'_>,
    authority: &TrustedAuthority,
) -> Result<(), ReleaseRefused> {
    let held = authority.document();
    if root.fleet != held.fleet {
        return Err(ReleaseRefused::Fleet { expected: held.fleet, found: root.fleet });
    }
    if root.authority > held.version {
        let (needed, held) = (root.authority, held.version);
        return Err(ReleaseRefused::AuthorityBehind { needed, held });
    }
    let (most, found) = (held.reset_epoch, root.order.reset_epoch);
    if found > most {
        return Err(ReleaseRefused::ResetEpoch { most, found });
    }
    Ok(())
}

fn check_membership(
    root: &ReleaseRoot<'_>,
    authority: &TrustedAuthority,
    membership: &VerifiedMembership,
    now: Option<u64>,
) -> Result<(), ReleaseRefused> {
    if membership.authority() != authority.digest() {
        return Err(ReleaseRefused::MembershipUnchecked);
    }
    let (expected, found) = (membership.membership().group, root.group);
    if found != expected {
        return Err(ReleaseRefused::Group { expected, found });
    }
    if !membership.counts_at(now) {
        let not_after = membership.membership().not_after;
        return Err(ReleaseRefused::MembershipExpired { not_after });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "release_tests.rs"]
mod tests;
