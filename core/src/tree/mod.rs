//! What a release contains: names, references, entries, index lists, records.
//!
//! A tree is a byte stream of entries, cut into chunks; lists of references to
//! those chunks are cut again until the last list fits the release root
//! (PROTOCOL §4, "Trees"). Everything here reads such bytes piece by piece and
//! without a buffer larger than one entry, or writes them into a caller's
//! buffer; nothing touches a file.

pub mod entry;
pub mod index;
pub mod patch;
pub mod path;
pub mod record;
pub mod reference;
