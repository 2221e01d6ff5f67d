//! Accounts: which names and passwords there may be, and how passwords are kept.
//!
//! A password is kept as its Argon2id hash (RFC 9106) in PHC string format, with
//! a salt of its own. Checking takes some 20 MiB and tens of milliseconds, so it
//! is done away from the data thread, one at a time; a name that nobody has
//! costs as much as one that somebody has.

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64_NOPAD;
use fleetcast_core::limits::MAX_NAME;
use fleetcast_core::wire::people::MAX_PASSWORD;

use crate::error::Failure;
use crate::files::unsafe_name;

/// The first choice of OWASP's Password Storage Cheat Sheet for Argon2id that fits
/// beside 2,000 receivers: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Most that a kept hash may ask for.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;
const HASH: usize = 32;
const SALT: usize = 16;
/// Shortest password in characters (NIST SP 800-63B, 5.1.1.2).
pub const MIN_PASSWORD: usize = 8;

/// What is compared for names that nobody has: no password has this hash.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LWlzLXRoaXMtbw$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password to be checked, and another to take its place.
pub struct PasswordCheck {
    /// Names the check.
    pub number: u64,
    /// The password that was given.
    pub password: Vec<u8>,
    /// The hash of the account's; `None`: nobody has that name.
    pub kept: Option<String>,
    /// The password from now on, if that is to change.
    pub new: Option<Vec<u8>>,
}

/// What a check has shown.
pub struct PasswordChecked {
    /// Names the check.
    pub number: u64,
    /// Whether it is the account's password.
    pub right: bool,
    /// The hash of the new one, if the old one was right and one was wanted.
    pub new: Option<String>,
}

impl PasswordCheck {
    /// Does the work.
    #[must_use]
    pub fn run(mut self) -> PasswordChecked {
        let right = verify(&self.password, self.kept.as_deref());
        let new = self.new.as_ref().filter(|_| right).and_then(|new| hash(new).ok());
        // What is not needed any more does not lie about.
        self.password.fill(0);
        self.new.iter_mut().for_each(|new| new.fill(0));
        PasswordChecked { number: self.number, right, new }
    }
}

/// The name of an account, as it is looked up: without regard to case.
#[must_use]
pub fn folded(name: &str) -> String {
    crate::files::folded(name)
}

/// Checks the name of a new account: letters and digits of any script, `-`, `_`, `.`,
/// `@`, `+`, at most `MAX_NAME` bytes.
///
/// # Errors
/// Failure `name-unsafe`, with the reason.
pub fn check_name(name: &str) -> Result<(), Failure> {
    crate::files::check_given(name)?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    if name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(unsafe_name(
            name,
            "holds something else than letters, digits, -, _, ., @ and +",
        ));
    }
    Ok(())
}

/// Whether a password will do: not too short, not too long, not the account's name.
#[must_use]
pub fn is_strong(name: &str, password: &[u8]) -> bool {
    let characters = str::from_utf8(password).map_or(password.len(), |text| text.chars().count());
    let same = str::from_utf8(password).is_ok_and(|text| folded(text) == folded(name));
    characters >= MIN_PASSWORD && password.len() <= MAX_PASSWORD && !same
}

/// The failure of a password that will not do.
#[must_use]
pub fn weak() -> Failure {
    let message = format!(
        "a password has at least {MIN_PASSWORD} characters and at most {MAX_PASSWORD} bytes, \
         and is not the account's name"
    );
    Failure::failed("password-weak", message, "choose a longer one: several words are good")
}

/// Hashes a password with a new salt.
///
/// # Errors
/// `no-entropy`, `internal` when there is no memory for it.
pub fn hash(password: &[u8]) -> Result<String, Failure> {
    hash_with(password, &crate::keys::random::<SALT>()?)
}

fn hash_with(password: &[u8], salt: &[u8]) -> Result<String, Failure> {
    let none = || Failure::failed("internal", "the password cannot be hashed", "try again");
    let hash = derive(password, salt, (MEMORY_KIB, PASSES, LANES)).ok_or_else(none)?;
    let (salt, hash) = (BASE64_NOPAD.encode(salt), BASE64_NOPAD.encode(&hash));
    Ok(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}"))
}

/// Whether a password has this hash. Without one as much work is done, for nothing.
#[must_use]
pub fn verify(password: &[u8], kept: Option<&str>) -> bool {
    let same = compare(password, kept.unwrap_or(NOBODY)).unwrap_or(false);
    same && kept.is_some()
}

/// `None` for a hash that this version did not make.
fn compare(password: &[u8], kept: &str) -> Option<bool> {
    let mut parts = kept.strip_prefix("$argon2id$v=19$")?.split('$');
    let (cost, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let mut costs = cost.split(',').zip(["m=", "t=", "p="]);
    let mut cost = || {
        let (part, name) = costs.next()?;
        part.strip_prefix(name)?.parse::<u32>().ok()
    };
    let costs = (cost()?, cost()?, cost()?);
    let salt = BASE64_NOPAD.decode(salt.as_bytes()).ok()?;
    let expected: [u8; HASH] = BASE64_NOPAD.decode(hash.as_bytes()).ok()?.try_into().ok()?;
    let found = derive(password, &salt, costs)?;
    // All bytes are looked at, wherever they differ.
    let differing = found.iter().zip(&expected).fold(0, |all, (a, b)| all | (a ^ b));
    Some(std::hint::black_box(differing) == 0)
}

fn derive(password: &[u8], salt: &[u8], (memory, passes, lanes): Costs) -> Option<[u8; HASH]> {
    if memory > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
        return None;
    }
    let parameters = Params::new(memory, passes, lanes, Some(HASH)).ok()?;
    let mut hash = [0; HASH];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    argon2.hash_password_into(password, salt, &mut hash).ok()?;
    Some(hash)
}

/// Memory in KiB, passes, lanes.
type Costs = (u32, u32, u32);

#[cfg(test)]
mod tests {
    use super::*;

    /// argon2id_hash_raw of libargon2.so.1 (Debian 12): 2 passes, 19,456 KiB, 1 lane.
    const KEPT: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
        k9ohroejZy1PN5E1SbHNPug6vB8eQAahb5SOAp6iGF4";

    #[test]
    fn a_hash_is_that_of_the_reference_implementation() {
        assert_eq!(hash_with(b"correct horse", b"somesaltsomesalt").unwrap(), KEPT);
        assert!(verify(b"correct horse", Some(KEPT)));
        assert!(!verify(b"correct hors", Some(KEPT)) && !verify(b"", Some(KEPT)));
    }

    #[test]
    fn two_accounts_with_one_password_have_different_hashes() {
        let [one, other] = [hash(b"correct horse").unwrap(), hash(b"correct horse").unwrap()];
        assert_ne!(one, other);
        assert!(verify(b"correct horse", Some(&one)) && verify(b"correct horse", Some(&other)));
    }

    #[test]
    fn what_nobody_has_is_never_right_and_costs_as_much() {
        assert!(!verify(b"some password", None) && !verify(b"", None));
        // It is derived, not refused for its form, and with the parameters of all others.
        assert_eq!(compare(b"some password", NOBODY), Some(false));
        let cost = |kept: &str| kept.split('$').nth(3).unwrap().to_owned();
        assert_eq!(cost(NOBODY), cost(&hash(b"some password").unwrap()));
        assert_eq!(cost(NOBODY), "m=19456,t=2,p=1");
    }

    #[test]
    fn a_damaged_hash_lets_nobody_in_and_takes_no_memory() {
        for kept in [
            "",
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA",
            "$argon2id$v=19$m=4000000000,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$\
             k9ohroejZy1PN5E1SbHNPug6vB8eQAahb5SOAp6iGF4",
            "$argon2id$v=19$t=2,m=19456,p=1$c29tZXNhbHRzb21lc2FsdA$\
             k9ohroejZy1PN5E1SbHNPug6vB8eQAahb5SOAp6iGF4",
            &format!("{KEPT}$"),
            &KEPT[..KEPT.len() - 4],
        ] {
            assert!(!verify(b"correct horse", Some(kept)), "{kept}");
        }
    }

    #[test]
    fn names_are_letters_and_digits_of_any_script() {
        for name in ["ann", "Jürgen", "ann.b_c-d@e+f", "山田", &"a".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let huge = "a".repeat(10_000);
        for name in
            ["", " ", "a b", "<b>", "a\nb", "\u{1b}[2J", "a/b", "a'b", "..", &"a".repeat(65), &huge]
        {
            assert_eq!(check_name(name).unwrap_err().code, "name-unsafe", "{name}");
        }
    }

    #[test]
    fn passwords_are_long_enough_and_not_the_name() {
        assert!(is_strong("ann", b"8letters") && is_strong("ann", &[b'x'; 128]));
        assert!(is_strong("ann", "ääääääää".as_bytes()));
        assert!(!is_strong("ann", b"7letter") && !is_strong("ann", &[b'x'; 129]));
        assert!(!is_strong("ann", "ääää".as_bytes()), "characters count, not bytes");
        assert!(!is_strong("annabelle", b"AnnaBelle"));
    }
}
