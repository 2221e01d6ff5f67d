//! A release's root of which a part has come.

use fleetcast_core::limits::{MAX_ROOT, MAX_SIGNATURES};
use fleetcast_core::trust::document::signed_len;
use fleetcast_core::wire::control::ReleaseName;

/// Longest signed root.
const MOST: usize = signed_len(MAX_ROOT, MAX_SIGNATURES);

/// A root of which a part has come.
pub(super) struct Shown {
    pub(super) release: ReleaseName,
    pub(super) bytes: Vec<u8>,
}

/// A piece of a root, as it came.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    /// Of which release.
    pub(super) release: ReleaseName,
    /// Where it belongs.
    pub(super) offset: usize,
    /// Length of the whole.
    pub(super) total: usize,
    /// The bytes.
    pub(super) bytes: &'a [u8],
}

impl Shown {
    /// What has come with one more piece; nothing where it does not follow.
    pub(super) fn add(shown: Option<Self>, piece: Piece<'_>) -> Option<Self> {
        let begun = shown.filter(|shown| piece.offset > 0 && shown.release == piece.release);
        let mut shown = begun.unwrap_or(Self { release: piece.release, bytes: Vec::new() });
        let end = piece.offset.checked_add(piece.bytes.len())?;
        let fits = piece.total <= MOST && end <= piece.total && !piece.bytes.is_empty();
        if !fits || piece.offset != shown.bytes.len() {
            return None;
        }
        shown.bytes.extend_from_slice(piece.bytes);
        Some(shown)
    }
}
