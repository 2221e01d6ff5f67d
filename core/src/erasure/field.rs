//! Arithmetic in GF(2^8) with the polynomial 0x11D: on single elements by
//! logarithms, on whole symbols by two 16-entry tables per factor.
//!
//! Addition and subtraction are both exclusive or.

/// x^8 + x^4 + x^3 + x^2 + 1 without its leading term; 2 generates all of the field but 0.
const POLYNOMIAL: u8 = 0x1D;
/// Elements other than 0: logarithms count modulo this.
const ORDER: u16 = 255;

/// Powers of 2; the last entry repeats the first.
const EXP: [u8; 256] = powers();
/// Exponents of 2; the entry of 0 is never used.
const LOG: [u8; 256] = exponents();

/// The two operations that the code spends its time in.
///
/// Implementations must agree with [`Portable`] on every byte.
pub trait MulAdd {
    /// `out += factor · source` on each byte, as far as the shorter slice goes.
    fn mul_add(&self, out: &mut [u8], factor: u8, source: &[u8]);

    /// `out = factor · out` on each byte.
    fn scale(&self, out: &mut [u8], factor: u8);
}

/// Products of nibbles looked up, four bytes at a time: small, and quick on a
/// core without vectors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl MulAdd for Portable {
    fn mul_add(&self, out: &mut [u8], factor: u8, source: &[u8]) {
        let products = Products::of(factor);
        let length = out.len().min(source.len());
        let (out_words, out_rest) = out[..length].as_chunks_mut::<4>();
        let (source_words, source_rest) = source[..length].as_chunks::<4>();
        for (out, source) in out_words.iter_mut().zip(source_words) {
            let sum = u32::from_le_bytes(*out) ^ products.word(u32::from_le_bytes(*source));
            *out = sum.to_le_bytes();
        }
        for (out, source) in out_rest.iter_mut().zip(source_rest) {
            *out ^= products.byte(*source);
        }
    }

    fn scale(&self, out: &mut [u8], factor: u8) {
        let products = Products::of(factor);
        for byte in out {
            *byte = products.byte(*byte);
        }
    }
}

/// A factor's products with every low and every high nibble.
struct Products {
    low: [u8; 16],
    high: [u8; 16],
}

impl Products {
    fn of(factor: u8) -> Self {
        let mut tables = Self { low: [0; 16], high: [0; 16] };
        let after = fill(&mut tables.low, factor);
        fill(&mut tables.high, after);
        tables
    }

    fn byte(&self, source: u8) -> u8 {
        self.low[usize::from(source & 15)] ^ self.high[usize::from(source >> 4)]
    }

    fn word(&self, source: u32) -> u32 {
        u32::from_le_bytes(source.to_le_bytes().map(|byte| self.byte(byte)))
    }
}

/// Fills `table` with the products of `factor` and 0 to 15; returns 16 · `factor`.
fn fill(table: &mut [u8; 16], mut factor: u8) -> u8 {
    for bit in 0..4 {
        let half = 1 << bit;
        for entry in 0..half {
            table[half + entry] = table[entry] ^ factor;
        }
        factor = double(factor);
    }
    factor
}

const fn double(a: u8) -> u8 {
    // The mask is all ones where the leading bit falls out, without a branch.
    (a << 1) ^ (POLYNOMIAL & (a >> 7).wrapping_neg())
}

/// The product of two elements.
pub(super) fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    power(u16::from(LOG[usize::from(a)]) + u16::from(LOG[usize::from(b)]))
}

/// `a` divided by `b`, which is never 0 where this is called: all differences
/// in a Cauchy matrix are of distinct elements.
pub(super) fn div(a: u8, b: u8) -> u8 {
    debug_assert_ne!(b, 0, "division by zero in GF(2^8)");
    if a == 0 {
        return 0;
    }
    power(u16::from(LOG[usize::from(a)]) + ORDER - u16::from(LOG[usize::from(b)]))
}

fn power(exponent: u16) -> u8 {
    let reduced = if exponent >= ORDER { exponent - ORDER } else { exponent };
    EXP[usize::from(reduced)]
}

const fn powers() -> [u8; 256] {
    let mut table = [1; 256];
    let mut at = 1;
    while at < table.len() {
        table[at] = double(table[at - 1]);
        at += 1;
    }
    table
}

const fn exponents() -> [u8; 256] {
    let mut table = [0; 256];
    let mut exponent = 0;
    while exponent < ORDER as u8 {
        table[EXP[exponent as usize] as usize] = exponent;
        exponent += 1;
    }
    table
}

#[cfg(test)]
pub(super) mod tests {
    use std::vec::Vec;

    use super::*;

    /// Multiplication as on paper: polynomials over GF(2), then long division.
    pub(in super::super) fn schoolbook(a: u8, b: u8) -> u8 {
        let mut product = 0_u16;
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                product ^= u16::from(a) << bit;
            }
        }
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11D << (bit - 8);
            }
        }
        product.to_le_bytes()[0]
    }

    #[test]
    fn products_and_quotients_are_those_of_the_schoolbook() {
        for a in 0..=255 {
            for b in 0..=255 {
                let product = schoolbook(a, b);
                assert_eq!(mul(a, b), product, "{a} · {b}");
                if b != 0 {
                    assert_eq!(div(product, b), a, "{product} / {b}");
                }
            }
        }
    }

    #[test]
    fn every_factor_multiplies_every_byte_of_symbols_of_any_length() {
        let source: Vec<u8> = (0..=255).chain(0..3).collect();
        for factor in 0..=255 {
            for length in [0, 1, 3, 4, 5, 259] {
                let mut out = std::vec![0xA5; length];
                Portable.mul_add(&mut out, factor, &source[..length]);
                let mut scaled = source[..length].to_vec();
                Portable.scale(&mut scaled, factor);
                for at in 0..length {
                    let product = schoolbook(factor, source[at]);
                    assert_eq!((out[at] ^ 0xA5, scaled[at]), (product, product));
                }
            }
        }
    }

    #[test]
    fn the_shorter_slice_bounds_a_multiplication() {
        let mut out = [0; 6];
        Portable.mul_add(&mut out, 1, &[7; 5]);
        assert_eq!(out, [7, 7, 7, 7, 7, 0]);
        Portable.mul_add(&mut out[..2], 1, &[7; 9]);
        assert_eq!(out, [0, 0, 7, 7, 7, 0]);
    }
}
