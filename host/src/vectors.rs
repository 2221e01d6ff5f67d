//! The erasure code's multiply-add with what vectors the processor has.
//!
//! A factor times a byte is the sum of two entries of two tables of sixteen, one for each
//! half of the byte, and a shuffle of bytes (PSHUFB, TBL) looks up a whole vector of them at
//! once (Plank, Greenan and Miller, "Screaming fast Galois field arithmetic using Intel SIMD
//! instructions", FAST 2013). What the processor has is found out when the program runs, by
//! `fearless_simd`. Where there is no such instruction the core's own [`Lanes`] are quicker
//! than looking up one by one.

use fearless_simd::{Level, dispatch, prelude::*, u8x16};
use fleetcast_core::erasure::{Lanes, MulAdd};

/// Multiplies as many bytes at a time as a vector of this processor holds.
#[derive(Clone, Copy, Debug)]
pub struct Vectors {
    /// What the processor has, where it shuffles bytes.
    level: Option<Level>,
}

impl Vectors {
    /// For this processor: the first call finds out, the others remember.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Level::new())
    }

    fn at(level: Level) -> Self {
        Self { level: shuffles(level).then_some(level) }
    }
}

impl Default for Vectors {
    fn default() -> Self {
        Self::new()
    }
}

impl MulAdd for Vectors {
    fn mul_add(&self, out: &mut [u8], factor: u8, source: &[u8]) {
        let Some(level) = self.level else { return Lanes.mul_add(out, factor, source) };
        let tables = Tables::of(factor);
        dispatch!(level, simd => mul_add(simd, out, tables, source));
    }

    fn scale(&self, out: &mut [u8], factor: u8) {
        let Some(level) = self.level else { return Lanes.scale(out, factor) };
        let tables = Tables::of(factor);
        dispatch!(level, simd => scale(simd, out, tables));
    }
}

/// Whether a level has an instruction that looks bytes up in a vector.
fn shuffles(level: Level) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let shuffles = level.as_sse4_2().is_some();
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let shuffles = !level.is_fallback();
    shuffles
}

/// A factor's products with every low and every high half of a byte.
struct Tables {
    low: [u8; 16],
    high: [u8; 16],
}

/// Those of all factors, 8 KiB.
static TABLES: [Tables; 256] = tables();

const fn tables() -> [Tables; 256] {
    let mut all = [const { Tables { low: [0; 16], high: [0; 16] } }; 256];
    let mut factor = 0;
    while factor < all.len() {
        let tables = &mut all[factor];
        let after = fill(&mut tables.low, factor as u8);
        fill(&mut tables.high, after);
        factor += 1;
    }
    all
}

/// Fills `table` with the products of `factor` and 0 to 15; returns 16 times `factor`.
const fn fill(table: &mut [u8; 16], mut factor: u8) -> u8 {
    let mut half = 1;
    while half < table.len() {
        let mut entry = 0;
        while entry < half {
            table[half + entry] = table[entry] ^ factor;
            entry += 1;
        }
        // Twice the factor, modulo x^8 + x^4 + x^3 + x^2 + 1.
        factor = (factor << 1) ^ (0x1D & (factor >> 7).wrapping_neg());
        half *= 2;
    }
    factor
}

impl Tables {
    fn of(factor: u8) -> &'static Self {
        &TABLES[usize::from(factor)]
    }

    fn product(&self, byte: u8) -> u8 {
        self.low[usize::from(byte & 15)] ^ self.high[usize::from(byte >> 4)]
    }
}

/// Tables as the vectors of a level hold them.
struct Shuffles<S: Simd> {
    low: S::u8s,
    high: S::u8s,
    half: S::u8s,
}

impl<S: Simd> Shuffles<S> {
    #[inline(always)]
    fn of(simd: S, tables: &Tables) -> Self {
        let table = |table| S::u8s::block_splat(u8x16::from_slice(simd, table));
        Self { low: table(&tables.low), high: table(&tables.high), half: S::u8s::splat(simd, 15) }
    }

    #[inline(always)]
    fn products(&self, source: S::u8s) -> S::u8s {
        let low = self.low.swizzle_dyn_within_blocks(source & self.half);
        low ^ self.high.swizzle_dyn_within_blocks(source >> 4)
    }
}

#[inline(always)]
fn mul_add<S: Simd>(simd: S, out: &mut [u8], tables: &Tables, source: &[u8]) {
    let shuffles = Shuffles::of(simd, tables);
    let length = out.len().min(source.len());
    let mut outs = out[..length].chunks_exact_mut(S::u8s::LEN);
    let sources = source[..length].chunks_exact(S::u8s::LEN);
    let rest = sources.remainder();
    for (out, source) in (&mut outs).zip(sources) {
        let products = shuffles.products(S::u8s::from_slice(simd, source));
        (S::u8s::from_slice(simd, out) ^ products).store_slice(out);
    }
    for (out, source) in outs.into_remainder().iter_mut().zip(rest) {
        *out ^= tables.product(*source);
    }
}

#[inline(always)]
fn scale<S: Simd>(simd: S, out: &mut [u8], tables: &Tables) {
    let shuffles = Shuffles::of(simd, tables);
    let mut outs = out.chunks_exact_mut(S::u8s::LEN);
    for out in &mut outs {
        shuffles.products(S::u8s::from_slice(simd, out)).store_slice(out);
    }
    for out in outs.into_remainder() {
        *out = tables.product(*out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This processor, and what older ones have.
    fn all() -> Vec<Vectors> {
        let level = Level::new();
        let mut levels = vec![level, Level::baseline()];
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        {
            levels.extend(level.as_sse4_2().map(Level::Sse4_2));
            levels.extend(level.as_avx2().map(Level::Avx2));
        }
        levels.into_iter().map(Vectors::at).collect()
    }

    /// Multiplication as on paper: polynomials over GF(2), then long division by 0x11D.
    fn schoolbook(a: u8, b: u8) -> u8 {
        let mut product = 0_u16;
        for bit in (0..8).filter(|bit| b >> bit & 1 == 1) {
            product ^= u16::from(a) << bit;
        }
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11D << (bit - 8);
            }
        }
        product.to_le_bytes()[0]
    }

    #[test]
    fn every_factor_multiplies_every_byte_at_any_length_as_on_paper() {
        let source: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        for vectors in all() {
            for factor in 0..=255 {
                for length in [0, 1, 15, 16, 17, 63, 64, 65, 255, 512] {
                    let source = &source[..length];
                    let (mut sum, mut scaled) = (vec![0xA5; length + 1], source.to_vec());
                    vectors.mul_add(&mut sum, factor, source);
                    vectors.scale(&mut scaled, factor);
                    for (at, &byte) in source.iter().enumerate() {
                        let product = schoolbook(factor, byte);
                        assert_eq!((sum[at] ^ 0xA5, scaled[at]), (product, product));
                    }
                    assert_eq!(sum[length], 0xA5, "{factor} times {length} bytes");
                }
            }
        }
    }

    #[test]
    fn the_shorter_slice_bounds_a_multiplication() {
        for vectors in all() {
            let mut out = [0; 80];
            vectors.mul_add(&mut out, 1, &[7; 65]);
            assert_eq!((out[64], out[65]), (7, 0));
            vectors.mul_add(&mut out[..65], 1, &[7; 100]);
            assert_eq!(out, [0; 80]);
        }
    }
}
