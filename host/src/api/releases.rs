//! Releases, their deliveries, and what waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::trust::document::SignedDocument;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::{Answer, malformed};
use super::caller::Actor;
use super::chunks::blocking;
use super::model::{Deliveries, Hex, NewRelease, ReleaseDocument, Submitted, TrafficItem};
use super::state::Api;
use crate::error::Failure;
use crate::model::{DeliveryRecord, ReleaseState};
use crate::server::Traffic;
use crate::server::releases::SendOptions;
use crate::status::{DeliveryItem, InstalledItem, Item, Items, ReleaseItem};
use crate::units::quoted;

/// Whose releases.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ListQuery {
    group: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Answer<Items<ReleaseItem>> {
    let items = api.run(move |node, _| {
        if let Some(group) = &query.group {
            node.group(group)?;
        }
        Ok(node.release_items(query.group.as_deref()))
    });
    Ok(Json(Items::new("releases", items.await?)))
}

/// A release by the beginning of its digest, or by `GROUP#SEQUENCE`.
pub(super) async fn show(
    State(api): State<Api>,
    Path(wanted): Path<String>,
) -> Answer<Item<ReleaseItem>> {
    let found = api.run(move |node, _| find(node.release_items(None), &wanted));
    Ok(Json(Item::new("release", found.await?)))
}

/// Shortest beginning of a digest that names a release.
const MIN_PREFIX: usize = 6;

/// The signed root of a release.
pub(super) async fn document(
    State(api): State<Api>,
    Path(wanted): Path<String>,
) -> Answer<ReleaseDocument> {
    let found = api.run(move |node, _| {
        let release = find(node.release_items(None), &wanted)?;
        let document = digest_of(&release).and_then(|digest| node.registry().release(&digest));
        let document = document.map(|record| Hex(record.document.clone()));
        Ok(ReleaseDocument { release, document: document.ok_or_else(no_release)? })
    });
    Ok(Json(found.await?))
}

pub(super) async fn cancel(
    State(api): State<Api>,
    actor: Actor,
    Path(wanted): Path<String>,
) -> Answer<ReleaseItem> {
    let cancelled = api.run(move |node, now| {
        let release = find(node.release_items(None), &wanted)?;
        let digest = digest_of(&release).ok_or_else(no_release)?;
        node.cancel_release(now, &actor, &digest)?;
        find(node.release_items(None), &release.release)
    });
    Ok(Json(cancelled.await?))
}

fn digest_of(release: &ReleaseItem) -> Option<Digest> {
    let hex: Hex = serde_json::from_value(release.release.clone().into()).ok()?;
    hex.array().map(Digest)
}

fn no_release() -> Failure {
    Failure::failed("release-unknown", "the release is gone", "fleetcast releases list")
}

pub(super) fn find(items: Vec<ReleaseItem>, wanted: &str) -> Result<ReleaseItem, Failure> {
    let fits = |item: &ReleaseItem| match wanted.rsplit_once('#') {
        Some((group, sequence)) => item.group == group && sequence.parse() == Ok(item.sequence),
        None => {
            wanted.len() >= MIN_PREFIX && item.release.starts_with(&wanted.to_ascii_lowercase())
        }
    };
    let mut found = items.into_iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => {
            let message = format!("several releases begin with {}", quoted(wanted));
            Err(Failure::failed("release-ambiguous", message, "write more of its digest"))
        }
        (None, _) => {
            let message = format!("there is no release {}", quoted(wanted));
            Err(Failure::failed("release-unknown", message, "fleetcast releases list"))
        }
    }
}

pub(super) async fn submit(
    State(api): State<Api>,
    actor: Actor,
    Json(release): Json<NewRelease>,
) -> Answer<Submitted> {
    let _kept = api.gate.read().await;
    let chunks = Arc::clone(&api.chunks);
    // Not on the data thread, which does not wait for disks.
    blocking(move || Ok(chunks.sync()?)).await?;
    let submitted = api.run(move |node, now| {
        let options = SendOptions { terms: release.terms()?, queue: release.queue };
        let digest = digest_in(&release.document.0);
        let ids = node.submit_release(now, &actor, release.document.0, options)?;
        let kept = digest.and_then(|digest| node.registry().release(&digest));
        if let Some(unsigned) = kept.filter(|kept| kept.state == ReleaseState::Unsigned) {
            return Ok((waiting(node.release_item(unsigned)), Vec::new()));
        }
        let records: Vec<&DeliveryRecord> =
            ids.iter().filter_map(|id| node.registry().delivery(*id)).collect();
        let newest = records.first().map(|record| record.release);
        let deliveries: Vec<DeliveryItem> =
            records.into_iter().map(|record| node.delivery_item(record)).collect();
        // A group may have lost its last receiver a moment ago: nothing to tell then.
        let release = newest.and_then(|name| {
            let group = node.registry().group(&name.group)?.name.clone();
            let release = name.digest.to_string();
            Some(InstalledItem { group, sequence: name.order.sequence, release })
        });
        let release = release.ok_or_else(|| {
            let hint = "add receivers with `fleetcast groups add`; they get it then";
            Failure::failed("group-empty", "no receiver is in the group any more", hint)
        })?;
        let chunks = newest.map(|name| node.chunks_of(&name)).unwrap_or_default();
        Ok((Submitted { release, deliveries, signatures: None }, chunks))
    });
    let (submitted, chunks) = submitted.await?;
    api.recent.settle(chunks);
    Ok(Json(submitted))
}

/// What was submitted lacks signatures: it is sent to nobody yet.
fn waiting(item: ReleaseItem) -> Submitted {
    let signatures = Some((item.signatures, item.threshold));
    let ReleaseItem { group, sequence, release, .. } = item;
    let release = InstalledItem { group, sequence, release };
    Submitted { release, deliveries: Vec::new(), signatures }
}

fn digest_in(document: &[u8]) -> Option<Digest> {
    let signed = SignedDocument::parse(document, MAX_ROOT).ok()?;
    Some(signed.digest(Context::Release))
}

/// Which deliveries: of these releases, digests with commas between.
#[derive(Deserialize, JsonSchema)]
pub(super) struct DeliveriesQuery {
    releases: Option<String>,
    ids: Option<String>,
}

pub(super) async fn deliveries(
    State(api): State<Api>,
    Query(query): Query<DeliveriesQuery>,
) -> Answer<Deliveries> {
    let mut ids = HashSet::new();
    for id in query.ids.iter().flat_map(|ids| ids.split(',')) {
        ids.insert(id.parse::<u64>().map_err(|_| malformed("ids are numbers"))?);
    }
    let mut releases = HashSet::new();
    for release in query.releases.iter().flat_map(|releases| releases.split(',')) {
        releases.insert(release.to_owned());
    }
    let found = api.run(move |node, _| {
        let mut digests: HashMap<Digest, bool> = HashMap::new();
        let mut wanted = |delivery: &&DeliveryRecord| {
            let digest = delivery.release.digest;
            let whole =
                *digests.entry(digest).or_insert_with(|| releases.contains(&digest.to_string()));
            whole || ids.contains(&delivery.id)
        };
        let records: Vec<&DeliveryRecord> =
            node.registry().deliveries().filter(&mut wanted).collect();
        let mut sent: Vec<Digest> = records.iter().map(|record| record.release.digest).collect();
        sent.sort_unstable();
        sent.dedup();
        let deliveries = records.into_iter().map(|record| node.delivery_item(record)).collect();
        Ok(Deliveries { deliveries, traffic: traffic_item(&node.traffic(&sent)) })
    });
    Ok(Json(found.await?))
}

const fn traffic_item(traffic: &Traffic) -> TrafficItem {
    TrafficItem {
        payload_bytes: traffic.payload,
        multicast_bytes: traffic.multicast,
        unicast_bytes: traffic.unicast,
        repair_symbols: traffic.repairs,
        nacks: traffic.nacks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(group: &str, sequence: u64, release: &str) -> ReleaseItem {
        ReleaseItem {
            release: release.into(),
            group: group.into(),
            sequence,
            name: String::new(),
            files: 0,
            bytes: 0,
            created: 0,
            expires: 0,
            signatures: 1,
            threshold: 1,
            state: "current".into(),
        }
    }

    #[test]
    fn a_release_is_found_by_its_digest_or_by_group_and_sequence() {
        let items = || vec![item("a#1", 2, "abcdef01"), item("b", 2, "abcdef02")];
        assert_eq!(find(items(), "ABCDEF02").unwrap().group, "b");
        assert_eq!(find(items(), "a#1#2").unwrap().group, "a#1");
        assert_eq!(find(items(), "abcdef").unwrap_err().code, "release-ambiguous");
        assert_eq!(find(items(), "abcde").unwrap_err().code, "release-unknown");
        assert_eq!(find(items(), "b#3").unwrap_err().code, "release-unknown");
    }
}
