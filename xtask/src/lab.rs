//! `cargo xtask lab`: a LAN of network namespaces, to try things by hand.

use std::os::unix::process::CommandExt as _;

use clap::Subcommand;
use fleetcast_lab::{Lan, Plan, Rate, standing};

use crate::packages::{self, Package};
use crate::shell;

/// What makes a network.
pub(crate) const PACKAGES: [Package; 4] = [
    Package { name: "iproute2", brings: "ip" },
    Package { name: "nftables", brings: "nft" },
    Package { name: "ethtool", brings: "ethtool" },
    Package { name: "util-linux", brings: "nsenter" },
];

/// What to do with the LAN. A HOST is its number, or `admin` for 0.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a LAN of N hosts, in place of the one that is up
    Up {
        /// Hosts, the admin's among them
        #[arg(value_name = "N")]
        hosts: usize,
        /// Of every port in both directions
        #[arg(default_value = "1gbit")]
        rate: Rate,
    },
    /// Loses packets at the switch on their way to hosts: 5, 5% and 0.05 are the same, 0 ends it
    Loss {
        /// The share that is lost
        #[arg(value_name = "P", value_parser = parse_share)]
        share: f64,
        /// Towards which hosts [default: all but the admin's]
        #[arg(value_name = "HOST")]
        hosts: Vec<Host>,
    },
    /// Pulls a host's cable
    Cut {
        /// Whose
        host: Host,
    },
    /// Plugs it in again
    Heal {
        /// Whose
        host: Host,
    },
    /// Runs a command on a host
    X {
        /// Where
        host: Host,
        /// What
        #[arg(
            required = true,
            value_name = "CMD",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        command: Vec<String>,
    },
    /// Takes the LAN down, and kills what was started in it
    Down,
}

/// A host's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host(usize);

impl std::str::FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = if text == "admin" { Some(0) } else { text.parse().ok() };
        number.map(Self).ok_or("give a host's number, or admin")
    }
}

/// A loss as `fleetcast receive --drop` reads it: a percentage from 1 on or with
/// its sign, a share below 1.
pub(crate) fn parse_share(text: &str) -> Result<f64, &'static str> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    let is_percentage = |number: f64| number >= 1.0 || text.ends_with('%');
    let share = number.map(|n| if is_percentage(n) { n / 100.0 } else { n });
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or("give a percentage such as 5 or 5%, or a share below 1 such as 0.05")
}

/// Does it.
///
/// # Errors
/// What is missing or does not work, with the cure.
pub(crate) fn run(command: &Command) -> Result<bool, String> {
    // Two working copies have a LAN each.
    let tag = shell::root().display().to_string();
    match command {
        Command::Up { hosts, rate } => {
            packages::ensure(&PACKAGES)?;
            standing::up(&tag, &Plan { hosts: *hosts, rate: *rate })?;
            tell(&standing::find(&tag)?, *rate);
        }
        Command::Loss { share, hosts } => {
            let lan = standing::find(&tag)?;
            let all: Vec<Host> = (1..lan.hosts()).map(Host).collect();
            let hosts = if hosts.is_empty() { &all } else { hosts };
            let hosts = hosts.iter().map(|host| known(&lan, *host));
            lan.set_loss(*share, &hosts.collect::<Result<Vec<_>, _>>()?)?;
        }
        Command::Cut { host } => {
            let lan = standing::find(&tag)?;
            lan.cut(known(&lan, *host)?)?;
        }
        Command::Heal { host } => {
            let lan = standing::find(&tag)?;
            lan.heal(known(&lan, *host)?)?;
        }
        Command::X { host, command } => return execute(&tag, *host, command),
        Command::Down => match standing::down(&tag)? {
            0 => println!("no lab was up"),
            processes => println!("down, with {processes} processes"),
        },
    }
    Ok(true)
}

/// Becomes the command: its exit code is ours.
fn execute(tag: &str, host: Host, command: &[String]) -> Result<bool, String> {
    let lan = standing::find(tag)?;
    let [program, arguments @ ..] = command else { return Err("no command".to_owned()) };
    let mut command = standing::command(tag, &lan, known(&lan, host)?, program);
    let error = command.args(arguments).exec();
    Err(format!("nsenter: {error}; help: apt-get install util-linux"))
}

fn known(lan: &Lan, host: Host) -> Result<usize, String> {
    let last = lan.hosts() - 1;
    if host.0 <= last { Ok(host.0) } else { Err(format!("no host {}; the last is {last}", host.0)) }
}

fn tell(lan: &Lan, rate: Rate) {
    for host in 0..lan.hosts() {
        let name = if host == 0 { "admin" } else { "" };
        println!("{host}\t{}\t{name}", lan.address(host));
    }
    println!("ports of {rate}; try: cargo xtask lab x admin ip address");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_number_or_the_admins() {
        assert_eq!("admin".parse(), Ok(Host(0)));
        assert_eq!("12".parse(), Ok(Host(12)));
        assert!("r1".parse::<Host>().is_err());
    }

    #[test]
    fn a_loss_is_a_percentage_or_a_share_below_one() {
        assert_eq!(parse_share("5"), Ok(0.05));
        assert_eq!(parse_share("0.05"), Ok(0.05));
        assert_eq!(parse_share("0.5%"), Ok(0.005));
        assert_eq!(parse_share("0"), Ok(0.0));
        assert!(parse_share("101").is_err() && parse_share("x").is_err());
    }
}
