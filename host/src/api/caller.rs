//! Who asks: told by the door through which a request came, and by its token.

use std::net::IpAddr;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::refusal::Refusal;
use crate::error::Failure;
use crate::model::Role;
use crate::server::tokens::Bearer;

/// Who the owner of the state directory is in the log.
const OWNER: &str = "admin";

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// The owner of the state directory, by the socket there.
    Owner,
    /// A person, from this address.
    Person(Bearer, IpAddr),
    /// Nobody known, from this address, and why.
    Nobody(Failure, IpAddr),
}

impl Caller {
    /// The name for the log.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Owner => OWNER,
            Self::Person(bearer, _) => &bearer.account,
            Self::Nobody(..) => "nobody",
        }
    }

    /// What this caller may do; `None`: nothing.
    pub(super) const fn role(&self) -> Option<Role> {
        match self {
            Self::Owner => Some(Role::Admin),
            Self::Person(bearer, _) => Some(bearer.role),
            Self::Nobody(..) => None,
        }
    }

    /// From where, when from elsewhere.
    pub(super) const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Owner => None,
            Self::Person(_, from) | Self::Nobody(_, from) => Some(*from),
        }
    }
}

/// The name of who asks, for the log.
#[derive(Clone, Debug)]
pub(super) struct Actor(String);

impl Deref for Actor {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // Every door says who came through it: without that nobody is let in.
        let unknown =
            || Failure::failed("internal", "nobody knows who asks", "tell the developers");
        parts.extensions.get().cloned().ok_or_else(|| unknown().into())
    }
}

impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, state).await?;
        Ok(Self(caller.name().to_owned()))
    }
}
