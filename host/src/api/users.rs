//! Accounts, for admins. Passwords are hashed before the data thread hears of them.

use axum::Json;
use axum::extract::{Path, State};

use super::answer::Answer;
use super::caller::Actor;
use super::model::{NewName, NewPassword, NewRole, NewUser, Password};
use super::state::Api;
use crate::accounts::{check_name, hash, is_strong, weak};
use crate::error::Failure;
use crate::status::{AccountItem, Item, Items};

pub(super) async fn list(State(api): State<Api>) -> Answer<Items<AccountItem>> {
    let accounts = api.run(|node, _| Ok(node.account_items())).await?;
    Ok(Json(Items::new("users", accounts)))
}

pub(super) async fn add(
    State(api): State<Api>,
    actor: Actor,
    Json(user): Json<NewUser>,
) -> Answer<Item<AccountItem>> {
    // Before the work: a name that cannot be needs no hash.
    check_name(&user.name)?;
    let password = hashed(user.name.clone(), user.password).await?;
    let added =
        api.run(move |node, _| node.add_account(&actor, &user.name, user.role, password)).await?;
    Ok(Json(Item::new("user", added)))
}

pub(super) async fn password(
    State(api): State<Api>,
    actor: Actor,
    Path(user): Path<String>,
    Json(new): Json<NewPassword>,
) -> Answer<Item<AccountItem>> {
    let password = hashed(user.clone(), new.password).await?;
    let changed =
        api.run(move |node, _| node.change_account(&actor, &user, None, Some(password))).await?;
    Ok(Json(Item::new("user", changed)))
}

pub(super) async fn rename(
    State(api): State<Api>,
    actor: Actor,
    Path(user): Path<String>,
    Json(new): Json<NewName>,
) -> Answer<Item<AccountItem>> {
    let renamed = api.run(move |node, _| node.rename_account(&actor, &user, &new.name)).await?;
    Ok(Json(Item::new("user", renamed)))
}

pub(super) async fn role(
    State(api): State<Api>,
    actor: Actor,
    Path(user): Path<String>,
    Json(new): Json<NewRole>,
) -> Answer<Item<AccountItem>> {
    let changed =
        api.run(move |node, _| node.change_account(&actor, &user, Some(new.role), None)).await?;
    Ok(Json(Item::new("user", changed)))
}

pub(super) async fn remove(
    State(api): State<Api>,
    actor: Actor,
    Path(user): Path<String>,
) -> Answer<Item<AccountItem>> {
    let removed = api.run(move |node, _| node.remove_account(&actor, &user)).await?;
    Ok(Json(Item::new("user", removed)))
}

/// The hash of a password that will do.
pub(super) async fn hashed(name: String, password: Password) -> Result<String, Failure> {
    if !is_strong(&name, password.0.as_bytes()) {
        return Err(weak());
    }
    let hashing = tokio::task::spawn_blocking(move || hash(password.0.as_bytes()));
    hashing.await.unwrap_or_else(|_| {
        Err(Failure::failed("internal", "the password cannot be hashed", "try again"))
    })
}
