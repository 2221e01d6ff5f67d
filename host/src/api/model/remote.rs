//! Bodies of what remote use asks for: logins, tokens, one's own account.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Role;

/// How long a token counts at most, in seconds: ten years.
pub const MAX_TOKEN_SECONDS: u64 = 10 * 366 * 24 * 3_600;

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureBody {
    /// 1.
    pub schema: u32,
    /// `error`.
    pub kind: String,
    /// A short code such as `group-unknown`.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// A password on its way: never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// `POST /users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewUser {
    /// Its name.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// Its password.
    pub password: Password,
}

/// `POST /users/{user}/password`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewPassword {
    /// The password from now on.
    pub password: Password,
}

/// `POST /users/{user}/role`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewRole {
    /// The role from now on.
    pub role: Role,
}

/// `POST /login`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewLogin {
    /// Name of the account.
    pub user: String,
    /// Its password.
    pub password: Password,
}

/// `POST /users/{user}/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenWish {
    /// What it is for; may be empty.
    pub name: String,
    /// How long it is to count, in seconds, from 1 to [`MAX_TOKEN_SECONDS`].
    pub seconds: u64,
}

/// `POST /me/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnToken {
    /// What it is for; may be empty.
    pub name: String,
    /// How long it is to count, in seconds, from 1 to [`MAX_TOKEN_SECONDS`].
    pub seconds: u64,
    /// The account's password: a token alone makes no further ones.
    pub password: Password,
}

/// `POST /me/password`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnPassword {
    /// The password until now.
    pub present: Password,
    /// The password from now on.
    pub password: Password,
}

/// `POST /me/name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnName {
    /// The name from now on.
    pub name: String,
    /// The account's password.
    pub password: Password,
}
