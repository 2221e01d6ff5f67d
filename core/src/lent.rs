//! Memory that an owner lends to a machine for its life.
//!
//! A host gives a `Vec`, a board a `&'static mut` slice; the machine cannot
//! tell the difference.

use core::ops::DerefMut;

/// A slice of `T` that belongs to the caller.
pub trait Lent<T>: DerefMut<Target = [T]> {}

impl<T, D: DerefMut<Target = [T]>> Lent<T> for D {}

/// Bytes for a machine: lent by the caller, or an array of its own.
pub trait Bytes: AsRef<[u8]> + AsMut<[u8]> {}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Bytes for B {}
