//! A TAP device as the board's Ethernet.

use std::io;
use std::os::fd::AsRawFd as _;

use fleetcast_board::filter::{Filter, Listening, head};
use fleetcast_board::net::{FRAME, Nic};
use fleetcast_core::time::Duration;
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium, TunTapInterface, wait};
use smoltcp::time::{Duration as StackDuration, Instant};

/// A TAP device with the frames of a small board, and its filter.
#[derive(Debug)]
pub(crate) struct Tap {
    device: TunTapInterface,
    filter: Filter,
}

/// Waits for frames of a [`Tap`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter(i32);

impl Tap {
    /// Attaches to the TAP device `name`, or makes one.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let device = TunTapInterface::new(name, Medium::Ethernet)?;
        Ok(Self { device, filter: Filter::new() })
    }

    /// Something to wait with.
    pub(crate) fn waiter(&self) -> Waiter {
        Waiter(self.device.as_raw_fd())
    }
}

impl Waiter {
    /// Waits until there is a frame, at most `span`.
    pub(crate) fn wait(self, span: Duration) -> io::Result<()> {
        wait(self.0, Some(StackDuration::from_micros(span.as_micros())))
    }
}

impl Device for Tap {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = <TunTapInterface as Device>::TxToken<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let Self { device, filter } = self;
        let (came, answer) = device.receive(now)?;
        Some((RxToken { came, filter }, answer))
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        self.device.transmit(now)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = self.device.capabilities();
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

impl Nic for Tap {
    fn listen(&mut self, listening: &Listening) {
        self.filter.set(listening);
    }
}

/// A frame that came.
pub(crate) struct RxToken<'t> {
    came: <TunTapInterface as Device>::RxToken<'t>,
    filter: &'t Filter,
}

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        self.came.consume(|frame| {
            let is_ours = head(frame).is_some_and(|head| self.filter.takes(&head));
            // The stack passes over a frame of no bytes.
            take(if is_ours { frame } else { &[] })
        })
    }
}
