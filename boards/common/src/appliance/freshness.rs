//! What the server says is newest, to the nonce of our Hello.

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReleaseOrder};
use fleetcast_core::limits::STORE_GROUPS;
use fleetcast_core::trust::statement::{Freshness, Verdict};
use fleetcast_core::wire::control::{MAX_HELD, ReleaseName};
use heapless::Vec;

use super::{Appliance, Event};
use crate::partition::Disk;

/// The note that holds the newest releases that were named.
const SEEN: u8 = 1;
/// Bytes of one of them: group, reset epoch, sequence, digest.
const ENTRY: usize = 16 + 4 + 8 + 32;
/// Groups that a board can be a member of.
const MOST: usize = STORE_GROUPS;

/// The newest releases that were named, one of each group.
type Seen = Vec<ReleaseName, MOST>;

impl<D: Disk> Appliance<'_, D> {
    /// Takes a statement: `nonce` and signature must be right, or it counts for nothing.
    // PROTOCOL F1
    #[inline(never)]
    pub(super) fn on_freshness(
        &mut self,
        nonce: [u8; 16],
        version: u32,
        newest: Vec<ReleaseName, MAX_HELD>,
        signature: &[u8],
    ) {
        let Some(authority) = &self.authority else { return };
        let (fleet, known) = (authority.document().fleet, authority.document().version);
        let statement = Freshness { fleet, nonce, authority: version, newest };
        let signed = signature.try_into().is_ok_and(|s| statement.verify(authority, s).is_ok());
        if !signed || self.nonce != Some(nonce) {
            return self.tell(Event::FreshnessUnproved);
        }
        if version < known {
            self.tell(Event::FreshnessBackwards);
        }
        self.compare(&statement.newest);
    }

    /// Compares what is named with what is known, and keeps what is newer.
    fn compare(&mut self, newest: &[ReleaseName]) {
        let mut seen = self.seen();
        let mut news = false;
        for n in 0..MOST as u8 {
            let Ok(Some(group)) = self.store.group_at(n) else { continue };
            let named = newest.iter().find(|release| release.group == group);
            let before = seen.iter().position(|seen| seen.group == group);
            let known = before.and_then(|at| seen.get(at)).map(|seen| (seen.order, seen.digest));
            let known = known.max(self.store.highest(group).ok().flatten());
            match Verdict::of(known, named, newest.len() < MAX_HELD) {
                Verdict::Backwards => self.tell(Event::FreshnessBackwards),
                Verdict::Withheld => self.tell(Event::FreshnessWithheld),
                Verdict::Fine => {
                    let Some(named) = named else { continue };
                    match before.and_then(|at| seen.get_mut(at)) {
                        Some(seen) if seen.order >= named.order => {}
                        Some(seen) => (*seen, news) = (*named, true),
                        None => news |= seen.push(*named).is_ok(),
                    }
                    self.show(named);
                }
            }
        }
        if news {
            self.keep(&seen);
        }
    }

    /// Shows that a group is behind, where it is.
    fn show(&mut self, named: &ReleaseName) {
        let installed = self.active().find(|active| active.group == named.group);
        if installed.is_none_or(|installed| installed.order < named.order) {
            self.tell(Event::Behind { group: named.group, newest: named.order });
        }
    }

    fn seen(&mut self) -> Seen {
        let mut bytes = [0; MOST * ENTRY];
        let kept = self.store.note(SEEN, &mut bytes).unwrap_or(&[]);
        let mut seen = Seen::new();
        for entry in kept.as_chunks::<ENTRY>().0 {
            // No more were kept than there are places for.
            let _ = seen.push(read(entry));
        }
        seen
    }

    fn keep(&mut self, seen: &Seen) {
        let mut bytes = [0; MOST * ENTRY];
        for (out, release) in bytes.as_chunks_mut::<ENTRY>().0.iter_mut().zip(seen) {
            write(release, out);
        }
        let text = bytes.get(..seen.len() * ENTRY).unwrap_or(&[]);
        if self.store.put_note(SEEN, text).is_err() {
            self.tell(Event::NotKept);
        }
    }
}

fn write(release: &ReleaseName, out: &mut [u8; ENTRY]) {
    let (epoch, sequence) = (release.order.reset_epoch, release.order.sequence);
    let front = release.group.0.iter().copied().chain(epoch.to_le_bytes());
    let bytes = front.chain(sequence.to_le_bytes()).chain(release.digest.0);
    out.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
}

fn read(bytes: &[u8; ENTRY]) -> ReleaseName {
    let mut bytes = bytes.iter().copied();
    let (group, epoch) = (GroupId(next(&mut bytes)), next(&mut bytes));
    let (sequence, digest) = (next(&mut bytes), Digest(next(&mut bytes)));
    let (reset_epoch, sequence) = (u32::from_le_bytes(epoch), u64::from_le_bytes(sequence));
    ReleaseName { group, order: ReleaseOrder { reset_epoch, sequence }, digest }
}

/// The next field.
fn next<const N: usize>(bytes: &mut impl Iterator<Item = u8>) -> [u8; N] {
    core::array::from_fn(|_| bytes.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_was_named_comes_back_as_it_was_kept() {
        let order = ReleaseOrder { reset_epoch: 0x0102_0304, sequence: 0x0506_0708_090A };
        let release = ReleaseName { group: GroupId([7; 16]), order, digest: Digest([9; 32]) };
        let mut bytes = [0; ENTRY];
        write(&release, &mut bytes);
        assert_eq!(bytes[16..22], [4, 3, 2, 1, 0x0A, 9]);
        assert_eq!(read(&bytes), release);
    }
}
