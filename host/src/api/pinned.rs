//! Servers on other machines: their addresses, and the certificates they are known by.
//!
//! Nobody vouches for a server's certificate. It is known by its fingerprint, SHA-256 of
//! the certificate, which an admin reads at the server; no other one is ever spoken with.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use fleetcast_core::digest::Digest;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme,
};

use crate::error::Failure;
use crate::units::quoted;

/// The port of the API for other machines.
pub const PORT: u16 = 7_414;
/// How long connecting may take, and the handshake after it.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent on the network's own level.
const GONE: Duration = Duration::from_secs(30);

/// Where a server is, and by which certificate it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Its name or address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Without TLS: a tunnel or a proxy on this machine.
    pub plain: bool,
    /// SHA-256 of its certificate, where it was told.
    pub pin: Option<Digest>,
}

impl FromStr for ServerUrl {
    type Err = Failure;

    /// Reads `https://HOST[:PORT][#FINGERPRINT]`, or `http://` and a loopback address.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let hint = "write https://HOST:PORT#FINGERPRINT, as `fleetcast whoami` prints it at the \
                    server, or unix:PATH for a server on this machine";
        let wrong = |what: &str| {
            let message = format!("{} is no server's address: {what}", quoted(text));
            Failure::usage("server-malformed", message, hint)
        };
        let (plain, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong("it begins with neither https:// nor unix:")),
        };
        let (authority, pin) = match rest.split_once('#') {
            Some((authority, pin)) => (authority, Some(fingerprint(pin)?)),
            None => (rest, None),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = split(authority).ok_or_else(|| wrong("a host and a port are needed"))?;
        if plain && !is_loopback(&host) {
            let message = "without TLS everybody on the network could read the token";
            let hint = "write https://; plain http is for 127.0.0.1 only";
            return Err(Failure::usage("https-needed", message, hint));
        }
        if ServerName::try_from(host.as_str()).is_err() {
            return Err(wrong("its host is neither a name nor an address"));
        }
        Ok(Self { host, port, plain, pin })
    }
}

impl ServerUrl {
    /// Host and port, as a header names them.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Without the fingerprint.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain { "http" } else { "https" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// Reads a fingerprint: 64 hex digits, colons and `sha256:` before them are no matter.
///
/// # Errors
/// Usage failure `fingerprint-malformed`.
pub fn fingerprint(text: &str) -> Result<Digest, Failure> {
    let plain = text.trim().to_ascii_lowercase();
    let plain = plain.strip_prefix("sha256:").unwrap_or(&plain).replace(':', "");
    let bytes = HEXLOWER_PERMISSIVE.decode(plain.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).map(Digest).ok_or_else(|| {
        let message = format!("{} is no fingerprint", quoted(text));
        let hint = "it has 64 hex digits; `fleetcast whoami` prints it at the server";
        Failure::usage("fingerprint-malformed", message, hint)
    })
}

fn split(authority: &str) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let port = match port? {
        "" => PORT,
        port => port.parse().ok().filter(|port| *port != 0)?,
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/@?%\\".contains(c);
    (!host.is_empty() && !host.contains(odd)).then(|| (host.to_owned(), port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Connects to a server, without TLS yet.
///
/// # Errors
/// `server-unreachable`.
pub(super) async fn dial(url: &ServerUrl) -> Result<TcpStream, Failure> {
    let dialling = timeout(CONNECT, TcpStream::connect((url.host.as_str(), url.port)));
    let stream = match dialling.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(unreachable(url, &error.to_string())),
        Err(_) => return Err(unreachable(url, "it does not answer")),
    };
    let socket = SockRef::from(&stream);
    let alive = TcpKeepalive::new().with_time(GONE).with_interval(GONE);
    stream
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(GONE)))
        .and_then(|()| socket.set_tcp_keepalive(&alive))
        .map_err(|error| unreachable(url, &error.to_string()))?;
    Ok(stream)
}

/// Makes a connection secret, and sure of the server that is known by this fingerprint.
///
/// # Errors
/// `server-changed` where another certificate is shown, `server-unreachable`.
pub(super) async fn secure(
    url: &ServerUrl,
    pin: Digest,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    let (shown, opened) = shake(url, Some(pin), stream).await;
    match shown {
        Some(shown) if shown != pin => {
            let message =
                format!("{url} shows another certificate than the one it is known by: {shown}");
            let hint = "somebody may stand between you and it; if the server was set up anew, \
                        compare this with `fleetcast whoami` there, and log in again";
            Err(Failure::failed("server-changed", message, hint))
        }
        _ => opened,
    }
}

/// The fingerprint of the certificate that a server shows. Nothing is sent to it: whether
/// it is the right one, a person decides.
///
/// # Errors
/// `server-unreachable`.
pub async fn look(url: &ServerUrl) -> Result<Digest, Failure> {
    let stream = dial(url).await?;
    let (shown, opened) = shake(url, None, stream).await;
    opened?;
    shown.ok_or_else(|| unreachable(url, "it shows no certificate"))
}

async fn shake(
    url: &ServerUrl,
    pin: Option<Digest>,
    stream: TcpStream,
) -> (Option<Digest>, Result<TlsStream<TcpStream>, Failure>) {
    let shown = Arc::new(OnceLock::new());
    let shaking = async {
        let provider = Arc::new(ring::default_provider());
        let verifier = Pinned { pin, shown: Arc::clone(&shown), provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    let opened = match timeout(CONNECT, shaking).await {
        Ok(opened) => opened.map_err(|error| unreachable(url, &error.to_string())),
        Err(_) => Err(unreachable(url, "it does not finish the handshake")),
    };
    (shown.get().copied(), opened)
}

fn unreachable(url: &ServerUrl, why: &str) -> Failure {
    let message = format!("{url} cannot be reached: {why}");
    let hint = "check the address, and that the server was started with --api";
    Failure::failed("server-unreachable", message, hint)
}

/// Believes one certificate, whoever signed it; that its holder has the key is checked
/// as always.
#[derive(Debug)]
struct Pinned {
    /// Its fingerprint; `None` while one only looks.
    pin: Option<Digest>,
    shown: Arc<OnceLock<Digest>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = *self.shown.get_or_init(|| Digest::of(certificate));
        match self.pin {
            Some(pin) if pin != shown => Err(Error::General("another certificate".to_owned())),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // TLS 1.2 is not offered.
        Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_host_a_port_and_a_certificate() {
        let pin = "ab".repeat(32);
        let url: ServerUrl = format!("https://fleet.example:7500/#{pin}").parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.plain), ("fleet.example", 7_500, false));
        assert_eq!(
            (url.pin, url.to_string()),
            (Some(Digest([0xab; 32])), "https://fleet.example:7500".into())
        );
        let six: ServerUrl = "https://[2001:db8::1]".parse().unwrap();
        assert_eq!((six.port, six.to_string()), (7_414, "https://[2001:db8::1]:7414".into()));
        assert!("http://127.0.0.1:1".parse::<ServerUrl>().unwrap().plain);
        assert!("http://[::1]:1".parse::<ServerUrl>().is_ok());
        for (text, code) in [
            ("http://192.0.2.7:7414", "https-needed"),
            ("http://127.0.0.1.example", "https-needed"),
            ("192.0.2.7:7414", "server-malformed"),
            ("ftp://h", "server-malformed"),
            ("https://", "server-malformed"),
            ("https://h:0", "server-malformed"),
            ("https://h:99999", "server-malformed"),
            ("https://a@h", "server-malformed"),
            ("https://h/path", "server-malformed"),
            ("https://a b", "server-malformed"),
            ("https://[::1", "server-malformed"),
            ("https://h#12", "fingerprint-malformed"),
            ("https://h#", "fingerprint-malformed"),
        ] {
            let refused = text.parse::<ServerUrl>().unwrap_err();
            assert_eq!((refused.code.as_ref(), refused.exit), (code, 2), "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_read_as_other_tools_write_it() {
        let bytes = Digest([0x0f; 32]);
        let colons = ["0F"; 32].join(":");
        for text in [&"0f".repeat(32), &format!("sha256:{}", "0f".repeat(32)), &colons] {
            assert_eq!(fingerprint(text).unwrap(), bytes, "{text}");
        }
        assert!(fingerprint(&"0f".repeat(31)).is_err() && fingerprint(&"0g".repeat(32)).is_err());
    }
}
