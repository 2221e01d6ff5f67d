//! Two hosts with a wire between: network namespaces and a pair of interfaces.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use fleetcast_tests::processes::{Fleet, noise, skip};

/// Two network namespaces, removed with all that is in them when dropped.
struct Hosts {
    server: String,
    receiver: String,
}

impl Hosts {
    /// `None` where this process may not make them.
    fn new(name: &str) -> Option<Self> {
        let id = std::process::id();
        let hosts =
            Self { server: format!("fc-{name}s-{id}"), receiver: format!("fc-{name}r-{id}") };
        let (server, receiver) = (hosts.server.as_str(), hosts.receiver.as_str());
        let wire = ["link", "add", "eth7", "netns", server, "type", "veth"];
        let other_end = ["peer", "name", "eth7", "netns", receiver];
        let made = ip(&["netns", "add", server])
            && ip(&["netns", "add", receiver])
            && ip(&[&wire[..], &other_end].concat());
        let up = |host: &str, address: &str| {
            ip(&["-n", host, "address", "add", address, "dev", "eth7"])
                && ip(&["-n", host, "link", "set", "lo", "up"])
                && ip(&["-n", host, "link", "set", "eth7", "up"])
        };
        (made && up(server, "10.77.7.1/24") && up(receiver, "10.77.7.2/24")).then_some(hosts)
    }

    /// Drops all multicast that arrives at the receiver.
    fn block_multicast(&self) -> bool {
        let rules = "add table inet block; \
            add chain inet block in { type filter hook input priority 0; }; \
            add rule inet block in ip daddr 224.0.0.0/4 drop";
        ip(&["netns", "exec", &self.receiver, "nft", rules])
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.receiver]);
        ip(&["netns", "delete", &self.server]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_file_crosses_a_network_by_multicast() {
    let Some(hosts) = Hosts::new("m") else {
        return skip("a_file_crosses_a_network_by_multicast: may not make network namespaces");
    };
    let fleet = Fleet::between(&hosts.server, &hosts.receiver);
    let receiver = fleet.receiver("r");
    let (file, bytes) = (fleet.path("file"), noise(1, 4 << 20));
    fs::write(&file, &bytes).unwrap();
    let item = fleet.send(&file, &[]);
    assert!(fs::read(receiver.file("file")).unwrap() == bytes, "identical");
    assert!(item["multicast_bytes"].as_u64().unwrap() > 4 << 20, "{item}");
    assert!(item["unicast_bytes"].as_u64().unwrap() < 200_000, "{item}");
    assert_eq!(item["deliveries"][0]["path"], "multicast", "{item}");
    let address = fleet.listed("r")["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.77.7.2:"), "{address}");
}

#[test]
fn a_receiver_that_hears_no_multicast_is_served_by_unicast() {
    let Some(hosts) = Hosts::new("u").filter(Hosts::block_multicast) else {
        let why = "may not make network namespaces, or there is no nft";
        return skip(&format!("a_receiver_that_hears_no_multicast_is_served_by_unicast: {why}"));
    };
    let fleet = Fleet::between(&hosts.server, &hosts.receiver);
    let receiver = fleet.receiver("r");
    let (file, bytes) = (fleet.path("file"), noise(2, 1 << 20));
    fs::write(&file, &bytes).unwrap();
    let begin = Instant::now();
    let item = fleet.send(&file, &[]);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(fs::read(receiver.file("file")).unwrap() == bytes, "identical");
    assert_eq!(item["deliveries"][0]["path"], "unicast", "{item}");
}
