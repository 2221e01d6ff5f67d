//! Answers: documents, and what becomes of requests that no handler has understood.

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::refusal::Refusal;
use crate::error::Failure;

/// Longest explanation of the framework that is passed on, in bytes.
const WORDS: usize = 1_024;
/// The cure of requests that make no sense.
const VERSIONS: &str = "server and command line should be of one version";

/// A handler's result.
pub(super) type Answer<T> = Result<Json<T>, Refusal>;

/// For paths that no route has.
pub(super) async fn no_route(caller: Caller) -> Refusal {
    let unknown = || Failure::failed("route-unknown", "the server knows no such request", VERSIONS);
    known(caller, unknown)
}

/// For methods that a path does not have.
pub(super) async fn no_method(caller: Caller) -> Refusal {
    let unknown = || Failure::failed("method-wrong", "the path has no such method", VERSIONS);
    known(caller, unknown)
}

/// Strangers are not even told what there is.
fn known(caller: Caller, why: impl FnOnce() -> Failure) -> Refusal {
    match caller {
        Caller::Nobody(stranger, _) => stranger.into(),
        Caller::Owner | Caller::Person(..) => why().into(),
    }
}

/// What the client sent is not what the route takes.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::failed("malformed", what, VERSIONS)
}

/// Gives every answer its headers, and puts the framework's own refusals (of bodies
/// that are too large or no JSON, of methods) into the words of all others.
pub(super) async fn in_our_words(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let ours = kind.is_some_and(|kind| kind == "application/json");
    if (status.is_client_error() || status.is_server_error()) && !ours {
        let told = to_bytes(response.into_body(), WORDS).await.unwrap_or_default();
        let told = String::from_utf8_lossy(&told).into_owned();
        let failure = match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Failure::failed("too-large", "the request is larger than it may be", VERSIONS)
            }
            _ => Failure::failed("malformed", told, VERSIONS),
        };
        response = (status, Refusal::from(failure)).into_response();
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
