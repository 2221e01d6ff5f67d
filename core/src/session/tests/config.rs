//! What the sessions of these tests are made from.

use std::vec;
use std::vec::Vec;

use super::plan::{Plan, SOURCES, SYMBOL};
use crate::crypto::aead::ChaCha;
use crate::crypto::sign::SigningKey;
use crate::ids::{BlockIndex, Epoch, FleetId, SessionId};
use crate::session::rate::RateLimits;
use crate::session::receiver::ReceiverConfig;
use crate::session::sender::{BlockSlot, Flow, SenderConfig, SenderSession};
use crate::session::source::BlockSource as _;
use crate::time::{Duration, Instant};

pub(super) const SESSION: SessionId = SessionId(77);
pub(super) const FLEET: FleetId = FleetId([4; 16]);
pub(super) const SALT: [u8; 8] = *b"saltsalt";
/// Most bytes per second that the sender may send.
pub(super) const CAP: u64 = 12_000_000;
/// Unit of the receivers' back-off.
pub(super) const BACKOFF: Duration = Duration::from_millis(4);
pub(super) type Sender = SenderSession<ChaCha, Vec<BlockSlot>, Vec<u8>>;

pub(super) fn sender(plan: &Plan, receivers: usize, to: &str) -> Sender {
    let config = SenderConfig {
        session: SESSION,
        epoch: Epoch(1),
        key: key_of(Epoch(1)),
        fleet: FLEET,
        signing: SigningKey::from_seed(&[9; 32]),
        to: to.parse().unwrap(),
        symbol: SYMBOL,
        salt: SALT,
        sources: SOURCES,
        slots: 1,
        members: receivers as u32,
        payload: plan.total as u64,
        limits: RateLimits { cap: CAP, floor: 100_000, start: CAP / 2 },
        flow: Flow::HOSTS,
        report_interval: Duration::from_millis(200),
    };
    let slots = vec![BlockSlot::default(); 24];
    let memory = vec![0; 24 * SOURCES * SYMBOL];
    let parity = vec![0; plan.blocks() as usize];
    Sender::new(config, slots, memory, parity, Instant::ZERO)
}

pub(super) fn receiver_config() -> ReceiverConfig {
    ReceiverConfig {
        session: SESSION,
        epoch: Epoch(1),
        key: key_of(Epoch(1)),
        fleet: FLEET,
        controller: SigningKey::from_seed(&[9; 32]).verifying_key(),
        slot: 0,
        symbol: SYMBOL,
        sources: SOURCES,
        interleave: Flow::HOSTS.interleave,
        first_block: BlockIndex(0),
        unicast: false,
        receivers: 1,
        backoff: BACKOFF,
        report: Duration::from_millis(200),
        salt: SALT,
        seed: 0,
    }
}

pub(super) fn key_of(epoch: Epoch) -> [u8; 32] {
    [epoch.0 as u8; 32]
}
