//! The end of a server that stops in order: whoever is here hears of it at once, and
//! comes back bit by bit, instead of noticing a silence later (PROTOCOL C7).

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::limits::{BYE_SPREAD_MAX, MAX_MESSAGE, RETURNS_PER_SECOND};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::wire::control::{Down, encode};
use fleetcast_core::wire::transport::Sending;

use super::ServerNode;

impl<A: Aead> ServerNode<A> {
    /// Says goodbye on every channel, for a driver that stops: it drains `poll_transmit`
    /// afterwards and calls nothing else. Sessions send nothing more.
    pub fn say_goodbye(&mut self, now: Instant) {
        self.sessions.clear();
        let spread = spread(self.links.len());
        let bye = Down::Bye { spread_ms: spread.as_millis() as u32 };
        let mut buffer = [0; MAX_MESSAGE];
        let Ok(bytes) = encode(&bye, &mut buffer) else { return };
        for &slot in self.links.keys() {
            // Who has no room for it notices the silence.
            let _ = self.endpoint.send(now, slot, Sending::Unreliable, bytes);
        }
    }
}

/// The time over which so many come back, so that not more than RETURNS_PER_SECOND do in
/// one; a second at least, so that few do not come in step either.
fn spread(receivers: usize) -> Duration {
    let millis = (receivers as u64).saturating_mul(1_000) / u64::from(RETURNS_PER_SECOND);
    Duration::from_millis(millis).max(Duration::from_secs(1)).min(BYE_SPREAD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // PROTOCOL C7
    #[test]
    fn who_is_told_goodbye_comes_back_within_a_time_that_grows_with_their_number() {
        let seconds = [(1, 1), (500, 1), (2_500, 5), (10_000, 20), (1_000_000, 60)];
        for (receivers, seconds) in seconds {
            assert_eq!(spread(receivers), Duration::from_secs(seconds), "{receivers}");
        }
    }
}
