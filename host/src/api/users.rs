//! Accounts. Passwords come over the socket of the state directory, which only its
//! owner can open, and are hashed before the data thread hears of them.

use axum::Json;
use axum::extract::{Path, State};

use super::answer::{ACTOR, Answer};
use super::model::{NewPassword, NewRole, NewUser, Password};
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
    Json(user): Json<NewUser>,
) -> Answer<Item<AccountItem>> {
    // Before the work: a name that cannot be needs no hash.
    check_name(&user.name)?;
    let password = hashed(user.name.clone(), user.password).await?;
    let added =
        api.run(move |node, _| node.add_account(ACTOR, &user.name, user.role, password)).await?;
    Ok(Json(Item::new("user", added)))
}

pub(super) async fn password(
    State(api): State<Api>,
    Path(user): Path<String>,
    Json(new): Json<NewPassword>,
) -> Answer<Item<AccountItem>> {
    let password = hashed(user.clone(), new.password).await?;
    let changed =
        api.run(move |node, _| node.change_account(ACTOR, &user, None, Some(password))).await?;
    Ok(Json(Item::new("user", changed)))
}

pub(super) async fn role(
    State(api): State<Api>,
    Path(user): Path<String>,
    Json(new): Json<NewRole>,
) -> Answer<Item<AccountItem>> {
    let changed =
        api.run(move |node, _| node.change_account(ACTOR, &user, Some(new.role), None)).await?;
    Ok(Json(Item::new("user", changed)))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Path(user): Path<String>,
) -> Answer<Item<AccountItem>> {
    let removed = api.run(move |node, _| node.remove_account(ACTOR, &user)).await?;
    Ok(Json(Item::new("user", removed)))
}

async fn hashed(name: String, password: Password) -> Result<String, Failure> {
    if !is_strong(&name, password.0.as_bytes()) {
        return Err(weak());
    }
    let hashing = tokio::task::spawn_blocking(move || hash(password.0.as_bytes()));
    hashing.await.unwrap_or_else(|_| {
        Err(Failure::failed("internal", "the password cannot be hashed", "try again"))
    })
}
