//! Requests by hand, as a stranger makes them: over the socket of a server, over TCP, and
//! over TLS that believes whoever answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};
use serde_json::Value;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where requests go.
#[derive(Clone, Debug)]
pub enum Door {
    /// The socket at this path.
    Socket(PathBuf),
    /// TCP as it is.
    Plain(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its header, as it came.
    pub header: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// A stream of bytes in both directions.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

impl Door {
    /// Opens a connection.
    ///
    /// # Errors
    /// As the system says; a handshake that fails shows with the first bytes.
    pub fn open(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Self::Plain(address) => Box::new(dial(*address)?),
            Self::Tls(address) => Box::new(tls(*address)?),
        })
    }

    /// A request with a JSON body and, where one is given, a token.
    ///
    /// # Panics
    /// When no answer comes.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Reply {
        let mut header = "content-type: application/json\r\n".to_owned();
        if let Some(token) = token {
            header.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        let reply = self.send(method, path, &header, body.as_bytes());
        reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// A request with these lines in its header.
    ///
    /// # Errors
    /// As the system says, and where the answer is none.
    pub fn send(&self, method: &str, path: &str, header: &str, body: &[u8]) -> io::Result<Reply> {
        let mut stream = self.open()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: fleet\r\nconnection: close\r\n\
             content-length: {length}\r\n{header}\r\n"
        );
        stream.write_all(head.as_bytes())?;
        // Who refuses early closes early: the answer counts.
        let _ = stream.write_all(body).and_then(|()| stream.flush());
        let mut answer = Vec::new();
        // A peer that closes without a word of TLS has said all the same.
        let ended = stream.read_to_end(&mut answer);
        Reply::parse(&answer).ok_or_else(|| {
            let text = String::from_utf8_lossy(&answer).into_owned();
            ended.err().unwrap_or_else(|| io::Error::other(format!("no answer: {text:?}")))
        })
    }
}

impl Reply {
    /// The first whole answer in `bytes`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let header = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let status = header.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, header, body: bytes[end + 4..].to_vec() })
    }

    /// Its body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Its status, and the code of its failure or nothing.
    #[must_use]
    pub fn told(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// TLS with whoever answers.
///
/// # Errors
/// As the system says.
pub fn tls(address: SocketAddr) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Whoever))
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, dial(address)?))
}

/// Believes every certificate.
#[derive(Debug)]
struct Whoever;

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
