//! The lab itself: its losses, its cables, and that nothing of it is left behind.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleetcast::net::BatchSocket;
use fleetcast_lab::{Lan, Plan, standing};
use fleetcast_tests::processes::skip;

const PORT: u16 = 9_977;
/// Datagrams that leave in one call.
const BATCH: usize = 40;
const LEN: usize = 100;
/// Set where a test starts itself again to make a LAN and be killed.
const MAKER: &str = "FLEETCAST_LAB_MAKER";

/// `None`, and counted as skipped, where no LAN can be made.
fn lan(test: &str, hosts: usize) -> Option<Lan> {
    let lan = Lan::new(&Plan::gigabit(hosts));
    lan.map_err(|reason| skip(&format!("{test}: {reason}"))).ok()
}

/// A socket on host 0 that sends in batches, one on host 1, and its address.
fn sockets(lan: &Lan) -> (BatchSocket, UdpSocket, SocketAddr) {
    let sender = lan.host(0).inside(|| BatchSocket::client().unwrap()).unwrap();
    let receiver = lan.host(1).inside(|| UdpSocket::bind(("0.0.0.0", PORT)).unwrap()).unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    (sender, receiver, (lan.address(1), PORT).into())
}

/// Sends so many batches; which datagrams arrived.
fn exchange(lan: &Lan, batches: usize) -> Vec<bool> {
    let (sender, receiver, to) = sockets(lan);
    assert!(sender.batch() >= BATCH, "no segmentation here: {}", sender.batch());
    let mut arrived = vec![false; batches * BATCH];
    for batch in 0..batches {
        let numbers = (batch * BATCH..(batch + 1) * BATCH).map(|number| number as u32);
        let bytes: Vec<u8> = numbers
            .flat_map(|number| [&number.to_le_bytes()[..], &[0; LEN - 4]].concat())
            .collect();
        assert!(sender.send(to, &bytes, Some(LEN)));
        let mut datagram = [0; LEN];
        // Read at once, none is lost for want of room here.
        while receiver.recv(&mut datagram).is_ok() {
            let number = u32::from_le_bytes(datagram[..4].try_into().unwrap());
            arrived[number as usize] = true;
        }
    }
    arrived
}

fn lost(arrived: &[bool]) -> usize {
    arrived.iter().filter(|arrived| !**arrived).count()
}

#[test]
fn every_datagram_of_a_batch_has_a_lot_of_its_own() {
    let Some(lan) = lan("every_datagram_of_a_batch_has_a_lot_of_its_own", 2) else { return };
    let before = lan.traffic(0).unwrap().sent_packets;
    assert_eq!(lost(&exchange(&lan, 3)), 0, "without loss all arrive");
    let packets = lan.traffic(0).unwrap().sent_packets - before;
    assert!(packets >= 3 * BATCH as u64, "a batch crosses as single packets: {packets}");

    lan.set_loss(0.10, &[1]).unwrap();
    let arrived = exchange(&lan, 25);
    // 1,000 lots of 10 %: 100 with a deviation of 9.5; once in a million further off than 5.
    assert!((52..=148).contains(&lost(&arrived)), "{} of 1000", lost(&arrived));
    // Nine in a row come up once in a million too; a lost batch would be 40.
    let longest = arrived.split(|arrived| *arrived).map(<[bool]>::len).max().unwrap();
    assert!(longest < 9, "{longest} lost in a row");

    lan.set_loss(0.0, &[1]).unwrap();
    assert_eq!(lost(&exchange(&lan, 3)), 0, "and again without");
}

#[test]
fn a_cut_cable_carries_nothing_until_it_is_healed() {
    let Some(lan) = lan("a_cut_cable_carries_nothing_until_it_is_healed", 3) else { return };
    assert_eq!(lost(&exchange(&lan, 1)), 0);
    lan.cut(1).unwrap();
    let (sender, receiver, to) = sockets(&lan);
    sender.send(to, b"lost", None);
    assert!(receiver.recv(&mut [0; LEN]).is_err());
    lan.heal(1).unwrap();
    let begin = Instant::now();
    let came = |receiver: &UdpSocket| {
        sender.send(to, b"here", None);
        receiver.recv(&mut [0; LEN]).is_ok()
    };
    while !came(&receiver) {
        assert!(begin.elapsed() < Duration::from_secs(10), "healed, and nothing comes");
    }
}

#[test]
fn a_port_carries_no_more_than_its_rate() {
    let plan = Plan { hosts: 2, rate: "8mbit".parse().unwrap() };
    let Ok(lan) = Lan::new(&plan) else {
        return skip("a_port_carries_no_more_than_its_rate: no LAN can be made");
    };
    let (sender, receiver, to) = sockets(&lan);
    let (begin, mut bytes) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(1) {
        sender.send(to, &[0; BATCH * 1_000], Some(1_000));
        receiver.set_nonblocking(true).unwrap();
        while let Ok(len) = receiver.recv(&mut [0; 1_000]) {
            bytes += len;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // 1 MB per second with headers, and the burst that may pass at once.
    assert!((500_000..=1_040_000).contains(&bytes), "{bytes} in {:?}", begin.elapsed());
}

/// The network namespaces of all processes.
fn spaces() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok()).collect()
}

/// Waits a little until no process is in any of these: the kernel takes its time.
fn gone(own: &[PathBuf]) {
    let begin = Instant::now();
    while own.iter().any(|space| spaces().contains(space)) {
        assert!(begin.elapsed() < Duration::from_secs(10), "some of {own:?} are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Names of the interfaces here, and all rules of the packet filter.
fn own_network() -> (Vec<String>, String) {
    let table = fs::read_to_string("/proc/net/dev").unwrap();
    let names = table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    let rules = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    (names.collect(), String::from_utf8_lossy(&rules.stdout).into_owned())
}

#[test]
fn a_lab_that_was_taken_down_leaves_nothing() {
    let (tag, before) = (format!("test {}", std::process::id()), own_network());
    if let Err(reason) = standing::up(&tag, &Plan::gigabit(3)) {
        return skip(&format!("a_lab_that_was_taken_down_leaves_nothing: {reason}"));
    }
    let lan = standing::find(&tag).unwrap();
    lan.set_loss(0.5, &[1, 2]).unwrap();
    let mut sleeper = standing::command(&tag, &lan, 1, "sleep").arg("600").spawn().unwrap();
    let hosts = (0..lan.hosts()).map(|host| lan.host(host));
    let own = hosts.chain([lan.switch()]).map(|host| fs::read_link(host.path()).unwrap());
    let own: Vec<PathBuf> = own.collect();
    assert!(own.iter().all(|space| spaces().contains(space)));
    let there = format!("/proc/{}/ns/net", sleeper.id());
    while fs::read_link(&there).unwrap() != own[1] {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(own_network(), before, "outside, nobody sees it");
    // Another one of that tag takes its place: four holders and the sleeper go.
    drop(lan);
    standing::up(&tag, &Plan::gigabit(2)).unwrap();
    assert!(sleeper.wait().unwrap().code().is_none(), "killed");
    assert_eq!(standing::find(&tag).unwrap().hosts(), 2);
    assert_eq!(standing::down(&tag), Ok(3));
    gone(&own);
    assert_eq!(own_network(), before);
    assert!(standing::find(&tag).unwrap_err().contains("lab up"));
    assert_eq!(standing::down(&tag), Ok(0), "and again");
}

#[test]
fn a_lan_goes_with_its_maker_even_when_that_is_killed() {
    let name = "a_lan_goes_with_its_maker_even_when_that_is_killed";
    if std::env::var_os(MAKER).is_some() {
        let lan = Lan::new(&Plan::gigabit(2)).unwrap();
        let mut sleep = lan.command(1, "sleep");
        let mut sleeper = sleep.arg("600").stderr(Stdio::null()).spawn().unwrap();
        // Only then is it bound to us.
        while fs::read_to_string(format!("/proc/{}/comm", sleeper.id())).unwrap() != "sleep\n" {
            std::thread::sleep(Duration::from_millis(5));
        }
        println!("\nspace {}", fs::read_link(lan.host(1).path()).unwrap().display());
        drop(sleeper.wait());
        return;
    }
    if lan(name, 2).is_none() {
        return;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture"]).env(MAKER, "1").stdout(Stdio::piped());
    let mut maker = again.spawn().unwrap();
    let lines = BufReader::new(maker.stdout.take().unwrap()).lines().map_while(Result::ok);
    let space = lines.filter_map(|line| Some(PathBuf::from(line.strip_prefix("space ")?)));
    let space = space.take(1).last().unwrap();
    assert!(spaces().contains(&space));
    maker.kill().unwrap();
    maker.wait().unwrap();
    gone(&[space]);
}

/// Types of service of the datagrams to `PORT` that arrive within a moment, from the
/// second byte of their IP headers (RFC 791), and what the datagrams begin with.
fn marks(raw: &UdpSocket) -> Vec<(u8, u8)> {
    raw.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut buffer = [0; 2_048];
    let mut marks = Vec::new();
    while let Ok(len) = raw.recv(&mut buffer) {
        let header = usize::from(buffer[0] & 0x0F) * 4;
        // UDP: the destination port is its second field (RFC 768).
        if buffer[header + 2..header + 4] == PORT.to_be_bytes() && len > header + 8 {
            marks.push((buffer[1], buffer[header + 8]));
        }
    }
    marks
}

#[test]
fn sessions_are_marked_and_channels_are_not() {
    let Some(lan) = lan("sessions_are_marked_and_channels_are_not", 2) else { return };
    let (mut sender, _receiver, to) = sockets(&lan);
    let raw = lan.host(1).inside(|| {
        rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::RAW,
            Some(rustix::net::ipproto::UDP),
        )
    });
    let Ok(raw) = raw.unwrap() else {
        return skip("sessions_are_marked_and_channels_are_not: no capture");
    };
    let raw = UdpSocket::from(raw);
    let (session, transport) = ([5; 3 * LEN], [4; LEN]);
    let expected = |tos: u8| [(tos, 5), (tos, 5), (tos, 5), (tos, 5), (0, 4)];
    // RFC 8622 has LE at 000001, RFC 2474 has CS1 at 001000; without: none.
    for (dscp, tos) in [(0, 0x00), (1, 0x04), (8, 0x20)] {
        sender.mark_sessions(dscp);
        assert!(sender.send(to, &session, Some(LEN)));
        assert!(sender.send(to, &session[..LEN], None));
        assert!(sender.send(to, &transport, None));
        assert_eq!(marks(&raw), expected(tos), "{dscp}");
    }
}
