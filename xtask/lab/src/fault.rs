//! What is ordered of the bridge, as words: `cargo xtask lab fault` takes them from
//! the command line and says them to the bridge's process as they are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::misbehave::Snooping;
use crate::weather::{Burst, IP_UDP, Path, Weather};

/// What can be ordered, for a person.
pub const FAULTS: &str = "\
loss P             loses P of the datagrams, each by a lot of its own
burst P N          loses P in bursts of N datagrams in the mean (Gilbert-Elliott)
delay MS           all come so many milliseconds later
jitter MS          and up to so many more
reorder P          P come up to 30 ms later and are overtaken
duplicate P        P come twice or three times
corrupt P          one bit of P is flipped, and UDP's checksum made good again
truncate P         P are cut short, and UDP's checksum and lengths made good again
mtu BYTES          longer IP packets vanish, and nobody is told
deaf               multicast vanishes
calm               ends all of these
snoop FORGETS [Q]  of the whole switch: multicast goes only to ports that announced
                   within FORGETS seconds that they listen; Q: it asks every Q seconds
snoop off          ends that

P is a percentage such as 5 or 5%, or a share below 1; 0 ends it.";

/// One kind of fault towards a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Loses this share, each datagram by a lot of its own.
    Loss(f64),
    /// Loses this share in bursts of so many datagrams in the mean.
    Burst {
        /// Of all datagrams, below 1.
        share: f64,
        /// 1 or more.
        length: f64,
    },
    /// Everything comes so much later.
    Delay(Duration),
    /// And up to so much more.
    Jitter(Duration),
    /// This share is overtaken.
    Reorder(f64),
    /// This share comes twice or three times.
    Duplicate(f64),
    /// Of this share one bit is flipped.
    Corrupt(f64),
    /// This share is cut short.
    Truncate(f64),
    /// Longer IP packets vanish.
    Mtu(u16),
    /// Multicast vanishes.
    Deaf,
    /// Ends all.
    Calm,
}

impl Fault {
    /// Makes a path have it.
    pub(crate) fn apply(self, path: &mut Path) {
        match self {
            Self::Loss(share) => path.weather.loss = share,
            Self::Burst { share, length } => {
                path.weather.burst = (share > 0.0).then(|| Burst::of(share, length));
            }
            Self::Delay(delay) => path.weather.delay = delay,
            Self::Jitter(jitter) => path.weather.jitter = jitter,
            Self::Reorder(share) => path.weather.reorder = share,
            Self::Duplicate(share) => path.weather.duplicate = share,
            Self::Corrupt(share) => path.weather.corrupt = share,
            Self::Truncate(share) => path.weather.truncate = share,
            Self::Mtu(mtu) => path.longest = usize::from(mtu).saturating_sub(IP_UDP),
            Self::Deaf => path.deaf = true,
            Self::Calm => *path = Path::new(Weather::STILL),
        }
    }
}

/// An order to the bridge.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// A fault towards these hosts; none named: towards all but the admin's.
    Fault(Fault, Vec<usize>),
    /// The switch snoops on IGMP, or floods again.
    Snoop(Option<Snooping>),
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let kind = words.next().unwrap_or_default();
        if kind == "snoop" {
            return snooping(words).map(Self::Snoop);
        }
        let mut word = || words.next().ok_or_else(|| format!("{kind}: something is missing"));
        let fault = match kind {
            "loss" => Fault::Loss(parse_share(word()?)?),
            "burst" => burst(parse_share(word()?)?, word()?)?,
            "delay" => Fault::Delay(milliseconds(word()?)?),
            "jitter" => Fault::Jitter(milliseconds(word()?)?),
            "reorder" => Fault::Reorder(parse_share(word()?)?),
            "duplicate" => Fault::Duplicate(parse_share(word()?)?),
            "corrupt" => Fault::Corrupt(parse_share(word()?)?),
            "truncate" => Fault::Truncate(parse_share(word()?)?),
            "mtu" => Fault::Mtu(mtu(word()?)?),
            "deaf" => Fault::Deaf,
            "calm" => Fault::Calm,
            _ => return Err(format!("`{kind}` is no fault; there are:\n{FAULTS}")),
        };
        let hosts = words.map(|word| match word {
            "admin" => Ok(0),
            _ => word.parse().map_err(|_| format!("`{word}` is no host's number, nor admin")),
        });
        Ok(Self::Fault(fault, hosts.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snoop(None) => out.write_str("snoop off"),
            Self::Snoop(Some(snooping)) => {
                write!(out, "snoop {}", seconds(snooping.forgets_after))?;
                snooping.asks_every.map_or(Ok(()), |every| write!(out, " {}", seconds(every)))
            }
            Self::Fault(fault, hosts) => {
                fault.fmt(out)?;
                hosts.iter().try_for_each(|host| write!(out, " {host}"))
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        match *self {
            Self::Loss(share) => write!(out, "loss {}%", share * 100.0),
            Self::Burst { share, length } => write!(out, "burst {}% {length}", share * 100.0),
            Self::Delay(delay) => write!(out, "delay {}", ms(delay)),
            Self::Jitter(jitter) => write!(out, "jitter {}", ms(jitter)),
            Self::Reorder(share) => write!(out, "reorder {}%", share * 100.0),
            Self::Duplicate(share) => write!(out, "duplicate {}%", share * 100.0),
            Self::Corrupt(share) => write!(out, "corrupt {}%", share * 100.0),
            Self::Truncate(share) => write!(out, "truncate {}%", share * 100.0),
            Self::Mtu(mtu) => write!(out, "mtu {mtu}"),
            Self::Deaf => out.write_str("deaf"),
            Self::Calm => out.write_str("calm"),
        }
    }
}

/// A share as `fleetcast receive --drop` reads it: a percentage from 1 on or with
/// its sign, a share below 1.
///
/// # Errors
/// What would be one.
pub fn parse_share(text: &str) -> Result<f64, &'static str> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    let is_percentage = |number: f64| number >= 1.0 || text.ends_with('%');
    let share = number.map(|n| if is_percentage(n) { n / 100.0 } else { n });
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or("give a percentage such as 5 or 5%, or a share below 1 such as 0.05")
}

fn burst(share: f64, length: &str) -> Result<Fault, String> {
    let length: Option<f64> = length.parse().ok().filter(|length| *length >= 1.0);
    let length = length.ok_or("burst: give how many datagrams a burst takes, 1 or more")?;
    // A good datagram between two bursts, or else there are none.
    if share > length / (length + 1.0) {
        return Err("burst: bursts of that length cannot take so much".to_owned());
    }
    Ok(Fault::Burst { share, length })
}

fn number(text: &str, most: f64) -> Option<f64> {
    text.parse().ok().filter(|number| (0.0..=most).contains(number))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let ms = number(text, 60_000.0).ok_or("give milliseconds, at most 60000")?;
    Ok(Duration::from_secs_f64(ms / 1_000.0))
}

fn mtu(text: &str) -> Result<u16, String> {
    // RFC 791: every link carries 68 bytes.
    let mtu = text.parse().ok().filter(|mtu| *mtu >= 68);
    mtu.ok_or_else(|| "give the bytes of an IP packet, 68 or more".to_owned())
}

fn snooping<'a>(words: impl Iterator<Item = &'a str>) -> Result<Option<Snooping>, String> {
    let words: Vec<&str> = words.collect();
    let ms = |text: &str| {
        let seconds = number(text, 100_000.0).filter(|seconds| *seconds > 0.0);
        seconds.map(|seconds| (seconds * 1_000.0) as u32).ok_or("snoop: give seconds, or off")
    };
    let (forgets, asks) = match words[..] {
        ["off"] => return Ok(None),
        [forgets] => (forgets, None),
        [forgets, asks] => (forgets, Some(asks)),
        _ => return Err("snoop: give after how many seconds it forgets, or off".to_owned()),
    };
    let (forgets_after, asks_every) = (ms(forgets)?, asks.map(ms).transpose()?);
    // It needs to have heard no querier to withhold multicast: it is a strict one.
    Ok(Some(Snooping { asks_every, forgets_after, believes_for: u32::MAX }))
}

const fn seconds(ms: u32) -> f64 {
    ms as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_below_one() {
        assert_eq!(parse_share("5"), Ok(0.05));
        assert_eq!(parse_share("0.05"), Ok(0.05));
        assert_eq!(parse_share("0.5%"), Ok(0.005));
        assert_eq!(parse_share("0"), Ok(0.0));
        assert!(parse_share("101").is_err() && parse_share("x").is_err());
    }

    #[test]
    fn orders_are_read_with_their_hosts() {
        let order = |text: &str| text.parse::<Order>();
        assert_eq!(order("loss 5"), Ok(Order::Fault(Fault::Loss(0.05), vec![])));
        assert_eq!(order("loss 5% admin 3"), Ok(Order::Fault(Fault::Loss(0.05), vec![0, 3])));
        let delay = Fault::Delay(Duration::from_micros(1_500));
        assert_eq!(order(" delay  1.5 2"), Ok(Order::Fault(delay, vec![2])));
        let burst = Fault::Burst { share: 0.2, length: 10.0 };
        assert_eq!(order("burst 20 10 1"), Ok(Order::Fault(burst, vec![1])));
        let snooping =
            Snooping { asks_every: Some(500), forgets_after: 4_000, believes_for: u32::MAX };
        assert_eq!(order("snoop 4 0.5"), Ok(Order::Snoop(Some(snooping))));
        assert_eq!(order("snoop off"), Ok(Order::Snoop(None)));
        assert_eq!(order("mtu 1280"), Ok(Order::Fault(Fault::Mtu(1_280), vec![])));
    }

    #[test]
    fn what_is_no_order_is_refused_with_what_would_be() {
        for text in [
            "",
            "rain",
            "loss",
            "loss x",
            "loss 5 all",
            "burst 5",
            "burst 50 0",
            "burst 95 10",
            "delay -1",
            "delay 1e9",
            "mtu 60",
            "mtu",
            "snoop",
            "snoop 0",
            "snoop 1 2 3",
            "deaf x",
        ] {
            assert!(text.parse::<Order>().is_err(), "{text}");
        }
        assert!("rain".parse::<Order>().unwrap_err().contains("duplicate P"));
    }

    #[test]
    fn an_order_that_is_written_reads_the_same() {
        for text in [
            "loss 5%",
            "delay 1.5 0 2",
            "jitter 20",
            "reorder 5% 1",
            "duplicate 5%",
            "corrupt 5%",
            "truncate 5%",
            "mtu 1280 1 2",
            "deaf 1",
            "calm",
            "snoop 4 0.5",
            "snoop 4",
            "snoop off",
            "burst 25% 4 1",
            "burst 0% 1",
        ] {
            assert_eq!(text.parse::<Order>().unwrap().to_string(), text);
        }
    }
}
