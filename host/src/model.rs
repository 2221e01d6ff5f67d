//! What the server knows, as plain records, and the changes that make it durable.
//!
//! The fleet machine holds these in memory and emits [`Change`]s; the catalog
//! applies them in one transaction each batch and gives them back as a
//! [`Snapshot`] after a restart. Trust facts stay signed documents.

mod hold;
mod tokens;
mod trust;

use std::fmt;
use std::net::SocketAddr;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId, StaticKey, TokenId, VerifyingKey};
use fleetcast_core::wire::control::{ReleaseName, Standing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::hold::Hold;
pub use tokens::TokenRecord;
pub use trust::{AdminNameRecord, ProposalRecord};

/// Seconds since 1970, UTC.
pub type UnixTime = u64;

/// A device that receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverRecord {
    /// Derived from its device key.
    pub id: ReceiverId,
    /// Its X25519 device key.
    pub key: StaticKey,
    /// Its Ed25519 key for receipts, once it said Hello.
    pub signing: Option<VerifyingKey>,
    /// Unique in the fleet.
    pub name: String,
    /// Waiting, member or revoked.
    pub standing: Standing,
    /// Whether it is a constrained device.
    pub constrained: bool,
    /// The greatest (boot counter, n) of its handshakes.
    pub order: (u64, u64),
    /// When it enrolled.
    pub enrolled: UnixTime,
    /// When it was heard last.
    pub last_seen: UnixTime,
    /// Where it was heard last.
    pub address: Option<SocketAddr>,
    /// Version of its software.
    pub version: String,
    /// Free bytes at its destination.
    pub free: u64,
    /// Codec bits that it decodes.
    pub codecs: u8,
    /// The account that stands behind it, once a person has logged in.
    pub owner: Option<String>,
}

/// A named set of receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// Random, chosen at its creation.
    pub id: GroupId,
    /// Unique in the fleet.
    pub name: String,
    /// Receivers may join without approval.
    pub open: bool,
    /// Digest of the voucher that memberships are made from while it is open.
    pub voucher: Option<Digest>,
    /// When it was created.
    pub created: UnixTime,
}

/// A receiver is to be in a group: it asks for that, or an operator proposes it, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// The receiver.
    pub receiver: ReceiverId,
    /// The group.
    pub group: GroupId,
    /// Whether the receiver itself asks.
    pub asked: bool,
    /// The account that proposes it, if one does.
    pub proposed: Option<String>,
    /// Why it was denied, in an admin's words; `None` while nobody has decided.
    pub denied: Option<String>,
    /// When it asked last, or was proposed or denied.
    pub since: UnixTime,
}

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Distributes and manages.
    Admin,
    /// Watches, and proposes approvals.
    Operator,
    /// Stands behind receivers, and asks for them.
    Member,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Member => "member",
        }
    }
}

/// A person.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// Unique in the fleet, whatever the case of its letters.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// The password's hash with its salt and parameters (PHC string format).
    pub password: String,
    /// When it was made.
    pub created: UnixTime,
    /// When its password or role changed last.
    pub changed: UnixTime,
}

/// Hashes are never printed.
impl fmt::Debug for AccountRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountRecord({}, {:?})", self.name, self.role)
    }
}

/// A receiver's membership in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipRecord {
    /// The receiver.
    pub receiver: ReceiverId,
    /// The group.
    pub group: GroupId,
    /// The signed certificate.
    pub certificate: Vec<u8>,
    /// Digest of the voucher that the certificate names.
    pub voucher: Option<Digest>,
    /// Since when.
    pub since: UnixTime,
}

/// An invitation: an admin-signed voucher and its secret token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoucherRecord {
    /// Digest of the document.
    pub digest: Digest,
    /// The signed voucher.
    pub document: Vec<u8>,
    /// Public name of the token.
    pub token_id: TokenId,
    /// The token itself: the handshake's psk is made from it.
    pub token: [u8; 16],
    /// How many receivers have enrolled with it.
    pub used: u32,
    /// How many may.
    pub uses: u32,
    /// When it stops counting.
    pub expires: UnixTime,
    /// Taken back by an admin.
    pub revoked: bool,
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseState {
    /// Signed by enough admins.
    Current,
    /// A newer one of its group exists.
    Superseded,
    /// Taken back.
    Cancelled,
    /// Waits for signatures of further admins.
    Unsigned,
}

/// How a release is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Cap in bytes per second, below the server's.
    pub rate: Option<u64>,
    /// Send every chunk, whatever receivers hold.
    pub full: bool,
    /// What is greater goes first.
    pub priority: u8,
    /// Receivers have it before, and all switch to it at this time.
    pub at: Option<UnixTime>,
    /// The same, when so many per cent of its receivers have it.
    pub ready: Option<u8>,
}

impl Terms {
    /// Whether it is to be activated later, by a word of the server.
    #[must_use]
    pub const fn is_scheduled(&self) -> bool {
        self.at.is_some() || self.ready.is_some()
    }
}

/// A release: its signed root, and what lists say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRecord {
    /// Group, order, digest.
    pub name: ReleaseName,
    /// The name a person gave it.
    pub label: String,
    /// The signed root document.
    pub document: Vec<u8>,
    /// Files in it.
    pub files: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// When it was made.
    pub created: UnixTime,
    /// When it may no longer be installed for the first time.
    pub expires: UnixTime,
    /// Where it stands.
    pub state: ReleaseState,
    /// How it is sent.
    pub terms: Terms,
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Waits for its receiver or for a session.
    Queued,
    /// Its receiver was invited.
    Offered,
    /// Its receiver receives.
    Transferring,
    /// Its receiver has all and builds the new directory.
    Verifying,
    /// Durable at the receiver.
    Installed,
    /// Not installed, and why is told.
    Failed,
    /// A newer release took its place.
    Superseded,
    /// Taken back.
    Cancelled,
}

impl DeliveryState {
    const ALL: [Self; 8] = [
        Self::Queued,
        Self::Offered,
        Self::Transferring,
        Self::Verifying,
        Self::Installed,
        Self::Failed,
        Self::Superseded,
        Self::Cancelled,
    ];

    /// The state that a word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether nothing more will happen to it by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Installed | Self::Failed | Self::Superseded | Self::Cancelled)
    }

    /// The word for it, as design and contract use it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Offered => "offered",
            Self::Transferring => "transferring",
            Self::Verifying => "verifying",
            Self::Installed => "installed",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }
}

/// By which path most of a delivery's bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryPath {
    /// By multicast.
    Multicast,
    /// By catch-up.
    Unicast,
    /// From what the receiver had.
    Local,
}

impl DeliveryPath {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Multicast => "multicast",
            Self::Unicast => "unicast",
            Self::Local => "local",
        }
    }
}

/// One release to one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Grows by one with every delivery of the fleet.
    pub id: u64,
    /// To whom.
    pub receiver: ReceiverId,
    /// What.
    pub release: ReleaseName,
    /// How far. Only queued and final states are persisted.
    pub state: DeliveryState,
    /// What it waits for, besides its receiver.
    pub hold: Hold,
    /// A short code of the reason when failed, else empty.
    pub code: String,
    /// The reason in words when failed, superseded or ended by its receiver, else empty.
    pub reason: String,
    /// Bytes of the release that its receiver holds.
    pub bytes: u64,
    /// How the bytes came.
    pub path: DeliveryPath,
    /// When it was made.
    pub created: UnixTime,
    /// When its state changed last.
    pub updated: UnixTime,
}

/// A release that a receiver has said to have installed, with its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRecord {
    /// The receiver.
    pub receiver: ReceiverId,
    /// The release.
    pub release: ReleaseName,
    /// When, by the device's clock.
    pub at: UnixTime,
    /// The receipt's signature, or empty when only the inventory told it.
    pub receipt: Vec<u8>,
}

/// A receipt as it came, with all that checking it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// Who signed it.
    pub receiver: ReceiverId,
    /// Its name then.
    pub receiver_name: String,
    /// Its device key, which the receipt names.
    pub device: StaticKey,
    /// The key that checks the signature.
    pub signing: VerifyingKey,
    /// What is installed.
    pub release: ReleaseName,
    /// The name of its group then.
    pub group_name: String,
    /// When, by the device's clock; 0 without one.
    pub at: UnixTime,
    /// The signature.
    pub signature: Vec<u8>,
    /// The device's membership in the group then, signed; empty where there was none.
    pub certificate: Vec<u8>,
    /// The voucher that the membership names, signed; or empty.
    pub voucher: Vec<u8>,
}

/// One line of the audit log, chained by digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Position, from 1.
    pub number: u64,
    /// When.
    pub time: UnixTime,
    /// Who: an account, a receiver, or `server`.
    pub actor: String,
    /// What, as a code such as `release-sent`.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// With what result.
    pub result: String,
    /// Digest of the line before and of this one's fields.
    pub digest: Digest,
}

/// The mark of a catalog that may be older than what its receivers hold, and since when.
pub const DOUBT: &str = "doubt";

/// Something that must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A receiver is new or different.
    Receiver(ReceiverRecord),
    /// A receiver is gone, with its memberships, deliveries and held releases.
    ReceiverGone(ReceiverId),
    /// A group is new or different.
    Group(GroupRecord),
    /// A group is gone, with its memberships, releases, deliveries, and what is held of it.
    GroupGone(GroupId),
    /// A membership is new or different.
    Membership(MembershipRecord),
    /// A membership is gone.
    MembershipGone(ReceiverId, GroupId),
    /// A request is new or different.
    Request(RequestRecord),
    /// A request is gone.
    RequestGone(ReceiverId, GroupId),
    /// An account is new or different.
    Account(AccountRecord),
    /// An account of this name is gone.
    AccountGone(String),
    /// A token is new or different.
    Token(TokenRecord),
    /// The token with this hash is gone.
    TokenGone(Digest),
    /// A voucher is new or different.
    Voucher(VoucherRecord),
    /// The voucher with this digest is gone.
    VoucherGone(Digest),
    /// A release is new or different.
    Release(ReleaseRecord),
    /// A delivery is new or different.
    Delivery(DeliveryRecord),
    /// A receiver holds a release now, in place of the group's one before.
    Held(HeldRecord),
    /// A receiver holds nothing of a group any more.
    HeldGone(ReceiverId, GroupId),
    /// A signed authority document of this version.
    Authority(u32, Vec<u8>),
    /// A proposed authority document is new, or has further signatures.
    Proposal(ProposalRecord),
    /// A proposed authority document is gone.
    ProposalGone(Digest),
    /// An admin has a name.
    AdminName(AdminNameRecord),
    /// A release is gone, with its deliveries.
    ReleaseGone(ReleaseName),
    /// A receipt came.
    Receipt(ReceiptRecord),
    /// A number of the whole fleet, or none any more.
    Mark(String, Option<u64>),
    /// A setting of this name is new or different, or taken back.
    Setting(String, Option<String>),
    /// A line for the audit log.
    Log(LogRecord),
}

/// All that was durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Receivers, by id.
    pub receivers: Vec<ReceiverRecord>,
    /// Groups, by name.
    pub groups: Vec<GroupRecord>,
    /// Memberships.
    pub memberships: Vec<MembershipRecord>,
    /// Requests to join.
    pub requests: Vec<RequestRecord>,
    /// Accounts, by name.
    pub accounts: Vec<AccountRecord>,
    /// Tokens of accounts.
    pub tokens: Vec<TokenRecord>,
    /// Vouchers.
    pub vouchers: Vec<VoucherRecord>,
    /// Releases, oldest first.
    pub releases: Vec<ReleaseRecord>,
    /// Deliveries, by id.
    pub deliveries: Vec<DeliveryRecord>,
    /// What receivers hold: the newest per receiver and group.
    pub held: Vec<HeldRecord>,
    /// Authority documents, by version.
    pub authorities: Vec<(u32, Vec<u8>)>,
    /// Proposed ones, by digest.
    pub proposals: Vec<ProposalRecord>,
    /// Names of admins.
    pub admin_names: Vec<AdminNameRecord>,
    /// Numbers of the whole fleet, by name.
    pub marks: Vec<(String, u64)>,
    /// Settings that commands have made, by name.
    pub settings: Vec<(String, String)>,
    /// The newest line of the audit log.
    pub last_log: Option<LogRecord>,
}
