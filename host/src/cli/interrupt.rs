//! Ctrl-C, and what asks a process to end.

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

/// From now on the first interrupt, request to end, or loss of the terminal calls `act`;
/// another one ends this process at once.
pub(super) fn when_told_to_end(act: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let io = |error: std::io::Error| Failure::io("signals", &error);
    let runtime = Builder::new_current_thread().enable_io().build().map_err(io)?;
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let signals = runtime.block_on(async { kinds.map(signal) });
    let [interrupted, terminated, left] = signals;
    let (mut interrupted, mut terminated) = (interrupted.map_err(io)?, terminated.map_err(io)?);
    let mut left = left.map_err(io)?;
    let mut next = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
                _ = left.recv() => {}
            }
        });
    };
    let wait = move || {
        next();
        act();
        next();
        std::process::exit(EXIT_INTERRUPTED.into());
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(wait).map_err(io)?;
    Ok(())
}
