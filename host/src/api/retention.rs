//! What is stored: checked, cleared of what nobody needs.
//!
//! Three things keep chunks from being taken away under somebody's hands: the releases
//! that stay, a lock that uploads and submissions share and clearing has alone, and the
//! ids that an upload was told not to send, which are kept for an hour.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fleetcast_core::limits::{MAX_CHUNK, RECORD_HEADER};

use super::answer::Answer;
use super::caller::Actor;
use super::chunks::blocking;
use super::model::{Checked, Hex, PruneRequest, Pruned};
use super::recent::Recent;
use super::releases::document;
use super::state::Api;
use crate::error::Failure;
use crate::packs::{ChunkStore, StoreError, Verifier};
use crate::server::contents::{Contents, ContentsError};

/// Most ids of bad chunks that are told.
const MOST_TOLD: usize = 100;

/// Reads all chunks of a release again.
pub(super) async fn verify(State(api): State<Api>, Path(wanted): Path<String>) -> Answer<Checked> {
    let Json(found) = document(State(api.clone()), Path(wanted)).await?;
    let chunks = Arc::clone(&api.chunks);
    let mut checked = blocking(move || check(&*chunks, &found.document.0)).await?;
    checked.release = Some(found.release);
    Ok(Json(checked))
}

fn check(chunks: &dyn ChunkStore, document: &[u8]) -> Result<Checked, Failure> {
    let mut checked = Checked { document: Hex(document.to_vec()), ..Checked::default() };
    let contents = match Contents::read(document, chunks) {
        Ok(contents) => contents,
        Err(ContentsError::Store(fault @ StoreError::Io { .. })) => return Err(fault.into()),
        Err(fault) => {
            checked.fault = fault.to_string();
            return Ok(checked);
        }
    };
    let mut verifier = Verifier::default();
    let mut record = vec![0; RECORD_HEADER + MAX_CHUNK];
    for chunk in contents.all_chunks() {
        checked.chunks += 1;
        let whole = match chunks.read(&chunk.id, &mut record) {
            Ok(length) => verifier.verify(&chunk.id, &record[..length]).is_ok().then_some(length),
            Err(fault @ StoreError::Io { .. }) => return Err(fault.into()),
            Err(_) => None,
        };
        checked.bytes += whole.unwrap_or(0) as u64;
        if whole.is_none() {
            checked.bad += 1;
            if checked.bad_chunks.len() < MOST_TOLD {
                checked.bad_chunks.push(chunk.id.to_string());
            }
        }
    }
    Ok(checked)
}

/// Forgets releases that nobody needs, and frees the room of their chunks.
pub(super) async fn prune(
    State(api): State<Api>,
    actor: Actor,
    Json(request): Json<PruneRequest>,
) -> Answer<Pruned> {
    // Whoever uploads or submits waits: what they count on could go meanwhile.
    let alone = Arc::clone(&api.gate).write_owned().await;
    let dry = request.dry_run;
    let removed = api.run(move |node, _| {
        let removable = node.removable(request.keep.unwrap_or(PruneRequest::KEEP) as usize);
        let of_them = |record: &&crate::model::ReleaseRecord| removable.contains(&record.name);
        let gone = node.registry().releases().filter(of_them);
        let items = gone.map(|record| node.release_item(record)).collect::<Vec<_>>();
        if !dry {
            node.forget_releases(&actor, &removable);
        }
        let kept = node.registry().releases().map(|record| record.document.clone());
        Ok((items, kept.collect::<Vec<_>>()))
    });
    let (releases, documents) = removed.await?;
    if dry {
        return Ok(Json(Pruned { releases, freed_bytes: 0 }));
    }
    let (chunks, recent) = (Arc::clone(&api.chunks), Arc::clone(&api.recent));
    let collecting = move || {
        // With the work, not with the request: whoever asked may be gone before it ends.
        let _alone = alone;
        collect(&*chunks, &documents, &recent)
    };
    let freed_bytes = blocking(collecting).await?;
    Ok(Json(Pruned { releases, freed_bytes }))
}

/// Frees the room of chunks that no release and no upload counts on.
fn collect(
    chunks: &dyn ChunkStore,
    documents: &[Vec<u8>],
    recent: &Recent,
) -> Result<u64, Failure> {
    let mut keep = recent.ids();
    for document in documents {
        // Whose contents cannot be read could lose the rest of them.
        let contents = Contents::read(document, chunks).map_err(|fault| {
            let message = format!("a release that stays cannot be read: {fault}");
            Failure::failed("store-damaged", message, "fleetcast releases verify X finds it")
        })?;
        keep.extend(contents.all_chunks().map(|chunk| chunk.id));
    }
    Ok(chunks.collect(&|id| keep.contains(id))?)
}

#[cfg(test)]
mod tests {
    use fleetcast_core::digest::Digest;

    use super::*;
    use crate::packs::MemoryChunks;

    #[test]
    fn an_upload_that_was_told_to_spare_a_chunk_finds_it_afterwards() {
        let store = MemoryChunks::default();
        let put = |text: &[u8; 1]| {
            let id = Digest::of(text);
            store.put(id, &[0, 1, 0, 0, 1, 0, 0, text[0]]).unwrap();
            id
        };
        let (told, forgotten) = (put(b"a"), put(b"b"));
        let recent = Recent::default();
        recent.note([told]);
        assert_eq!(collect(&store, &[], &recent).unwrap(), 8);
        assert!(store.contains(&told).unwrap() && !store.contains(&forgotten).unwrap());
    }

    #[test]
    fn nothing_is_cleared_while_a_release_that_stays_cannot_be_read() {
        let store = MemoryChunks::default();
        let id = Digest::of(b"c");
        store.put(id, &[0, 1, 0, 0, 1, 0, 0, b'c']).unwrap();
        let refused = collect(&store, &[b"no document".to_vec()], &Recent::default()).unwrap_err();
        assert_eq!(refused.code, "store-damaged");
        assert!(store.contains(&id).unwrap());
    }
}
