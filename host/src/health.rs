//! Health conditions: what is not as it should be, as values with a name.
//!
//! A condition is raised and lowered by whoever sees it; here it only gets its
//! words, once, for table, `--json` and page alike.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::UnixTime;

/// How bad a condition is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Works, but less well or less safely than it could.
    Warning,
    /// Something that was asked for does not happen.
    Error,
}

/// A kind of condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// The admin key is sealed by its file's mode only.
    KeyUnsealed,
    /// The admin key lies in the server's own state directory.
    ServerHoldsAdminKey,
    /// A tenth of the receivers or more hear no multicast.
    MulticastBlocked,
    /// Full-size datagrams do not reach some receivers, small ones do.
    SmallDatagrams,
    /// A session is paused since most receivers lose too much.
    LossTooHigh,
    /// A receiver cannot follow the others and goes on in a slower lane.
    SlowReceiver,
    /// A handshake's order went back: a device was cloned or restored.
    OrderRegressed,
    /// A receiver failed to install a release.
    DeliveryFailed,
    /// A receiver is away although deliveries wait for it.
    ReceiverBehind,
    /// A member of a session found what is not the server's: somebody injects datagrams,
    /// and the session is in strict mode.
    Poisoned,
    /// The disk of the state directory is nearly full.
    DiskNearlyFull,
    /// The chunk store had to be put right when it was opened.
    StoreRepaired,
    /// A release comes near its expiry.
    ReleaseExpiring,
    /// The host's clock went back.
    ClockWentBack,
    /// At a receiver: what the server names as newest is older than it was.
    FreshnessBackwards,
    /// At a receiver: the server names no newest release of a group any more.
    FreshnessWithheld,
    /// At a receiver: what the server names as newest is not signed for this receiver.
    FreshnessUnproved,
    /// At a receiver: the server has a newer authority document and does not show it.
    AuthorityWithheld,
    /// The catalog is older than what receivers hold, or was just restored.
    CatalogInDoubt,
    /// No authority document names the server's own key: no receiver can connect.
    ControllerUnannounced,
    /// A release waits for signatures of further admins.
    ReleaseUnsigned,
    /// A change of the authority document waits for signatures of further admins.
    AuthorityUnsigned,
    /// All admin keys are needed: the loss of one would end the fleet.
    NoSpareKey,
    /// At a receiver: the server's catalog is in doubt, so nobody is taken in.
    ServerSuspended,
}

impl Condition {
    /// Its code, for scripts.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.words().0
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::StoreRepaired
            | Self::ReceiverBehind
            | Self::SlowReceiver
            | Self::ReleaseUnsigned
            | Self::AuthorityUnsigned
            | Self::NoSpareKey => Severity::Info,
            Self::KeyUnsealed
            | Self::ServerHoldsAdminKey
            | Self::MulticastBlocked
            | Self::SmallDatagrams
            | Self::OrderRegressed
            | Self::DiskNearlyFull
            | Self::ReleaseExpiring
            | Self::ClockWentBack
            | Self::FreshnessWithheld
            | Self::ServerSuspended => Severity::Warning,
            Self::LossTooHigh
            | Self::DeliveryFailed
            | Self::Poisoned
            | Self::FreshnessBackwards
            | Self::FreshnessUnproved
            | Self::AuthorityWithheld
            | Self::CatalogInDoubt
            | Self::ControllerUnannounced => Severity::Error,
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.words().1
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        self.words().2
    }

    /// Code, title, hint.
    const fn words(self) -> (&'static str, &'static str, &'static str) {
        WORDS[self as usize]
    }
}

/// Code, title and hint of each condition, in the order of the enum.
const WORDS: [(&str, &str, &str); 24] = [
    (
        "key-unsealed",
        "the admin key is protected by its file's mode only",
        "fleetcast admin seal passphrase, where the key is",
    ),
    (
        "server-holds-admin-key",
        "the server itself can sign releases",
        "keep the admin key on another machine; SECURITY.md says how",
    ),
    (
        "multicast-blocked",
        "many receivers hear no multicast",
        "check IGMP snooping and the querier of the switches between",
    ),
    (
        "small-datagrams",
        "datagrams of full size do not reach some receivers; they get small ones",
        "check the MTU of the links between: 1,500 bytes are usual",
    ),
    (
        "loss-too-high",
        "most receivers lose too much; the session is paused",
        "lower --rate, or check the network's links",
    ),
    (
        "slow-receiver",
        "a receiver cannot follow the others and is sent to by itself",
        "check its link and its switch port: what goes there is sent once more",
    ),
    (
        "order-regressed",
        "a receiver's boot counter went back",
        "it was restored from a copy, or two devices share one key",
    ),
    (
        "delivery-failed",
        "a receiver could not install a release",
        "`fleetcast pending retry ID` once the reason is gone",
    ),
    (
        "receiver-behind",
        "deliveries wait for a receiver that is away",
        "they start by themselves when it comes back",
    ),
    (
        "poisoned",
        "somebody injects datagrams into a session, which is in strict mode",
        "a member of the group holds its key; look at who it could be",
    ),
    ("disk-nearly-full", "the disk of the state directory is nearly full", "make room there"),
    (
        "store-repaired",
        "the chunk store was put right after a crash",
        "send the newest content again if a delivery fails for a lack of chunks",
    ),
    (
        "release-expiring",
        "a release can soon no longer be installed for the first time",
        "`fleetcast releases rollback G X` makes it anew, or send something to its group",
    ),
    ("clock-went-back", "the clock of this machine went back", "check its time synchronisation"),
    (
        "freshness-backwards",
        "the server names something older as newest than it did before",
        "its catalog was set back, or it keeps releases from this receiver; ask the admin",
    ),
    (
        "freshness-withheld",
        "the server names no newest release of a group any more",
        "this receiver was removed from it, or is kept from its releases; ask the admin",
    ),
    (
        "freshness-unproved",
        "what the server names as newest is not signed for this receiver",
        "the server's keys may be out of order, or in other hands; ask the admin",
    ),
    (
        "authority-withheld",
        "the server has a newer authority document and does not show it",
        "ask the admin whether the chain of authority documents at the server is whole",
    ),
    (
        "catalog-in-doubt",
        "the catalog was restored from an older copy; nothing is sent or changed",
        "compare groups and receivers with what should be, then `fleetcast restore --confirm`",
    ),
    (
        "controller-unannounced",
        "no authority document names this server's key, so no receiver can connect",
        "`fleetcast authority rotate-controller` where an admin key is",
    ),
    (
        "release-unsigned",
        "a release waits for signatures of further admins",
        "`fleetcast releases sign X` where another admin key is",
    ),
    (
        "authority-unsigned",
        "a change of the authority document waits for signatures of further admins",
        "`fleetcast authority sign ID` where another admin key is",
    ),
    (
        "no-spare-key",
        "every admin key is needed: whoever loses one cannot change the fleet any more",
        "`fleetcast recovery create` prints a code that stands in for a lost key",
    ),
    (
        "server-suspended",
        "the server was restored from a copy: codes and logins wait until an admin confirms it",
        "nothing is lost: it goes on by itself then; the admin knows `fleetcast restore --confirm`",
    ),
];

/// A condition as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthItem {
    /// Its code, such as `multicast-blocked`.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// Whom or what it concerns, or empty.
    pub subject: String,
    /// What it is, in a few words.
    pub title: String,
    /// What to do about it.
    pub hint: String,
    /// Since when, RFC 3339.
    #[serde(with = "crate::units::rfc3339")]
    #[schemars(with = "crate::units::Moment")]
    pub since: UnixTime,
}

/// The conditions of now, bounded.
#[derive(Clone, Debug, Default)]
pub struct Health {
    raised: BTreeMap<(Condition, String), UnixTime>,
}

impl Health {
    /// Most conditions held at once; subjects may come from peers.
    pub const MAX: usize = 1_000;

    /// Raises a condition; returns whether it is new. One that is raised keeps its time.
    pub fn raise(&mut self, condition: Condition, subject: &str, now: UnixTime) -> bool {
        let key = (condition, subject.to_owned());
        if self.raised.contains_key(&key) || self.raised.len() >= Self::MAX {
            return false;
        }
        self.raised.insert(key, now);
        true
    }

    /// Lowers a condition; returns whether it was raised.
    pub fn lower(&mut self, condition: Condition, subject: &str) -> bool {
        self.raised.remove(&(condition, subject.to_owned())).is_some()
    }

    /// Lowers a condition of all subjects of which it was raised before a time.
    pub fn lower_before(&mut self, condition: Condition, time: UnixTime) {
        self.raised.retain(|(raised, _), since| *raised != condition || *since >= time);
    }

    /// All conditions, the worst first, then the oldest.
    #[must_use]
    pub fn items(&self) -> Vec<HealthItem> {
        let mut items: Vec<_> = self.raised.iter().map(item).collect();
        items.sort_by_key(|item| (std::cmp::Reverse(item.severity), item.since));
        items
    }
}

fn item(((condition, subject), since): (&(Condition, String), &UnixTime)) -> HealthItem {
    HealthItem {
        code: condition.code().into(),
        severity: condition.severity(),
        subject: subject.clone(),
        title: condition.title().into(),
        hint: condition.hint().into(),
        since: *since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_has_the_fields_of_the_contract() {
        let mut health = Health::default();
        assert!(health.raise(Condition::KeyUnsealed, "", 1_700_000_000));
        let json = serde_json::to_value(&health.items()[0]).unwrap();
        let expected = serde_json::json!({
            "code": "key-unsealed",
            "severity": "warning",
            "subject": "",
            "title": "the admin key is protected by its file's mode only",
            "hint": "fleetcast admin seal passphrase, where the key is",
            "since": "2023-11-14T22:13:20Z",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn the_worst_stands_first_and_a_raised_one_keeps_its_time() {
        let mut health = Health::default();
        health.raise(Condition::StoreRepaired, "", 1);
        health.raise(Condition::DeliveryFailed, "kiosk-2", 9);
        assert!(!health.raise(Condition::DeliveryFailed, "kiosk-2", 10));
        health.raise(Condition::DeliveryFailed, "kiosk-1", 5);
        let shown: Vec<_> = health.items().into_iter().map(|i| (i.subject, i.since)).collect();
        assert_eq!(shown, [("kiosk-1".into(), 5), ("kiosk-2".into(), 9), (String::new(), 1)]);
        assert!(health.lower(Condition::DeliveryFailed, "kiosk-1"));
        assert!(!health.lower(Condition::DeliveryFailed, "kiosk-1"));
        health.lower_before(Condition::StoreRepaired, 1);
        health.lower_before(Condition::DeliveryFailed, 10);
        let left: Vec<_> = health.items().into_iter().map(|item| item.code).collect();
        assert_eq!(left, ["store-repaired"]);
    }

    #[test]
    fn peers_cannot_make_the_list_endless() {
        let mut health = Health::default();
        for number in 0..2_000 {
            health.raise(Condition::OrderRegressed, &number.to_string(), 1);
        }
        assert_eq!(health.items().len(), 1_000);
    }
}
