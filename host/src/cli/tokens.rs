//! `users token`: what scripts, and people on other machines, show instead of a password.

use std::time::Duration;

use clap::Subcommand;

use super::context::{Context, DONE, Outcome};
use super::password::password;
use super::printer;
use super::table::Table;
use crate::accounts::folded;
use crate::api::client::Client;
use crate::error::Failure;
use crate::model::Role;
use crate::status::{IssuedItem, TokenItem};
use crate::units::{format_time, parse_duration, printable};

/// Commands of `users token`. Admins have to do with all tokens, others with their own.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token, and print it: this once
    Create {
        /// The account whose rights it has; for another than one's own one must be admin
        user: String,
        /// How long it counts
        #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = parse_duration)]
        expires: Duration,
        /// What it is for
        #[arg(long, value_name = "N", default_value = "")]
        name: String,
    },
    /// List tokens, without their secrets
    List,
    /// Take a token back: it counts no more, at once
    Revoke {
        /// Its ID in the list
        id: String,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Outcome {
    let client = context.client()?;
    let me = client.me()?;
    // A member of the fleet's staff asks for what is theirs.
    let admin = me.role == Role::Admin;
    let own = |user: &str| folded(user) == folded(&me.user);
    match command {
        Command::Create { user, expires, name } => {
            let prove = !admin && own(&user);
            let issued = create(&client, prove, &user, &name, expires.as_secs())?;
            printer::say(
                context,
                &format!(
                    "for {}, until {}; it is not shown again",
                    issued.item.user,
                    format_time(issued.item.expires)
                ),
            );
            printer::item(context, "token", issued, |issued| format!("{}\n", issued.token));
        }
        Command::List if admin => printer::items(context, "tokens", client.tokens()?, table),
        Command::List => printer::items(context, "tokens", client.own_tokens()?, table),
        Command::Revoke { id } => {
            let revoked =
                if admin { client.revoke_token(&id) } else { client.revoke_own_token(&id) };
            printer::item(context, "token", revoked?, |token| {
                format!("took back {} of {}\n", token.id, printable(&token.user))
            });
        }
    }
    Ok(DONE)
}

/// Admins make tokens for all; who makes an own one tells the password once more.
fn create(
    client: &Client,
    prove: bool,
    user: &str,
    name: &str,
    seconds: u64,
) -> Result<IssuedItem, Failure> {
    if !prove {
        return client.add_token(user, name, seconds);
    }
    client.add_own_token(name, seconds, password(&format!("Password of {}: ", printable(user)))?)
}

fn table(tokens: &[TokenItem]) -> Table {
    let hint = "no tokens yet; `fleetcast users token create U` makes one";
    let mut table = Table::new(&["ID", "USER", "NAME", "EXPIRES", "LAST USED"], hint);
    for token in tokens {
        table.row([
            token.id.clone(),
            token.user.clone(),
            token.name.clone(),
            format_time(token.expires),
            token.used.map_or_else(|| "never".to_owned(), format_time),
        ]);
    }
    table
}
