//! The numbered loop of `core/README.md`, over a network and a receiver.

use fleetcast_core::constrained::DATAGRAM;
use fleetcast_core::time::Instant;

use crate::appliance::{Appliance, Event};
use crate::net::{Net, Nic};
use crate::partition::Disk;

/// Frames taken in a round at most. Each may bring a signature or steps of the store, and a
/// board feeds its watchdog between rounds.
const TURNS: u32 = 8;

/// A receiver on its network.
pub struct Driver<'p, 'm, D: Nic, S> {
    /// The network.
    pub net: &'p mut Net<'m, D>,
    /// The receiver.
    pub appliance: &'p mut Appliance<'m, S>,
    /// The datagram that came, or goes out.
    pub datagram: &'m mut [u8; DATAGRAM],
}

impl<D: Nic, S: Disk> Driver<'_, '_, D, S> {
    /// One round: takes what waits in the device, does what is due, sends what is to be
    /// sent, and tells each event. Returns whether there may be more at once; else the
    /// board may sleep until a frame comes or [`Self::poll_timeout`] is reached.
    pub fn round(&mut self, clock: &impl Fn() -> Instant, tell: &mut impl FnMut(&Event)) -> bool {
        let mut more = true;
        for _ in 0..TURNS {
            // 5, 6: time goes first, so that a flood of datagrams holds up no timer.
            let now = clock();
            let due = self.appliance.poll_timeout().is_some_and(|at| at <= now);
            if due {
                self.appliance.handle_timeout(now);
                self.drain(now, tell);
            }
            // 1: one frame brings at most one datagram.
            let came = self.net.ingress(now);
            while let Some((from, len)) = self.net.receive(&mut self.datagram[..]) {
                // 2.
                if let Some(datagram) = self.datagram.get_mut(..len) {
                    self.appliance.handle_datagram(clock(), from, datagram);
                }
                self.drain(clock(), tell);
            }
            more = due || came;
            if !came {
                break;
            }
        }
        self.drain(clock(), tell);
        self.net.egress(clock());
        more
    }

    /// When there is something to do without a frame.
    pub fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let net = self.net.poll_timeout(now);
        net.into_iter().chain(self.appliance.poll_timeout()).min()
    }

    #[inline(never)]
    fn drain(&mut self, now: Instant, tell: &mut impl FnMut(&Event)) {
        // 3.
        while let Some(event) = self.appliance.poll_event() {
            match event {
                Event::Listen(group) => self.net.listen(now, group),
                Event::Announce => self.net.announce(now),
                Event::Unlisten => self.net.unlisten(now),
                _ => {}
            }
            tell(&event);
        }
        // 4: what finds no room now stays in the machine.
        while self.net.can_send() {
            let Some(transmit) = self.appliance.poll_transmit(now, &mut self.datagram[..]) else {
                return;
            };
            if let Some(datagram) = self.datagram.get(..transmit.len) {
                self.net.send(now, transmit.to, datagram);
            }
        }
    }
}
