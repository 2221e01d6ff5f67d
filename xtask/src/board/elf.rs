//! An image's sections and symbols, by its tables (System V ABI, ELF, 32 bit).

/// Section type: symbols.
const SYMBOL_TABLE: u32 = 2;
/// Section type: takes no room in the file.
const NO_BITS: u32 = 8;
/// Section type: symbols.
const SYMBOLS: u32 = 2;
/// Section flag: takes memory at run time.
const ALLOCATED: u32 = 2;
/// Kinds of symbols: data, code.
const OBJECT: u8 = 1;
const FUNCTION: u8 = 2;

/// Bytes of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// In flash: code, constants, and what static data begins with.
    pub(crate) flash: u64,
    /// In RAM: static data.
    pub(crate) ram: u64,
}

impl Taken {
    /// Both together with another's.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self { flash: self.flash + other.flash, ram: self.ram + other.ram }
    }
}

/// A section that takes memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// Its name.
    pub(crate) name: String,
    /// Where it is at run time.
    pub(crate) address: u64,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Its bytes; empty where it begins with zeros.
    pub(crate) bytes: Vec<u8>,
}

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Data.
    Data,
    /// Code.
    Code,
    /// A place: where code or data begin (Arm ELF, 4.5.5), or an address.
    Mark,
}

/// A name for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Symbol {
    /// As the compiler made it.
    pub(crate) name: String,
    /// Without the bit that says "Thumb".
    pub(crate) address: u64,
    /// Bytes, 0 for a mark.
    pub(crate) size: u64,
    /// What is there.
    pub(crate) kind: Kind,
}

/// A linked program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    /// What takes memory, by address.
    pub(crate) sections: Vec<Section>,
    /// All names, by address.
    pub(crate) symbols: Vec<Symbol>,
}

impl Image {
    /// Reads a file; `None` where it is no such.
    pub(crate) fn read(file: &[u8]) -> Option<Self> {
        let is_elf32 = file.get(..6)? == [0x7F, b'E', b'L', b'F', 1, 1];
        let headers = if is_elf32 { Header::all(file)? } else { return None };
        let names = headers.get(usize::from(u16_at(file, 50)?));
        let mut image = Self::default();
        for header in &headers {
            if header.flags & ALLOCATED != 0 {
                image.sections.push(Section {
                    name: names.map_or_else(String::new, |names| names.text(file, header.name)),
                    address: header.address.into(),
                    size: header.size.into(),
                    bytes: header.bytes(file).unwrap_or_default().to_vec(),
                });
            } else if header.kind == SYMBOL_TABLE {
                let strings = headers.get(header.link as usize)?;
                let entries = header.bytes(file)?.as_chunks::<16>().0;
                image.symbols.extend(entries.iter().filter_map(|e| symbol(file, strings, e)));
            }
        }
        image.sections.sort_by_key(|section| section.address);
        image.symbols.sort_by_key(|symbol| symbol.address);
        Some(image)
    }

    /// What it takes in all.
    pub(crate) fn taken(&self, ram: (u64, u64)) -> Taken {
        self.sections.iter().map(|section| section.taken(ram)).fold(Taken::default(), Taken::plus)
    }

    /// The section that an address lies in.
    pub(crate) fn section_at(&self, address: u64) -> Option<&Section> {
        self.sections.iter().find(|s| (s.address..s.address + s.size).contains(&address))
    }
}

impl Section {
    /// What it takes; `ram` is where RAM begins and how many bytes it has.
    pub(crate) fn taken(&self, ram: (u64, u64)) -> Taken {
        self.taken_by(self.size, ram)
    }

    /// What `size` bytes of it take.
    pub(crate) fn taken_by(&self, size: u64, ram: (u64, u64)) -> Taken {
        let in_ram = (ram.0..ram.0 + ram.1).contains(&self.address);
        let flash = if self.bytes.is_empty() { 0 } else { size };
        Taken { flash, ram: if in_ram { size } else { 0 } }
    }
}

/// An entry of the section table.
struct Header {
    name: u32,
    kind: u32,
    flags: u32,
    address: u32,
    offset: u32,
    size: u32,
    link: u32,
}

impl Header {
    fn all(file: &[u8]) -> Option<Vec<Self>> {
        let (table, entry, count) = (u32_at(file, 32)?, u16_at(file, 46)?, u16_at(file, 48)?);
        let read = |number: u16| {
            let header = file.get(table as usize + usize::from(number) * usize::from(entry)..)?;
            let field = |n: usize| u32_at(header, 4 * n);
            let (name, kind, flags, address) = (field(0)?, field(1)?, field(2)?, field(3)?);
            let (offset, size, link) = (field(4)?, field(5)?, field(6)?);
            Some(Self { name, kind, flags, address, offset, size, link })
        };
        (0..count).map(read).collect()
    }

    /// Its bytes in the file; `None` where it has none.
    fn bytes<'f>(&self, file: &'f [u8]) -> Option<&'f [u8]> {
        let start = self.offset as usize;
        file.get(start..start + self.size as usize).filter(|_| self.kind != NO_BITS)
    }

    /// The text at an offset of a table of strings.
    fn text(&self, file: &[u8], at: u32) -> String {
        let bytes = self.bytes(file).and_then(|bytes| bytes.get(at as usize..)).unwrap_or(&[]);
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or(&[]);
        String::from_utf8_lossy(text).into_owned()
    }
}

fn symbol(file: &[u8], strings: &Header, entry: &[u8; 16]) -> Option<Symbol> {
    let (name, value, size) = (u32_at(entry, 0)?, u32_at(entry, 4)?, u32_at(entry, 8)?);
    let kind = match entry[12] & 0xF {
        OBJECT => Kind::Data,
        FUNCTION => Kind::Code,
        _ => Kind::Mark,
    };
    let address = if kind == Kind::Code { value & !1 } else { value };
    let name = strings.text(file, name);
    // Those of section 0 are not defined here.
    let defined = u16_at(entry, 14)? != 0 && !name.is_empty();
    defined.then(|| Symbol { name, address: address.into(), size: size.into(), kind })
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

    const RAM: (u64, u64) = (0x2000_0000, 65_536);

    fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// A section: name, type, flags, address, bytes or length, link.
    type Made = (u32, u32, u32, u32, Result<Vec<u8>, u32>, u32);

    /// A file of these sections, the last of them with the names.
    fn file(sections: &[Made]) -> Vec<u8> {
        let mut file = vec![0; 52];
        let mut table = Vec::new();
        for (name, kind, flags, address, content, link) in sections {
            let (bytes, len) = match content {
                Ok(bytes) => (&bytes[..], bytes.len() as u32),
                Err(len) => (&[][..], *len),
            };
            let offset = file.len() as u32;
            file.extend(bytes);
            table.extend(words([*name, *kind, *flags, *address, offset, len, *link, 0, 0, 0]));
        }
        let at = file.len() as u32;
        file.extend(table);
        file[..6].copy_from_slice(&[0x7F, b'E', b'L', b'F', 1, 1]);
        file[32..36].copy_from_slice(&at.to_le_bytes());
        let count = sections.len() as u8;
        file[46..52].copy_from_slice(&[40, 0, count, 0, count - 1, 0]);
        file
    }

    fn example() -> Vec<u8> {
        let strings = b"\0.text\0.bss\0f\0$t\0".to_vec();
        // Symbols: none; f, code of six bytes in Thumb; a mark.
        let mut symbols = vec![0; 16];
        symbols.extend(words([12, 0x101, 6, 0x0001_0002]));
        symbols.extend(words([14, 0x100, 0, 0x0001_0000]));
        file(&[
            (1, 1, 2, 0x100, Ok(vec![0xAA; 1_000]), 0),
            (0, 1, 3, 0x2000_0000, Ok(vec![0xBB; 30]), 0),
            (7, NO_BITS, 3, 0x2000_0020, Err(500), 0),
            // A comment is in the file alone.
            (0, 1, 0, 0, Ok(vec![0; 77]), 0),
            (0, SYMBOL_TABLE, 0, 0, Ok(symbols), 5),
            (0, 3, 0, 0, Ok(strings), 0),
        ])
    }

    #[test]
    fn initialised_data_counts_in_flash_and_in_ram() {
        let image = Image::read(&example()).unwrap();
        assert_eq!(image.taken(RAM), Taken { flash: 1_030, ram: 530 });
        let names: Vec<&str> = image.sections.iter().map(|s| &s.name[..]).collect();
        assert_eq!(names, [".text", "", ".bss"]);
        assert!(Image::read(&example()[..100]).is_none());
        assert!(Image::read(b"no").is_none());
    }

    #[test]
    fn symbols_name_places_without_the_bit_of_thumb() {
        let image = Image::read(&example()).unwrap();
        let code = Symbol { name: "f".into(), address: 0x100, size: 6, kind: Kind::Code };
        let mark = Symbol { name: "$t".into(), address: 0x100, size: 0, kind: Kind::Mark };
        assert_eq!(image.symbols, [code, mark]);
        assert_eq!(image.section_at(0x4E7).map(|s| &s.name[..]), Some(".text"));
        assert_eq!(image.section_at(0x4E8), None);
    }
}
