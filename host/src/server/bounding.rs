//! Which boards share a session, by what they have room for (PROTOCOL M6).
//!
//! A session keeps to the least of what its members tell, and a member tells what it likes.
//! So boards share one session whose bounds hold nobody up, whichever of them come together;
//! all others go with those that have told the very same, or alone. Nobody but such a board
//! pays for what it tells.

use std::collections::BTreeMap;

use fleetcast_core::limits::{CONSTRAINED_SYMBOL, RECORD_HEADER, STORE_CHUNK};
use fleetcast_core::wire::bounds::{Bounds, LEN};

use super::demand::Need;
use super::plan::UNTOLD;

/// What holds nobody up: every firmware takes as much, and a session within it carries the
/// longest record of a board, at the pace that boards are offered: 400 kB/s are 40 datagrams
/// between two reports, which are 50 ms apart.
const FLOOR: Bounds =
    Bounds { symbol: CONSTRAINED_SYMBOL as u16, sources: 9, interleave: 1, segment: 2, behind: 40 };

const _: () = assert!(CONSTRAINED_SYMBOL * 9 >= STORE_CHUNK + RECORD_HEADER);

/// Boards that may share a session.
pub(super) struct Company {
    /// What they need.
    pub(super) needs: Vec<Need>,
    /// Each of them takes as much as every firmware does.
    pub(super) ordinary: bool,
}

/// What a board has room for, as far as is known.
pub(super) fn bounds_of(need: &Need) -> Bounds {
    need.bounds.unwrap_or(UNTOLD)
}

/// Boards by what they have room for; the ordinary ones are one company.
pub(super) fn companies(needs: Vec<Need>) -> impl Iterator<Item = Company> {
    let mut companies: BTreeMap<[u8; LEN], Company> = BTreeMap::new();
    for need in needs {
        let told = bounds_of(&need);
        let ordinary = FLOOR.and(told) == FLOOR;
        let key = if ordinary { FLOOR } else { told }.to_bytes();
        let company =
            companies.entry(key).or_insert_with(|| Company { needs: Vec::new(), ordinary });
        company.needs.push(need);
    }
    companies.into_values()
}
