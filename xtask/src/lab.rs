//! `cargo xtask lab`: a LAN of network namespaces, to try things by hand.

use std::os::unix::process::CommandExt as _;
use std::process;

use clap::Subcommand;
use fleetcast_lab::fault::{FAULTS, parse_share};
use fleetcast_lab::{Lan, Plan, Rate, bridge, standing};

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
        /// With a switch in user space, which `fault` can make misbehave
        #[arg(long)]
        bridge: bool,
        /// What chance is drawn from at that switch
        #[arg(long, default_value_t = 1, requires = "bridge")]
        seed: u64,
    },
    /// Makes the switch in user space misbehave towards hosts, or as a whole
    #[command(after_help = FAULTS)]
    Fault {
        /// KIND ARGS [HOST…], see below [default hosts: all but the admin's]
        #[arg(
            required = true,
            value_name = "WORDS",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        words: Vec<String>,
    },
    /// Is the switch in user space, in the network namespace it runs in
    #[command(hide = true)]
    Serve {
        /// What chance is drawn from
        seed: u64,
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

/// Does it.
///
/// # Errors
/// What is missing or does not work, with the cure.
pub(crate) fn run(command: &Command) -> Result<bool, String> {
    // Two working copies have a LAN each.
    let tag = shell::root().display().to_string();
    match command {
        Command::Up { hosts, rate, bridge, seed } => {
            packages::ensure(&PACKAGES)?;
            let plan = Plan { hosts: *hosts, rate: *rate };
            if *bridge {
                standing::up_bridged(&tag, &plan, &server(*seed)?)?;
            } else {
                standing::up(&tag, &plan)?;
            }
            tell(&standing::find(&tag)?, *rate);
        }
        Command::Fault { words } => {
            let order = words.join(" ").parse()?;
            bridge::order(&standing::find(&tag)?, &order)?;
        }
        Command::Serve { seed } => bridge::serve(*seed)?,
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

/// This program, as the switch in user space.
fn server(seed: u64) -> Result<process::Command, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = process::Command::new(program);
    command.args(["lab", "serve", &seed.to_string()]);
    Ok(command)
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
}
