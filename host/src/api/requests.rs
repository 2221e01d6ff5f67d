//! Requests to join, and groups that are open to all.

use axum::Json;
use axum::extract::{Path, Query, State};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::{Answer, malformed};
use super::caller::Actor;
use super::model::{Denial, NewVoucher};
use super::state::Api;
use crate::status::{Items, RequestItem};

/// Requests of which group.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RequestsQuery {
    group: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<RequestsQuery>,
) -> Answer<Items<RequestItem>> {
    let requests = api.run(move |node, _| node.request_items(query.group.as_deref()));
    Ok(Json(Items::new("requests", requests.await?)))
}

pub(super) async fn propose(
    State(api): State<Api>,
    actor: Actor,
    Path((group, receiver)): Path<(String, String)>,
) -> Answer<()> {
    Ok(Json(api.run(move |node, _| node.propose_member(&actor, &group, &receiver)).await?))
}

pub(super) async fn deny(
    State(api): State<Api>,
    actor: Actor,
    Path((group, receiver)): Path<(String, String)>,
    Json(denial): Json<Denial>,
) -> Answer<()> {
    let denied =
        api.run(move |node, now| node.deny_request(now, &actor, &group, &receiver, &denial.reason));
    Ok(Json(denied.await?))
}

pub(super) async fn open(
    State(api): State<Api>,
    actor: Actor,
    Path(group): Path<String>,
    Json(voucher): Json<NewVoucher>,
) -> Answer<()> {
    let token = voucher.token.array().ok_or_else(|| malformed("a token has 16 bytes"))?;
    let opened = api.run(move |node, _| node.open_group(&actor, &group, voucher.document.0, token));
    Ok(Json(opened.await?))
}

pub(super) async fn close(
    State(api): State<Api>,
    actor: Actor,
    Path(group): Path<String>,
) -> Answer<()> {
    Ok(Json(api.run(move |node, _| node.close_group(&actor, &group)).await?))
}
