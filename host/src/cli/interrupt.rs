//! Ctrl-C ends a command with the code that the contract gives it.

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{EXIT_INTERRUPTED, Failure};

/// From now on an interrupt ends this process with exit code 130.
///
/// The server loses nothing by that: what was submitted goes on.
pub(super) fn exit_when_interrupted() -> Result<(), Failure> {
    let io = |error: std::io::Error| Failure::io("signals", &error);
    let runtime = Builder::new_current_thread().enable_io().build().map_err(io)?;
    // Before the thread starts, so that no signal falls between.
    let mut interrupts = runtime.block_on(async { signal(SignalKind::interrupt()) }).map_err(io)?;
    let wait = move || {
        runtime.block_on(interrupts.recv());
        std::process::exit(EXIT_INTERRUPTED.into());
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(wait).map_err(io)?;
    Ok(())
}
