//! The person's end of a receiver's socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Builder;

use super::model::{MAX_QUESTION, MyAnswer, Question};
use crate::api::socket;
use crate::error::Failure;

/// The receiver gives up before.
const PATIENCE: Duration = Duration::from_secs(14);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 8 * 1024 * 1024;

/// Asks the receiver whose socket is at `path`.
///
/// # Errors
/// `agent-not-running`, `not-permitted`, what the receiver says, `io`.
pub fn ask(path: &Path, question: &Question) -> Result<MyAnswer, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("runtime", &error))?;
    let mut text = serde_json::to_vec(question).map_err(|_| misunderstood())?;
    if text.len() >= MAX_QUESTION {
        let hint = "names have at most 64 bytes, passwords 128";
        return Err(Failure::failed("malformed", "the receiver takes no such question", hint));
    }
    text.push(b'\n');
    let asked = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, converse(path, &text)).await.unwrap_or_else(|_| {
            Err(Failure::failed("no-answer", "the receiver does not answer", "try again"))
        })
    });
    match serde_json::from_slice(&asked?).map_err(|_| misunderstood())? {
        MyAnswer::Failure(failure) => Err(failure),
        answer => Ok(answer),
    }
}

async fn converse(path: &Path, question: &[u8]) -> Result<Vec<u8>, Failure> {
    let io = |error: io::Error| Failure::io(path.display(), &error);
    let mut stream = socket::open(path).await.map_err(|error| not_there(path, &error))?;
    stream.write_all(question).await.map_err(io)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(io)?;
    if answer.is_empty() {
        let message = "the receiver has no time for more questions";
        return Err(Failure::failed("no-answer", message, "try again in a minute"));
    }
    Ok(answer)
}

fn not_there(path: &Path, error: &io::Error) -> Failure {
    let folder = path.parent().unwrap_or(path).display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let message = format!("no receiver is running in {folder}");
            let hint = "start one with `fleetcast receive`, or name its directory with --state DIR";
            Failure::failed("agent-not-running", message, hint)
        }
        io::ErrorKind::PermissionDenied => {
            let message = format!("the receiver in {folder} lets nobody else in");
            let hint = "ask whoever runs it; `fleetcast receive --others` says what others may do";
            Failure::failed("not-permitted", message, hint)
        }
        _ => Failure::io(path.display(), error),
    }
}

/// The failure of an answer that makes no sense.
#[must_use]
pub fn misunderstood() -> Failure {
    let hint = "receiver and command line should be of one version";
    Failure::failed("receiver-misunderstood", "the receiver answered something else", hint)
}
