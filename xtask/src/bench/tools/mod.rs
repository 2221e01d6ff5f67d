//! The tools that are compared: how each is started so that it does its best.

mod ours;
mod rsync;
mod udpcast;
mod uftp;

use clap::ValueEnum;

pub(crate) use ours::Fleet;
pub(crate) use rsync::Daemons;

use super::run::{Job, Transfer};
use crate::packages::Package;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Tool {
    /// Ours.
    #[value(skip)]
    Fleetcast,
    /// uftp: multicast, NAKs after each section, fixed rate.
    Uftp,
    /// udpcast: multicast, slices that all acknowledge.
    Udpcast,
    /// rsync: a TCP connection to a daemon on each receiver, all at once.
    Rsync,
}

impl Tool {
    /// What rows call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fleetcast => "fleetcast",
            Self::Uftp => "uftp",
            Self::Udpcast => "udpcast",
            Self::Rsync => "rsync",
        }
    }

    /// The package that brings it.
    pub(crate) const fn package(self) -> Option<Package> {
        match self {
            Self::Fleetcast => None,
            Self::Uftp => Some(Package { name: "uftp", brings: "uftp" }),
            Self::Udpcast => Some(Package { name: "udpcast", brings: "udp-sender" }),
            Self::Rsync => Some(Package { name: "rsync", brings: "rsync" }),
        }
    }

    /// How it is started, for whoever reads its figures.
    pub(crate) fn options(self) -> String {
        match self {
            Self::Fleetcast => "release build, no options: encrypted, signed, verified, \
                durable before `installed`"
                .to_owned(),
            Self::Uftp => uftp::options(),
            Self::Udpcast => udpcast::options(),
            Self::Rsync => rsync::options(),
        }
    }

    /// Does the job.
    ///
    /// # Errors
    /// What it said when it failed or was too slow.
    pub(crate) fn run(self, job: &Job<'_>) -> Result<Transfer, String> {
        match self {
            Self::Fleetcast => ours::run(job),
            Self::Uftp => uftp::run(job),
            Self::Udpcast => udpcast::run(job),
            Self::Rsync => rsync::run(job),
        }
    }
}
