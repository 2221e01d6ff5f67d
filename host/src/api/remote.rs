//! The API for other machines: TLS, a connection each, and bounds on all of them.
//!
//! Until somebody has shown a token, a connection can cost no more than a handshake, a
//! few kilobytes and [`HANDSHAKE`] plus [`HEADERS`]; there are [`CONNECTIONS`] at a time,
//! [`FROM_ONE`] from one address.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::access::Origin;
use super::identity::Identity;
use super::refusal::reply;
use super::state::Api;
use crate::error::Failure;
use crate::status::ApiItem;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the header of a request may take, and how long a connection may be idle.
const HEADERS: Duration = Duration::from_secs(15);
/// How long it may take to refuse who speaks no TLS.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long what was sent may stay unread.
const UNREAD: Duration = Duration::from_secs(30);
/// Connections at a time.
const CONNECTIONS: usize = 256;
/// Connections from one address at a time: an office may share one.
const FROM_ONE: usize = 64;
/// Bytes of a request's header at most, and of a body's piece.
const HEADER: usize = 64 * 1024;
/// How long to wait when the process has no descriptors left.
const NO_ROOM: Duration = Duration::from_millis(100);
/// First byte of a TLS handshake (RFC 8446, section 5.1).
const TLS: u8 = 22;

/// Where the API listens for other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteOptions {
    /// Its address.
    pub listen: SocketAddr,
    /// Plain HTTP, for a proxy on the same machine: on loopback only.
    pub plain: bool,
}

impl FromStr for RemoteOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (plain, address) = match text.strip_prefix("http://") {
            Some(address) => (true, address),
            None => (false, text.strip_prefix("https://").unwrap_or(text)),
        };
        let wrong = || "neither `off` nor an address such as 0.0.0.0:7414".to_owned();
        let listen: SocketAddr = address.parse().map_err(|_| wrong())?;
        if plain && !listen.ip().is_loopback() {
            return Err("plain http is for loopback only; leave out the http://".to_owned());
        }
        Ok(Self { listen, plain })
    }
}

/// Listens until the returned task is aborted; the API tells where from then on.
///
/// # Errors
/// `address-in-use`, `io`, and those of the identity in `keys`.
pub async fn listen(
    api: &Api,
    options: RemoteOptions,
    keys: &Path,
) -> Result<(ApiItem, tokio::task::JoinHandle<()>), Failure> {
    let identity = if options.plain { None } else { Some(Identity::open(keys)?) };
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            let message = format!("something else listens at TCP {}", options.listen);
            return Failure::failed("address-in-use", message, "choose another with --api");
        }
        Failure::io(options.listen, &error)
    })?;
    let address = listener.local_addr().map_err(|e| Failure::io(options.listen, &e))?;
    let fingerprint = identity.as_ref().map(|identity| identity.fingerprint.to_string());
    let item =
        ApiItem { listen: address.to_string(), fingerprint: fingerprint.unwrap_or_default() };
    // It was set by nobody else: there is one listener.
    let _ = api.remote.set(item.clone());
    let acceptor = identity.map(|identity| TlsAcceptor::from(identity.config));
    let router = api.clone().remote_router();
    Ok((item, tokio::spawn(accept(listener, acceptor, router))))
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, router: Router) {
    let places = Places::default();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Those that end make room; one that broke off is no matter.
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(NO_ROOM).await;
                continue;
            }
        };
        let Some(place) = places.take(from.ip().to_canonical()) else {
            tracing::debug!(%from, "too many connections");
            continue;
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = serve(stream, from, acceptor, router).await {
                tracing::debug!(%from, %error, "a connection ended");
            }
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    from: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
) -> io::Result<()> {
    bound(&stream)?;
    let Some(acceptor) = acceptor else { return answer(stream, from, router).await };
    let begins = async {
        let mut first = [0];
        stream.peek(&mut first).await.map(|count| (count, first[0]))
    };
    match timeout(HANDSHAKE, begins).await?? {
        (0, _) => return Ok(()),
        (_, TLS) => {}
        _ => return timeout(LAST_WORDS, refuse_plain(&mut stream)).await?,
    }
    let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    answer(stream, from, router).await
}

/// What is sent and not read for long, and who has gone without a word, ends a connection.
fn bound(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(UNREAD))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(UNREAD).with_interval(UNREAD))
}

/// Tells who speaks no TLS what would have been right. Nothing of the request is looked
/// at: a token in it was seen by the whole network.
async fn refuse_plain(stream: &mut TcpStream) -> io::Result<()> {
    let hint = "write https://; if a token was sent without it, revoke that token";
    let failure = Failure::failed("https-needed", "this port speaks https only", hint);
    stream.write_all(reply(&failure).as_bytes()).await?;
    stream.shutdown().await?;
    // What is unread when it is closed would take the answer along.
    let mut rest = [0; 1_024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn answer<S>(stream: S, from: SocketAddr, router: Router) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = router.layer(axum::Extension(Origin(from)));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .map_err(io::Error::other)
}

/// Connections that are open, by address.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place among those that may be open.
struct Place {
    places: Places,
    of: IpAddr,
}

impl Places {
    fn take(&self, of: IpAddr) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from_one = open.get(&of).copied().unwrap_or(0);
        if from_one >= FROM_ONE || open.values().sum::<usize>() >= CONNECTIONS {
            return None;
        }
        open.insert(of, from_one + 1);
        Some(Place { places: self.clone(), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_only() {
        let parse = |text: &str| text.parse::<RemoteOptions>();
        let listen = "0.0.0.0:7414".parse().unwrap();
        assert_eq!(parse("0.0.0.0:7414").unwrap(), RemoteOptions { listen, plain: false });
        assert_eq!(parse("https://0.0.0.0:7414").unwrap(), RemoteOptions { listen, plain: false });
        assert!(parse("http://127.0.0.1:1").unwrap().plain && parse("http://[::1]:1").is_ok());
        for text in ["http://0.0.0.0:7414", "http://192.0.2.7:1", "7414", "off", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_address_cannot_take_all_places_and_places_come_back() {
        let places = Places::default();
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let mut held: Vec<Place> = (0..FROM_ONE).map_while(|_| places.take(address(1))).collect();
        assert_eq!(held.len(), FROM_ONE);
        assert!(places.take(address(1)).is_none());
        for n in 2..=4 {
            held.extend((0..FROM_ONE).map_while(|_| places.take(address(n))));
        }
        assert_eq!(held.len(), CONNECTIONS);
        assert!(places.take(address(5)).is_none(), "all are taken");
        drop(held);
        assert!(places.take(address(5)).is_some() && places.0.lock().unwrap().is_empty());
    }
}
