//! The first admin's account, for logins from other machines. There is no default one.

use super::context::{Context, on_terminal};
use super::password::new_password;
use super::{printer, prompt};
use crate::accounts::{check_name, hash, is_strong, weak};
use crate::driver::server::ServerHandle;
use crate::error::Failure;
use crate::model::Role;

/// How often a person may choose names and passwords that will not do.
const TRIES: usize = 3;

/// Where nobody could log in from elsewhere: asks for an account when a `new` fleet has
/// somebody in front of it, else says how to make one.
///
/// # Errors
/// Those of the account and of the terminal.
pub(super) async fn first_admin(
    context: &Context,
    server: &ServerHandle,
    new: bool,
) -> Result<(), Failure> {
    let admins = server.run(|node, _| {
        node.account_items().iter().filter(|account| account.role == Role::Admin).count()
    });
    if admins.await? > 0 {
        return Ok(());
    }
    let wish = if new && on_terminal() { ask(context)? } else { None };
    let Some((name, password)) = wish else {
        let how = "nobody can log in from another machine yet: \
                   fleetcast users add NAME --role admin";
        printer::say(context, how);
        return Ok(());
    };
    let kept = hash(password.as_bytes())?;
    let added = server.run(move |node, _| node.add_account("admin", &name, Role::Admin, kept));
    added.await??;
    Ok(())
}

/// A name and a password; `None`: the person wants no account.
fn ask(context: &Context) -> Result<Option<(String, String)>, Failure> {
    printer::say(context, "Other machines log in by an account; the first one is an admin's.");
    for _ in 0..TRIES {
        let name = prompt::line("Its name (empty: none now): ")?;
        if name.is_empty() {
            return Ok(None);
        }
        let wish = check_name(&name).and_then(|()| new_password("Its password: "));
        match wish {
            Ok(password) if is_strong(&name, password.as_bytes()) => {
                return Ok(Some((name, password)));
            }
            Ok(_) => printer::failure(&weak(), false),
            Err(failure) => printer::failure(&failure, false),
        }
    }
    Ok(None)
}
