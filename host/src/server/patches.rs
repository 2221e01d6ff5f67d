//! Patches that sessions send, made once and remembered.
//!
//! A patch takes its maker a good part of a millisecond, and a plan may want a thousand. So
//! a plan only says which it wants; they are made one after the other between all else that
//! a server does, and then the plan is made again.
//!
//! ```text
//! plan ── wants ──▶ queue ── step, step, … ──▶ made ──▶ the plan again, now with all of them
//! ```

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::RECORD_HEADER;
use fleetcast_core::tree::reference::ChunkRef;

use super::alignment::{Alignment, align};
use super::contents::Contents;
use crate::codec::{Decoder, patch};
use crate::packs::ChunkStore;

/// Patches that wait to be made at most: some tenths of a second. What changed more than
/// that crosses as it is.
const TRIES: usize = 1_024;
/// After so many tries in a row that brought nothing only one of [`SELDOM`] is made.
const MISSES: usize = 48;
/// See [`MISSES`].
const SELDOM: usize = 16;
/// Bytes of chunks that are read in one step, if it is not a single patch that takes more.
const STEP: u32 = 64 * 1024;
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

/// A new chunk and its first predecessor.
type Pair = (Digest, Digest);

/// What is known of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Its record.
    Made(Arc<[u8]>),
    /// It is made by and by.
    Later,
    /// There is none, or none that is worth it.
    Nothing,
}

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
    /// Those that were tried; `None`: not worth it.
    made: HashMap<Pair, Option<Arc<[u8]>>>,
    /// About how many bytes `made` takes.
    taken: usize,
    /// By the digests of the older and the newer release.
    alignments: HashMap<(Digest, Digest), Arc<Alignment>>,
    /// To be made, in the order in which plans want them: chunks and their predecessors.
    queue: VecDeque<(ChunkRef, Vec<ChunkRef>)>,
    /// All that was wanted since a plan had all its patches, and whether it waits.
    wanted: HashMap<Pair, bool>,
    /// Tries since the queue was empty, and how many of them in a row brought nothing.
    tries: usize,
    misses: usize,
    decoder: Decoder,
}

impl Patches {
    /// The record of a chunk as a patch, if that is worth it and known already. What is not
    /// known is made by and by.
    pub(super) fn find(&mut self, chunk: &ChunkRef, predecessors: &[ChunkRef]) -> Found {
        let Some(first) = predecessors.first() else { return Found::Nothing };
        let pair = (chunk.id, first.id);
        if let Some(made) = self.made.get(&pair) {
            return made.clone().map_or(Found::Nothing, Found::Made);
        }
        if self.wanted.is_empty() && self.taken > REMEMBERED / 2 {
            // So that there is room for all that this plan wants.
            (self.made, self.taken) = (HashMap::new(), 0);
        }
        let room = self.queue.len() < TRIES;
        let (queue, predecessors) = (&mut self.queue, predecessors.to_vec());
        let waits = *self.wanted.entry(pair).or_insert_with(|| {
            if room {
                queue.push_back((*chunk, predecessors));
            }
            room
        });
        if waits { Found::Later } else { Found::Nothing }
    }

    /// Whether some are to be made.
    pub(super) fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Makes some of those that are wanted: what can be made without keeping anybody waiting.
    pub(super) fn step(&mut self, chunks: &dyn ChunkStore) {
        let mut read = 0;
        while read < STEP
            && let Some((chunk, predecessors)) = self.queue.pop_front()
        {
            self.wanted.insert((chunk.id, predecessors[0].id), false);
            self.tries += 1;
            if self.misses <= MISSES || self.tries.is_multiple_of(SELDOM) {
                read += chunk.len + predecessors.iter().map(|old| old.len).sum::<u32>();
                self.try_one(chunks, &chunk, &predecessors);
            }
        }
        if self.queue.is_empty() {
            (self.tries, self.misses) = (0, 0);
        }
    }

    /// A plan has all its patches: what was wanted and is not there may be wanted again.
    pub(super) fn served(&mut self) {
        if self.queue.is_empty() {
            self.wanted.clear();
        }
    }

    fn try_one(&mut self, chunks: &dyn ChunkStore, chunk: &ChunkRef, predecessors: &[ChunkRef]) {
        let made: Option<Arc<[u8]>> = self.make(chunks, chunk, predecessors).map(Arc::from);
        self.misses = if made.is_some() { 0 } else { self.misses + 1 };
        let cost = ENTRY + made.as_ref().map_or(0, |record| record.len());
        if self.taken + cost > REMEMBERED {
            (self.made, self.taken) = (HashMap::new(), 0);
        }
        self.taken += cost;
        self.made.insert((chunk.id, predecessors[0].id), made);
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
    /// What is known of a chunk's record as a patch.
    pub(super) fn patch(&mut self, patches: &mut Patches, chunk: &ChunkRef) -> Found {
        let Some((base, predecessors)) = self.found.get(&chunk.id) else { return Found::Nothing };
        let found = patches.find(chunk, predecessors);
        if matches!(found, Found::Made(_)) {
            self.used.insert(*base);
        }
        found
    }
}
