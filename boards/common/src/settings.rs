//! `ENROL.TXT`: what a person tells a board, on a card that a PC can write.
//!
//! ```text
//! FC1-07SHR…                  the enrolment code
//! name till-7                 how it wants to be called (else by its MAC address)
//! address 10.77.0.9/16        else by DHCP
//! gateway 10.77.0.1
//! seed 9f3a…                  at least 32 characters that nobody can guess
//! ```
//!
//! A board has no source of randomness of its own: without a seed, here the first time
//! and kept on the card afterwards, it shakes no hands.

use core::net::Ipv4Addr;
use core::str::FromStr;

use fleetcast_core::digest::Digest;

use crate::code::{CodeError, Enrolment};
use crate::net::Addressing;

/// Longest file that is read, in bytes.
pub const MAX_FILE: usize = 512;
/// Longest name of a board, in bytes.
pub const MAX_NAME: usize = 32;
/// Fewest characters of a seed.
const LEAST_SEED: usize = 32;

/// What the file tells.
#[derive(Clone)]
pub struct Settings<'f> {
    /// The enrolment code, if there is one.
    pub enrolment: Option<Enrolment>,
    /// The name, if there is one; at most [`MAX_NAME`] bytes.
    pub name: Option<&'f str>,
    /// How the board gets its address.
    pub addressing: Addressing,
    /// The digest of the seed, if there is one.
    pub seed: Option<Digest>,
}

/// What is wrong with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSettings {
    /// The enrolment code.
    Code(CodeError),
    /// A line that begins with no word that is known, or ends too early.
    Line,
    /// An address, or the length of its network.
    Address,
    /// The name is too long or not made of visible ASCII characters.
    Name,
    /// A seed of fewer than 32 characters.
    ShortSeed,
}

impl<'f> Settings<'f> {
    /// Without a file: by DHCP, and nothing else is known.
    pub const NONE: Self =
        Self { enrolment: None, name: None, addressing: Addressing::Dhcp, seed: None };

    /// Reads the file.
    ///
    /// # Errors
    /// [`BadSettings`]: a board goes on with nothing of it.
    pub fn parse(file: &'f [u8]) -> Result<Self, BadSettings> {
        let mut settings = Self::NONE;
        let (mut address, mut gateway) = (None, None);
        for line in file.split(|&byte| byte == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"FC1-") {
                let code = Enrolment::parse(line).map_err(BadSettings::Code)?;
                settings.enrolment = Some(code);
                continue;
            }
            let line = core::str::from_utf8(line).map_err(|_| BadSettings::Line)?;
            let (word, value) = line.split_once(' ').ok_or(BadSettings::Line)?;
            let value = value.trim();
            match word {
                "name" => settings.name = Some(name(value)?),
                "address" => address = Some(network(value)?),
                "gateway" => gateway = Some(ipv4(value)?),
                "seed" if value.len() < LEAST_SEED => return Err(BadSettings::ShortSeed),
                "seed" => settings.seed = Some(Digest::of(value.as_bytes())),
                _ => return Err(BadSettings::Line),
            }
        }
        if let Some((address, prefix)) = address {
            settings.addressing = Addressing::Static { address, prefix, gateway };
        }
        Ok(settings)
    }
}

fn name(value: &str) -> Result<&str, BadSettings> {
    let visible = value.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=MAX_NAME).contains(&value.len()) {
        Ok(value)
    } else {
        Err(BadSettings::Name)
    }
}

fn ipv4(value: &str) -> Result<Ipv4Addr, BadSettings> {
    Ipv4Addr::from_str(value).map_err(|_| BadSettings::Address)
}

fn network(value: &str) -> Result<(Ipv4Addr, u8), BadSettings> {
    let (address, prefix) = value.split_once('/').ok_or(BadSettings::Address)?;
    let prefix = u8::from_str(prefix).ok().filter(|prefix| *prefix <= 32);
    Ok((ipv4(address)?, prefix.ok_or(BadSettings::Address)?))
}

#[cfg(test)]
mod tests {
    use std::format;

    use fleetcast::code::EnrolmentCode;
    use fleetcast_core::ids::StaticKey;

    use super::*;

    fn refused(file: &str) -> Option<BadSettings> {
        Settings::parse(file.as_bytes()).err()
    }

    #[test]
    fn a_file_written_on_any_pc_is_read() {
        let code = EnrolmentCode {
            host: "10.77.0.1".into(),
            port: 7_411,
            authority: Digest([1; 32]),
            controller: StaticKey([2; 32]),
            token: None,
        };
        let seed = "0123456789abcdef0123456789abcdef";
        let file = format!(
            "# till in the hall\r\n{code}\r\nname till-7\r\n\r\naddress 10.77.0.9/16\r\n\
             gateway 10.77.0.1\r\nseed {seed}"
        );
        let settings = Settings::parse(file.as_bytes()).ok().unwrap();
        assert_eq!(settings.enrolment.unwrap().controller, StaticKey([2; 32]));
        assert_eq!(settings.name, Some("till-7"));
        assert_eq!(settings.seed, Some(Digest::of(seed.as_bytes())));
        let expected = Addressing::Static {
            address: Ipv4Addr::new(10, 77, 0, 9),
            prefix: 16,
            gateway: Some(Ipv4Addr::new(10, 77, 0, 1)),
        };
        assert_eq!(settings.addressing, expected);
        let empty = Settings::parse(b"").ok().unwrap();
        assert!(empty.enrolment.is_none() && empty.addressing == Addressing::Dhcp);
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(refused("FC1-0000"), Some(BadSettings::Code(CodeError::Check)));
        assert_eq!(refused("colour red"), Some(BadSettings::Line));
        assert_eq!(refused("name"), Some(BadSettings::Line));
        assert_eq!(refused("name two words"), Some(BadSettings::Name));
        assert_eq!(refused("address 10.0.0.1"), Some(BadSettings::Address));
        assert_eq!(refused("address 10.0.0.1/33"), Some(BadSettings::Address));
        assert_eq!(refused("seed 0123456789"), Some(BadSettings::ShortSeed));
    }
}
