//! A small DHCP server (RFC 2131, RFC 2132) that a test can silence, shorten the leases
//! of, and make hand out another address.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fleetcast_lab::Namespace;

/// Where the options begin: the fixed fields, and the magic cookie before them.
const OPTIONS: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const MESSAGE_TYPE: u8 = 53;
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// What the test and the server's thread share.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    mute: AtomicBool,
    lease: AtomicU32,
    address: AtomicU32,
    discovers: AtomicUsize,
    acknowledged: AtomicUsize,
}

/// A server that hands one address to whoever asks; it ends when this is dropped.
#[derive(Debug)]
pub struct DhcpServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl DhcpServer {
    /// Starts it on a host of a LAN, whose address it has and whose broadcasts go to
    /// `broadcast`; it hands out `address` for `lease` seconds.
    ///
    /// # Panics
    /// When its port cannot be used.
    #[must_use]
    pub fn start(
        host: &Namespace,
        own: Ipv4Addr,
        broadcast: Ipv4Addr,
        address: Ipv4Addr,
        lease: u32,
    ) -> Self {
        let socket = host.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)));
        let socket = socket.expect("a namespace").expect("port 67");
        socket.set_broadcast(true).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            lease: AtomicU32::new(lease),
            address: AtomicU32::new(address.to_bits()),
            discovers: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
        });
        let of_thread = Arc::clone(&shared);
        let to = SocketAddrV4::new(broadcast, 68);
        let thread = std::thread::spawn(move || serve(&socket, own, to, &of_thread));
        Self { shared, thread: Some(thread) }
    }

    /// Whether it answers nobody any more.
    pub fn be_mute(&self, mute: bool) {
        self.shared.mute.store(mute, Ordering::Relaxed);
    }

    /// Hands out this address from now on, and refuses to renew another.
    pub fn hand_out(&self, address: Ipv4Addr) {
        self.shared.address.store(address.to_bits(), Ordering::Relaxed);
    }

    /// How many clients have looked for a server.
    #[must_use]
    pub fn discovers(&self) -> usize {
        self.shared.discovers.load(Ordering::Relaxed)
    }

    /// How many leases it has given or renewed.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed by its own hook.
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, own: Ipv4Addr, to: SocketAddrV4, shared: &Shared) {
    let mut buffer = [0; 1_500];
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((len, _)) = socket.recv_from(&mut buffer) else { continue };
        let Some(question) = Question::parse(&buffer[..len]) else { continue };
        if question.kind == DISCOVER {
            shared.discovers.fetch_add(1, Ordering::Relaxed);
        }
        if shared.mute.load(Ordering::Relaxed) {
            continue;
        }
        let address = Ipv4Addr::from_bits(shared.address.load(Ordering::Relaxed));
        let kind = match question.kind {
            DISCOVER => OFFER,
            REQUEST if question.wanted == Some(address) => ACK,
            REQUEST => NAK,
            _ => continue,
        };
        let lease = shared.lease.load(Ordering::Relaxed);
        let answer = answer(&question, kind, own, address, lease);
        // Who renews has an address; the others have none, and hear broadcasts only.
        let to = match question.client {
            client if client.is_unspecified() || kind == NAK => to,
            client => SocketAddrV4::new(client, 68),
        };
        if socket.send_to(&answer, to).is_ok() && kind == ACK {
            shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a client asks.
struct Question {
    kind: u8,
    transaction: [u8; 4],
    /// Its address, where it has one.
    client: Ipv4Addr,
    hardware: [u8; 16],
    /// The address that it asks for, or has.
    wanted: Option<Ipv4Addr>,
}

impl Question {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let is_request = bytes.first() == Some(&1) && bytes.get(236..240) == Some(&COOKIE);
        let mut options = bytes.get(OPTIONS..).filter(|_| is_request)?;
        let (mut kind, mut wanted) = (None, None);
        while let [option, len, rest @ ..] = options {
            if *option == 255 {
                break;
            }
            let (value, after) = rest.split_at_checked(usize::from(*len))?;
            match *option {
                MESSAGE_TYPE => kind = value.first().copied(),
                50 => wanted = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from),
                _ => {}
            }
            options = after;
        }
        let client = Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(12..16)?).ok()?);
        Some(Self {
            kind: kind?,
            transaction: bytes.get(4..8)?.try_into().ok()?,
            client,
            hardware: bytes.get(28..44)?.try_into().ok()?,
            wanted: wanted.or((!client.is_unspecified()).then_some(client)),
        })
    }
}

fn answer(question: &Question, kind: u8, own: Ipv4Addr, address: Ipv4Addr, lease: u32) -> Vec<u8> {
    let mut out = vec![0; OPTIONS];
    // A reply over Ethernet, whose addresses have six bytes.
    out[..3].copy_from_slice(&[2, 1, 6]);
    out[4..8].copy_from_slice(&question.transaction);
    if kind != NAK {
        out[16..20].copy_from_slice(&address.octets());
    }
    out[20..24].copy_from_slice(&own.octets());
    out[28..44].copy_from_slice(&question.hardware);
    out[236..].copy_from_slice(&COOKIE);
    out.extend([MESSAGE_TYPE, 1, kind, 54, 4]);
    out.extend(own.octets());
    if kind != NAK {
        out.extend([51, 4]);
        out.extend(lease.to_be_bytes());
        out.extend([1, 4, 255, 255, 0, 0]);
    }
    out.push(255);
    // BOOTP's least length (RFC 1542).
    out.resize(out.len().max(300), 0);
    out
}
