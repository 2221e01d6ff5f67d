//! Which function branches to which, by the instructions of Thumb-2 that branch to a place
//! known when linked (ARMv7-M Architecture Reference Manual, A7.7.12 and A7.7.18).

use std::collections::{BTreeMap, BTreeSet};

use super::elf::{Image, Kind, Section};

/// The section of code.
const CODE: &str = ".text";

/// Calls and jumps from one function to another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Branches {
    /// By the address of the function that is reached: those that branch to it.
    to: BTreeMap<u64, BTreeSet<u64>>,
}

impl Branches {
    /// Those of an image. An address of a function that stands in a section of data counts
    /// too, as a branch from there; among code it would be loaded by two instructions.
    pub(crate) fn of(image: &Image) -> Self {
        let mut branches = Self::default();
        let starts: BTreeSet<u64> =
            image.symbols.iter().filter(|s| s.kind == Kind::Code).map(|s| s.address).collect();
        let data = Data::of(image);
        for section in &image.sections {
            for (at, target) in section_branches(section, &data) {
                let from = starts.range(..=at).next_back();
                if let (Some(&from), true) = (from, starts.contains(&target))
                    && from != target
                {
                    branches.to.entry(target).or_default().insert(from);
                }
            }
            for (at, word) in words(section) {
                if word & 1 == 1 && starts.contains(&(word & !1)) {
                    branches.to.entry(word & !1).or_default().insert(at);
                }
            }
        }
        branches
    }

    /// Who branches to the function at an address.
    pub(crate) fn to(&self, address: u64) -> impl Iterator<Item = u64> + '_ {
        self.to.get(&address).into_iter().flatten().copied()
    }
}

/// Where data stands, also among code: from each place on, whether it is data.
struct Data(BTreeMap<u64, bool>);

impl Data {
    fn of(image: &Image) -> Self {
        let mut marks = BTreeMap::new();
        for section in &image.sections {
            marks.insert(section.address, section.name != CODE);
        }
        for symbol in image.symbols.iter().filter(|symbol| symbol.kind == Kind::Mark) {
            match symbol.name.get(..2) {
                Some("$t") => drop(marks.insert(symbol.address, false)),
                Some("$d") => drop(marks.insert(symbol.address, true)),
                _ => {}
            }
        }
        Self(marks)
    }

    fn is(&self, address: u64) -> bool {
        self.0.range(..=address).next_back().is_none_or(|(_, data)| *data)
    }
}

/// Places of branches, and where they go.
fn section_branches(section: &Section, data: &Data) -> Vec<(u64, u64)> {
    let half = |at: usize| {
        let bytes = section.bytes.get(at..at + 2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    };
    let (mut at, mut found) = (0, Vec::new());
    while let Some(first) = half(at) {
        let address = section.address + at as u64;
        if data.is(address) {
            at += 2;
            continue;
        }
        // 32 bits: the first five are 0b11101, 0b11110 or 0b11111.
        let second = (first >> 11 > 0b11100).then(|| half(at + 2)).flatten();
        let offset = match second {
            Some(second) => wide(first, second),
            None => narrow(first),
        };
        if let Some(offset) = offset {
            found.push((address, address.wrapping_add(4).wrapping_add_signed(offset)));
        }
        at += if second.is_some() { 4 } else { 2 };
    }
    found
}

/// Words of a section of data, and where they stand.
fn words(section: &Section) -> Vec<(u64, u64)> {
    let words = section.bytes.as_chunks::<4>().0.iter().zip(0..);
    let words =
        words.map(|(word, n)| (section.address + 4 * n, u64::from(u32::from_le_bytes(*word))));
    words.filter(|_| section.name != CODE).collect()
}

/// Where a branch of 16 bits goes, from the place four bytes behind it.
fn narrow(first: u16) -> Option<i64> {
    match first >> 12 {
        // B<c> T1; 14 and 15 are others.
        0b1101 if first >> 8 & 0xF < 14 => Some(signed(u32::from(first & 0xFF) << 1, 9)),
        // B T2.
        0b1110 if first >> 11 & 1 == 0 => Some(signed(u32::from(first & 0x7FF) << 1, 12)),
        _ => None,
    }
}

/// Where a branch of 32 bits goes.
fn wide(first: u16, second: u16) -> Option<i64> {
    if first >> 11 != 0b11110 || second >> 15 == 0 {
        return None;
    }
    let (first, second) = (u32::from(first), u32::from(second));
    let (sign, j1, j2) = (first >> 10 & 1, second >> 13 & 1, second >> 11 & 1);
    let low = (second & 0x7FF) << 1;
    if second >> 12 & 1 == 1 {
        // B T4 and BL T1 (without bit 14 and with it).
        let (i1, i2) = (1 ^ j1 ^ sign, 1 ^ j2 ^ sign);
        let high = sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12;
        return Some(signed(high | low, 25));
    }
    // B<c> T3; BLX does not exist here, and conditions 14 and 15 are other instructions.
    let is_branch = second >> 14 & 1 == 0 && first >> 6 & 0xF < 14;
    let high = sign << 20 | j2 << 19 | j1 << 18 | (first & 0x3F) << 12;
    is_branch.then(|| signed(high | low, 21))
}

/// A number of so many bits with a sign.
fn signed(value: u32, bits: u32) -> i64 {
    i64::from((value << (32 - bits)) as i32 >> (32 - bits))
}

#[cfg(test)]
mod tests {
    use super::super::elf::Symbol;
    use super::*;

    // Encodings as `llvm-mc --triple=thumbv7m --show-encoding` gives them.
    #[test]
    fn branches_of_all_kinds_go_where_the_assembler_sent_them() {
        // b #-6 and b #2046 (T2); beq #-256 (T1).
        assert_eq!(narrow(0xE7FD), Some(-6));
        assert_eq!(narrow(0xE3FF), Some(2_046));
        assert_eq!(narrow(0xD080), Some(-256));
        // svc #0 and udf #0 are no branches, nor is movs r0, #0.
        assert_eq!([narrow(0xDF00), narrow(0xDE00), narrow(0x2000)], [None; 3]);
        // bl #4096, bl #-4, b.w #-4096, beq.w #4096.
        assert_eq!(wide(0xF001, 0xF800), Some(4_096));
        assert_eq!(wide(0xF7FF, 0xFFFE), Some(-4));
        assert_eq!(wide(0xF7FF, 0xB800), Some(-4_096));
        assert_eq!(wide(0xF001, 0x8000), Some(4_096));
        // dmb sy and mov.w r0, #0 are no branches.
        assert_eq!([wide(0xF3BF, 0x8F5F), wide(0xF04F, 0x0000)], [None; 2]);
    }

    fn symbol(name: &str, address: u64, kind: Kind) -> Symbol {
        Symbol { name: name.to_owned(), address, size: 8, kind }
    }

    #[test]
    fn literals_among_code_are_data_and_addresses_among_data_are_branches() {
        // At 0x100 `bl 0x110`, then a literal that looks like `bl`; at 0x110 a function.
        let mut text = vec![0x00, 0xF0, 0x06, 0xF8, 0x00, 0xF0, 0x06, 0xF8];
        text.resize(20, 0);
        let table = 0x111_u32.to_le_bytes().to_vec();
        let section = |name: &str, address, bytes: Vec<u8>| Section {
            name: name.to_owned(),
            address,
            size: bytes.len() as u64,
            bytes,
        };
        let image = Image {
            sections: vec![section(".text", 0x100, text), section(".rodata", 0x200, table)],
            symbols: vec![
                symbol("caller", 0x100, Kind::Code),
                symbol("$t.0", 0x100, Kind::Mark),
                symbol("$d.1", 0x104, Kind::Mark),
                symbol("$t.2", 0x108, Kind::Mark),
                symbol("target", 0x110, Kind::Code),
            ],
        };
        let branches = Branches::of(&image);
        assert_eq!(branches.to(0x110).collect::<Vec<_>>(), [0x100, 0x200]);
        assert_eq!(branches.to(0x100).count(), 0);
    }
}
