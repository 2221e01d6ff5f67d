//! What is needed of each release, by whom, and what those hold already.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::ReceiverId;
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::wire::bounds::Bounds;
use fleetcast_core::wire::control::{Object, WantRun};

use super::contents::Contents;
use super::hearing::Hears;
use super::patches::Class;

/// What one receiver needs of one release.
#[derive(Clone, Debug)]
pub(super) struct Need {
    /// Who.
    pub(super) receiver: ReceiverId,
    /// Of which release.
    pub(super) release: Arc<Contents>,
    /// What it has asked for; `None`: all but what `holds` gives it.
    pub(super) wants: Option<Vec<WantRun>>,
    /// Releases that it holds.
    pub(super) holds: Vec<Arc<Contents>>,
    /// What of multicast reaches it.
    pub(super) hears: Hears,
    /// It cannot follow the others: bytes per second that it takes.
    pub(super) pace: Option<u64>,
    /// It is a board: `release` and `holds` are of the tree for boards.
    pub(super) constrained: bool,
    /// What it has room for, where it has told.
    pub(super) bounds: Option<Bounds>,
    /// It takes patches of what it holds.
    pub(super) patches: bool,
}

impl Need {
    /// The same of the trees for boards; `None` where the release has none.
    pub(super) fn of_boards(self) -> Option<Self> {
        let release = self.release.constrained.clone()?;
        let holds = self.holds.iter().filter_map(|held| held.constrained.clone()).collect();
        Some(Self { release, holds, patches: false, ..self })
    }

    /// Bytes that it lacks of its release, whatever it has asked for, before compression.
    pub(super) fn bytes(&self) -> u64 {
        let mut demand = Demand::none(&self.release);
        demand.add_all_but(&ids(&self.holds));
        demand.bytes()
    }
}

/// What is needed of one release, by ordinal, and by whom.
pub(super) struct Demand {
    /// The release.
    pub(super) release: Arc<Contents>,
    /// Who needs it.
    pub(super) members: Vec<ReceiverId>,
    /// Whether its root is needed.
    pub(super) root: bool,
    /// Which of its index chunks.
    pub(super) index: Vec<bool>,
    /// Which of its content chunks.
    pub(super) content: Vec<bool>,
    /// What its members hold.
    pub(super) classes: Vec<Class>,
    /// All its members take patches.
    pub(super) patches: bool,
}

/// Puts the needs of each release together.
pub(super) fn demands(needs: Vec<Need>) -> Vec<Demand> {
    let mut demands: BTreeMap<Digest, Demand> = BTreeMap::new();
    let mut known: HashMap<Vec<Digest>, Class> = HashMap::new();
    for need in needs {
        let digest = need.release.name.digest;
        let demand = demands.entry(digest).or_insert_with(|| Demand::none(&need.release));
        demand.members.push(need.receiver);
        // PROTOCOL R4: who asks for a rest may have asked because a patch was no use to it.
        demand.patches &= need.patches && need.wants.is_none();
        match &need.wants {
            Some(runs) => demand.add_wants(runs),
            None => {
                let key = need.holds.iter().map(|held| held.name.digest).collect();
                let class = known.entry(key).or_insert_with(|| Class {
                    known: Arc::new(ids(&need.holds)),
                    holds: need.holds.clone(),
                });
                demand.add_all_but(&class.known);
                if !demand.classes.iter().any(|other| Arc::ptr_eq(&other.known, &class.known)) {
                    demand.classes.push(class.clone());
                }
            }
        }
    }
    demands.into_values().collect()
}

fn ids(releases: &[Arc<Contents>]) -> HashSet<Digest> {
    releases.iter().flat_map(|held| held.chunks()).map(|chunk| chunk.id).collect()
}

impl Demand {
    fn none(release: &Arc<Contents>) -> Self {
        Self {
            release: Arc::clone(release),
            members: Vec::new(),
            root: false,
            index: vec![false; release.index.len()],
            content: vec![false; release.content.len()],
            classes: Vec::new(),
            patches: true,
        }
    }

    /// Bytes of the chunks, before compression.
    fn bytes(&self) -> u64 {
        let of = |wanted: &[bool], chunks: &[ChunkRef]| -> u64 {
            let wanted = wanted.iter().zip(chunks).filter(|(wanted, _)| **wanted);
            wanted.map(|(_, chunk)| u64::from(chunk.len)).sum()
        };
        of(&self.index, &self.release.index) + of(&self.content, &self.release.content)
    }

    fn add_wants(&mut self, runs: &[WantRun]) {
        for run in runs {
            let list = match run.object {
                Object::Root => {
                    self.root = true;
                    continue;
                }
                Object::Index => &mut self.index,
                Object::Content => &mut self.content,
            };
            let first = run.first as usize;
            let end = first.saturating_add(run.count as usize).min(list.len());
            if let Some(wanted) = list.get_mut(first..end) {
                wanted.fill(true);
            }
        }
    }

    fn add_all_but(&mut self, held: &HashSet<Digest>) {
        self.root = true;
        for (wanted, chunk) in self.index.iter_mut().zip(&self.release.index) {
            *wanted |= !held.contains(&chunk.id);
        }
        for (wanted, chunk) in self.content.iter_mut().zip(&self.release.content) {
            *wanted |= !held.contains(&chunk.id);
        }
    }

    /// Needed content, with ordinals.
    pub(super) fn needed_content(&self) -> impl Iterator<Item = (ChunkRef, u32)> + '_ {
        let needed = self.content.iter().zip(&self.release.content).zip(0_u32..);
        needed.filter(|((wanted, _), _)| **wanted).map(|((_, chunk), at)| (*chunk, at))
    }
}
