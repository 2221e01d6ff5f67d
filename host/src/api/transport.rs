//! Requests and answers of the client: one connection, made anew when the server has
//! closed it, by the socket of a server on this machine or over TLS to another.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};

use super::pinned::{ServerUrl, dial, secure};
use super::socket;
use crate::error::Failure;

/// How long to wait before what was cut is asked again; a server on another machine may
/// be behind a network that is away for a moment.
const AGAIN: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(4)];

/// Where requests go.
#[derive(Clone)]
pub enum Target {
    /// To the server that listens at this path, as its owner.
    Socket(PathBuf),
    /// To a server on another machine, which must have a pin unless it is plain; with a
    /// token, or without one to log in.
    Remote(ServerUrl, Option<String>),
}

/// A request: its method, its path below `/api/v1`, its body.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    /// Media type of the body.
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
}

impl Ask<'_> {
    /// Whether it says the same when it is said twice.
    fn repeats(&self) -> bool {
        self.method == Method::GET || self.method == Method::PUT || self.path == "/chunks/lacking"
    }
}

/// Asks what changes nothing and everybody may.
const fn who() -> Ask<'static> {
    Ask { method: Method::GET, path: "/me", kind: "application/json", body: Bytes::new() }
}

/// A connection to a server.
pub(super) struct Transport {
    target: Target,
    runtime: Runtime,
    connection: Mutex<Option<Sender>>,
}

type Sender = SendRequest<Full<Bytes>>;
type Outcome<T> = Result<T, Failure>;

/// Why an exchange failed, and whether asking again can do no harm.
struct Cut {
    failure: Failure,
    harmless: bool,
}

impl Transport {
    /// Connects with the first request.
    pub(super) fn new(target: Target) -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::io("runtime", &error))?;
        Ok(Self { target, runtime, connection: Mutex::new(None) })
    }

    /// Where requests go.
    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// The body of the answer, or the server's own failure.
    pub(super) fn request(&self, ask: &Ask<'_>) -> Outcome<Bytes> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.runtime.block_on(async {
            let mut waits = AGAIN.iter();
            // Who was never reached is told so at once.
            let mut reached = connection.is_some();
            loop {
                let cut = match self.exchange(&mut connection, ask, &mut reached).await {
                    Ok(answer) => return answer,
                    Err(cut) => cut,
                };
                match waits.next() {
                    Some(wait) if cut.harmless && reached => tokio::time::sleep(*wait).await,
                    _ => return Err(cut.failure),
                }
                // In the midst of an upload nobody hears that it is refused.
                if ask.method == Method::PUT
                    && let Ok(Err(why)) = self.exchange(&mut connection, &who(), &mut reached).await
                {
                    return Err(why);
                }
            }
        })
    }

    async fn exchange(
        &self,
        connection: &mut Option<Sender>,
        ask: &Ask<'_>,
        reached: &mut bool,
    ) -> Result<Outcome<Bytes>, Cut> {
        let mut kept = connection.take();
        let alive = match &mut kept {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        let mut sender = match kept {
            Some(sender) if alive => sender,
            _ => {
                let harmless = matches!(self.target, Target::Remote(..));
                self.connect().await.map_err(|failure| Cut { failure, harmless })?
            }
        };
        *reached = true;
        let request = self.built(ask).map_err(|failure| Cut { failure, harmless: false })?;
        let repeats = ask.repeats();
        let response = sender.try_send_request(request).await.map_err(|mut error| {
            // What comes back was not sent.
            let harmless = error.take_message().is_some() || repeats;
            Cut { failure: lost(&error.into_error()), harmless }
        })?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| Cut { failure: lost(&error), harmless: repeats })?;
        *connection = Some(sender);
        let body = body.to_bytes();
        Ok(if status.is_success() { Ok(body) } else { Err(refusal(&body)) })
    }

    fn built(&self, ask: &Ask<'_>) -> Outcome<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(format!("/api/v1{}", ask.path))
            .header("content-type", ask.kind);
        request = match &self.target {
            Target::Socket(_) => request.header("host", "fleetcast"),
            Target::Remote(url, token) => {
                let request = request.header("host", url.authority());
                match token {
                    Some(token) => request.header("authorization", format!("Bearer {token}")),
                    None => request,
                }
            }
        };
        request.body(Full::new(ask.body.clone())).map_err(|_| {
            let hint = "a token has letters, digits, - and _ only; is FLEETCAST_TOKEN whole?";
            Failure::usage("token-malformed", "the request cannot be written", hint)
        })
    }

    async fn connect(&self) -> Outcome<Sender> {
        match &self.target {
            Target::Socket(path) => begin(socket::connect(path).await?).await,
            Target::Remote(url, _) if url.plain => begin(dial(url).await?).await,
            Target::Remote(url, _) => {
                let pin = url.pin.ok_or_else(|| unpinned(url))?;
                begin(secure(url, pin, dial(url).await?).await?).await
            }
        }
    }
}

async fn begin<S>(stream: S) -> Outcome<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| lost(&e))?;
    // Its end is noticed by the next request.
    tokio::spawn(connection);
    Ok(sender)
}

/// The failure of a server whose certificate nobody has told.
#[must_use]
pub fn unpinned(url: &ServerUrl) -> Failure {
    let message = format!("the certificate of {url} is not known here");
    let hint = "append #FINGERPRINT to its address, as `fleetcast whoami` prints it at the server; \
                or run `fleetcast login` on a terminal and compare it there";
    Failure::usage("server-unknown", message, hint)
}

/// The server's own failure; exit codes are the client's affair.
fn refusal(body: &[u8]) -> Failure {
    serde_json::from_slice(body).unwrap_or_else(|_| misunderstood())
}

/// The failure of an answer that makes no sense.
#[must_use]
pub fn misunderstood() -> Failure {
    let hint = "server and command line should be of one version";
    Failure::failed("server-misunderstood", "the server answered something else", hint)
}

fn lost(error: &hyper::Error) -> Failure {
    let hint =
        "`fleetcast status` tells whether it runs; repeat the command, nothing is done twice";
    Failure::failed("server-lost", format!("the server went away: {error}"), hint)
}
