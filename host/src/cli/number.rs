//! Whole numbers and addresses on the command line: what is refused says what is taken.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Why what was written is not the number that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotWhole {
    least: u64,
    /// Where the type, not the meaning, ends the numbers, there is none to be told.
    most: Option<u64>,
}

impl fmt::Display for NotWhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (0, None) => write!(f, "it takes a whole number"),
            (least, None) => write!(f, "it takes a whole number, {least} or more"),
            (least, Some(most)) => write!(f, "it takes a whole number from {least} to {most}"),
        }
    }
}

impl std::error::Error for NotWhole {}

/// Reads a whole number from `least` to `most`.
pub(super) fn between<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, NotWhole> + Clone {
    bounded(least, Some(most))
}

/// Reads a whole number of `least` or more.
pub(super) fn from<T: TryFrom<u64>>(least: u64) -> impl Fn(&str) -> Result<T, NotWhole> + Clone {
    bounded(least, None)
}

fn bounded<T: TryFrom<u64>>(
    least: u64,
    most: Option<u64>,
) -> impl Fn(&str) -> Result<T, NotWhole> + Clone {
    move |text| {
        let fits = |number: &u64| *number >= least && most.is_none_or(|most| *number <= most);
        let number = text.parse().ok().filter(fits).and_then(|number| T::try_from(number).ok());
        number.ok_or(NotWhole { least, most })
    }
}

/// Reads the address and port of a socket.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    SocketAddr::from_str(text)
        .map_err(|_| "it takes an address and a port, such as 0.0.0.0:7411 or [::]:7411")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_bounds_are_refused_by_naming_the_bounds() {
        let percent = between::<u8>(1, 100);
        assert_eq!((percent("1"), percent("100")), (Ok(1), Ok(100)));
        for text in ["0", "101", "256", "", "x", "-1", "1.5", "99999999999999999999"] {
            let refused = percent(text).unwrap_err().to_string();
            assert_eq!(refused, "it takes a whole number from 1 to 100", "{text}");
        }
        let uses = from::<u32>(1);
        assert_eq!(uses("4294967295"), Ok(u32::MAX));
        for text in ["0", "4294967296", "many"] {
            let refused = uses(text).unwrap_err().to_string();
            assert_eq!(refused, "it takes a whole number, 1 or more", "{text}");
        }
        assert_eq!(from::<u64>(0)("x").unwrap_err().to_string(), "it takes a whole number");
    }

    #[test]
    fn addresses_have_a_port() {
        assert!(address("127.0.0.1:0").is_ok() && address("[::]:7411").is_ok());
        for text in ["", "7411", "127.0.0.1", "localhost:7411", "::1:7411"] {
            assert!(address(text).unwrap_err().contains("0.0.0.0:7411"), "{text}");
        }
    }
}
