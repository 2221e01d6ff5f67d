//! What a fleet lives through, on real processes: ends without warning, new
//! versions of a file, absence, membership, a real network between.

mod membership;
mod namespaces;
mod restarts;
mod versions;
