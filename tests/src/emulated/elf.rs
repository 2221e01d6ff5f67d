//! Where things are in a firmware image (System V ABI, ELF, 32 bit).

/// Section type: symbols.
const SYMBOLS: u32 = 2;

/// The address of the first symbol whose name, mangled or not, contains `part`.
#[must_use]
pub fn symbol(image: &[u8], part: &str) -> Option<u32> {
    let (table, count) = (u32_at(image, 32)?, u16_at(image, 48)?);
    let header = |number: u32| image.get(table as usize + number as usize * 40..);
    let section = |number: u32| {
        let header = header(number)?;
        let (from, len) = (u32_at(header, 16)? as usize, u32_at(header, 20)? as usize);
        image.get(from..from.checked_add(len)?)
    };
    for number in 0..u32::from(count) {
        if u32_at(header(number)?, 4)? != SYMBOLS {
            continue;
        }
        let names = section(u32_at(header(number)?, 24)?)?;
        for symbol in section(number)?.as_chunks::<16>().0 {
            let name = names.get(u32_at(symbol, 0)? as usize..)?;
            let name = name.split(|&byte| byte == 0).next()?;
            if String::from_utf8_lossy(name).contains(part) {
                // The lowest bit says "Thumb".
                return Some(u32_at(symbol, 4)? & !1);
            }
        }
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_found_by_a_part_of_its_name() {
        let mut image = vec![0; 52];
        image[32..36].copy_from_slice(&52_u32.to_le_bytes());
        image[48..50].copy_from_slice(&2_u16.to_le_bytes());
        let section = |kind: u32, from: u32, len: u32, link: u32| {
            [0, kind, 0, 0, from, len, link, 0, 0, 0].map(u32::to_le_bytes).concat()
        };
        // Two headers of 40 bytes, two symbols of 16, and their names.
        image.extend(section(SYMBOLS, 132, 32, 1));
        image.extend(section(3, 164, 11, 0));
        for (name, value) in [(1_u32, 0x101_u32), (6, 0x201)] {
            image.extend([name, value, 0, 0].map(u32::to_le_bytes).concat());
        }
        image.extend(b"\0here\0there");
        assert_eq!(symbol(&image, "the"), Some(0x200));
        assert_eq!(symbol(&image, "nowhere"), None);
        assert_eq!(symbol(b"no", "x"), None);
    }
}
