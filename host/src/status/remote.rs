//! What remote use shows: tokens, who somebody is, where the API is.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Role, UnixTime};
use crate::units::{Moment, maybe_time, rfc3339};

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenItem {
    /// Its public name: 12 hex digits.
    pub id: String,
    /// The account whose rights it has.
    pub user: String,
    /// What it is for, or empty.
    pub name: String,
    /// It was made by a login, and ends when the account's password changes.
    pub login: bool,
    /// When it was made.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub created: UnixTime,
    /// When it stops counting.
    #[serde(with = "rfc3339")]
    #[schemars(with = "Moment")]
    pub expires: UnixTime,
    /// When it was shown last, within the hour, or none.
    #[serde(default, with = "maybe_time")]
    #[schemars(with = "Option<Moment>")]
    pub used: Option<UnixTime>,
}

/// A token that was made just now: the only time that its secret is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuedItem {
    /// The token, for `FLEETCAST_TOKEN` or the header `Authorization: Bearer`.
    pub token: String,
    /// What its account may do.
    pub role: Role,
    /// What lists show of it.
    #[serde(flatten)]
    pub item: TokenItem,
}

/// Secrets are never printed.
impl fmt::Debug for IssuedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedItem({:?}, …)", self.item)
    }
}

/// Who somebody is to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MeItem {
    /// Name of the account; `admin` for the owner of the server's socket.
    pub user: String,
    /// What the person may do.
    pub role: Role,
    /// Came by the server's own socket, as the owner of its state directory.
    pub owner: bool,
    /// The token that was shown, or none.
    pub token: Option<TokenItem>,
    /// Where others reach the API, or none where remote use is off.
    pub api: Option<ApiItem>,
}

/// Where the API is for other machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiItem {
    /// Address that it listens at.
    pub listen: String,
    /// SHA-256 of its certificate in lower-case hex; empty for plain HTTP on loopback.
    pub fingerprint: String,
}
