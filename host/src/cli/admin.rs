//! `admin`: the key of the admin who works here.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use fleetcast_core::trust::document::Fingerprint;
use serde::Serialize;

use super::context::{Context, DONE, Outcome};
use super::founding::{SealBy, new_passphrase, seal_of};
use super::printer;
use crate::error::Failure;
use crate::ids::hex;
use crate::keys::{AdminKey, Keys};
use crate::state::StateDir;

/// Commands of `admin`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an admin key, on this admin's own PC; print what another admin adds it by
    Create {
        /// Write it to this new file instead of the state directory, and its public key to
        /// FILE.pub
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// What protects it [default: passphrase on a terminal, else file]
        #[arg(long, value_name = "HOW")]
        seal: Option<SealBy>,
    },
    /// Show the public half of this admin's key
    Show,
    /// Protect this admin's key in another way
    Seal {
        /// How
        #[arg(value_name = "HOW")]
        seal: SealBy,
    },
}

/// An admin key, without its secret.
#[derive(Debug, Serialize)]
struct AdminItem {
    id: String,
    key: String,
    file: String,
    /// `passphrase` or `file`.
    seal: &'static str,
}

pub(super) fn run(context: &Context, command: &Command) -> Outcome {
    let (key, file) = match command {
        Command::Create { out: Some(out), seal } => (create_at(out, *seal)?, out.clone()),
        Command::Create { out: None, seal } => (make_here(context, *seal)?, place(context)),
        Command::Show => (context.admin_key()?, place(context)),
        Command::Seal { seal } => {
            let key = context.admin_key()?;
            let passphrase = new_passphrase(Some(*seal))?;
            let keys = Keys::open(&StateDir::at(&context.state).keys())?;
            keys.store_admin(&key, seal_of(passphrase.as_deref()))?;
            (key, place(context))
        }
    };
    tell(context, &key, &file)
}

fn tell(context: &Context, key: &AdminKey, file: &Path) -> Outcome {
    let public = key.signing().verifying_key();
    let sealed = Keys::is_sealed(file)?.unwrap_or(false);
    let item = AdminItem {
        id: hex(&Fingerprint::of(&public.0).0),
        key: hex(&public.0),
        file: file.display().to_string(),
        seal: if sealed { "passphrase" } else { "file" },
    };
    printer::item(context, "admin", item, |item| format!("{}\n", item.key));
    Ok(DONE)
}

/// The admin key in the state directory, opened; `None` where there is none.
///
/// # Errors
/// Those of keys.
pub(super) fn here(context: &Context) -> Result<Option<AdminKey>, Failure> {
    match context.admin_key() {
        Ok(key) => Ok(Some(key)),
        Err(failure) if failure.code == "admin-key-missing" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Makes an admin key in the state directory.
///
/// # Errors
/// `admin-key-exists`, and those of keys.
pub(super) fn make_here(context: &Context, seal: Option<SealBy>) -> Result<AdminKey, Failure> {
    let state = StateDir::create(&context.state)?;
    let keys = Keys::open(&state.keys())?;
    if keys.admin_sealed_by_passphrase()?.is_some() {
        let message = format!("there is an admin key already: {}", place(context).display());
        let hint = "`fleetcast admin show` tells its public half; --out FILE makes another one";
        return Err(Failure::failed("admin-key-exists", message, hint));
    }
    let key = AdminKey::generate()?;
    let passphrase = new_passphrase(seal)?;
    keys.store_admin(&key, seal_of(passphrase.as_deref()))?;
    Ok(key)
}

fn create_at(out: &Path, seal: Option<SealBy>) -> Result<AdminKey, Failure> {
    let key = AdminKey::generate()?;
    let passphrase = new_passphrase(seal)?;
    Keys::write_admin(out, &key, seal_of(passphrase.as_deref()))?;
    let mut public = out.as_os_str().to_owned();
    public.push(".pub");
    let text = format!("{}\n", hex(&key.signing().verifying_key().0));
    std::fs::write(&public, text).map_err(|error| Failure::io(out.display(), &error))?;
    Ok(key)
}

fn place(context: &Context) -> PathBuf {
    StateDir::at(&context.state).keys().join("admin.key")
}
