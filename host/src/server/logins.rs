//! Logins and changes of password that are being checked, and how often somebody
//! may try.

use std::collections::VecDeque;
use std::net::IpAddr;

use fleetcast_core::ids::{PeerSlot, ReceiverId};
use fleetcast_core::time::{Duration, Instant};

use super::allowance::Allowances;
use crate::accounts::PasswordCheck;

/// Names and addresses whose attempts are counted.
const COUNTED: usize = 10_000;

/// Logins under way, and how often somebody may try.
pub(super) struct Logins {
    /// Handed out to nobody yet.
    pub(super) waiting: VecDeque<PasswordCheck>,
    /// All that are under way.
    pub(super) attempts: Vec<Attempt>,
    pub(super) number: u64,
    pub(super) accounts: Allowances<String>,
    pub(super) addresses: Allowances<IpAddr>,
    /// Wrong tokens by address.
    pub(super) tokens: Allowances<IpAddr>,
    /// Lines about what was refused: nobody fills the disk with them.
    pub(super) lines: Allowances<()>,
}

/// A login, or a change of password, that is being checked.
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) slot: PeerSlot,
    pub(super) receiver: ReceiverId,
    /// The account's name, folded, and the hash that its password is compared with.
    pub(super) account: String,
    pub(super) kept: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) changes: bool,
}

impl Logins {
    /// Takes an attempt from both buckets; what is right is given back. Of a name that no
    /// account can have (`None`) only the address is counted.
    ///
    /// The address comes first: who was stopped there neither uses up what others have
    /// left nor leaves a name here. What the account's bucket stops costs nothing, and so
    /// costs the address nothing either.
    pub(super) fn take(
        &mut self,
        now: Instant,
        account: Option<&String>,
        from: Option<&IpAddr>,
    ) -> bool {
        if !from.is_none_or(|from| self.addresses.take(now, from)) {
            return false;
        }
        let may = account.is_none_or(|account| self.accounts.take(now, account));
        if let Some(from) = from.filter(|_| !may) {
            self.addresses.give_back(from);
        }
        may
    }
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            attempts: Vec::new(),
            number: 0,
            // Ten wrong ones at once, then two a minute.
            accounts: Allowances::new(10, Duration::from_secs(30), COUNTED),
            // An office may share an address.
            addresses: Allowances::new(30, Duration::from_secs(10), COUNTED),
            // A script that was forgotten shows its old token for ever.
            tokens: Allowances::new(20, Duration::from_secs(10), COUNTED),
            lines: Allowances::new(100, Duration::from_secs(10), 1),
        }
    }
}
