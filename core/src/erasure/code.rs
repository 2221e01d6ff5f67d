//! Parity symbols and their undoing.
//!
//! Sources and parities are rows, a row's elements are independent of each
//! other. With y = j for source j and an x of its own for each parity, parity x
//! is the sum of source y divided by (x + y): a Cauchy matrix, each square part
//! of which has an inverse. So any e parities replace any e sources.
//!
//! The first 64 parities have the x of GF(2^8) that no source uses, 192 to 255.
//! The further ones have x = ω + n, in GF(2^16): twice the work, but enough of
//! them for a path that loses half. They are the same code: GF(2^8) is a part
//! of GF(2^16).
//!
//! Decoding first takes the sources that are here out of the parities. What
//! remains is an e × e Cauchy system, solved by Gaussian elimination on the
//! rows themselves. The matrix is never stored: what is left of a Cauchy
//! matrix after each step of elimination is again one with its rows and
//! columns scaled (Gohberg, Kailath and Olshevsky, "Fast Gaussian elimination
//! with partial pivoting for matrices with displacement structure", 1995), so
//! two scales per row and column are all there is to remember.

use super::field::MulAdd;
use super::wide::{self, Wide};
use crate::limits::{ALL_PARITY, MAX_PARITY, MAX_SOURCES};

/// Index of a block's first parity symbol; sources have those below.
pub const FIRST_PARITY: u8 = MAX_SOURCES as u8;

/// Why a block cannot be decoded; nothing was changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The caller's slices do not fit its `k` and `symbol`, `k` is not in 1 ..= 192,
    /// or there is no such parity.
    Shape,
    /// The parity with this number lies at two positions.
    Repeated(u8),
}

/// How many parity symbols a block of `k` sources of `symbol` bytes has: all 255
/// where its symbols can be halved.
#[must_use]
pub const fn parities(k: usize, symbol: usize) -> usize {
    // The parity of one source is as long as the source, which may be odd.
    if k > 1 && symbol.is_multiple_of(2) { ALL_PARITY } else { MAX_PARITY }
}

/// Writes the parity symbol `number` of a block, counted from 0, into `out`.
///
/// `block` holds the block's bytes: `k - 1` symbols of `symbol` bytes and a last
/// one that may be shorter. `out` is as long as a symbol, or as the block
/// where `k` is 1; the short last source counts as if it were filled up with zeros.
/// `number` is below [`parities`].
// PROTOCOL S3, S16
pub fn parity<M: MulAdd>(
    mul: &M,
    k: usize,
    symbol: usize,
    block: &[u8],
    number: u8,
    out: &mut [u8],
) {
    debug_assert!(usize::from(number) < parities(k, symbol), "{number} of {k} sources");
    debug_assert!(k <= MAX_SOURCES, "{k} sources");
    debug_assert_eq!(block.len().div_ceil(symbol), k, "sources of {symbol} bytes");
    debug_assert_eq!(out.len(), if k == 1 { block.len() } else { symbol });
    out.fill(0);
    let x = place(number);
    for (j, source) in (0..FIRST_PARITY).zip(block.chunks(symbol.max(1))) {
        wide::mul_add(mul, out, Wide::ONE.over(x.plus(Wide::narrow(j))), source);
    }
}

/// Puts the missing sources of a block in the places of the parities that lie there.
///
/// `positions` holds `k` symbols of `symbol` bytes, a short last source filled up with
/// zeros; `parity_at` tells the number of the parity that lies at a position in
/// the stead of its own source, each at most once. Afterwards every position
/// holds its source.
///
/// Takes e · k multiply-adds of a symbol when e sources are missing.
///
/// # Errors
/// [`DecodeError`]; `positions` is then as it was.
// PROTOCOL S3, S16
pub fn decode<M: MulAdd>(
    mul: &M,
    k: usize,
    symbol: usize,
    positions: &mut [u8],
    parity_at: impl Fn(u8) -> Option<u8>,
) -> Result<(), DecodeError> {
    let sound = (1..=MAX_SOURCES).contains(&k) && symbol > 0;
    if !sound || k.checked_mul(symbol) != Some(positions.len()) {
        return Err(DecodeError::Shape);
    }
    let mut system = System::of(k, symbol, &parity_at)?;
    let mut rows = Rows { mul, symbol, positions };
    for source in (0..FIRST_PARITY).take(k).filter(|&source| parity_at(source).is_none()) {
        rows.subtract(source, &system);
    }
    system.eliminate(&mut rows);
    system.substitute(&mut rows);
    Ok(())
}

/// The x of a parity: none is another's, and none is a source's y.
const fn place(number: u8) -> Wide {
    match number.checked_sub(MAX_PARITY as u8) {
        None => Wide::narrow(FIRST_PARITY + number),
        Some(further) => Wide { low: further, high: 1 },
    }
}

/// A block's symbols as rows.
struct Rows<'a, M> {
    mul: &'a M,
    symbol: usize,
    positions: &'a mut [u8],
}

impl<M: MulAdd> Rows<'_, M> {
    /// Row `target` += `factor` · row `source`; the two differ.
    fn add(&mut self, target: u8, factor: Wide, source: u8) {
        let (target, source) = (usize::from(target), usize::from(source));
        let (front, back) = self.positions.split_at_mut(target.max(source) * self.symbol);
        let front = &mut front[target.min(source) * self.symbol..][..self.symbol];
        let back = &mut back[..self.symbol];
        if target < source {
            wide::mul_add(self.mul, front, factor, back);
        } else {
            wide::mul_add(self.mul, back, factor, front);
        }
    }

    fn scale(&mut self, row: u8, factor: Wide) {
        let start = usize::from(row) * self.symbol;
        wide::scale(self.mul, &mut self.positions[start..start + self.symbol], factor);
    }

    /// Takes a source that is here out of all parities.
    fn subtract(&mut self, source: u8, system: &System) {
        for n in 0..system.e {
            self.add(system.y[n], Wide::ONE.over(system.x(n).plus(Wide::narrow(source))), source);
        }
    }
}

/// The equations of e parities in e missing sources y. Parity number `parity[i]` lies
/// in the place of source `y[i]`.
///
/// After n steps of elimination the element of row i and column j, both beyond n,
/// is `row_scale[i] · column_scale[j] / (x(i) + y[j])`; the scales of row and
/// column n stay what they were at step n.
struct System {
    e: usize,
    parity: [u8; MAX_SOURCES],
    y: [u8; MAX_SOURCES],
    row_scale: [Wide; MAX_SOURCES],
    column_scale: [Wide; MAX_SOURCES],
}

impl System {
    fn of(
        k: usize,
        symbol: usize,
        parity_at: &impl Fn(u8) -> Option<u8>,
    ) -> Result<Self, DecodeError> {
        let (zeros, ones) = ([0; MAX_SOURCES], [Wide::ONE; MAX_SOURCES]);
        let mut system =
            Self { e: 0, parity: zeros, y: zeros, row_scale: ones, column_scale: ones };
        for position in (0..FIRST_PARITY).take(k) {
            let Some(number) = parity_at(position) else { continue };
            if usize::from(number) >= parities(k, symbol) {
                return Err(DecodeError::Shape);
            }
            if system.parity[..system.e].contains(&number) {
                return Err(DecodeError::Repeated(number));
            }
            system.parity[system.e] = number;
            system.y[system.e] = position;
            system.e += 1;
        }
        Ok(system)
    }

    fn x(&self, n: usize) -> Wide {
        place(self.parity[n])
    }

    fn y(&self, n: usize) -> Wide {
        Wide::narrow(self.y[n])
    }

    /// Makes all below the diagonal zero, step by step.
    fn eliminate<M: MulAdd>(&mut self, rows: &mut Rows<'_, M>) {
        for n in 0..self.e {
            let (x, y) = (self.x(n), self.y(n));
            // The column's scale is the same in both rows, so it cancels.
            let pivot = self.row_scale[n].over(x.plus(y));
            for i in n + 1..self.e {
                let below = self.row_scale[i].over(self.x(i).plus(y));
                rows.add(self.y[i], below.over(pivot), self.y[n]);
                self.row_scale[i] = below.times(self.x(i).plus(x));
                let column = self.column_scale[i].over(self.y(i).plus(x));
                self.column_scale[i] = column.times(self.y(i).plus(y));
            }
        }
    }

    /// Solves the triangle that elimination left, from its last row upwards.
    fn substitute<M: MulAdd>(&self, rows: &mut Rows<'_, M>) {
        for n in (0..self.e).rev() {
            let (x, y) = (self.x(n), self.y(n));
            let diagonal = self.row_scale[n].times(self.column_scale[n]);
            rows.scale(self.y[n], x.plus(y).over(diagonal));
            // Column n's scale as it was at each step i, told over again.
            let mut scale = Wide::ONE;
            for i in 0..n {
                let reduced = scale.over(self.x(i).plus(y));
                rows.add(self.y[i], self.row_scale[i].times(reduced), self.y[n]);
                scale = reduced.times(self.y(i).plus(y));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::super::field::Portable;
    use super::super::field::tests::schoolbook;
    use super::*;

    /// Which symbol lies at a position: its own source, or a parity.
    type Held = Vec<Option<u8>>;
    /// An element of GF(2^16) as the protocol writes it: parts of 1 and of ω.
    type Pair = (u8, u8);

    /// Bytes that look random and are the same in every run.
    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }

    /// On paper, with ω² = ω + 0x20.
    fn times(a: Pair, b: Pair) -> Pair {
        let squares = schoolbook(a.1, b.1);
        let crossed = schoolbook(a.0, b.1) ^ schoolbook(a.1, b.0);
        (schoolbook(a.0, b.0) ^ schoolbook(0x20, squares), crossed ^ squares)
    }

    /// The power of 2^16 - 2, by Fermat.
    fn inverse(a: Pair) -> Pair {
        assert_ne!(a, (0, 0), "0 has no inverse");
        let squares = std::iter::successors(Some(a), |square| Some(times(*square, *square)));
        squares.skip(1).take(15).fold((1, 0), times)
    }

    /// What the protocol says of a symbol, as one row of the whole matrix.
    fn matrix_row(position: usize, held: Option<u8>, k: usize) -> Vec<Pair> {
        let element = |j: u8| match held {
            None => (u8::from(usize::from(j) == position), 0),
            Some(near) if near < 64 => inverse(((192 + near) ^ j, 0)),
            Some(far) => inverse(((far - 64) ^ j, 1)),
        };
        (0..192).take(k).map(element).collect()
    }

    /// A symbol as elements: its first half are the parts of 1, its second those of ω.
    fn elements(symbol: &[u8]) -> Vec<Pair> {
        let (low, high) = symbol.split_at(symbol.len() / 2);
        low.iter().copied().zip(high.iter().copied()).collect()
    }

    fn bytes(elements: &[Pair]) -> Vec<u8> {
        elements.iter().map(|e| e.0).chain(elements.iter().map(|e| e.1)).collect()
    }

    fn model_symbol(block: &[u8], k: usize, symbol: usize, number: u8) -> Vec<u8> {
        let mut filled = block.to_vec();
        filled.resize(k * symbol, 0);
        let mut sum = vec![(0, 0); symbol / 2];
        for (factor, source) in matrix_row(0, Some(number), k).iter().zip(filled.chunks(symbol)) {
            for (sum, element) in sum.iter_mut().zip(elements(source)) {
                let product = times(*factor, element);
                *sum = (sum.0 ^ product.0, sum.1 ^ product.1);
            }
        }
        bytes(&sum)
    }

    /// Textbook Gauss–Jordan on the whole k × k matrix beside its symbols.
    fn model_decode(k: usize, symbol: usize, positions: &[u8], held: &[Option<u8>]) -> Vec<u8> {
        let widened = |(at, (held, bytes)): (usize, (&Option<u8>, &[u8]))| {
            let mut row = matrix_row(at, *held, k);
            row.extend(elements(bytes));
            row
        };
        let mut rows: Vec<Vec<Pair>> =
            held.iter().zip(positions.chunks(symbol)).enumerate().map(widened).collect();
        for n in 0..k {
            let pivot = (n..k).find(|i| rows[*i][n] != (0, 0)).expect("the matrix has an inverse");
            rows.swap(n, pivot);
            let factor = inverse(rows[n][n]);
            rows[n] = rows[n].iter().map(|element| times(factor, *element)).collect();
            let pivot = rows[n].clone();
            for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != n) {
                let factor = row[n];
                for (a, b) in row.iter_mut().zip(&pivot) {
                    let product = times(factor, *b);
                    *a = (a.0 ^ product.0, a.1 ^ product.1);
                }
            }
        }
        rows.iter().flat_map(|row| bytes(&row[k..])).collect()
    }

    /// A block of which the sources `lost` are gone and `parities` lie in their places.
    fn damaged(
        block: &[u8],
        k: usize,
        symbol: usize,
        lost: &[u8],
        parities: &[u8],
    ) -> (Vec<u8>, Held) {
        let mut positions = block.to_vec();
        positions.resize(k * symbol, 0);
        let mut held = vec![None; k];
        for (y, number) in lost.iter().zip(parities) {
            let at = usize::from(*y) * symbol;
            let length = if k == 1 { block.len() } else { symbol };
            positions[at..at + symbol].fill(0);
            let out = &mut positions[at..at + length];
            parity(&Portable, k, symbol, block, *number, out);
            held[usize::from(*y)] = Some(*number);
        }
        (positions, held)
    }

    fn restore(
        k: usize,
        symbol: usize,
        positions: &mut [u8],
        held: &[Option<u8>],
    ) -> Result<(), DecodeError> {
        decode(&Portable, k, symbol, positions, |at| held.get(usize::from(at)).copied().flatten())
    }

    fn assert_restored(block: &[u8], positions: &[u8]) {
        assert_eq!(&positions[..block.len()], block);
        assert!(positions[block.len()..].iter().all(|byte| *byte == 0));
    }

    // PROTOCOL S3
    #[test]
    fn parity_is_what_a_calculation_by_hand_says() {
        let mut out = [0xEE];
        // 0xC0 / 192 = 1, and 0x9F = 2 · 193 (0x182 + 0x11D), so 0x9F / 193 = 2.
        parity(&Portable, 2, 1, &[0xC0, 0x9F], 0, &mut out);
        assert_eq!(out, [0x03]);
        // 0xC1 / 193 = 1, and 0x27 = 4 · 192 (0x9D, then 0x13A + 0x11D).
        parity(&Portable, 2, 1, &[0xC1, 0x27], 1, &mut out);
        assert_eq!(out, [0x05]);
        // 255 xor 0 = 255; 0xE3 = 2 · 255 (0x1FE + 0x11D).
        parity(&Portable, 1, 9, &[0xE3], 63, &mut out);
        assert_eq!(out, [0x02]);
    }

    // PROTOCOL S16
    #[test]
    fn further_parity_is_what_a_calculation_by_hand_says() {
        // Number 64 is x = ω. ω · (ω + 1) = ω² + ω = 0x20, so 1 / (ω + 0) is
        // (ω + 1) / 0x20, and 1 / (ω + 1) is ω / 0x20. The sources 0x20 and 0x20 · ω
        // give (ω + 1) + ω · ω = (ω + 1) + (ω + 0x20) = 0x21.
        let mut out = [0xEE; 2];
        parity(&Portable, 2, 2, &[0x20, 0, 0, 0x20], 64, &mut out);
        assert_eq!(out, [0x21, 0]);
    }

    // PROTOCOL S3, S16
    #[test]
    fn parity_agrees_with_the_matrix_of_the_protocol() {
        for (k, symbol, length) in [(2, 6, 7), (2, 6, 11), (32, 4, 128), (192, 2, 383)] {
            let block = noise(length, 3);
            for number in 0..255 {
                let mut out = vec![0xEE; symbol];
                parity(&Portable, k, symbol, &block, number, &mut out);
                assert_eq!(out, model_symbol(&block, k, symbol, number), "k {k} number {number}");
            }
        }
    }

    // PROTOCOL S3, S16
    #[test]
    fn every_number_of_losses_of_the_largest_block_is_undone() {
        let (k, symbol) = (192, 6);
        let block = noise(k * symbol - 3, 1);
        for e in 1..=192_u8 {
            // 5 and 192 have no common factor, so the losses are distinct and reach the last.
            let lost: Vec<u8> = (0..e).map(|n| ((191 + 5 * u16::from(n)) % 192) as u8).collect();
            let parities: Vec<u8> = (0..e).map(|n| 254 - n).collect();
            let (mut positions, held) = damaged(&block, k, symbol, &lost, &parities);
            assert_eq!(restore(k, symbol, &mut positions, &held), Ok(()));
            assert_restored(&block, &positions);
        }
    }

    #[test]
    fn a_block_of_one_short_source_comes_back_from_any_parity() {
        for number in 0..64 {
            let (mut positions, held) = damaged(b"short", 1, 8, &[0], &[number]);
            assert_eq!(restore(1, 8, &mut positions, &held), Ok(()));
            assert_restored(b"short", &positions);
        }
    }

    #[test]
    fn symbols_that_cannot_be_halved_have_the_first_parities_only() {
        // PROTOCOL S16
        assert_eq!([parities(2, 8), parities(2, 7), parities(1, 8)], [255, 64, 64]);
        let mut positions = noise(14, 2);
        let before = positions.clone();
        let decoded = restore(2, 7, &mut positions, &[None, Some(64)]);
        assert_eq!((decoded, positions), (Err(DecodeError::Shape), before));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_left_alone() {
        let cases: [(usize, usize, usize, Held, DecodeError); 7] = [
            (0, 1, 0, vec![], DecodeError::Shape),
            (2, 0, 0, vec![None; 2], DecodeError::Shape),
            (2, 4, 7, vec![None; 2], DecodeError::Shape),
            (2, usize::MAX, 8, vec![None; 2], DecodeError::Shape),
            (193, 1, 193, vec![None; 193], DecodeError::Shape),
            (2, 4, 8, vec![Some(8), Some(8)], DecodeError::Repeated(8)),
            (192, 2, 384, vec![Some(200); 192], DecodeError::Repeated(200)),
        ];
        for (k, symbol, length, held, error) in cases {
            let mut positions = noise(length, 9);
            let before = positions.clone();
            assert_eq!(restore(k, symbol, &mut positions, &held), Err(error));
            assert_eq!(positions, before);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        // PROTOCOL S3, S16
        #[test]
        fn any_k_symbols_give_the_block_back_as_the_textbook_does(
            k in 2_usize..=48,
            half in 1_usize..6,
            short in 0_usize..12,
            seed: u64,
            order in Just((0..192).collect::<Vec<u8>>()).prop_shuffle(),
            parities in Just((0..255).collect::<Vec<u8>>()).prop_shuffle(),
            losses in 0_usize..=48,
        ) {
            let symbol = 2 * half;
            let block = noise(k * symbol - short % symbol, seed);
            let lost: Vec<u8> =
                order.into_iter().filter(|y| usize::from(*y) < k).take(losses).collect();
            let (mut positions, held) = damaged(&block, k, symbol, &lost, &parities);
            let model = model_decode(k, symbol, &positions, &held);
            prop_assert_eq!(restore(k, symbol, &mut positions, &held), Ok(()));
            prop_assert_eq!(&positions, &model);
            assert_restored(&block, &positions);
        }
    }
}
