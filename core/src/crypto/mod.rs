//! Keys, ciphers and signatures, each under one small name of our own.

pub mod aead;
pub mod packet;
pub mod cookie;
pub mod noise;
pub mod sign;
