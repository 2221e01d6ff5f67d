//! What a receiver shows of a release that it holds and we do not know: the root that
//! admins have signed (PROTOCOL F3). Whoever lies has none to show.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::ids::{PeerSlot, ReceiverId};
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::time::Instant;
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::release::ReleaseRoot;

use super::ServerNode;
use super::shown::{Piece, Shown};

impl<A: Aead> ServerNode<A> {
    /// Takes a piece; when the root is whole and signed, the catalog is weighed against it.
    pub(super) fn on_evidence(
        &mut self,
        now: Instant,
        (slot, id): (PeerSlot, ReceiverId),
        piece: Piece<'_>,
    ) {
        if !self.is_news(id, &piece.release) {
            return;
        }
        let Some(link) = self.links.get_mut(&slot) else { return };
        let shown = Shown::add(link.shown.take(), piece);
        match shown {
            Some(shown) if shown.bytes.len() < piece.total => link.shown = Some(shown),
            // A signature costs time: who shows much is not looked at each time.
            Some(shown)
                if self.patience.changes.take(now, &id) && is_signed(&self.authority, &shown) =>
            {
                self.doubt(id, &shown.release);
            }
            _ => {}
        }
    }
}

/// Whether enough admins of this fleet have signed the release that it names.
fn is_signed(authority: &TrustedAuthority, shown: &Shown) -> bool {
    let Ok(signed) = SignedDocument::parse(&shown.bytes, MAX_ROOT) else { return false };
    let Ok(root) = ReleaseRoot::decode(signed.body()) else { return false };
    root.fleet == authority.document().fleet
        && root.name(signed.digest(Context::Release)) == shown.release
        && authority.verify(Context::Release, &signed).is_ok()
}
