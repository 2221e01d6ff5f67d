//! Tokens: making them, showing them once, taking them back. Here for admins; people's
//! own are in `me.rs`.

use axum::Json;
use axum::extract::{Path, State};
use data_encoding::BASE64URL_NOPAD;

use super::access::hash_of;
use super::answer::Answer;
use super::caller::Actor;
use super::model::{MAX_TOKEN_SECONDS, TokenWish};
use super::state::Api;
use crate::error::Failure;
use crate::keys::random;
use crate::server::tokens::NewToken;
use crate::status::{IssuedItem, Item, Items, TokenItem};

/// What every token begins with, so that people and scanners of secrets know one.
const TOKEN: &str = "fct_";
/// Random bytes of a token.
const RANDOM: usize = 32;

pub(super) async fn list(State(api): State<Api>) -> Answer<Items<TokenItem>> {
    let tokens = api.run(|node, _| Ok(node.token_items(None))).await?;
    Ok(Json(Items::new("tokens", tokens)))
}

pub(super) async fn add(
    State(api): State<Api>,
    actor: Actor,
    Path(user): Path<String>,
    Json(wish): Json<TokenWish>,
) -> Answer<Item<IssuedItem>> {
    Ok(Json(Item::new("token", issue(&api, &actor, user, wish, false).await?)))
}

pub(super) async fn revoke(
    State(api): State<Api>,
    actor: Actor,
    Path(token): Path<String>,
) -> Answer<Item<TokenItem>> {
    let revoked = api.run(move |node, _| node.revoke_token(&actor, &token, None)).await?;
    Ok(Json(Item::new("token", revoked)))
}

/// Makes a token of an account; the answer is the only place where it ever stands.
pub(super) async fn issue(
    api: &Api,
    actor: &str,
    account: String,
    wish: TokenWish,
    login: bool,
) -> Result<IssuedItem, Failure> {
    if !(1..=MAX_TOKEN_SECONDS).contains(&wish.seconds) {
        let message = "a token counts for a second at least and for ten years at most";
        return Err(Failure::failed("malformed", message, "write --expires 90d, for example"));
    }
    let token = format!("{TOKEN}{}", BASE64URL_NOPAD.encode(&random::<RANDOM>()?));
    let new = NewToken { hash: hash_of(&token), name: wish.name, login, seconds: wish.seconds };
    let actor = actor.to_owned();
    let made = api.run(move |node, _| node.add_token(&actor, &account, new));
    let (item, role) = made.await?;
    Ok(IssuedItem { token, role, item })
}
