//! Which sessions to run now: deliveries in, session plans out.
//!
//! A receiver lacks the chunks of its release less those of the releases that
//! it holds, or exactly what it has asked for. Chunks that several releases
//! need, because the same files went to several groups, cross once, in a
//! session that all of them share; what only one needs, its root and index
//! first, crosses in a session of its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::ReceiverId;
use fleetcast_core::limits::{MAX_SLOTS, MAX_SYMBOL, SMALL_SYMBOL};
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::wire::bounds::Bounds;
use fleetcast_core::wire::control::{Object, ReleaseName, WantRun};

use super::contents::Contents;
use super::hearing::Hears;
use super::lanes::lanes;
use super::plan::{PlannedChunk, SessionPlan, Shape, UNTOLD};
use crate::packs::{ChunkStore, StoreError};

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
}

/// What boards are offered in the beginning, in bytes per second.
const BOARD_PACE: u64 = 400_000;

impl Need {
    /// The same of the trees for boards; `None` where the release has none.
    pub(super) fn of_boards(self) -> Option<Self> {
        let release = self.release.constrained.clone()?;
        let holds = self.holds.iter().filter_map(|held| held.constrained.clone()).collect();
        Some(Self { release, holds, ..self })
    }
}

/// A session to be run.
pub(super) struct Planned {
    /// Releases, one per slot.
    pub(super) slots: Vec<Arc<Contents>>,
    /// Members and their slots.
    pub(super) members: Vec<(ReceiverId, u8)>,
    /// What it sends.
    pub(super) plan: SessionPlan,
    /// Whether by multicast.
    pub(super) multicast: bool,
    /// The pace of its lane in bytes per second, where it is a slow one.
    pub(super) pace: Option<u64>,
    /// What its receivers can take.
    pub(super) shape: Shape,
}

/// How a session's datagrams go.
#[derive(Clone, Copy)]
struct Way {
    multicast: bool,
    /// The pace of its lane in bytes per second, where it is a slow one.
    pace: Option<u64>,
    /// What its receivers can take.
    shape: Shape,
}

/// What is needed of one release, by ordinal, and by whom.
struct Demand {
    release: Arc<Contents>,
    members: Vec<ReceiverId>,
    root: bool,
    index: Vec<bool>,
    content: Vec<bool>,
}

/// Plans sessions for `needs`, of which each receiver has at most one.
///
/// Receivers that do not hear multicast, and the few that want a rest, are
/// served one by one. Several that heard no datagrams of full size are tried
/// with small ones by multicast first. Who cannot follow the others goes with those
/// of about the same pace, or alone.
///
/// # Errors
/// [`StoreError`] when the store lacks a chunk of a release.
pub(super) fn plan_sessions(
    needs: Vec<Need>,
    chunks: &Arc<dyn ChunkStore>,
) -> Result<Vec<Planned>, StoreError> {
    let (boards, needs): (Vec<Need>, Vec<Need>) =
        needs.into_iter().partition(|need| need.constrained);
    let mut planned = plan_boards(boards, chunks)?;
    let is_slow = |need: &Need| need.hears == Hears::Full && has_lane_of_its_own(need);
    let (slow, needs): (Vec<Need>, Vec<Need>) = needs.into_iter().partition(is_slow);
    let hear = |need: &Need| need.hears != Hears::Nothing;
    let rests = needs.iter().filter(|need| need.wants.is_some() && hear(need)).count();
    let doubtful = needs.iter().filter(|need| need.hears == Hears::Doubtful).count();
    let is_alone = |need: &Need| match need.hears {
        Hears::Nothing => true,
        Hears::Doubtful if doubtful < MULTICAST_RESTS => true,
        _ => need.wants.is_some() && rests < MULTICAST_RESTS,
    };
    let (alone, together): (Vec<Need>, Vec<Need>) = needs.into_iter().partition(is_alone);
    for need in alone {
        let shape = Shape::standard(need.hears.symbol());
        let way = Way { multicast: false, pace: need.pace, shape };
        planned.extend(plan_group(demands(vec![need]), chunks, way)?);
    }
    let (full, small): (Vec<Need>, Vec<Need>) =
        together.into_iter().partition(|need| need.hears == Hears::Full);
    for (needs, symbol) in [(full, MAX_SYMBOL), (small, SMALL_SYMBOL)] {
        let way = Way { multicast: true, pace: None, shape: Shape::standard(symbol) };
        planned.extend(plan_group(demands(needs), chunks, way)?);
    }
    let slow = slow.into_iter().map(|need| (need.pace.unwrap_or(0), need)).collect();
    for (pace, needs, multicast) in lanes(slow) {
        let (one_by_one, lane) = if multicast { (vec![], needs) } else { (needs, vec![]) };
        let alone = one_by_one.into_iter().map(|need| demands(vec![need]));
        for demands in alone.chain([demands(lane)]) {
            let way = Way { multicast, pace: Some(pace), shape: Shape::standard(MAX_SYMBOL) };
            planned.extend(plan_group(demands, chunks, way)?);
        }
    }
    Ok(planned)
}

/// Whether a need is to be served apart from the others for its slowness. What it takes
/// within [`SHORT`] holds nobody up, and costs less with the others than again.
fn has_lane_of_its_own(need: &Need) -> bool {
    let Some(pace) = need.pace else { return false };
    let takes = pace.saturating_mul(SHORT);
    need.wants.is_some() || of_release(need).bytes() > takes
}

/// Seconds that a slow receiver may take for what it gets together with the others.
const SHORT: u64 = 2;

/// Plans sessions for boards: a lane of their own, whatever their number, so that
/// neither they nor the hosts slow the other; rests go one by one.
fn plan_boards(needs: Vec<Need>, chunks: &Arc<dyn ChunkStore>) -> Result<Vec<Planned>, StoreError> {
    let (alone, together): (Vec<Need>, Vec<Need>) =
        needs.into_iter().partition(|need| need.hears == Hears::Nothing || need.wants.is_some());
    let pace = |need: &Need| need.pace.unwrap_or(BOARD_PACE);
    let slowest = together.iter().map(pace).min();
    let one_by_one = alone.into_iter().map(|need| (false, Some(pace(&need)), vec![need]));
    let mut planned = Vec::new();
    for (multicast, pace, needs) in one_by_one.chain([(true, slowest, together)]) {
        let bounds = needs.iter().map(|need| need.bounds.unwrap_or(UNTOLD)).reduce(Bounds::and);
        let shape = Shape::constrained(bounds.unwrap_or(UNTOLD));
        let way = Way { multicast, pace, shape };
        planned.extend(plan_group(demands(needs), chunks, way)?);
    }
    Ok(planned)
}

/// From so many receivers on, rests are sent by multicast again.
const MULTICAST_RESTS: usize = 3;

/// Puts the needs of each release together.
fn demands(needs: Vec<Need>) -> Vec<Demand> {
    let mut demands: BTreeMap<Digest, Demand> = BTreeMap::new();
    let mut known: HashMap<Vec<Digest>, HashSet<Digest>> = HashMap::new();
    for need in needs {
        let digest = need.release.name.digest;
        let demand = demands.entry(digest).or_insert_with(|| Demand::none(&need.release));
        demand.members.push(need.receiver);
        match &need.wants {
            Some(runs) => demand.add_wants(runs),
            None => {
                let key = need.holds.iter().map(|held| held.name.digest).collect();
                let held = known.entry(key).or_insert_with(|| {
                    need.holds.iter().flat_map(|held| held.chunks()).map(|c| c.id).collect()
                });
                demand.add_all_but(held);
            }
        }
    }
    demands.into_values().collect()
}

/// What a receiver lacks of a release, whatever it has asked for.
fn of_release(need: &Need) -> Demand {
    let held = need.holds.iter().flat_map(|held| held.chunks()).map(|chunk| chunk.id).collect();
    let mut demand = Demand::none(&need.release);
    demand.add_all_but(&held);
    demand
}

impl Demand {
    fn none(release: &Arc<Contents>) -> Self {
        Self {
            release: Arc::clone(release),
            members: Vec::new(),
            root: false,
            index: vec![false; release.index.len()],
            content: vec![false; release.content.len()],
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

    /// Needed content: ids and ordinals.
    fn needed_content(&self) -> impl Iterator<Item = (Digest, u32)> + '_ {
        let needed = self.content.iter().zip(&self.release.content).zip(0_u32..);
        needed.filter(|((wanted, _), _)| **wanted).map(|((_, chunk), at)| (chunk.id, at))
    }
}

/// Which demands need a chunk, as a bit set of at most 64.
type Sharers = u64;

fn plan_group(
    demands: Vec<Demand>,
    chunks: &Arc<dyn ChunkStore>,
    way: Way,
) -> Result<Vec<Planned>, StoreError> {
    let mut planned = Vec::new();
    for demands in demands.chunks(Sharers::BITS as usize) {
        let mut sharers: HashMap<Digest, Sharers> = HashMap::new();
        for (at, demand) in demands.iter().enumerate() {
            demand.needed_content().for_each(|(id, _)| *sharers.entry(id).or_default() |= 1 << at);
        }
        let shared: BTreeMap<Sharers, ()> =
            sharers.values().filter(|set| set.count_ones() > 1).map(|&set| (set, ())).collect();
        for (at, demand) in demands.iter().enumerate() {
            let own = |id: &Digest| sharers.get(id) == Some(&(1 << at));
            planned.push(own_session(demand, own, chunks, way)?);
        }
        for set in shared.into_keys() {
            let with: Vec<&Demand> = demands
                .iter()
                .enumerate()
                .filter(|(at, _)| set & (1 << at) != 0)
                .map(|(_, d)| d)
                .collect();
            for some in with.chunks(MAX_SLOTS) {
                planned.push(shared_session(
                    some,
                    |id| sharers.get(id) == Some(&set),
                    chunks,
                    way,
                )?);
            }
        }
    }
    planned.retain(|session| !session.plan.is_empty());
    Ok(planned)
}

/// Root, index, and content that no other release needs.
///
/// PROTOCOL M2: its members are those to whom that release is owed, no others.
fn own_session(
    demand: &Demand,
    own: impl Fn(&Digest) -> bool,
    chunks: &Arc<dyn ChunkStore>,
    way: Way,
) -> Result<Planned, StoreError> {
    let mut plan = SessionPlan::new(Arc::clone(chunks), way.shape, 1);
    if demand.root {
        plan.push_root(&demand.release.document);
    }
    for ((wanted, chunk), at) in demand.index.iter().zip(&demand.release.index).zip(0..) {
        // A place of the index is a place to be filled, also where its chunk repeats.
        if *wanted {
            let planned = PlannedChunk { id: chunk.id, ordinals: [at; MAX_SLOTS] };
            plan.push_chunk(Object::Index, &planned)?;
        }
    }
    for (id, at) in demand.needed_content().filter(|(id, _)| own(id)) {
        plan.push_chunk(Object::Content, &PlannedChunk { id, ordinals: [at; MAX_SLOTS] })?;
    }
    let members = demand.members.iter().map(|&member| (member, 0)).collect();
    Ok(Planned {
        slots: vec![Arc::clone(&demand.release)],
        members,
        plan: plan.finish(),
        multicast: way.multicast,
        pace: way.pace,
        shape: way.shape,
    })
}

/// Content that all of `demands` need.
///
/// PROTOCOL M2: every chunk of it belongs to the release of every member's slot.
fn shared_session(
    demands: &[&Demand],
    shared: impl Fn(&Digest) -> bool,
    chunks: &Arc<dyn ChunkStore>,
    way: Way,
) -> Result<Planned, StoreError> {
    let ordinals: Vec<HashMap<Digest, u32>> =
        demands.iter().map(|demand| demand.needed_content().collect()).collect();
    let mut plan = SessionPlan::new(Arc::clone(chunks), way.shape, demands.len());
    for (id, _) in demands[0].needed_content().filter(|(id, _)| shared(id)) {
        let mut places = [0; MAX_SLOTS];
        for (place, known) in places.iter_mut().zip(&ordinals) {
            *place = known.get(&id).copied().unwrap_or(0);
        }
        plan.push_chunk(Object::Content, &PlannedChunk { id, ordinals: places })?;
    }
    let members = demands
        .iter()
        .zip(0..)
        .flat_map(|(demand, slot)| demand.members.iter().map(move |&member| (member, slot)));
    Ok(Planned {
        slots: demands.iter().map(|demand| Arc::clone(&demand.release)).collect(),
        members: members.collect(),
        plan: plan.finish(),
        multicast: way.multicast,
        pace: way.pace,
        shape: way.shape,
    })
}

/// The name of a planned session's release in a slot.
#[must_use]
pub(super) fn slot_names(planned: &Planned) -> Vec<ReleaseName> {
    planned.slots.iter().map(|contents| contents.name).collect()
}

#[cfg(test)]
mod tests {
    use fleetcast_core::ids::{BlockIndex, GroupId, ReleaseOrder};
    use fleetcast_core::session::source::BlockSource as _;
    use fleetcast_core::tree::record::{NONE, Records, encode_header};
    use fleetcast_core::tree::reference::ChunkRef;

    use super::*;
    use crate::packs::MemoryChunks;

    /// A release of a group with these chunks as content.
    fn release(group: u8, content: &[&[u8]], store: &MemoryChunks) -> Arc<Contents> {
        for chunk in content {
            let mut record = encode_header(NONE, chunk.len(), chunk.len()).unwrap().to_vec();
            record.extend_from_slice(chunk);
            store.put(Digest::of(chunk), &record).unwrap();
        }
        let order = ReleaseOrder { reset_epoch: 0, sequence: 1 };
        let digest = Digest([group; 32]);
        Arc::new(Contents {
            name: ReleaseName { group: GroupId([group; 16]), order, digest },
            document: vec![group; 100],
            index: Vec::new(),
            content: content.iter().map(|chunk| ChunkRef::of(chunk).unwrap()).collect(),
            constrained: None,
        })
    }

    fn need(receiver: u8, release: &Arc<Contents>, pace: Option<u64>) -> Need {
        Need {
            receiver: ReceiverId([receiver; 16]),
            release: Arc::clone(release),
            wants: None,
            holds: Vec::new(),
            hears: if receiver == 9 { Hears::Nothing } else { Hears::Full },
            pace,
            constrained: false,
            bounds: None,
        }
    }

    /// The chunks, or root documents, that a session sends.
    fn sent(planned: &mut Planned) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        for block in (0..planned.plan.blocks()).map(BlockIndex) {
            let mut bytes = vec![0; planned.plan.layout(block).unwrap().bytes];
            planned.plan.read(block, &mut bytes).unwrap();
            chunks.extend(Records::new(&bytes).map(|record| record.unwrap().encoded.to_vec()));
        }
        chunks
    }

    #[test]
    fn nobody_is_invited_to_a_chunk_that_is_in_no_release_of_its_group() {
        let store = MemoryChunks::default();
        let a = release(1, &[b"shared", b"only a"], &store);
        let b = release(2, &[b"only b", b"shared"], &store);
        let chunks: Arc<dyn ChunkStore> = Arc::new(store);
        let needs = vec![(1, &a), (2, &a), (3, &b), (9, &b)];
        let needs = needs.into_iter().map(|(receiver, of)| need(receiver, of, None)).collect();
        let mut heard: BTreeMap<ReceiverId, Vec<Vec<u8>>> = BTreeMap::new();
        let mut crossed = 0;
        for mut planned in plan_sessions(needs, &chunks).unwrap() {
            let sent = sent(&mut planned);
            crossed += sent.iter().filter(|chunk| **chunk == b"shared").count();
            for (member, _) in &planned.members {
                heard.entry(*member).or_default().extend(sent.iter().cloned());
            }
        }
        // PROTOCOL M2: each hears its own root and chunks, all of them, and no others.
        for (receiver, group, own) in
            [(1, 1, b"only a"), (2, 1, b"only a"), (3, 2, b"only b"), (9, 2, b"only b")]
        {
            let mut heard = heard.remove(&ReceiverId([receiver; 16])).unwrap();
            heard.sort();
            let mut expected = vec![vec![group; 100], own.to_vec(), b"shared".to_vec()];
            expected.sort();
            assert_eq!(heard, expected, "receiver {receiver}");
        }
        // Once by multicast for three of them, once for the one that hears none.
        assert_eq!(crossed, 2);
    }

    #[test]
    fn boards_get_the_longest_segments_that_all_of_them_have_room_for() {
        let store = MemoryChunks::default();
        let release = release(1, &[b"a chunk"], &store);
        let chunks: Arc<dyn ChunkStore> = Arc::new(store);
        let board =
            |receiver, bounds| Need { constrained: true, bounds, ..need(receiver, &release, None) };
        let shape = |needs: Vec<Need>| plan_sessions(needs, &chunks).unwrap()[0].shape;
        let told = Bounds { symbol: 510, sources: 10, interleave: 1, segment: 16, behind: 128 };
        let small = Bounds { sources: 9, segment: 8, behind: 40, ..told };
        let of = |shape: Shape| (shape.sources, shape.segment, shape.flow.interleave);
        let behind = |needs| shape(needs).flow.behind;
        // PROTOCOL M6
        assert_eq!(of(shape(vec![board(1, Some(told))])), (10, 16, 1));
        let both = vec![board(1, Some(told)), board(2, Some(small))];
        assert_eq!((of(shape(both.clone())), behind(both)), ((9, 8, 1), 40));
        // The first firmware tells nothing, and takes two blocks at a time.
        let old = vec![board(1, Some(told)), board(2, None)];
        assert_eq!(of(shape(old)).1, 2);
        assert!(shape(vec![board(1, None)]).flow.burst < 2_048, "a small controller holds it");
    }

    #[test]
    fn who_is_slow_gets_what_is_little_together_with_the_others() {
        let store = MemoryChunks::default();
        let release = release(1, &[b"ten bytes.", b"ten again."], &store);
        let chunks: Arc<dyn ChunkStore> = Arc::new(store);
        let sessions = |pace: u64, wants: Option<Vec<WantRun>>| {
            let slow = Need { wants, ..need(3, &release, Some(pace)) };
            let needs = vec![need(1, &release, None), need(2, &release, None), slow];
            plan_sessions(needs, &chunks)
                .unwrap()
                .iter()
                .map(|p| p.members.len())
                .collect::<Vec<_>>()
        };
        // 20 bytes at 10 a second take two seconds.
        assert_eq!(sessions(10, None), vec![3]);
        assert_eq!(sessions(9, None), vec![2, 1]);
        // A rest is no longer what the others get.
        let rest = WantRun { object: Object::Content, first: 0, count: 1 };
        assert_eq!(sessions(10, Some(vec![rest])), vec![2, 1]);
    }
}
