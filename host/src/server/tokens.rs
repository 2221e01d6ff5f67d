//! Tokens of accounts, and logins by password: who somebody is that comes over the network.
//!
//! Whoever shows a token has the rights that its account has at that moment: there is
//! nothing to be told when a role changes or an account goes.

use std::net::{IpAddr, Ipv6Addr};

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::digest::Digest;
use fleetcast_core::limits::MAX_NAME;
use fleetcast_core::time::Instant;

use super::ServerNode;
use crate::accounts::{check_name, folded};
use crate::error::Failure;
use crate::files;
use crate::model::{AccountRecord, ReceiverRecord, Role, TokenRecord, UnixTime};
use crate::status::{AccountItem, TokenItem};
use crate::units::quoted;

/// Why a login was refused.
const WRONG: &str = "wrong name or password";
/// Tokens of an account at most.
const MAX_TOKENS: usize = 64;
/// Of these, by logins: a new one takes the place of the oldest.
const MAX_LOGINS: usize = 16;

/// Somebody who has shown a token that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Name of the account.
    pub account: String,
    /// What it may do now.
    pub role: Role,
    /// Hash of the token.
    pub token: Digest,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its SHA-256.
    pub hash: Digest,
    /// What it is for.
    pub name: String,
    /// Whether a login makes it.
    pub login: bool,
    /// How long it counts, in seconds.
    pub seconds: u64,
}

impl<A: Aead> ServerNode<A> {
    // --- tokens that are shown ---

    /// Who shows the token with this hash.
    ///
    /// # Errors
    /// `token-refused`, `token-expired`; `catalog-in-doubt`: it may have been revoked
    /// after the copy was made that the catalog comes from.
    pub fn bearer(&mut self, hash: &Digest) -> Result<Bearer, Failure> {
        let record = self.registry.token_of(hash);
        let account = record.and_then(|token| self.registry.account(&folded(&token.account)));
        let (Some(record), Some(account)) = (record, account) else {
            let hint = "it was mistyped or revoked: `fleetcast login`, or ask an admin for another";
            return Err(Failure::failed("token-refused", "the token does not count", hint));
        };
        if self.registry.time() >= record.expires {
            let hint = "`fleetcast login`, or ask an admin for another";
            return Err(Failure::failed("token-expired", "the token has expired", hint));
        }
        self.check_undoubted()?;
        let bearer = Bearer { account: account.name.clone(), role: account.role, token: *hash };
        self.registry.use_token(hash);
        Ok(bearer)
    }

    /// Counts and logs a token that was refused; `false`: there were too many from there.
    pub fn token_refused(&mut self, now: Instant, from: IpAddr, why: &str) -> bool {
        let heard = self.logins.tokens.take(now, &counted(from));
        if heard && self.logins.lines.take(now, &()) {
            self.registry.log(&from.to_string(), "token-refused", "", why);
        }
        heard
    }

    fn check_undoubted(&self) -> Result<(), Failure> {
        if self.in_doubt().is_none() {
            return Ok(());
        }
        let message = "the catalog was restored from an older copy: nobody is heard from \
                       elsewhere before somebody has looked at it";
        let hint = "at the server: `fleetcast restore --confirm`; it ends all tokens";
        Err(Failure::failed("catalog-in-doubt", message, hint))
    }

    // --- logins ---

    /// Begins a login: the hash that its password is to be compared with, which is
    /// done elsewhere; `None`: nobody has that name, and comparing costs as much.
    ///
    /// # Errors
    /// `login-limited`; `login-refused`: no account can have that name.
    pub fn begin_login(
        &mut self,
        now: Instant,
        user: &str,
        from: Option<IpAddr>,
    ) -> Result<Option<String>, Failure> {
        // No account has a longer name: it is not kept, not even to be counted.
        let account = (user.len() <= MAX_NAME).then(|| folded(user));
        let from = from.map(counted);
        if !self.logins.take(now, account.as_ref(), from.as_ref()) {
            self.log_login(now, user, from, "too many attempts");
            let hint = "wait a minute; who has forgotten a password asks an admin";
            let message = "there were too many wrong passwords";
            return Err(Failure::failed("login-limited", message, hint));
        }
        let Some(account) = account else {
            self.log_login(now, "", from, WRONG);
            return Err(wrong());
        };
        Ok(self.registry.account(&account).map(|record| record.password.clone()))
    }

    /// Ends it: `right` says whether the password has the hash `kept`.
    ///
    /// # Errors
    /// `login-refused`.
    pub fn end_login(
        &mut self,
        now: Instant,
        user: &str,
        from: Option<IpAddr>,
        (kept, right): (Option<String>, bool),
    ) -> Result<Bearer, Failure> {
        let (name, from) = (folded(user), from.map(counted));
        // Changed or removed in the meantime: it was compared with what does not count.
        let account = self.registry.account(&name);
        let account = account.filter(|a| right && Some(&a.password) == kept.as_ref());
        let Some(account) = account.map(|a| (a.name.clone(), a.role)) else {
            self.log_login(now, user, from, WRONG);
            return Err(wrong());
        };
        self.logins.accounts.give_back(&name);
        if let Some(from) = &from {
            self.logins.addresses.give_back(from);
        }
        Ok(Bearer { account: account.0, role: account.1, token: Digest([0; 32]) })
    }

    fn log_login(&mut self, now: Instant, user: &str, from: Option<IpAddr>, why: &str) {
        if self.logins.lines.take(now, &()) {
            let from = from.map_or_else(|| "this machine".to_owned(), |from| from.to_string());
            let user = self.logged_name(user);
            self.registry.log(&from, "login-refused", &user, why);
        }
    }

    // --- making and taking back ---

    /// Makes a token of an account.
    ///
    /// # Errors
    /// `user-unknown`, `name-unsafe`, `tokens-full`.
    pub fn add_token(
        &mut self,
        actor: &str,
        account: &str,
        new: NewToken,
    ) -> Result<(TokenItem, Role), Failure> {
        let AccountRecord { name: account, role, .. } = self.known_account(account)?.clone();
        if !new.name.is_empty() {
            files::check_given(&new.name)?;
        }
        self.sweep_tokens();
        if new.login {
            self.make_room_for_login(&account);
        }
        if self.registry.tokens().filter(|token| token.account == account).count() >= MAX_TOKENS {
            let message = format!("{} has {MAX_TOKENS} tokens already", quoted(&account));
            return Err(Failure::failed("tokens-full", message, "fleetcast users token revoke ID"));
        }
        let now = self.registry.time();
        let record = TokenRecord {
            hash: new.hash,
            account,
            name: new.name,
            login: new.login,
            created: now,
            expires: now.saturating_add(new.seconds),
            used: 0,
        };
        let action = if new.login { "logged-in" } else { "token-made" };
        let result = if record.name.is_empty() { record.id() } else { record.name.clone() };
        self.registry.log(actor, action, &record.account, &result);
        let item = token_item(&record);
        self.registry.put_token(record);
        Ok((item, role))
    }

    /// Tokens of an account, or all, the newest first.
    #[must_use]
    pub fn token_items(&self, of: Option<&str>) -> Vec<TokenItem> {
        let tokens = self.registry.tokens().filter(|token| of.is_none_or(|of| token.account == of));
        let mut items: Vec<TokenItem> = tokens.map(token_item).collect();
        items.sort_unstable_by(|a, b| (b.created, &a.id).cmp(&(a.created, &b.id)));
        items
    }

    /// Takes a token back, by its public name; one of the account `of` only, where given.
    ///
    /// # Errors
    /// `token-unknown`.
    pub fn revoke_token(
        &mut self,
        actor: &str,
        id: &str,
        of: Option<&str>,
    ) -> Result<TokenItem, Failure> {
        let own = |token: &&TokenRecord| of.is_none_or(|of| token.account == of);
        let found = self.registry.tokens().filter(own).find(|token| token.id() == id).cloned();
        let Some(record) = found else {
            let message = format!("there is no token {}", quoted(id));
            return Err(Failure::failed("token-unknown", message, "fleetcast users token list"));
        };
        self.registry.remove_token(&record.hash);
        let action = if record.login { "logged-out" } else { "token-revoked" };
        self.registry.log(actor, action, &record.account, &record.id());
        Ok(token_item(&record))
    }

    /// Ends what an account's password has opened.
    pub(super) fn end_logins(&mut self, account: &str) {
        self.drop_tokens(|token| token.login && token.account == account);
    }

    /// Ends all tokens of an account.
    pub(super) fn end_tokens(&mut self, account: &str) {
        self.drop_tokens(|token| token.account == account);
    }

    /// Ends all tokens.
    pub(super) fn forget_tokens(&mut self, actor: &str) {
        if self.drop_tokens(|_| true) > 0 {
            self.registry.log(actor, "tokens-revoked", "", "all");
        }
    }

    fn drop_tokens(&mut self, which: impl Fn(&TokenRecord) -> bool) -> usize {
        let tokens = self.registry.tokens().filter(|token| which(token));
        let gone: Vec<Digest> = tokens.map(|token| token.hash).collect();
        gone.iter().filter(|hash| self.registry.remove_token(hash)).count()
    }

    /// Forgets what has expired.
    fn sweep_tokens(&mut self) {
        let now = self.registry.time();
        self.drop_tokens(|token| now >= token.expires);
    }

    fn make_room_for_login(&mut self, account: &str) {
        let of_them = |token: &&TokenRecord| token.login && token.account == account;
        let mut logins: Vec<(UnixTime, Digest)> = self
            .registry
            .tokens()
            .filter(of_them)
            .map(|token| (token.created, token.hash))
            .collect();
        logins.sort_unstable();
        let many = (logins.len() + 1).saturating_sub(MAX_LOGINS);
        for (_, hash) in logins.iter().take(many) {
            self.registry.remove_token(hash);
        }
    }

    // --- names ---

    /// Renames an account; its tokens and receivers stay with it.
    ///
    /// # Errors
    /// `user-unknown`, `user-exists`, `name-unsafe`.
    pub fn rename_account(
        &mut self,
        actor: &str,
        name: &str,
        to: &str,
    ) -> Result<AccountItem, Failure> {
        check_name(to)?;
        let record = self.known_account(name)?.clone();
        let (old, new) = (folded(&record.name), folded(to));
        if old != new && self.registry.account(&new).is_some() {
            let message = format!("there is an account {} already", quoted(to));
            return Err(Failure::failed("user-exists", message, "choose another name"));
        }
        let owned: Vec<ReceiverRecord> = self
            .registry
            .receivers()
            .filter(|receiver| receiver.owner.as_deref() == Some(record.name.as_str()))
            .cloned()
            .collect();
        let tokens = self.registry.tokens().filter(|token| token.account == record.name);
        let tokens: Vec<TokenRecord> = tokens.cloned().collect();
        self.registry.log(actor, "user-renamed", &record.name, to);
        self.registry.remove_account(&old);
        let changed = self.registry.time();
        let renamed = AccountRecord { name: to.to_owned(), changed, ..record };
        self.registry.put_account(renamed.clone());
        for receiver in owned {
            let owner = Some(to.to_owned());
            self.registry.put_receiver(ReceiverRecord { owner, ..receiver });
        }
        for token in tokens {
            self.registry.put_token(TokenRecord { account: to.to_owned(), ..token });
        }
        Ok(self.account_item(&renamed))
    }
}

fn wrong() -> Failure {
    let hint = "try again; who has forgotten a password asks an admin";
    Failure::failed("login-refused", WRONG, hint)
}

fn token_item(record: &TokenRecord) -> TokenItem {
    TokenItem {
        id: record.id(),
        user: record.account.clone(),
        name: record.name.clone(),
        login: record.login,
        created: record.created,
        expires: record.expires,
        used: (record.used > 0).then_some(record.used),
    }
}

/// Whom attempts are counted for: whoever has an IPv6 address has 2^64 of them.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        v4 => v4,
    }
}
