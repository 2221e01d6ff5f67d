//! A receiver without a code finds its server on the network.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use fleetcast::discovery::group;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::StaticKey;
use fleetcast_core::trust::beacon::Beacon;
use fleetcast_tests::processes::{Answer, Child, Fleet, SLOW};
use rustix::net::sockopt::set_ip_multicast_if;
use serde_json::Value;

/// Lists what a receiver finds; other tests may run servers at the same time.
fn found(fleet: &Fleet) -> Vec<Value> {
    let mut receiver = fleet.absent("nobody");
    receiver.start(&["--discover"]);
    let answer: Answer = receiver.process().wait(SLOW);
    assert!(!receiver.state.exists() && !receiver.into.exists(), "looking makes nothing");
    answer.done()["items"].as_array().unwrap().clone()
}

fn at(found: &[Value], address: &str) -> Option<Value> {
    found.iter().find(|server| server["address"] == address).cloned()
}

#[test]
fn a_server_is_found_compared_and_asked_and_an_admin_approves() {
    let fleet = Fleet::start();
    let server = at(&found(&fleet), &fleet.address).expect("its beacon");
    let fingerprint = fleet.run(["invite", "--fingerprint"]).done();
    assert_eq!(server["fingerprint"], fingerprint["item"]["fingerprint"]);
    // What was found is a code without a token: the receiver waits.
    let code = server["code"].as_str().unwrap().to_owned();
    let mut receiver = fleet.absent("r");
    receiver.start(&["--enrol", &code, "--name", "r"]);
    let waiting = receiver.process().wait_for("waiting");
    assert_eq!(fleet.listed("r")["fingerprint"], waiting["fingerprint"]);
    fleet.run(["receivers", "approve", "r"]).done();
    receiver.process().wait_for("connected");
}

#[test]
fn forged_beacons_and_noise_are_not_listed_and_a_silent_server_is_not_found() {
    let fleet = Fleet::start();
    // PROTOCOL B1: no beacon, no trace.
    let mut silent: Command = fleet.serve_command(&fleet.path("silent"));
    silent.args(["--listen", "127.0.0.1:0", "--no-beacon"]);
    let mut silent = Child::start("silent server", silent);
    let hidden = silent.wait_for("ready")["listen"].as_str().unwrap().to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    set_ip_multicast_if(&socket, &Ipv4Addr::LOCALHOST).unwrap();
    let key = SigningKey::from_seed(&[9; 32]);
    let beacon = |port| Beacon {
        port,
        time: 0,
        authority: Digest([1; 32]),
        exchange: StaticKey([2; 32]),
        signing: key.verifying_key(),
    };
    // PROTOCOL B2
    let forged = beacon(1).write(&SigningKey::from_seed(&[8; 32]));
    let claimed = beacon(2).write(&key);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let list = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for datagram in [&forged[..], &claimed, &claimed[..171], b"", &[0xFF; 1_400]] {
                    socket.send_to(datagram, group()).unwrap();
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        });
        let list = found(&fleet);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        list
    });
    assert!(at(&list, &fleet.address).is_some(), "{list:?}");
    assert_eq!(at(&list, &hidden), None);
    assert_eq!(at(&list, "127.0.0.1:1"), None, "signed by another key than it names");
    // A stranger that signs its own is listed, under a fingerprint that is not the server's.
    let stranger = at(&list, "127.0.0.1:2").expect("it proves what it claims");
    let fingerprint = fleet.run(["invite", "--fingerprint"]).done();
    assert_ne!(stranger["fingerprint"], fingerprint["item"]["fingerprint"]);
}
