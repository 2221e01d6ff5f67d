//! Receivers: who is there, who may stay.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};

use super::answer::Answer;
use super::caller::Actor;
use super::model::{Hex, NewName, PathItem, Paths, PingItem, PingRequest, ReceiverDetail};
use super::state::Api;
use crate::model::ReceiverRecord;
use crate::status::{Items, ReceiverItem};

/// How long a ping may take.
const PING_TIME: Duration = Duration::from_secs(3);
/// How often to look for answers to a ping.
const PING_LOOK: Duration = Duration::from_millis(20);

pub(super) async fn list(State(api): State<Api>) -> Answer<Items<ReceiverItem>> {
    let receivers = api.run(|node, _| Ok(node.receiver_items())).await?;
    Ok(Json(Items::new("receivers", receivers)))
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(receiver): Path<String>,
) -> Answer<ReceiverDetail> {
    let found = api.run(move |node, _| {
        let record = node.receiver(&receiver)?;
        Ok(ReceiverDetail { item: node.receiver_item(record), key: Hex(record.key.0.to_vec()) })
    });
    Ok(Json(found.await?))
}

pub(super) async fn approve(
    State(api): State<Api>,
    actor: Actor,
    Path(receiver): Path<String>,
) -> Answer<()> {
    Ok(Json(api.run(move |node, now| node.approve_receiver(now, &actor, &receiver)).await?))
}

pub(super) async fn rename(
    State(api): State<Api>,
    actor: Actor,
    Path(receiver): Path<String>,
    Json(to): Json<NewName>,
) -> Answer<()> {
    Ok(Json(api.run(move |node, _| node.rename_receiver(&actor, &receiver, &to.name)).await?))
}

pub(super) async fn remove(
    State(api): State<Api>,
    actor: Actor,
    Path(receiver): Path<String>,
) -> Answer<()> {
    Ok(Json(api.run(move |node, now| node.remove_receiver(now, &actor, &receiver)).await?))
}

pub(super) async fn paths(State(api): State<Api>) -> Answer<Paths> {
    let paths = api.run(|node, _| {
        let receivers = node.registry().receivers();
        let item = |receiver: &ReceiverRecord| PathItem {
            receiver: receiver.name.clone(),
            path: node.path_of(&receiver.id).to_owned(),
        };
        Ok(Paths { rate: node.rate(), receivers: receivers.map(item).collect() })
    });
    Ok(Json(paths.await?))
}

/// Answers when all that are here have answered, or after [`PING_TIME`].
pub(super) async fn ping(
    State(api): State<Api>,
    Json(request): Json<PingRequest>,
) -> Answer<Items<PingItem>> {
    let asked = api.run(move |node, now| node.ping(now, &request.receivers)).await?;
    let deadline = tokio::time::Instant::now() + PING_TIME;
    loop {
        let ids = asked.clone();
        let look = api.run(move |node, _| {
            let waits = ids.iter().any(|id| node.is_here(id) && node.round_trip(id).is_none());
            let item = |id| {
                let round_trip = node.round_trip(id).map(|span| span.as_micros());
                let receiver = node.registry().receiver(id)?.name.clone();
                Some(PingItem {
                    receiver,
                    answered: round_trip.is_some(),
                    round_trip_us: round_trip,
                })
            };
            Ok((waits, ids.iter().filter_map(item).collect::<Vec<_>>()))
        });
        let (waits, mut items) = look.await?;
        if !waits || tokio::time::Instant::now() >= deadline {
            items.sort_unstable_by(|a, b| a.receiver.cmp(&b.receiver));
            return Ok(Json(Items::new("pings", items)));
        }
        tokio::time::sleep(PING_LOOK).await;
    }
}
