//! What a receiver needs to find its server when that has another key: a way to ask for
//! authority documents outside of every channel.
//!
//! A server that has lost its controller key has another one, which a newer authority
//! document names. Whoever gets no answer asks for that document, checks it like any
//! other, and shakes hands with the controller that it names.

use fleetcast_core::chain::ChainAsker;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::StaticKey;
use fleetcast_core::limits::MAX_SIGNED_AUTHORITY;

use super::state::{Enrolment, State};

/// Largest request that is sent, in bytes: it gets through wherever the channel does.
const REQUEST: usize = 1_200;

/// Asks for newer authority documents while the server does not answer.
pub(super) struct Succession {
    pub(super) asker: ChainAsker,
    /// Where a document is put together.
    pub(super) room: Vec<u8>,
    /// At how many unanswered initiations it was asked last.
    pub(super) asked_at: u32,
}

impl Succession {
    /// Asks nobody yet; `seed` is that of the receiver.
    pub(super) fn new(server: std::net::SocketAddr, seed: &[u8; 32]) -> Self {
        // Another secret than any that the receiver draws from the same seed.
        let own = Digest::of_parts(&[b"fleetcast chain seed", seed]).0;
        let asker = ChainAsker::new(server, own, REQUEST);
        Self { asker, room: vec![0; MAX_SIGNED_AUTHORITY], asked_at: 0 }
    }
}

/// The controller that a receiver begins with.
// PROTOCOL A3: the one that the code named, unless the newest document names others only.
pub(super) fn first_controller(state: &State, enrolment: &Enrolment) -> StaticKey {
    let named =
        state.trusted().filter(|trusted| trusted.controller(&enrolment.server_key).is_none());
    named
        .and_then(|trusted| trusted.controller_after(&enrolment.server_key))
        .unwrap_or(enrolment.server_key)
}
