//! The fleet as a whole: whom it trusts, how it is, what happened; invitations.

use axum::Json;
use axum::extract::{Path, Query, State};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::{Answer, malformed};
use super::caller::Actor;
use super::model::{FleetInfo, Hex, LogItem, NewVoucher};
use super::state::Api;
use crate::error::Failure;
use crate::model::LogRecord;
use crate::status::{InvitationItem, Item, Items, StatusItem};

/// Most lines of the log in one answer.
const LOG_PAGE: u32 = 1_000;

pub(super) async fn fleet(State(api): State<Api>) -> Answer<FleetInfo> {
    let listen = api.listen;
    let info = api.run(move |node, _| {
        let authority = node.authority();
        let document = authority.document();
        let own = authority.controllers().find(|named| named.exchange == *node.own_key());
        let named = own.or_else(|| authority.controllers().next());
        let controller = named.ok_or_else(no_controller)?;
        Ok(FleetInfo {
            fleet: Hex(document.fleet.0.to_vec()),
            version: document.version,
            digest: Hex(authority.digest().0.to_vec()),
            threshold: document.threshold,
            admins: authority.admins().map(|key| Hex(key.0.to_vec())).collect(),
            controller: Hex(controller.exchange.0.to_vec()),
            listen: listen.to_string(),
            time: node.time(),
        })
    });
    Ok(Json(info.await?))
}

pub(super) async fn status(State(api): State<Api>) -> Answer<Item<StatusItem>> {
    let status = api.run(|node, now| Ok(node.status(now))).await?;
    Ok(Json(Item::new("status", status)))
}

pub(super) async fn add_voucher(
    State(api): State<Api>,
    actor: Actor,
    Json(voucher): Json<NewVoucher>,
) -> Answer<Hex> {
    let token = voucher.token.array().ok_or_else(|| malformed("a token has 16 bytes"))?;
    let added = api.run(move |node, _| node.add_voucher(&actor, voucher.document.0, token));
    Ok(Json(Hex(added.await?.0.to_vec())))
}

pub(super) async fn invitations(State(api): State<Api>) -> Answer<Items<InvitationItem>> {
    let invitations = api.run(|node, _| Ok(node.invitation_items())).await?;
    Ok(Json(Items::new("invitations", invitations)))
}

pub(super) async fn revoke(
    State(api): State<Api>,
    actor: Actor,
    Path(id): Path<String>,
) -> Answer<Item<InvitationItem>> {
    let revoked = api.run(move |node, _| node.revoke_invitation(&actor, &id)).await?;
    Ok(Json(Item::new("invitation", revoked)))
}

/// Which page of the log.
#[derive(Deserialize, JsonSchema)]
pub(super) struct LogQuery {
    #[serde(default)]
    after: u64,
}

/// Lines after a number, oldest first, at most [`LOG_PAGE`].
pub(super) async fn log(
    State(api): State<Api>,
    Query(query): Query<LogQuery>,
) -> Answer<Items<LogItem>> {
    let lines = api.catalog.log_after(query.after, LOG_PAGE).await.map_err(Failure::from)?;
    Ok(Json(Items::new("log", lines.into_iter().map(log_item).collect())))
}

fn log_item(line: LogRecord) -> LogItem {
    LogItem {
        number: line.number,
        time: line.time,
        actor: line.actor,
        action: line.action,
        subject: line.subject,
        result: line.result,
        digest: Hex(line.digest.0.to_vec()),
    }
}

fn no_controller() -> Failure {
    let hint = "sign an authority document that names this server";
    Failure::failed("no-controller", "the authority document names no server", hint)
}
