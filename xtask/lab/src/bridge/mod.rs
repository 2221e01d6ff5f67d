//! A switch in user space, in place of the kernel's: it does to frames what the
//! simulator does to datagrams, by the same seeded model ([`crate::weather`]).
//!
//! It joins the ports of a LAN by packet sockets: the cables are those of every
//! LAN here, only nothing in the kernel connects them. What a cable's end gets from
//! a sender on the same machine has no checksum yet; the switch fills it in.
//!
//! One thread does everything. It lives in the switch's namespace, either of this
//! process ([`Bridge::start`]) or as a process of its own ([`serve`]), and ends when
//! it is told to, when its process ends, or when all its cables are gone.
//!
//! If the machine is so busy that a socket's buffer overflows, frames are lost that
//! no seed has chosen: it is for networks that misbehave, not for measuring speed.

mod ports;
mod switch;
mod words;

mod run;

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::fault::Order;
use crate::lan::Lan;
use crate::namespace::Namespace;

use self::words::{DONE, HERE, LONGEST, STOP};

/// Where a bridge that is a process listens: a name in its network namespace.
const NAME: &str = "fleetcast-lab-bridge";
/// An order is obeyed at once; nobody waits longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// The bridge of a LAN, in a thread of this process. It ends when dropped; its LAN
/// must live longer.
#[derive(Debug)]
pub struct Bridge {
    control: UnixDatagram,
    thread: Option<JoinHandle<()>>,
}

impl Bridge {
    /// Connects the hosts of a LAN that was made without a switch. The same `seed`
    /// gives the same fate to the same datagrams.
    ///
    /// # Errors
    /// When this process may not.
    pub fn start(lan: &Lan, seed: u64) -> Result<Self, String> {
        let door = lan.switch().door()?;
        let hosts = lan.hosts();
        let (control, far) = UnixDatagram::pair().map_err(|error| error.to_string())?;
        let thread = std::thread::spawn(move || {
            let begun = door.enter().and_then(|()| ports::open(hosts));
            match begun {
                Ok(ports) => run::run(&ports, seed, &far),
                // Its maker waits for a word.
                Err(error) => drop(far.send(error.as_bytes())),
            }
        });
        let bridge = Self { control, thread: Some(thread) };
        ask(&bridge.control, HERE)?;
        Ok(bridge)
    }

    /// Orders something; it is so when this returns.
    ///
    /// # Errors
    /// When there is no such host, or the bridge has ended.
    pub fn order(&self, order: &Order) -> Result<(), String> {
        ask(&self.control, &order.to_string())
    }

    /// The same in words, as `cargo xtask lab fault` has them.
    ///
    /// # Errors
    /// When they are no order, and as above.
    pub fn fault(&self, words: &str) -> Result<(), String> {
        self.order(&words.parse()?)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.control.send(STOP.as_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Is the bridge of the LAN whose switch's namespace this process is in; ends when
/// the LAN's cables are gone.
///
/// # Errors
/// When there is one already, or this process may not.
pub fn serve(seed: u64) -> Result<(), String> {
    let name = SocketAddr::from_abstract_name(NAME).map_err(|error| error.to_string())?;
    let control = UnixDatagram::bind_addr(&name)
        .map_err(|error| format!("a bridge is there already, or none can be: {error}"))?;
    let ports = ports::open(ports::count()?)?;
    run::run(&ports, seed, &control);
    Ok(())
}

/// Orders something of a LAN's bridge that is a process.
///
/// # Errors
/// When it has none, or that does not obey.
pub fn order(lan: &Lan, order: &Order) -> Result<(), String> {
    call(lan.switch(), &order.to_string())
}

/// Whether a bridge that is a process is there and answers.
///
/// # Errors
/// When there is none, or it does not.
pub(crate) fn answers(switch: &Namespace) -> Result<(), String> {
    call(switch, HERE)
}

/// Says something to the bridge in the switch's namespace.
fn call(switch: &Namespace, words: &str) -> Result<(), String> {
    let told = |error| format!("no bridge is up ({error}); help: cargo xtask lab up 4 --bridge");
    switch.inside(|| {
        let own = format!("{NAME}-{}", std::process::id());
        let own = SocketAddr::from_abstract_name(own).map_err(told)?;
        let control = UnixDatagram::bind_addr(&own).map_err(told)?;
        let name = SocketAddr::from_abstract_name(NAME).map_err(told)?;
        control.connect_addr(&name).map_err(told)?;
        ask(&control, words)
    })?
}

fn ask(control: &UnixDatagram, words: &str) -> Result<(), String> {
    let gone = |error| format!("the bridge does not answer: {error}");
    control.set_read_timeout(Some(PATIENCE)).map_err(gone)?;
    control.send(words.as_bytes()).map_err(gone)?;
    let mut answer = [0; LONGEST];
    let len = control.recv(&mut answer).map_err(gone)?;
    match String::from_utf8_lossy(&answer[..len]) {
        answer if answer == DONE => Ok(()),
        answer => Err(answer.into_owned()),
    }
}
