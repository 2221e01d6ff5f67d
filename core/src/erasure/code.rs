//! Parity symbols and their undoing.
//!
//! Sources and parities are rows, a row's bytes are independent of each other.
//! With x = 192+i for a parity and y = j for a source, parity x is the sum of
//! source y divided by (x + y): a Cauchy matrix, each square part of which has
//! an inverse. So any e parities replace any e sources.
//!
//! Decoding first takes the sources that are here out of the parities. What
//! remains is an e × e Cauchy system, solved by Gaussian elimination on the
//! rows themselves. The matrix is never stored: what is left of a Cauchy
//! matrix after each step of elimination is again one with its rows and
//! columns scaled (Gohberg, Kailath and Olshevsky, "Fast Gaussian elimination
//! with partial pivoting for matrices with displacement structure", 1995), so
//! two scales per row and column are all there is to remember.

use super::field::{MulAdd, div, mul};
use crate::ids::SymbolIndex;
use crate::limits::{MAX_PARITY, MAX_SOURCES};

/// Index of a block's first parity symbol; sources have those below.
pub const FIRST_PARITY: u8 = MAX_SOURCES as u8;

/// Why a block cannot be decoded; nothing was changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The caller's slices do not fit its `k` and `symbol`, or `k` is not in 1 ..= 192.
    Shape,
    /// At this position lies a source that belongs to another.
    Misplaced(u8),
    /// The same parity symbol lies at two positions.
    Repeated(SymbolIndex),
}

/// Writes the parity symbol `index` of a block into `out`.
///
/// `block` holds the block's bytes: `k - 1` symbols of `symbol` bytes and a last
/// one that may be shorter. `out` is as long as a symbol, or as the block
/// where `k` is 1; the short last source counts as if it were filled up with zeros.
/// `index` is at least [`FIRST_PARITY`].
// PROTOCOL S3
pub fn parity<M: MulAdd>(
    mul: &M,
    k: usize,
    symbol: usize,
    block: &[u8],
    index: SymbolIndex,
    out: &mut [u8],
) {
    debug_assert!(index.0 >= FIRST_PARITY && k <= MAX_SOURCES, "{index} of {k} sources");
    debug_assert_eq!(block.len().div_ceil(symbol), k, "sources of {symbol} bytes");
    debug_assert_eq!(out.len(), if k == 1 { block.len() } else { symbol });
    out.fill(0);
    for (j, source) in (0..FIRST_PARITY).zip(block.chunks(symbol.max(1))) {
        mul.mul_add(out, div(1, index.0 ^ j), source);
    }
}

/// Puts the missing sources of a block in the places of the parities that lie there.
///
/// `positions` holds `k` symbols of `symbol` bytes, a short last source filled up with
/// zeros; `held` tells which symbol lies at each position: position j's own
/// source j, or any parity in its stead, each at most once. Afterwards every
/// position holds its source, and `held` says so.
///
/// Takes e · k multiply-adds of a symbol when e sources are missing.
///
/// # Errors
/// [`DecodeError`]; `positions` and `held` are then as they were.
// PROTOCOL S3
pub fn decode<M: MulAdd>(
    mul: &M,
    k: usize,
    symbol: usize,
    positions: &mut [u8],
    held: &mut [SymbolIndex],
) -> Result<(), DecodeError> {
    let sound = (1..=MAX_SOURCES).contains(&k) && symbol > 0 && held.len() == k;
    if !sound || k.checked_mul(symbol) != Some(positions.len()) {
        return Err(DecodeError::Shape);
    }
    let mut system = System::of(held)?;
    let mut rows = Rows { mul, symbol, positions };
    rows.subtract_present(held, &system);
    system.eliminate(&mut rows);
    system.substitute(&mut rows);
    for (held, j) in held.iter_mut().zip(0..) {
        held.0 = j;
    }
    Ok(())
}

/// A block's symbols as rows.
struct Rows<'a, M> {
    mul: &'a M,
    symbol: usize,
    positions: &'a mut [u8],
}

impl<M: MulAdd> Rows<'_, M> {
    /// Row `target` += `factor` · row `source`; the two differ.
    fn add(&mut self, target: u8, factor: u8, source: u8) {
        let (target, source) = (usize::from(target), usize::from(source));
        let (front, back) = self.positions.split_at_mut(target.max(source) * self.symbol);
        let front = &mut front[target.min(source) * self.symbol..][..self.symbol];
        let back = &mut back[..self.symbol];
        if target < source {
            self.mul.mul_add(front, factor, back);
        } else {
            self.mul.mul_add(back, factor, front);
        }
    }

    fn scale(&mut self, row: u8, factor: u8) {
        let start = usize::from(row) * self.symbol;
        self.mul.scale(&mut self.positions[start..start + self.symbol], factor);
    }

    /// Leaves in each parity only the sources that are missing.
    fn subtract_present(&mut self, held: &[SymbolIndex], system: &System) {
        for source in held.iter().filter(|held| held.0 < FIRST_PARITY) {
            for (x, y) in system.x().iter().zip(system.y()) {
                self.add(*y, div(1, x ^ source.0), source.0);
            }
        }
    }
}

/// The equations of e parities x in e missing sources y. Parity `x[i]` lies in the
/// place of source `y[i]`.
///
/// After n steps of elimination the element of row i and column j, both beyond n,
/// is `row_scale[i] · column_scale[j] / (x[i] + y[j])`; the scales of row and
/// column n stay what they were at step n.
struct System {
    e: usize,
    x: [u8; MAX_PARITY],
    y: [u8; MAX_PARITY],
    row_scale: [u8; MAX_PARITY],
    column_scale: [u8; MAX_PARITY],
}

impl System {
    fn of(held: &[SymbolIndex]) -> Result<Self, DecodeError> {
        let (zeros, ones) = ([0; MAX_PARITY], [1; MAX_PARITY]);
        let mut system = Self { e: 0, x: zeros, y: zeros, row_scale: ones, column_scale: ones };
        for (index, position) in held.iter().zip(0..) {
            if index.0 == position {
                continue;
            }
            if index.0 < FIRST_PARITY {
                return Err(DecodeError::Misplaced(position));
            }
            // Also keeps e within MAX_PARITY: there are no more distinct parities.
            if system.x().contains(&index.0) {
                return Err(DecodeError::Repeated(*index));
            }
            system.x[system.e] = index.0;
            system.y[system.e] = position;
            system.e += 1;
        }
        Ok(system)
    }

    fn x(&self) -> &[u8] {
        &self.x[..self.e]
    }

    fn y(&self) -> &[u8] {
        &self.y[..self.e]
    }

    /// Makes all below the diagonal zero, step by step.
    fn eliminate<M: MulAdd>(&mut self, rows: &mut Rows<'_, M>) {
        for n in 0..self.e {
            let (x, y) = (self.x[n], self.y[n]);
            // The column's scale is the same in both rows, so it cancels.
            let pivot = div(self.row_scale[n], x ^ y);
            for i in n + 1..self.e {
                let below = div(self.row_scale[i], self.x[i] ^ y);
                rows.add(self.y[i], div(below, pivot), y);
                self.row_scale[i] = mul(below, self.x[i] ^ x);
                let column = div(self.column_scale[i], self.y[i] ^ x);
                self.column_scale[i] = mul(column, self.y[i] ^ y);
            }
        }
    }

    /// Solves the triangle that elimination left, from its last row upwards.
    fn substitute<M: MulAdd>(&self, rows: &mut Rows<'_, M>) {
        for n in (0..self.e).rev() {
            let (x, y) = (self.x[n], self.y[n]);
            let diagonal = mul(self.row_scale[n], self.column_scale[n]);
            rows.scale(y, div(x ^ y, diagonal));
            // Column n's scale as it was at each step i, told over again.
            let mut scale = 1;
            for i in 0..n {
                let reduced = div(scale, self.x[i] ^ y);
                rows.add(self.y[i], mul(self.row_scale[i], reduced), y);
                scale = mul(reduced, self.y[i] ^ y);
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

    fn inverse(a: u8) -> u8 {
        (1..=255).find(|b| schoolbook(a, *b) == 1).expect("only 0 has no inverse")
    }

    /// What the protocol says of symbol `index`, as one row of the whole matrix.
    fn matrix_row(index: u8, k: usize) -> Vec<u8> {
        let element = |j: u8| match index {
            source if source < 192 => u8::from(source == j),
            parity => inverse(parity ^ j),
        };
        (0..192).take(k).map(element).collect()
    }

    fn model_symbol(block: &[u8], k: usize, symbol: usize, index: u8) -> Vec<u8> {
        let row = matrix_row(index, k);
        let byte = |at: usize| {
            let term = |j: usize| match block.get(j * symbol + at) {
                Some(source) => schoolbook(row[j], *source),
                None => 0,
            };
            (0..k).map(term).fold(0, |sum, term| sum ^ term)
        };
        (0..symbol).map(byte).collect()
    }

    /// Textbook Gauss–Jordan on the whole k × k matrix beside its symbols.
    fn model_decode(k: usize, symbol: usize, positions: &[u8], held: &[SymbolIndex]) -> Vec<u8> {
        let widened = |(index, bytes): (&SymbolIndex, &[u8])| {
            let mut row = matrix_row(index.0, k);
            row.extend_from_slice(bytes);
            row
        };
        let mut rows: Vec<Vec<u8>> =
            held.iter().zip(positions.chunks(symbol)).map(widened).collect();
        for n in 0..k {
            let pivot = (n..k).find(|i| rows[*i][n] != 0).expect("the matrix has an inverse");
            rows.swap(n, pivot);
            let factor = inverse(rows[n][n]);
            rows[n] = rows[n].iter().map(|byte| schoolbook(factor, *byte)).collect();
            let pivot = rows[n].clone();
            for (_, row) in rows.iter_mut().enumerate().filter(|(i, row)| *i != n && row[n] != 0) {
                let factor = row[n];
                row.iter_mut().zip(&pivot).for_each(|(a, b)| *a ^= schoolbook(factor, *b));
            }
        }
        rows.iter().flat_map(|row| row[k..].to_vec()).collect()
    }

    /// A block of which the sources `lost` are gone and `parities` lie in their places.
    fn damaged(
        block: &[u8],
        k: usize,
        symbol: usize,
        lost: &[u8],
        parities: &[u8],
    ) -> (Vec<u8>, Vec<SymbolIndex>) {
        let mut positions = block.to_vec();
        positions.resize(k * symbol, 0);
        let mut held: Vec<_> = (0..192).take(k).map(SymbolIndex).collect();
        for (y, x) in lost.iter().zip(parities) {
            let at = usize::from(*y) * symbol;
            let length = if k == 1 { block.len() } else { symbol };
            positions[at..at + symbol].fill(0);
            let out = &mut positions[at..at + length];
            parity(&Portable, k, symbol, block, SymbolIndex(*x), out);
            held[usize::from(*y)] = SymbolIndex(*x);
        }
        (positions, held)
    }

    fn assert_restored(block: &[u8], positions: &[u8], held: &[SymbolIndex]) {
        assert_eq!(&positions[..block.len()], block);
        assert!(positions[block.len()..].iter().all(|byte| *byte == 0));
        assert!(held.iter().zip(0..).all(|(index, j)| index.0 == j));
    }

    // PROTOCOL S3
    #[test]
    fn parity_is_what_a_calculation_by_hand_says() {
        let mut out = [0xEE];
        // 0xC0 / 192 = 1, and 0x9F = 2 · 193 (0x182 + 0x11D), so 0x9F / 193 = 2.
        parity(&Portable, 2, 1, &[0xC0, 0x9F], SymbolIndex(192), &mut out);
        assert_eq!(out, [0x03]);
        // 0xC1 / 193 = 1, and 0x27 = 4 · 192 (0x9D, then 0x13A + 0x11D).
        parity(&Portable, 2, 1, &[0xC1, 0x27], SymbolIndex(193), &mut out);
        assert_eq!(out, [0x05]);
        // 255 xor 0 = 255; 0xE3 = 2 · 255 (0x1FE + 0x11D).
        parity(&Portable, 1, 9, &[0xE3], SymbolIndex(255), &mut out);
        assert_eq!(out, [0x02]);
    }

    // PROTOCOL S3
    #[test]
    fn parity_agrees_with_the_matrix_of_the_protocol() {
        for (k, symbol, length) in [(1, 7, 7), (2, 5, 6), (32, 3, 96), (192, 2, 383)] {
            let block = noise(length, 3);
            for index in 192..=255 {
                let mut out = vec![0xEE; symbol];
                parity(&Portable, k, symbol, &block, SymbolIndex(index), &mut out);
                assert_eq!(out, model_symbol(&block, k, symbol, index), "k {k} index {index}");
            }
        }
    }

    // PROTOCOL S3
    #[test]
    fn every_number_of_losses_of_the_largest_block_is_undone() {
        let (k, symbol) = (192, 5);
        let block = noise(k * symbol - 3, 1);
        for e in 1..=64_u8 {
            // 5 and 192 have no common factor, so the losses are distinct and reach the last.
            let lost: Vec<u8> = (0..e).map(|n| ((191 + 5 * u16::from(n)) % 192) as u8).collect();
            let parities: Vec<u8> = (0..e).map(|n| 255 - n).collect();
            let (mut positions, mut held) = damaged(&block, k, symbol, &lost, &parities);
            assert_eq!(decode(&Portable, k, symbol, &mut positions, &mut held), Ok(()));
            assert_restored(&block, &positions, &held);
        }
    }

    #[test]
    fn a_block_of_one_short_source_comes_back_from_any_parity() {
        for index in 192..=255 {
            let (mut positions, mut held) = damaged(b"short", 1, 8, &[0], &[index]);
            assert_eq!(decode(&Portable, 1, 8, &mut positions, &mut held), Ok(()));
            assert_restored(b"short", &positions, &held);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_left_alone() {
        let index = |indices: &[u8]| indices.iter().copied().map(SymbolIndex).collect::<Vec<_>>();
        let cases = [
            (0, 1, 0, index(&[]), DecodeError::Shape),
            (2, 0, 0, index(&[0, 1]), DecodeError::Shape),
            (2, 4, 7, index(&[0, 1]), DecodeError::Shape),
            (2, 4, 8, index(&[0]), DecodeError::Shape),
            (2, usize::MAX, 8, index(&[0, 1]), DecodeError::Shape),
            (193, 1, 193, index(&[0; 193]), DecodeError::Shape),
            (2, 4, 8, index(&[1, 0]), DecodeError::Misplaced(0)),
            (2, 4, 8, index(&[0, 191]), DecodeError::Misplaced(1)),
            (2, 4, 8, index(&[200, 200]), DecodeError::Repeated(SymbolIndex(200))),
            (192, 1, 192, index(&[255; 192]), DecodeError::Repeated(SymbolIndex(255))),
        ];
        for (k, symbol, length, mut held, error) in cases {
            let mut positions = noise(length, 9);
            let before = (positions.clone(), held.clone());
            assert_eq!(decode(&Portable, k, symbol, &mut positions, &mut held), Err(error));
            assert_eq!((positions, held), before);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        // PROTOCOL S3
        #[test]
        fn any_k_symbols_give_the_block_back_as_the_textbook_does(
            k in 1_usize..=48,
            symbol in 1_usize..12,
            short in 0_usize..12,
            seed: u64,
            order in Just((0..192).collect::<Vec<u8>>()).prop_shuffle(),
            parities in Just((192..=255).collect::<Vec<u8>>()).prop_shuffle(),
            losses in 0_usize..=48,
        ) {
            let block = noise(k * symbol - short % symbol, seed);
            let lost: Vec<u8> =
                order.into_iter().filter(|y| usize::from(*y) < k).take(losses).collect();
            let (mut positions, mut held) = damaged(&block, k, symbol, &lost, &parities);
            let model = model_decode(k, symbol, &positions, &held);
            prop_assert_eq!(decode(&Portable, k, symbol, &mut positions, &mut held), Ok(()));
            prop_assert_eq!(&positions, &model);
            assert_restored(&block, &positions, &held);
        }
    }
}
