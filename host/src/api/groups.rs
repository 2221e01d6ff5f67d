//! Groups and their members.

use axum::Json;
use axum::extract::{Path, State};

use super::answer::Answer;
use super::caller::Actor;
use super::model::{Hex, NewGroup, NewMember, NewName, NextRelease};
use super::state::Api;
use crate::status::{GroupItem, Items, ReceiverItem};

pub(super) async fn list(State(api): State<Api>) -> Answer<Items<GroupItem>> {
    let groups = api.run(|node, _| Ok(node.group_items())).await?;
    Ok(Json(Items::new("groups", groups)))
}

pub(super) async fn create(
    State(api): State<Api>,
    actor: Actor,
    Json(group): Json<NewGroup>,
) -> Answer<GroupItem> {
    let created = api.run(move |node, _| {
        node.create_group(&actor, &group.name, group.open)?;
        Ok(GroupItem { name: group.name, open: group.open, receivers: 0, sequence: 0 })
    });
    Ok(Json(created.await?))
}

pub(super) async fn rename(
    State(api): State<Api>,
    actor: Actor,
    Path(group): Path<String>,
    Json(to): Json<NewName>,
) -> Answer<GroupItem> {
    let renamed = api.run(move |node, _| {
        node.rename_group(&actor, &group, &to.name)?;
        let found = node.group_items().into_iter().find(|item| item.name == to.name);
        // It was renamed a line before.
        Ok(found.unwrap_or(GroupItem { name: to.name, open: false, receivers: 0, sequence: 0 }))
    });
    Ok(Json(renamed.await?))
}

pub(super) async fn delete(
    State(api): State<Api>,
    actor: Actor,
    Path(group): Path<String>,
) -> Answer<()> {
    Ok(Json(api.run(move |node, now| node.delete_group(now, &actor, &group)).await?))
}

pub(super) async fn members(
    State(api): State<Api>,
    Path(group): Path<String>,
) -> Answer<Items<ReceiverItem>> {
    let members = api.run(move |node, _| {
        let group = node.group(&group)?.id;
        let registry = node.registry();
        let members = registry.members(group).filter_map(|m| registry.receiver(&m.receiver));
        let mut items: Vec<_> = members.map(|receiver| node.receiver_item(receiver)).collect();
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(items)
    });
    Ok(Json(Items::new("receivers", members.await?)))
}

pub(super) async fn add(
    State(api): State<Api>,
    actor: Actor,
    Path(group): Path<String>,
    Json(member): Json<NewMember>,
) -> Answer<()> {
    let added = api.run(move |node, now| {
        node.add_member(now, &actor, &group, &member.receiver, member.certificate.0)
    });
    Ok(Json(added.await?))
}

pub(super) async fn remove(
    State(api): State<Api>,
    actor: Actor,
    Path((group, receiver)): Path<(String, String)>,
) -> Answer<()> {
    let removed = api.run(move |node, now| node.remove_member(now, &actor, &group, &receiver));
    Ok(Json(removed.await?))
}

pub(super) async fn next(State(api): State<Api>, Path(group): Path<String>) -> Answer<NextRelease> {
    let next = api.run(move |node, _| {
        let order = node.next_order(&group)?;
        let group = node.group(&group)?;
        let registry = node.registry();
        let members = registry.members(group.id).filter_map(|m| registry.receiver(&m.receiver));
        let (receivers, constrained) =
            members.fold((0, false), |(n, any), member| (n + 1, any || member.constrained));
        let authority = node.authority().document();
        Ok(NextRelease {
            fleet: Hex(authority.fleet.0.to_vec()),
            authority: authority.version,
            group: Hex(group.id.0.to_vec()),
            name: group.name.clone(),
            reset_epoch: order.reset_epoch,
            sequence: order.sequence,
            current: registry.current_release(group.id).map(|r| Hex(r.document.clone())),
            receivers,
            constrained,
            time: Some(registry.time()),
        })
    });
    Ok(Json(next.await?))
}
