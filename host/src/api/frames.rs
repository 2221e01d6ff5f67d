//! The stream of `PUT /chunks`: `id (32) ‖ record`, again and again. A record
//! tells its own length, so that a frame needs none.

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::RECORD_HEADER;

use crate::codec::BadRecord;
use crate::packs::record_len;

/// Cuts a stream of bytes into frames; holds at most one frame and one piece.
#[derive(Default)]
pub(super) struct Frames {
    held: Vec<u8>,
    start: usize,
}

impl Frames {
    /// Takes the next piece of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.start);
        self.start = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more has come.
    ///
    /// # Errors
    /// [`BadRecord`] when what comes next is no record.
    pub(super) fn next_frame(&mut self) -> Result<Option<(Digest, &[u8])>, BadRecord> {
        let rest = self.held.get(self.start..).unwrap_or_default();
        let Some((id, rest)) = rest.split_first_chunk::<{ Digest::LEN }>() else {
            return Ok(None);
        };
        if rest.len() < RECORD_HEADER {
            return Ok(None);
        }
        let length = record_len(rest)?;
        let Some(record) = rest.get(..length) else { return Ok(None) };
        self.start += Digest::LEN + length;
        Ok(Some((Digest(*id), record)))
    }

    /// Whether the stream ended between two frames.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use fleetcast_core::wire::Malformed;

    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let record = |text: &[u8]| {
            let len = text.len() as u8;
            [&[0, len, 0, 0, len, 0, 0], text].concat()
        };
        let frames = [(Digest([1; 32]), record(b"one")), (Digest([2; 32]), record(b"three"))];
        let stream: Vec<u8> =
            frames.iter().flat_map(|(id, record)| [&id.0[..], record].concat()).collect();
        for piece in 1..=stream.len() {
            let mut cutter = Frames::default();
            let mut found = Vec::new();
            for bytes in stream.chunks(piece) {
                cutter.push(bytes);
                while let Some((id, record)) = cutter.next_frame().unwrap() {
                    found.push((id, record.to_vec()));
                }
            }
            assert_eq!(found, frames);
            assert!(cutter.is_empty());
        }
    }

    #[test]
    fn a_stream_that_is_none_is_refused_and_a_torn_one_noticed() {
        let mut cutter = Frames::default();
        cutter.push(&[9; 39]);
        assert_eq!(cutter.next_frame(), Err(BadRecord::Malformed(Malformed::Bound)));
        let mut cutter = Frames::default();
        cutter.push(&[0; 20]);
        assert_eq!(cutter.next_frame(), Ok(None));
        assert!(!cutter.is_empty());
    }
}
