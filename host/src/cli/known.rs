//! Whether names that only choose what is shown are names of anything: a mistake in one
//! would otherwise look like a fleet in which nothing happened.

use crate::api::client::Client;
use crate::error::Failure;
use crate::units::quoted;

/// Checks that there is such a group.
///
/// # Errors
/// `group-unknown`, and as the server says.
pub(super) fn group(client: &Client, name: &str) -> Result<(), Failure> {
    if client.groups()?.iter().any(|group| group.name == name) {
        return Ok(());
    }
    let message = format!("there is no group {}, and there was none", quoted(name));
    Err(Failure::failed("group-unknown", message, "fleetcast groups list"))
}

/// Checks that there is such a receiver.
///
/// # Errors
/// `receiver-unknown`, and as the server says.
pub(super) fn receiver(client: &Client, name: &str) -> Result<(), Failure> {
    if client.receivers()?.iter().any(|receiver| receiver.name == name) {
        return Ok(());
    }
    let message = format!("there is no receiver {}, and there was none", quoted(name));
    Err(Failure::failed("receiver-unknown", message, "fleetcast receivers list"))
}

/// Checks that somebody of this name could do something: an account, a receiver.
///
/// # Errors
/// `actor-unknown`, and as the server says.
pub(super) fn actor(client: &Client, name: &str) -> Result<(), Failure> {
    // Not everybody may see the accounts.
    let accounts = client.users().unwrap_or_default();
    if accounts.iter().any(|account| account.name == name)
        || client.receivers()?.iter().any(|receiver| receiver.name == name)
    {
        return Ok(());
    }
    let message = format!("nobody called {} has done anything, or could", quoted(name));
    let hint = "`fleetcast users list` and `fleetcast receivers list` name who there is; \
        without a filter the log shows under which names things were done";
    Err(Failure::failed("actor-unknown", message, hint))
}
