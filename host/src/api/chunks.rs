//! Chunks: which are lacking, taking them in, giving them back.

use std::error::Error as _;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use fleetcast_core::digest::Digest;
use fleetcast_core::limits::{MAX_CHUNK, RECORD_HEADER};
use http_body_util::BodyExt as _;
use tokio::task::JoinHandle;

use super::answer::{Answer, malformed};
use super::frames::Frames;
use super::model::{Hex, Stored};
use super::paced::TooSlow;
use super::refusal::Refusal;
use super::state::Api;
use crate::error::Failure;
use crate::packs::{ChunkStore, StoreError, Verifier};

/// Largest upload in one request, in bytes; the command line sends some 8 MiB.
const MAX_UPLOAD: usize = 64 << 20;
/// Bytes of an upload that are verified and stored together.
const PIECE: usize = 1 << 20;

/// One bit per id asked about, the first one lowest: set when the chunk is lacking.
pub(super) async fn lacking(State(api): State<Api>, ids: Bytes) -> Result<Vec<u8>, Refusal> {
    let _kept = api.gate.read().await;
    let (chunks, recent) = (Arc::clone(&api.chunks), Arc::clone(&api.recent));
    let asked = move || {
        recent.note(ids.as_chunks().0.iter().map(|id| Digest(*id)));
        lacking_bits(&*chunks, &ids)
    };
    Ok(blocking(asked).await?)
}

fn lacking_bits(chunks: &dyn ChunkStore, ids: &[u8]) -> Result<Vec<u8>, Failure> {
    let (ids, rest) = ids.as_chunks::<{ Digest::LEN }>();
    if !rest.is_empty() {
        return Err(malformed("ids have 32 bytes each"));
    }
    let mut bits = vec![0; ids.len().div_ceil(8)];
    for (place, id) in ids.iter().enumerate() {
        if !chunks.contains(&Digest(*id))? {
            bits[place / 8] |= 1 << (place % 8);
        }
    }
    Ok(bits)
}

/// Takes a stream of frames; answers when all are verified and stored.
///
/// They are durable when a release that has them is accepted. The disk has begun with
/// them by then, while the next ones came.
pub(super) async fn store(State(api): State<Api>, body: Body) -> Answer<Stored> {
    let _kept = api.gate.read().await;
    let mut body = body;
    let mut length = 0;
    let mut intake = Intake::default();
    // A piece is verified and stored while the next one comes.
    let mut under_way = None;
    let mut piece = Vec::new();
    let mut gathered = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| cut(&error))?;
        let Ok(bytes) = frame.into_data() else { continue };
        length += bytes.len();
        if length > MAX_UPLOAD {
            let hint = "send it in several requests; what has come is stored";
            return Err(Failure::failed("too-large", "the upload is too long", hint).into());
        }
        gathered += bytes.len();
        piece.push(bytes);
        if gathered >= PIECE {
            intake = ended(under_way.take()).await?.unwrap_or(intake);
            let taken = (std::mem::take(&mut intake), std::mem::take(&mut piece));
            under_way = Some(begin(&api, taken));
            gathered = 0;
        }
    }
    intake = ended(under_way.take()).await?.unwrap_or(intake);
    let chunks = Arc::clone(&api.chunks);
    let stored = blocking(move || {
        let intake = intake.take(&*chunks, &piece)?;
        if !intake.frames.is_empty() {
            return Err(malformed("the upload ends within a chunk"));
        }
        Ok(intake.stored)
    });
    let stored = stored.await?;
    let chunks = Arc::clone(&api.chunks);
    // Nobody waits for it: the next sync tells how it went.
    drop(tokio::task::spawn_blocking(move || chunks.sync_ahead()));
    Ok(Json(stored))
}

/// A piece of an upload that is being verified and stored.
type UnderWay = JoinHandle<Result<Intake, Failure>>;

fn begin(api: &Api, (intake, piece): (Intake, Vec<Bytes>)) -> UnderWay {
    let chunks = Arc::clone(&api.chunks);
    tokio::task::spawn_blocking(move || intake.take(&*chunks, &piece))
}

/// What has come so far, once the piece is stored; `None` where none was.
async fn ended(piece: Option<UnderWay>) -> Result<Option<Intake>, Failure> {
    match piece {
        Some(piece) => piece.await.unwrap_or_else(|_| Err(stumbled())).map(Some),
        None => Ok(None),
    }
}

/// Why an upload came to its end too early: the client went away, or was too slow.
fn cut(error: &axum::Error) -> Failure {
    let slow = error.source().is_some_and(|source| source.is::<TooSlow>());
    if slow { TooSlow.into() } else { malformed("the upload was cut") }
}

#[derive(Default)]
struct Intake {
    frames: Frames,
    verifier: Verifier,
    stored: Stored,
}

impl Intake {
    fn take(mut self, chunks: &dyn ChunkStore, piece: &[Bytes]) -> Result<Self, Failure> {
        for bytes in piece {
            self.frames.push(bytes);
            while let Some((id, record)) = self.frames.next_frame().map_err(StoreError::from)? {
                // The store believes ids: here is where they are checked.
                self.verifier.verify(&id, record).map_err(StoreError::from)?;
                self.stored.received += 1;
                self.stored.new += u64::from(chunks.put(id, record)?);
            }
        }
        Ok(self)
    }
}

/// A chunk's record, as it is stored.
pub(super) async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Vec<u8>, Refusal> {
    let id: Hex = serde_json::from_value(id.into()).map_err(|_| malformed("an id is hex"))?;
    let id = Digest(id.array().ok_or_else(|| malformed("an id has 32 bytes"))?);
    let chunks = Arc::clone(&api.chunks);
    let record = blocking(move || {
        let mut record = vec![0; RECORD_HEADER + MAX_CHUNK];
        let length = chunks.read(&id, &mut record).map_err(|error| match error {
            StoreError::Missing(id) => {
                let message = format!("the server does not have chunk {id}");
                Failure::failed("chunk-unknown", message, "send the files again")
            }
            other => other.into(),
        })?;
        record.truncate(length);
        Ok(record)
    });
    Ok(record.await?)
}

/// Disk work, away from the runtime's own threads.
pub(super) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Failure> + Send + 'static,
) -> Result<R, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(stumbled()))
}

fn stumbled() -> Failure {
    let hint = "repeat the command; if it stays, the server's log tells more";
    Failure::failed("internal", "the server stumbled over a request", hint)
}
