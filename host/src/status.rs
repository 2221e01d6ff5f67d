//! What lists and streams show: one model for the API, `--json` and the page.
//!
//! The names of fields are the command-line contract: scripts rely on them.
//! Fields may be added, never renamed. Times are RFC 3339, sizes bytes, rates
//! bytes per second, digests lower-case hex.

mod remote;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::health::HealthItem;
use crate::model::{Role, UnixTime};
use crate::units::{Moment, format_time, maybe_time, rfc3339};

pub use remote::{ApiItem, IssuedItem, MeItem, TokenItem};

/// Version of all documents below.
pub const SCHEMA: u32 = 1;

/// A document of several items: `{"schema":1,"kind":K,"items":[…]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Items<T> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the items are, such as `receivers`.
    pub kind: String,
    /// The items.
    pub items: Vec<T>,
}

/// A document of one item: `{"schema":1,"kind":K,"item":{…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Item<T> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the item is, such as `status`.
    pub kind: String,
    /// The item.
    pub item: T,
}

impl<T> Items<T> {
    /// A document of `items`.
    #[must_use]
    pub fn new(kind: &str, items: Vec<T>) -> Self {
        Self { schema: SCHEMA, kind: kind.into(), items }
    }
}

impl<T> Item<T> {
    /// A document of `item`.
    #[must_use]
    pub fn new(kind: &str, item: T) -> Self {
        Self { schema: SCHEMA, kind: kind.into(), item }
    }
}

/// One line of a stream: `{"schema":1,"event":E,"time":…,…}` with the fields of `body`.
///
/// A body that is no object (and not null) stands under `value`.
///
/// # Errors
/// Those of `serde_json` when `body` has no JSON form.
pub fn event_line(
    event: &str,
    time: UnixTime,
    body: &impl Serialize,
) -> Result<String, serde_json::Error> {
    let mut line = Map::new();
    line.insert("schema".into(), json!(SCHEMA));
    line.insert("event".into(), json!(event));
    line.insert("time".into(), json!(format_time(time)));
    match serde_json::to_value(body)? {
        Value::Object(fields) => {
            // A body cannot take the place of the line's own fields.
            for (name, value) in fields {
                line.entry(name).or_insert(value);
            }
        }
        Value::Null => {}
        other => {
            line.insert("value".into(), other);
        }
    }
    serde_json::to_string(&line)
}

/// Where a receiver stands, as lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReceiverState {
    /// Connected.
    Active,
    /// A member, not heard.
    Away,
    /// Waits for an admin's approval.
    Waiting,
    /// Not wanted any more.
    Revoked,
}

/// A receiver's kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// A host.
    Standard,
    /// A microcontroller.
    Constrained,
}

/// A release that a receiver has installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstalledItem {
    /// Name of its group.
    pub group: String,
    /// Its sequence number there.
    pub sequence: u64,
    /// Digest of its root.
    pub release: String,
}

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverItem {
    /// Its name.
    pub name: String,
    /// Its identity in hex.
    pub id: String,
    /// What an admin compares before approving it.
    pub fingerprint: String,
    /// Where it stands.
    pub state: ReceiverState,
    /// When it was heard last.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub last_seen: UnixTime,
    /// Where it was heard last, or none.
    pub address: Option<String>,
    /// Version of its software.
    pub version: String,
    /// Its kind of device.
    pub profile: Profile,
    /// Names of its groups.
    pub groups: Vec<String>,
    /// Free bytes at its destination.
    pub free_bytes: u64,
    /// The newest release of each group that it has installed.
    pub installed: Vec<InstalledItem>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupItem {
    /// Its name.
    pub name: String,
    /// Whether receivers may join without approval.
    pub open: bool,
    /// How many receivers are in it.
    pub receivers: u64,
    /// Sequence number of its newest release, 0 before the first.
    pub sequence: u64,
}

/// A receiver that asks to be in a group, or is proposed for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestItem {
    /// Name of the group.
    pub group: String,
    /// Name of the receiver.
    pub receiver: String,
    /// The receiver's fingerprint.
    pub fingerprint: String,
    /// Whether the receiver itself asks.
    pub asked: bool,
    /// The account that proposes it, or null.
    pub proposed_by: Option<String>,
    /// Since when.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub since: UnixTime,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountItem {
    /// Its name.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// When it was made.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub created: UnixTime,
    /// When its role or password changed last.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub changed: UnixTime,
    /// Names of the receivers that it stands behind.
    pub receivers: Vec<String>,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InviteItem {
    /// The enrolment code.
    pub code: String,
    /// The server's address in it, `HOST:PORT`.
    pub address: String,
    /// Digest of the authority document.
    pub authority: String,
    /// The controller's key.
    pub controller: String,
    /// How many receivers may enrol with it.
    pub uses: u32,
    /// Until when.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub expires: UnixTime,
}

/// An invitation that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvitationItem {
    /// Public name of its token, in hex.
    pub id: String,
    /// Names of the groups that its receivers are in at once.
    pub groups: Vec<String>,
    /// How many receivers may enrol with it.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// Until when.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub expires: UnixTime,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// One release to one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryItem {
    /// Its number in the fleet.
    pub id: u64,
    /// Name of the receiver.
    pub receiver: String,
    /// Name of the group.
    pub group: String,
    /// Digest of the release's root.
    pub release: String,
    /// The release's sequence number.
    pub sequence: u64,
    /// A word of [`crate::model::DeliveryState`].
    pub state: String,
    /// Code of the reason when failed, else empty.
    pub code: String,
    /// The reason in words when failed, else empty.
    pub reason: String,
    /// Bytes of the release that the receiver holds.
    pub bytes: u64,
    /// A word of [`crate::model::DeliveryPath`].
    pub path: String,
    /// What it waits for besides its receiver, a word of [`crate::model::Hold`], or empty.
    #[serde(default)]
    pub waits: String,
    /// When it is to be activated, or none.
    #[serde(default, with = "maybe_time")]
    #[schemars(with = "Option<Moment>")]
    pub at: Option<UnixTime>,
    /// What is greater goes first.
    #[serde(default)]
    pub priority: u8,
}

/// A release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseItem {
    /// Digest of its root.
    pub release: String,
    /// Name of its group.
    pub group: String,
    /// Its sequence number there.
    pub sequence: u64,
    /// The name a person gave it, or empty.
    pub name: String,
    /// Files in it.
    pub files: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// When it was made.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub created: UnixTime,
    /// When it may no longer be installed for the first time.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub expires: UnixTime,
    /// Valid signatures on it.
    pub signatures: u32,
    /// Signatures that it needs.
    pub threshold: u32,
    /// `current`, `waiting` (for its time, or for the word of an admin), `superseded`,
    /// `cancelled`, or `unsigned`.
    pub state: String,
}

/// What a `send` did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SendItem {
    /// The releases that it made, one per group.
    pub releases: Vec<InstalledItem>,
    /// Their deliveries.
    pub deliveries: Vec<DeliveryItem>,
    /// Bytes of chunk records that had to be sent.
    pub payload_bytes: u64,
    /// Bytes of IP packets, headers included, that the server sent for these deliveries.
    pub wire_bytes: u64,
    /// Of these, by multicast.
    pub multicast_bytes: u64,
    /// Of these, by unicast.
    pub unicast_bytes: u64,
    /// From the command's beginning to its end.
    pub seconds: f64,
    /// Of these, for reading, chunking and signing.
    pub ingest_seconds: f64,
    /// Releases that wait for signatures of further admins, before anybody gets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsigned: Vec<UnsignedItem>,
}

/// A release that waits for signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnsignedItem {
    /// Which.
    #[serde(flatten)]
    pub release: InstalledItem,
    /// Valid signatures on it.
    pub signatures: u32,
    /// Signatures that it needs.
    pub threshold: u32,
}

/// The whole fleet in one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusItem {
    /// Version of the server.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// How many receivers stand where.
    pub receivers: ReceiverCounts,
    /// The cap of all that is sent.
    #[serde(default)]
    pub rate: RateItem,
    /// What is being sent.
    pub sessions: Vec<SessionItem>,
    /// What was sent since the server started.
    pub totals: TotalsItem,
    /// What is not as it should be, the worst first.
    pub health: Vec<HealthItem>,
}

/// How many receivers stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverCounts {
    /// Connected.
    pub active: u64,
    /// Not heard.
    pub away: u64,
    /// Waiting for approval.
    pub waiting: u64,
}

/// The cap of all that is sent, by hour of the day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RateItem {
    /// Bytes per second now.
    pub rate: u64,
    /// Bytes per second where no window holds.
    pub server_rate: u64,
    /// The windows; the first that holds counts.
    pub windows: Vec<WindowItem>,
    /// The zone that their hours are of.
    pub zone: String,
    /// What the clock shows there, with the zone's abbreviation.
    pub local_time: String,
    /// Who has set them: `command`, or `settings` where it was nobody.
    pub from: String,
}

/// A window of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WindowItem {
    /// As it is written: `mon-fri 08:00-18:00=50Mbit/s`.
    pub window: String,
    /// Bytes per second in it.
    pub rate: u64,
    /// Whether it counts now.
    pub active: bool,
}

/// A running session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionItem {
    /// Its number.
    pub id: u32,
    /// Names of the groups that it serves.
    pub groups: Vec<String>,
    /// Bytes per second now.
    pub rate: u64,
    /// Share of symbols lost, 0 to 1, for the typical receiver.
    pub loss: f64,
    /// Repair symbols sent.
    pub repair_symbols: u64,
    /// What keeps the rate from being higher: `cap`, `network`, or a receiver's name;
    /// empty while it is still rising.
    pub limiter: String,
    /// Where the limiter is the cap: what says so, the window of a schedule, the release's
    /// `--rate`, or the server's; else empty.
    #[serde(default)]
    pub cause: String,
    /// `multicast` or `unicast`.
    pub path: String,
}

/// What was sent since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TotalsItem {
    /// Bytes of chunk records.
    pub payload_bytes: u64,
    /// Bytes of IP packets with their headers.
    pub wire_bytes: u64,
    /// Bytes that did not have to be sent: those of the releases that receivers have installed
    /// since the server started, less what was sent for them. Known, and fixed, when nothing is
    /// sent for a release any more; it never shrinks.
    pub saved_bytes: u64,
}

/// A file of the library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileItem {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: String,
    /// The account that it belongs to.
    pub owner: String,
    /// When it was changed last.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub modified: UnixTime,
}

/// What a demonstration showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DemoItem {
    /// Whether all receivers have identical files.
    pub ok: bool,
    /// How long the delivery took.
    pub seconds: f64,
    /// Bytes per second at every receiver.
    pub goodput: u64,
    /// Bytes of chunk records.
    pub payload_bytes: u64,
    /// Bytes of IP packets with their headers.
    pub wire_bytes: u64,
    /// Data datagrams sent by multicast.
    pub multicast_data: u64,
    /// Data datagrams sent by unicast.
    pub unicast_data: u64,
    /// Symbols that receivers lost.
    pub lost: u64,
    /// Repair symbols sent.
    pub repaired: u64,
    /// What each receiver has.
    pub receivers: Vec<DemoReceiverItem>,
}

/// A receiver of a demonstration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DemoReceiverItem {
    /// Its name.
    pub name: String,
    /// Where its files lie.
    pub dir: String,
    /// Whether they are identical with what was sent.
    pub identical: bool,
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
