//! Who may do what: the one place where rights are enforced.
//!
//! A door ([`Door`]) tells who asks, a route's entry in the table ([`Rule`]) tells who
//! may, and [`authorize`], which stands before every route, compares the two. While a
//! request takes long it is asked again each second: who loses a right loses it at once.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use fleetcast_core::digest::Digest;

use super::caller::Caller;
use super::refusal::Refusal;
use super::state::Api;
use crate::error::Failure;
use crate::model::Role;

/// How often a request that takes long is asked again whether it still may.
const AGAIN: Duration = Duration::from_secs(1);

/// Who may use a route at least; each may do what those before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Least {
    /// Whoever reaches the server.
    Anyone,
    /// A person with an account: what concerns that account.
    Member,
    /// Who looks at everything.
    Operator,
    /// Who distributes and manages.
    Admin,
    /// The owner of the state directory, at its socket: what concerns the server's own files.
    Owner,
}

impl Least {
    /// The word for it, as the API's description tells it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Member => "member",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Whether `caller` is one of them.
    fn includes(self, caller: &Caller) -> bool {
        let most = match (caller, caller.role()) {
            (Caller::Owner, _) => Self::Owner,
            (_, Some(Role::Admin)) => Self::Admin,
            (_, Some(Role::Operator)) => Self::Operator,
            (_, Some(Role::Member)) => Self::Member,
            (_, None) => Self::Anyone,
        };
        self <= most
    }
}

/// What stands before a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Who may use it at least.
    pub(super) least: Least,
    /// It changes something, and so waits while the catalog is in doubt.
    pub(super) changes: bool,
}

impl Rule {
    fn check(self, caller: &Caller) -> Result<(), Failure> {
        match caller {
            _ if self.least.includes(caller) => Ok(()),
            Caller::Nobody(why, _) => Err(why.clone()),
            _ if self.least == Least::Owner => {
                let message = "this can be done at the server itself only";
                let hint = "run it there, as the user that the server runs as";
                Err(Failure::failed("forbidden", message, hint))
            }
            _ => {
                let (needs, has) = (self.least.word(), caller.role().map_or("none", Role::word));
                let message = format!("this needs the role {needs}; {} is {has}", caller.name());
                let hint = "ask an admin to do it, or for the role: fleetcast users role";
                Err(Failure::failed("forbidden", message, hint))
            }
        }
    }
}

/// Where requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The socket in the state directory, which only its owner can open.
    Socket,
    /// The network: whoever comes shows a token.
    Network,
}

/// Where a connection over the network comes from; its listener says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin(pub(super) SocketAddr);

/// Finds out who asks. Nobody is refused here: some routes are for anyone.
pub(super) async fn authenticate(
    State((api, door)): State<(Api, Door)>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = request.extensions().get::<Origin>().map(|from| from.0.ip());
    let caller = match (door, from) {
        (Door::Socket, None) => Caller::Owner,
        (Door::Network, Some(from)) => who(&api, request.headers(), from).await,
        // A door that does not know where somebody comes from lets nobody in.
        _ => return Refusal::from(nowhere()).into_response(),
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

async fn who(api: &Api, headers: &HeaderMap, from: IpAddr) -> Caller {
    let Some(hash) = token_of(headers) else {
        let hint = "`fleetcast login`, or put a token into FLEETCAST_TOKEN";
        return Caller::Nobody(
            Failure::failed("token-needed", "nobody is logged in at this server", hint),
            from,
        );
    };
    let shown = api.run(move |node, now| {
        node.bearer(&hash).map_err(|why| {
            let counts = why.code.starts_with("token-");
            if counts && !node.token_refused(now, from, &why.message) {
                return limited();
            }
            why
        })
    });
    match shown.await {
        Ok(bearer) => Caller::Person(bearer, from),
        Err(why) => Caller::Nobody(why, from),
    }
}

/// The hash of the token in the one header `Authorization: Bearer`.
fn token_of(headers: &HeaderMap) -> Option<Digest> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| hash_of(token.trim()))
}

/// What is kept of a token. It is random and long: no work is needed against guessing.
pub(super) fn hash_of(token: &str) -> Digest {
    Digest::of(token.as_bytes())
}

/// Lets a request through to its route, for as long as its caller may.
pub(super) async fn authorize(
    State((api, rule)): State<(Api, Rule)>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    if let Err(failure) = rule.check(&caller) {
        return Refusal::from(failure).into_response();
    }
    if rule.changes
        && let Err(failure) = undoubted(&api).await
    {
        return Refusal::from(failure).into_response();
    }
    let Caller::Person(bearer, from) = caller else { return next.run(request).await };
    tokio::select! {
        response = next.run(request) => response,
        failure = ended(&api, rule, bearer.token, from) => Refusal::from(failure).into_response(),
    }
}

/// Resolves when a caller may not any more, with the reason.
async fn ended(api: &Api, rule: Rule, token: Digest, from: IpAddr) -> Failure {
    loop {
        tokio::time::sleep(AGAIN).await;
        let still = api.run(move |node, _| node.bearer(&token)).await;
        if let Err(failure) = still.and_then(|bearer| rule.check(&Caller::Person(bearer, from))) {
            return failure;
        }
    }
}

/// Nothing is changed while the catalog is in doubt.
async fn undoubted(api: &Api) -> Result<(), Failure> {
    match api.run(|node, _| Ok(node.in_doubt())).await? {
        None => Ok(()),
        Some(_) => {
            let message = "the catalog was restored from an older copy: nothing is changed or \
                           sent before somebody has looked at it";
            let hint = "compare groups and receivers, then `fleetcast restore --confirm`";
            Err(Failure::failed("catalog-in-doubt", message, hint))
        }
    }
}

fn limited() -> Failure {
    let hint = "stop what shows the old token; it takes a minute then";
    Failure::failed("token-limited", "too many wrong tokens came from your address", hint)
}

fn nowhere() -> Failure {
    Failure::failed("internal", "a request came from nowhere", "tell the developers")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::server::tokens::Bearer;

    fn person(role: Role) -> Caller {
        let bearer = Bearer { account: "ann".into(), role, token: Digest([0; 32]) };
        Caller::Person(bearer, [127, 0, 0, 1].into())
    }

    #[test]
    fn each_role_may_do_what_those_below_it_may() {
        let nobody = Caller::Nobody(nowhere(), [127, 0, 0, 1].into());
        let callers = [
            nobody,
            person(Role::Member),
            person(Role::Operator),
            person(Role::Admin),
            Caller::Owner,
        ];
        let least = [Least::Anyone, Least::Member, Least::Operator, Least::Admin, Least::Owner];
        for (rank, caller) in callers.iter().enumerate() {
            for (needed, least) in least.into_iter().enumerate() {
                let allowed = Rule { least, changes: false }.check(caller).is_ok();
                assert_eq!(allowed, rank >= needed, "{caller:?} {least:?}");
            }
        }
        let refused = Rule { least: Least::Admin, changes: true }.check(&person(Role::Operator));
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, "forbidden");
        assert_eq!(refused.message, "this needs the role admin; ann is operator");
    }

    #[test]
    fn a_token_stands_in_one_header_of_one_form() {
        let token = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            token_of(&headers)
        };
        // printf fct_a | sha256sum
        let expected = "d5059440d875b96ec0e5c69a531931f1ba8064debfc59517eee16135ec8004f7";
        assert_eq!(token(&["Bearer fct_a"]).unwrap().to_string(), expected);
        assert_eq!(token(&["bearer  fct_a "]), token(&["Bearer fct_a"]));
        assert_ne!(token(&["Bearer fct_b"]), token(&["Bearer fct_a"]));
        for values in [&[][..], &["fct_a"], &["Basic fct_a"], &["Bearer fct_a", "Bearer fct_b"]] {
            assert_eq!(token(values), None, "{values:?}");
        }
    }
}
