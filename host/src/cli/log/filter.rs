//! Which lines of the log are wanted: whose, and about what.
//!
//! What is gone has left its name in the log, so that is asked first whether a name is
//! one; only what neither the log nor the fleet knows is a mistake.

use clap::Args;

use crate::api::client::Client;
use crate::api::model::LogItem;
use crate::cli::known;
use crate::error::Failure;

/// Shortest beginning of an identity that is taken for one, in hexadecimal digits.
const SHORTEST: usize = 4;

/// Which lines.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Filter {
    /// Only what this account, receiver or `server` did
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// Only what concerns this group
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// Only what concerns this receiver
    #[arg(long, value_name = "R")]
    receiver: Option<String>,
}

impl Filter {
    /// The same with a receiver's name, where the beginning of its identity was given.
    pub(super) fn resolved(&self, client: &Client) -> Self {
        let beginning = |text: &&String| {
            text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let receiver = self.receiver.as_ref().filter(beginning);
        // One that is gone may have had such a name.
        let found = receiver.and_then(|receiver| client.receiver(receiver).ok());
        match found {
            Some(found) => Self { receiver: Some(found.item.name), ..self.clone() },
            None => self.clone(),
        }
    }

    /// Whether a line is one of those that are wanted.
    pub(super) fn takes(&self, line: &LogItem) -> bool {
        self.actor.as_ref().is_none_or(|actor| line.actor == *actor)
            && self.group.as_ref().is_none_or(|group| names(line, group))
            && self.receiver.as_ref().is_none_or(|receiver| names(line, receiver))
    }
}

/// Whether a line is about something of this name: it stands whole in a field, before the
/// number of a release, or as its receiver.
fn names(line: &LogItem, name: &str) -> bool {
    [&line.actor, &line.subject, &line.result].into_iter().any(|field| {
        let rest = field.strip_prefix(name);
        let release = |rest: &str| rest.strip_prefix('#').is_some_and(|n| n.starts_with(is_digit));
        field == name
            || rest.is_some_and(release)
            || field.strip_suffix(name).is_some_and(|before| before.ends_with(" to "))
    })
}

const fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Which names of a filter stand anywhere in the log, whatever else is filtered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    actor: bool,
    group: bool,
    receiver: bool,
    checked: bool,
}

impl Seen {
    /// Notes what a line names.
    pub(super) fn note(&mut self, filter: &Filter, line: &LogItem) {
        let is_named = |name: &Option<String>| name.as_ref().is_some_and(|name| names(line, name));
        self.actor |= filter.actor.as_ref() == Some(&line.actor);
        self.group |= is_named(&filter.group);
        self.receiver |= is_named(&filter.receiver);
    }

    /// Asks the server for names that the log does not have: once, after all of it was read.
    ///
    /// # Errors
    /// `group-unknown`, `receiver-unknown`, `actor-unknown`.
    pub(super) fn check(&mut self, filter: &Filter, client: &Client) -> Result<(), Failure> {
        if std::mem::replace(&mut self.checked, true) {
            return Ok(());
        }
        let unseen = |name: &'_ Option<String>, seen: bool| name.clone().filter(|_| !seen);
        if let Some(group) = unseen(&filter.group, self.group) {
            known::group(client, &group)?;
        }
        if let Some(receiver) = unseen(&filter.receiver, self.receiver) {
            known::receiver(client, &receiver)?;
        }
        match unseen(&filter.actor, self.actor) {
            Some(actor) => known::actor(client, &actor),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_concerns_whom_it_names_and_nobody_whose_name_begins_alike() {
        let line = |actor: &str, subject: &str, result: &str| LogItem {
            number: 1,
            time: 0,
            actor: actor.into(),
            action: String::new(),
            subject: subject.into(),
            result: result.into(),
            digest: crate::api::model::Hex(Vec::new()),
        };
        assert!(names(&line("admin", "kiosks#3", "ok"), "kiosks"));
        assert!(names(&line("admin", "17", "kiosks#3 to north 2"), "kiosks"));
        assert!(names(&line("admin", "17", "kiosks#3 to north 2"), "north 2"));
        assert!(names(&line("north 2", "", ""), "north 2"));
        assert!(!names(&line("admin", "kiosks-2#3", "ok"), "kiosks"));
        assert!(!names(&line("admin", "kiosks#x", "north 22"), "north 2"));
        let filter = Filter { actor: Some("admin".into()), ..Filter::default() };
        assert!(filter.takes(&line("admin", "", "")) && !filter.takes(&line("north 2", "", "")));
    }
}
