//! What commands name: keys, devices, changes; and signing a change that waits.

use std::path::Path;

use fleetcast_core::crypto::sign::Context as Purpose;
use fleetcast_core::ids::VerifyingKey;
use fleetcast_core::limits::MAX_AUTHORITY;
use fleetcast_core::trust::authority::AuthorityDocument;
use fleetcast_core::trust::document::{Fingerprint, SignedDocument};

use super::items::{ProposalItem, differences, document};
use super::kept::verified;
use crate::api::client::{Client, misunderstood};
use crate::api::model::authority::{AuthorityState, NewProposal, ProposalState};
use crate::cli::context::{Context, on_terminal, passphrase};
use crate::cli::printer;
use crate::cli::signing::signed_body;
use crate::error::Failure;
use crate::ids::{array, hex, signing_key, unhex};
use crate::keys::Keys;
use crate::units::{printable, quoted, quoted_path};

/// Shortest beginning of an id that names a change.
const MIN_PREFIX: usize = 6;
/// Longest file of a public key or document that is read, in bytes.
const MAX_FILE: u64 = 8_192;

/// A public key: its digits, a file of these, or a key file.
///
/// # Errors
/// `key-malformed`, `io`, and those of keys.
pub(super) fn public_key(text: &str) -> Result<VerifyingKey, Failure> {
    if let Some(key) = signing_key(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    let content = read(path)?;
    if let Some(key) = std::str::from_utf8(&content).ok().and_then(|text| signing_key(text.trim()))
    {
        return Ok(key);
    }
    let sealed = Keys::is_sealed(path)?.unwrap_or(false);
    let secret = if sealed { passphrase(false)? } else { None };
    let key = Keys::read_admin(path, secret.as_deref())?;
    key.map(|key| key.signing().verifying_key()).ok_or_else(|| {
        let message = format!("{} holds no admin key", quoted_path(path));
        let hint = "name the 64 digits that `fleetcast admin show` prints, or a file of them";
        Failure::usage("key-malformed", message, hint)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let io = |error: std::io::Error| Failure::io(path.display(), &error);
    let file = std::fs::File::open(path).map_err(io)?;
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_FILE), &mut content)
        .map_err(io)?;
    Ok(content)
}

/// The fingerprint of a device: of a receiver, or as it is written.
///
/// # Errors
/// `receiver-unknown`.
pub(super) fn device(client: &Client, wanted: &str) -> Result<Fingerprint, Failure> {
    match client.receiver(wanted) {
        Ok(found) => {
            let key: [u8; 32] = found.key.array().ok_or_else(misunderstood)?;
            Ok(Fingerprint::of(&key))
        }
        // One that was removed is known by its key only.
        Err(failure) if failure.code == "receiver-unknown" => {
            array(wanted).map(Fingerprint).ok_or(failure)
        }
        Err(failure) => Err(failure),
    }
}

/// A change that waits, by the beginning of its id.
///
/// # Errors
/// `proposal-unknown`, `proposal-ambiguous`.
pub(super) fn proposal<'s>(
    state: &'s AuthorityState,
    wanted: &str,
) -> Result<&'s ProposalState, Failure> {
    let begins = |p: &&ProposalState| wanted.len() >= MIN_PREFIX && p.digest.starts_with(wanted);
    let mut found = state.proposals.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => {
            let message = format!("several changes begin with {}", quoted(wanted));
            Err(Failure::failed("proposal-ambiguous", message, "write more of its id"))
        }
        (None, _) => {
            let message = format!("no change that waits begins with {}", quoted(wanted));
            Err(Failure::failed("proposal-unknown", message, "fleetcast authority list"))
        }
    }
}

/// Signs a change that waits, once it was shown.
///
/// # Errors
/// `proposal-unknown`, `not-confirmed`, and as the server says.
pub(super) fn sign(
    context: &Context,
    client: &Client,
    wanted: &str,
) -> Result<ProposalItem, Failure> {
    let state = client.authority()?;
    let present = verified(context, &state)?;
    let (bytes, next) = change(&state, wanted)?;
    let signed = SignedDocument::parse(&bytes, MAX_AUTHORITY).map_err(|_| misunderstood())?;
    // From the bytes that are signed, and from what this admin trusts.
    for line in differences(present.document(), &next, &state) {
        printer::say(context, &printable(&line));
    }
    if on_terminal() {
        context.confirm("Sign this change of the authority document?")?;
    }
    let key = context.admin_key()?.signing();
    let document = signed_body(signed.body(), Purpose::Authority, &key)?;
    let answer = client.propose(&NewProposal { document: hex(&document), names: Vec::new() })?;
    ProposalItem::after(&present, &next, &client.authority()?, &answer)
}

/// The signed document that is named, and what it says.
fn change(state: &AuthorityState, wanted: &str) -> Result<(Vec<u8>, AuthorityDocument), Failure> {
    let path = Path::new(wanted);
    if !path.is_file() {
        let found = proposal(state, wanted)?;
        return Ok((unhex(&found.document).ok_or_else(misunderstood)?, document(found)?));
    }
    let content = read(path)?;
    let text = std::str::from_utf8(&content).ok().and_then(|text| unhex(text.trim()));
    let bytes = text.unwrap_or(content);
    let none = || {
        let message = format!("{} holds no authority document", quoted_path(path));
        Failure::failed("authority-damaged", message, "`fleetcast authority list --json` tells it")
    };
    let signed = SignedDocument::parse(&bytes, MAX_AUTHORITY).map_err(|_| none())?;
    let next = AuthorityDocument::decode(signed.body()).map_err(|_| none())?;
    Ok((bytes, next))
}
