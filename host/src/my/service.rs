//! The receiver's end of its socket: who asks, what that one may, the answer.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fleetcast_core::limits::MAX_NAME;
use fleetcast_core::wire::people::{AccountAnswer, MAX_PASSWORD, Relation};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::model::{
    MAX_QUESTION, MyAnswer, MyGroupItem, MyPasswordItem, MyRequestItem, MyState, MyStatusItem,
    Question,
};
use crate::accounts::{is_strong, weak};
use crate::agent::{Ask, GroupSeen, Outcome, Reply, StatusSeen};
use crate::api::model::Password;
use crate::driver::receiver::Asker;
use crate::error::Failure;
use crate::status::InstalledItem;
use crate::units::quoted;

/// Connections of our own user and of root at a time, and as many of all others.
const MOST_CONNECTIONS: usize = 16;
/// How long a status waits for the names of groups.
const NAMES_TIME: Duration = Duration::from_secs(2);
/// How long a question may take to come, and an answer to be taken.
const LINE_TIME: Duration = Duration::from_secs(5);

/// What other users of the machine may do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Others {
    /// Nothing.
    None,
    /// Look.
    Read,
    /// Ask to be in groups: an admin decides, or has opened the group to all.
    Join,
    /// Leave groups.
    Leave,
}

impl FromStr for Others {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "read" => Ok(Self::Read),
            "join" => Ok(Self::Join),
            "leave" => Ok(Self::Leave),
            _ => Err("one of none, read, join, leave"),
        }
    }
}

/// Answers whoever connects, for ever.
pub async fn serve(listener: UnixListener, asker: Asker, others: Others) {
    let own = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let all = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, for example: that passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        let may = rights(peer.uid(), rustix::process::geteuid().as_raw(), others);
        let room = if may.is_none() { &own } else { &all };
        // One too many is let go at once; it may come again.
        let Ok(place) = Arc::clone(room).try_acquire_owned() else { continue };
        let asker = asker.clone();
        tokio::spawn(async move {
            converse(stream, &asker, may).await;
            drop(place);
        });
    }
}

/// What a user may; `None`: everything.
const fn rights(user: u32, own: u32, others: Others) -> Option<Others> {
    if user == 0 || user == own { None } else { Some(others) }
}

async fn converse(stream: UnixStream, asker: &Asker, may: Option<Others>) {
    let (input, mut output) = stream.into_split();
    let mut line = Vec::new();
    let mut input = BufReader::new(input.take(MAX_QUESTION as u64 + 1));
    let read = tokio::time::timeout(LINE_TIME, input.read_until(b'\n', &mut line)).await;
    // Who says nothing in time is not answered.
    let Ok(Ok(_)) = read else { return };
    let answer = match serde_json::from_slice::<Question>(&line) {
        Ok(question) => match permit(&question, may) {
            Ok(()) => answer(asker, question).await,
            Err(failure) => MyAnswer::Failure(failure),
        },
        Err(_) => MyAnswer::Failure(malformed()),
    };
    let Ok(mut text) = serde_json::to_vec(&answer) else { return };
    text.push(b'\n');
    // It may have gone.
    let _ = tokio::time::timeout(LINE_TIME, output.write_all(&text)).await;
}

fn permit(question: &Question, may: Option<Others>) -> Result<(), Failure> {
    let needed = match question {
        // Whoever changes a password has to know it.
        Question::Groups {} | Question::Status {} | Question::Password { .. } => Others::Read,
        Question::Join { .. } => Others::Join,
        Question::Leave { .. } => Others::Leave,
    };
    if may.is_none_or(|may| may >= needed) {
        return Ok(());
    }
    let hint = "ask whoever runs it; `fleetcast receive --others` says what others may do";
    Err(Failure::failed("not-permitted", "this receiver does not let you do that", hint))
}

async fn answer(asker: &Asker, question: Question) -> MyAnswer {
    let (ask, group) = match question {
        Question::Groups {} => (Ask::Groups, None),
        Question::Status {} => {
            // For the names of groups; without a server it is told all the same.
            let _ = tokio::time::timeout(NAMES_TIME, asker.ask(Ask::Groups)).await;
            (Ask::Status, None)
        }
        Question::Join { group } => (Ask::Join(group.clone()), Some(group)),
        Question::Leave { group } => (Ask::Leave(group.clone()), Some(group)),
        Question::Password { user, password, new } => {
            return change_password(asker, user, password, new).await;
        }
    };
    answer_about(asker, ask, group).await
}

/// An account's password is its person's affair, whoever asks.
async fn change_password(
    asker: &Asker,
    user: String,
    password: Password,
    new: Password,
) -> MyAnswer {
    if user.len() > MAX_NAME || password.0.len() > MAX_PASSWORD {
        return MyAnswer::Failure(refused());
    }
    if !is_strong(&user, new.0.as_bytes()) {
        return MyAnswer::Failure(weak());
    }
    let ask = Ask::Password { user: user.clone(), password: password.0, new: new.0 };
    let failure = match asker.ask(ask).await {
        Some(Reply::Account(AccountAnswer::Changed)) => {
            return MyAnswer::Password(MyPasswordItem { user });
        }
        Some(Reply::Account(AccountAnswer::Later)) => {
            let hint = "try again in a minute";
            Failure::failed("login-limited", "too many attempts with a wrong password", hint)
        }
        Some(Reply::Account(AccountAnswer::Weak)) => weak(),
        Some(Reply::Account(AccountAnswer::Suspended)) => {
            let message = "the server was restored from a copy and changes nothing for now";
            let hint = "try again when an admin has confirmed it";
            Failure::failed("server-suspended", message, hint)
        }
        Some(Reply::Account(_)) => refused(),
        Some(Reply::Offline) => offline(),
        _ => no_answer(),
    };
    MyAnswer::Failure(failure)
}

fn refused() -> Failure {
    let hint = "`fleetcast users passwd` on the server gives an account a new password";
    Failure::failed("login-refused", "there is no such account, or its password is another", hint)
}

async fn answer_about(asker: &Asker, ask: Ask, group: Option<String>) -> MyAnswer {
    // The protocol holds no longer names, and no group has one.
    if let Some(name) = group.as_ref().filter(|n| n.len() > MAX_NAME) {
        return MyAnswer::Failure(unknown(name));
    }
    let Some(reply) = asker.ask(ask).await else { return MyAnswer::Failure(no_answer()) };
    match reply {
        Reply::Groups(groups) => MyAnswer::Groups(groups.into_iter().map(group_item).collect()),
        Reply::Status(status) => MyAnswer::Status(Box::new(status_item(*status))),
        Reply::Outcome(outcome) => match request_item(group.unwrap_or_default(), outcome) {
            Ok(item) => MyAnswer::Request(item),
            Err(failure) => MyAnswer::Failure(failure),
        },
        Reply::Offline => MyAnswer::Failure(offline()),
        Reply::Busy | Reply::Account(_) => MyAnswer::Failure(no_answer()),
    }
}

fn group_item(seen: GroupSeen) -> MyGroupItem {
    let state = match seen.relation {
        Relation::None => MyState::None,
        Relation::Asked => MyState::Asked,
        Relation::Denied => MyState::Denied,
        Relation::Member => MyState::Member,
    };
    MyGroupItem { name: seen.name, open: seen.open, state, reason: seen.reason }
}

fn request_item(group: String, outcome: Outcome) -> Result<MyRequestItem, Failure> {
    let state = match outcome {
        Outcome::Member => MyState::Member,
        Outcome::Asked => MyState::Asked,
        Outcome::Left => MyState::None,
        Outcome::Denied(reason) => {
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let message = format!("an admin has denied it{why}");
            return Err(Failure::failed("request-denied", message, "ask the admin"));
        }
        Outcome::Unknown => return Err(unknown(&group)),
        Outcome::Full => {
            let hint = "take one back with `fleetcast my leave`, or ask the admin to decide";
            return Err(Failure::failed("requests-full", "too many requests wait", hint));
        }
        Outcome::Later => {
            let message = "this receiver has asked too often";
            return Err(Failure::failed("asked-too-often", message, "try again in a minute"));
        }
    };
    Ok(MyRequestItem { group, state })
}

fn status_item(seen: StatusSeen) -> MyStatusItem {
    let installed = |(group, sequence, release)| InstalledItem { group, sequence, release };
    MyStatusItem {
        name: seen.name,
        id: seen.id,
        fingerprint: seen.fingerprint,
        server: seen.server,
        connected: seen.connected,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        groups: seen.groups,
        installed: seen.installed.into_iter().map(installed).collect(),
        free_bytes: seen.free,
        health: seen.health,
    }
}

/// The failure of a name that no group has.
pub(crate) fn unknown(group: &str) -> Failure {
    let message = format!("there is no group {}", quoted(group));
    Failure::failed("group-unknown", message, "fleetcast my groups")
}

fn offline() -> Failure {
    let message = "this receiver is not connected to its server, or waits for approval";
    Failure::failed("server-unreachable", message, "`fleetcast my status` tells how it is")
}

fn no_answer() -> Failure {
    Failure::failed("no-answer", "the receiver has no answer", "try again in a minute")
}

fn malformed() -> Failure {
    let hint = "receiver and command line should be of one version";
    Failure::failed("malformed", "the receiver does not understand that", hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(user: u32, others: Others) -> [bool; 3] {
        let group = || "g".to_owned();
        let questions = [
            Question::Groups {},
            Question::Join { group: group() },
            Question::Leave { group: group() },
        ];
        questions.map(|question| permit(&question, rights(user, 1_000, others)).is_ok())
    }

    #[test]
    fn root_and_the_receivers_own_user_may_everything_and_others_what_they_are_given() {
        for others in [Others::None, Others::Leave] {
            assert_eq!((allowed(0, others), allowed(1_000, others)), ([true; 3], [true; 3]));
        }
        assert_eq!(allowed(1_001, Others::None), [false, false, false]);
        assert_eq!(allowed(1_001, Others::Read), [true, false, false]);
        assert_eq!(allowed(1_001, Others::Join), [true, true, false]);
        assert_eq!(allowed(1_001, Others::Leave), [true, true, true]);
    }

    #[test]
    fn rights_have_words() {
        assert_eq!("join".parse(), Ok(Others::Join));
        assert!("all".parse::<Others>().is_err());
    }
}
