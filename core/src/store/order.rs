//! Which release is expected, active, kept, and forgotten.

use embedded_io::{Read, Seek, Write};

use super::Store;
use super::book::{Book, Head};
use super::error::{Result, StoreError};
use super::superblock::{KeptAs, Slot, Stage};
use super::target::{Counts, Target, Task};
use crate::ids::GroupId;
use crate::trust::order::succession;
use crate::wire::control::ReleaseName;

/// A release of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: ReleaseName,
    /// What it is.
    pub kept_as: KeptAs,
}

impl Kept {
    const fn of(slot: &Slot) -> Self {
        let kept_as = match slot.stage {
            Stage::Index | Stage::Content => KeptAs::Incoming,
            Stage::Previous => KeptAs::Previous,
            Stage::Active => KeptAs::Active,
        };
        Self { name: slot.name, kept_as }
    }
}

impl<D: Read + Write + Seek> Store<'_, D> {
    /// The releases of the card.
    pub fn releases(&self) -> impl Iterator<Item = Kept> + '_ {
        self.card.superblock.slots.iter().flatten().map(Kept::of)
    }

    /// The release that a group uses.
    #[must_use]
    pub fn active(&self, group: GroupId) -> Option<ReleaseName> {
        let mut slots = self.card.superblock.slots.iter().flatten();
        slots.find(|s| s.name.group == group && s.stage == Stage::Active).map(|slot| slot.name)
    }

    /// Which release is expected to arrive, or to be made whole again.
    #[must_use]
    pub const fn expected(&self) -> Option<ReleaseName> {
        self.expected
    }

    /// Expects a release: what has come of it before is found again, what another one
    /// left unfinished is forgotten, and so is the predecessor of its group's active one.
    ///
    /// # Errors
    /// [`StoreError::Order`] when it must not follow what was accepted before,
    /// [`StoreError::NoPlace`] when the card keeps no more releases or groups.
    pub fn expect(&mut self, name: ReleaseName) -> Result<()> {
        self.card.commit()?;
        if self.expected == Some(name) && self.failure.is_none() {
            return Ok(());
        }
        self.stop_resolving();
        (self.expected, self.target, self.failure) = (None, None, None);
        let found = self.slot_of(&name);
        let readable = found.is_some_and(|(slot, found)| self.aim(slot, &found).is_ok());
        if found.is_some_and(|(_, found)| found.is_kept()) && !readable {
            return Err(StoreError::Damaged);
        }
        if !readable {
            // PROTOCOL T3
            let highest = self.highest(name.group)?;
            succession(highest, name.order, name.digest).map_err(StoreError::Order)?;
            self.make_place(&name)?;
        }
        self.expected = Some(name);
        self.task = Task::SCAN;
        self.card.space.clear();
        Ok(())
    }

    /// Makes the expected release, which is whole, the active one of its group.
    ///
    /// Its order is durable before; its predecessor is kept, and whole, until the
    /// next release is expected.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] while something is lacking,
    /// [`StoreError::Order`] when another has overtaken it.
    pub fn activate(&mut self) -> Result<ReleaseName> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let whole = self.is_whole();
        let Some(target) = self.target.as_ref().filter(|_| whole) else {
            return Err(StoreError::Incomplete);
        };
        let at = target.slot;
        let Some(Some(slot)) = self.card.superblock.slots.get(at).copied() else {
            return Err(StoreError::Incomplete);
        };
        self.card.commit()?;
        if slot.stage == Stage::Active {
            return Ok(slot.name);
        }
        // PROTOCOL T4: before the one write that activates it.
        self.accept(&slot.name)?;
        self.make_active(at)?;
        Ok(slot.name)
    }

    /// Makes the kept predecessor of a group's active release active again; the
    /// highest accepted order stays what it is.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when there is none.
    pub fn fall_back(&mut self, group: GroupId) -> Result<ReleaseName> {
        let slots = &self.card.superblock.slots;
        let previous = |slot: &Option<Slot>| {
            slot.is_some_and(|slot| slot.name.group == group && slot.stage == Stage::Previous)
        };
        let at = slots.iter().position(previous).ok_or(StoreError::Unknown)?;
        let name = slots.get(at).copied().flatten().map(|slot| slot.name);
        self.make_active(at)?;
        name.ok_or(StoreError::Unknown)
    }

    /// Forgets a release, whatever it is; its space is free after the next scan.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when it is not on the card.
    pub fn discard(&mut self, name: &ReleaseName) -> Result<()> {
        let (at, _) = self.slot_of(name).ok_or(StoreError::Unknown)?;
        if self.expected == Some(*name) {
            self.stop_resolving();
            (self.expected, self.target, self.failure) = (None, None, None);
        }
        self.card.commit()?;
        if let Some(slot) = self.card.superblock.slots.get_mut(at) {
            *slot = None;
        }
        self.card.write_superblock()?;
        self.rescan()
    }

    /// The place of a release in the superblock.
    pub(super) fn slot_of(&self, name: &ReleaseName) -> Option<(usize, Slot)> {
        let slots = self.card.superblock.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| Some((at, (*slot)?))).find(|(_, slot)| slot.name == *name)
    }

    /// The book of a release that is, or was, active.
    pub(super) fn book_of(&self, name: &ReleaseName) -> Result<Book> {
        let (_, slot) = self.slot_of(name).ok_or(StoreError::Unknown)?;
        match slot.stage {
            Stage::Previous | Stage::Active => Ok(Book::of(&slot)),
            Stage::Index | Stage::Content => Err(StoreError::Incomplete),
        }
    }

    /// Goes on with a release whose root is here.
    pub(super) fn aim(&mut self, slot: usize, found: &Slot) -> Result<()> {
        let book = Book::of(found);
        let (disk, any) = self.card.with_any();
        let head = Head::read(disk, any, &book)?;
        self.target = Some(Target { slot, book, head, counts: Counts::default() });
        Ok(())
    }

    /// Finds out again what is free.
    fn rescan(&mut self) -> Result<()> {
        let Some(target) = &mut self.target else {
            self.task = Task::SCAN;
            self.card.space.clear();
            return Ok(());
        };
        target.counts = Counts::default();
        self.stop_resolving();
        self.task = Task::SCAN;
        self.card.space.clear();
        Ok(())
    }

    fn make_active(&mut self, at: usize) -> Result<()> {
        let slots = &mut self.card.superblock.slots;
        let Some(Some(chosen)) = slots.get(at).copied() else { return Err(StoreError::Unknown) };
        let mut dropped = false;
        for (n, place) in slots.iter_mut().enumerate() {
            let Some(slot) = place.as_mut().filter(|s| s.name.group == chosen.name.group) else {
                continue;
            };
            match slot.stage {
                _ if n == at => slot.stage = Stage::Active,
                Stage::Active => slot.stage = Stage::Previous,
                Stage::Previous => {
                    *place = None;
                    dropped = true;
                }
                Stage::Index | Stage::Content => {}
            }
        }
        self.card.write_superblock()?;
        if dropped { self.rescan() } else { Ok(()) }
    }

    /// Makes a place in the superblock for a release that is not on the card.
    fn make_place(&mut self, name: &ReleaseName) -> Result<()> {
        let slots = &mut self.card.superblock.slots;
        let mut changed = false;
        for place in slots.iter_mut() {
            let goes = place.is_some_and(|slot| match slot.stage {
                Stage::Index | Stage::Content => true,
                Stage::Previous => slot.name.group == name.group,
                Stage::Active => false,
            });
            changed |= goes;
            *place = place.filter(|_| !goes);
        }
        if slots.iter().all(Option::is_some) {
            // A predecessor of another group gives way.
            let oldest = slots.iter_mut().find(|s| s.is_some_and(|s| s.stage == Stage::Previous));
            let most = crate::limits::STORE_RELEASES;
            *oldest.ok_or(StoreError::NoPlace { most })? = None;
            changed = true;
        }
        if changed { self.card.write_superblock() } else { Ok(()) }
    }
}
