//! `users`: accounts of people.

use clap::{Subcommand, ValueEnum};

use super::context::{Context, DONE, Outcome};
use super::password::{new_password, old_and_new, password};
use super::table::Table;
use super::{printer, tokens};
use crate::accounts::{check_name, folded, is_strong, weak};
use crate::api::client::Client;
use crate::error::Failure;
use crate::model::Role;
use crate::status::AccountItem;
use crate::units::{format_time, printable, quoted};

/// What a person may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RoleName {
    /// Distributes and manages: everything
    Admin,
    /// Looks at everything but contents and accounts, and pings; changes nothing
    Operator,
    /// Stands behind receivers; here has to do with the own account only
    Member,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Operator => Self::Operator,
            RoleName::Member => Self::Member,
        }
    }
}

/// Commands of `users`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; its password is asked for, or read from the file that
    /// FLEETCAST_PASSPHRASE_FILE names, or from standard input
    Add {
        /// Its name
        user: String,
        /// What the person may do
        #[arg(long, value_name = "R", default_value = "member")]
        role: RoleName,
    },
    /// List all accounts
    List,
    /// Rename an account; for one's own the password is asked for
    Rename {
        /// Its name
        user: String,
        /// Its name from now on
        to: String,
    },
    /// Give an account another password, and end its logins; for one's own the present
    /// one is asked for too
    Passwd {
        /// Its name
        user: String,
    },
    /// Give an account another role; it counts at once
    Role {
        /// Its name
        user: String,
        /// What the person may do
        role: RoleName,
    },
    /// Tokens, for scripts and other machines
    #[command(subcommand)]
    Token(tokens::Command),
    /// Remove an account and its tokens; its receivers stay
    Remove {
        /// Its name
        user: String,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Outcome {
    if let Command::Token(command) = command {
        return tokens::run(context, command);
    }
    let client = context.client()?;
    match command {
        Command::Add { user, role } => {
            // Before a password is asked for.
            check_name(&user)?;
            let password = strong(&user)?;
            done(context, client.add_user(&user, role.into(), password)?, "added");
        }
        Command::List => printer::items(context, "users", client.users()?, table),
        Command::Rename { user, to } => {
            check_name(&to)?;
            let renamed = if is_me(&client, &user)? {
                client.rename_me(&to, password(&format!("Password of {}: ", printable(&user)))?)?
            } else {
                client.rename_user(&user, &to)?
            };
            done(context, renamed, &format!("renamed {} to", printable(&user)));
        }
        Command::Passwd { user } => {
            let changed = if is_me(&client, &user)? {
                let (present, new) = old_and_new()?;
                let new = if is_strong(&user, new.as_bytes()) { new } else { return Err(weak()) };
                client.set_own_password(present, new)?
            } else {
                client.user(&user)?;
                client.set_password(&user, strong(&user)?)?
            };
            done(context, changed, "changed the password of");
        }
        Command::Role { user, role } => {
            done(context, client.set_role(&user, role.into())?, "changed the role of");
        }
        Command::Remove { user } => {
            let item = client.user(&user)?;
            context.confirm(&format!("Remove the account {}?", quoted(&item.name)))?;
            done(context, client.remove_user(&item.name)?, "removed");
        }
        // It was dispatched before.
        Command::Token(_) => {}
    }
    Ok(DONE)
}

/// Whether this is the account of who asks; the owner of the server's socket has none.
fn is_me(client: &Client, user: &str) -> Result<bool, Failure> {
    let me = client.me()?;
    Ok(!me.owner && folded(&me.user) == folded(user))
}

fn strong(user: &str) -> Result<String, Failure> {
    let password = new_password(&format!("Password of {}: ", printable(user)))?;
    if is_strong(user, password.as_bytes()) { Ok(password) } else { Err(weak()) }
}

fn done(context: &Context, item: AccountItem, what: &str) {
    printer::item(context, "user", item, |user| format!("{what} {}\n", printable(&user.name)));
}

fn table(users: &[AccountItem]) -> Table {
    let hint = "no accounts yet; `fleetcast users add NAME` makes one";
    let mut table = Table::new(&["USER", "ROLE", "CREATED", "RECEIVERS"], hint);
    for user in users {
        table.row([
            user.name.clone(),
            user.role.word().to_owned(),
            format_time(user.created),
            user.receivers.join(", "),
        ]);
    }
    table
}
