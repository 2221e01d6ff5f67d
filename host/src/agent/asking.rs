//! What people at this receiver ask: which groups there are, to join one, to
//! leave one, how the receiver is. Questions go to the server over the channel;
//! answers come back by the number that the driver gave the question.

use std::collections::VecDeque;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::GroupId;
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::Up;
use fleetcast_core::wire::people::{AccountAnswer, Answer, Available, Relation};

use super::asked::{Asked, What};
use super::person::{Ask, GroupSeen, Login, Outcome, Reply, StatusSeen};
use super::{Agent, AgentEvent};
use crate::disk::Disk;
use crate::health::Condition;
use crate::staging::area::Area;

/// Questions under way at a time.
const MOST_ASKED: usize = 64;
/// Groups of one list: a server may not fill our memory.
const MOST_LISTED: usize = 10_000;
/// Denials remembered.
const MOST_DENIED: usize = 64;
/// A list that got no page for so long is begun again by the next who asks.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// Nobody waits longer for an answer about groups.
const GIVEN_UP: Duration = Duration::from_secs(30);

impl<D: Disk, A: Aead> Agent<D, A> {
    /// Asks something for a person; [`AgentEvent::Reply`] with this number follows.
    pub fn ask(&mut self, now: Instant, number: u64, ask: Ask) {
        self.give_up(now);
        if self.asking.asked.len() >= MOST_ASKED {
            return self.reply(number, Reply::Busy);
        }
        let what = match ask {
            Ask::Status => return self.reply_status(number),
            _ if !self.member => return self.reply(number, Reply::Offline),
            Ask::Groups => {
                self.ask_list(now);
                What::List
            }
            Ask::Join(group) => {
                self.say(now, &Up::Join { group: &group });
                What::Group(group)
            }
            // Answers name no account: one after the other.
            Ask::Password { .. } if self.login.is_some() || self.asks_account() => {
                return self.reply(number, Reply::Busy);
            }
            Ask::Password { user, password, new } => {
                let (password, new) = (password.as_bytes(), new.as_bytes());
                self.say(now, &Up::Password { user: &user, password, new });
                What::Account
            }
            Ask::Leave(group) => {
                self.say(now, &Up::Leave { group: &group });
                What::Group(group)
            }
        };
        self.asking.asked.push_back(Asked { number, since: now, what });
        self.settle(now);
    }

    fn asks_account(&self) -> bool {
        self.asking.asked.iter().any(|asked| asked.what == What::Account)
    }

    /// A server that knows no such questions answers none. Whose password is asked for waits
    /// as long as the channel stands: the answer names nobody, and would be the next one's.
    fn give_up(&mut self, now: Instant) {
        let late = |asked: &Asked| asked.what != What::Account && now.since(asked.since) > GIVEN_UP;
        let (late, others): (VecDeque<Asked>, _) = self.asking.asked.drain(..).partition(late);
        self.asking.asked = others;
        for asked in late {
            self.reply(asked.number, Reply::Busy);
        }
    }

    fn ask_list(&mut self, now: Instant) {
        let stale = |(_, since): &(_, Instant)| now.since(*since) > LIST_TIMEOUT;
        if self.asking.list.as_ref().is_none_or(stale) {
            self.asking.list = Some((Vec::new(), now));
            self.say(now, &Up::Groups { after: None });
        }
    }

    /// Those who wait for this.
    fn take_asked(&mut self, what: &What) -> Vec<u64> {
        let asked = &mut self.asking.asked;
        let (found, others) = asked.drain(..).partition(|asked| asked.what == *what);
        *asked = others;
        let found: VecDeque<Asked> = found;
        found.into_iter().map(|asked| asked.number).collect()
    }

    /// A page of groups has come.
    pub(super) fn on_groups(&mut self, now: Instant, more: bool, page: &[Available<'_>]) {
        let Some((mut list, _)) = self.asking.list.take() else { return };
        let before = list.last().map(|seen| seen.group);
        for available in page {
            let denied = (available.relation == Relation::Denied)
                .then(|| self.asking.denied.get(available.name).cloned());
            list.push(GroupSeen {
                group: available.group,
                name: available.name.to_owned(),
                open: available.open,
                relation: available.relation,
                reason: denied.flatten().unwrap_or_default(),
            });
        }
        // Who lists in circles is not followed.
        let last = page.last().map(|available| available.group);
        if more && last > before && list.len() < MOST_LISTED {
            self.asking.list = Some((list, now));
            return self.say(now, &Up::Groups { after: last });
        }
        self.asking.names = list.iter().map(|seen| (seen.group, seen.name.clone())).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        for number in self.take_asked(&What::List) {
            self.reply(number, Reply::Groups(list.clone()));
        }
    }

    /// PROTOCOL G3: an answer is told to people, and makes nobody a member.
    pub(super) fn on_answer(&mut self, group: &str, answer: Answer<'_>) {
        let outcome = Outcome::from(answer);
        let asking = &mut self.asking;
        let known = match &outcome {
            Outcome::Denied(reason) => {
                if asking.denied.len() >= MOST_DENIED {
                    asking.denied.pop_first();
                }
                asking.denied.insert(group.to_owned(), reason.clone()).as_ref() == Some(reason)
            }
            _ => {
                asking.denied.remove(group);
                false
            }
        };
        for number in self.take_asked(&What::Group(group.to_owned())) {
            self.reply(number, Reply::Outcome(outcome.clone()));
        }
        // A denial comes again with every new channel: that is no news.
        if !known {
            self.tell(AgentEvent::Answered { group: group.to_owned(), outcome });
        }
    }

    /// Logs in, once the server has said how we stand to it.
    pub(super) fn log_in(&mut self, now: Instant) {
        if let Some(Login { user, password }) = self.login.clone() {
            self.say(now, &Up::Login { user: &user, password: password.as_bytes() });
        }
    }

    /// What became of the login, or of the change of password.
    pub(super) fn on_account(&mut self, answer: AccountAnswer) {
        if answer == AccountAnswer::Suspended {
            // A login is said again with the welcome that follows its confirmation.
            self.note(Condition::ServerSuspended, "", true);
        }
        if self.login.is_none() {
            for number in self.take_asked(&What::Account) {
                self.reply(number, Reply::Account(answer));
            }
            return;
        }
        match answer {
            AccountAnswer::LoggedIn => {
                let user = self.login.take().map(|login| login.user).unwrap_or_default();
                self.tell(AgentEvent::LoggedIn { user });
            }
            AccountAnswer::Suspended => {}
            AccountAnswer::Later => self.end("login-limited"),
            _ => self.end("login-refused"),
        }
    }

    /// The channel is gone: nobody gets an answer any more.
    pub(super) fn forsake(&mut self) {
        self.asking.list = None;
        for asked in std::mem::take(&mut self.asking.asked) {
            self.reply(asked.number, Reply::Offline);
        }
    }

    fn reply(&mut self, number: u64, reply: Reply) {
        self.tell(AgentEvent::Reply { number, reply });
    }

    fn reply_status(&mut self, number: u64) {
        let held = Area::open(&self.destination).and_then(|area| area.held()).unwrap_or_default();
        let installed = held.iter().map(|held| {
            let release = &held.release;
            (held.directory.clone(), release.order.sequence, release.digest.to_string())
        });
        let mut installed: Vec<_> = installed.collect();
        installed.sort_unstable();
        let name_of = |group: GroupId| {
            let told = self.asking.names.get(&group).cloned();
            told.unwrap_or_else(|| self.group_name(group))
        };
        let mut groups: Vec<String> =
            self.state.memberships.iter().map(|membership| name_of(membership.group)).collect();
        groups.sort_unstable();
        let status = StatusSeen {
            name: self.state.identity.as_ref().map_or(&self.name, |(_, name)| name).clone(),
            id: self.id().to_string(),
            fingerprint: Digest::of(&self.device.0).to_string(),
            server: self.server().to_string(),
            connected: self.member,
            groups,
            installed,
            free: self.destination.space().map_or(self.free, |space| space.free),
            health: self.health.items(),
        };
        self.reply(number, Reply::Status(Box::new(status)));
    }
}
