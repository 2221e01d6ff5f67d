//! A session that carries a release to boards: blocks cut from its records, and the
//! sender that sends them.

use std::net::SocketAddr;

use fleetcast_core::constrained::SOURCES;
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::erasure::Portable;
use fleetcast_core::ids::{BlockIndex, Epoch, FleetId, Ordinal, SegmentIndex, SessionId};
use fleetcast_core::limits::CONSTRAINED_SYMBOL;
use fleetcast_core::session::layout::BlockLayout;
use fleetcast_core::session::rate::RateLimits;
use fleetcast_core::session::sender::{BlockSlot, SenderConfig, SenderSession};
use fleetcast_core::session::source::{BlockSource, SegmentSpan, SourceFailed};
use fleetcast_core::time::{Duration, Instant};
use fleetcast_core::tree::record::encode_header;
use fleetcast_core::wire::Malformed;
use fleetcast_core::wire::control::{Invitation, Object, ReleaseName, WantRun};
use fleetcast_core::wire::nack::Nack;
use fleetcast_core::wire::segment::{Run, SegmentWriter};

use crate::board::BoardRelease;

/// Bytes of a block.
pub const BLOCK: usize = SOURCES * CONSTRAINED_SYMBOL;
/// Blocks of a segment: as many as a board takes at a time.
const PER_SEGMENT: u32 = fleetcast_core::constrained::SLOTS as u32;
/// Salt of digests, which boards never get.
pub const SALT: [u8; 8] = *b"saltsalt";

/// The blocks of one session, cut by the rule that each holds whole records.
#[derive(Clone, Debug)]
pub struct Plan {
    blocks: Vec<(Object, Vec<Run>, Vec<u8>)>,
}

impl Plan {
    /// A session that carries what `runs` name.
    ///
    /// # Panics
    /// When a record is longer than a block.
    #[must_use]
    pub fn new(release: &BoardRelease, runs: &[WantRun]) -> Self {
        let mut blocks: Vec<(Object, Vec<Run>, Vec<u8>)> = Vec::new();
        for run in runs {
            for ordinal in run.first..run.first + run.count {
                let record = record(release, run.object, ordinal);
                assert!(record.len() <= BLOCK, "a record fits a block");
                let one = Run { first: Ordinal(ordinal), count: 1 };
                match blocks.last_mut() {
                    Some((object, runs, bytes))
                        if *object == run.object && bytes.len() + record.len() <= BLOCK =>
                    {
                        runs.push(one);
                        bytes.extend(record);
                    }
                    _ => blocks.push((run.object, vec![one], record)),
                }
            }
        }
        Self { blocks }
    }

    /// Bytes of all blocks.
    #[must_use]
    pub fn payload(&self) -> u64 {
        self.blocks.iter().map(|(_, _, bytes)| bytes.len() as u64).sum()
    }
}

/// Everything of a release.
#[must_use]
pub fn all(release: &BoardRelease) -> Vec<WantRun> {
    let run = |object, count: usize| WantRun { object, first: 0, count: count as u32 };
    let (index, content) = (release.index.len(), release.content.len());
    vec![run(Object::Root, 1), run(Object::Index, index), run(Object::Content, content)]
}

fn record(release: &BoardRelease, object: Object, ordinal: u32) -> Vec<u8> {
    match object {
        Object::Root => {
            let document = &release.document;
            let header = encode_header(0, document.len(), document.len()).expect("short enough");
            [&header[..], document].concat()
        }
        Object::Index => release.index[ordinal as usize].clone(),
        Object::Content => release.content[ordinal as usize].clone(),
    }
}

impl BlockSource for Plan {
    fn segments(&self) -> u32 {
        self.blocks().div_ceil(PER_SEGMENT)
    }

    fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn segment(&self, segment: SegmentIndex) -> Option<SegmentSpan> {
        let first = segment.0 * PER_SEGMENT;
        let left = self.blocks().checked_sub(first).filter(|&left| left > 0)?;
        Some(SegmentSpan { first: BlockIndex(first), count: left.min(PER_SEGMENT) as u8 })
    }

    fn segment_of(&self, block: BlockIndex) -> Option<SegmentIndex> {
        (block.0 < self.blocks()).then_some(SegmentIndex(block.0 / PER_SEGMENT))
    }

    fn layout(&self, block: BlockIndex) -> Option<BlockLayout> {
        let (object, _, bytes) = self.blocks.get(block.0 as usize)?;
        BlockLayout::checked(*object, bytes.len(), CONSTRAINED_SYMBOL, SOURCES)
    }

    fn write_runs(&self, block: BlockIndex, out: &mut SegmentWriter<'_>) -> Result<(), Malformed> {
        out.runs(&self.blocks[block.0 as usize].1)
    }

    fn read(&mut self, block: BlockIndex, out: &mut [u8]) -> Result<(), SourceFailed> {
        out.copy_from_slice(&self.blocks[block.0 as usize].2);
        Ok(())
    }
}

/// A sender over memory of its own.
pub type Sender = SenderSession<ChaCha, Vec<BlockSlot>, Vec<u8>>;

/// A sender of a plan at 300 KB/s: session and key by `number`, epoch 1, one release slot.
#[must_use]
pub fn sender(
    plan: &Plan,
    number: u32,
    fleet: FleetId,
    signing: SigningKey,
    to: SocketAddr,
    now: Instant,
) -> Sender {
    let config = SenderConfig {
        session: SessionId(number),
        epoch: Epoch(1),
        key: [number as u8; 32],
        fleet,
        signing,
        to,
        symbol: CONSTRAINED_SYMBOL,
        salt: SALT,
        sources: SOURCES,
        slots: 1,
        members: 1,
        payload: plan.payload(),
        limits: RateLimits { cap: 300_000, floor: 100_000, start: 300_000 },
        report_interval: Duration::from_millis(200),
    };
    let (slots, memory) = (vec![BlockSlot::default(); 8], vec![0; 8 * BLOCK]);
    let parity = vec![0; plan.blocks.len()];
    Sender::new(config, slots, memory, parity, now)
}

/// A release on its way to one board, by unicast.
pub struct Delivery {
    release: ReleaseName,
    root_len: u16,
    number: u32,
    plan: Plan,
    sender: Sender,
}

impl Delivery {
    /// A session with that number that carries what `runs` name, of a fleet whose
    /// controller signs with this seed.
    ///
    /// # Panics
    /// Never: a root is short.
    #[must_use]
    pub fn of(
        release: &BoardRelease,
        runs: &[WantRun],
        number: u32,
        (fleet, signing_seed): (FleetId, [u8; 32]),
        now: Instant,
    ) -> Self {
        let plan = Plan::new(release, runs);
        let signing = SigningKey::from_seed(&signing_seed);
        let to = crate::node::receiver_address(0);
        let sender = sender(&plan, number, fleet, signing, to, now);
        let root_len = u16::try_from(release.document.len()).expect("a root is short");
        Self { release: release.name, root_len, number, plan, sender }
    }

    /// What the board is invited by.
    #[must_use]
    pub fn invitation(&self) -> Invitation {
        Invitation {
            session: SessionId(self.number),
            epoch: Epoch(1),
            key: [self.number as u8; 32],
            address: [0, 0, 0, 0].into(),
            port: 0,
            slot: 0,
            release: self.release,
            root_len: self.root_len,
            symbol: CONSTRAINED_SYMBOL as u16,
            sources: SOURCES as u8,
            first_block: BlockIndex(0),
            receivers: 1,
            backoff_us: 4_000,
            report_ms: 200,
            salt: SALT,
            payload: self.plan.payload(),
            full: false,
        }
    }

    /// What is to be sent now.
    pub fn datagrams(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.sender.handle_timeout(now);
        let (mut out, mut datagrams) = (vec![0; 65_536], Vec::new());
        while let Some(sent) = self.sender.poll_transmit(now, &mut out, &mut self.plan, &Portable) {
            let size = sent.segment_size.unwrap_or(sent.len);
            datagrams.extend(out[..sent.len].chunks(size).map(<[u8]>::to_vec));
        }
        datagrams
    }

    /// The board is there.
    pub fn joined(&mut self, now: Instant) {
        self.sender.joined(now, 0);
    }

    /// The board lacks something.
    pub fn handle_nack(&mut self, now: Instant, nack: &Nack<'_>) {
        self.sender.handle_nack(now, nack, &mut self.plan);
    }

    /// The board lacks a header.
    pub fn handle_header_request(&mut self, now: Instant, block: BlockIndex) {
        self.sender.handle_header_request(now, block, &mut self.plan);
    }
}
