//! Each fault is there, as often as it was ordered, and nothing else is.
//!
//! Bounds are five deviations of a binomial number around its mean; as the fates of
//! a seed are always the same, who is within them once stays there.

use std::time::Duration;

use crate::net::{GROUP, Net, copies, datagram, number};

const COUNT: u32 = 1_000;
const LEN: usize = 200;
/// Slow enough for sockets without a large buffer.
const PACE: Duration = Duration::from_micros(200);

/// Whether `found` of [`COUNT`] is what a chance of `share` brings.
fn is_about(found: usize, share: f64) -> bool {
    let count = f64::from(COUNT);
    (found as f64 - count * share).abs() <= 5.0 * (count * share * (1.0 - share)).sqrt()
}

fn lost(copies: &[usize]) -> usize {
    copies.iter().filter(|copies| **copies == 0).count()
}

#[test]
fn each_datagram_has_a_lot_of_its_own_and_the_same_with_the_same_seed() {
    let test = "each_datagram_has_a_lot_of_its_own_and_the_same_with_the_same_seed";
    let Some(mut net) = Net::new(test, 3) else { return };
    let calm = net.exchange(COUNT, LEN, PACE).0;
    assert_eq!(copies(&calm, COUNT), vec![1; COUNT as usize], "all, once");
    for (number, arrival) in calm.iter().enumerate() {
        assert_eq!(arrival.bytes, datagram(number as u32, LEN), "in order, and whole");
    }
    let mut fates = Vec::new();
    for seed in [3, 3, 4] {
        net = net.restart(seed);
        net.fault("loss 10 1");
        net.fault("duplicate 10 1");
        fates.push(copies(&net.exchange(COUNT, LEN, PACE).0, COUNT));
    }
    assert!(is_about(lost(&fates[0]), 0.1), "{}", lost(&fates[0]));
    assert_eq!(fates[0], fates[1], "the same seed");
    assert_ne!(fates[0], fates[2], "another seed");
}

#[test]
fn bursts_take_neighbours() {
    let Some(net) = Net::new("bursts_take_neighbours", 5) else { return };
    net.fault("burst 20 10");
    let count = 5 * COUNT;
    let copies = copies(&net.exchange(count, LEN, PACE).0, count);
    let lost = lost(&copies);
    // A hundred bursts of 10 in the mean: the deviation of their sum is about 140, of
    // their number 10, and of the mean of their lengths 1.
    assert!(lost.abs_diff(1_000) < 700, "{lost}");
    let bursts = copies.windows(2).filter(|pair| pair[0] == 1 && pair[1] == 0).count();
    let length = lost as f64 / bursts as f64;
    assert!((6.0..14.0).contains(&length), "{bursts} bursts of {length}");
}

#[test]
fn delay_and_jitter_are_as_long_as_ordered() {
    let Some(net) = Net::new("delay_and_jitter_are_as_long_as_ordered", 6) else { return };
    net.fault("delay 30");
    net.fault("jitter 20");
    let (arrivals, sent) = net.exchange(COUNT / 2, LEN, PACE);
    assert_eq!(copies(&arrivals, COUNT / 2), vec![1; COUNT as usize / 2]);
    let late = |arrival: &crate::net::Arrival| {
        arrival.at.saturating_sub(sent[number(&arrival.bytes).unwrap() as usize])
    };
    let mut late: Vec<Duration> = arrivals.iter().map(late).collect();
    late.sort();
    let ms = Duration::from_millis;
    assert!(late[0] >= ms(30), "{:?}", late[0]);
    // From 30 to 50 ms, 40 in the middle; a busy machine only adds to it.
    let (tenth, half) = (late[late.len() / 10], late[late.len() / 2]);
    assert!(tenth < ms(45) && half >= ms(36) && half < ms(90), "{tenth:?} {half:?}");
    assert!(late[late.len() - 1] - late[0] >= ms(15));
}

#[test]
fn some_are_overtaken_and_none_is_lost() {
    let Some(net) = Net::new("some_are_overtaken_and_none_is_lost", 7) else { return };
    net.fault("reorder 20");
    let arrivals = net.exchange(COUNT, LEN, Duration::from_millis(1)).0;
    assert_eq!(copies(&arrivals, COUNT), vec![1; COUNT as usize]);
    let mut newest = 0;
    let overtaken = arrivals.iter().filter(|arrival| {
        let number = number(&arrival.bytes).unwrap();
        newest = newest.max(number);
        number < newest
    });
    // 1 to 30 ms later, while the next leaves after 1 ms and a little.
    let overtaken = overtaken.count();
    assert!(is_about(overtaken, 0.2) || is_about(overtaken, 0.18), "{overtaken}");
}

#[test]
fn some_come_twice_or_three_times() {
    let Some(net) = Net::new("some_come_twice_or_three_times", 8) else { return };
    net.fault("duplicate 20");
    let copies = copies(&net.exchange(COUNT, LEN, PACE).0, COUNT);
    let times = |wanted| copies.iter().filter(|copies| **copies == wanted).count();
    assert!(is_about(times(2), 0.1) && is_about(times(3), 0.1), "{} {}", times(2), times(3));
    assert_eq!(times(1) + times(2) + times(3), COUNT as usize);
}

#[test]
fn one_bit_is_wrong_and_the_checksum_does_not_tell() {
    let Some(net) = Net::new("one_bit_is_wrong_and_the_checksum_does_not_tell", 9) else { return };
    net.fault("corrupt 20");
    let arrivals = net.exchange(COUNT, LEN, PACE).0;
    // The kernel drops what its checksum does not fit, so none would be missing else.
    assert_eq!(arrivals.len(), COUNT as usize);
    let mut wrong = 0;
    for (number, arrival) in arrivals.iter().enumerate() {
        let sent = datagram(number as u32, LEN);
        assert_eq!(arrival.bytes.len(), LEN);
        let bits: u32 =
            sent.iter().zip(&arrival.bytes).map(|(sent, came)| (sent ^ came).count_ones()).sum();
        assert!(bits <= 1, "{bits} bits of {number}");
        wrong += bits as usize;
    }
    assert!(is_about(wrong, 0.2), "{wrong}");
}

#[test]
fn some_are_cut_short() {
    let Some(net) = Net::new("some_are_cut_short", 10) else { return };
    net.fault("truncate 20");
    let arrivals = net.exchange(COUNT, LEN, PACE).0;
    assert_eq!(arrivals.len(), COUNT as usize);
    for (number, arrival) in arrivals.iter().enumerate() {
        assert!(datagram(number as u32, LEN).starts_with(&arrival.bytes));
    }
    let short = arrivals.iter().filter(|arrival| arrival.bytes.len() < LEN).count();
    assert!(is_about(short, 0.2), "{short}");
}

/// Which hosts hear a datagram of `len` bytes to `to`.
fn heard(net: &Net, to: std::net::SocketAddr, len: usize) -> Vec<usize> {
    let sockets = [1, 2].map(|host| (host, net.receiver(host)));
    for (host, socket) in &sockets {
        let own = net.lan.address(*host);
        socket.join_multicast_v4(GROUP.ip(), &own).unwrap();
    }
    net.sender().send_to(&vec![7; len], to).unwrap();
    let hears = |socket: &std::net::UdpSocket| socket.recv(&mut [0; 2_048]).is_ok();
    sockets.iter().filter(|(_, socket)| hears(socket)).map(|(host, _)| *host).collect()
}

#[test]
fn what_is_too_long_for_a_port_vanishes_and_nobody_is_told() {
    let test = "what_is_too_long_for_a_port_vanishes_and_nobody_is_told";
    let Some(net) = Net::new(test, 11) else { return };
    net.fault("mtu 600 1");
    // IP's header takes 20 bytes, UDP's 8.
    assert_eq!(heard(&net, net.to(1), 572), [1]);
    assert!(heard(&net, net.to(1), 573).is_empty());
    assert_eq!(heard(&net, net.to(2), 573), [2]);
    net.fault("calm");
    assert_eq!(heard(&net, net.to(1), 573), [1]);
}

#[test]
fn multicast_vanishes_and_unicast_does_not() {
    let Some(net) = Net::new("multicast_vanishes_and_unicast_does_not", 12) else { return };
    assert_eq!(heard(&net, GROUP.into(), 100), [1, 2]);
    net.fault("deaf 1");
    assert_eq!(heard(&net, GROUP.into(), 100), [2]);
    assert_eq!(heard(&net, net.to(1), 100), [1]);
}

#[test]
fn what_cannot_be_is_refused() {
    let Some(net) = Net::new("what_cannot_be_is_refused", 13) else { return };
    assert!(net.bridge.fault("loss 5 3").unwrap_err().contains("no host 3"));
    assert!(net.bridge.fault("rain").unwrap_err().contains("`rain` is no fault"));
}
