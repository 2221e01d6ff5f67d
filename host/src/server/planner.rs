//! Which sessions to run now: deliveries in, session plans out.
//!
//! A receiver lacks the chunks of its release less those of the releases that
//! it holds, or exactly what it has asked for. Chunks that several releases
//! need, because the same files went to several groups, cross once, in a
//! session that all of them share; what only one needs, its root and index
//! first, crosses in a session of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::ReceiverId;
use fleetcast_core::limits::{MAX_SLOTS, MAX_SYMBOL, SMALL_SYMBOL};
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::wire::bounds::Bounds;
use fleetcast_core::wire::control::{Object, ReleaseName};

use super::bounding::{Company, bounds_of, companies};
use super::contents::Contents;
use super::demand::{Demand, Need, demands};
use super::hearing::Hears;
use super::lanes::lanes;
use super::patches::{Ancestry, Found, Patches};
use super::plan::{PlannedChunk, SessionPlan, Shape, UNTOLD};
use crate::packs::{ChunkStore, StoreError};

/// What boards are offered in the beginning, in bytes per second.
const BOARD_PACE: u64 = 400_000;

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
    /// Releases that its patches copy from: nobody takes part who does not hold them.
    pub(super) bases: Vec<Digest>,
    /// Some of its patches are not made yet: it is to be planned again.
    pub(super) waits: bool,
}

/// What sessions are made of.
struct Stock<'s> {
    chunks: &'s Arc<dyn ChunkStore>,
    patches: &'s mut Patches,
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

/// Plans sessions for `needs`, of which each receiver has at most one.
///
/// Receivers that do not hear multicast, and the few that want a rest, are
/// served one by one. Several that heard no datagrams of full size are tried
/// with small ones by multicast first. Who cannot follow the others goes with those
/// of about the same pace, or alone.
///
/// Sessions whose patches are not made yet say so.
///
/// # Errors
/// [`StoreError`] when the store lacks a chunk of a release.
pub(super) fn plan_sessions(
    needs: Vec<Need>,
    chunks: &Arc<dyn ChunkStore>,
    patches: &mut Patches,
) -> Result<Vec<Planned>, StoreError> {
    let stock = &mut Stock { chunks, patches };
    let (boards, needs): (Vec<Need>, Vec<Need>) =
        needs.into_iter().partition(|need| need.constrained);
    let mut planned = plan_boards(boards, stock)?;
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
        planned.extend(plan_group(demands(vec![need]), stock, way)?);
    }
    let (full, small): (Vec<Need>, Vec<Need>) =
        together.into_iter().partition(|need| need.hears == Hears::Full);
    for (needs, symbol) in [(full, MAX_SYMBOL), (small, SMALL_SYMBOL)] {
        let way = Way { multicast: true, pace: None, shape: Shape::standard(symbol) };
        planned.extend(plan_group(demands(needs), stock, way)?);
    }
    let slow = slow.into_iter().map(|need| (need.pace.unwrap_or(0), need)).collect();
    for (pace, needs, multicast) in lanes(slow) {
        let (one_by_one, lane) = if multicast { (vec![], needs) } else { (needs, vec![]) };
        let alone = one_by_one.into_iter().map(|need| demands(vec![need]));
        for demands in alone.chain([demands(lane)]) {
            let way = Way { multicast, pace: Some(pace), shape: Shape::standard(MAX_SYMBOL) };
            planned.extend(plan_group(demands, stock, way)?);
        }
    }
    Ok(planned)
}

/// Whether a need is to be served apart from the others for its slowness. What it takes
/// within [`SHORT`] holds nobody up, and costs less with the others than again.
fn has_lane_of_its_own(need: &Need) -> bool {
    let Some(pace) = need.pace else { return false };
    let takes = pace.saturating_mul(SHORT);
    need.wants.is_some() || need.bytes() > takes
}

/// Seconds that a slow receiver may take for what it gets together with the others.
const SHORT: u64 = 2;

/// Plans sessions for boards: a lane of their own, whatever their number, so that
/// neither they nor the hosts slow the other; rests go one by one, and so do the few that
/// have room for less than the others.
fn plan_boards(needs: Vec<Need>, stock: &mut Stock<'_>) -> Result<Vec<Planned>, StoreError> {
    let (alone, together): (Vec<Need>, Vec<Need>) =
        needs.into_iter().partition(|need| need.hears == Hears::Nothing || need.wants.is_some());
    let pace = |need: &Need| need.pace.unwrap_or(BOARD_PACE);
    // A few whom others would have to wait for are no reason for a multicast session.
    let (shared, rare): (Vec<Company>, Vec<Company>) = companies(together)
        .partition(|company| company.ordinary || company.needs.len() >= MULTICAST_RESTS);
    let alone = alone.into_iter().chain(rare.into_iter().flat_map(|company| company.needs));
    let one_by_one = alone.map(|need| (false, vec![need]));
    let mut planned = Vec::new();
    for (multicast, needs) in
        one_by_one.chain(shared.into_iter().map(|company| (true, company.needs)))
    {
        let pace = needs.iter().map(pace).min();
        let bounds = needs.iter().map(bounds_of).reduce(Bounds::and);
        let shape = Shape::constrained(bounds.unwrap_or(UNTOLD));
        let way = Way { multicast, pace, shape };
        planned.extend(plan_group(demands(needs), stock, way)?);
    }
    Ok(planned)
}

/// From so many receivers on, rests are sent by multicast again.
const MULTICAST_RESTS: usize = 3;

/// Which demands need a chunk, as a bit set of at most 64.
type Sharers = u64;

fn plan_group(
    demands: Vec<Demand>,
    stock: &mut Stock<'_>,
    way: Way,
) -> Result<Vec<Planned>, StoreError> {
    let mut planned = Vec::new();
    for demands in demands.chunks(Sharers::BITS as usize) {
        let mut sharers: HashMap<Digest, Sharers> = HashMap::new();
        for (at, demand) in demands.iter().enumerate() {
            demand.needed_content().for_each(|(c, _)| *sharers.entry(c.id).or_default() |= 1 << at);
        }
        let shared: BTreeMap<Sharers, ()> =
            sharers.values().filter(|set| set.count_ones() > 1).map(|&set| (set, ())).collect();
        for (at, demand) in demands.iter().enumerate() {
            let own = |id: &Digest| sharers.get(id) == Some(&(1 << at));
            planned.push(own_session(demand, own, stock, way)?);
        }
        for set in shared.into_keys() {
            let with: Vec<&Demand> = demands
                .iter()
                .enumerate()
                .filter(|(at, _)| set & (1 << at) != 0)
                .map(|(_, d)| d)
                .collect();
            for some in with.chunks(MAX_SLOTS) {
                let shared = |id: &Digest| sharers.get(id) == Some(&set);
                planned.push(shared_session(some, shared, stock, way)?);
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
    stock: &mut Stock<'_>,
    way: Way,
) -> Result<Planned, StoreError> {
    let mut making = Making::new(&[demand], stock, way);
    if demand.root {
        making.plan.push_root(&demand.release.document);
    }
    for ((wanted, chunk), at) in demand.index.iter().zip(&demand.release.index).zip(0..) {
        // A place of the index is a place to be filled, also where its chunk repeats.
        if *wanted {
            making.push(stock, Object::Index, chunk, [at; MAX_SLOTS])?;
        }
    }
    for (chunk, at) in demand.needed_content().filter(|(chunk, _)| own(&chunk.id)) {
        making.push(stock, Object::Content, &chunk, [at; MAX_SLOTS])?;
    }
    Ok(making.finish(&[demand], way))
}

/// Content that all of `demands` need.
///
/// PROTOCOL M2: every chunk of it belongs to the release of every member's slot.
fn shared_session(
    demands: &[&Demand],
    shared: impl Fn(&Digest) -> bool,
    stock: &mut Stock<'_>,
    way: Way,
) -> Result<Planned, StoreError> {
    let ordinals_of =
        |demand: &&Demand| demand.needed_content().map(|(chunk, at)| (chunk.id, at)).collect();
    let ordinals: Vec<HashMap<Digest, u32>> = demands.iter().map(ordinals_of).collect();
    let mut making = Making::new(demands, stock, way);
    for (chunk, _) in demands[0].needed_content().filter(|(chunk, _)| shared(&chunk.id)) {
        let mut places = [0; MAX_SLOTS];
        for (place, known) in places.iter_mut().zip(&ordinals) {
            *place = known.get(&chunk.id).copied().unwrap_or(0);
        }
        making.push(stock, Object::Content, &chunk, places)?;
    }
    Ok(making.finish(demands, way))
}

/// A session's plan that is being made.
struct Making {
    plan: SessionPlan,
    ancestry: Ancestry,
    waits: bool,
}

impl Making {
    fn new(demands: &[&Demand], stock: &mut Stock<'_>, way: Way) -> Self {
        let plan = SessionPlan::new(Arc::clone(stock.chunks), way.shape, demands.len());
        // PROTOCOL R4: only where all members take patches.
        let ancestry = if demands.iter().all(|demand| demand.patches) {
            let classes: Vec<_> = demands.iter().flat_map(|demand| &demand.classes).collect();
            stock.patches.ancestry(&demands[0].release, &classes)
        } else {
            Ancestry::default()
        };
        Self { plan, ancestry, waits: false }
    }

    fn push(
        &mut self,
        stock: &mut Stock<'_>,
        object: Object,
        chunk: &ChunkRef,
        ordinals: [u32; MAX_SLOTS],
    ) -> Result<(), StoreError> {
        let found = self.ancestry.patch(stock.patches, chunk);
        self.waits |= found == Found::Later;
        match found {
            Found::Made(record) => self.plan.push_patch(object, record, ordinals),
            Found::Later | Found::Nothing => {
                self.plan.push_chunk(object, &PlannedChunk { id: chunk.id, ordinals })?;
            }
        }
        Ok(())
    }

    fn finish(self, demands: &[&Demand], way: Way) -> Planned {
        let members = demands
            .iter()
            .zip(0..)
            .flat_map(|(demand, slot)| demand.members.iter().map(move |&member| (member, slot)));
        Planned {
            slots: demands.iter().map(|demand| Arc::clone(&demand.release)).collect(),
            members: members.collect(),
            plan: self.plan.finish(),
            multicast: way.multicast,
            pace: way.pace,
            shape: way.shape,
            bases: self.ancestry.used.into_iter().collect(),
            waits: self.waits,
        }
    }
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
    use fleetcast_core::wire::control::WantRun;

    use super::super::contents::Streams;
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
            streams: Streams::default(),
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
            patches: true,
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
        for mut planned in plan_sessions(needs, &chunks, &mut Patches::default()).unwrap() {
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
        let plan = |needs| plan_sessions(needs, &chunks, &mut Patches::default()).unwrap();
        let shape = |needs: Vec<Need>| plan(needs)[0].shape;
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

    // PROTOCOL M6
    #[test]
    fn what_a_board_tells_of_itself_holds_no_other_up() {
        let store = MemoryChunks::default();
        let release = release(1, &[&[7; 4_096]], &store);
        let chunks: Arc<dyn ChunkStore> = Arc::new(store);
        let told = Bounds { symbol: 510, sources: 10, interleave: 1, segment: 16, behind: 128 };
        let of = |receiver, bounds| Need {
            constrained: true,
            bounds: Some(bounds),
            ..need(receiver, &release, None)
        };
        // What there is a session within, but not within what suits both; and what is slow.
        let narrow = [
            Bounds { symbol: 100, sources: 42, ..told },
            Bounds { symbol: 1_434, sources: 3, ..told },
            Bounds { behind: 1, ..told },
            Bounds { segment: 1, ..told },
        ];
        for strange in narrow {
            let needs = vec![of(1, told), of(2, strange), of(3, told), of(4, told)];
            let planned = plan_sessions(needs, &chunks, &mut Patches::default()).unwrap();
            let members = |p: &Planned| p.members.iter().map(|(id, _)| id.0[0]).collect::<Vec<_>>();
            let found: Vec<_> = planned.iter().map(|p| (p.multicast, members(p))).collect();
            assert_eq!(found, [(false, vec![2]), (true, vec![1, 3, 4])], "{strange:?}");
            assert_eq!(planned[1].shape, Shape::constrained(told));
            for session in &planned {
                let mut blocks = (0..session.plan.blocks()).map(BlockIndex);
                let fits = |block| session.plan.layout(block).is_some();
                assert!(session.plan.blocks() > 0 && blocks.all(fits), "{strange:?}");
            }
        }
        // A firmware that has less room than others is told together, if there are some.
        let old = |receiver| of(receiver, Bounds { behind: 20, ..told });
        let needs = vec![of(1, told), old(2), old(3), old(4)];
        let planned = plan_sessions(needs, &chunks, &mut Patches::default()).unwrap();
        assert_eq!(planned.iter().filter(|p| p.multicast).count(), 2);
    }

    #[test]
    fn who_is_slow_gets_what_is_little_together_with_the_others() {
        let store = MemoryChunks::default();
        let release = release(1, &[b"ten bytes.", b"ten again."], &store);
        let chunks: Arc<dyn ChunkStore> = Arc::new(store);
        let sessions = |pace: u64, wants: Option<Vec<WantRun>>| {
            let slow = Need { wants, ..need(3, &release, Some(pace)) };
            let needs = vec![need(1, &release, None), need(2, &release, None), slow];
            plan_sessions(needs, &chunks, &mut Patches::default())
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
