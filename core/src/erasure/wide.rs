//! Arithmetic in GF(2^16), as pairs over GF(2^8): `low + high · ω` with
//! ω² = ω + 0x20.
//!
//! GF(2^8) is a part of it (`high` is zero there), so that symbols of both kinds
//! solve one system. A symbol's first half holds the `low` parts of its
//! elements, its second half the `high` parts: a product of a symbol is then at
//! most four products of half symbols in GF(2^8).

use super::field::{MulAdd, div, mul};

/// The norm of ω. x² + x + 0x20 has no root in GF(2^8), so this makes a field.
const NORM: u8 = 0x20;

/// An element of GF(2^16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wide {
    pub(super) low: u8,
    pub(super) high: u8,
}

impl Wide {
    /// One.
    pub(super) const ONE: Self = Self::narrow(1);

    /// An element of GF(2^8).
    pub(super) const fn narrow(low: u8) -> Self {
        Self { low, high: 0 }
    }

    /// The sum, which is the difference too.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self { low: self.low ^ other.low, high: self.high ^ other.high }
    }

    /// The product.
    pub(super) fn times(self, other: Self) -> Self {
        let (low, high) = (mul(self.low, other.low), mul(self.high, other.high));
        let crossed = mul(self.low, other.high) ^ mul(self.high, other.low);
        Self { low: low ^ mul(NORM, high), high: crossed ^ high }
    }

    /// The quotient by `other`, which is never zero where this is called: all
    /// differences in a Cauchy matrix are of distinct elements.
    pub(super) fn over(self, other: Self) -> Self {
        // ω and ω + 1 are the roots of one polynomial, so they are conjugates.
        let conjugate = Self { low: other.low ^ other.high, high: other.high };
        let norm = mul(other.low, conjugate.low) ^ mul(NORM, mul(other.high, other.high));
        let product = self.times(conjugate);
        Self { low: div(product.low, norm), high: div(product.high, norm) }
    }
}

/// `out += factor · source`; a source shorter than `out` counts as filled up with zeros.
pub(super) fn mul_add<M: MulAdd>(with: &M, out: &mut [u8], factor: Wide, source: &[u8]) {
    if factor.high == 0 {
        return with.mul_add(out, factor.low, source);
    }
    let half = out.len() / 2;
    let (out_low, out_high) = out.split_at_mut(half);
    let (low, high) = source.split_at(half.min(source.len()));
    with.mul_add(out_low, factor.low, low);
    with.mul_add(out_low, mul(NORM, factor.high), high);
    with.mul_add(out_high, factor.high, low);
    with.mul_add(out_high, factor.low ^ factor.high, high);
}

/// `out = factor · out`, for a factor other than zero.
pub(super) fn scale<M: MulAdd>(with: &M, out: &mut [u8], factor: Wide) {
    if factor.high == 0 {
        return with.scale(out, factor.low);
    }
    let (low, high) = out.split_at_mut(out.len() / 2);
    let norm_high = mul(NORM, factor.high);
    if factor.low == 0 {
        // low' = c·f·high and high' = f·low + f·high.
        low.swap_with_slice(high);
        with.mul_add(high, 1, low);
        with.scale(high, factor.high);
        return with.scale(low, norm_high);
    }
    // Both halves in place: the second takes what it needs of the old first half
    // out of the new one. Its own factor is the norm of `factor` over `low`.
    with.scale(low, factor.low);
    with.mul_add(low, norm_high, high);
    let ratio = div(factor.high, factor.low);
    with.scale(high, factor.low ^ factor.high ^ mul(ratio, norm_high));
    with.mul_add(high, ratio, low);
}

#[cfg(test)]
mod tests {
    use super::super::field::Portable;
    use super::super::field::tests::schoolbook;
    use super::*;

    fn all() -> impl Iterator<Item = Wide> {
        (0..=u16::MAX).map(|bits| {
            let [low, high] = bits.to_le_bytes();
            Wide { low, high }
        })
    }

    /// Multiplication as on paper: (a + bω)(c + dω), with ω² replaced by ω + 0x20.
    fn on_paper(a: Wide, b: Wide) -> Wide {
        let squares = schoolbook(a.high, b.high);
        let crossed = schoolbook(a.low, b.high) ^ schoolbook(a.high, b.low);
        Wide { low: schoolbook(a.low, b.low) ^ schoolbook(0x20, squares), high: crossed ^ squares }
    }

    #[test]
    fn the_polynomial_has_no_root_so_that_it_makes_a_field() {
        assert!((0..=255).all(|x| schoolbook(x, x) ^ x ^ 0x20 != 0));
    }

    #[test]
    fn products_are_those_on_paper_and_quotients_undo_them() {
        // 257 and 65,536 have no common factor: some 250 factors of all kinds.
        for b in all().step_by(257).skip(1) {
            for a in all().step_by(31) {
                let product = a.times(b);
                assert_eq!(product, on_paper(a, b));
                assert_eq!(product.over(b), a, "{a:?} · {b:?}");
            }
        }
    }

    #[test]
    fn symbols_are_multiplied_element_by_element() {
        let source: [u8; 64] = core::array::from_fn(|i| (i * 37 + 11) as u8);
        for factor in all().skip(1).step_by(97) {
            let (mut sum, mut scaled) = ([0xA5; 64], source);
            mul_add(&Portable, &mut sum, factor, &source);
            scale(&Portable, &mut scaled, factor);
            for i in 0..32 {
                let product = on_paper(factor, Wide { low: source[i], high: source[i + 32] });
                assert_eq!((scaled[i], scaled[i + 32]), (product.low, product.high));
                let sum = (sum[i] ^ 0xA5, sum[i + 32] ^ 0xA5);
                assert_eq!(sum, (product.low, product.high));
            }
        }
    }

    #[test]
    fn a_short_source_counts_as_filled_up_with_zeros() {
        let (factor, source) = (Wide { low: 3, high: 7 }, [1, 2, 3, 4, 5]);
        let (mut short, mut long) = ([0; 8], [0; 8]);
        for (length, out) in [(3, &mut short), (5, &mut long)] {
            let mut filled = [0; 8];
            filled[..length].copy_from_slice(&source[..length]);
            let mut expected = [0; 8];
            mul_add(&Portable, &mut expected, factor, &filled);
            mul_add(&Portable, out, factor, &source[..length]);
            assert_eq!(*out, expected);
        }
    }
}
