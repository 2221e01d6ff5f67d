//! Counting tests by what the test runners print.

use std::fmt;
use std::ops::AddAssign;

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Passed.
    pub(crate) passed: usize,
    /// Failed, or could not be built.
    pub(crate) failed: usize,
    /// Could not run on this machine.
    pub(crate) skipped: usize,
}

impl Tally {
    /// One test that passed.
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    /// One test that failed.
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    /// One test that could not run here.
    pub(crate) const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// The tests of one run; a run that failed without a failed test (it did not
    /// compile, say) counts as one.
    pub(crate) fn of_run(ok: bool, output: &str, skips: usize) -> Self {
        // nextest shows what a failed program printed, which is counted in its own line.
        let mut tally = if output.lines().any(|line| summary(line).is_some()) {
            sum(output.lines().filter_map(summary))
        } else {
            sum(output.lines().filter_map(result))
        };
        // Who cannot run says so and returns, which looks like passing.
        let skips = skips.min(tally.passed);
        tally.passed -= skips;
        tally.skipped += skips;
        if !ok && tally.failed == 0 {
            tally.failed = 1;
        }
        tally
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Tests that failed and passed when they ran once more, as nextest lists them at the end:
/// `FLAKY 2/2 [   0.669s] (3/74) package::program module::test`.
pub(crate) fn flaky(output: &str) -> impl Iterator<Item = &str> {
    let lines = output.lines().skip_while(|line| summary(line).is_none());
    lines.filter_map(|line| {
        let (_, test) = line.trim().strip_prefix("FLAKY ")?.rsplit_once(") ")?;
        Some(test)
    })
}

fn sum(parts: impl Iterator<Item = Tally>) -> Tally {
    parts.fold(Tally::default(), |mut sum, part| {
        sum += part;
        sum
    })
}

/// What nextest's last line counts; tests that were filtered out or ignored are not
/// environment skips and do not count:
/// `Summary [   0.1s] 3 tests run: 2 passed (1 slow), 1 failed, 4 skipped`.
fn summary(line: &str) -> Option<Tally> {
    let summary = line.trim().strip_prefix("Summary [")?;
    let run = before(summary, " test run:").or_else(|| before(summary, " tests run:"))?;
    let passed = before(summary, " passed").unwrap_or(0);
    Some(Tally { passed, failed: run.saturating_sub(passed), skipped: 0 })
}

/// What the last line of a test program counts.
fn result(line: &str) -> Option<Tally> {
    let result = line.trim().strip_prefix("test result: ")?;
    let (passed, failed) = (before(result, " passed")?, before(result, " failed")?);
    Some(Tally { passed, failed, skipped: 0 })
}

/// The number that stands before `word`.
fn before(text: &str, word: &str) -> Option<usize> {
    let head = &text[..text.find(word)?];
    let start = head.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    head[start..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: usize, failed: usize, skipped: usize) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn summaries_of_nextest_are_counted() {
        let good = "     Summary [   0.043s] 12 tests run: 12 passed, 3 skipped\n";
        assert_eq!(Tally::of_run(true, good, 0), tally(12, 0, 0));
        let bad = " Summary [ 1s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 0 skipped";
        assert_eq!(Tally::of_run(false, bad, 0), tally(6, 3, 0));
        assert_eq!(Tally::of_run(true, " Summary [ 1s] 1 test run: 1 passed", 0), tally(1, 0, 0));
        assert_eq!(Tally::of_run(false, " Summary [ 1s] 1 test run: 1 failed", 0), tally(0, 1, 0));
    }

    #[test]
    fn what_nextest_shows_of_a_failed_program_is_not_counted_again() {
        let shown = "        FAIL [ 2.6s] (16/74) tests::lab_bridge snooping::forgotten\n\
                     test result: FAILED. 0 passed; 1 failed; 0 ignored\n\
                     Summary [ 554.6s] 74 tests run: 73 passed, 1 failed, 5 skipped";
        assert_eq!(Tally::of_run(false, shown, 0), tally(73, 1, 0));
    }

    #[test]
    fn who_passed_at_the_second_attempt_is_named() {
        let shown = "  FLAKY 2/2 [ 0.6s] (3/7) tests::lab a::early\n\
                     Summary [ 9s] 7 tests run: 7 passed (1 flaky), 0 skipped\n\
                     FLAKY 2/2 [   0.669s] (3/7) fleetcast-tests::lab_bridge snooping::late";
        let named: Vec<_> = flaky(shown).collect();
        assert_eq!(named, ["fleetcast-tests::lab_bridge snooping::late"]);
        assert_eq!(Tally::of_run(true, shown, 0), tally(7, 0, 0));
    }

    #[test]
    fn results_of_several_test_programs_are_added() {
        let result =
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out";
        assert_eq!(Tally::of_run(false, &format!("{result}\nx\n{result}"), 0), tally(6, 2, 0));
    }

    #[test]
    fn a_run_that_does_not_compile_is_a_failure() {
        assert_eq!(Tally::of_run(false, "error: expected `;`", 0), tally(0, 1, 0));
        assert_eq!(Tally::of_run(false, "test result: ok. 3 passed; 0 failed", 0), tally(3, 1, 0));
    }

    #[test]
    fn who_says_that_it_cannot_run_has_not_passed() {
        let output = "test result: ok. 3 passed; 0 failed; 0 ignored";
        assert_eq!(Tally::of_run(true, output, 2), tally(1, 0, 2));
        assert_eq!(tally(1, 0, 2).to_string(), "1 passed, 0 failed, 2 skipped");
    }
}
