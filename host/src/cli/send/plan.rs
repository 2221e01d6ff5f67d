//! `send --dry-run`: what would travel to whom, by which path, and how long that takes
//! at least. Nothing is sent, stored or signed.

use std::collections::{HashMap, HashSet};

use fleetcast_core::digest::Digest;
use serde::Serialize;

use super::build::{Job, Target, content, tree_of, unsigned};
use crate::api::client::Client;
use crate::api::model::Paths;
use crate::cli::upload::Upload;
use crate::error::Failure;
use crate::ingest::{Node, Sent, Tree};

/// A group that would be sent to.
#[derive(Debug, Serialize)]
pub(super) struct GroupPlan {
    /// Its name.
    pub(super) name: String,
    /// The number of the release.
    pub(super) sequence: u64,
    /// Names of its receivers.
    pub(super) receivers: Vec<String>,
    /// What each of them needs.
    pub(super) plan: Vec<ReceiverPlan>,
    /// Bytes that would go by multicast, once for all: chunks before they are compressed.
    pub(super) multicast_bytes: u64,
    /// Bytes that would go to single receivers.
    pub(super) unicast_bytes: u64,
    /// Bytes that receivers would get when they are back.
    pub(super) later_bytes: u64,
    /// How long that takes at least, at the server's rate or the one that is asked for.
    pub(super) seconds: f64,
}

/// What a receiver needs of a release.
#[derive(Debug, Serialize)]
pub(super) struct ReceiverPlan {
    /// Its name.
    pub(super) receiver: String,
    /// `multicast`, `unicast`, `local` where it has everything, `later` where it is away.
    pub(super) path: String,
    /// Bytes of chunks that are in no release that it holds.
    pub(super) bytes: u64,
}

/// Plans the release of a group.
///
/// # Errors
/// As building a release.
pub(super) fn plan(
    job: &Job<'_>,
    target: &Target,
    sent: &[Sent],
    (paths, rate): (&Paths, Option<u64>),
    sink: &mut Upload<'_>,
) -> Result<GroupPlan, Failure> {
    let next = &target.next;
    let tree = content(job, target, sent)?;
    let release = unsigned(job, next, &tree, sink)?;
    let mut chunks: HashMap<Digest, u32> = chunks_of(&tree);
    chunks.extend(release.index.iter().map(|chunk| (chunk.id, chunk.len)));
    let known: HashMap<&str, &str> =
        paths.receivers.iter().map(|item| (item.receiver.as_str(), item.path.as_str())).collect();
    let mut held: HashMap<String, HashSet<Digest>> = HashMap::new();
    let mut together: HashSet<Digest> = HashSet::new();
    let (mut receivers, mut plan) = (Vec::new(), Vec::new());
    let (mut unicast_bytes, mut later_bytes) = (0, 0);
    for member in job.client.members(&next.name)? {
        let installed = member.installed.iter().find(|item| item.group == next.name);
        let has = held_chunks(job.client, installed.map(|item| &item.release), &mut held);
        let lacks = chunks.iter().filter(|(id, _)| !has.contains(id));
        let bytes: u64 = lacks.clone().map(|(_, len)| u64::from(*len)).sum();
        let path = match known.get(member.name.as_str()).copied().unwrap_or("later") {
            _ if bytes == 0 => "local",
            path => path,
        };
        match path {
            "multicast" => together.extend(lacks.map(|(id, _)| *id)),
            "unicast" => unicast_bytes += bytes,
            "later" => later_bytes += bytes,
            _ => {}
        }
        receivers.push(member.name.clone());
        plan.push(ReceiverPlan { receiver: member.name, path: path.to_owned(), bytes });
    }
    let length = |id: &Digest| chunks.get(id).map_or(0, |len| u64::from(*len));
    let multicast_bytes: u64 = together.iter().map(length).sum();
    let rate = rate.unwrap_or(paths.rate).min(paths.rate).max(1);
    let seconds = (multicast_bytes + unicast_bytes) as f64 / rate as f64;
    Ok(GroupPlan {
        name: next.name.clone(),
        sequence: next.sequence,
        receivers,
        plan,
        multicast_bytes,
        unicast_bytes,
        later_bytes,
        seconds,
    })
}

/// The chunks of a release that receivers hold, read once; none where it is not known any more.
fn held_chunks<'h>(
    client: &Client,
    release: Option<&String>,
    held: &'h mut HashMap<String, HashSet<Digest>>,
) -> &'h HashSet<Digest> {
    let digest = release.cloned().unwrap_or_default();
    held.entry(digest.clone()).or_insert_with(|| {
        let known = release.and_then(|_| tree_of(client, &digest).ok());
        known.map(|(_, tree)| chunks_of(&tree).into_keys().collect()).unwrap_or_default()
    })
}

fn chunks_of(tree: &Tree) -> HashMap<Digest, u32> {
    let files = tree.entries().filter_map(|(_, node)| match node {
        Node::File(file) => Some(file.chunks.iter().map(|chunk| (chunk.id, chunk.len))),
        Node::Directory { .. } => None,
    });
    files.flatten().collect()
}
