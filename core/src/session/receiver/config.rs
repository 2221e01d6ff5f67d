//! What a receiving session is made from.

use crate::ids::{BlockIndex, Epoch, FleetId, SessionId, VerifyingKey};
use crate::limits::MAX_SEGMENT_BLOCKS;
use crate::time::Duration;
use crate::wire::control::Invitation;

/// Reports are not told more often, whatever an invitation says, in milliseconds.
const LEAST_REPORT_MS: u32 = 50;

/// What a receiving session is made from.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// Its number.
    pub session: SessionId,
    /// The epoch of the key.
    pub epoch: Epoch,
    /// The key.
    pub key: [u8; 32],
    /// The fleet, for signatures.
    pub fleet: FleetId,
    /// The controller's key, for signatures.
    pub controller: VerifyingKey,
    /// Which of the session's release slots is ours.
    pub slot: u8,
    /// Bytes of a full symbol.
    pub symbol: usize,
    /// Most source symbols of a block.
    pub sources: usize,
    /// Blocks of a segment whose symbols are interleaved (PROTOCOL S7), at least one.
    pub interleave: u8,
    /// Blocks before this one are not asked for.
    pub first_block: BlockIndex,
    /// Whether it comes by unicast: no probe is waited for.
    pub unicast: bool,
    /// Receivers invited.
    pub receivers: u32,
    /// Unit of the back-off.
    pub backoff: Duration,
    /// How often to report progress.
    pub report: Duration,
    /// Salt of the digests of strict mode.
    pub salt: [u8; 8],
    /// Spreads this receiver's reports in time; differs between receivers.
    pub seed: u64,
}

impl ReceiverConfig {
    /// That of an invitation whose bounds the caller has checked, for its memory; of a
    /// session for hosts, which interleaves whole segments.
    #[must_use]
    pub fn invited(
        invitation: &Invitation,
        fleet: FleetId,
        controller: VerifyingKey,
        seed: u64,
    ) -> Self {
        Self {
            session: invitation.session,
            epoch: invitation.epoch,
            key: invitation.key,
            fleet,
            controller,
            slot: invitation.slot,
            symbol: invitation.symbol.into(),
            sources: invitation.sources.into(),
            interleave: MAX_SEGMENT_BLOCKS as u8,
            first_block: invitation.first_block,
            unicast: invitation.port == 0,
            receivers: invitation.receivers,
            backoff: Duration::from_micros(invitation.backoff_us.into()),
            report: Duration::from_millis(invitation.report_ms.max(LEAST_REPORT_MS).into()),
            salt: invitation.salt,
            seed,
        }
    }
}
