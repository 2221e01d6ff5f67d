//! Keys, ciphers and signatures, each under one small name of our own.

pub mod aead;
pub mod cookie;
pub mod device;
pub mod noise;
pub mod packet;
pub mod sign;
mod strict;
