//! Bodies of requests and answers that are not lists of [`crate::status`].
//!
//! Signed documents, keys and ids travel as lower-case hex.

pub mod authority;
mod remote;
mod signed_time;

use std::borrow::Cow;

use data_encoding::HEXLOWER_PERMISSIVE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::model::{Terms, UnixTime};
use crate::status::{DeliveryItem, InstalledItem, ReceiverItem, ReleaseItem};
use crate::units::{Moment, maybe_time, rfc3339};

pub use remote::{
    FailureBody, MAX_TOKEN_SECONDS, NewLogin, NewPassword, NewRole, NewUser, OwnName, OwnPassword,
    OwnToken, Password, TokenWish,
};

/// Largest body of a request other than a stream of chunks, in bytes.
pub const MAX_BODY: usize = 2 * 1024 * 1024;
/// Largest body of a login, in bytes: anybody may send one.
pub const MAX_LOGIN: usize = 4 * 1024;
/// The greatest priority of a release.
pub const MAX_PRIORITY: u8 = 9;
/// Most ids that one request asks about.
pub const MAX_IDS: usize = MAX_BODY / 32;

/// Bytes as hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl Hex {
    /// The bytes, if there are exactly `N`.
    #[must_use]
    pub fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.0.as_slice().try_into().ok()
    }
}

impl JsonSchema for Hex {
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Bytes in lower-case hex.",
            "type": "string",
            "pattern": "^([0-9a-fA-F]{2})*$",
        })
    }
}

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

/// `GET /fleet`: whom the fleet trusts, and where its server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetInfo {
    /// The fleet's identity.
    pub fleet: Hex,
    /// Version of the authority document.
    pub version: u32,
    /// Its digest, which receivers pin.
    pub digest: Hex,
    /// Admins that must sign.
    pub threshold: u8,
    /// Ed25519 keys of the admins.
    pub admins: Vec<Hex>,
    /// X25519 key of the controller.
    pub controller: Hex,
    /// Where the server's unicast socket is bound.
    pub listen: String,
    /// The server's wall clock.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub time: UnixTime,
}

/// `POST /groups`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// Receivers may join without approval.
    pub open: bool,
}

/// `PATCH /groups/{group}` and `POST /receivers/{receiver}/rename`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewName {
    /// The name from now on.
    pub name: String,
}

/// `POST /groups/{group}/members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewMember {
    /// Name or identity.
    pub receiver: String,
    /// The membership that an admin has signed.
    pub certificate: Hex,
}

/// `POST /groups/{group}/requests/{receiver}/deny`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Denial {
    /// Why, for the person at the receiver; may be empty.
    pub reason: String,
}

/// `GET /groups/{group}/next`: what the next release of a group is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextRelease {
    /// The fleet's identity.
    pub fleet: Hex,
    /// Version of the authority document.
    pub authority: u32,
    /// The group's identity.
    pub group: Hex,
    /// The group's name.
    pub name: String,
    /// The reset epoch of the next release.
    pub reset_epoch: u32,
    /// Its sequence number.
    pub sequence: u64,
    /// The current release's signed document.
    pub current: Option<Hex>,
    /// Receivers of the group.
    pub receivers: u64,
    /// Whether any of them is a constrained device.
    pub constrained: bool,
    /// What the server's clock shows; null of an older server.
    #[serde(default, with = "maybe_time")]
    #[schemars(with = "Option<Moment>")]
    pub time: Option<UnixTime>,
}

/// `GET /receivers/{receiver}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverDetail {
    /// As in lists.
    #[serde(flatten)]
    pub item: ReceiverItem,
    /// Its X25519 device key, which memberships name.
    pub key: Hex,
}

/// `POST /receivers/ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PingRequest {
    /// Names or identities; empty for all.
    pub receivers: Vec<String>,
}

/// What became of a ping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PingItem {
    /// Name of the receiver.
    pub receiver: String,
    /// Whether it answered.
    pub answered: bool,
    /// The round trip in microseconds, when it answered.
    pub round_trip_us: Option<u64>,
}

/// `GET /receivers/paths`: by which path receivers would be reached now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paths {
    /// The server's rate, in bytes per second.
    pub rate: u64,
    /// All receivers.
    pub receivers: Vec<PathItem>,
}

/// How a receiver would be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathItem {
    /// Its name.
    pub receiver: String,
    /// `multicast`, `unicast`, or `later` where it is away.
    pub path: String,
}

/// `POST /vouchers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewVoucher {
    /// The voucher that an admin has signed.
    pub document: Hex,
    /// The secret token behind it.
    pub token: Hex,
}

/// `PUT /chunks`: what was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stored {
    /// Records received.
    pub received: u64,
    /// Of these, new.
    pub new: u64,
}

/// `POST /releases`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewRelease {
    /// The root that admins have signed.
    pub document: Hex,
    /// Cap in bytes per second, below the server's.
    pub rate: Option<u64>,
    /// Send every chunk, whatever receivers hold.
    pub full: bool,
    /// What is greater goes first, 0 to [`MAX_PRIORITY`].
    #[serde(default)]
    pub priority: u8,
    /// All receivers switch to it at this time.
    #[serde(default, with = "maybe_time")]
    #[schemars(with = "Option<Moment>")]
    pub at: Option<UnixTime>,
    /// They do so when so many per cent of them have it, 1 to 100.
    #[serde(default)]
    pub ready: Option<u8>,
    /// Its deliveries wait for `pending send`, or for their receivers to appear.
    #[serde(default)]
    pub queue: bool,
}

impl NewRelease {
    /// How it is to be sent.
    ///
    /// # Errors
    /// `malformed` for a priority or a share out of range.
    pub fn terms(&self) -> Result<Terms, Failure> {
        let share = self.ready.is_none_or(|share| (1..=100).contains(&share));
        if self.priority > MAX_PRIORITY || !share {
            let hint = "priorities go from 0 to 9, shares from 1 to 100 per cent";
            return Err(Failure::failed("malformed", "a number is out of range", hint));
        }
        let Self { rate, full, priority, at, ready, .. } = *self;
        Ok(Terms { rate, full, priority, at, ready })
    }
}

/// `POST /pending/send`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SendPending {
    /// Deliveries that go, whatever they wait for; empty: all that were only queued.
    pub ids: Vec<u64>,
}

/// `GET /releases/{release}/document`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseDocument {
    /// The release as in lists.
    pub release: ReleaseItem,
    /// Its signed root.
    pub document: Hex,
}

/// `GET /releases/{release}/verify`: what reading all of its chunks again has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// The release as in lists.
    pub release: Option<ReleaseItem>,
    /// Its signed root, as it is stored.
    pub document: Hex,
    /// Chunks read.
    pub chunks: u64,
    /// Bytes of those that are whole, as they are stored.
    pub bytes: u64,
    /// Chunks that are missing or not what their names say.
    pub bad: u64,
    /// The first hundred of them.
    pub bad_chunks: Vec<String>,
    /// Why its index cannot be read, or empty.
    pub fault: String,
}

/// `POST /releases/prune`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PruneRequest {
    /// How many releases of each group stay at least; [`Self::KEEP`] where none is told.
    pub keep: Option<u32>,
    /// Tell what would go, and take nothing away.
    pub dry_run: bool,
}

impl PruneRequest {
    /// How many releases of each group stay by default.
    pub const KEEP: u32 = 5;
}

/// What was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pruned {
    /// The releases.
    pub releases: Vec<ReleaseItem>,
    /// By how many bytes the packs shrank.
    pub freed_bytes: u64,
}

/// Rates by hour of the day.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewSchedule {
    /// Windows such as `mon-fri 08:00-18:00=50Mbit/s`; none takes back what was set.
    pub windows: Vec<String>,
    /// The zone of their hours: a name of the system's database, `UTC`, or `local`.
    pub zone: String,
}

/// `POST /backup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewBackup {
    /// The new file, with its whole path.
    pub file: String,
}

/// A receipt, with all that checking it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptItem {
    /// Name of the receiver when it came.
    pub receiver: String,
    /// Identity of the receiver, which follows from its device key.
    pub id: String,
    /// X25519 device key, which the receipt names.
    pub device_key: Hex,
    /// Ed25519 key that signed it.
    pub signing_key: Hex,
    /// Name of the group when it came.
    pub group: String,
    /// Identity of the group.
    pub group_id: Hex,
    /// Reset epoch of the release.
    pub reset_epoch: u32,
    /// Sequence number of the release.
    pub sequence: u64,
    /// Digest of the release's root.
    pub release: Hex,
    /// When it was installed, by the device's clock, RFC 3339; null for a device without one.
    /// (The seconds since 1970 as a number, from a clock that shows a year after 9999.)
    #[serde(with = "signed_time")]
    #[schemars(with = "Option<Moment>")]
    pub installed: u64,
    /// The device's signature.
    pub signature: Hex,
    /// The device's membership in the group then, signed; empty where it is not known.
    #[serde(default)]
    pub certificate: Hex,
    /// The voucher that the membership names, signed; or empty.
    #[serde(default)]
    pub voucher: Hex,
}

/// What a submitted release has become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submitted {
    /// The release.
    pub release: InstalledItem,
    /// Its deliveries, durably queued.
    pub deliveries: Vec<DeliveryItem>,
    /// Where it lacks signatures: how many it has, and needs. It has no deliveries then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<(u32, u32)>,
}

/// `GET /deliveries`: deliveries of releases, and what was sent for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deliveries {
    /// The deliveries that were asked for and exist.
    pub deliveries: Vec<DeliveryItem>,
    /// What the server has sent for their releases.
    pub traffic: TrafficItem,
}

/// What a server has sent for releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficItem {
    /// Bytes of blocks sent once.
    pub payload_bytes: u64,
    /// Bytes of IP packets sent by multicast.
    pub multicast_bytes: u64,
    /// Bytes of IP packets sent by unicast.
    pub unicast_bytes: u64,
    /// Parity and repeated symbols.
    pub repair_symbols: u64,
    /// NACK messages received.
    pub nacks: u64,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogItem {
    /// Position, from 1.
    pub number: u64,
    /// When.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
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
    pub digest: Hex,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_lower_case_hex() {
        let json = serde_json::to_string(&Hex(vec![0, 0xab, 0xff])).unwrap();
        assert_eq!(json, "\"00abff\"");
        assert_eq!(serde_json::from_str::<Hex>("\"00abFF\"").unwrap().0, [0, 0xab, 0xff]);
        assert!(serde_json::from_str::<Hex>("\"0g\"").is_err());
        assert_eq!(Hex(vec![1, 2]).array::<2>(), Some([1, 2]));
        assert_eq!(Hex(vec![1, 2]).array::<3>(), None);
    }
}
