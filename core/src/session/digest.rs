//! By what a session in strict mode knows the sender's symbols from those that an
//! insider made (PROTOCOL S17).

use super::symbols::Symbol;
use crate::digest::Digest;
use crate::ids::BlockIndex;
use crate::limits::MAX_SOURCES;
use crate::wire::session::DIGEST;

/// The digest of a symbol with the bytes that it has on the wire.
///
/// One SHA-256 over the symbol and 14 bytes more.
// PROTOCOL S17
#[must_use]
pub fn digest_of(
    salt: &[u8; 8],
    block: BlockIndex,
    symbol: Symbol,
    payload: &[u8],
) -> [u8; DIGEST] {
    let number = (place_of(symbol) as u16).to_le_bytes();
    let Digest(whole) = Digest::of_parts(&[salt, &block.0.to_le_bytes(), &number, payload]);
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&whole[..DIGEST]);
    digest
}

/// The number of a symbol among all of its block: sources from 0, parities from 192 on.
#[must_use]
pub const fn place_of(symbol: Symbol) -> usize {
    match symbol {
        Symbol::Source(index) => index as usize,
        Symbol::Parity(number) => MAX_SOURCES + number as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // PROTOCOL S17
    #[test]
    fn a_digest_is_the_head_of_a_sha_256_that_another_tool_computes() {
        // printf 'saltsalt\4\3\2\1\5\0symbol' | sha256sum, and with \276\1 for \5\0.
        let block = BlockIndex(0x0102_0304);
        let digest = |symbol| digest_of(b"saltsalt", block, symbol, b"symbol");
        assert_eq!(digest(Symbol::Source(5)), [0xBE, 0x60, 0xB3, 0x3D, 0xA3, 0xEA, 0x2E, 0x22]);
        // 192 + 254 is 0x01BE.
        assert_eq!(digest(Symbol::Parity(254)), [0xBE, 0x34, 0xD9, 0x95, 0x14, 0xF5, 0xAC, 0xAB]);
    }
}
