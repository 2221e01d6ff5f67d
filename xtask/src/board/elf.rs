//! What an image takes of flash and RAM, by its section table (System V ABI, ELF, 32 bit).

/// Section type: takes no room in the file.
const NO_BITS: u32 = 8;
/// Section type: symbols.
const SYMBOLS: u32 = 2;
/// Section flag: takes memory at run time.
const ALLOCATED: u32 = 2;

/// Bytes of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// In flash: code, constants, and what static data begins with.
    pub(crate) flash: u64,
    /// In RAM: static data.
    pub(crate) ram: u64,
}

/// What an image takes; `ram` is where RAM begins and how many bytes it has.
pub(crate) fn taken(image: &[u8], ram: (u64, u64)) -> Option<Taken> {
    let is_elf32 = image.get(..6)? == [0x7F, b'E', b'L', b'F', 1, 1];
    let (table, entry, count) = (u32_at(image, 32)?, u16_at(image, 46)?, u16_at(image, 48)?);
    let mut taken = Taken::default();
    for number in 0..usize::from(count) {
        let header = image.get(table as usize + number * usize::from(entry)..)?;
        let (kind, flags) = (u32_at(header, 4)?, u32_at(header, 8)?);
        let (address, size) = (u64::from(u32_at(header, 12)?), u64::from(u32_at(header, 20)?));
        if flags & ALLOCATED == 0 {
            continue;
        }
        if kind != NO_BITS {
            taken.flash += size;
        }
        if (ram.0..ram.0 + ram.1).contains(&address) {
            taken.ram += size;
        }
    }
    is_elf32.then_some(taken)
}

/// Names and values of all symbols of an image.
pub(crate) fn symbols(image: &[u8]) -> Vec<(String, u32)> {
    let header = |number: u32| {
        let (table, entry) = (u32_at(image, 32)?, u16_at(image, 46)?);
        image.get(table as usize + number as usize * usize::from(entry)..)
    };
    let section = |number: u32| {
        let header = header(number)?;
        let (from, len) = (u32_at(header, 16)? as usize, u32_at(header, 20)? as usize);
        image.get(from..from.checked_add(len)?)
    };
    let tables = (0..u16_at(image, 48).unwrap_or(0)).filter_map(|number| {
        let header = header(number.into()).filter(|header| u32_at(header, 4) == Some(SYMBOLS))?;
        Some((section(number.into())?, section(u32_at(header, 24)?)?))
    });
    let named = |symbol: &[u8], names: &[u8]| {
        let name = names.get(u32_at(symbol, 0)? as usize..)?.split(|&byte| byte == 0).next()?;
        Some((String::from_utf8_lossy(name).into_owned(), u32_at(symbol, 4)?))
    };
    let of_table = |(symbols, names): (&[u8], &[u8])| {
        let found = symbols.as_chunks::<16>().0.iter();
        found.filter_map(|symbol| named(symbol, names)).collect::<Vec<_>>()
    };
    tables.flat_map(of_table).collect()
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

    /// A section header: type, flags, address, size.
    fn header(kind: u32, flags: u32, address: u32, size: u32) -> Vec<u8> {
        [0, kind, flags, address, 0, size, 0, 0, 0, 0]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect()
    }

    #[test]
    fn initialised_data_counts_in_flash_and_in_ram() {
        let mut image = vec![0; 52];
        image[..6].copy_from_slice(&[0x7F, b'E', b'L', b'F', 1, 1]);
        image[32..36].copy_from_slice(&52_u32.to_le_bytes());
        image[46..50].copy_from_slice(&[40, 0, 4, 0]);
        image.extend(header(1, 2, 0, 1_000));
        image.extend(header(1, 3, 0x2000_0000, 30));
        image.extend(header(NO_BITS, 3, 0x2000_0020, 500));
        // A comment is in the file alone.
        image.extend(header(1, 0, 0, 77));
        let ram = (0x2000_0000, 65_536);
        assert_eq!(taken(&image, ram), Some(Taken { flash: 1_030, ram: 530 }));
        assert_eq!(taken(&image[..100], ram), None);
        assert_eq!(taken(b"no", ram), None);
    }
}
