//! `releases sign`: a release is shown from the bytes that are signed, then signed.

use fleetcast_core::crypto::sign::Context as Purpose;
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::release::ReleaseRoot;

use super::describe::describe;
use super::diff;
use crate::api::client::{Client, misunderstood};
use crate::cli::context::{Context, DONE, Outcome, on_terminal};
use crate::cli::signing::signed_body;
use crate::cli::{authority, printer, send};
use crate::error::Failure;
use crate::ids::hex;
use crate::ingest::Tree;
use crate::status::ReleaseItem;
use crate::units::{format_count, format_size, printable};

pub(super) fn run(context: &Context, client: &Client, wanted: &str, anew: bool) -> Outcome {
    // A chain that is not the one this admin trusts is no place to sign anything.
    let trusted = authority::verified(context, &client.authority()?)?;
    let found = client.release_document(wanted)?;
    if anew {
        return send::anew(context, client, &found.release);
    }
    let signed = SignedDocument::parse(&found.document.0, MAX_ROOT).map_err(|_| misunderstood())?;
    let root = ReleaseRoot::decode(signed.body()).map_err(|_| misunderstood())?;
    let digest = signed.digest(Purpose::Release).to_string();
    if root.fleet != trusted.document().fleet {
        let message = "the release belongs to another fleet";
        return Err(Failure::failed("not-trusted", message, "fleetcast authority show"));
    }
    show(context, client, &root, &digest)?;
    if on_terminal() {
        let title = format!("{}#{}", root.group_name, root.order.sequence);
        context.confirm(&format!("Sign {}?", printable(&title)))?;
    }
    let key = context.admin_key()?.signing();
    let document = signed_body(signed.body(), Purpose::Release, &key)?;
    let item = client.sign_release(&digest, hex(&document))?;
    printer::item(context, "release", item, describe);
    Ok(DONE)
}

/// Says what is signed, from the signed root down: nothing of it is the server's word but
/// what it is compared with.
fn show(
    context: &Context,
    client: &Client,
    root: &ReleaseRoot<'_>,
    digest: &str,
) -> Result<(), Failure> {
    let (_, tree) = send::tree_of(client, digest)?;
    let before = before(client, root, digest)?;
    let tops = &root.standard;
    let name = printable(root.label);
    let group = printable(root.group_name);
    let sequence = root.order.sequence;
    let size = format_size(tops.content_bytes);
    let files = format_count(tops.files.into(), "file");
    let text = format!("{group}#{sequence} {name}: {files}, {size}");
    printer::say(context, &text);
    let (title, old) = match &before {
        Some((item, tree)) => (format!("{}#{}", item.group, item.sequence), tree.clone()),
        None => ("nothing".to_owned(), Tree::default()),
    };
    printer::say(context, &format!("compared with {}:", printable(&title)));
    if !context.quiet {
        printer::say_lines(&diff::between(&old, &tree).to_string());
    }
    Ok(())
}

/// The newest release of the group that is in force and not this one.
fn before(
    client: &Client,
    root: &ReleaseRoot<'_>,
    digest: &str,
) -> Result<Option<(ReleaseItem, Tree)>, Failure> {
    let releases = client.releases(Some(root.group_name))?;
    let counts = |item: &ReleaseItem| {
        !matches!(item.state.as_str(), "cancelled" | "unsigned") && item.release != digest
    };
    let newest = releases.into_iter().filter(counts).max_by_key(|item| item.sequence);
    newest.map(|item| send::tree_of(client, &item.release)).transpose()
}
