//! How often somebody may ask: a bucket that every question takes from, and
//! that time fills again. Bounded, whoever asks.

use std::collections::BTreeMap;

use fleetcast_core::time::{Duration, Instant};

/// Buckets by who asks.
#[derive(Debug)]
pub(super) struct Allowances<K> {
    /// What a full bucket holds.
    most: u32,
    /// One more after so long.
    per: Duration,
    /// Buckets kept at a time.
    room: usize,
    /// What was left, and when; who is not here has a full one.
    buckets: BTreeMap<K, (u32, Instant)>,
}

impl<K: Ord + Clone> Allowances<K> {
    /// Buckets of `most` that gain one after each `per`, `room` of them at a time.
    pub(super) const fn new(most: u32, per: Duration, room: usize) -> Self {
        Self { most, per, room, buckets: BTreeMap::new() }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant, who: &K) -> bool {
        let left = self.left(now, who);
        if left == 0 {
            return false;
        }
        if self.buckets.len() >= self.room && !self.buckets.contains_key(who) {
            self.make_room(now);
        }
        // What time has filled up by halves is not lost: the bucket's clock goes on.
        let since = self.buckets.get(who).map_or(now, |&(_, since)| self.ticked(now, since));
        let since = if left == self.most { now } else { since };
        self.buckets.insert(who.clone(), (left - 1, since));
        true
    }

    /// Gives one back.
    pub(super) fn give_back(&mut self, who: &K) {
        if let Some((left, _)) = self.buckets.get_mut(who) {
            *left = (*left + 1).min(self.most);
        }
    }

    fn left(&self, now: Instant, who: &K) -> u32 {
        let Some(&(left, since)) = self.buckets.get(who) else { return self.most };
        let gained = now.since(since).as_micros() / self.per.as_micros().max(1);
        u64::from(left).saturating_add(gained).min(self.most.into()) as u32
    }

    /// The last time until `now` at which a bucket gained one.
    fn ticked(&self, now: Instant, since: Instant) -> Instant {
        let per = self.per.as_micros().max(1);
        let rest = now.since(since).as_micros() % per;
        Instant::from_micros(now.as_micros().saturating_sub(rest))
    }

    /// Forgets the full buckets, or else the one that is nearest to it.
    fn make_room(&mut self, now: Instant) {
        let full: Vec<K> =
            self.buckets.keys().filter(|who| self.left(now, who) == self.most).cloned().collect();
        for who in &full {
            self.buckets.remove(who);
        }
        if full.is_empty()
            && let Some(who) = self.buckets.keys().max_by_key(|who| self.left(now, who)).cloned()
        {
            self.buckets.remove(&who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_bucket_is_emptied_at_once_and_filled_by_time() {
        let mut allowances = Allowances::new(3, Duration::from_secs(10), 8);
        assert!((0..3).all(|_| allowances.take(at(0), &"a")));
        assert!(!allowances.take(at(9), &"a"), "the first comes back after 10 s");
        assert!(allowances.take(at(9), &"b"), "others have their own");
        assert!(allowances.take(at(14), &"a") && !allowances.take(at(19), &"a"));
        assert!(allowances.take(at(20), &"a"), "14 s and 6 s are twice 10 s");
        assert!((0..3).all(|_| allowances.take(at(500), &"a")) && !allowances.take(at(500), &"a"));
        allowances.give_back(&"a");
        assert!(allowances.take(at(500), &"a") && !allowances.take(at(500), &"a"));
    }

    #[test]
    fn a_crowd_takes_a_bounded_place_and_frees_nobody_who_is_empty() {
        let mut allowances = Allowances::new(2, Duration::from_secs(10), 4);
        assert!(allowances.take(at(0), &0) && allowances.take(at(0), &0));
        for who in 1..1_000 {
            assert!(allowances.take(at(1), &who));
        }
        assert!(allowances.buckets.len() <= 4);
        assert!(!allowances.take(at(1), &0), "the emptiest stays");
    }
}
