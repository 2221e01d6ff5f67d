//! By ed25519-dalek: quick, with tables of multiples and a copy of the message.

use ed25519_dalek::{Signature, VerifyingKey};

use super::message::{MAX_SIGNED, Message};

/// Whether `signature` is that of `key` over `message`.
pub(in crate::crypto) fn verify_strict(
    key: &[u8; 32],
    message: Message<'_>,
    signature: &[u8; 64],
) -> bool {
    let mut room = [0; MAX_SIGNED];
    let Some(message) = gather(message, &mut room) else { return false };
    let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
    key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}

fn gather<'r>(message: Message<'_>, room: &'r mut [u8]) -> Option<&'r [u8]> {
    let mut used = 0;
    for piece in message.pieces() {
        room.get_mut(used..used + piece.len())?.copy_from_slice(piece);
        used += piece.len();
    }
    room.get(..used)
}
