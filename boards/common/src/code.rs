//! Enrolment codes: the reading half, without memory of its own.
//!
//! The program on the admin's PC writes them and tells their form
//! (`host/src/code.rs`); a board takes only those that name its server by an IPv4
//! address, for it resolves no names.

use core::net::{Ipv4Addr, SocketAddr};
use core::str::FromStr;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::StaticKey;

const PREFIX: &[u8] = b"FC1-";
const CONTEXT: &[u8] = b"fleetcast code v1\0";
const CHECK: usize = 4;
const TOKEN_FLAG: u8 = 1;
const MAX_HOST: usize = 64;
/// Flags, port, length of the host, host, two digests, token, check.
const MAX_BYTES: usize = 4 + MAX_HOST + 32 + 32 + 16 + CHECK;

/// What an enrolment code tells.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Where the server is.
    pub server: SocketAddr,
    /// The controller's public X25519 key.
    pub controller: StaticKey,
    /// Digest of the authority document to trust first.
    pub authority: Digest,
    /// The token, until it has been used.
    pub token: Option<[u8; 16]>,
}

/// Why a code was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// It does not begin with `FC1-`.
    Prefix,
    /// A character that no code holds.
    Symbol,
    /// Its check does not hold: a part is missing, or mistyped.
    Check,
    /// Its check holds, but a newer version made it, or it breaks a rule.
    Malformed,
    /// It names its server, and a board needs an address.
    NoAddress,
}

impl Enrolment {
    /// Reads a code.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn parse(text: &[u8]) -> Result<Self, CodeError> {
        let text = text.trim_ascii();
        let (prefix, body) = text.split_at_checked(PREFIX.len()).ok_or(CodeError::Prefix)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(CodeError::Prefix);
        }
        let mut bytes = [0; MAX_BYTES];
        let len = decode(body, &mut bytes)?;
        let (body, check) = bytes[..len].split_last_chunk::<CHECK>().ok_or(CodeError::Check)?;
        if Digest::of_parts(&[CONTEXT, body]).0[..CHECK] != *check {
            return Err(CodeError::Check);
        }
        Self::read(body)
    }

    fn read(body: &[u8]) -> Result<Self, CodeError> {
        let bad = CodeError::Malformed;
        let ([flags, p0, p1, host_len], rest) = body.split_first_chunk().ok_or(bad)?;
        let (host, rest) = rest.split_at_checked(usize::from(*host_len)).ok_or(bad)?;
        let (authority, rest) = rest.split_first_chunk::<32>().ok_or(bad)?;
        let (controller, rest) = rest.split_first_chunk::<32>().ok_or(bad)?;
        let token = match (*flags, rest) {
            (0, []) => None,
            (TOKEN_FLAG, token) => Some(token.try_into().map_err(|_| bad)?),
            _ => return Err(bad),
        };
        let port = u16::from_le_bytes([*p0, *p1]);
        let host = core::str::from_utf8(host).map_err(|_| bad)?;
        let host = Ipv4Addr::from_str(host).map_err(|_| CodeError::NoAddress)?;
        if port == 0 {
            return Err(bad);
        }
        Ok(Self {
            server: SocketAddr::from((host, port)),
            controller: StaticKey(*controller),
            authority: Digest(*authority),
            token,
        })
    }
}

/// Decodes Crockford's base 32 and returns how many bytes there are.
fn decode(text: &[u8], out: &mut [u8; MAX_BYTES]) -> Result<usize, CodeError> {
    let (mut bits, mut held, mut len) = (0_u32, 0_u32, 0);
    for &symbol in text {
        if b"- \t\r\n".contains(&symbol) {
            continue;
        }
        bits = bits << 5 | u32::from(value(symbol).ok_or(CodeError::Symbol)?);
        held += 5;
        if held >= 8 {
            held -= 8;
            *out.get_mut(len).ok_or(CodeError::Check)? = (bits >> held) as u8;
            len += 1;
            bits &= (1 << held) - 1;
        }
    }
    // What is left over is less than a symbol, and zero.
    if held >= 5 || bits != 0 { Err(CodeError::Check) } else { Ok(len) }
}

fn value(symbol: u8) -> Option<u8> {
    const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let symbol = match symbol.to_ascii_uppercase() {
        b'I' | b'L' => b'1',
        b'O' => b'0',
        other => other,
    };
    SYMBOLS.iter().position(|&known| known == symbol).map(|place| place as u8)
}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned as _;
    use std::string::{String, ToString as _};

    use fleetcast::code::EnrolmentCode;

    use super::*;

    fn code(host: &str, token: Option<[u8; 16]>) -> EnrolmentCode {
        let (authority, controller) = (Digest([0xAB; 32]), StaticKey([0xCD; 32]));
        EnrolmentCode { host: host.into(), port: 7_411, authority, controller, token }
    }

    #[test]
    fn codes_of_the_admins_program_are_read() {
        for token in [None, Some([0xEF; 16])] {
            let text = code("192.0.2.7", token).to_string();
            let read = Enrolment::parse(text.as_bytes()).ok().unwrap();
            assert_eq!(read.server, "192.0.2.7:7411".parse().unwrap());
            assert_eq!((read.authority, read.token), (Digest([0xAB; 32]), token));
            assert_eq!(read.controller, StaticKey([0xCD; 32]));
            // Case, look-alikes and spaces do not matter.
            let typed: String = text.to_lowercase().replace('0', "o").replace('1', "l");
            let typed = std::format!(" {}\r\n", typed.replacen("fcl-", "fc1-", 1));
            assert!(Enrolment::parse(typed.as_bytes()).ok() == Some(read));
        }
    }

    #[test]
    fn every_truncated_or_mistyped_code_is_refused() {
        let text = code("192.0.2.7", Some([0xEF; 16])).to_string();
        let refused = |text: &str| Enrolment::parse(text.as_bytes()).err();
        for end in 4..text.len() {
            assert_eq!(refused(&text[..end]), Some(CodeError::Check), "{end}");
            let mut typed = text.clone().into_bytes();
            typed[end] = if typed[end] == b'7' { b'8' } else { b'7' };
            let typed = String::from_utf8(typed).unwrap();
            assert_eq!(refused(&typed), Some(CodeError::Check), "{end}");
        }
        assert_eq!(refused("FC1-00u00"), Some(CodeError::Symbol));
        assert_eq!(refused("hello"), Some(CodeError::Prefix));
        assert_eq!(refused(""), Some(CodeError::Prefix));
        assert_eq!(refused(&("FC1-".to_owned() + &"0".repeat(1_000))), Some(CodeError::Check));
    }

    #[test]
    fn a_name_in_the_place_of_an_address_is_told_apart() {
        let named = code("fleet.example", None).to_string();
        assert_eq!(Enrolment::parse(named.as_bytes()).err(), Some(CodeError::NoAddress));
        let portless = EnrolmentCode { port: 0, ..code("192.0.2.7", None) }.to_string();
        assert_eq!(Enrolment::parse(portless.as_bytes()).err(), Some(CodeError::Malformed));
    }
}
