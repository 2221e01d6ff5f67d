//! The erasure code: any k symbols of a block's k sources and up to 255 parities
//! give the block back (systematic Cauchy Reed–Solomon over GF(2^16), of which the
//! sources and the first 64 parities need only GF(2^8)).
//!
//! [`parity`] makes a parity symbol, [`decode`] puts the sources back in place,
//! without heap and with some 1,200 bytes of stack. Both spend nearly all their
//! time in [`MulAdd`]: [`Portable`] is small, [`Lanes`] is for vector units.

mod code;
mod field;
mod lanes;
mod wide;

pub use code::{DecodeError, FIRST_PARITY, decode, parities, parity};
pub use field::{MulAdd, Portable};
pub use lanes::Lanes;
