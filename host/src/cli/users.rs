//! `users`: accounts of people.

use clap::{Subcommand, ValueEnum};

use super::context::{Context, DONE, Outcome};
use super::password::new_password;
use super::printer;
use super::table::Table;
use crate::accounts::{check_name, is_strong, weak};
use crate::model::Role;
use crate::status::AccountItem;
use crate::units::{format_time, printable, quoted};

/// What a person may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RoleName {
    /// Distributes and manages
    Admin,
    /// Watches, and proposes approvals
    Operator,
    /// Stands behind receivers, and asks for them
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
    /// Give an account another password
    Passwd {
        /// Its name
        user: String,
    },
    /// Give an account another role
    Role {
        /// Its name
        user: String,
        /// What the person may do
        role: RoleName,
    },
    /// Remove an account; its receivers stay
    Remove {
        /// Its name
        user: String,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client()?;
    match command {
        Command::Add { user, role } => {
            // Before a password is asked for.
            check_name(&user)?;
            let password = strong(&user)?;
            done(context, client.add_user(&user, role.into(), password)?, "added");
        }
        Command::List => printer::items(context, "users", client.users()?, table),
        Command::Passwd { user } => {
            client.user(&user)?;
            let password = strong(&user)?;
            done(context, client.set_password(&user, password)?, "changed the password of");
        }
        Command::Role { user, role } => {
            done(context, client.set_role(&user, role.into())?, "changed the role of");
        }
        Command::Remove { user } => {
            let item = client.user(&user)?;
            context.confirm(&format!("Remove the account {}?", quoted(&item.name)))?;
            done(context, client.remove_user(&item.name)?, "removed");
        }
    }
    Ok(DONE)
}

fn strong(user: &str) -> Result<String, crate::error::Failure> {
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
