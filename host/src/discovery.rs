//! Servers on this network, by the beacons that they send.
//!
//! What is found is only a claim: a person compares the fingerprint before a
//! receiver enrols by it.

use std::net::{SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use fleetcast_core::digest::Digest;
use fleetcast_core::limits::DISCOVERY;
use fleetcast_core::trust::beacon::{Beacon, fingerprint};

use crate::code::EnrolmentCode;
use crate::error::Failure;
use crate::net::{BatchSocket, Interface, ReceiveBuffers};

/// Servers that are told apart; a network full of beacons is not searched for more.
const MOST: usize = 64;
/// How often to look for beacons.
const LOOK: Duration = Duration::from_millis(20);

/// Where beacons go.
#[must_use]
pub const fn group() -> SocketAddrV4 {
    SocketAddrV4::new(DISCOVERY.0, DISCOVERY.1)
}

/// A server that says that it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where its beacon came from, with the port that it names.
    pub address: SocketAddr,
    /// What a person compares.
    pub fingerprint: Digest,
    /// A code without a token, to enrol with once it was compared.
    pub code: EnrolmentCode,
}

/// Listens for so long; what was heard, by address.
///
/// # Errors
/// `io` when the interface cannot hear multicast.
pub fn listen(interface: &Interface, time: Duration) -> Result<Vec<Found>, Failure> {
    let socket = BatchSocket::multicast(group(), interface)?;
    let mut buffers = ReceiveBuffers::default();
    let mut found: Vec<Found> = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        socket.receive(&mut buffers, &mut |from, datagram| {
            // PROTOCOL B2: what is not signed by the key that it names is nothing.
            let Ok(beacon) = Beacon::read(datagram) else { return };
            let server = claim(from, &beacon);
            if found.len() < MOST && !found.contains(&server) {
                found.push(server);
            }
        });
        thread::sleep(LOOK);
    }
    found.sort_by_key(|server| server.address);
    Ok(found)
}

fn claim(from: SocketAddr, beacon: &Beacon) -> Found {
    Found {
        address: SocketAddr::new(from.ip(), beacon.port),
        fingerprint: fingerprint(&beacon.authority, &beacon.exchange),
        code: EnrolmentCode {
            host: from.ip().to_string(),
            port: beacon.port,
            authority: beacon.authority,
            controller: beacon.exchange,
            token: None,
        },
    }
}
