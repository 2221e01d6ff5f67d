//! What a server starts with: made the first time, read ever after.
//!
//! The order makes a crash harmless: keys first, then the authority document
//! that names them; what is there already is used again.

use clap::ValueEnum;
use fleetcast_core::crypto::sign::Context as Purpose;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::FleetId;
use fleetcast_core::limits::MAX_AUTHORITY;
use fleetcast_core::trust::authority::{
    AuthorityDocument, AuthorityRefused, Controller, TrustedAuthority,
};
use fleetcast_core::trust::document::{Fingerprint, SignedDocument};

use super::context::{on_terminal, passphrase};
use super::signing::signed_body;
use crate::backup::finish_restore;
use crate::catalog::Catalog;
use crate::driver::server::Founding;
use crate::error::{BACKUP, Failure};
use crate::health::Condition;
use crate::keys::{AdminKey, Keys, Node, NodeKey, Seal, random};
use crate::model::{AdminNameRecord, Change};
use crate::recovery::{NAME, RecoveryCode};
use crate::server::registry::Registry;
use crate::state::StateDir;

/// What protects a new admin key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SealBy {
    /// The mode of its file.
    File,
    /// A passphrase, asked for or in the file that `FLEETCAST_PASSPHRASE_FILE` names.
    Passphrase,
}

/// A founding, and what a person should know of it.
pub(super) struct Founded {
    pub(super) founding: Founding,
    pub(super) conditions: Vec<Condition>,
    /// The fleet was made just now.
    pub(super) new: bool,
    /// The code to be written down, where there is a person to do so.
    pub(super) recovery: Option<RecoveryCode>,
}

/// Opens the catalog of a fleet, or makes that of a new one.
///
/// # Errors
/// `catalog-missing`, `catalog-damaged`: whoever began anew under the old keys
/// would give the numbers of releases to other content.
pub(super) async fn open_catalog(state: &StateDir) -> Result<Catalog, Failure> {
    if let Some(restored) = finish_restore(state)? {
        tracing::warn!(file = %restored.file, "completed a restoration that was interrupted");
    }
    let path = state.catalog();
    let keys = || Keys::open(&state.keys());
    if state.keys().is_dir()
        && (keys()?.node(Node::Controller)?.is_some()
            || keys()?.node(Node::NextController)?.is_some())
    {
        // Keys are made after the catalog: a crash leaves none without it.
        let lost = |code, what| {
            let message = format!("{} {what}, but the keys of its fleet are here", path.display());
            Failure::failed(code, message, BACKUP)
        };
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(lost("catalog-missing", "is missing"));
            }
            Ok(found) if found.len() == 0 => return Err(lost("catalog-damaged", "is empty")),
            // What else is wrong with it shows when it is opened.
            _ => {}
        }
    }
    Ok(Catalog::open(&path).await?)
}

/// Reads keys and facts, or makes them when there are none; with `new_controller` also a
/// controller key in the place of one that is lost, which no receiver knows before an
/// authority document names it.
///
/// # Errors
/// Those of keys and catalog; `controller-key-missing`, `authority-damaged`,
/// `catalog-damaged`, `catalog-foreign`.
pub(super) async fn found(
    state: &StateDir,
    catalog: &Catalog,
    seal: Option<SealBy>,
    new_controller: bool,
) -> Result<Founded, Failure> {
    let keys = Keys::open(&state.keys())?;
    let mut snapshot = catalog.load().await?;
    let new = snapshot.authorities.is_empty();
    if new && state.packs().exists() {
        // Packs are made after the founding: there was a fleet.
        let message = format!("{} holds no fleet, but there are packs", state.catalog().display());
        return Err(Failure::failed("catalog-damaged", message, BACKUP));
    }
    let mut recovery = None;
    if new {
        let admin = admin_key(&keys, seal)?;
        let controller = keys.node_or_new(Node::Controller)?;
        // Nobody reads what a service prints, and a journal keeps it.
        recovery = if on_terminal() { Some(RecoveryCode::generate()?) } else { None };
        let spare = recovery.as_ref().map(RecoveryCode::key);
        let document = first_authority(&admin, spare.as_ref(), &controller)?;
        let mut facts = vec![Change::Authority(1, document.clone())];
        if let Some(spare) = &spare {
            let admin = Fingerprint::of(&spare.signing().verifying_key().0);
            let record = AdminNameRecord { admin, name: NAME.to_owned() };
            facts.push(Change::AdminName(record.clone()));
            snapshot.admin_names.push(record);
        }
        catalog.apply(&facts).await?;
        snapshot.authorities.push((1, document));
    }
    let chain = std::mem::take(&mut snapshot.authorities);
    let authority = trust(&chain)?;
    let controller = controller_key(&keys, &authority, new_controller)?;
    let mut conditions = Vec::new();
    if let Some(sealed) = keys.admin_sealed_by_passphrase()? {
        conditions.push(Condition::ServerHoldsAdminKey);
        if !sealed {
            conditions.push(Condition::KeyUnsealed);
        }
    }
    let founding = Founding {
        exchange_secret: controller.secret,
        signing: controller.signing(),
        registry: Registry::load(snapshot),
        authority,
        chain,
    };
    Ok(Founded { founding, conditions, new, recovery })
}

/// The key that this server answers with: the controller's, or in the place of one that is
/// lost the next controller's, whether it is named already or not.
fn controller_key(
    keys: &Keys,
    authority: &TrustedAuthority,
    new_controller: bool,
) -> Result<NodeKey, Failure> {
    let named = |key: &NodeKey| authority.controller(&key.exchange()).is_some();
    let next = keys.node(Node::NextController)?;
    if next.as_ref().is_some_and(named) {
        // A crash came before the document's last step.
        keys.promote_controller()?;
    }
    match (keys.node(Node::Controller)?, keys.node(Node::NextController)?) {
        (Some(key), _) if named(&key) => Ok(key),
        (Some(_), _) => {
            let message = "the catalog's authority document does not name this server's key";
            Err(Failure::failed("catalog-foreign", message, BACKUP))
        }
        (None, Some(next)) => Ok(next),
        (None, None) if new_controller => Ok(keys.node_or_new(Node::NextController)?),
        (None, None) => {
            let hint = "put a backup of it in its place; without one, `fleetcast serve \
                --new-controller`, and then `fleetcast authority rotate-controller`";
            let message = "the fleet's controller key is gone";
            Err(Failure::failed("controller-key-missing", message, hint))
        }
    }
}

/// The admin key: one that a crash has left, or a new one.
fn admin_key(keys: &Keys, seal: Option<SealBy>) -> Result<AdminKey, Failure> {
    if let Some(sealed) = keys.admin_sealed_by_passphrase()? {
        let passphrase = if sealed { passphrase(false)? } else { None };
        if let Some(key) = keys.admin(passphrase.as_deref())? {
            return Ok(key);
        }
    }
    let key = AdminKey::generate()?;
    let passphrase = new_passphrase(seal)?;
    keys.store_admin(&key, seal_of(passphrase.as_deref()))?;
    Ok(key)
}

/// What a new admin key is sealed by; `None`: by its file's mode only.
///
/// # Errors
/// Usage failure `passphrase-needed`, `io`, `passphrase-differs`.
pub(super) fn new_passphrase(seal: Option<SealBy>) -> Result<Option<Vec<u8>>, Failure> {
    let wants = match seal {
        Some(seal) => seal == SealBy::Passphrase,
        None => on_terminal(),
    };
    let given = if wants { passphrase(true)? } else { None };
    let given = given.filter(|secret| !secret.is_empty());
    // An empty answer at the terminal is a choice; after --seal passphrase it is a mistake.
    if given.is_none() && seal == Some(SealBy::Passphrase) {
        let hint = "name its file in FLEETCAST_PASSPHRASE_FILE, or use --seal file";
        return Err(Failure::usage("passphrase-needed", "there is no passphrase", hint));
    }
    Ok(given)
}

/// The seal of a passphrase, or of none.
pub(super) fn seal_of(passphrase: Option<&[u8]>) -> Seal<'_> {
    passphrase.map_or(Seal::File, Seal::Passphrase)
}

/// Version 1: one admin and perhaps a recovery code, one controller, a random fleet.
fn first_authority(
    admin: &AdminKey,
    spare: Option<&AdminKey>,
    controller: &NodeKey,
) -> Result<Vec<u8>, Failure> {
    let pair = Controller {
        exchange: controller.exchange(),
        signing: controller.signing().verifying_key(),
    };
    let document = AuthorityDocument {
        version: 1,
        fleet: FleetId(random()?),
        admins: [Some(admin), spare]
            .into_iter()
            .flatten()
            .map(|key| key.signing().verifying_key())
            .collect(),
        threshold: 1,
        controllers: [pair].into_iter().collect(),
        roles: Default::default(),
        revoked: Default::default(),
        reset_epoch: 0,
    };
    let mut body = [0; MAX_AUTHORITY];
    let length = document.encode(&mut body).map_err(|fault| damaged(&fault))?;
    signed_body(&body[..length], Purpose::Authority, &admin.signing())
}

/// The chain's last document. Its first one is believed: it lies in our own catalog.
fn trust(chain: &[(u32, Vec<u8>)]) -> Result<TrustedAuthority, Failure> {
    let none = || damaged(&AuthorityRefused::VersionZero);
    let ((_, first), later) = chain.split_first().ok_or_else(none)?;
    let authority =
        TrustedAuthority::pin(first, digest(first)?).map_err(|fault| damaged(&fault))?;
    later.iter().try_fold(authority, |authority, (_, document)| {
        authority.advance(document).map_err(|fault| damaged(&fault))
    })
}

fn digest(document: &[u8]) -> Result<Digest, Failure> {
    let signed = SignedDocument::parse(document, MAX_AUTHORITY);
    let signed = signed.map_err(|fault| damaged(&AuthorityRefused::Malformed(fault)))?;
    Ok(signed.digest(Purpose::Authority))
}

fn damaged(fault: &AuthorityRefused) -> Failure {
    let message = format!("the fleet's authority document is damaged: {fault:?}");
    Failure::failed("authority-damaged", message, BACKUP)
}
