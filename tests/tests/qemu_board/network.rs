//! Cables, floods, and a server that is gone.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fleetcast_core::wire::control::Object;
use fleetcast_lab::Namespace;
use fleetcast_tests::emulated::{Board, SOON, Slot, lan};
use fleetcast_tests::insider::Insider;
use fleetcast_tests::processes::noise;
use rustix::net::sockopt::set_ip_multicast_if;

use crate::stand::{Stand, TAP};

/// Something that a thread does until this is dropped.
struct Doing {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Doing {
    /// Does it over and over; it returns how much it has done.
    fn start(mut work: impl FnMut() -> usize + Send + 'static) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                counted.fetch_add(work(), Ordering::Relaxed);
            }
        });
        Self { stop, count, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed by its own hook.
            let _ = thread.join();
        }
    }
}

/// Sends datagrams from a host with this address, `per_milli` each millisecond, made by
/// `make`; counts those that left.
fn flood(
    (host, address): (&Namespace, Ipv4Addr),
    to: Vec<SocketAddrV4>,
    per_milli: usize,
    mut make: impl FnMut() -> Vec<u8> + Send + 'static,
) -> Doing {
    let socket = host.inside(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    // There is no route for groups.
    set_ip_multicast_if(&socket, &address).unwrap();
    let (begin, mut sent) = (Instant::now(), 0);
    Doing::start(move || {
        let due = begin.elapsed().as_millis() as usize * per_milli;
        let (mut now, mut left) = (0, 0);
        while sent < due && now < 50 * per_milli {
            // A full queue loses them, as it does others'.
            left += usize::from(socket.send_to(&make(), to[sent % to.len()]).is_ok());
            (sent, now) = (sent + 1, now + 1);
        }
        // What could not be sent in time is not made up for.
        sent = sent.max(due);
        std::thread::sleep(Duration::from_millis(1));
        left
    })
}

/// Seconds that a board takes for a new file of so many bytes.
fn seconds(stand: &Stand<'_>, board: &Board, seed: u64, len: usize) -> f64 {
    let before = board.count("installed ");
    let (path, bytes) = stand.file(seed, len);
    stand.send_with(&path, &[]);
    board.wait_for_nth("offered ", before + 1, SOON);
    let begin = Instant::now();
    board.wait_for_nth("installed ", before + 1, 2 * SOON);
    let took = begin.elapsed().as_secs_f64();
    assert!(stand.on(&stand.card, "g/file") == bytes);
    took
}

#[test]
fn a_cable_that_is_pulled_and_plugged_in_again_costs_time_and_nothing_else() {
    let test = "a_cable_that_is_pulled_and_plugged_in_again_costs_time_and_nothing_else";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    let board = stand.board("unplugged");
    let (path, bytes) = stand.file(6, 300_000);
    stand.send(&path);
    for (held, seconds) in [(30_000, 1), (100_000, 4)] {
        board.wait_for_progress(held);
        board.set_link(false);
        std::thread::sleep(Duration::from_secs(seconds));
        board.set_link(true);
    }
    board.wait_for("installed sequence=1");
    assert_eq!(board.count("start "), 1, "{}", board.log());
    assert!(stand.on(&stand.card, "g/file") == bytes);
}

#[test]
// nightly
#[ignore = "half a minute without a cable"]
fn a_cable_that_is_away_until_the_server_has_given_up_leads_to_a_new_channel() {
    let test = "a_cable_that_is_away_until_the_server_has_given_up_leads_to_a_new_channel";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    let board = stand.board("unplugged");
    let (path, bytes) = stand.file(6, 300_000);
    stand.send(&path);
    board.wait_for_progress(30_000);
    board.set_link(false);
    board.wait_for("disconnected");
    stand.listed(|item| item["state"] == "away");
    board.set_link(true);
    board.wait_for_nth("connected", 2, SOON);
    board.wait_for("installed sequence=1");
    assert_eq!(board.count("start "), 1, "{}", board.log());
    assert!(stand.on(&stand.card, "g/file") == bytes);
}

/// Datagrams of 548 bytes, 590 with all headers, that a line of 100 Mbit/s carries in a
/// millisecond beside what is sent to the board.
const LINE_RATE: usize = 18;
/// Bytes of a datagram of a session for boards.
const DATAGRAM: usize = 548;

#[test]
fn junk_at_line_rate_lets_releases_through_and_wakes_no_watchdog() {
    let test = "junk_at_line_rate_lets_releases_through_and_wakes_no_watchdog";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    // A line of 100 Mbit/s carries frames one after the other.
    let line = ["qdisc", "add", "dev", TAP, "root", "tbf", "rate", "100mbit"];
    let queue = ["burst", "3000", "limit", "100000"];
    lan.switch().run("tc", &[&line[..], &queue].concat(), "").unwrap();
    let stand = Stand::new(&lan);
    let board = stand.board("flooded");
    let quiet = seconds(&stand, &board, 1, JUNK_TEST);
    // What belongs to others: groups behind those that sessions may have.
    let pool = stand.fleet.multicast();
    let behind = |group: &SocketAddrV4| {
        let address = Ipv4Addr::from_bits(group.ip().to_bits() + pool.len() as u32);
        SocketAddrV4::new(address, group.port())
    };
    let others = beside_junk(&stand, &board, 2, pool.iter().map(behind).collect());
    // And what looks as if it were ours: a quarter of it goes to the session's own group.
    let own = beside_junk(&stand, &board, 3, pool);
    println!("quiet {quiet:.1} s, beside junk {others:.1} s, beside junk to its group {own:.1} s");
    assert_eq!(board.count("start "), 1, "{}", board.log());
    // Half is the goal and not reached: while the board writes, its controller's few places
    // fill up with junk, and what it loses must be repaired.
    let slowest = others.max(own);
    assert!(quiet / slowest >= 0.1, "quiet {quiet:.1} s, beside junk {slowest:.1} s");
}

/// Bytes of the files of that test.
const JUNK_TEST: usize = 300_000;

/// Seconds that a board takes for a new file beside junk to these groups, which has the
/// length that the board takes, and the type that goes furthest.
fn beside_junk(stand: &Stand<'_>, board: &Board, seed: u64, groups: Vec<SocketAddrV4>) -> f64 {
    let junk = noise(9, 1 << 16);
    let mut at = 0;
    let from = (stand.lan.host(1), stand.lan.address(1));
    let works = board.count("work ");
    let flood = flood(from, groups, LINE_RATE, move || {
        at = (at + 7_919) % (junk.len() - DATAGRAM);
        [&[5, 1][..], &junk[at + 2..at + DATAGRAM]].concat()
    });
    let before = flood.count();
    let took = seconds(stand, board, seed, JUNK_TEST);
    let sent = flood.count() - before;
    let line = board.wait_for_nth("work ", works + 1, SOON);
    let rate = sent as f64 * 590.0 * 8.0 / took / 1e6;
    println!("{line}: {took:.1} s beside {rate:.0} Mbit/s of junk");
    // It did come: the board counts what its filter lets it leave alone.
    let ignored = line.rsplit_once("ignored=").and_then(|(_, count)| count.trim().parse().ok());
    let ignored: usize = ignored.expect("the board tells what it did");
    assert!(ignored * 4 > sent, "{ignored} of {sent} datagrams came");
    took
}

/// What keeps a server's address and says nothing; it counts what comes.
fn mute(stand: &Stand<'_>) -> Doing {
    let socket = stand.lan.host(0).inside(|| UdpSocket::bind("0.0.0.0:7411")).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 2_048];
    // Byte 0 of an initiation is 1 (core/PROTOCOL.md).
    Doing::start(move || {
        let came = socket.recv_from(&mut buffer);
        usize::from(came.is_ok_and(|(len, _)| len > 0 && buffer[0] == 1))
    })
}

/// A board whose server is gone for so many of its own seconds, and comes back.
fn without_a_server(stand: &mut Stand<'_>, seconds: u64) {
    stand.fleet.kill_server();
    let mute = mute(stand);
    // Its clock runs on whenever it sleeps: an hour of waiting takes about a minute.
    let fast = ["-icount", "shift=4,sleep=off"];
    let (home, slot) = (stand.home(), Slot::Card(&stand.card));
    let board = Board::start_with(stand.lan, TAP, slot, &home, "alone", &fast);
    // PROTOCOL H7: at most ten seconds apart, so that so many say how long it has waited.
    let least = (seconds / 10) as usize;
    let begin = Instant::now();
    while mute.count() < least {
        assert!(begin.elapsed() < 10 * SOON, "{} of {least}", mute.count());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{} initiations in {:?}", mute.count(), begin.elapsed());
    assert_eq!(board.count("start "), 1, "{}", board.log());
    drop(mute);
    stand.fleet.start_server();
    board.wait_for("connected");
    assert_eq!(board.count("start "), 1, "{}", board.log());
    board.kill();
    // And at its own pace it takes a release.
    let board = stand.board("again");
    let (path, bytes) = stand.file(3, 60_000);
    assert_eq!(stand.ending(&path).0, "installed");
    board.kill();
    assert!(stand.on(&stand.card, "g/file") == bytes);
}

#[test]
fn a_server_that_is_gone_for_five_minutes_is_found_again() {
    let test = "a_server_that_is_gone_for_five_minutes_is_found_again";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    without_a_server(&mut Stand::new(&lan), 300);
}

#[test]
// nightly
#[ignore = "an hour of a board's time"]
fn a_server_that_is_gone_for_an_hour_is_found_again() {
    let test = "a_server_that_is_gone_for_an_hour_is_found_again";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    without_a_server(&mut Stand::new(&lan), 3_600);
}

// PROTOCOL S5
#[test]
fn a_member_that_forges_headers_takes_no_board_down_and_keeps_nothing_from_it() {
    let test = "a_member_that_forges_headers_takes_no_board_down_and_keeps_nothing_from_it";
    let Some(lan) = lan(test, 2, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    let board = stand.board("deceived");
    let code = stand.fleet.invite(&["--group", "g"]);
    let mut insider = Insider::enrol(lan.host(1), &code);
    let (path, bytes) = stand.file(7, 200_000);
    stand.send(&path);
    let invitation = insider.invited(SOON);
    let to = SocketAddrV4::new(invitation.address, invitation.port);
    let mut voice = Insider::voice(&invitation);
    let mut number = 0;
    let flood = flood((lan.host(1), lan.address(1)), vec![to], 1, move || {
        number += 1;
        let segment = 1_000 + number % 64;
        voice.segment((segment, segment * 16, true), &[(Object::Content, 900, 0, 1)])
    });
    // What it is asked meanwhile it answers.
    for _ in 0..3 {
        let answer = stand.fleet.run(["receivers", "ping", "till-7"]).done();
        println!("{answer}");
        std::thread::sleep(Duration::from_secs(1));
    }
    board.wait_for("installed sequence=1");
    println!("{} forged headers", flood.count());
    assert!(flood.count() > 1_000, "{}", flood.count());
    drop(flood);
    assert_eq!(board.count("start "), 1, "{}", board.log());
    assert!(stand.on(&stand.card, "g/file") == bytes);
}
