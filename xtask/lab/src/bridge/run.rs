//! The loop around the switch: frames in, what is due out, orders, sleep.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::ports;
use super::switch::Switch;
use super::words::{DONE, HERE, LONGEST, STOP};

/// Longest frame: ports carry single segments only.
const FRAME: usize = 1 << 16;
/// Frames taken from one port before the next has its turn.
const TURN: usize = 64;

/// How often it looks whether there are still cables: a socket does not tell.
const LOOK: Duration = Duration::from_secs(1);

/// Carries frames between `ports` until it is told to stop, or all ports are gone.
pub(super) fn run(ports: &[OwnedFd], seed: u64, control: &UnixDatagram) {
    let mut switch = Switch::new(ports.len(), seed);
    let mut frame = vec![0; FRAME];
    let begin = Instant::now();
    let mut look = LOOK;
    loop {
        for (port, socket) in ports.iter().enumerate() {
            take(socket, port, &mut switch, begin.elapsed(), &mut frame);
        }
        switch.handle_timeout(begin.elapsed());
        while let Some((port, frame)) = switch.poll_transmit(begin.elapsed()) {
            // A port that is busy or cut loses it.
            let _ = send(&ports[port], &frame, SendFlags::DONTWAIT);
        }
        let now = begin.elapsed();
        if look <= now {
            if ports::count().is_err() {
                return;
            }
            look = now + LOOK;
        }
        let due = switch.poll_timeout().map_or(look, |due| due.min(look));
        let is_told = sleep(ports, control, due.saturating_sub(now));
        if is_told && !obey(&mut switch, begin.elapsed(), control) {
            return;
        }
    }
}

/// Takes the frames that wait at a port, so many at once.
fn take(socket: &OwnedFd, port: usize, switch: &mut Switch, now: Duration, frame: &mut [u8]) {
    for _ in 0..TURN {
        // "Network is down" comes once of a cable that was pulled.
        let Ok((_, len)) = recv(socket, &mut *frame, RecvFlags::DONTWAIT) else { return };
        switch.handle_frame(now, port, &mut frame[..len.min(FRAME)]);
    }
}

/// Sleeps until a frame or an order comes, or `wait` is over; whether it is an order.
fn sleep(ports: &[OwnedFd], control: &UnixDatagram, wait: Duration) -> bool {
    let sockets = ports.iter().map(|socket| PollFd::new(socket, PollFlags::IN));
    let mut sockets: Vec<PollFd<'_>> = sockets.collect();
    sockets.push(PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN));
    let wait = Timespec::try_from(wait).ok();
    // An interrupted sleep is a short one.
    let _ = poll(&mut sockets, wait.as_ref());
    sockets.last().is_some_and(|control| !control.revents().is_empty())
}

/// Obeys an order and answers; false when it is to stop.
fn obey(switch: &mut Switch, now: Duration, control: &UnixDatagram) -> bool {
    let mut order = [0; LONGEST];
    let Ok((len, peer)) = control.recv_from(&mut order) else { return true };
    let order = String::from_utf8_lossy(&order[..len]);
    let done = match &*order {
        STOP => return false,
        HERE => Ok(()),
        order => order.parse().and_then(|order| switch.obey(now, order)),
    };
    let answer = done.err().unwrap_or_else(|| DONE.to_owned());
    // Who does not wait for the answer needs none.
    let _ = if peer.is_unnamed() {
        control.send(answer.as_bytes())
    } else {
        control.send_to_addr(answer.as_bytes(), &peer)
    };
    true
}
