//! Answers: documents, and failures with a fitting HTTP status.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::{EXIT_USAGE, Failure};

/// Who answers here: the owner of the state directory.
pub(super) const ACTOR: &str = "admin";

/// A handler's result.
pub(super) type Answer<T> = Result<Json<T>, Refusal>;

/// A failure on its way to the client.
pub(super) struct Refusal(Failure);

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, "application/json")];
        (status(&self.0), json, self.0.to_json()).into_response()
    }
}

/// For paths that no route has.
pub(super) async fn no_route() -> Refusal {
    let hint = "server and command line should be of one version";
    Failure::failed("route-unknown", "the server knows no such request", hint).into()
}

fn status(failure: &Failure) -> StatusCode {
    match failure.code.as_ref() {
        code if code.ends_with("-unknown") => StatusCode::NOT_FOUND,
        "catalog-in-doubt" | "group-exists" | "user-exists" | "name-taken" | "out-of-order"
        | "chunks-missing" | "receiver-waiting" => StatusCode::CONFLICT,
        "not-trusted" => StatusCode::FORBIDDEN,
        "name-unsafe" | "reason-unsafe" | "password-weak" | "bad-chunk" | "malformed"
        | "voucher-missing" | "schedule-malformed" => StatusCode::BAD_REQUEST,
        "no-space" => StatusCode::INSUFFICIENT_STORAGE,
        "server-stopped" => StatusCode::SERVICE_UNAVAILABLE,
        _ if failure.exit == EXIT_USAGE => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What the client sent is not what the route takes.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::failed("malformed", what, "server and command line should be of one version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_status_that_its_code_means() {
        let cases = [
            ("group-unknown", StatusCode::NOT_FOUND),
            ("group-exists", StatusCode::CONFLICT),
            ("not-trusted", StatusCode::FORBIDDEN),
            ("no-space", StatusCode::INSUFFICIENT_STORAGE),
            ("io", StatusCode::INTERNAL_SERVER_ERROR),
        ];
        for (code, expected) in cases {
            assert_eq!(status(&Failure::failed(code, "", "")), expected, "{code}");
        }
    }
}
