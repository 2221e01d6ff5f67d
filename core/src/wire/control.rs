//! Messages of the unicast channel: small, postcard, canonical (PROTOCOL D4).
//!
//! The order of variants and of fields *is* the wire format; `tests/golden/`
//! holds their bytes for version 1.

use core::net::Ipv4Addr;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::Malformed;
pub use super::body::{check_body, decode, decode_body, encode};
pub use super::codecs::{CODEC_LZ4, CODEC_PATCH, CODEC_ZSTD, GIVES_UP, HOLDS_BACK};
use super::people::{AccountAnswer, Answer, Available, MAX_LISTED};
pub use super::refusal::{FailCode, RefusedWhy};
use crate::digest::Digest;
use crate::ids::{BlockIndex, Epoch, GroupId, ReceiverId, ReleaseOrder, SessionId, VerifyingKey};

/// Most releases in one [`Up::Holds`] or [`Down::Freshness`].
pub const MAX_HELD: usize = 12;
/// Most runs in one [`Up::Want`].
pub const MAX_WANT_RUNS: usize = 100;

/// One release of one group, named whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReleaseName {
    /// Its group.
    pub group: GroupId,
    /// Its order in that group.
    pub order: ReleaseOrder,
    /// The digest of its root.
    pub digest: Digest,
}

/// What part of a release a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Object {
    /// The signed root document itself.
    Root = 0,
    /// Index chunks: lists of references, and the entry table.
    Index = 1,
    /// Chunks of files.
    Content = 2,
}

impl Object {
    /// The object that `byte` stands for.
    ///
    /// # Errors
    /// [`Malformed::Kind`] when no object has that number.
    pub const fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Root),
            1 => Ok(Self::Index),
            2 => Ok(Self::Content),
            other => Err(Malformed::Kind(other)),
        }
    }
}

/// Consecutive ordinals of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantRun {
    /// Which list of ordinals.
    pub object: Object,
    /// The first ordinal.
    pub first: u32,
    /// How many, at least one.
    pub count: u32,
}

/// Where a receiver stands with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Enrolled without a token: an admin must approve its fingerprint.
    Waiting,
    /// Approved.
    Member,
    /// Not wanted any more.
    Revoked,
}

/// An invitation to a session (PROTOCOL §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The session.
    pub session: SessionId,
    /// Its present epoch.
    pub epoch: Epoch,
    /// The key of that epoch.
    pub key: [u8; 32],
    /// Where its datagrams go: a multicast group, or 0.0.0.0 for unicast.
    pub address: Ipv4Addr,
    /// The port there, or 0 for unicast.
    pub port: u16,
    /// Which of the session's release slots is this receiver's.
    pub slot: u8,
    /// The release that the slot stands for.
    pub release: ReleaseName,
    /// Length of its root document with signatures, in bytes.
    pub root_len: u16,
    /// Bytes of a full symbol.
    pub symbol: u16,
    /// Most source symbols of a block.
    pub sources: u8,
    /// Blocks before this one are past; who joins late asks for them afterwards.
    pub first_block: BlockIndex,
    /// Receivers invited, for the back-off.
    pub receivers: u32,
    /// Unit of the back-off in microseconds.
    pub backoff_us: u32,
    /// How often a receiver reports its progress, in milliseconds.
    pub report_ms: u32,
    /// Salt of strict digests.
    pub salt: [u8; 8],
    /// Bytes of all blocks of the session.
    pub payload: u64,
    /// Everything is to be taken from the session, nothing from older releases.
    pub full: bool,
}

/// A message from a receiver to the server.
#[expect(clippy::large_enum_variant, reason = "no heap to box in; one lives at a time")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Up<'a> {
    /// Who I am; first on a new channel.
    Hello {
        /// The name it was given when it enrolled, at most `MAX_NAME` bytes.
        name: &'a str,
        /// Version of its software.
        version: &'a str,
        /// Its Ed25519 key for receipts.
        signing: VerifyingKey,
        /// Bits of the codecs it decodes.
        codecs: u8,
        /// Free bytes at its destination.
        free: u64,
        /// The authority version that it trusts, 0 for none yet.
        authority: u32,
        /// For the server's freshness statement.
        nonce: [u8; 16],
    },
    /// What I have installed; pages until `more` is unset.
    Holds {
        /// Installed releases.
        releases: Vec<ReleaseName, MAX_HELD>,
        /// Further pages follow.
        more: bool,
    },
    /// I am ready for the session.
    Joined {
        /// The session.
        session: SessionId,
        /// The epoch I hold the key of.
        epoch: Epoch,
        /// A datagram of the session reached me.
        heard: bool,
    },
    /// Not postcard: see [`super::nack`]. The variant keeps its number.
    Nack,
    /// How far I am.
    Progress {
        /// The session.
        session: SessionId,
        /// Symbols received since the last report.
        received: u32,
        /// Symbols lost since the last report.
        lost: u32,
        /// The highest send counter taken so far: how far behind the receiver is.
        counter: u64,
        /// Bytes of the release held and verified.
        held: u64,
        /// Bytes of the release.
        total: u64,
    },
    /// I see symbols of a block but have no header for it.
    HeaderRequest {
        /// The session.
        session: SessionId,
        /// The block.
        block: BlockIndex,
    },
    /// I see an epoch that I have no key for.
    KeyRequest {
        /// The session.
        session: SessionId,
    },
    /// The session can give me nothing more.
    Finished {
        /// The session.
        session: SessionId,
        /// Blocks whose records did not verify.
        poisoned: u32,
    },
    /// What I still lack of a release; pages until `more` is unset.
    Want {
        /// The release.
        release: ReleaseName,
        /// Page number, from 0.
        page: u16,
        /// Further pages follow.
        more: bool,
        /// What is lacking; empty with page 0 and no `more`: nothing.
        runs: Vec<WantRun, MAX_WANT_RUNS>,
    },
    /// Installed, durable.
    Installed {
        /// The release.
        release: ReleaseName,
        /// When, in seconds since 1970 by the device's clock (0: no clock).
        at: u64,
        /// Ed25519 signature of the device over the receipt, 64 bytes.
        receipt: &'a [u8],
    },
    /// Not installed.
    Failed {
        /// The release.
        release: ReleaseName,
        /// The kind of reason.
        code: FailCode,
        /// The reason in words, at most 200 bytes.
        reason: &'a str,
    },
    /// The answer to [`Down::Ping`].
    Pong {
        /// From the ping.
        nonce: u64,
    },
    /// A complete block held records that do not verify.
    Poisoned {
        /// The session.
        session: SessionId,
        /// The block.
        block: BlockIndex,
    },
    /// I am leaving; nothing follows.
    Bye,
    /// All of a release that is held back is verified and durable.
    Staged {
        /// The release.
        release: ReleaseName,
    },
    /// Which groups are there? One page.
    Groups {
        /// The last group of the page before; none for the first page.
        after: Option<GroupId>,
    },
    /// A person here asks that this receiver be in a group.
    Join {
        /// The group's name, at most `MAX_NAME` bytes.
        group: &'a str,
    },
    /// This receiver is to be in a group no more, or a request is taken back.
    Leave {
        /// The group's name, at most `MAX_NAME` bytes.
        group: &'a str,
    },
    /// A person here stands behind this receiver with an account.
    Login {
        /// The account's name, at most `MAX_NAME` bytes.
        user: &'a str,
        /// Its password, at most `MAX_PASSWORD` bytes.
        password: &'a [u8],
    },
    /// A person here wants another password.
    Password {
        /// The account's name, at most `MAX_NAME` bytes.
        user: &'a str,
        /// Its password, at most `MAX_PASSWORD` bytes.
        password: &'a [u8],
        /// The password from now on.
        new: &'a [u8],
    },
    /// What was noticed when a release was installed; said only where there is something.
    Findings {
        /// The release.
        release: ReleaseName,
        /// Files and directories of the one before that somebody had changed or added here;
        /// they are kept aside.
        changes: u32,
        /// Whether the new directory took the place of the old one in one step.
        atomic: bool,
    },
    /// The number is kept for another message; nobody sends this.
    Kept21,
    /// I trust this version of the authority document, durably.
    Trusts {
        /// The version.
        version: u32,
    },
    /// A piece of the signed root of a release that is installed here, for a server that
    /// does not know it.
    Evidence {
        /// The release.
        release: ReleaseName,
        /// Offset of this piece.
        offset: u16,
        /// Length of the whole signed document.
        total: u16,
        /// The piece.
        bytes: &'a [u8],
    },
}

/// A message from the server to a receiver.
#[expect(clippy::large_enum_variant, reason = "no heap to box in; one lives at a time")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Down<'a> {
    /// The answer to [`Up::Hello`].
    Welcome {
        /// The receiver's identity.
        id: ReceiverId,
        /// The name the server knows it by.
        name: &'a str,
        /// Where it stands.
        standing: Standing,
        /// The server's time in seconds since 1970.
        time: u64,
        /// From the Hello.
        nonce: [u8; 16],
    },
    /// A piece of a signed authority document.
    Authority {
        /// Its version.
        version: u32,
        /// Offset of this piece.
        offset: u16,
        /// Length of the whole signed document.
        total: u16,
        /// The piece.
        bytes: &'a [u8],
    },
    /// You are a member of a group.
    Membership {
        /// The signed certificate.
        certificate: &'a [u8],
        /// The signed voucher that it names, or empty.
        voucher: &'a [u8],
    },
    /// You are no longer a member of a group.
    Removed {
        /// The group.
        group: GroupId,
    },
    /// Take part in a session.
    Invitation(Invitation),
    /// A session's next key.
    Epoch {
        /// The session.
        session: SessionId,
        /// The new epoch.
        epoch: Epoch,
        /// Its key.
        key: [u8; 32],
    },
    /// A session is over.
    Ended {
        /// The session.
        session: SessionId,
    },
    /// A release is not to be installed any more.
    Cancelled {
        /// The release.
        release: ReleaseName,
    },
    /// What is newest, signed by the controller.
    Freshness {
        /// From the Hello.
        nonce: [u8; 16],
        /// Newest authority version.
        authority: u32,
        /// Newest release of each of the receiver's groups.
        newest: Vec<ReleaseName, MAX_HELD>,
        /// Ed25519 signature of the controller, 64 bytes.
        signature: &'a [u8],
    },
    /// Are you there?
    Ping {
        /// Comes back in the pong.
        nonce: u64,
    },
    /// You are not taken in.
    Refused {
        /// Why.
        why: RefusedWhy,
    },
    /// A release is to be received, but not installed before [`Down::Activate`].
    Hold {
        /// The release.
        release: ReleaseName,
    },
    /// A release that was held back is to be installed now.
    Activate {
        /// The release.
        release: ReleaseName,
    },
    /// The answer to [`Up::Groups`]: groups in the order of their identities.
    Groups {
        /// Further pages are there.
        more: bool,
        /// The groups.
        #[serde(borrow)]
        groups: Vec<Available<'a>, MAX_LISTED>,
    },
    /// The answer to [`Up::Join`] and [`Up::Leave`], and what an admin decides later.
    Answer {
        /// The group's name, as it was asked for.
        group: &'a str,
        /// What became of it.
        answer: Answer<'a>,
    },
    /// The answer to [`Up::Login`] and [`Up::Password`].
    Account {
        /// What became of it.
        answer: AccountAnswer,
    },
    /// A poisoned block is not sent again in its session: what of it is lacking comes by
    /// catch-up.
    GiveUp {
        /// The session.
        session: SessionId,
        /// The block.
        block: BlockIndex,
    },
    /// The number is kept for another message; nobody sends this.
    Kept17,
    /// As [`Self::Kept17`].
    Kept18,
    /// I stop, in order: give this channel up, and come back (PROTOCOL C7).
    Bye {
        /// Milliseconds over which those who are told come back, each when it likes.
        spread_ms: u32,
    },
    /// A piece of a segment header, for who found none in the session.
    Header {
        /// The session.
        session: SessionId,
        /// Offset of this piece.
        offset: u16,
        /// Length of the whole header with its signature.
        total: u16,
        /// The piece.
        bytes: &'a [u8],
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlong_integers_and_trailing_bytes_are_refused() {
        // PROTOCOL D4: 9 is Ping, 5 as a varint is one byte, here it takes two.
        assert_eq!(decode::<Down<'_>>(&[9, 5]), Ok(Down::Ping { nonce: 5 }));
        assert_eq!(decode::<Down<'_>>(&[9, 0x85, 0]), Err(Malformed::NotCanonical));
        // PROTOCOL D2
        assert_eq!(decode::<Down<'_>>(&[9, 5, 0]), Err(Malformed::Trailing));
    }
}
