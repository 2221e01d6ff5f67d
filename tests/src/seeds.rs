//! Many seeds on all threads, and their sum.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::fleet::Outcome;
use crate::random::mix;

/// The sum of many runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Seeds that were run.
    pub seeds: u64,
    /// What did not hold, by seed.
    pub violations: Vec<(u64, String)>,
    /// Faults that happened.
    pub faults: u64,
    /// Bytes that nodes have sent.
    pub bytes: u64,
    /// Hash of all traces, whatever their order.
    pub trace: u64,
}

impl Total {
    /// Adds a run.
    pub fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.faults += outcome.faults;
        self.bytes += outcome.bytes;
        self.trace = self.trace.wrapping_add(mix(outcome.trace ^ mix(seed)));
        self.violations.extend(outcome.violations.into_iter().map(|what| (seed, what)));
    }

    /// Adds other runs.
    pub fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.faults += other.faults;
        self.bytes += other.bytes;
        self.trace = self.trace.wrapping_add(other.trace);
        self.violations.extend(other.violations);
        self.violations.sort();
    }

    /// The last line of `sim`.
    #[must_use]
    pub fn json(&self) -> String {
        let Self { seeds, violations, faults, bytes, trace } = self;
        let violations = violations.len();
        format!(
            "{{\"seeds\":{seeds},\"violations\":{violations},\"faults\":{faults},\
             \"bytes\":{bytes},\"trace\":\"{trace:016x}\"}}"
        )
    }
}

/// Plants one bug after the other; one that so many seeds do not find is a violation.
#[cfg(feature = "planted")]
#[must_use]
pub fn find_planted() -> Total {
    use fleetcast_core::planted::{Bug, plant};
    const WITHIN: u64 = 200;
    let mut total = Total::default();
    for bug in [Bug::Parity, Bug::Replay, Bug::Sync] {
        plant(Some(bug));
        let mut found = None;
        for seed in 0..WITHIN {
            let mut outcome = guarded(seed, &crate::fleet::run_seed);
            found = outcome.violations.pop().map(|violation| (seed, violation));
            outcome.violations.clear();
            total.add(seed, outcome);
            if found.is_some() {
                break;
            }
        }
        match found {
            Some((seed, violation)) => {
                println!("{bug:?}: found after {} seeds: {violation}", seed + 1);
            }
            None => total.violations.push((WITHIN, format!("{bug:?} was not found"))),
        }
    }
    plant(None);
    total
}

/// Runs `count` seeds from `from` on, on all threads; a panic is a violation too.
pub fn run_seeds(from: u64, count: u64, run: impl Fn(u64) -> Outcome + Sync) -> Total {
    let (next, total) = (AtomicU64::new(from), Mutex::new(Total::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return;
            }
            let outcome = guarded(seed, &run);
            let mut one = Total::default();
            one.add(seed, outcome);
            if let Ok(mut total) = total.lock() {
                total.merge(one);
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap_or_default()
}

fn guarded(seed: u64, run: &(impl Fn(u64) -> Outcome + Sync)) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|_| Outcome {
        violations: vec!["a machine panicked".to_owned()],
        ..Outcome::default()
    })
}
