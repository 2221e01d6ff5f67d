//! `store check`: every release from its signatures down to the last chunk, by
//! another way than the board takes: from the root, not from the card's own maps.

use std::collections::HashMap;

use fleetcast_core::crypto::sign::Context as Signed;
use fleetcast_core::ids::Ordinal;
use fleetcast_core::limits::{MAX_AUTHORITY, MAX_ROOT, STORE_NOTE};
use fleetcast_core::store::{Kept, KeptAs, Store, StoreError};
use fleetcast_core::tree::entry::{ALL_DEPTHS, EntryReader, FeedError, NameSlot, TreeEvent};
use fleetcast_core::tree::reference::{ChunkRef, references};
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::release::ReleaseRoot;
use fleetcast_core::wire::control::{Object, ReleaseName};
use serde::Serialize;

use super::failure::failure;
use super::image::{Image, directory};
use crate::cli::context::{Context, DONE, Outcome};
use crate::cli::printer;
use crate::error::Failure;
use crate::units::{format_count, format_size, printable};

/// Problems of one release that are told.
const TOLD: usize = 20;

/// What a check came to.
#[derive(Debug, Serialize)]
struct CheckItem {
    ok: bool,
    capacity: u64,
    free: Option<u64>,
    releases: Vec<ReleaseCheck>,
}

/// What was found of one release.
#[derive(Debug, Serialize)]
struct ReleaseCheck {
    group: String,
    sequence: u64,
    release: String,
    state: &'static str,
    files: u32,
    bytes: u64,
    /// Whether admins of the authority document on the card have signed it; absent
    /// where there is no such document.
    signed: Option<bool>,
    /// What is wrong; the first of it.
    problems: Vec<String>,
}

pub(super) fn run(context: &Context, store: &mut Store<'_, Image>) -> Outcome {
    let authority = authority(store)?;
    let kept: Vec<Kept> = store.releases().collect();
    let mut releases = Vec::new();
    for kept in kept {
        releases.push(check(store, &kept, authority.as_ref())?);
    }
    let damaged = releases.iter().filter(|release| !release.problems.is_empty()).count();
    let (capacity, free, of) = (store.capacity(), store.free(), releases.len());
    let item = CheckItem { ok: damaged == 0, capacity, free, releases };
    printer::item(context, "store-check", item, describe);
    if damaged > 0 {
        let message = format!("{damaged} of {of} releases are damaged");
        let hint = "the board asks again for what is damaged when it scrubs its card";
        return Err(Failure::failed("store-damaged", message, hint));
    }
    Ok(DONE)
}

fn describe(item: &CheckItem) -> String {
    let mut text = String::new();
    for release in &item.releases {
        let ReleaseCheck { sequence, state, files, bytes, signed, .. } = release;
        let verdict = match (release.problems.is_empty(), signed) {
            (false, _) => "DAMAGED",
            (true, Some(true)) => "whole, signed",
            (true, _) => "whole",
        };
        let (group, size) = (printable(&release.group), format_size(*bytes));
        let files = format_count((*files).into(), "file");
        text += &format!("{group}#{sequence} {state}: {files}, {size}: {verdict}\n");
        for problem in &release.problems {
            text += &format!("  {}\n", printable(problem));
        }
    }
    if item.releases.is_empty() {
        text += "no releases on this card\n";
    }
    text
}

/// The authority document on the card, which must be signed by its own admins.
fn authority(store: &mut Store<'_, Image>) -> Result<Option<TrustedAuthority>, Failure> {
    let mut memory = [0; STORE_NOTE];
    let document = store.authority(&mut memory).map_err(failure)?;
    let parsed = SignedDocument::parse(document, MAX_AUTHORITY).ok();
    let pinned = parsed.map(|parsed| parsed.digest(Signed::Authority));
    Ok(pinned.and_then(|pinned| TrustedAuthority::pin(document, pinned).ok()))
}

fn check(
    store: &mut Store<'_, Image>,
    kept: &Kept,
    authority: Option<&TrustedAuthority>,
) -> Result<ReleaseCheck, Failure> {
    let name = kept.name;
    let state = match kept.kept_as {
        KeptAs::Incoming => "incoming",
        KeptAs::Previous => "previous",
        KeptAs::Active => "active",
    };
    let mut found = ReleaseCheck {
        group: directory(store, &name).unwrap_or_else(|_| name.group.to_string()),
        sequence: name.order.sequence,
        release: name.digest.to_string(),
        state,
        files: 0,
        bytes: 0,
        signed: None,
        problems: Vec::new(),
    };
    if kept.kept_as == KeptAs::Incoming {
        return Ok(found);
    }
    let mut memory = vec![0; usize::from(u16::MAX)];
    match store.root(&name, &mut memory) {
        Ok(document) => {
            let document = document.to_vec();
            if let Err(problem) = check_root(store, &name, &document, authority, &mut found) {
                found.problems.push(problem);
            }
        }
        Err(error) => found.problems.push(format!("the root cannot be read: {error:?}")),
    }
    Ok(found)
}

/// Checks the root, then what it names; the first thing that ends the check.
fn check_root(
    store: &mut Store<'_, Image>,
    name: &ReleaseName,
    document: &[u8],
    authority: Option<&TrustedAuthority>,
    found: &mut ReleaseCheck,
) -> Result<(), String> {
    let parsed = SignedDocument::parse(document, MAX_ROOT);
    let signed = parsed.map_err(|fault| format!("the root is damaged: {fault:?}"))?;
    if signed.digest(Signed::Release) != name.digest {
        return Err("the root is not the one that was accepted".to_owned());
    }
    found.signed = authority.map(|authority| authority.verify(Signed::Release, &signed).is_ok());
    if found.signed == Some(false) {
        return Err("the root is not signed by the admins that the card trusts".to_owned());
    }
    let root = ReleaseRoot::decode(signed.body());
    let root = root.map_err(|fault| format!("the root contradicts itself: {fault:?}"))?;
    let tree = root.constrained.as_ref().unwrap_or(&root.standard);
    (found.files, found.bytes) = (tree.files, tree.content_bytes);
    let mut list = tree.top.to_vec();
    let mut ordinal = 0;
    for _ in &tree.levels {
        list = level(store, name, &list, &mut ordinal)?;
    }
    let mut names = vec![NameSlot::EMPTY; ALL_DEPTHS];
    let mut reader = EntryReader::new(&mut names, tree.totals());
    let mut chunks: HashMap<ChunkRef, u32> = HashMap::new();
    let fed = reader.feed(&list, &mut |event| -> Result<(), FeedError<()>> {
        if let TreeEvent::Chunk(reference) = event {
            let next = chunks.len() as u32;
            chunks.entry(reference).or_insert(next);
        }
        Ok(())
    });
    fed.map_err(|fault| format!("the tree breaks a rule: {fault:?}"))?;
    reader.finish().map_err(|fault| format!("the tree breaks a rule: {fault:?}"))?;
    let mut chunks: Vec<(ChunkRef, u32)> = chunks.into_iter().collect();
    chunks.sort_by_key(|(_, ordinal)| *ordinal);
    let wrong = chunks.iter().filter_map(|(reference, ordinal)| {
        fetch(store, name, (Object::Content, *ordinal), reference).err()
    });
    found.problems.extend(wrong.take(TOLD));
    Ok(())
}

/// The bytes that a list of references names.
fn level(
    store: &mut Store<'_, Image>,
    name: &ReleaseName,
    list: &[u8],
    ordinal: &mut u32,
) -> Result<Vec<u8>, String> {
    let bad = |fault| format!("a list is damaged: {fault:?}");
    let mut bytes = Vec::new();
    for reference in references(list).map_err(bad)? {
        let reference = reference.map_err(bad)?;
        bytes.extend(fetch(store, name, (Object::Index, *ordinal), &reference)?);
        *ordinal += 1;
    }
    Ok(bytes)
}

/// A chunk of the card, if it is the one that a reference names.
fn fetch(
    store: &mut Store<'_, Image>,
    name: &ReleaseName,
    (object, ordinal): (Object, u32),
    reference: &ChunkRef,
) -> Result<Vec<u8>, String> {
    match store.chunk(name, object, Ordinal(ordinal)) {
        Ok(chunk) if chunk.reference() == *reference => Ok(chunk.bytes().to_vec()),
        Ok(_) => Err(format!("{object:?} {ordinal} is another chunk")),
        Err(StoreError::Lost { .. }) => Err(format!("{object:?} {ordinal} is damaged")),
        Err(error) => Err(format!("{object:?} {ordinal} cannot be read: {error:?}")),
    }
}
