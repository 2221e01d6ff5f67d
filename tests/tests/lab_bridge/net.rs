//! Three hosts on a bridge, and numbered datagrams from the first to the second.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use fleetcast_lab::{Bridge, Lan, Plan};
use fleetcast_tests::processes::{noise, skip};
use rustix::net::sockopt;

const PORT: u16 = 9_977;
/// Who has heard nothing for so long hears nothing more.
const SILENCE: Duration = Duration::from_millis(400);
/// The datagram by which hosts learn each other's addresses.
const GREETING: [u8; 4] = [0xFF; 4];

pub(crate) const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 78, 1, 1), PORT);

/// A LAN and its bridge.
pub(crate) struct Net {
    pub(crate) bridge: Bridge,
    /// Goes last: the bridge stands in its namespace.
    pub(crate) lan: Lan,
}

/// A datagram that arrived, and when, counted from the sending of the first.
pub(crate) struct Arrival {
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: Duration,
}

impl Net {
    /// `None`, and counted as skipped, where no LAN can be made.
    pub(crate) fn new(test: &str, seed: u64) -> Option<Self> {
        let lan = Lan::without_switch(&Plan::gigabit(3));
        let made = lan.and_then(|lan| Ok(Self { bridge: Bridge::start(&lan, seed)?, lan }));
        made.map_err(|reason| skip(&format!("{test}: {reason}"))).ok()
    }

    /// Another bridge on the same LAN.
    pub(crate) fn restart(self, seed: u64) -> Self {
        let Self { bridge, lan } = self;
        drop(bridge);
        Self { bridge: Bridge::start(&lan, seed).unwrap(), lan }
    }

    pub(crate) fn fault(&self, words: &str) {
        self.bridge.fault(words).unwrap();
    }

    /// A socket on the admin's host that sends, also to groups.
    pub(crate) fn sender(&self) -> UdpSocket {
        let own = self.lan.address(0);
        let sender = self.lan.host(0).inside(|| UdpSocket::bind((own, 0)).unwrap()).unwrap();
        sockopt::set_ip_multicast_if(&sender, &own).unwrap();
        sender
    }

    /// A socket that receives on a host.
    pub(crate) fn receiver(&self, host: usize) -> UdpSocket {
        let bound = || UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        let receiver = self.lan.host(host).inside(bound).unwrap();
        receiver.set_read_timeout(Some(SILENCE)).unwrap();
        receiver
    }

    pub(crate) fn to(&self, host: usize) -> SocketAddr {
        (self.lan.address(host), PORT).into()
    }

    /// Sends `count` datagrams of `len` bytes to host 1, one each `pace`; what arrived,
    /// in the order in which it did, and when each was sent.
    pub(crate) fn exchange(
        &self,
        count: u32,
        len: usize,
        pace: Duration,
    ) -> (Vec<Arrival>, Vec<Duration>) {
        let (sender, receiver, to) = (self.sender(), self.receiver(1), self.to(1));
        // Hosts ask for addresses once; what waits for the answer would wait in vain.
        sender.send_to(&GREETING, to).unwrap();
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let hearing = scope.spawn(|| hear(&receiver, begin));
            std::thread::sleep(SILENCE / 4);
            let mut sent = Vec::new();
            for number in 0..count {
                sent.push(begin.elapsed());
                sender.send_to(&datagram(number, len), to).unwrap();
                std::thread::sleep(pace);
            }
            let mut arrivals = hearing.join().unwrap();
            // The greeting came before, whatever has become of it.
            arrivals.retain(|arrival| arrival.at >= sent[0]);
            (arrivals, sent)
        })
    }
}

/// What comes until nothing does.
fn hear(receiver: &UdpSocket, begin: Instant) -> Vec<Arrival> {
    let mut buffer = [0; 2_048];
    let mut arrivals = Vec::new();
    while let Ok(len) = receiver.recv(&mut buffer) {
        let bytes = buffer[..len].to_vec();
        arrivals.push(Arrival { bytes, at: begin.elapsed() });
    }
    arrivals
}

/// The bytes of a datagram.
pub(crate) fn datagram(number: u32, len: usize) -> Vec<u8> {
    let tail = noise(u64::from(number), len.saturating_sub(4));
    [&number.to_le_bytes()[..], &tail].concat()
}

/// Which one it is, if its head is whole.
pub(crate) fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|head| u32::from_le_bytes(*head))
}

/// How often each of `count` datagrams arrived.
pub(crate) fn copies(arrivals: &[Arrival], count: u32) -> Vec<usize> {
    let mut copies = vec![0; count as usize];
    for arrival in arrivals {
        copies[number(&arrival.bytes).unwrap() as usize] += 1;
    }
    copies
}
