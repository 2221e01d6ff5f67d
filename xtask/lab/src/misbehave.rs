//! What networks do that nobody wishes for, besides losing packets.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::lan::Lan;

/// How a switch snoops on IGMP, times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snooping {
    /// Whether it asks itself who listens, as often as this.
    pub asks_every: Option<u32>,
    /// It forgets who listens when it has not heard so for this long.
    pub forgets_after: u32,
    /// For so long it believes in a querier that it has heard once; without any it
    /// would send multicast to all ports.
    pub believes_for: u32,
}

impl Lan {
    /// Lets the switch send multicast only to ports where somebody listens.
    ///
    /// # Errors
    /// When its kernel's bridge cannot snoop.
    pub fn snoop(&self, snooping: Snooping) -> Result<(), String> {
        // The bridge counts in hundredths of a second.
        let hundredths = |ms: u32| ms / 10;
        let mut options = format!(
            "link set br0 type bridge mcast_snooping 1 mcast_igmp_version 3 \
             mcast_membership_interval {} mcast_querier_interval {} \
             mcast_query_response_interval 20 mcast_last_member_interval 10",
            hundredths(snooping.forgets_after),
            hundredths(snooping.believes_for)
        );
        if let Some(every) = snooping.asks_every {
            // Writing to a string does not fail.
            let _ = write!(
                options,
                " mcast_query_interval {0} mcast_startup_query_interval {0} mcast_querier 1",
                hundredths(every)
            );
        }
        options.push('\n');
        self.switch().run("ip", &["-batch", "-"], &options)
    }

    /// Lets a host's port carry no IP packets longer than `mtu`: the switch drops
    /// them, and tells nobody.
    ///
    /// # Errors
    /// When there is no such port, or the MTU is none.
    pub fn set_mtu(&self, host: usize, mtu: u32) -> Result<(), String> {
        let line = format!("link set port{host} mtu {mtu}\n");
        self.switch().run("ip", &["-batch", "-"], &line)
    }

    /// Gives a host another address in place of the one that it has. [`Lan::address`]
    /// goes on to tell the first.
    ///
    /// # Errors
    /// When there is no such host, or it has that address.
    pub fn readdress(&self, host: usize, from: Ipv4Addr, to: Ipv4Addr) -> Result<(), String> {
        // In this order: a second address of the same subnet would go with the first.
        let lines =
            format!("address del {from}/16 dev eth0\naddress add {to}/16 broadcast + dev eth0\n");
        self.host(host).run("ip", &["-batch", "-"], &lines)
    }
}
