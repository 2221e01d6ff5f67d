//! What a switch that snoops on IGMP (RFC 4541) knows of who listens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who has announced that it listens to which group `G`, and when. A listener is a
/// port of the switch.
#[derive(Clone, Debug)]
pub struct Memberships<G> {
    heard: BTreeMap<(G, usize), Duration>,
}

impl<G: Ord + Copy> Memberships<G> {
    /// Nobody has said anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { heard: BTreeMap::new() }
    }

    /// A port announces that it listens.
    pub fn announce(&mut self, now: Duration, group: G, port: usize) {
        self.heard.insert((group, port), now);
    }

    /// A port announces that it listens no longer.
    pub fn leave(&mut self, group: G, port: usize) {
        self.heard.remove(&(group, port));
    }

    /// Whether a port has announced that it listens within `lasts`.
    #[must_use]
    pub fn is_known(&self, now: Duration, lasts: Duration, group: G, port: usize) -> bool {
        let heard = self.heard.get(&(group, port));
        heard.is_some_and(|&at| now.saturating_sub(at) <= lasts)
    }

    /// The ports that have announced so within `lasts`.
    #[must_use]
    pub fn ports(&self, now: Duration, lasts: Duration, group: G) -> BTreeSet<usize> {
        let all = self.heard.range((group, 0)..=(group, usize::MAX));
        let fresh = all.filter(|(_, at)| now.saturating_sub(**at) <= lasts);
        fresh.map(|((_, port), _)| *port).collect()
    }
}

impl<G: Ord + Copy> Default for Memberships<G> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_lasts_and_is_forgotten() {
        let mut members = Memberships::new();
        let (second, lasts) = (Duration::from_secs(1), Duration::from_secs(3));
        members.announce(second, 'a', 1);
        members.announce(2 * second, 'a', 2);
        members.announce(2 * second, 'b', 3);
        assert_eq!(members.ports(4 * second, lasts, 'a'), [1, 2].into());
        assert_eq!(members.ports(5 * second, lasts, 'a'), [2].into());
        assert!(!members.is_known(5 * second, lasts, 'a', 1));
        assert!(members.is_known(5 * second, lasts, 'b', 3));
        members.leave('b', 3);
        assert!(!members.is_known(5 * second, lasts, 'b', 3));
    }
}
