//! The part of the client that is about people: accounts, tokens, oneself.

use hyper::Method;

use super::{Client, Outcome, segment};
use crate::accounts::folded;
use crate::api::model::{
    NewLogin, NewName, NewPassword, NewRole, NewUser, OwnName, OwnPassword, OwnToken, Password,
    TokenWish,
};
use crate::error::Failure;
use crate::model::Role;
use crate::status::{AccountItem, IssuedItem, Item, MeItem, TokenItem};
use crate::units::quoted;

impl Client {
    /// All accounts.
    pub fn users(&self) -> Outcome<Vec<AccountItem>> {
        self.items("/users")
    }

    /// An account.
    pub fn user(&self, name: &str) -> Outcome<AccountItem> {
        let same = |user: &AccountItem| folded(&user.name) == folded(name);
        self.users()?.into_iter().find(same).ok_or_else(|| {
            let message = format!("there is no account {}", quoted(name));
            Failure::failed("user-unknown", message, "fleetcast users list")
        })
    }

    /// Makes an account.
    pub fn add_user(&self, name: &str, role: Role, password: String) -> Outcome<AccountItem> {
        let user = NewUser { name: name.to_owned(), role, password: Password(password) };
        self.post::<Item<AccountItem>>("/users", &user).map(|document| document.item)
    }

    /// Gives an account another password.
    pub fn set_password(&self, name: &str, password: String) -> Outcome<AccountItem> {
        let path = format!("/users/{}/password", segment(name));
        let new = NewPassword { password: Password(password) };
        self.post::<Item<AccountItem>>(&path, &new).map(|document| document.item)
    }

    /// Gives an account another role.
    pub fn set_role(&self, name: &str, role: Role) -> Outcome<AccountItem> {
        let path = format!("/users/{}/role", segment(name));
        self.post::<Item<AccountItem>>(&path, &NewRole { role }).map(|document| document.item)
    }

    /// Removes an account.
    pub fn remove_user(&self, name: &str) -> Outcome<AccountItem> {
        let path = format!("/users/{}", segment(name));
        self.send::<Item<AccountItem>>(Method::DELETE, &path).map(|document| document.item)
    }

    /// Renames an account.
    pub fn rename_user(&self, name: &str, to: &str) -> Outcome<AccountItem> {
        let path = format!("/users/{}/name", segment(name));
        self.item(&path, &NewName { name: to.to_owned() })
    }

    // --- tokens ---

    /// All tokens.
    pub fn tokens(&self) -> Outcome<Vec<TokenItem>> {
        self.items("/tokens")
    }

    /// Makes a token of an account, which counts so many seconds.
    pub fn add_token(&self, user: &str, name: &str, seconds: u64) -> Outcome<IssuedItem> {
        let path = format!("/users/{}/tokens", segment(user));
        self.item(&path, &TokenWish { name: name.to_owned(), seconds })
    }

    /// Takes a token back.
    pub fn revoke_token(&self, id: &str) -> Outcome<TokenItem> {
        self.item(&format!("/tokens/{}/revoke", segment(id)), &())
    }

    // --- oneself ---

    /// Who I am.
    pub fn me(&self) -> Outcome<MeItem> {
        self.get::<Item<MeItem>>("/me").map(|document| document.item)
    }

    /// A token by a password.
    pub fn log_in(&self, user: &str, password: String) -> Outcome<IssuedItem> {
        self.item("/login", &NewLogin { user: user.to_owned(), password: Password(password) })
    }

    /// Ends the token that is shown.
    pub fn log_out(&self) -> Outcome<TokenItem> {
        self.item("/logout", &())
    }

    /// Gives my account another password.
    pub fn set_own_password(&self, present: String, password: String) -> Outcome<AccountItem> {
        let (present, password) = (Password(present), Password(password));
        self.item("/me/password", &OwnPassword { present, password })
    }

    /// Renames my account.
    pub fn rename_me(&self, to: &str, password: String) -> Outcome<AccountItem> {
        self.item("/me/name", &OwnName { name: to.to_owned(), password: Password(password) })
    }

    /// My tokens.
    pub fn own_tokens(&self) -> Outcome<Vec<TokenItem>> {
        self.items("/me/tokens")
    }

    /// Makes a token of mine.
    pub fn add_own_token(&self, name: &str, seconds: u64, password: String) -> Outcome<IssuedItem> {
        let (name, password) = (name.to_owned(), Password(password));
        self.item("/me/tokens", &OwnToken { name, seconds, password })
    }

    /// Takes a token of mine back.
    pub fn revoke_own_token(&self, id: &str) -> Outcome<TokenItem> {
        self.item(&format!("/me/tokens/{}/revoke", segment(id)), &())
    }

    /// The one item that a request is answered with.
    fn item<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Outcome<T> {
        self.post::<Item<T>>(path, body).map(|document| document.item)
    }
}
