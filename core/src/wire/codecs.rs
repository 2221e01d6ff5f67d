//! The bits by which a Hello tells what its receiver decodes and obeys.

/// Codec bit: chunk records may be LZ4 blocks.
pub const CODEC_LZ4: u8 = 1;
/// Codec bit: chunk records may be zstd frames.
pub const CODEC_ZSTD: u8 = 2;
/// Codec bit: chunk records may be patches of installed chunks (PROTOCOL R4).
pub const CODEC_PATCH: u8 = 4;
/// Bit of a Hello's codecs: this receiver obeys [`super::control::Down::GiveUp`] (PROTOCOL S22).
pub const GIVES_UP: u8 = 0x40;
/// Bit of a Hello's codecs: this receiver obeys [`super::control::Down::Hold`] (PROTOCOL M4).
pub const HOLDS_BACK: u8 = 0x80;
