//! What the server says is newest, signed, so that a receiver notices when it is kept
//! from something (PROTOCOL F1, F2).

use std::cmp::Reverse;

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, PeerSlot, ReceiverId, ReleaseOrder};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::statement::Freshness;
use fleetcast_core::wire::control::{Down, MAX_HELD, ReleaseName};

use super::ServerNode;
use super::registry::Registry;

impl<A: Aead> ServerNode<A> {
    /// Says what is newest in the groups of a receiver.
    pub(super) fn send_freshness(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        id: ReceiverId,
        nonce: [u8; 16],
    ) {
        let statement = Freshness {
            fleet: self.authority.document().fleet,
            nonce,
            authority: self.authority.document().version,
            newest: newest_of(&self.registry, id).into_iter().collect(),
        };
        let Ok(body) = statement.body() else { return };
        let signature = self.config.signing.sign(Context::Freshness, &[&body]);
        let message = Down::Freshness {
            nonce,
            authority: statement.authority,
            newest: statement.newest,
            signature: &signature,
        };
        self.tell(now, slot, &message);
    }
}

/// The newest of each group of a receiver, as far as there is room.
fn newest_of(registry: &Registry, id: ReceiverId) -> Vec<ReleaseName> {
    let groups = registry.memberships_of(id);
    let mut named: Vec<Vec<ReleaseName>> =
        groups.map(|membership| newest_in(registry, membership.group)).collect();
    // Two names first: what leaves a group out is full then, and known not to be whole.
    named.sort_by_key(|names| Reverse(names.len()));
    let mut newest = Vec::new();
    for names in named {
        if newest.len() + names.len() <= MAX_HELD {
            newest.extend(names);
        }
    }
    newest
}

/// The newest release of a group; where it was taken back, it and then the newest that was
/// not: who has it, or was told of it, sees that the server knows it (PROTOCOL F2).
fn newest_in(registry: &Registry, group: GroupId) -> Vec<ReleaseName> {
    let highest = registry.highest_release(group).map(|release| release.name);
    let current = registry.current_release(group).map(|release| release.name);
    let Some(highest) = highest else { return Vec::new() };
    match current {
        Some(current) if current == highest => vec![highest],
        Some(current) => vec![highest, current],
        None => vec![highest, nothing(group)],
    }
}

/// That there is nothing to be had: every release has a greater number.
const fn nothing(group: GroupId) -> ReleaseName {
    let order = ReleaseOrder { reset_epoch: 0, sequence: 0 };
    ReleaseName { group, order, digest: Digest([0; 32]) }
}
