//! Control bodies: postcard, and canonical.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use super::Malformed;
use crate::limits::MAX_MESSAGE;

/// Encodes a message into `out`.
///
/// # Errors
/// [`Malformed::Bound`] when it does not fit `out`.
pub fn encode<'b, M: Serialize>(message: &M, out: &'b mut [u8]) -> Result<&'b [u8], Malformed> {
    postcard::to_slice(message, out).map(|used| &*used).map_err(|_| Malformed::Bound)
}

/// Decodes a message, whole and canonical.
///
/// # Errors
/// [`Malformed`] for anything that `encode` would not have made.
pub fn decode<'a, M: Serialize + Deserialize<'a>>(bytes: &'a [u8]) -> Result<M, Malformed> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Malformed::Length { expected: MAX_MESSAGE, found: bytes.len() });
    }
    decode_body(bytes)
}

/// Decodes a control body of any size, whole and canonical.
///
/// # Errors
/// [`Malformed`] for anything that `encode` would not have made.
pub fn decode_body<'a, M: Serialize + Deserialize<'a>>(bytes: &'a [u8]) -> Result<M, Malformed> {
    // PROTOCOL D2: bytes after the end are refused.
    let (message, rest) =
        postcard::take_from_bytes::<M>(bytes).map_err(|_| Malformed::NotCanonical)?;
    if !rest.is_empty() {
        return Err(Malformed::Trailing);
    }
    check_body(&message, bytes)?;
    Ok(message)
}

/// Checks that `bytes` are what a body is encoded as, and nothing more.
///
/// # Errors
/// [`Malformed::NotCanonical`] when they are not.
pub fn check_body(message: &impl Serialize, bytes: &[u8]) -> Result<(), Malformed> {
    // PROTOCOL D4: postcard accepts overlong integers, so encode again and compare.
    let same = postcard::serialize_with_flavor(message, Same { left: bytes });
    same.map_err(|_| Malformed::NotCanonical)
}

/// Takes an encoding only as far as it is the same as another: no memory is needed for
/// what is but compared.
struct Same<'a> {
    left: &'a [u8],
}

impl Flavor for Same<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        let (expected, left) =
            self.left.split_first().ok_or(postcard::Error::SerializeBufferFull)?;
        self.left = left;
        // Which error it is does not matter: the two differ.
        if *expected == byte { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }

    fn finalize(self) -> postcard::Result<()> {
        if self.left.is_empty() { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }
}
