//! What people at a receiver ask for, and what they are answered: groups that
//! they may join, and their accounts.
//!
//! None of it changes what a receiver trusts: a membership counts by its
//! certificate alone. The order of variants and fields *is* the wire format.

use serde::{Deserialize, Serialize};

use crate::ids::GroupId;

/// Most groups in one page of a list.
pub const MAX_LISTED: usize = 12;
/// Longest reason of a denial in bytes.
pub const MAX_REASON: usize = 200;
/// Longest password in bytes.
pub const MAX_PASSWORD: usize = 128;

/// How a receiver stands to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// It has not asked.
    None,
    /// It has asked, and nobody has decided.
    Asked,
    /// It has asked, and an admin has denied it.
    Denied,
    /// It is a member.
    Member,
}

/// A group that a receiver may ask to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available<'a> {
    /// The group.
    pub group: GroupId,
    /// Its name, at most `MAX_NAME` bytes.
    pub name: &'a str,
    /// Whether one is in at once, without approval.
    pub open: bool,
    /// How the receiver stands to it.
    pub relation: Relation,
}

/// What became of a request to join or to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer<'a> {
    /// A member now, or before: the certificate comes by itself.
    Member,
    /// Durably noted; an admin decides.
    Asked,
    /// An admin has denied it.
    Denied {
        /// Why, in the admin's words, at most [`MAX_REASON`] bytes.
        reason: &'a str,
    },
    /// Neither a member nor asking any more.
    Left,
    /// There is no such group.
    Unknown,
    /// Too many requests wait already.
    Full,
    /// Asked too often; later it may do.
    Later,
}

/// What became of a login or of a change of password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountAnswer {
    /// The account stands behind this receiver now.
    LoggedIn,
    /// The password is the new one.
    Changed,
    /// No such account, or another password: which of the two is not told.
    Refused,
    /// Too many attempts, of this account or from this address.
    Later,
    /// The new password is too short, too long, or the account's own name.
    Weak,
    /// The server's catalog was restored from a copy and is not confirmed yet: whom it takes
    /// in, by login or by token, waits for that. A Welcome follows it.
    Suspended,
}
