//! What the server says is newest, to the nonce of our Hello (design: freshness).
//!
//! It starts nothing: releases come by invitation, and the server decides when.
//! But a server that holds something back must either name it, and then it is
//! seen that this receiver is behind, or sign that there is nothing newer.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{GroupId, ReleaseOrder};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::statement::{Freshness, Verdict};
use fleetcast_core::wire::control::{MAX_HELD, ReleaseName};

use super::state::State;
use super::{Agent, AgentEvent};
use crate::disk::Disk;
use crate::health::{Condition, Health};
use crate::staging::area::Area;

/// A group of which something newer is known than is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The group.
    pub group: GroupId,
    /// What is installed; `None`: nothing.
    pub installed: Option<ReleaseOrder>,
    /// The newest that the server has named.
    pub newest: ReleaseOrder,
}

impl<D: Disk, A: Aead> Agent<D, A> {
    /// Groups of which something newer is known than is installed.
    ///
    /// What is installed is read from the destination; nothing where that fails.
    #[must_use]
    pub fn behind(&self) -> Vec<Behind> {
        let held = Area::open(&self.destination).and_then(|area| area.held()).unwrap_or_default();
        let ours = |group| self.state.memberships.iter().any(|member| member.group == group);
        let seen = self.state.seen.iter().filter(|seen| ours(seen.group)).map(|seen| {
            let held = held.iter().find(|held| held.release.group == seen.group);
            let installed = held.map(|held| held.release.order);
            Behind { group: seen.group, installed, newest: self.state.to_be_had(seen) }
        });
        let lacks = |b: &Behind| b.newest.sequence > 0 && b.installed < Some(b.newest);
        seen.filter(lacks).collect()
    }

    /// What is not as it should be.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Takes a statement: `nonce` and signature must be right, or it counts for nothing.
    // PROTOCOL F1
    pub(super) fn on_freshness(
        &mut self,
        now: Instant,
        nonce: [u8; 16],
        version: u32,
        newest: &[ReleaseName],
        signature: &[u8],
    ) {
        let Some(authority) = &self.authority else { return };
        let trusted = authority.document();
        let (fleet, known) = (trusted.fleet, trusted.version);
        let named = newest.iter().copied().take(MAX_HELD).collect();
        let statement = Freshness { fleet, nonce, authority: version, newest: named };
        let signed = signature.try_into().is_ok_and(|s| statement.verify(authority, s).is_ok());
        let proved = signed && self.nonce == Some(nonce);
        self.note(Condition::FreshnessUnproved, "", !proved);
        if !proved {
            return;
        }
        self.note(Condition::FreshnessBackwards, "the authority document", version < known);
        self.note(Condition::AuthorityWithheld, "", version > known);
        if version >= known {
            self.leave_uncertified(newest);
        }
        self.compare(now, newest);
        for behind in self.behind() {
            let group = self.group_name(behind.group);
            let installed = behind.installed.map_or(0, |order| order.sequence);
            self.tell(AgentEvent::Behind { group, installed, newest: behind.newest.sequence });
        }
    }

    /// Compares what is named with what is known, and keeps what is newer.
    fn compare(&mut self, now: Instant, newest: &[ReleaseName]) {
        let mut news = false;
        // A statement that is full may have left some out.
        let whole = newest.len() < MAX_HELD;
        for group in self.groups() {
            let mut named = newest.iter().filter(|release| release.group == group);
            // PROTOCOL F2: the newest first; where that was taken back, what is to be had.
            let (named, instead) = (named.next(), named.next().copied());
            let verdict = judge(&self.state, group, named, whole);
            let name = self.group_name(group);
            self.note(Condition::FreshnessBackwards, &name, verdict == Verdict::Backwards);
            self.note(Condition::FreshnessWithheld, &name, verdict == Verdict::Withheld);
            if let (Verdict::Fine, Some(named)) = (verdict, named) {
                news |= self.state.see(named);
                news |= self.state.see_instead(group, instead);
            }
            if verdict != Verdict::Fine {
                self.show(now, group);
            }
        }
        if news {
            // What cannot be kept is known until the next start at least.
            let _ = self.save();
        }
    }

    /// PROTOCOL G6: what a server that knows what it knew before did not certify on this
    /// channel, we are no member of any more.
    fn leave_uncertified(&mut self, newest: &[ReleaseName]) {
        let back = |group: &GroupId| {
            let named = newest.iter().find(|release| release.group == *group);
            judge(&self.state, *group, named, false) == Verdict::Backwards
        };
        if self.groups().iter().any(back) {
            return;
        }
        for group in self.groups() {
            if !self.certified.contains(&group) {
                self.on_removed(group);
            }
        }
    }

    fn groups(&self) -> Vec<GroupId> {
        self.state.memberships.iter().map(|membership| membership.group).collect()
    }

    /// The name of a group, as far as an installed release tells it; else its identity.
    pub(super) fn group_name(&self, group: GroupId) -> String {
        self.directory_of(group).unwrap_or_else(|| group.to_string())
    }

    /// The name of a group, if one of its releases is installed.
    pub(super) fn directory_of(&self, group: GroupId) -> Option<String> {
        let held = Area::open(&self.destination).and_then(|area| area.held()).ok()?;
        held.into_iter().find(|held| held.release.group == group).map(|held| held.directory)
    }

    /// Raises or lowers a condition, and tells when it is raised anew.
    pub(super) fn note(&mut self, condition: Condition, subject: &str, is: bool) {
        if !is {
            self.health.lower(condition, subject);
        } else if self.health.raise(condition, subject, self.unix.unwrap_or(0)) {
            self.tell(AgentEvent::Unwell { condition, subject: subject.to_owned() });
        }
    }
}

/// Judges what a statement says of a group that we are a member of.
fn judge(state: &State, group: GroupId, named: Option<&ReleaseName>, whole: bool) -> Verdict {
    let seen = state.seen.iter().find(|seen| seen.group == group);
    let seen = seen.map(|seen| (seen.order, seen.digest));
    Verdict::of(seen.max(state.highest(group)), named, whole)
}

#[cfg(test)]
mod tests {
    use fleetcast_core::digest::Digest;

    use super::*;

    const GROUP: GroupId = GroupId([1; 16]);

    fn release(reset_epoch: u32, sequence: u64, content: u8) -> ReleaseName {
        let order = ReleaseOrder { reset_epoch, sequence };
        ReleaseName { group: GROUP, order, digest: Digest([content; 32]) }
    }

    #[test]
    fn older_or_other_releases_than_those_known_go_backwards() {
        // PROTOCOL F1: what was seen counts like what was accepted.
        let mut seen = State::default();
        assert!(seen.see(&release(0, 5, 5)));
        let mut accepted = State::default();
        accepted.accept(&release(0, 5, 5), 0);
        for state in [seen, accepted] {
            for (named, expected) in [
                (Some(release(0, 4, 4)), Verdict::Backwards),
                (Some(release(0, 5, 6)), Verdict::Backwards),
                (Some(release(0, 5, 5)), Verdict::Fine),
                (Some(release(0, 6, 6)), Verdict::Fine),
                // After a reset numbers begin anew.
                (Some(release(1, 1, 1)), Verdict::Fine),
                (None, Verdict::Withheld),
            ] {
                assert_eq!(judge(&state, GROUP, named.as_ref(), true), expected, "{named:?}");
            }
            assert_eq!(judge(&state, GROUP, None, false), Verdict::Fine);
            assert_eq!(judge(&state, GroupId([2; 16]), None, true), Verdict::Fine);
        }
    }

    #[test]
    fn what_was_seen_only_grows() {
        let mut state = State::default();
        assert!(state.see(&release(0, 5, 5)));
        assert!(!state.see(&release(0, 4, 4)) && !state.see(&release(0, 5, 6)));
        assert!(state.see(&release(1, 1, 1)));
        assert_eq!(state.seen, [release(1, 1, 1)]);
    }
}
