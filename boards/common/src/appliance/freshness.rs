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
            let known = before.map(|at| (seen[at].order, seen[at].digest));
            let known = known.max(self.store.highest(group).ok().flatten());
            match Verdict::of(known, named, newest.len() < MAX_HELD) {
                Verdict::Backwards => self.tell(Event::FreshnessBackwards),
                Verdict::Withheld => self.tell(Event::FreshnessWithheld),
                Verdict::Fine => {
                    let Some(named) = named else { continue };
                    match before {
                        Some(at) if seen[at].order >= named.order => {}
                        Some(at) => (seen[at], news) = (*named, true),
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
        kept.as_chunks::<ENTRY>().0.iter().map(read).collect()
    }

    fn keep(&mut self, seen: &Seen) {
        let mut bytes = [0; MOST * ENTRY];
        for (out, release) in bytes.as_chunks_mut::<ENTRY>().0.iter_mut().zip(seen) {
            write(release, out);
        }
        if self.store.put_note(SEEN, &bytes[..seen.len() * ENTRY]).is_err() {
            self.tell(Event::NotKept);
        }
    }
}

fn write(release: &ReleaseName, out: &mut [u8; ENTRY]) {
    out[..16].copy_from_slice(&release.group.0);
    out[16..20].copy_from_slice(&release.order.reset_epoch.to_le_bytes());
    out[20..28].copy_from_slice(&release.order.sequence.to_le_bytes());
    out[28..].copy_from_slice(&release.digest.0);
}

fn read(bytes: &[u8; ENTRY]) -> ReleaseName {
    let (mut group, mut digest) = ([0; 16], [0; 32]);
    let (mut epoch, mut sequence) = ([0; 4], [0; 8]);
    group.copy_from_slice(&bytes[..16]);
    epoch.copy_from_slice(&bytes[16..20]);
    sequence.copy_from_slice(&bytes[20..28]);
    digest.copy_from_slice(&bytes[28..]);
    let (reset_epoch, sequence) = (u32::from_le_bytes(epoch), u64::from_le_bytes(sequence));
    let order = ReleaseOrder { reset_epoch, sequence };
    ReleaseName { group: GroupId(group), order, digest: Digest(digest) }
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
