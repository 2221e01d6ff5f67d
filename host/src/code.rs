//! Enrolment codes: all that a receiver needs to find its server, and to
//! recognise it, in one line of text (or one QR code).
//!
//! `FC1-` and then in Crockford's base 32 (no I, L, O, U; either case; hyphens
//! and spaces do not count):
//! `flags (1): bit 0 = token ‖ port (2) ‖ length of the host (1) ‖ host ‖
//! authority digest (32) ‖ controller key (32) ‖ token (16, if flagged) ‖ check (4)`,
//! the check being the first bytes of SHA-256(`fleetcast code v1` ‖ 0x00 ‖ all before).

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::StaticKey;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// Longest host in bytes.
pub const MAX_HOST: usize = 64;

const PREFIX: &str = "FC1-";
const CONTEXT: &[u8] = b"fleetcast code v1\0";
const CHECK: usize = 4;
const TOKEN_FLAG: u8 = 1;

/// What an enrolment code says.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentCode {
    /// Name or address of the server: letters, digits, `.`, `:`, `-`, `_`, `%`.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
    /// Digest of the authority document to trust first.
    pub authority: Digest,
    /// X25519 key of the controller.
    pub controller: StaticKey,
    /// The secret token, or none: then an admin must approve.
    pub token: Option<[u8; 16]>,
}

/// Why a code was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It does not begin with `FC1-`.
    #[error("an enrolment code begins with FC1-")]
    Prefix,
    /// A character that no code holds.
    #[error("the enrolment code holds a character that belongs to none")]
    Symbol,
    /// Its check does not hold: a part is missing, or mistyped.
    #[error("the enrolment code is incomplete or mistyped")]
    Check,
    /// Its check holds, but what it says breaks a rule.
    #[error("the enrolment code is malformed: {0}")]
    Malformed(&'static str),
}

impl EnrolmentCode {
    /// A QR code of half-block characters for a dark terminal, with its quiet zone.
    ///
    /// # Errors
    /// [`CodeError::Malformed`] when the host is too long for a code.
    pub fn to_qr(&self) -> Result<String, CodeError> {
        check_host(&self.host)?;
        // Upper case, digits and hyphen: QR's alphanumeric mode, 5.5 bits each.
        let code = QrCode::new(self.to_string()).map_err(|_| CodeError::Malformed("too long"))?;
        let mut image = code.render::<Dense1x2>();
        // A terminal's characters are light: what shall be dark is left out.
        image.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark);
        Ok(image.quiet_zone(true).build())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![if self.token.is_some() { TOKEN_FLAG } else { 0 }];
        bytes.extend_from_slice(&self.port.to_le_bytes());
        bytes.push(u8::try_from(self.host.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(self.host.as_bytes());
        bytes.extend_from_slice(&self.authority.0);
        bytes.extend_from_slice(&self.controller.0);
        bytes.extend_from_slice(self.token.as_ref().map_or(&[][..], |token| token));
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CodeError> {
        let (body, sum) = bytes.split_last_chunk::<CHECK>().ok_or(CodeError::Check)?;
        if check(body) != *sum {
            return Err(CodeError::Check);
        }
        let short = CodeError::Malformed("it ends too early");
        let ([flags, p0, p1, host_len], rest) = body.split_first_chunk().ok_or(short)?;
        let (host, rest) = rest.split_at_checked(usize::from(*host_len)).ok_or(short)?;
        let (authority, rest) = rest.split_first_chunk::<32>().ok_or(short)?;
        let (controller, rest) = rest.split_first_chunk::<32>().ok_or(short)?;
        let (token, rest) = match *flags {
            0 => (None, rest),
            TOKEN_FLAG => {
                let (token, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
                (Some(*token), rest)
            }
            _ => return Err(CodeError::Malformed("it needs a newer version")),
        };
        if !rest.is_empty() {
            return Err(CodeError::Malformed("it is too long"));
        }
        let host = str::from_utf8(host).map_err(|_| CodeError::Malformed("its host"))?;
        check_host(host)?;
        let port = u16::from_le_bytes([*p0, *p1]);
        if port == 0 {
            return Err(CodeError::Malformed("its port is 0"));
        }
        Ok(Self {
            host: host.into(),
            port,
            authority: Digest(*authority),
            controller: StaticKey(*controller),
            token,
        })
    }
}

impl fmt::Display for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE32.encode(&self.to_bytes()))
    }
}

/// Shows no token: codes end up in logs.
impl fmt::Debug for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = if self.token.is_some() { "with" } else { "without" };
        write!(f, "EnrolmentCode({}:{}, {token} token)", self.host, self.port)
    }
}

impl FromStr for EnrolmentCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let text = text.trim();
        let (prefix, body) = text.split_at_checked(PREFIX.len()).ok_or(CodeError::Prefix)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(CodeError::Prefix);
        }
        let bytes = BASE32.decode(body.as_bytes()).map_err(|error| match error.kind {
            data_encoding::DecodeKind::Symbol => CodeError::Symbol,
            // A length or trailing bits that no encoding has: something is missing.
            _ => CodeError::Check,
        })?;
        Self::from_bytes(&bytes)
    }
}

/// Crockford's base 32.
pub(crate) static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification.translate.from.push_str("abcdefghjkmnpqrstvwxyzIiLlOo");
    specification.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ111100");
    specification.ignore.push_str("- \t\r\n");
    // The specification is constant, and a test builds it.
    specification.encoding().unwrap_or(data_encoding::BASE32HEX_NOPAD)
});

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let [a, b, c, d, ..] = Digest::of_parts(&[CONTEXT, bytes]).0;
    [a, b, c, d]
}

fn check_host(host: &str) -> Result<(), CodeError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_%".contains(&byte);
    if (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(allowed) {
        Ok(())
    } else {
        Err(CodeError::Malformed("its host is no name or address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> EnrolmentCode {
        EnrolmentCode {
            host: "192.0.2.7".into(),
            port: 7411,
            authority: Digest([0xab; 32]),
            controller: StaticKey([0xcd; 32]),
            token: Some([0xef; 16]),
        }
    }

    #[test]
    fn a_code_is_that_of_another_implementation() {
        // Computed with Python's hashlib and base64.b32encode, its alphabet replaced.
        let expected = concat!(
            "FC1-07SHR29H74S2WC1E68Q3FAXBNENTQAXBNENTQAXBNENTQAXBNENTQAXBNENTQAXBNENTQAXBSQ6W",
            "VKEDSQ6WVKEDSQ6WVKEDSQ6WVKEDSQ6WVKEDSQ6WVKEDSQ6YZVZFXZQYZVZFXZQYZVZFXZQYZFDQGW00",
        );
        assert_eq!(code().to_string(), expected);
        assert_eq!(expected.parse(), Ok(code()));
    }

    #[test]
    fn case_hyphens_spaces_and_look_alikes_do_not_matter() {
        let text = code().to_string().to_lowercase().replace('0', "o").replace('1', "l");
        let text = text.replacen("fcl-", "fc1-", 1);
        let groups = text.as_bytes()[4..].chunks(5);
        let spread: Vec<_> = groups.map(|group| str::from_utf8(group).unwrap()).collect();
        let spread = format!("  fc1-{} ", spread.join("- "));
        assert_eq!(spread.parse(), Ok(code()));
    }

    #[test]
    fn a_code_without_a_token_is_shorter_and_comes_back() {
        let open = EnrolmentCode { token: None, host: "fleet.example".into(), ..code() };
        assert_eq!(open.to_string().parse(), Ok(open));
    }

    #[test]
    fn every_truncated_code_is_refused_as_incomplete() {
        let text = code().to_string();
        for end in 4..text.len() {
            assert_eq!(text[..end].parse::<EnrolmentCode>(), Err(CodeError::Check), "{end}");
        }
    }

    #[test]
    fn every_mistyped_character_is_noticed() {
        let text = code().to_string();
        for place in 4..text.len() {
            let mut typed = text.clone().into_bytes();
            typed[place] = if typed[place] == b'7' { b'8' } else { b'7' };
            let typed = String::from_utf8(typed).unwrap();
            assert_eq!(typed.parse::<EnrolmentCode>(), Err(CodeError::Check), "{place}");
        }
    }

    #[test]
    fn what_is_no_code_is_told_from_what_is_a_spoilt_one() {
        for text in ["", "FC", "FC2-00", "hello there", "ÄÄÄÄ"] {
            assert_eq!(text.parse::<EnrolmentCode>(), Err(CodeError::Prefix), "{text}");
        }
        assert_eq!("FC1-00u00".parse::<EnrolmentCode>(), Err(CodeError::Symbol));
    }

    #[test]
    fn rules_hold_even_under_a_valid_check() {
        let hostile = EnrolmentCode { host: "a\u{1b}b".into(), ..code() };
        let long = EnrolmentCode { host: "a".repeat(65), ..code() };
        let portless = EnrolmentCode { port: 0, ..code() };
        for bad in [hostile, long, portless] {
            let refused = bad.to_string().parse::<EnrolmentCode>();
            assert!(matches!(refused, Err(CodeError::Malformed(_))));
        }
        let mut bytes = code().to_bytes();
        bytes.truncate(bytes.len() - CHECK);
        bytes.push(0);
        let sum = check(&bytes);
        bytes.extend_from_slice(&sum);
        let refused = Err(CodeError::Malformed("it is too long"));
        assert_eq!(EnrolmentCode::from_bytes(&bytes), refused);
    }

    #[test]
    fn a_debug_print_shows_no_token() {
        assert_eq!(format!("{:?}", code()), "EnrolmentCode(192.0.2.7:7411, with token)");
    }

    #[test]
    fn the_qr_code_is_square_with_a_light_border() {
        let text = code().to_qr().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let width = lines[0].chars().count();
        // 160 characters, alphanumeric, level M: version 7 (178), 45 modules, 8 of border.
        assert_eq!(width, 45 + 8);
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].chars().all(|char| char == '█'));
    }
}
