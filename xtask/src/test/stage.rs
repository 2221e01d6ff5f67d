//! The stages of tests: which test programs belong to each, and what each needs.

use clap::ValueEnum;

use crate::packages::Package;

/// A kind of tests; all but the first are told by the name of the test program,
/// `sim_….rs` for example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Tests in the modules, doc tests, and test programs of no other stage.
    Unit,
    /// The simulated fleet.
    Sim,
    /// Real processes in network namespaces.
    Lab,
    /// Hostile input.
    Hostile,
    /// Firmware under QEMU.
    Qemu,
    /// The web page in a browser.
    Web,
}

const NETWORK: [Package; 3] = [
    Package { name: "nftables", brings: "nft" },
    Package { name: "iproute2", brings: "ip" },
    Package { name: "ethtool", brings: "ethtool" },
];
const FIRMWARE: [Package; 4] = [
    NETWORK[0],
    NETWORK[1],
    NETWORK[2],
    Package { name: "qemu-system-arm", brings: "qemu-system-arm" },
];
const BROWSER: [Package; 1] = [Package { name: "chromium", brings: "chromium" }];

impl Stage {
    /// All stages in the order they run, the quick ones first.
    pub(crate) const ALL: [Self; 6] =
        [Self::Unit, Self::Sim, Self::Lab, Self::Hostile, Self::Qemu, Self::Web];

    /// Its name, and what the names of its test programs begin with.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Sim => "sim",
            Self::Lab => "lab",
            Self::Hostile => "hostile",
            Self::Qemu => "qemu",
            Self::Web => "web",
        }
    }

    /// The stage of the test program `target`.
    pub(crate) fn of(target: &str) -> Self {
        let head = target.split('_').next().unwrap_or(target);
        Self::ALL.into_iter().find(|stage| stage.name() == head).unwrap_or(Self::Unit)
    }

    /// System packages without which it cannot run.
    pub(crate) const fn packages(self) -> &'static [Package] {
        match self {
            Self::Unit | Self::Sim | Self::Hostile => &[],
            Self::Lab => &NETWORK,
            Self::Qemu => &FIRMWARE,
            Self::Web => &BROWSER,
        }
    }

    /// Whether its tests start the program itself, which must be built before.
    pub(crate) const fn starts_program(self) -> bool {
        !matches!(self, Self::Sim)
    }

    /// Whether its tests share the machine's network or clock and run one by one, but for
    /// programs that mostly wait ([`waits`]).
    pub(crate) const fn is_serial(self) -> bool {
        matches!(self, Self::Lab | Self::Qemu | Self::Web)
    }
}

/// How many tests of a program that mostly waits run at a time.
pub(crate) const WAITING: &str = "4";

/// Whether the tests of a program mostly wait, for a peer that is silent or a time that
/// comes, and measure nothing that others beside them could spoil.
pub(crate) fn waits(target: &str) -> bool {
    target == "lab_journey"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_test_program_tells_its_stage() {
        assert_eq!(Stage::of("sim_losses"), Stage::Sim);
        assert_eq!(Stage::of("hostile"), Stage::Hostile);
        assert_eq!(Stage::of("simple"), Stage::Unit);
        assert_eq!(Stage::of("power_cut"), Stage::Unit);
    }
}
