//! Failures on their way to the client, with a fitting HTTP status.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::{EXIT_USAGE, Failure};

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
        let status = status(&self.0);
        let mut response = (status, json, self.0.to_json()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 11.6.1.
            let scheme = HeaderValue::from_static("Bearer realm=\"fleetcast\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// The whole answer, for those who cannot be spoken with otherwise.
pub(super) fn reply(failure: &Failure) -> String {
    let body = failure.to_json();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn status(failure: &Failure) -> StatusCode {
    match failure.code.as_ref() {
        code if code.ends_with("-unknown") => StatusCode::NOT_FOUND,
        "catalog-in-doubt" | "group-exists" | "user-exists" | "name-taken" | "out-of-order"
        | "chunks-missing" | "receiver-waiting" | "authority-outdated" | "release-overtaken"
        | "tokens-full" => StatusCode::CONFLICT,
        "token-needed" | "token-refused" | "token-expired" | "login-refused" => {
            StatusCode::UNAUTHORIZED
        }
        "token-limited" | "login-limited" => StatusCode::TOO_MANY_REQUESTS,
        "not-trusted" | "forbidden" => StatusCode::FORBIDDEN,
        "name-unsafe" | "reason-unsafe" | "password-weak" | "bad-chunk" | "malformed"
        | "account-needed" | "voucher-missing" | "schedule-malformed" => StatusCode::BAD_REQUEST,
        "method-wrong" => StatusCode::METHOD_NOT_ALLOWED,
        "too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        "too-slow" => StatusCode::REQUEST_TIMEOUT,
        "no-space" => StatusCode::INSUFFICIENT_STORAGE,
        "server-stopped" => StatusCode::SERVICE_UNAVAILABLE,
        _ if failure.exit == EXIT_USAGE => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
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
            ("forbidden", StatusCode::FORBIDDEN),
            ("token-refused", StatusCode::UNAUTHORIZED),
            ("login-limited", StatusCode::TOO_MANY_REQUESTS),
            ("no-space", StatusCode::INSUFFICIENT_STORAGE),
            ("io", StatusCode::INTERNAL_SERVER_ERROR),
        ];
        for (code, expected) in cases {
            assert_eq!(status(&Failure::failed(code, "", "")), expected, "{code}");
        }
    }
}
