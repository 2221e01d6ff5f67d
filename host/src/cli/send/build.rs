//! A group's next release: its current tree, what is sent, the signature.

use std::io;

use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::ids::{FleetId, GroupId, ReleaseOrder};
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::tree::index::TreeTop;
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::release::ReleaseRoot;

use crate::api::client::{Client, misunderstood};
use crate::api::model::NextRelease;
use crate::cli::upload::{Upload, failure_of, read_chunk};
use crate::error::Failure;
use crate::ingest::twin::{Before, twin};
use crate::ingest::{
    Encoding, ReleaseDraft, ReleaseError, Sent, SignedRelease, Tree, TreeError, UnsignedRelease,
};
use crate::status::ReleaseItem;
use crate::units::{now, quoted};

/// How long a release may be installed for the first time, in seconds: a year.
const LIFETIME: u64 = 365 * 86_400;

/// What is the same for all groups.
pub(super) struct Job<'j> {
    pub(super) client: &'j Client,
    pub(super) label: &'j str,
    pub(super) encoding: Encoding,
    pub(super) mirror: bool,
}

/// A group that is sent to.
pub(super) struct Target {
    /// What its next release is made from.
    pub(super) next: NextRelease,
}

impl Target {
    /// # Errors
    /// `group-unknown`, `group-empty`.
    pub(super) fn of(client: &Client, group: &str) -> Result<Self, Failure> {
        let next = client.next_release(group)?;
        if next.receivers == 0 {
            let message = format!("no receiver is in the group {}", quoted(group));
            let hint = format!("fleetcast groups add {group} RECEIVER");
            return Err(Failure::failed("group-empty", message, hint));
        }
        Ok(Self { next })
    }
}

/// Builds and signs the release of a group.
///
/// # Errors
/// `release-damaged` for the current one, `name-unsafe`, and as the server says.
pub(super) fn release(
    job: &Job<'_>,
    target: &Target,
    sent: &[Sent],
    key: &SigningKey,
    sink: &mut Upload<'_>,
) -> Result<SignedRelease, Failure> {
    let tree = content(job, target, sent)?;
    seal(job, &target.next, &tree, key, sink)
}

/// What the next release of a group contains.
///
/// # Errors
/// As [`release`].
pub(super) fn content(job: &Job<'_>, target: &Target, sent: &[Sent]) -> Result<Tree, Failure> {
    let mut tree = match &target.next.current {
        Some(current) if !job.mirror => current_tree(job.client, &current.0)?,
        _ => Tree::default(),
    };
    tree.merge(sent.iter().cloned()).map_err(tree_failure)?;
    Ok(tree)
}

/// Makes and signs the next release of a group with this content.
///
/// # Errors
/// As [`release`].
pub(super) fn seal(
    job: &Job<'_>,
    next: &NextRelease,
    tree: &Tree,
    key: &SigningKey,
    sink: &mut Upload<'_>,
) -> Result<SignedRelease, Failure> {
    unsigned(job, next, tree, sink)?.sign(&[key]).map_err(release_failure)
}

/// Makes the next release of a group with this content.
///
/// # Errors
/// As [`release`].
pub(super) fn unsigned(
    job: &Job<'_>,
    next: &NextRelease,
    tree: &Tree,
    sink: &mut Upload<'_>,
) -> Result<UnsignedRelease, Failure> {
    let created = now();
    let draft = ReleaseDraft {
        fleet: FleetId(next.fleet.array().ok_or_else(misunderstood)?),
        authority: next.authority,
        group: GroupId(next.group.array().ok_or_else(misunderstood)?),
        group_name: &next.name,
        order: ReleaseOrder { reset_epoch: next.reset_epoch, sequence: next.sequence },
        created,
        expires: created + LIFETIME,
        label: job.label,
    };
    let twin = match next.constrained && !sink.is_dry() {
        true => Some(twin_of(job, next, tree, sink)?),
        false => None,
    };
    draft.build_both(tree, twin.as_ref(), job.encoding, sink).map_err(release_failure)
}

/// The same content in the small chunks of boards.
fn twin_of(
    job: &Job<'_>,
    next: &NextRelease,
    tree: &Tree,
    sink: &mut Upload<'_>,
) -> Result<Tree, Failure> {
    let before = match &next.current {
        Some(current) => current_trees(job.client, &current.0)?,
        None => Before::default(),
    };
    // What was put must be there to be read back.
    sink.flush()?;
    let mut chunk = |chunk: &ChunkRef| read_chunk(job.client, chunk);
    twin(tree, &before, job.encoding, &mut chunk, sink).map_err(tree_failure)
}

/// A release by its digest or `GROUP#SEQUENCE`, and what it contains.
///
/// # Errors
/// `release-unknown`, `release-damaged`, and as the server says.
pub(in crate::cli) fn tree_of(
    client: &Client,
    wanted: &str,
) -> Result<(ReleaseItem, Tree), Failure> {
    let found = client.release_document(wanted)?;
    let tree = current_tree(client, &found.document.0)?;
    Ok((found.release, tree))
}

fn current_tree(client: &Client, document: &[u8]) -> Result<Tree, Failure> {
    current_root(document, |root| read_tree(client, &root.standard))
}

/// The trees of the current release, for hosts and for boards.
fn current_trees(client: &Client, document: &[u8]) -> Result<Before, Failure> {
    current_root(document, |root| {
        let constrained =
            root.constrained.as_ref().map(|top| read_tree(client, top)).transpose()?;
        let standard = read_tree(client, &root.standard)?;
        Ok(Before { standard, constrained: constrained.unwrap_or_default() })
    })
}

fn current_root<R>(
    document: &[u8],
    read: impl FnOnce(&ReleaseRoot<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let signed = SignedDocument::parse(document, MAX_ROOT);
    let signed = signed.map_err(|fault| damaged(&fault))?;
    read(&ReleaseRoot::decode(signed.body()).map_err(|fault| damaged(&fault))?)
}

fn read_tree(client: &Client, top: &TreeTop<'_>) -> Result<Tree, Failure> {
    Tree::from_release(top, &mut |chunk| read_chunk(client, chunk)).map_err(tree_failure)
}

fn tree_failure(error: TreeError) -> Failure {
    match error {
        TreeError::Read(error) => failure_of(error),
        TreeError::Name { .. } | TreeError::Collision { .. } | TreeError::TooDeep(_) => {
            let hint = "rename it, or send all with --mirror";
            Failure::failed("name-unsafe", error.to_string(), hint)
        }
        other => damaged(&other),
    }
}

fn release_failure(error: ReleaseError) -> Failure {
    match error {
        ReleaseError::Sink(error) => failure_of(error),
        ReleaseError::Tree(ref cause) if cause.kind() != io::ErrorKind::Other => {
            Failure::io("the release", cause)
        }
        other => Failure::failed("not-signable", other.to_string(), "send less at a time"),
    }
}

fn damaged(fault: &impl std::fmt::Debug) -> Failure {
    let message = format!("the group's current release cannot be read: {fault:?}");
    Failure::failed("release-damaged", message, "send all of its content with --mirror")
}
