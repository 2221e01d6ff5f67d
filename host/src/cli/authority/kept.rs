//! What this admin trusts: the newest authority document that was seen here, kept beside
//! the admin key.
//!
//! A server that lies could show an admin another chain, and have a change of that one
//! signed. So every chain is checked from the document that is kept on: the first is
//! believed once, and only successors ever after.

use std::path::PathBuf;

use fleetcast_core::crypto::sign::Context as Purpose;
use fleetcast_core::digest::Digest;
use fleetcast_core::limits::{MAX_AUTHORITY, MAX_SIGNED_AUTHORITY};
use fleetcast_core::trust::authority::{AuthorityDocument, TrustedAuthority};
use fleetcast_core::trust::document::SignedDocument;

use crate::api::client::misunderstood;
use crate::api::model::authority::AuthorityState;
use crate::cli::context::Context;
use crate::cli::printer;
use crate::error::Failure;
use crate::ids::unhex;
use crate::private;
use crate::state::StateDir;

/// Name of the file.
const KEPT: &str = "authority.trusted";

/// The newest document of the server's chain, checked from what is kept here; the newest
/// is kept from now on where there is an admin key.
///
/// # Errors
/// `authority-rolled-back`, `authority-forked`, `authority-damaged`, `io`.
pub(in crate::cli) fn verified(
    context: &Context,
    state: &AuthorityState,
) -> Result<TrustedAuthority, Failure> {
    let chain = state.chain.iter().map(|document| unhex(document).ok_or_else(misunderstood));
    let chain = chain.collect::<Result<Vec<_>, _>>()?;
    let kept = read(context)?;
    let known = kept.as_deref().map(digest).transpose()?;
    let from = match known {
        None => 0,
        Some(known) => {
            let mut places = chain.iter().enumerate();
            let found = places.find(|(_, document)| digest(document).is_ok_and(|d| d == known));
            found.map(|(at, _)| at).ok_or_else(|| lost(kept.as_deref(), chain.last()))?
        }
    };
    let first = chain.get(from).ok_or_else(misunderstood)?;
    let first = TrustedAuthority::pin(first, digest(first)?).map_err(|fault| damaged(&fault))?;
    let newest = chain[from + 1..].iter().try_fold(first, |trusted, document| {
        trusted.advance(document).map_err(|fault| damaged(&fault))
    })?;
    let last = chain.last().ok_or_else(misunderstood)?;
    if known != Some(newest.digest()) && StateDir::at(&context.state).keys().is_dir() {
        if known.is_none() {
            let text = "trusted from now on: authority document version {}, {}; compare it with \
                        `fleetcast authority show` of another admin";
            let version = newest.document().version.to_string();
            let text = text.replacen("{}", &version, 1);
            printer::say(context, &text.replacen("{}", &newest.digest().to_string(), 1));
        }
        let path = path(context);
        private::write(&path, last).map_err(|error| Failure::io(path.display(), &error))?;
    }
    Ok(newest)
}

fn path(context: &Context) -> PathBuf {
    StateDir::at(&context.state).path().join(KEPT)
}

fn read(context: &Context) -> Result<Option<Vec<u8>>, Failure> {
    let path = path(context);
    match std::fs::read(&path) {
        Ok(bytes) if bytes.len() <= MAX_SIGNED_AUTHORITY => Ok(Some(bytes)),
        Ok(_) => Err(damaged(&"it is too long")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::io(path.display(), &error)),
    }
}

/// The digest that a document is pinned by.
fn digest(document: &[u8]) -> Result<Digest, Failure> {
    let signed = SignedDocument::parse(document, MAX_AUTHORITY).map_err(|f| damaged(&f))?;
    Ok(signed.digest(Purpose::Authority))
}

fn version(document: &[u8]) -> u32 {
    let signed = SignedDocument::parse(document, MAX_AUTHORITY).ok();
    let document = signed.and_then(|signed| AuthorityDocument::decode(signed.body()).ok());
    document.map_or(0, |document| document.version)
}

/// The document that is kept here is not in the server's chain.
fn lost(kept: Option<&[u8]>, newest: Option<&Vec<u8>>) -> Failure {
    let (known, shown) = (kept.map_or(0, version), newest.map_or(0, |newest| version(newest)));
    let message = format!(
        "the server shows authority document version {shown}, and version {known} that was \
         trusted here is not in its chain"
    );
    let hint = "it was set back to an old copy, or is another fleet's, or lies: sign nothing; \
                if that is as it should be, remove authority.trusted from the state directory";
    let code = if shown < known { "authority-rolled-back" } else { "authority-forked" };
    Failure::failed(code, message, hint)
}

fn damaged(fault: &impl std::fmt::Debug) -> Failure {
    let message = format!("the chain of authority documents is damaged: {fault:?}");
    let hint = "sign nothing; look at the server with `fleetcast doctor`";
    Failure::failed("authority-damaged", message, hint)
}
