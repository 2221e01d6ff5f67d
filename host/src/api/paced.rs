//! Bodies of requests that must come at a pace: who sends a byte now and then holds a
//! connection and memory for as long as that takes, which is not long here.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as Stream, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::Failure;

/// How long a body may take, whatever its length.
const GRACE: Duration = Duration::from_secs(30);
/// What it must bring per second after that: 4 KiB, a thirtieth of a slow uplink.
const PACE: u64 = 4_096;

/// A body came too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request came too slowly")
    }
}

impl Error for TooSlow {}

impl From<TooSlow> for Failure {
    fn from(slow: TooSlow) -> Self {
        let hint = "repeat the command; an upload goes on where it was";
        Self::failed("too-slow", slow.to_string(), hint)
    }
}

/// Lets the bodies of requests come at a pace.
pub(super) async fn pace(request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Paced::with_grace(body, GRACE)))).await
}

/// How long a body of so many bytes may take.
fn allowed(grace: Duration, bytes: u64) -> Duration {
    grace + Duration::from_secs(bytes / PACE)
}

/// A body with a deadline that each of its bytes puts off a little.
struct Paced {
    body: Body,
    begin: Instant,
    grace: Duration,
    bytes: u64,
    deadline: Pin<Box<Sleep>>,
}

impl Paced {
    fn with_grace(body: Body, grace: Duration) -> Self {
        let begin = Instant::now();
        Self { body, begin, grace, bytes: 0, deadline: Box::pin(sleep_until(begin + grace)) }
    }
}

impl Stream for Paced {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let bytes = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                _ => 0,
            };
            self.bytes += bytes as u64;
            let until = self.begin + allowed(self.grace, self.bytes);
            self.deadline.as_mut().reset(until);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(Box::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn a_dribble_is_borne_for_a_while_and_a_flow_for_as_long_as_it_is() {
        let seconds = |bytes| allowed(GRACE, bytes).as_secs();
        assert_eq!([0, 4_095, 4_096, 2 << 20].map(seconds), [30, 30, 31, 542]);
        // 1,024 B/s: after t seconds 30 + t/4 are allowed, which is t after 40.
        assert!(seconds(39 * 1_024) >= 39 && seconds(41 * 1_024) < 41);
        // A slow uplink of 1 Mbit/s is always ahead.
        assert!((0..600).all(|t| seconds(t * 125_000) > t));
    }

    #[tokio::test]
    async fn a_body_that_stops_is_cut() {
        let whole = Paced::with_grace(Body::from("whole"), Duration::ZERO);
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "whole");
        let mut never = Paced::with_grace(Body::new(Never), Duration::from_millis(20));
        let cut = never.frame().await.unwrap().unwrap_err();
        assert!(cut.is::<TooSlow>());
    }

    /// A body of which nothing ever comes.
    struct Never;

    impl Stream for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }
}
