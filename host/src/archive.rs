//! A backup's file: a plain tar archive (POSIX.1-1988, "ustar") that ends with the
//! SHA-256 of everything in it, written as `sha256sum` does. So other tools can look
//! into it, unpack it and check it.

use std::io::{self, Read, Write};

use fleetcast_core::digest::{Digest, Hasher};

/// Bytes of a header, and the unit of all lengths.
const BLOCK: usize = 512;
/// The last entry: a line `DIGEST  NAME` for each of the others.
pub const MANIFEST: &str = "SHA256SUMS";
/// Longest manifest that is read: some ten thousand packs.
const MAX_MANIFEST: u64 = 1 << 20;

/// Writes an archive.
pub struct ArchiveWriter<W: Write> {
    out: W,
    time: u64,
    manifest: String,
}

impl<W: Write> ArchiveWriter<W> {
    /// An empty archive made at `time`, in seconds since 1970.
    pub const fn new(out: W, time: u64) -> Self {
        Self { out, time, manifest: String::new() }
    }

    /// Appends a file of exactly `length` bytes, which are the first that `from` gives.
    ///
    /// # Errors
    /// As reading and writing do; `UnexpectedEof` when there are fewer bytes, `InvalidInput`
    /// when there are more files than an archive may have.
    pub fn add(&mut self, name: &str, length: u64, from: &mut dyn Read) -> io::Result<()> {
        self.out.write_all(&header(name, length, self.time)?)?;
        let mut hasher = Hasher::new();
        let mut left = length;
        let mut buffer = vec![0; 1 << 18];
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = from.read(&mut buffer[..most])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hasher.update(&buffer[..count]);
            self.out.write_all(&buffer[..count])?;
            left -= count as u64;
        }
        self.pad(length)?;
        self.manifest.push_str(&format!("{}  {name}\n", hasher.finish()));
        if self.manifest.len() as u64 > MAX_MANIFEST {
            // It could be written, and never be put back.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many files"));
        }
        Ok(())
    }

    /// Writes the end; returns what was written to.
    ///
    /// # Errors
    /// As writing does.
    pub fn finish(mut self) -> io::Result<W> {
        let manifest = std::mem::take(&mut self.manifest);
        let length = manifest.len() as u64;
        self.out.write_all(&header(MANIFEST, length, self.time)?)?;
        self.out.write_all(manifest.as_bytes())?;
        self.pad(length)?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        self.out.write_all(&[0; BLOCK][..padding(length)])
    }
}

/// Reads an archive, file by file.
pub struct ArchiveReader<R: Read> {
    input: R,
    digests: Vec<(String, Digest)>,
}

/// What is wrong with an archive that is none of ours, or not whole.
fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl<R: Read> ArchiveReader<R> {
    /// An archive from its beginning.
    pub const fn new(input: R) -> Self {
        Self { input, digests: Vec::new() }
    }

    /// Hands the next file to `take`, which gets its name and says where its bytes go;
    /// `false` at the end, when all of it has proved to be whole.
    ///
    /// # Errors
    /// As reading and writing do; `InvalidData` when the archive is not whole or none.
    pub fn next(
        &mut self,
        take: &mut dyn FnMut(&str) -> io::Result<Box<dyn Write>>,
    ) -> io::Result<bool> {
        let mut head = [0; BLOCK];
        self.input.read_exact(&mut head)?;
        let (name, length) = parse(&head)?;
        if name == MANIFEST {
            self.check(length)?;
            return Ok(false);
        }
        let mut out = take(&name)?;
        let mut hasher = Hasher::new();
        let mut left = length;
        let mut buffer = vec![0; 1 << 18];
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.input.read_exact(&mut buffer[..most])?;
            hasher.update(&buffer[..most]);
            out.write_all(&buffer[..most])?;
            left -= most as u64;
        }
        out.flush()?;
        self.input.read_exact(&mut [0; BLOCK][..padding(length)])?;
        self.digests.push((name, hasher.finish()));
        Ok(true)
    }

    /// Compares what was read with the manifest.
    fn check(&mut self, length: u64) -> io::Result<()> {
        if length > MAX_MANIFEST {
            return Err(damaged("its list of contents is too long"));
        }
        let mut text = String::new();
        let read = (&mut self.input).take(length).read_to_string(&mut text)?;
        let found = self.digests.iter().map(|(name, digest)| format!("{digest}  {name}\n"));
        if read as u64 != length || text != found.collect::<String>() {
            return Err(damaged("its contents are not what its list says"));
        }
        Ok(())
    }
}

const fn padding(length: u64) -> usize {
    (BLOCK - (length % BLOCK as u64) as usize) % BLOCK
}

/// A header: fields at their places, numbers in octal.
fn header(name: &str, length: u64, time: u64) -> io::Result<[u8; BLOCK]> {
    let mut head = [0; BLOCK];
    if name.len() > 100 || length >= 1 << 33 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too long for an archive"));
    }
    head[..name.len()].copy_from_slice(name.as_bytes());
    let mut field = |at: usize, text: String| {
        head[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    field(100, "0000600".to_owned());
    field(108, "0000000".to_owned());
    field(116, "0000000".to_owned());
    field(124, format!("{length:011o}"));
    field(136, format!("{:011o}", time.min((1 << 33) - 1)));
    field(148, " ".repeat(8));
    field(156, "0".to_owned());
    field(257, "ustar\u{0}00".to_owned());
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\u{0} ").as_bytes());
    Ok(head)
}

fn parse(head: &[u8; BLOCK]) -> io::Result<(String, u64)> {
    let octal = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?.trim_matches(['\0', ' ']).to_owned();
        u64::from_str_radix(&text, 8).ok()
    };
    let mut blank = *head;
    blank[148..156].fill(b' ');
    let sum: u64 = blank.iter().map(|byte| u64::from(*byte)).sum();
    if octal(&head[148..156]) != Some(sum) || head[156] != b'0' {
        return Err(damaged("it is no archive of fleetcast, or damaged"));
    }
    let end = head[..100].iter().position(|byte| *byte == 0).unwrap_or(100);
    let name = std::str::from_utf8(&head[..end]).map_err(|_| damaged("a name is damaged"))?;
    let length = octal(&head[124..136]).ok_or_else(|| damaged("a length is damaged"))?;
    Ok((name.to_owned(), length))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = ArchiveWriter::new(Vec::new(), 1_700_000_000);
        writer.add("catalog.db", 5, &mut &b"12345"[..]).unwrap();
        writer.add("packs/000001.pack", 512, &mut &[7; 600][..]).unwrap();
        writer.add("empty", 0, &mut io::empty()).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<String>> {
        let mut reader = ArchiveReader::new(bytes);
        let mut names = Vec::new();
        let mut take = |name: &str| {
            names.push(name.to_owned());
            Ok(Box::new(io::sink()) as Box<dyn Write>)
        };
        while reader.next(&mut take)? {}
        Ok(names)
    }

    #[test]
    fn another_tar_unpacks_it_and_sha256sum_finds_it_whole() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.tar"), archive()).unwrap();
        let script = "tar xf b.tar && sha256sum --quiet -c SHA256SUMS && stat -c %a%s packs/*";
        let done = Command::new("sh").current_dir(&folder).args(["-c", script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "600512\n", "{done:?}");
    }

    #[test]
    fn what_was_written_is_read_and_every_cut_and_every_changed_byte_is_noticed() {
        let whole = archive();
        assert_eq!(read(&whole).unwrap(), ["catalog.db", "packs/000001.pack", "empty"]);
        // The end of the last list, in whole blocks; what follows is nothing but zeros.
        let end = whole.len() - 2 * BLOCK;
        for cut in (0..end - BLOCK).step_by(61) {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        // Headers, contents, list: everything but padding.
        let of_catalog = 0..BLOCK + 5;
        let of_pack = 2 * BLOCK..4 * BLOCK;
        for at in of_catalog.chain(of_pack).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(read(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_archive_that_could_not_be_read_is_not_written() {
        let mut writer = ArchiveWriter::new(io::sink(), 0);
        let mut add = |n: u32| writer.add(&format!("packs/{n:07}.pack"), 0, &mut io::empty());
        // A line has a digest (64), two blanks, a name (18) and its end: 85 bytes, of which
        // 12,336 fit into a MiB.
        assert_eq!((0..20_000).find(|&n| add(n).is_err()), Some(12_336));
    }
}
