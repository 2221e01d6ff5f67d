//! Accounts: people, what they may do, which receivers they stand behind.
//!
//! Whoever logs in at a receiver is checked elsewhere, since that takes time:
//! [`ServerNode::poll_password_check`] hands the work out, and
//! [`ServerNode::password_checked`] takes what came of it.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::ids::{PeerSlot, ReceiverId};
use fleetcast_core::limits::MAX_NAME;
use fleetcast_core::time::Instant;
use fleetcast_core::wire::control::{Down, Standing, Up};
use fleetcast_core::wire::people::{AccountAnswer, MAX_PASSWORD};

use super::ServerNode;
use super::logins::Attempt;
use crate::accounts::{PasswordCheck, PasswordChecked, check_name, folded, is_strong};
use crate::error::Failure;
use crate::model::{AccountRecord, ReceiverRecord, Role};
use crate::status::AccountItem;
use crate::units::quoted;

/// Accounts of a fleet at most.
const MAX_ACCOUNTS: usize = 10_000;
/// Checks that wait at a time.
const MAX_CHECKS: usize = 64;

impl<A: Aead> ServerNode<A> {
    // --- what admins do ---

    /// All accounts, by name.
    #[must_use]
    pub fn account_items(&self) -> Vec<AccountItem> {
        let mut items: Vec<_> = self.registry.accounts().map(|a| self.account_item(a)).collect();
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        items
    }

    /// What lists show of an account.
    pub(super) fn account_item(&self, account: &AccountRecord) -> AccountItem {
        let owned = |r: &&ReceiverRecord| r.owner.as_deref() == Some(account.name.as_str());
        let mut receivers: Vec<String> =
            self.registry.receivers().filter(owned).map(|r| r.name.clone()).collect();
        receivers.sort_unstable();
        AccountItem {
            name: account.name.clone(),
            role: account.role,
            created: account.created,
            changed: account.changed,
            receivers,
        }
    }

    /// Makes an account; `password` is the hash of its password.
    ///
    /// # Errors
    /// `user-exists`, `name-unsafe`, `users-full`.
    pub fn add_account(
        &mut self,
        actor: &str,
        name: &str,
        role: Role,
        password: String,
    ) -> Result<AccountItem, Failure> {
        check_name(name)?;
        if self.registry.account(&folded(name)).is_some() {
            let message = format!("there is an account {} already", quoted(name));
            return Err(Failure::failed("user-exists", message, "choose another name"));
        }
        if self.registry.accounts().count() >= MAX_ACCOUNTS {
            let message = format!("there are {MAX_ACCOUNTS} accounts already");
            return Err(Failure::failed("users-full", message, "fleetcast users remove"));
        }
        let now = self.registry.time();
        let record =
            AccountRecord { name: name.to_owned(), role, password, created: now, changed: now };
        let item = self.account_item(&record);
        self.registry.put_account(record);
        self.registry.log(actor, "user-added", name, role.word());
        Ok(item)
    }

    /// Changes an account: its role, or the hash of its password. Again is fine.
    ///
    /// # Errors
    /// `user-unknown`.
    pub fn change_account(
        &mut self,
        actor: &str,
        name: &str,
        role: Option<Role>,
        password: Option<String>,
    ) -> Result<AccountItem, Failure> {
        let mut record = self.known_account(name)?.clone();
        if let Some(role) = role.filter(|role| *role != record.role) {
            record.role = role;
            self.registry.log(actor, "user-role-changed", &record.name, role.word());
        }
        if let Some(password) = password {
            record.password = password;
            self.end_logins(&record.name);
            self.registry.log(actor, "user-password-changed", &record.name, "ok");
        }
        record.changed = self.registry.time();
        let item = self.account_item(&record);
        self.registry.put_account(record);
        Ok(item)
    }

    /// Forgets an account; the receivers that it stood behind stay.
    ///
    /// # Errors
    /// `user-unknown`.
    pub fn remove_account(&mut self, actor: &str, name: &str) -> Result<AccountItem, Failure> {
        let record = self.known_account(name)?.clone();
        let item = self.account_item(&record);
        let owned: Vec<ReceiverRecord> = self
            .registry
            .receivers()
            .filter(|r| r.owner.as_deref() == Some(record.name.as_str()))
            .cloned()
            .collect();
        for receiver in owned {
            self.registry.put_receiver(ReceiverRecord { owner: None, ..receiver });
        }
        self.end_tokens(&record.name);
        self.registry.remove_account(&folded(name));
        self.registry.log(actor, "user-removed", &record.name, "ok");
        Ok(item)
    }

    /// The account of this name.
    pub(super) fn known_account(&self, name: &str) -> Result<&AccountRecord, Failure> {
        self.registry.account(&folded(name)).ok_or_else(|| {
            let message = format!("there is no account {}", quoted(name));
            Failure::failed("user-unknown", message, "fleetcast users list")
        })
    }

    // --- what people at receivers do ---

    /// PROTOCOL G5: takes a login or a change of password, to be checked elsewhere.
    pub(super) fn on_account(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        id: ReceiverId,
        message: &Up<'_>,
    ) {
        let (user, password, new) = match *message {
            Up::Login { user, password } => (user, password, None),
            Up::Password { user, password, new } => (user, password, Some(new)),
            _ => return,
        };
        if self.in_doubt().is_some() {
            return self.put_off(now, slot);
        }
        let answer = if user.len() > MAX_NAME || password.len() > MAX_PASSWORD {
            // No account has these, whatever its name.
            Some(AccountAnswer::Refused)
        } else if new.is_some_and(|new| !is_strong(user, new)) {
            Some(AccountAnswer::Weak)
        } else {
            let password = (password.to_vec(), new.map(<[u8]>::to_vec));
            self.attempt(now, slot, id, user, password)
        };
        if let Some(answer) = answer {
            self.tell(now, slot, &Down::Account { answer });
        }
    }

    /// PROTOCOL G5: begins a check, unless too many were wrong.
    fn attempt(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        receiver: ReceiverId,
        user: &str,
        (password, new): (Vec<u8>, Option<Vec<u8>>),
    ) -> Option<AccountAnswer> {
        let account = folded(user);
        let address = self.endpoint.address(slot).map(|address| address.ip());
        let logins = &mut self.logins;
        let may = logins.take(now, Some(&account), address.as_ref());
        if !may || logins.attempts.len() >= MAX_CHECKS {
            self.log_refusal(now, receiver, user, "too many attempts");
            return Some(AccountAnswer::Later);
        }
        let kept = self.registry.account(&account).map(|record| record.password.clone());
        let logins = &mut self.logins;
        logins.number += 1;
        let (number, changes) = (logins.number, new.is_some());
        logins.waiting.push_back(PasswordCheck { number, password, kept: kept.clone(), new });
        let attempt = Attempt { number, slot, receiver, account, kept, address, changes };
        logins.attempts.push(attempt);
        None
    }

    /// The next password to be checked.
    pub fn poll_password_check(&mut self) -> Option<PasswordCheck> {
        self.logins.waiting.pop_front()
    }

    /// Takes what a check has shown.
    pub fn password_checked(&mut self, now: Instant, checked: PasswordChecked) {
        let attempts = &mut self.logins.attempts;
        let at = attempts.iter().position(|attempt| attempt.number == checked.number);
        let Some(attempt) = at.map(|at| attempts.swap_remove(at)) else { return };
        // Changed or removed in the meantime: it was checked against what does not count.
        let account = self.registry.account(&attempt.account);
        let account = account.filter(|a| Some(&a.password) == attempt.kept.as_ref()).cloned();
        let here = self.links.get(&attempt.slot).and_then(|link| link.receiver);
        let here = here == Some(attempt.receiver);
        if self.in_doubt().is_some() {
            // The doubt came up while it was checked.
            if here {
                self.put_off(now, attempt.slot);
            }
            return;
        }
        let answer = match account.filter(|_| checked.right) {
            None => {
                self.log_refusal(now, attempt.receiver, &attempt.account, "wrong name or password");
                AccountAnswer::Refused
            }
            Some(account) => {
                if let Some(address) = &attempt.address {
                    self.logins.addresses.give_back(address);
                }
                self.logins.accounts.give_back(&attempt.account);
                match checked.new {
                    Some(password) => self.change_own(account, password),
                    // There was no memory or no entropy for a new one.
                    None if attempt.changes => AccountAnswer::Later,
                    None => return self.log_in(now, &attempt, &account),
                }
            }
        };
        if here {
            self.tell(now, attempt.slot, &Down::Account { answer });
        }
    }

    fn change_own(&mut self, account: AccountRecord, password: String) -> AccountAnswer {
        let name = account.name.clone();
        let changed = self.registry.time();
        self.end_logins(&name);
        self.registry.put_account(AccountRecord { password, changed, ..account });
        self.registry.log(&name, "password-changed", &name, "ok");
        AccountAnswer::Changed
    }

    /// The account stands behind the receiver, which is taken in by that.
    fn log_in(&mut self, now: Instant, attempt: &Attempt, account: &AccountRecord) {
        let Some(record) = self.registry.receiver(&attempt.receiver).cloned() else { return };
        if record.standing == Standing::Revoked {
            return;
        }
        let (new, name) = (record.standing == Standing::Waiting, record.name.clone());
        let owner = Some(account.name.clone());
        self.registry.put_receiver(ReceiverRecord { owner, standing: Standing::Member, ..record });
        let action = if new { "enrolled-by-login" } else { "logged-in" };
        self.registry.log(&account.name, action, &name, "ok");
        if self.links.get(&attempt.slot).is_some_and(|l| l.receiver == Some(attempt.receiver)) {
            let answer = AccountAnswer::LoggedIn;
            self.tell(now, attempt.slot, &Down::Account { answer });
            if new {
                self.welcome(now, attempt.slot);
            }
        }
    }

    fn log_refusal(&mut self, now: Instant, receiver: ReceiverId, user: &str, why: &str) {
        if self.logins.lines.take(now, &()) {
            let (name, user) = (self.name_of(&receiver), self.logged_name(user));
            self.registry.log(&name, "login-refused", &user, why);
        }
    }

    /// What the log calls a name that somebody has typed: it may be a password in the
    /// wrong place, or anything, unless somebody has it.
    pub(super) fn logged_name(&self, typed: &str) -> String {
        let known = self.registry.account(&folded(typed)).map(|account| account.name.clone());
        known.unwrap_or_else(|| "an unknown name".to_owned())
    }
}
