//! Waiting until deliveries are final.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::api::client::Client;
use crate::api::model::Submitted;
use crate::cli::context::Context;
use crate::error::Failure;
use crate::status::DeliveryItem;

/// How often to look.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until every delivery to a receiver in `active` is final, or the limit is
/// over; not at all without a limit (the inner `None` is one without end).
pub(super) fn wait(
    context: &Context,
    client: &Client,
    submitted: &[Submitted],
    active: &HashSet<String>,
    limit: Option<Option<Duration>>,
) -> Result<(), Failure> {
    let Some(limit) = limit else { return Ok(()) };
    let begin = Instant::now();
    let releases: Vec<String> = submitted.iter().map(|s| s.release.release.clone()).collect();
    let bar = if context.talks() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    // The template is constant; the plain bar does as well.
    if let Ok(style) = ProgressStyle::with_template("installed {bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    loop {
        let found = client.deliveries(&releases)?;
        let (done, all) = count(&found.deliveries, active);
        bar.set_length(all);
        bar.set_position(done);
        if done == all || limit.is_some_and(|limit| begin.elapsed() >= limit) {
            bar.finish_and_clear();
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

/// How many deliveries to active receivers are final, and how many there are.
fn count(deliveries: &[DeliveryItem], active: &HashSet<String>) -> (u64, u64) {
    let waited = deliveries.iter().filter(|delivery| active.contains(&delivery.receiver));
    waited.fold((0, 0), |(done, all), delivery| (done + u64::from(is_final(delivery)), all + 1))
}

fn is_final(delivery: &DeliveryItem) -> bool {
    matches!(delivery.state.as_str(), "installed" | "failed" | "superseded" | "cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_receivers_that_were_active_are_waited_for() {
        let delivery = |receiver: &str, state: &str| DeliveryItem {
            id: 1,
            receiver: receiver.into(),
            group: "g".into(),
            release: String::new(),
            sequence: 1,
            state: state.into(),
            code: String::new(),
            reason: String::new(),
            bytes: 0,
            path: "multicast".into(),
            waits: String::new(),
            at: None,
            priority: 0,
        };
        let active = HashSet::from(["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        let deliveries = [
            delivery("a", "installed"),
            delivery("b", "verifying"),
            delivery("c", "failed"),
            delivery("away", "queued"),
        ];
        assert_eq!(count(&deliveries, &active), (2, 3));
        assert_eq!(count(&deliveries[3..], &active), (0, 0));
    }
}
