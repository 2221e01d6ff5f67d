//! Real processes on a network that does all at once.

use std::fs;
use std::time::Duration;

use fleetcast_tests::processes::{Child, Fleet, Receiver, SLOW, noise};

use crate::net::Net;

const MIB: usize = 1 << 20;

/// The server on host 0, receivers on hosts 1 and 2.
struct Site {
    fleet: Fleet,
    receivers: [Receiver; 2],
    /// Goes last: processes die with their namespaces otherwise.
    net: Net,
}

impl Site {
    fn new(test: &str, seed: u64) -> Option<Self> {
        let net = Net::new(test, seed)?;
        let fleet = Fleet::between(net.lan.host(0), net.lan.host(1));
        let receivers =
            [(1, "a"), (2, "b")].map(|(host, name)| fleet.receiver_on(net.lan.host(host), name));
        Some(Self { fleet, receivers, net })
    }

    /// Sends noise to both, who have it within `limit`; how it came to each.
    fn deliver(&self, len: usize, rate: &str, limit: Duration) -> Vec<String> {
        let file = self.fleet.path("file");
        let bytes = noise(7, len);
        fs::write(&file, &bytes).unwrap();
        let arguments = ["send", file.to_str().unwrap(), "--to", "g", "--wait", "--rate", rate];
        let mut send = Child::start("send", self.fleet.command(arguments));
        let item = send.wait(limit).done()["item"].clone();
        for receiver in &self.receivers {
            assert!(fs::read(receiver.file("file")).unwrap() == bytes, "{}", receiver.name);
        }
        let deliveries = item["deliveries"].as_array().unwrap();
        deliveries.iter().map(|delivery| delivery["path"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_release_gets_through_bursts_delay_reordering_duplication_and_corruption() {
    let test = "a_release_gets_through_bursts_delay_reordering_duplication_and_corruption";
    let Some(site) = Site::new(test, 21) else { return };
    for words in ["burst 5 10", "delay 5", "jitter 3", "reorder 5", "duplicate 5", "corrupt 2"] {
        site.net.fault(words);
        // What receivers say has the same weather.
        site.net.fault(&format!("{words} admin"));
    }
    site.net.fault("truncate 1");
    assert_eq!(site.deliver(4 * MIB, "20MB/s", SLOW), ["multicast", "multicast"]);
}

// A receiver that hears nothing announces its membership again.
#[test]
fn a_release_gets_through_a_switch_that_snoops_without_a_querier() {
    let test = "a_release_gets_through_a_switch_that_snoops_without_a_querier";
    let Some(site) = Site::new(test, 22) else { return };
    site.net.fault("snoop 3");
    // Twice as long as the switch remembers.
    assert_eq!(site.deliver(6 * MIB, "1MiB/s", SLOW), ["multicast", "multicast"]);
}

#[test]
fn who_is_behind_a_black_hole_for_multicast_is_served_by_unicast() {
    let test = "who_is_behind_a_black_hole_for_multicast_is_served_by_unicast";
    let Some(site) = Site::new(test, 23) else { return };
    site.net.fault("deaf 1");
    site.net.fault("mtu 1280 1");
    let mut paths = site.deliver(MIB, "100MB/s", SLOW);
    paths.sort();
    assert_eq!(paths, ["multicast", "unicast"]);
}
