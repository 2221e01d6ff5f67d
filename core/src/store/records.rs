//! The small records by name: trust, orders, boot counter, seed, notes.

use embedded_io::{Read, Seek, Write};

use super::Store;
use super::error::{Result, StoreError};
use super::state::{Record, read, write};
use super::superblock::{Fields, put};
use crate::digest::Digest;
use crate::ids::{GroupId, ReleaseOrder};
use crate::limits::{STORE_GROUPS, STORE_NOTE, STORE_NOTES};
use crate::trust::order::succession;
use crate::wire::control::ReleaseName;

/// Group, order, digest.
const ORDER: usize = 60;

/// A membership's certificate and the voucher that it names, both signed.
pub type MembershipDocuments<'o> = (&'o [u8], &'o [u8]);

impl<D: Read + Write + Seek> Store<'_, D> {
    /// Raises the boot counter and returns it; durable when this returns.
    ///
    /// # Errors
    /// When the device fails: there must be no handshake then.
    pub fn next_boot(&mut self) -> Result<u64> {
        // PROTOCOL H6: persisted before its first use.
        let mut bytes = [0; 8];
        self.read_record(Record::Boot, &mut bytes)?;
        let next = u64::from_le_bytes(bytes).saturating_add(1);
        self.write_record(Record::Boot, &[&next.to_le_bytes()])?;
        Ok(next)
    }

    /// What random numbers begin with; `None` before the first [`Self::put_seed`].
    ///
    /// # Errors
    /// When the device fails.
    pub fn seed(&mut self) -> Result<Option<[u8; 32]>> {
        let mut seed = [0; 32];
        let len = self.read_record(Record::Seed, &mut seed)?;
        Ok((len == seed.len()).then_some(seed))
    }

    /// Keeps a seed for the next start.
    ///
    /// # Errors
    /// When the device fails.
    pub fn put_seed(&mut self, seed: &[u8; 32]) -> Result<()> {
        self.write_record(Record::Seed, &[seed])
    }

    /// The signed authority document; empty when there is none.
    ///
    /// # Errors
    /// When the device fails, or `out` is too short for it.
    pub fn authority<'o>(&mut self, out: &'o mut [u8]) -> Result<&'o [u8]> {
        let len = self.read_record(Record::Authority, out)?;
        Ok(out.get(..len).unwrap_or(&[]))
    }

    /// Keeps a signed authority document.
    ///
    /// # Errors
    /// When the device fails, or it is longer than [`STORE_NOTE`].
    pub fn put_authority(&mut self, document: &[u8]) -> Result<()> {
        self.write_record(Record::Authority, &[document])
    }

    /// The documents of the membership in a group, in `out` of [`STORE_NOTE`] bytes.
    ///
    /// # Errors
    /// When the device fails, or `out` is too short for them.
    pub fn membership<'o>(
        &mut self,
        group: GroupId,
        out: &'o mut [u8],
    ) -> Result<Option<MembershipDocuments<'o>>> {
        for n in 0..STORE_GROUPS as u8 {
            let len = self.read_record(Record::Membership(n), out)?;
            let mut fields = Fields(out.get(..len).unwrap_or(&[]));
            if len > 0 && fields.take() == group.0 {
                let certificate = usize::from(u16::from_le_bytes(fields.take()));
                let documents = out.get(18..len).unwrap_or(&[]);
                return Ok(documents.split_at_checked(certificate));
            }
        }
        Ok(None)
    }

    /// Keeps the documents of a membership, in place of an earlier one in that group;
    /// two empty ones end it.
    ///
    /// # Errors
    /// [`StoreError::NoPlace`] when there are too many groups.
    pub fn put_membership(
        &mut self,
        group: GroupId,
        certificate: &[u8],
        voucher: &[u8],
    ) -> Result<()> {
        let mut place = None;
        for n in 0..STORE_GROUPS as u8 {
            match self.group_at(n)? {
                Some(there) if there == group => {
                    place = Some(n);
                    break;
                }
                None if place.is_none() => place = Some(n),
                _ => {}
            }
        }
        let n = place.ok_or(StoreError::NoPlace { most: STORE_GROUPS })?;
        let (bound, found) = (STORE_NOTE, certificate.len());
        let len = u16::try_from(found).map_err(|_| StoreError::Length { bound, found })?;
        if certificate.is_empty() && voucher.is_empty() {
            return self.write_record(Record::Membership(n), &[]);
        }
        let parts = [&group.0[..], &len.to_le_bytes(), certificate, voucher];
        self.write_record(Record::Membership(n), &parts)
    }

    /// The group of a membership, by its place below [`STORE_GROUPS`].
    ///
    /// # Errors
    /// When the device fails.
    pub fn group_at(&mut self, n: u8) -> Result<Option<GroupId>> {
        if usize::from(n) >= STORE_GROUPS {
            return Ok(None);
        }
        let (disk, any) = self.card.with_any();
        let mut group = [0; 16];
        let len = super::state::read_front(disk, any, Record::Membership(n), &mut group)?;
        Ok((len >= group.len()).then_some(GroupId(group)))
    }

    /// The highest order accepted for a group, and its release's digest.
    ///
    /// # Errors
    /// When the device fails.
    pub fn highest(&mut self, group: GroupId) -> Result<Option<(ReleaseOrder, Digest)>> {
        let mut all = [0; STORE_GROUPS * ORDER];
        let len = self.read_record(Record::Orders, &mut all)?;
        let orders = all.get(..len).unwrap_or(&[]);
        let found = orders.chunks_exact(ORDER).map(parse).find(|name| name.group == group);
        Ok(found.map(|name| (name.order, name.digest)))
    }

    /// A note of the firmware's own, by its place below [`STORE_NOTES`]; empty when
    /// there is none.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] for another place; when the device fails, or `out` is too
    /// short for it.
    pub fn note<'o>(&mut self, n: u8, out: &'o mut [u8]) -> Result<&'o [u8]> {
        let len = self.read_record(note(n)?, out)?;
        Ok(out.get(..len).unwrap_or(&[]))
    }

    /// Keeps a note of at most [`STORE_NOTE`] bytes.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] for another place, or when the device fails.
    pub fn put_note(&mut self, n: u8, bytes: &[u8]) -> Result<()> {
        self.write_record(note(n)?, &[bytes])
    }

    /// Persists the order of a release; it never decreases.
    pub(super) fn accept(&mut self, name: &ReleaseName) -> Result<()> {
        let mut all = [0; STORE_GROUPS * ORDER];
        let len = self.read_record(Record::Orders, &mut all)?;
        let orders = all.get(..len).unwrap_or(&[]);
        let at = orders.chunks_exact(ORDER).position(|order| parse(order).group == name.group);
        if let Some(before) = at.and_then(|at| orders.chunks_exact(ORDER).nth(at)).map(parse) {
            // PROTOCOL T3
            let highest = Some((before.order, before.digest));
            succession(highest, name.order, name.digest).map_err(StoreError::Order)?;
            if before == *name {
                return Ok(());
            }
        }
        let start = at.map_or(len, |at| at * ORDER);
        if start + ORDER > all.len() {
            return Err(StoreError::NoPlace { most: STORE_GROUPS });
        }
        let (epoch, sequence) = (name.order.reset_epoch, name.order.sequence);
        let parts: [&[u8]; 4] =
            [&name.group.0, &epoch.to_le_bytes(), &sequence.to_le_bytes(), &name.digest.0];
        put(&mut all, start, &parts);
        let all = all.get(..len.max(start + ORDER)).unwrap_or(&[]);
        self.write_record(Record::Orders, &[all])
    }

    fn read_record(&mut self, record: Record, out: &mut [u8]) -> Result<usize> {
        let (disk, any) = self.card.with_any();
        read(disk, any, record, out)
    }

    fn write_record(&mut self, record: Record, parts: &[&[u8]]) -> Result<()> {
        let (disk, any) = self.card.with_any();
        write(disk, any, record, parts)
    }
}

fn note(n: u8) -> Result<Record> {
    if usize::from(n) < STORE_NOTES { Ok(Record::Note(n)) } else { Err(StoreError::Unknown) }
}

fn parse(order: &[u8]) -> ReleaseName {
    let mut fields = Fields(order);
    let group = GroupId(fields.take());
    let order = ReleaseOrder { reset_epoch: fields.u32(), sequence: fields.u64() };
    ReleaseName { group, order, digest: Digest(fields.take()) }
}
