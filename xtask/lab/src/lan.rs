//! Hosts on a switch, and what is done to their cables.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::namespace::Namespace;
use crate::plan::{Plan, Rate};

/// The admin's address; the other hosts' follow it.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Bytes that wait at a port of the switch before it drops: a cheap one has that.
const SWITCH_QUEUE: u64 = 512 * 1_024;
/// The same at a host: about the 1,000 packets of Linux' own queue.
const HOST_QUEUE: u64 = 1_500_000;
/// Bridged packets do not pass the IP filter: a switch has none, and its cost
/// would be counted as the sender's.
const UNFILTERED: &str = "cd /proc/sys/net/bridge && \
    for table in arptables iptables ip6tables; do echo 0 > bridge-nf-call-$table; done";

/// A LAN. It goes when this value is dropped, unless it is told to stay.
#[derive(Debug)]
pub struct Lan {
    switch: Namespace,
    hosts: Vec<Namespace>,
}

/// What connects the cables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switching {
    /// A bridge of the kernel.
    Kernel,
    /// Nothing yet.
    Elsewhere,
}

/// What has crossed an interface since it was made, Ethernet headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that came in.
    pub received: u64,
    /// Packets that came in.
    pub received_packets: u64,
    /// Bytes that went out.
    pub sent: u64,
    /// Packets that went out.
    pub sent_packets: u64,
}

impl Lan {
    /// Makes a LAN.
    ///
    /// # Errors
    /// When this process may not, or a program that it takes is missing.
    pub fn new(plan: &Plan) -> Result<Self, String> {
        Self::labelled(plan, Switching::Kernel, &mut |_| Vec::new())
    }

    /// Makes a LAN whose cables end in the switch's namespace, and nothing connects
    /// them: that is for a bridge to do.
    ///
    /// # Errors
    /// As above.
    pub fn without_switch(plan: &Plan) -> Result<Self, String> {
        Self::labelled(plan, Switching::Elsewhere, &mut |_| Vec::new())
    }

    /// Makes a LAN whose holders have an environment each, by their host's number;
    /// the switch's has none.
    pub(crate) fn labelled(
        plan: &Plan,
        switching: Switching,
        label: &mut dyn FnMut(Option<usize>) -> Vec<(&'static str, String)>,
    ) -> Result<Self, String> {
        if !(2..=Plan::MAX_HOSTS).contains(&plan.hosts) {
            let most = Plan::MAX_HOSTS;
            return Err(format!("{} hosts are no LAN; give 2 to {most}", plan.hosts));
        }
        let mut namespace = |host| {
            let label = label(host);
            let label: Vec<_> = label.iter().map(|(name, text)| (*name, text.as_str())).collect();
            Namespace::new(&label)
        };
        let switch = namespace(None)?;
        let hosts = (0..plan.hosts).map(|host| namespace(Some(host))).collect::<Result<_, _>>()?;
        let lan = Self { switch, hosts };
        lan.wire(plan.rate, switching)?;
        Ok(lan)
    }

    /// A LAN that exists already.
    pub(crate) const fn of(switch: Namespace, hosts: Vec<Namespace>) -> Self {
        Self { switch, hosts }
    }

    /// Connects all hosts with the switch, and limits the rates.
    fn wire(&self, rate: Rate, switching: Switching) -> Result<(), String> {
        let (switch, master) = match switching {
            Switching::Kernel => (
                "link add br0 type bridge stp_state 0 mcast_snooping 0\n\
                 link set br0 addrgenmode none up\n",
                "master br0",
            ),
            // Nobody but the bridge takes part, so this namespace must not either.
            Switching::Elsewhere => ("", "arp off"),
        };
        let mut links = switch.to_owned();
        let mut queues = String::new();
        for (host, namespace) in self.hosts.iter().enumerate() {
            let holder = namespace.holder();
            // Writing to a string does not fail.
            let _ = write!(
                links,
                "link add port{host} type veth peer name eth0 netns {holder}\n\
                 link set port{host} addrgenmode none gso_max_segs 1 {master} up\n"
            );
            let _ = writeln!(queues, "{}", queue(&format!("port{host}"), rate, SWITCH_QUEUE));
        }
        self.switch.run("ip", &["-batch", "-"], &links)?;
        // Where the kernel has no such switch, bridged packets are not filtered anyway.
        let _ = self.switch.run("sh", &["-s"], UNFILTERED);
        self.switch.run("tc", &["-batch", "-"], &queues)?;
        for (host, namespace) in self.hosts.iter().enumerate() {
            let links = format!(
                "link set lo up\n\
                 link set eth0 addrgenmode none gso_max_segs 1 up\n\
                 address add {}/16 broadcast + dev eth0\n",
                self.address(host)
            );
            namespace.run("ip", &["-batch", "-"], &links)?;
            namespace.run("tc", &["-batch", "-"], &queue("eth0", rate, HOST_QUEUE))?;
        }
        Ok(())
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// A host's namespace.
    ///
    /// # Panics
    /// When there is no such host.
    #[must_use]
    pub fn host(&self, host: usize) -> &Namespace {
        &self.hosts[host]
    }

    /// The switch's namespace.
    #[must_use]
    pub const fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// A host's address.
    #[must_use]
    pub fn address(&self, host: usize) -> Ipv4Addr {
        let host = u32::try_from(host).unwrap_or(u32::MAX);
        Ipv4Addr::from_bits(FIRST.to_bits().saturating_add(host))
    }

    /// A command that becomes `program` on a host, and dies with the thread that
    /// starts it.
    ///
    /// # Panics
    /// When there is no such host.
    #[must_use]
    pub fn command(&self, host: usize, program: impl AsRef<OsStr>) -> Command {
        self.hosts[host].mortal(program)
    }

    /// Loses `share` (0 to 1) of the UDP and TCP packets that the switch sends to
    /// each of `hosts`, each packet by its own lot, in place of what was set before.
    ///
    /// # Errors
    /// When nftables does not take it.
    pub fn set_loss(&self, share: f64, hosts: &[usize]) -> Result<(), String> {
        let mut rules = String::new();
        for host in hosts {
            // Removing what is not there is an error: it is made first.
            let _ =
                writeln!(rules, "table netdev loss{host} {{ }}\ndelete table netdev loss{host}");
            let lots = (share.clamp(0.0, 1.0) * 100_000.0).round() as u32;
            if lots > 0 {
                let lot = format!("numgen random mod 100000 < {lots} drop");
                let _ = writeln!(
                    rules,
                    "table netdev loss{host} {{ chain out {{ \
                     type filter hook egress device \"port{host}\" priority 0; \
                     ip protocol udp {lot}; ip protocol tcp {lot}; }}; }}"
                );
            }
        }
        self.switch.run("nft", &["-f", "-"], &rules)
    }

    /// Pulls a host's cable: both ends lose their carrier.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn cut(&self, host: usize) -> Result<(), String> {
        self.switch.run("ip", &["link", "set", &format!("port{host}"), "down"], "")
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn heal(&self, host: usize) -> Result<(), String> {
        self.switch.run("ip", &["link", "set", &format!("port{host}"), "up"], "")
    }

    /// Drops all multicast that arrives at a host.
    ///
    /// # Errors
    /// When nftables does not take it.
    pub fn block_multicast(&self, host: usize) -> Result<(), String> {
        let rules = "table inet block { chain in { \
            type filter hook input priority 0; ip daddr 224.0.0.0/4 drop; }; }";
        self.hosts[host].run("nft", &["-f", "-"], rules)
    }

    /// What has crossed a host's interface.
    ///
    /// # Errors
    /// When its holder has ended.
    pub fn traffic(&self, host: usize) -> Result<Traffic, String> {
        let path = format!("/proc/{}/net/dev", self.hosts[host].holder());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        traffic(&text).ok_or_else(|| format!("{path} has no eth0: {text}"))
    }

    /// Datagrams that a host has thrown away because a socket's buffer was full.
    ///
    /// # Errors
    /// When its holder has ended.
    pub fn overflows(&self, host: usize) -> Result<u64, String> {
        let path = format!("/proc/{}/net/snmp", self.hosts[host].holder());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        overflows(&text).ok_or_else(|| format!("{path} has no RcvbufErrors: {text}"))
    }

    /// Lets it outlive this value and this process.
    pub(crate) fn stay(&mut self) -> Result<(), String> {
        self.switch.stay()?;
        self.hosts.iter_mut().try_for_each(Namespace::stay)
    }
}

/// What `tc` reads for a port of that rate.
fn queue(device: &str, rate: Rate, limit: u64) -> String {
    let burst = rate.burst();
    format!("qdisc add dev {device} root tbf rate {rate} burst {burst} limit {limit}")
}

/// The line of `eth0` in /proc/net/dev: 8 columns in, then 8 out.
fn traffic(text: &str) -> Option<Traffic> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"))?;
    let columns: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    Some(Traffic {
        received: *columns.first()?,
        received_packets: *columns.get(1)?,
        sent: *columns.get(8)?,
        sent_packets: *columns.get(9)?,
    })
}

/// `RcvbufErrors` of UDP in /proc/net/snmp: a line of names, then one of numbers.
fn overflows(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|name| name == "RcvbufErrors")?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read_by_column() {
        let dev = "Inter-|   Receive   |  Transmit\n\
            lo: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n\
            eth0: 100 5 0 0 0 0 0 0 2000 7 0 0 0 0 0 0\n";
        let expected = Traffic { received: 100, received_packets: 5, sent: 2_000, sent_packets: 7 };
        assert_eq!(traffic(dev), Some(expected));
        assert_eq!(traffic("lo: 1 2"), None);
        let snmp = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
            Udp: 10 20 30 40 50 60\n";
        assert_eq!(overflows(snmp), Some(50));
        assert_eq!(overflows("Tcp: a\nTcp: 1"), None);
    }
}
