//! Which chunks of an older release a changed chunk resembles: those that stood
//! where it stands now.
//!
//! Where bytes were inserted, removed or replaced the cuts around them moved, and
//! beyond both ends chunks are the same again. So a run of new chunks between two
//! that did not change came from the run of old ones between the same two; within
//! it, a chunk came from about the bytes at its distance from either end.
//!
//! ```text
//! old   A   B   C   D   E            c, from d's and e's left, resembles C and D
//!       │   └───┬───┘   │
//! new   A   c   d   e   E
//! ```

use std::collections::HashMap;
use std::ops::Range;

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::MAX_PREDECESSORS;
use fleetcast_core::tree::reference::ChunkRef;

use super::contents::{Contents, FileStream};

/// Changed chunks that are looked at; more of them are no small change.
const MOST: usize = 4_096;

/// Chunks of a release that another one lacks, and the chunks of that one which they
/// resemble, at most [`MAX_PREDECESSORS`] each.
pub(super) type Alignment = HashMap<Digest, Vec<ChunkRef>>;

/// Compares two releases: level by level of their indexes, file by file.
pub(super) fn align(old: &Contents, new: &Contents) -> Alignment {
    let mut found = Alignment::new();
    levels(old, new, &mut found);
    files(old, new, &mut found);
    found
}

/// Entry table with entry table, and each list with the list as far above it.
fn levels(old: &Contents, new: &Contents, found: &mut Alignment) {
    let (mut old_end, mut new_end) = (old.index.len(), new.index.len());
    for (was, is) in old.streams.levels.iter().rev().zip(new.streams.levels.iter().rev()) {
        let (old_start, new_start) =
            (old_end.saturating_sub(*was as usize), new_end.saturating_sub(*is as usize));
        streams(&old.index[old_start..old_end], &new.index[new_start..new_end], found);
        (old_end, new_end) = (old_start, new_start);
    }
}

/// Each file with the one of the same path, else with one that shares a chunk with it.
fn files(old: &Contents, new: &Contents, found: &mut Alignment) {
    let by_path: HashMap<Digest, usize> =
        old.streams.files.iter().enumerate().map(|(at, file)| (file.path, at)).collect();
    let mut by_chunk: HashMap<Digest, usize> = HashMap::new();
    for (at, file) in old.streams.files.iter().enumerate().rev() {
        by_chunk.extend(chunks_of(old, file).map(|chunk| (chunk.id, at)));
    }
    for file in &new.streams.files {
        let is: Vec<ChunkRef> = chunks_of(new, file).collect();
        if is.iter().all(|chunk| by_chunk.contains_key(&chunk.id)) || found.len() >= MOST {
            continue;
        }
        let same_path = by_path.get(&file.path);
        let source = same_path.or_else(|| is.iter().find_map(|chunk| by_chunk.get(&chunk.id)));
        if let Some(source) = source.and_then(|&at| old.streams.files.get(at)) {
            let was: Vec<ChunkRef> = chunks_of(old, source).collect();
            streams(&was, &is, found);
        }
    }
}

fn chunks_of<'c>(
    contents: &'c Contents,
    file: &FileStream,
) -> impl Iterator<Item = ChunkRef> + use<'c> {
    let (first, chunks) = (file.first as usize, file.chunks as usize);
    let ordinals = contents.streams.ordinals.iter().skip(first).take(chunks);
    ordinals.filter_map(|&ordinal| contents.content.get(ordinal as usize).copied())
}

/// Compares two streams.
fn streams(old: &[ChunkRef], new: &[ChunkRef], found: &mut Alignment) {
    // Of chunks that repeat, the first.
    let places: HashMap<Digest, usize> =
        old.iter().enumerate().rev().map(|(at, chunk)| (chunk.id, at)).collect();
    let same = |at: usize, chunk: &ChunkRef| old.get(at).is_some_and(|was| was.id == chunk.id);
    let (mut next, mut after) = (0, 0);
    while let Some(chunk) = new.get(next) {
        if let Some(&place) = places.get(&chunk.id) {
            after = if same(after, chunk) { after + 1 } else { place + 1 };
            next += 1;
            continue;
        }
        let first = next;
        while new.get(next).is_some_and(|chunk| !places.contains_key(&chunk.id)) {
            next += 1;
        }
        let before = new.get(next).map_or(old.len(), |chunk| places[&chunk.id]);
        // What was moved here from elsewhere does not end the run.
        let end = if before >= after { before } else { (after + MAX_PREDECESSORS).min(old.len()) };
        spread(&old[after..end], &new[first..next], found);
    }
}

/// Gives each chunk of a run the old ones that it came from.
fn spread(old: &[ChunkRef], new: &[ChunkRef], found: &mut Alignment) {
    if old.is_empty() {
        return;
    }
    let cuts: Vec<u64> = ends(old).collect();
    let (was, is) = (cuts.last().copied().unwrap_or(0), ends(new).last().unwrap_or(0));
    let mut start = 0;
    for chunk in new.iter().take(MOST - found.len().min(MOST)) {
        let end = start + u64::from(chunk.len);
        // At its distance from the run's beginning, and from the run's end.
        let back = |from_left: u64| (from_left + was).saturating_sub(is);
        let mut like = overlapping(&cuts, start.min(back(start)), end.max(back(end)));
        if like.len() > MAX_PREDECESSORS {
            let middle = u128::from(start + end) * u128::from(was) / u128::from(2 * is.max(1));
            let middle = overlapping(&cuts, middle as u64, middle as u64 + 1).start;
            let first = middle.saturating_sub(MAX_PREDECESSORS / 2);
            like = first..(first + MAX_PREDECESSORS).min(old.len());
        }
        found.entry(chunk.id).or_insert_with(|| old[like].to_vec());
        start = end;
    }
}

/// The chunks, told by where they end, that bytes `from..to` touch; one at least.
fn overlapping(ends: &[u64], from: u64, to: u64) -> Range<usize> {
    let last = ends.len() - 1;
    let first = ends.partition_point(|&end| end <= from).min(last);
    let after = ends.partition_point(|&end| end < to).min(last) + 1;
    first..after.max(first + 1)
}

/// Where each chunk ends.
fn ends(chunks: &[ChunkRef]) -> impl Iterator<Item = u64> + '_ {
    chunks.iter().scan(0, |end, chunk| {
        *end += u64::from(chunk.len);
        Some(*end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of chunks told by letters: each is its letter and 1,000 bytes long, a
    /// capital 2,000.
    fn stream(letters: &str) -> Vec<ChunkRef> {
        let chunk = |letter: char| {
            let len = if letter.is_uppercase() { 2_000 } else { 1_000 };
            ChunkRef { id: Digest::of(letter.to_string().as_bytes()), len }
        };
        letters.chars().map(chunk).collect()
    }

    /// What a letter of `new` resembles in `old`.
    fn like(old: &str, new: &str, letter: char) -> String {
        let mut found = Alignment::new();
        streams(&stream(old), &stream(new), &mut found);
        let Some(like) = found.get(&stream(&letter.to_string())[0].id) else { return "-".into() };
        let letter_of =
            |chunk: &ChunkRef| old.chars().find(|l| stream(&l.to_string())[0] == *chunk);
        like.iter().filter_map(letter_of).collect()
    }

    #[test]
    fn a_changed_chunk_resembles_the_one_in_its_place() {
        assert_eq!(like("abcde", "abxde", 'x'), "c");
        assert_eq!(like("abcde", "xbcde", 'x'), "a");
        assert_eq!(like("abcde", "abcdx", 'x'), "e");
        assert_eq!(like("abcde", "abcde", 'c'), "-");
    }

    #[test]
    fn cuts_that_moved_give_several() {
        // One in place of two, two in place of one.
        assert_eq!(like("abcde", "abXe", 'X'), "cd");
        assert_eq!(like("abCde", "abxyde", 'x'), "C");
        assert_eq!(like("abCde", "abxyde", 'y'), "C");
        // In a run of as many bytes each is at its place.
        assert_eq!(like("abcdefg", "avwxyzg", 'x'), "d");
        // 2,000 bytes more: from the left it is d, from the right b.
        assert_eq!(like("abcdefg", "avwxyzQg", 'x'), "bcd");
    }

    #[test]
    fn a_run_that_is_much_longer_or_shorter_is_spread_over_the_other() {
        assert_eq!(like("abcdefghij", "aXj", 'X'), "defg");
        assert_eq!(like("ab", "avwxyzb", 'w'), "-");
        assert_eq!(like("amb", "avwxyzb", 'z'), "m");
    }

    #[test]
    fn what_was_appended_or_moved_is_found_by_what_stands_before() {
        assert_eq!(like("abc", "abcx", 'x'), "-");
        assert_eq!(like("abcdef", "defxabc", 'x'), "-");
        assert_eq!(like("abcdef", "cxabdef", 'x'), "def");
        // The second of two equal chunks: the one that follows counts.
        assert_eq!(like("aabaacd", "aabaaxd", 'x'), "c");
    }

    fn contents(files: &[(&str, &str)]) -> Contents {
        use fleetcast_core::ids::{GroupId, ReleaseOrder};
        use fleetcast_core::wire::control::ReleaseName;
        let order = ReleaseOrder { reset_epoch: 0, sequence: 1 };
        let name = ReleaseName { group: GroupId([1; 16]), order, digest: Digest([1; 32]) };
        let mut contents = Contents {
            name,
            document: Vec::new(),
            index: Vec::new(),
            content: Vec::new(),
            streams: Default::default(),
            constrained: None,
        };
        for (path, letters) in files {
            let first = contents.streams.ordinals.len() as u32;
            let path = Digest::of(path.as_bytes());
            let chunks = stream(letters);
            let file = FileStream { path, first, chunks: chunks.len() as u32 };
            contents.streams.files.push(file);
            contents.streams.ordinals.extend((contents.content.len() as u32..).take(chunks.len()));
            contents.content.extend(chunks);
        }
        contents
    }

    #[test]
    fn files_are_compared_with_those_of_their_path_or_of_their_chunks() {
        let old = contents(&[("one", "a"), ("two", "b"), ("three", "cde")]);
        let new = contents(&[("one", "w"), ("two", "x"), ("moved", "cyez"), ("new", "q")]);
        let found = align(&old, &new);
        let like = |letter| found.get(&stream(letter)[0].id).cloned();
        assert_eq!(like("w"), Some(stream("a")));
        assert_eq!(like("x"), Some(stream("b")));
        assert_eq!(like("y"), Some(stream("d")));
        assert_eq!((like("z"), like("q")), (None, None));
    }

    #[test]
    fn lists_are_compared_level_by_level_from_the_entry_table_upwards() {
        let (mut old, mut new) = (contents(&[]), contents(&[]));
        (old.index, old.streams.levels) = (stream("abcd"), vec![1, 3]);
        (new.index, new.streams.levels) = (stream("tuvbxd"), vec![1, 2, 3]);
        let found = align(&old, &new);
        let like = |letter| found.get(&stream(letter)[0].id).cloned();
        assert_eq!(like("x"), Some(stream("c")));
        assert_eq!((like("u"), like("t")), (Some(stream("a")), None));
    }
}
