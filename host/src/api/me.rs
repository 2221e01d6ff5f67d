//! One's own account: who I am, logging in, name, password, tokens.
//!
//! A token alone neither makes further tokens nor changes name and password: whoever
//! finds one has it only until it is revoked or expires.

use axum::Json;
use axum::extract::{Path, State};

use super::answer::Answer;
use super::caller::Caller;
use super::model::{NewLogin, OwnName, OwnPassword, OwnToken, Password, TokenWish};
use super::state::Api;
use super::tokens::issue;
use super::users::hashed;
use crate::accounts::verify;
use crate::error::Failure;
use crate::model::Role;
use crate::server::tokens::Bearer;
use crate::status::{AccountItem, IssuedItem, Item, Items, MeItem, TokenItem};

/// How long a login counts, in seconds: a working day.
const LOGIN: u64 = 12 * 3_600;

pub(super) async fn log_in(
    State(api): State<Api>,
    caller: Caller,
    Json(login): Json<NewLogin>,
) -> Answer<Item<IssuedItem>> {
    let bearer = prove(&api, &caller, login.user, login.password).await?;
    let wish = TokenWish { name: "login".to_owned(), seconds: LOGIN };
    let issued = issue(&api, &bearer.account, bearer.account.clone(), wish, true).await?;
    Ok(Json(Item::new("token", issued)))
}

pub(super) async fn log_out(State(api): State<Api>, caller: Caller) -> Answer<Item<TokenItem>> {
    let Bearer { account, token, .. } = person(&caller)?.clone();
    let ended = api.run(move |node, _| {
        let id = node.registry().token_of(&token).map(|token| token.id()).unwrap_or_default();
        node.revoke_token(&account, &id, Some(&account))
    });
    Ok(Json(Item::new("token", ended.await?)))
}

pub(super) async fn show(State(api): State<Api>, caller: Caller) -> Answer<Item<MeItem>> {
    let (user, role) = (caller.name().to_owned(), caller.role().unwrap_or(Role::Member));
    let token = match &caller {
        Caller::Person(bearer, _) => {
            let Bearer { account, token, .. } = bearer.clone();
            api.run(move |node, _| {
                let id = node.registry().token_of(&token).map(|token| token.id());
                let own = node.token_items(Some(&account)).into_iter();
                Ok(own.into_iter().find(|item| Some(&item.id) == id.as_ref()))
            })
            .await?
        }
        Caller::Owner | Caller::Nobody(..) => None,
    };
    let owner = matches!(caller, Caller::Owner);
    let me = MeItem { user, role, owner, token, api: api.remote.get().cloned() };
    Ok(Json(Item::new("me", me)))
}

pub(super) async fn rename(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<OwnName>,
) -> Answer<Item<AccountItem>> {
    let own = person(&caller)?.account.clone();
    let proved = prove(&api, &caller, own, new.password).await?.account;
    let renamed = api.run(move |node, _| node.rename_account(&proved, &proved, &new.name));
    Ok(Json(Item::new("user", renamed.await?)))
}

pub(super) async fn password(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<OwnPassword>,
) -> Answer<Item<AccountItem>> {
    let own = person(&caller)?.account.clone();
    let proved = prove(&api, &caller, own, new.present).await?.account;
    let password = hashed(proved.clone(), new.password).await?;
    let changed =
        api.run(move |node, _| node.change_account(&proved, &proved, None, Some(password)));
    Ok(Json(Item::new("user", changed.await?)))
}

pub(super) async fn tokens(State(api): State<Api>, caller: Caller) -> Answer<Items<TokenItem>> {
    let own = person(&caller)?.account.clone();
    let tokens = api.run(move |node, _| Ok(node.token_items(Some(&own)))).await?;
    Ok(Json(Items::new("tokens", tokens)))
}

pub(super) async fn add_token(
    State(api): State<Api>,
    caller: Caller,
    Json(new): Json<OwnToken>,
) -> Answer<Item<IssuedItem>> {
    let own = person(&caller)?.account.clone();
    let proved = prove(&api, &caller, own, new.password).await?.account;
    let wish = TokenWish { name: new.name, seconds: new.seconds };
    let issued = issue(&api, &proved, proved.clone(), wish, false).await?;
    Ok(Json(Item::new("token", issued)))
}

pub(super) async fn revoke_token(
    State(api): State<Api>,
    caller: Caller,
    Path(token): Path<String>,
) -> Answer<Item<TokenItem>> {
    let own = person(&caller)?.account.clone();
    let revoked = api.run(move |node, _| node.revoke_token(&own, &token, Some(&own)));
    Ok(Json(Item::new("token", revoked.await?)))
}

/// The account of who asks; the owner of the socket has none.
fn person(caller: &Caller) -> Result<&Bearer, Failure> {
    match caller {
        Caller::Person(bearer, _) => Ok(bearer),
        Caller::Owner | Caller::Nobody(..) => {
            let message = "the owner of the server's socket has no account";
            let hint = "name one: `fleetcast users passwd U`, `fleetcast users token create U`";
            Err(Failure::failed("account-needed", message, hint))
        }
    }
}

/// Somebody knows the password of an account; as often as one may try.
async fn prove(
    api: &Api,
    caller: &Caller,
    user: String,
    password: Password,
) -> Result<Bearer, Failure> {
    let (name, from) = (user.clone(), caller.address());
    let kept = api.run(move |node, now| node.begin_login(now, &name, from)).await?;
    let compared = kept.clone();
    let right = {
        // One at a time: each takes 20 MiB, whoever asks.
        let _alone = api.passwords.lock().await;
        let comparing =
            tokio::task::spawn_blocking(move || verify(password.0.as_bytes(), compared.as_deref()));
        comparing.await.unwrap_or(false)
    };
    api.run(move |node, now| node.end_login(now, &user, from, (kept, right))).await
}
