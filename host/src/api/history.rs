//! What happened and what is kept of it: receipts, backups, a catalog in doubt.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::Answer;
use super::caller::Actor;
use super::model::{Hex, NewBackup, ReceiptItem};
use super::state::Api;
use crate::backup::{BackupItem, back_up};
use crate::error::Failure;
use crate::model::ReceiptRecord;
use crate::status::Items;

/// Most receipts in one answer.
const PAGE: u32 = 1_000;

/// Which page of receipts.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ReceiptQuery {
    #[serde(default)]
    offset: u64,
}

pub(super) async fn receipts(
    State(api): State<Api>,
    Query(query): Query<ReceiptQuery>,
) -> Answer<Items<ReceiptItem>> {
    let receipts = api.catalog.receipts(query.offset, PAGE).await.map_err(Failure::from)?;
    Ok(Json(Items::new("receipts", receipts.into_iter().map(item).collect())))
}

fn item(record: ReceiptRecord) -> ReceiptItem {
    let name = record.release;
    ReceiptItem {
        receiver: record.receiver_name,
        id: record.receiver.to_string(),
        device_key: Hex(record.device.0.to_vec()),
        signing_key: Hex(record.signing.0.to_vec()),
        group: record.group_name,
        group_id: Hex(name.group.0.to_vec()),
        reset_epoch: name.order.reset_epoch,
        sequence: name.order.sequence,
        release: Hex(name.digest.0.to_vec()),
        installed: record.at,
        signature: Hex(record.signature),
        certificate: Hex(record.certificate),
        voucher: Hex(record.voucher),
    }
}

/// The authority documents, from the first on: receipts are checked against them.
pub(super) async fn authority(State(api): State<Api>) -> Answer<Items<Hex>> {
    let chain = api.run(|node, _| Ok(node.authority_chain().to_vec())).await?;
    let documents = chain.into_iter().map(|(_, document)| Hex(document)).collect();
    Ok(Json(Items::new("authority", documents)))
}

/// Writes a backup where the server can.
pub(super) async fn backup(
    State(api): State<Api>,
    actor: Actor,
    Json(wanted): Json<NewBackup>,
) -> Answer<BackupItem> {
    let none = || {
        let hint = "stop the server, and make the backup then";
        Failure::failed("no-state-directory", "the server does not know its directory", hint)
    };
    let state = api.directory.clone().ok_or_else(none)?;
    let (kept, of) = (Arc::clone(&api.gate).read_owned().await, api.clone());
    let making = async move {
        // Nothing is taken out of packs meanwhile, also when whoever asked is gone.
        let _kept = kept;
        back_up(&state, &of.catalog, &PathBuf::from(wanted.file)).await
    };
    let made = tokio::spawn(making).await;
    let made = made.map_err(|error| Failure::io("backup", &error.into()))??;
    let told = made.file.clone();
    api.run(move |node, _| {
        node.note(&actor, "backup-made", &told, "ok");
        Ok(())
    })
    .await?;
    Ok(Json(made))
}

pub(super) async fn confirm(State(api): State<Api>, actor: Actor) -> Answer<()> {
    let confirmed = api.run(move |node, now| {
        node.confirm_catalog(now, &actor);
        Ok(())
    });
    Ok(Json(confirmed.await?))
}
