//! IGMP snooping: what comes to whose port, and for how long.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::net::{GROUP, Net};

/// Longer than the switch remembers: a second after the last report, of which a host sends
/// two within a second when it joins (RFC 3376, §8.1 and §8.11).
const LATER: Duration = Duration::from_millis(2_500);
/// Longer than a frame takes.
const MOMENT: Duration = Duration::from_millis(300);

/// A member's socket on host 1.
fn member(net: &Net) -> UdpSocket {
    let socket = net.receiver(1);
    socket.join_multicast_v4(GROUP.ip(), &net.lan.address(1)).unwrap();
    // Reports cross the switch in their own time.
    std::thread::sleep(Duration::from_millis(100));
    socket
}

/// Whether a datagram to the group comes to the member, and how many bytes came to
/// the port of host 2, where nobody listens.
fn say(net: &Net, member: &UdpSocket) -> (bool, u64) {
    let before = net.lan.traffic(2).unwrap().received;
    net.sender().send_to(&[7; 1_000], GROUP).unwrap();
    let heard = member.recv(&mut [0; 2_048]).is_ok();
    // The other port may be served a moment later.
    let begin = Instant::now();
    loop {
        let witnessed = net.lan.traffic(2).unwrap().received - before;
        if witnessed > 0 || begin.elapsed() > MOMENT {
            return (heard, witnessed);
        }
    }
}

#[test]
fn without_a_querier_a_listener_is_forgotten() {
    let Some(net) = Net::new("without_a_querier_a_listener_is_forgotten", 1) else { return };
    let everybody = member(&net);
    assert_eq!(say(&net, &everybody), (true, 1_042), "without snooping all ports get it");
    drop(everybody);
    net.fault("snoop 1");
    let listener = member(&net);
    assert_eq!(say(&net, &listener), (true, 0));
    std::thread::sleep(LATER);
    assert_eq!(say(&net, &listener), (false, 0));
    net.fault("snoop off");
    assert!(say(&net, &listener).0);
}

#[test]
fn with_a_querier_a_listener_is_remembered() {
    let Some(net) = Net::new("with_a_querier_a_listener_is_remembered", 1) else { return };
    net.fault("snoop 1 0.3");
    let listener = member(&net);
    std::thread::sleep(LATER);
    let (heard, witnessed) = say(&net, &listener);
    assert!(heard);
    // Queries come to all ports, of 64 bytes with their Ethernet header at most.
    assert!(witnessed < 300, "{witnessed}");
}
