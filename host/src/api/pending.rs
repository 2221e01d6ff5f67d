//! Deliveries that are not final: what admins do about them.

use axum::Json;
use axum::extract::{Path, State};
use fleetcast_core::time::Instant;

use super::answer::Answer;
use super::caller::Actor;
use super::model::SendPending;
use super::state::Api;
use crate::driver::server::Node;
use crate::error::Failure;
use crate::status::{DeliveryItem, Items};

pub(super) async fn list(State(api): State<Api>) -> Answer<Items<DeliveryItem>> {
    let items = api.run(|node, _| Ok(node.pending_items())).await?;
    Ok(Json(Items::new("pending", items)))
}

/// Answers with the deliveries that go now.
pub(super) async fn send(
    State(api): State<Api>,
    actor: Actor,
    Json(chosen): Json<SendPending>,
) -> Answer<Items<DeliveryItem>> {
    let sent = api.run(move |node, now| {
        let ids = node.send_pending(now, &actor, &chosen.ids)?;
        ids.into_iter().map(|id| item(node, id)).collect::<Result<Vec<_>, Failure>>()
    });
    Ok(Json(Items::new("pending", sent.await?)))
}

pub(super) async fn cancel(
    State(api): State<Api>,
    actor: Actor,
    Path(id): Path<u64>,
) -> Answer<DeliveryItem> {
    one(&api, id, move |node, now, id| node.cancel_delivery(now, &actor, id)).await
}

pub(super) async fn pause(
    State(api): State<Api>,
    actor: Actor,
    Path(id): Path<u64>,
) -> Answer<DeliveryItem> {
    one(&api, id, move |node, now, id| node.pause_delivery(now, &actor, id)).await
}

pub(super) async fn resume(
    State(api): State<Api>,
    actor: Actor,
    Path(id): Path<u64>,
) -> Answer<DeliveryItem> {
    one(&api, id, move |node, now, id| node.resume_delivery(now, &actor, id)).await
}

/// Answers with the new delivery that takes the failed one's place.
pub(super) async fn retry(
    State(api): State<Api>,
    actor: Actor,
    Path(id): Path<u64>,
) -> Answer<DeliveryItem> {
    let queued = api.run(move |node, now| {
        node.retry_delivery(now, &actor, id)?;
        let newest = node.registry().deliveries().last();
        Ok(node.delivery_item(newest.ok_or_else(|| gone(id))?))
    });
    Ok(Json(queued.await?))
}

/// Does something to a delivery, and answers with what it is then.
async fn one(
    api: &Api,
    id: u64,
    work: impl FnOnce(&mut Node, Instant, u64) -> Result<(), Failure> + Send + 'static,
) -> Answer<DeliveryItem> {
    let done = api.run(move |node, now| {
        work(node, now, id)?;
        item(node, id)
    });
    Ok(Json(done.await?))
}

fn item(node: &Node, id: u64) -> Result<DeliveryItem, Failure> {
    let record = node.registry().delivery(id).ok_or_else(|| gone(id))?;
    Ok(node.delivery_item(record))
}

fn gone(id: u64) -> Failure {
    let message = format!("there is no such open delivery: {id}");
    Failure::failed("delivery-unknown", message, "fleetcast pending list")
}
