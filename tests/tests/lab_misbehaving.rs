//! The network that misbehaves, with real processes on a LAN of namespaces: host 0
//! is the admin's, hosts 1 and 2 have a receiver each.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use fleetcast_lab::{Lan, Plan, Snooping};
use fleetcast_tests::processes::{Child, Fleet, Receiver, SLOW, noise, skip};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket, sockopt};
use serde_json::Value;

const MIB: usize = 1 << 20;
/// Whoever is cut off from multicast is served otherwise within this.
const SERVED: Duration = Duration::from_secs(10);

/// A LAN, the server on it, and the receivers `a` on host 1 and `b` on host 2.
struct Site {
    fleet: Fleet,
    a: Receiver,
    b: Receiver,
    bytes: Vec<u8>,
    /// Goes last: processes die with their namespaces otherwise.
    lan: Lan,
}

impl Site {
    /// `None`, and counted as skipped, where no LAN can be made.
    fn new(test: &str, prepare: impl FnOnce(&Lan)) -> Option<Self> {
        let lan = Lan::new(&Plan::gigabit(3));
        let lan = lan.map_err(|reason| skip(&format!("{test}: {reason}"))).ok()?;
        prepare(&lan);
        let fleet = Fleet::between(lan.host(0), lan.host(1));
        let a = fleet.receiver_on(lan.host(1), "a");
        let b = fleet.receiver_on(lan.host(2), "b");
        Some(Self { fleet, a, b, bytes: Vec::new(), lan })
    }

    /// Sends noise of a length, another for each, to both at `rate`; the command that waits
    /// for them.
    fn send(&mut self, len: usize, rate: &str) -> Child {
        let file = self.fleet.path("file");
        self.bytes = noise(len as u64, len);
        fs::write(&file, &self.bytes).unwrap();
        let arguments = ["send", file.to_str().unwrap(), "--to", "g", "--wait", "--rate", rate];
        Child::start("send", self.fleet.command(arguments))
    }

    /// Both have it; how it came to `a` and to `b`.
    fn arrived(&self, mut send: Child, limit: Duration) -> (String, String) {
        let item = send.wait(limit).done()["item"].clone();
        for receiver in [&self.a, &self.b] {
            assert!(fs::read(receiver.file("file")).unwrap() == self.bytes, "{}", receiver.name);
        }
        (path(&item, "a"), path(&item, "b"))
    }

    /// Codes of the health conditions that are about the network.
    fn health(&self) -> Vec<String> {
        let status = self.fleet.run(["status"]).done();
        let found = status["item"]["health"].as_array().unwrap().clone();
        let codes = found.iter().map(|item| item["code"].as_str().unwrap().to_owned());
        codes.filter(|code| code.starts_with("multicast") || code.starts_with("small")).collect()
    }
}

/// How a release went to a receiver.
fn path(item: &Value, receiver: &str) -> String {
    let deliveries = item["deliveries"].as_array().unwrap();
    let delivery = deliveries.iter().find(|delivery| delivery["receiver"] == receiver);
    delivery.unwrap()["path"].as_str().unwrap().to_owned()
}

/// Waits until a receiver holds at least `least` bytes; returns how many.
fn progress(receiver: &mut Receiver, least: u64) -> u64 {
    loop {
        let bytes = receiver.process().wait_for("progress")["bytes"].as_u64().unwrap();
        if bytes >= least {
            return bytes;
        }
    }
}

fn both(path: &str) -> (String, String) {
    (path.to_owned(), path.to_owned())
}

fn only_b_by_multicast() -> (String, String) {
    ("unicast".to_owned(), "multicast".to_owned())
}

/// Asks once, as a querier on the admin's host, who listens: RFC 3376, §4.1.
fn ask_once(lan: &Lan) {
    // Type 0x11, 0.2 s to answer, all groups, robustness 2, interval 125 s, no sources.
    let mut query = [0x11, 2, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0];
    let words = query.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let check = !((sum & 0xFFFF) + (sum >> 16)) as u16;
    query[2..4].copy_from_slice(&check.to_be_bytes());
    let from = lan.address(0);
    let asking = || {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::IGMP)).unwrap();
        sockopt::set_ip_multicast_if(&raw, &from).unwrap();
        let all = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), 0);
        sendto(&raw, &query, SendFlags::empty(), &all).unwrap();
    };
    lan.host(0).inside(asking).unwrap();
}

/// Sends for longer than the switch remembers who listens, while `b` has left; the
/// bytes that came to its port in vain.
fn snooped(test: &str, snooping: Snooping, seconds: usize) -> Option<((String, String), u64)> {
    let prepare = |lan: &Lan| {
        lan.snoop(snooping).unwrap();
        ask_once(lan);
    };
    let mut site = Site::new(test, prepare)?;
    // A witness: what comes to its port comes to all.
    site.fleet.run(["groups", "remove", "g", "b"]).done();
    let before = site.lan.traffic(2).unwrap().received;
    let mut send = site.send(seconds * MIB, "1MiB/s");
    let limit = Duration::from_secs(2 * seconds as u64) + SLOW;
    let item = send.wait(limit).done()["item"].clone();
    assert!(fs::read(site.a.file("file")).unwrap() == site.bytes);
    let witnessed = site.lan.traffic(2).unwrap().received - before;
    let how = (path(&item, "a"), site.health().join(" "));
    Some((how, witnessed))
}

#[test]
fn a_switch_without_a_querier_that_forgets_who_listens_is_told_again() {
    let test = "a_switch_without_a_querier_that_forgets_who_listens_is_told_again";
    let snooping = Snooping { asks_every: None, forgets_after: 4_000, believes_for: 300_000 };
    let Some((how, witnessed)) = snooped(test, snooping, 9) else { return };
    assert_eq!(how, ("multicast".to_owned(), String::new()));
    assert!(witnessed < MIB as u64, "the switch does not snoop: {witnessed} bytes");
}

// nightly
#[ignore = "nightly: minutes"]
#[test]
fn a_switch_without_a_querier_is_told_each_minute_who_listens() {
    let test = "a_switch_without_a_querier_is_told_each_minute_who_listens";
    let snooping = Snooping { asks_every: None, forgets_after: 70_000, believes_for: 600_000 };
    let Some((how, witnessed)) = snooped(test, snooping, 150) else { return };
    assert_eq!(how, ("multicast".to_owned(), String::new()));
    assert!(witnessed < 10 * MIB as u64, "the switch does not snoop: {witnessed} bytes");
}

#[test]
fn a_switch_with_a_querier_sends_multicast_to_listeners_to_the_end() {
    let test = "a_switch_with_a_querier_sends_multicast_to_listeners_to_the_end";
    let snooping =
        Snooping { asks_every: Some(1_000), forgets_after: 3_000, believes_for: 300_000 };
    let Some((how, witnessed)) = snooped(test, snooping, 6) else { return };
    assert_eq!(how, ("multicast".to_owned(), String::new()));
    assert!(witnessed < MIB as u64, "the switch does not snoop: {witnessed} bytes");
}

#[test]
fn multicast_that_stops_in_mid_session_is_noticed_and_the_rest_comes_by_unicast() {
    let test = "multicast_that_stops_in_mid_session_is_noticed_and_the_rest_comes_by_unicast";
    let Some(mut site) = Site::new(test, |_| {}) else { return };
    // Catch-up has a fifth of it, and shows nothing before a segment of 3 MiB has come.
    let send = site.send(64 * MIB, "8MiB/s");
    let held = progress(&mut site.a, 2 * MIB as u64);
    site.lan.block_multicast(1).unwrap();
    let begin = Instant::now();
    // Nothing of the segment under way is complete without what follows.
    progress(&mut site.a, held + MIB as u64 / 2);
    assert!(begin.elapsed() < SERVED, "{:?}", begin.elapsed());
    assert_eq!(site.health(), ["multicast-blocked"]);
    assert_eq!(site.arrived(send, 2 * SLOW), only_b_by_multicast());
}

#[test]
fn a_port_with_a_small_mtu_gets_small_datagrams() {
    let test = "a_port_with_a_small_mtu_gets_small_datagrams";
    let Some(mut site) = Site::new(test, |lan| lan.set_mtu(1, 1_280).unwrap()) else { return };
    // Within ten seconds on a virtual clock: `sim_network`.
    let send = site.send(2 * MIB, "100MB/s");
    assert_eq!(site.arrived(send, SLOW), only_b_by_multicast());
    assert_eq!(site.health(), ["multicast-blocked"]);
}

// PROTOCOL C6
#[test]
fn a_host_that_gets_another_address_in_mid_session_goes_on() {
    let test = "a_host_that_gets_another_address_in_mid_session_goes_on";
    let Some(mut site) = Site::new(test, |_| {}) else { return };
    let send = site.send(8 * MIB, "1MiB/s");
    progress(&mut site.a, 2 * MIB as u64);
    let to = Ipv4Addr::new(10, 77, 9, 9);
    site.lan.readdress(1, site.lan.address(1), to).unwrap();
    assert_eq!(site.arrived(send, SLOW), both("multicast"));
    let address = site.fleet.listed("a")["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with(&format!("{to}:")), "{address}");
}

#[test]
fn a_host_that_loses_half_of_everything_gets_there() {
    let test = "a_host_that_loses_half_of_everything_gets_there";
    let Some(mut site) = Site::new(test, |_| {}) else { return };
    // What the release takes at `b` while `a` hears all of it: four seconds.
    let send = site.send(8 * MIB, "2MiB/s");
    let quiet = takes(&mut site.b);
    assert_eq!(site.arrived(send, SLOW), both("multicast"));
    site.lan.set_loss(0.5, &[1]).unwrap();
    let send = site.send(8 * MIB + 4_096, "2MiB/s");
    let beside = takes(&mut site.b);
    println!("b: {quiet:?} alone, {beside:?} beside a host that loses half");
    // In one lane it would be twice as long: each block would need as much parity as it has
    // sources.
    assert!(beside < quiet * 3 / 2, "{beside:?} and {quiet:?}");
    let (_, b) = site.arrived(send, 2 * SLOW);
    assert_eq!(b, "multicast");
}

/// From the offer of a release to its installation, as the receiver tells them.
fn takes(receiver: &mut Receiver) -> Duration {
    receiver.process().wait_for("offered");
    let begin = Instant::now();
    receiver.process().wait_for("installed");
    begin.elapsed()
}

#[test]
fn links_that_all_flap_end_in_complete_deliveries() {
    flap("links_that_all_flap_end_in_complete_deliveries", 3);
}

// nightly
#[ignore = "nightly: minutes"]
#[test]
fn links_that_all_flap_for_a_minute_end_in_complete_deliveries() {
    flap("links_that_all_flap_for_a_minute_end_in_complete_deliveries", 15);
}

/// Cuts all links for two seconds and heals them for two, so many times.
fn flap(test: &str, times: usize) {
    let Some(mut site) = Site::new(test, |_| {}) else { return };
    let send = site.send(4 * times * MIB, "1MiB/s");
    progress(&mut site.a, MIB as u64 / 2);
    let pause = || std::thread::sleep(Duration::from_secs(2));
    for _ in 0..times {
        (0..3).for_each(|host| site.lan.cut(host).unwrap());
        pause();
        (0..3).for_each(|host| site.lan.heal(host).unwrap());
        pause();
    }
    // Half of the time it could be sent in went by; a handshake is tried every 10 s,
    // a rest is asked for every 20 s.
    let limit = Duration::from_secs(4 * times as u64 + 30);
    site.arrived(send, limit);
}
