//! Memory for the messages that wait for one receiver: taken with the first of them.
//!
//! A server keeps a place for every receiver that it may ever have at a time; most places
//! are empty for most of their lives, and cost next to nothing then. The bound is the same:
//! so many places, and so many bytes for each.

use fleetcast_core::server::MESSAGES;

/// What is read where nothing was ever written.
static NOTHING: [u8; MESSAGES] = [0; MESSAGES];

/// [`MESSAGES`] bytes, all zero until they are written.
#[derive(Clone, Default)]
pub(super) struct Letterbox(Option<Box<[u8]>>);

impl AsRef<[u8]> for Letterbox {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl AsMut<[u8]> for Letterbox {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.get_or_insert_with(|| vec![0; MESSAGES].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_with_the_first_byte_and_has_its_length_before() {
        let mut letterbox = Letterbox::default();
        assert_eq!((letterbox.as_ref().len(), letterbox.0.is_none()), (MESSAGES, true));
        letterbox.as_mut()[7] = 9;
        assert_eq!((letterbox.as_ref()[7], letterbox.as_ref().len()), (9, MESSAGES));
        assert!(letterbox.as_ref().iter().filter(|byte| **byte != 0).count() == 1);
    }
}
