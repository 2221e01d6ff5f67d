//! Questions and answers on a receiver's socket, and the items of `my --json`.

use serde::{Deserialize, Serialize};

use crate::api::model::Password;
use crate::error::Failure;
use crate::health::HealthItem;
use crate::status::InstalledItem;

/// Longest question in bytes.
pub const MAX_QUESTION: usize = 4_096;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase", deny_unknown_fields)]
pub enum Question {
    /// Which groups are there?
    Groups {},
    /// To be in a group.
    Join {
        /// Its name.
        group: String,
    },
    /// To be in a group no more, or to take a request back.
    Leave {
        /// Its name.
        group: String,
    },
    /// How is this receiver?
    Status {},
    /// That an account have another password.
    Password {
        /// The account's name.
        user: String,
        /// Its password.
        password: Password,
        /// The password from now on.
        new: Password,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MyAnswer {
    /// The groups.
    Groups(Vec<MyGroupItem>),
    /// What became of a request.
    Request(MyRequestItem),
    /// How the receiver is.
    Status(Box<MyStatusItem>),
    /// The account whose password is another now.
    Password(MyPasswordItem),
    /// Why there is no answer.
    Failure(Failure),
}

/// How this receiver stands to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MyState {
    /// It has not asked.
    None,
    /// It waits for an admin.
    Asked,
    /// An admin has denied it.
    Denied,
    /// It is in.
    Member,
}

/// A group, for a person at a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MyGroupItem {
    /// Its name.
    pub name: String,
    /// Whether one is in at once, without approval.
    pub open: bool,
    /// How this receiver stands to it.
    pub state: MyState,
    /// Why it was denied, or empty.
    pub reason: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MyRequestItem {
    /// The group's name.
    pub group: String,
    /// How this receiver stands to it now.
    pub state: MyState,
}

/// An account whose password was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MyPasswordItem {
    /// The account's name.
    pub user: String,
}

/// How a receiver is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MyStatusItem {
    /// Its name.
    pub name: String,
    /// Its identity in hex.
    pub id: String,
    /// What an admin compares before approving it.
    pub fingerprint: String,
    /// Where its server is.
    pub server: String,
    /// Whether the server is there and knows it.
    pub connected: bool,
    /// Version of its software.
    pub version: String,
    /// Names of its groups.
    pub groups: Vec<String>,
    /// What is installed.
    pub installed: Vec<InstalledItem>,
    /// Free bytes at its destination.
    pub free_bytes: u64,
    /// What is not as it should be.
    pub health: Vec<HealthItem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_one_small_object_and_nothing_else() {
        let parse = serde_json::from_str::<Question>;
        let join = Question::Join { group: "Süd".into() };
        assert_eq!(parse(r#"{"ask":"join","group":"Süd"}"#).unwrap(), join);
        assert_eq!(serde_json::to_string(&join).unwrap(), r#"{"ask":"join","group":"Süd"}"#);
        assert_eq!(parse(r#"{"ask":"groups"}"#).unwrap(), Question::Groups {});
        for text in [
            r#"{"ask":"join"}"#,
            r#"{"ask":"approve","group":"g"}"#,
            r#"{"ask":"join","group":"g","as":"root"}"#,
            r#"{"ask":"join","group":["g"]}"#,
            "[]",
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
