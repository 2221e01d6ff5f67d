//! The erasure code: any k symbols of a block's k sources and 64 parities give
//! the block back (systematic Cauchy Reed–Solomon over GF(2^8)).
//!
//! [`parity`] makes a parity symbol, [`decode`] puts the sources back in place,
//! without heap and with some 300 bytes of stack. Both spend nearly all their time
//! in [`MulAdd`], which a host replaces by a vectorised one.

mod code;
mod field;

pub use code::{DecodeError, FIRST_PARITY, decode, parity};
pub use field::{MulAdd, Portable};
