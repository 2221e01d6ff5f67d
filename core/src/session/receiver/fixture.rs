//! What tests of the receiving machine share.

use crate::constrained::{
    BLOCKS, ConstrainedSession, HEADERS, INTERLEAVE, REPORT, SEGMENTS, SLOTS, SOURCES,
};
use crate::crypto::aead::ChaCha;
use crate::crypto::packet::Sealer;
use crate::crypto::sign::SigningKey;
use crate::ids::{BlockIndex, Epoch, FleetId, Ordinal, SessionId};
use crate::limits::CONSTRAINED_SYMBOL;
use crate::session::intake::{Intake, Taken};
use crate::session::receiver::{Buffers, ReceiveSlot, ReceiverConfig, SegmentState};
use crate::time::{Duration, Instant};
use crate::wire::control::Object;

pub(super) const SESSION: SessionId = SessionId(5);
pub(super) const FLEET: FleetId = FleetId([4; 16]);

/// Lacks everything and never has enough.
pub(super) struct Bottomless;

impl Intake for Bottomless {
    fn wants(&mut self, _object: Object, _first: Ordinal, _count: u16) -> bool {
        true
    }
    fn record(&mut self, _: Object, _: Ordinal, _: u8, _: usize, _: &[u8]) -> Taken {
        Taken::Stored
    }
    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }
    fn is_complete(&self) -> bool {
        false
    }
}

/// The first of three receivers of a multicast session.
pub(super) fn config() -> ReceiverConfig {
    ReceiverConfig {
        session: SESSION,
        epoch: Epoch(1),
        key: [1; 32],
        fleet: FLEET,
        controller: SigningKey::from_seed(&[9; 32]).verifying_key(),
        slot: 0,
        symbol: CONSTRAINED_SYMBOL,
        sources: SOURCES,
        interleave: INTERLEAVE,
        first_block: BlockIndex(0),
        unicast: false,
        receivers: 3,
        backoff: Duration::from_millis(4),
        report: Duration::from_millis(200),
        salt: [0; 8],
        seed: 0,
    }
}

/// Runs a constrained receiver's session.
pub(super) fn with_session(run: impl FnOnce(&mut ConstrainedSession<'_>, &mut Sealer<ChaCha>)) {
    let mut slots = [ReceiveSlot::default(); SLOTS];
    let (mut blocks, mut headers) = ([0; BLOCKS], [0; HEADERS]);
    let mut segments = [SegmentState::default(), SegmentState::default()];
    let mut report = [0; REPORT];
    let lent = Buffers {
        slots: &mut slots[..],
        blocks: &mut blocks[..],
        segments: &mut segments[..],
        headers: &mut headers[..],
        digests: &mut [],
        report: &mut report[..],
    };
    assert_eq!(lent.segments.len(), SEGMENTS);
    let mut session = ConstrainedSession::new(config(), lent, Instant::ZERO);
    run(&mut session, &mut Sealer::new(SESSION, Epoch(1), &[1; 32]));
}
