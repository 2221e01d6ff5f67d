//! Patches that sessions send, made once and remembered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::RECORD_HEADER;
use fleetcast_core::tree::reference::ChunkRef;

use super::alignment::{Alignment, align};
use super::contents::Contents;
use crate::codec::{Decoder, patch};
use crate::packs::ChunkStore;

/// Patches that are tried in one plan: some tenths of a second. What changed more than that
/// crosses as it is.
const TRIES: u32 = 1_024;
/// After so many tries in a row that brought nothing only one of [`SELDOM`] is made.
const MISSES: u32 = 48;
/// See [`MISSES`].
const SELDOM: u32 = 16;
/// A patch is worth its predecessors' reading when it takes at most this share of the
/// record, in percent.
const WORTHWHILE: usize = 75;
/// Bytes of patches that are remembered, with what it takes to find them.
const REMEMBERED: usize = 16 * 1024 * 1024;
/// What it takes to remember one, or that there is none.
const ENTRY: usize = 128;
/// Pairs of releases whose comparison is remembered.
const PAIRS: usize = 8;
/// Releases that a session's patches are made of at most.
const MOST_BASES: usize = 3;

/// Receivers that hold the same releases.
#[derive(Clone)]
pub(super) struct Class {
    /// What they hold.
    pub(super) holds: Vec<Arc<Contents>>,
    /// Ids of all chunks of that.
    pub(super) known: Arc<HashSet<Digest>>,
}

/// What patches are made with, kept from plan to plan.
#[derive(Default)]
pub(super) struct Patches {
    /// By the new chunk and its first predecessor; `None`: not worth it.
    made: HashMap<(Digest, Digest), Option<Arc<[u8]>>>,
    /// About how many bytes `made` takes.
    taken: usize,
    /// By the digests of the older and the newer release.
    alignments: HashMap<(Digest, Digest), Arc<Alignment>>,
    tries: u32,
    misses: u32,
    decoder: Decoder,
}

impl Patches {
    /// Begins a plan: what it may try is counted anew.
    pub(super) const fn begin(&mut self) {
        (self.tries, self.misses) = (0, 0);
    }

    /// The record of a chunk as a patch, if that is worth it.
    pub(super) fn patch(
        &mut self,
        chunks: &dyn ChunkStore,
        chunk: &ChunkRef,
        predecessors: &[ChunkRef],
    ) -> Option<Arc<[u8]>> {
        let key = (chunk.id, predecessors.first()?.id);
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        self.tries += 1;
        if self.tries > TRIES || (self.misses > MISSES && !self.tries.is_multiple_of(SELDOM)) {
            return None;
        }
        let made: Option<Arc<[u8]>> = self.make(chunks, chunk, predecessors).map(Arc::from);
        self.misses = if made.is_some() { 0 } else { self.misses + 1 };
        let cost = ENTRY + made.as_ref().map_or(0, |record| record.len());
        if self.taken + cost > REMEMBERED {
            (self.made, self.taken) = (HashMap::new(), 0);
        }
        self.taken += cost;
        self.made.insert(key, made.clone());
        made
    }

    fn make(
        &mut self,
        chunks: &dyn ChunkStore,
        chunk: &ChunkRef,
        predecessors: &[ChunkRef],
    ) -> Option<Vec<u8>> {
        let stored = chunks.record_len(&chunk.id).ok()??;
        let new = self.read(chunks, chunk)?;
        // What cannot be read any more only makes no patch.
        let old: Option<Vec<(Digest, Vec<u8>)>> =
            predecessors.iter().map(|old| Some((old.id, self.read(chunks, old)?))).collect();
        let old = old?;
        let old: Vec<(Digest, &[u8])> = old.iter().map(|(id, bytes)| (*id, &bytes[..])).collect();
        patch::encode(&old, &new, stored * WORTHWHILE / 100)
    }

    /// A chunk of the store, verified.
    fn read(&mut self, chunks: &dyn ChunkStore, chunk: &ChunkRef) -> Option<Vec<u8>> {
        let len = chunks.record_len(&chunk.id).ok()??;
        let (mut record, mut bytes) = (vec![0; len.max(RECORD_HEADER)], Vec::new());
        let len = chunks.read(&chunk.id, &mut record).ok()?;
        self.decoder.decode_record(record.get(..len)?, &mut bytes).ok()?;
        chunk.verify(&bytes).ok()?;
        Some(bytes)
    }

    /// What a session of `release` may be patched with, whose members are of `classes`.
    pub(super) fn ancestry(&mut self, release: &Contents, classes: &[&Class]) -> Ancestry {
        let mut bases: Vec<&Arc<Contents>> = Vec::new();
        for base in classes.iter().flat_map(|class| &class.holds) {
            if !bases.iter().any(|known| known.name.digest == base.name.digest) {
                bases.push(base);
            }
        }
        // Those of the same group first, the newest of them first.
        bases.sort_by_key(|base| {
            let name = base.name;
            (name.group != release.name.group, std::cmp::Reverse(name.order), name.digest)
        });
        let mut ancestry = Ancestry::default();
        for base in bases.into_iter().take(MOST_BASES) {
            let alignment = self.alignment(base, release);
            for (id, predecessors) in alignment.iter() {
                if !ancestry.found.contains_key(id) && fit(predecessors, classes) {
                    let of = (base.name.digest, predecessors.clone());
                    ancestry.found.insert(*id, of);
                }
            }
        }
        ancestry
    }

    fn alignment(&mut self, old: &Contents, new: &Contents) -> Arc<Alignment> {
        let key = (old.name.digest, new.name.digest);
        if let Some(known) = self.alignments.get(&key) {
            return Arc::clone(known);
        }
        if self.alignments.len() >= PAIRS {
            self.alignments.clear();
        }
        let made = Arc::new(align(old, new));
        self.alignments.insert(key, Arc::clone(&made));
        made
    }
}

/// Whether every receiver holds all predecessors, also one that has the chunk: before it
/// knows the index it cannot tell that it needs no patch.
// PROTOCOL R4
fn fit(predecessors: &[ChunkRef], classes: &[&Class]) -> bool {
    predecessors.iter().all(|old| classes.iter().all(|class| class.known.contains(&old.id)))
}

/// What a session's chunks may be patches of.
#[derive(Default)]
pub(super) struct Ancestry {
    /// By the new chunk: a release that holds its predecessors, and these.
    found: HashMap<Digest, (Digest, Vec<ChunkRef>)>,
    /// The releases that patches were made of.
    pub(super) used: BTreeSet<Digest>,
}

impl Ancestry {
    /// A chunk's record as a patch, if it has predecessors and that is worth it.
    pub(super) fn patch(
        &mut self,
        patches: &mut Patches,
        chunks: &dyn ChunkStore,
        chunk: &ChunkRef,
    ) -> Option<Arc<[u8]>> {
        let (base, predecessors) = self.found.get(&chunk.id)?;
        let made = patches.patch(chunks, chunk, predecessors)?;
        self.used.insert(*base);
        Some(made)
    }
}
