//! A TAP device as the board's Ethernet.

use std::io;
use std::os::fd::AsRawFd as _;

use fleetcast_board::net::{FRAME, Nic};
use fleetcast_core::time::Duration;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, TunTapInterface, wait};
use smoltcp::time::{Duration as StackDuration, Instant};

/// A TAP device with the frames of a small board.
#[derive(Debug)]
pub(crate) struct Tap(TunTapInterface);

/// Waits for frames of a [`Tap`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter(i32);

impl Tap {
    /// Attaches to the TAP device `name`, or makes one.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        TunTapInterface::new(name, Medium::Ethernet).map(Self)
    }

    /// Something to wait with.
    pub(crate) fn waiter(&self) -> Waiter {
        Waiter(self.0.as_raw_fd())
    }
}

impl Waiter {
    /// Waits until there is a frame, at most `span`.
    pub(crate) fn wait(self, span: Duration) -> io::Result<()> {
        wait(self.0, Some(StackDuration::from_micros(span.as_micros())))
    }
}

impl Device for Tap {
    type RxToken<'a> = <TunTapInterface as Device>::RxToken<'a>;
    type TxToken<'a> = <TunTapInterface as Device>::TxToken<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        self.0.receive(now)
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        self.0.transmit(now)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = self.0.capabilities();
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

impl Nic for Tap {}
