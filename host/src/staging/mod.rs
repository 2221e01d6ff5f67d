//! A release on its way into a destination: verified, durable, resumable.
//!
//! ```text
//! root ─► index ─► table, places ─► directories ─► links and clones of old files
//!      ─► files, preallocated ─► scratch, old chunks, arriving chunks ─► complete
//! ```
//!
//! A record counts only by the hash of its decoded bytes, and is written to all
//! the places where its chunk occurs. Its data is synced while more arrives, and
//! only then named in the journal; at most 4 MiB are not named durably. After a
//! sync that failed what was unsynced counts as never written. What the journal
//! names after a restart, and what comes from old files, is hashed again before
//! it counts.
//!
//! Memory: 56 bytes and a name per entry; 3 bits per chunk; 16 bytes per further
//! occurrence of a chunk; 48 bytes per index chunk. While the tree is built
//! also 24 to 48 bytes per chunk (a hash table), and per older release its table
//! and 16 bytes per chunk in common; when patches come, its table once more, and for a
//! moment 32 bytes per chunk of it. For 5 GiB in 16 KiB chunks that is some
//! 20 MB at the most, and under 1 MB while data arrives. At most 64 files and 16 directories of the
//! tree are open.
//!
//! Inputs: [`Intake`]'s methods, and [`Staging::step`] whenever there is time.
//! Outputs: [`Staging::missing`], [`Staging::failure`]; when complete, install
//! takes the whole of it.

pub mod area;
mod bits;
mod build;
mod commit;
mod content;
mod failure;
pub(crate) mod files;
pub mod gate;
mod index;
mod journal;
mod old_index;
mod places;
mod predecessors;
mod resting;
mod run;
mod scratch;
pub(crate) mod seed;
pub mod sweep;
pub(crate) mod table;

use fleetcast_core::ids::Ordinal;
use fleetcast_core::limits::{MAX_ROOT, MAX_SIGNATURES};
use fleetcast_core::session::intake::{Intake, Taken};
use fleetcast_core::tree::patch::Patch;
use fleetcast_core::tree::record::PATCH;
use fleetcast_core::trust::document::signed_len;
use fleetcast_core::wire::control::{Object, ReleaseName, WantRun};

use self::area::{Area, INDEX, ROOT, TOP, stage_name};
use self::build::Build;
use self::content::Content;
pub use self::failure::Failure;
use self::files::fresh_file;
use self::files::open_or_create;
use self::gate::{Decode, Evidence, Gate, Refusal};
use self::index::{BadIndex, Index, IndexTaken};
use self::old_index::OldIndex;
use self::predecessors::{Lack, Predecessors};
use self::scratch::Scratch;
use crate::disk::{self, Audience, Disk, DiskError, ensure_dir, read_small, write_small};

/// Largest root document with its signatures that is read.
const MAX_DOCUMENT: usize = signed_len(MAX_ROOT, MAX_SIGNATURES);

/// What a [`Staging::step`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// There is more to do at once.
    More,
    /// Nothing to do before more records come.
    Waiting,
    /// Nothing is lacking: the release can be installed.
    Complete,
    /// It will not be installed; [`Staging::failure`] says why.
    Failed,
}

/// The storage of one release that is being received.
pub struct Staging<D: Disk, C, G: Gate> {
    pub(crate) area: Area<D>,
    pub(crate) stage: D::Dir,
    pub(crate) release: ReleaseName,
    pub(crate) evidence: Option<G::Evidence>,
    gate: G,
    codec: C,
    scratch: Scratch<D>,
    index: Option<Index<D>>,
    /// While the index is not whole.
    old_index: Option<OldIndex<D>>,
    /// While the tree is being built: what is needed for that only.
    build: Option<Build<D>>,
    /// Once a patch has come: what it and others copy from.
    predecessors: Option<Predecessors<D>>,
    /// Once the entry table is read.
    pub(crate) content: Option<Content<D>>,
    failure: Option<Failure>,
    chunk: Vec<u8>,
    /// Bytes of predecessors.
    copied: Vec<u8>,
    /// Nothing is taken from older releases.
    afresh: bool,
    /// What comes is proved to be the sender's.
    proved: bool,
}

impl<D: Disk, C: Decode, G: Gate> Staging<D, C, G> {
    /// Begins to stage a release, or goes on where an earlier run stopped.
    ///
    /// # Errors
    /// When the storage fails. A stored root that the gate does not admit any
    /// more is not an error here: see [`Self::failure`].
    pub fn open(area: Area<D>, release: ReleaseName, gate: G, codec: C) -> disk::Result<Self> {
        let disk = area.disk.clone();
        let stage = ensure_dir(&disk, &area.ours, stage_name(&release).as_bytes(), Audience::Own)?;
        let scratch = Scratch::new(fresh_file(&disk, &stage, b"scratch")?);
        disk.sync_dir(&area.ours)?;
        let mut staging = Self {
            area,
            stage,
            release,
            evidence: None,
            gate,
            codec,
            scratch,
            index: None,
            old_index: None,
            build: None,
            predecessors: None,
            content: None,
            failure: None,
            chunk: Vec::new(),
            copied: Vec::new(),
            afresh: false,
            proved: false,
        };
        match read_small(&disk, &staging.stage, ROOT, MAX_DOCUMENT) {
            Ok(document) => {
                // It passed the gate before it was stored.
                if let Ok(()) = staging.admit(&document, true) {
                    staging.start_index()?;
                }
            }
            Err(DiskError::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(staging)
    }

    /// Takes nothing from older releases: all of it is to arrive.
    pub const fn take_nothing_old(&mut self) {
        self.afresh = true;
    }

    /// Which release this is.
    pub const fn release(&self) -> ReleaseName {
        self.release
    }

    /// The release root, once it has passed the gate.
    pub const fn evidence(&self) -> Option<&G::Evidence> {
        self.evidence.as_ref()
    }

    /// Why it will not be installed, if so.
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether index chunks can be taken from older releases, or the tree be built,
    /// but are not: until then what comes is superfluous or takes a detour, so
    /// [`Self::step`] should be called soon.
    pub fn is_urgent(&self) -> bool {
        let Some(index) = self.index.as_ref().filter(|_| self.content.is_none()) else {
            return false;
        };
        let more = self.old_index.as_ref().is_none_or(|old| old.is_behind(index));
        self.failure.is_none() && (more || index.is_complete())
    }

    /// Does waiting work of about `budget` bytes read or written: building the
    /// tree, taking what old releases have, hashing again what must be.
    pub fn step(&mut self, budget: u64) -> StepOutcome {
        if self.failure.is_some() {
            return StepOutcome::Failed;
        }
        let worked = self.try_step(budget);
        worked.unwrap_or_else(|failure| {
            self.failure = Some(failure);
            StepOutcome::Failed
        })
    }

    /// Tells what is lacking, index first; content only when its number is known.
    pub fn missing(&self, each: &mut dyn FnMut(WantRun)) {
        let Some(index) = &self.index else {
            each(WantRun { object: Object::Root, first: 0, count: 1 });
            return;
        };
        let lacks = |ordinal| !index.held.has(ordinal);
        runs(Object::Index, index.total(), &lacks, each);
        if let Some(content) = &self.content {
            runs(Object::Content, content.total(), &|ordinal| content.lacks(ordinal), each);
        }
    }

    /// Commits what was not yet committed.
    ///
    /// # Errors
    /// When the storage fails; what was unsynced is lacking again then.
    pub fn commit(&mut self) -> disk::Result<()> {
        match &mut self.content {
            Some(content) => content.commit(&self.area.disk),
            None => Ok(()),
        }
    }

    fn try_step(&mut self, budget: u64) -> Result<StepOutcome, Failure> {
        let disk = self.area.disk.clone();
        if let (Some(index), None) = (&mut self.index, &self.content) {
            let old = match &mut self.old_index {
                Some(old) => old,
                none if self.afresh => none.insert(OldIndex::none()),
                none => none.insert(OldIndex::open(&self.area)?),
            };
            loop {
                old.fill(&disk, index)?;
                while let Some(kept) = self.scratch.take(
                    &disk,
                    &|object, ordinal| object == Object::Index && index.knows(ordinal),
                    &mut self.chunk,
                )? {
                    index.put(&disk, Ordinal(kept.ordinal), &self.chunk)?;
                }
                if !old.is_behind(index) {
                    break;
                }
            }
            let tree = self.evidence.as_ref().map(Evidence::tree);
            let Some(tree) = tree.filter(|_| index.is_complete()) else {
                return Ok(StepOutcome::Waiting);
            };
            self.old_index = None;
            let content = Content::open(&disk, &self.stage, index, &tree)?;
            self.build = Some(Build::new(&self.area, &content, self.afresh)?);
            self.content = Some(content);
            return Ok(StepOutcome::More);
        }
        let Some(content) = &mut self.content else { return Ok(StepOutcome::Waiting) };
        if let Some(build) = &mut self.build {
            if build.step(&self.area, content, budget)? {
                content.finish_build();
                self.build = None;
            }
            return Ok(StepOutcome::More);
        }
        self.replay(budget)
    }

    /// Takes from scratch, then hashes again what must be.
    fn replay(&mut self, budget: u64) -> Result<StepOutcome, Failure> {
        let disk = &self.area.disk;
        let Some(content) = &mut self.content else { return Ok(StepOutcome::Waiting) };
        let mut left = budget.max(1);
        while left > 0 {
            let of_content = |object, _| object == Object::Content;
            let taken = self.scratch.take(disk, &of_content, &mut self.chunk)?;
            let cost = if let Some(kept) = taken {
                content.take(disk, kept.ordinal, &self.chunk)?;
                self.chunk.len() as u64
            } else if let Some(cost) = content.recheck(disk)? {
                cost
            } else {
                break;
            };
            left = left.saturating_sub(cost.max(1));
        }
        if left == 0 {
            return Ok(StepOutcome::More);
        }
        if !content.is_complete() {
            content.commit_some(disk)?;
            return Ok(StepOutcome::Waiting);
        }
        content.commit(disk)?;
        if !content.is_complete() {
            return Ok(StepOutcome::Waiting);
        }
        (self.predecessors, self.copied) = (None, Vec::new());
        Ok(StepOutcome::Complete)
    }

    /// Lets the gate check a root document, which is `proved` where nobody but the sender can
    /// have made it.
    fn admit(&mut self, document: &[u8], proved: bool) -> Result<(), Taken> {
        match self.gate.admit(document) {
            Ok(evidence) if evidence.name() == self.release => {
                self.evidence = Some(evidence);
                Ok(())
            }
            Ok(_) | Err(Refusal::Wrong) => Err(Taken::Poisoned),
            // PROTOCOL S26
            Err(Refusal::Unsigned(_)) if !proved => Err(Taken::Poisoned),
            Err(Refusal::Unsigned(code) | Refusal::Never(code)) => {
                let reason = "the release root was refused".to_owned();
                self.failure = Some(Failure { code, reason });
                Err(Taken::Failed)
            }
        }
    }

    fn start_index(&mut self) -> disk::Result<()> {
        let disk = &self.area.disk;
        let Some(evidence) = &self.evidence else { return Ok(()) };
        let file = open_or_create(disk, &self.stage, INDEX)?;
        match Index::resume(disk, file, &evidence.tree()) {
            Ok(index) => self.index = Some(index),
            Err(BadIndex::Disk(error)) => return Err(error),
            Err(bad) => self.failure = Some(bad.into()),
        }
        Ok(())
    }

    fn take_root(&mut self, document: &[u8]) -> disk::Result<Taken> {
        if self.evidence.is_some() {
            return Ok(Taken::Unneeded);
        }
        if document.len() > MAX_DOCUMENT {
            return Ok(Taken::Poisoned);
        }
        if let Err(taken) = self.admit(document, self.proved) {
            return Ok(taken);
        }
        if let Some(evidence) = &self.evidence {
            write_small(&self.area.disk, &self.stage, TOP, evidence.tree().top)?;
        }
        write_small(&self.area.disk, &self.stage, ROOT, document)?;
        self.start_index()?;
        Ok(if self.failure.is_none() { Taken::Stored } else { Taken::Failed })
    }

    fn take_index(&mut self, ordinal: Ordinal, chunk: &[u8]) -> Result<Taken, Failure> {
        let disk = &self.area.disk;
        let taken = match &mut self.index {
            Some(index) => index.put(disk, ordinal, chunk)?,
            None => IndexTaken::Unknown,
        };
        match taken {
            IndexTaken::Stored => Ok(Taken::Stored),
            IndexTaken::Unneeded => Ok(Taken::Unneeded),
            IndexTaken::Wrong => Ok(Taken::Poisoned),
            IndexTaken::Unknown => self.defer(Object::Index, ordinal, chunk),
        }
    }

    fn take_content(&mut self, ordinal: Ordinal, chunk: &[u8]) -> Result<Taken, Failure> {
        let disk = &self.area.disk;
        match &mut self.content {
            Some(content) if self.build.as_ref().is_none_or(Build::has_files) => {
                content.take(disk, ordinal.0, chunk)
            }
            Some(content) => match content.judge(disk, ordinal.0, chunk)? {
                Taken::Stored => self.defer(Object::Content, ordinal, chunk),
                other => Ok(other),
            },
            None => self.defer(Object::Content, ordinal, chunk),
        }
    }

    /// The chunk of a patch, in `out`; what becomes of the record if there is none.
    fn patched<'o>(
        &mut self,
        len: usize,
        encoded: &[u8],
        out: &'o mut Vec<u8>,
    ) -> Result<&'o [u8], Taken> {
        let patch = Patch::parse(encoded).map_err(|_| Taken::Poisoned)?;
        if self.afresh {
            // Nobody who was asked to send all of it makes patches.
            return Err(Taken::Poisoned);
        }
        let predecessors = match &mut self.predecessors {
            Some(opened) => opened,
            none => {
                let opened = Predecessors::open(&self.area, &self.stage);
                none.insert(opened.map_err(|_| Taken::Deferred)?)
            }
        };
        // PROTOCOL R5
        let gathered = predecessors.gather(&self.area.disk, &patch, &mut self.copied);
        gathered.map_err(|lack| match lack {
            Lack::Unknown => Taken::Poisoned,
            Lack::Gone => Taken::Deferred,
        })?;
        let decoded = self.codec.patch(&self.copied, len, patch.frame(), out);
        decoded.map_err(|_| Taken::Poisoned)
    }

    fn defer(&mut self, object: Object, ordinal: Ordinal, chunk: &[u8]) -> Result<Taken, Failure> {
        if self.scratch.has(object, ordinal.0) {
            return Ok(Taken::Unneeded);
        }
        let kept = self.scratch.keep(&self.area.disk, object, ordinal.0, chunk)?;
        Ok(if kept { Taken::Stored } else { Taken::Deferred })
    }
}

impl<D: Disk, C: Decode, G: Gate> Intake for Staging<D, C, G> {
    fn attest(&mut self, proved: bool) {
        self.proved = proved;
    }

    fn wants(&mut self, object: Object, first: Ordinal, count: u16) -> bool {
        let mut ordinals = first.0..first.0.saturating_add(u32::from(count));
        match object {
            _ if self.failure.is_some() => false,
            Object::Root => self.evidence.is_none(),
            Object::Index => ordinals.any(|ordinal| {
                let held = self
                    .index
                    .as_ref()
                    .is_some_and(|index| ordinal >= index.total() || index.held.has(ordinal));
                !held && !self.scratch.has(object, ordinal)
            }),
            Object::Content => ordinals.any(|ordinal| {
                let lacks = self.content.as_ref().is_none_or(|content| content.lacks(ordinal));
                lacks && !self.scratch.has(object, ordinal)
            }),
        }
    }

    fn record(
        &mut self,
        object: Object,
        ordinal: Ordinal,
        codec: u8,
        len: usize,
        encoded: &[u8],
    ) -> Taken {
        if self.failure.is_some() {
            return Taken::Failed;
        }
        let mut memory = std::mem::take(&mut self.chunk);
        let taken = if object == Object::Root {
            self.take_root(encoded).map_err(Failure::from)
        } else {
            let decoded = match codec {
                PATCH => self.patched(len, encoded, &mut memory),
                _ => {
                    let decoded = self.codec.decode(codec, len, encoded, &mut memory);
                    decoded.map_err(|_| Taken::Poisoned)
                }
            };
            match decoded {
                Err(taken) => Ok(taken),
                Ok(chunk) if object == Object::Index => self.take_index(ordinal, chunk),
                Ok(chunk) => self.take_content(ordinal, chunk),
            }
        };
        self.chunk = memory;
        taken.unwrap_or_else(|failure| {
            self.failure = Some(failure);
            Taken::Failed
        })
    }

    fn progress(&self) -> (u64, u64) {
        let (Some(evidence), Some(index)) = (&self.evidence, &self.index) else { return (0, 0) };
        let tree = evidence.tree();
        let held = self.content.as_ref().map_or(0, Content::held_bytes);
        let total = self.content.as_ref().map_or(tree.content_bytes, Content::total_bytes);
        (index.held_bytes + held, tree.index_bytes.saturating_add(total))
    }

    fn is_complete(&self) -> bool {
        self.failure.is_none()
            && self.build.is_none()
            && self.content.as_ref().is_some_and(Content::is_complete)
    }
}

/// Runs of ordinals below `total` that `lacks` picks.
fn runs(object: Object, total: u32, lacks: &dyn Fn(u32) -> bool, each: &mut dyn FnMut(WantRun)) {
    let mut run: Option<WantRun> = None;
    for ordinal in 0..total {
        match (&mut run, lacks(ordinal)) {
            (Some(run), true) => run.count += 1,
            (None, true) => run = Some(WantRun { object, first: ordinal, count: 1 }),
            (_, false) => run.take().into_iter().for_each(&mut *each),
        }
    }
    run.into_iter().for_each(each);
}
