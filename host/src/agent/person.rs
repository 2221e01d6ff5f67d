//! What a person at a receiver asks, and is answered.

use fleetcast_core::ids::GroupId;
use fleetcast_core::wire::people::{AccountAnswer, Answer, Relation};

use crate::health::HealthItem;

/// What a person asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// Which groups are there?
    Groups,
    /// To be in the group of this name.
    Join(String),
    /// To be in the group of this name no more.
    Leave(String),
    /// How is this receiver? Names of groups are those of the last list.
    Status,
    /// That an account have another password.
    Password {
        /// The account's name.
        user: String,
        /// Its password.
        password: String,
        /// The password from now on.
        new: String,
    },
}

/// An account that is to stand behind this receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// A group, as a person at the receiver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSeen {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// Whether one is in at once, without approval.
    pub open: bool,
    /// How this receiver stands to it.
    pub relation: Relation,
    /// Why an admin has denied it, if one has and said so.
    pub reason: String,
}

/// What became of a request to join or to leave; see [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A member.
    Member,
    /// An admin decides.
    Asked,
    /// Denied, and why.
    Denied(String),
    /// Neither a member nor asking any more.
    Left,
    /// There is no such group.
    Unknown,
    /// Too many requests wait already.
    Full,
    /// Asked too often.
    Later,
}

impl From<Answer<'_>> for Outcome {
    fn from(answer: Answer<'_>) -> Self {
        match answer {
            Answer::Member => Self::Member,
            Answer::Asked => Self::Asked,
            Answer::Denied { reason } => Self::Denied(reason.to_owned()),
            Answer::Left => Self::Left,
            Answer::Unknown => Self::Unknown,
            Answer::Full => Self::Full,
            Answer::Later => Self::Later,
        }
    }
}

/// How a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSeen {
    /// Its name, or the one that it asks for.
    pub name: String,
    /// Its identity in hex.
    pub id: String,
    /// What an admin compares.
    pub fingerprint: String,
    /// Where its server is.
    pub server: String,
    /// Whether the server knows it and is there.
    pub connected: bool,
    /// Names of its groups; identities where a name is not known.
    pub groups: Vec<String>,
    /// What is installed: group, sequence number, digest in hex.
    pub installed: Vec<(String, u64, String)>,
    /// Free bytes at the destination.
    pub free: u64,
    /// What is not as it should be.
    pub health: Vec<HealthItem>,
}

/// An answer to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// All groups, by name.
    Groups(Vec<GroupSeen>),
    /// What became of a request.
    Outcome(Outcome),
    /// How the receiver is.
    Status(Box<StatusSeen>),
    /// What became of a login or of a change of password.
    Account(AccountAnswer),
    /// The server is not there, or does not know this receiver yet.
    Offline,
    /// Too many ask at once.
    Busy,
}
