//! Two hosts on a real network: a LAN of network namespaces.

use std::fs;
use std::time::{Duration, Instant};

use fleetcast_lab::{Lan, Plan};
use fleetcast_tests::processes::{Fleet, noise, skip};
use serde_json::json;

/// A LAN with the server's host and the receiver's; `None`, and counted as
/// skipped, where none can be made.
fn lan(test: &str) -> Option<Lan> {
    let lan = Lan::new(&Plan::gigabit(2));
    lan.map_err(|reason| skip(&format!("{test}: {reason}"))).ok()
}

#[test]
fn a_file_crosses_a_network_by_multicast() {
    let Some(lan) = lan("a_file_crosses_a_network_by_multicast") else { return };
    let fleet = Fleet::between(lan.host(0), lan.host(1));
    let mut receiver = fleet.receiver("r");
    let (file, bytes) = (fleet.path("file"), noise(1, 4 << 20));
    fs::write(&file, &bytes).unwrap();
    let item = fleet.send(&file, &[]);
    let installed = receiver.process().wait_for("installed");
    let seen = receiver.process().seen().iter();
    let last: Vec<_> = seen.filter(|line| line["event"] != "progress").collect();
    let [.., verified, last] = &last[..] else { panic!("{last:?}") };
    assert_eq!((*last, &verified["event"]), (&installed, &json!("verified")));
    assert_eq!(verified["release"], installed["release"]);
    assert!(fs::read(receiver.file("file")).unwrap() == bytes, "identical");
    assert!(item["multicast_bytes"].as_u64().unwrap() > 4 << 20, "{item}");
    assert!(item["unicast_bytes"].as_u64().unwrap() < 200_000, "{item}");
    assert_eq!(item["deliveries"][0]["path"], "multicast", "{item}");
    let address = fleet.listed("r")["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with(&format!("{}:", lan.address(1))), "{address}");
}

#[test]
fn a_receiver_that_hears_no_multicast_is_served_by_unicast() {
    let test = "a_receiver_that_hears_no_multicast_is_served_by_unicast";
    let Some(lan) = lan(test) else { return };
    lan.block_multicast(1).unwrap();
    let fleet = Fleet::between(lan.host(0), lan.host(1));
    let receiver = fleet.receiver("r");
    let (file, bytes) = (fleet.path("file"), noise(2, 1 << 20));
    fs::write(&file, &bytes).unwrap();
    let begin = Instant::now();
    let item = fleet.send(&file, &[]);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(fs::read(receiver.file("file")).unwrap() == bytes, "identical");
    assert_eq!(item["deliveries"][0]["path"], "unicast", "{item}");
}
