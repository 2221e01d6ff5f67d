//! Devices whose boot counter went back: restored from a copy, or two that share
//! one key.
//!
//! Two that share a key displace each other again and again: it is told of once an
//! hour, so that the log is not filled by that.

use std::collections::BTreeMap;

use fleetcast_core::ids::ReceiverId;

use crate::model::UnixTime;

/// Told of again after so many seconds.
const AGAIN: UnixTime = 3_600;
/// Shown so many seconds after it was last seen.
const SHOWN: UnixTime = 86_400;

/// Who came back with an older counter: since when, told when, seen when.
#[derive(Debug, Default)]
pub(super) struct Clones(BTreeMap<ReceiverId, Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    since: UnixTime,
    told: UnixTime,
    last: UnixTime,
}

impl Clones {
    /// Notes that a receiver's counter went back; whether that is worth a line in the log.
    pub(super) fn note(&mut self, id: ReceiverId, now: UnixTime) -> bool {
        self.0.retain(|_, seen| now.saturating_sub(seen.last) <= SHOWN);
        match self.0.get_mut(&id) {
            Some(seen) => {
                seen.last = now;
                let worth = now.saturating_sub(seen.told) >= AGAIN;
                if worth {
                    seen.told = now;
                }
                worth
            }
            None => {
                self.0.insert(id, Seen { since: now, told: now, last: now });
                true
            }
        }
    }

    /// Those to be shown, and since when.
    pub(super) fn shown(&self, now: UnixTime) -> impl Iterator<Item = (&ReceiverId, UnixTime)> {
        let recent = move |seen: &Seen| now.saturating_sub(seen.last) <= SHOWN;
        self.0.iter().filter(move |(_, seen)| recent(seen)).map(|(id, seen)| (id, seen.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_an_hour_and_shown_for_a_day() {
        let mut clones = Clones::default();
        let id = ReceiverId([1; 16]);
        let told: Vec<u64> = (0..10_000).filter(|&now| clones.note(id, now)).collect();
        assert_eq!(told, [0, 3_600, 7_200]);
        assert_eq!(clones.shown(9_999 + 86_400).collect::<Vec<_>>(), [(&id, 0)]);
        assert_eq!(clones.shown(10_000 + 86_400).count(), 0);
        assert!(clones.note(ReceiverId([2; 16]), 200_000));
        assert_eq!(clones.0.len(), 1, "what is over is forgotten");
    }
}
