//! Sets of ordinals: one bit each.

/// A set of numbers below a bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    len: u32,
    ones: u32,
}

impl Bits {
    /// The empty set of numbers below `len`.
    pub(crate) fn new(len: u32) -> Self {
        Self { words: vec![0; (len as usize).div_ceil(64)], len, ones: 0 }
    }

    /// The bound.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// How many numbers are in the set.
    pub(crate) const fn ones(&self) -> u32 {
        self.ones
    }

    /// Whether `number` is in the set.
    pub(crate) fn has(&self, number: u32) -> bool {
        number < self.len && self.words[number as usize / 64] >> (number % 64) & 1 == 1
    }

    /// Puts `number` in; whether it was not there.
    pub(crate) fn insert(&mut self, number: u32) -> bool {
        let new = number < self.len && !self.has(number);
        if new {
            self.words[number as usize / 64] |= 1 << (number % 64);
            self.ones += 1;
        }
        new
    }

    /// Takes `number` out; whether it was there.
    pub(crate) fn remove(&mut self, number: u32) -> bool {
        let there = self.has(number);
        if there {
            self.words[number as usize / 64] &= !(1 << (number % 64));
            self.ones -= 1;
        }
        there
    }

    /// The smallest number of the set that is not below `from`.
    pub(crate) fn next(&self, from: u32) -> Option<u32> {
        let mut index = from as usize / 64;
        let mut word = self.words.get(index)? & (u64::MAX << (from % 64));
        while word == 0 {
            index += 1;
            word = *self.words.get(index)?;
        }
        Some(index as u32 * 64 + word.trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_set_of_bits_agrees_with_a_set_of_numbers() {
        let (mut bits, mut model) = (Bits::new(200), BTreeSet::new());
        for step in 0..600_u32 {
            let number = step * 37 % 201;
            if step % 3 == 0 {
                assert_eq!(bits.remove(number), model.remove(&number));
            } else if number < 200 {
                assert_eq!(bits.insert(number), model.insert(number));
            }
            assert_eq!(bits.ones() as usize, model.len());
            assert_eq!(bits.next(number), model.range(number..).next().copied());
        }
        assert!(!bits.insert(200) && !bits.has(200));
    }
}
