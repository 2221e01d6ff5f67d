//! A member of boards' sessions that is none of ours: it enrols as a board does, is told
//! each session's key, and says in it what it likes.

use std::net::{SocketAddr, UdpSocket};
use std::str::FromStr as _;
use std::time::{Duration, Instant as Clock};

use fleetcast::code::EnrolmentCode;
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::ids::FleetId;
use fleetcast_core::limits::MAX_DATAGRAM;
use fleetcast_core::receiver::{ReceiverConfig, ReceiverEndpoint, ReceiverEvent};
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::{CODEC_LZ4, Down, Invitation, Up, decode, encode};
use fleetcast_core::wire::transport::Sending;
use fleetcast_lab::Namespace;

use crate::voice::Voice;

/// How often to look after the channel.
const LOOK: Duration = Duration::from_millis(10);

/// The member.
pub struct Insider {
    socket: UdpSocket,
    endpoint: ReceiverEndpoint<ChaCha>,
    begin: Clock,
    invited: Option<Invitation>,
}

impl Insider {
    /// Enrols on a host by a code with a token.
    ///
    /// # Panics
    /// When there is no such code or host.
    #[must_use]
    pub fn enrol(host: &Namespace, code: &str) -> Self {
        let code = EnrolmentCode::from_str(code).expect("a code");
        let server: SocketAddr =
            format!("{}:{}", code.host, code.port).parse().expect("a code with an address");
        let config = ReceiverConfig {
            static_secret: [0x51; 32],
            server_key: code.controller,
            server,
            token: code.token,
            boot: 1,
            constrained: true,
            max_datagram: MAX_DATAGRAM as u16,
            seed: [0x52; 32],
        };
        let socket = host.inside(|| UdpSocket::bind("0.0.0.0:0"));
        let socket = socket.expect("a namespace").expect("a socket");
        socket.set_read_timeout(Some(LOOK)).expect("a socket");
        let endpoint = ReceiverEndpoint::new(&config, Instant::ZERO);
        Self { socket, endpoint, begin: Clock::now(), invited: None }
    }

    /// Waits until it is invited to a multicast session.
    ///
    /// # Panics
    /// When it is not.
    pub fn invited(&mut self, limit: Duration) -> Invitation {
        let end = Clock::now() + limit;
        loop {
            if let Some(invitation) = self.invited.take() {
                return invitation;
            }
            assert!(Clock::now() < end, "nobody invites it");
            self.turn();
        }
    }

    /// What it can say in a session that it is invited to.
    #[must_use]
    pub fn voice(invitation: &Invitation) -> Voice {
        Voice {
            // It need not know the fleet: its signatures are worth nothing anyway.
            fleet: FleetId([0; 16]),
            session: invitation.session,
            epoch: invitation.epoch,
            key: invitation.key,
            signing: SigningKey::from_seed(&[0x53; 32]),
            counter: 1 << 20,
        }
    }

    /// Takes what has come, and says what is to be said.
    fn turn(&mut self) {
        let now = Instant::from_micros(self.begin.elapsed().as_micros() as u64);
        let mut buffer = [0; 2_048];
        if let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            self.endpoint.handle_datagram(now, from, &mut buffer[..len]);
        }
        self.endpoint.handle_timeout(now);
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                ReceiverEvent::Connected => self.greet(now),
                ReceiverEvent::Message { body, .. } => {
                    if let Ok(Down::Invitation(invitation)) = decode(&buffer[body])
                        && invitation.port != 0
                    {
                        self.invited = Some(invitation);
                    }
                }
                ReceiverEvent::Drained | ReceiverEvent::Disconnected { .. } => {}
            }
        }
        let mut out = [0; MAX_DATAGRAM];
        while let Some(sent) = self.endpoint.poll_transmit(now, &mut out) {
            // Lost like any: it is repeated.
            let _ = self.socket.send_to(&out[..sent.len], sent.to);
        }
    }

    /// Hello, and that it has nothing.
    fn greet(&mut self, now: Instant) {
        let hello = Up::Hello {
            name: "insider",
            version: "0",
            signing: SigningKey::from_seed(&[0x54; 32]).verifying_key(),
            codecs: CODEC_LZ4,
            free: 1 << 30,
            authority: 0,
            nonce: [0x55; 16],
        };
        let holds = Up::Holds { releases: Default::default(), more: false };
        for message in [hello, holds] {
            let mut body = [0; 512];
            let body = encode(&message, &mut body).expect("a short message");
            self.endpoint.send(now, Sending::Reliable, body).expect("an empty channel");
        }
    }
}
