//! The table of routes. A route that does not stand here does not exist; its entry says
//! who may use it, and what stands before it enforces that (`access.rs`).

use std::sync::OnceLock;

use axum::Json;
use serde_json::Value;

use super::access::Least::{Admin, Anyone, Member, Operator, Owner};
use super::answer::Answer;
use super::model::MAX_LOGIN;
use super::route::{Route, delete, get, patch, post, put};
use super::{
    authority, chunks, fleet, groups, history, me, openapi, pending, rate, receivers, releases,
    requests, retention, tokens, users,
};

/// All routes below `/api/v1`: path, who may at least, handler, what it does.
///
/// Members have to do with their own account only. Operators look at everything but
/// contents, and propose who is to be in a group, which changes nothing by itself. `post`
/// and the like wait while the catalog is in doubt, unless they change nothing that it
/// could lack.
pub(super) fn table() -> Vec<Route> {
    [own(), fleet(), trust(), receiving(), sending(), accounts()].into_iter().flatten().collect()
}

/// One's own account.
fn own() -> Vec<Route> {
    vec![
        get("/openapi.json", Member, description, "This description"),
        post("/login", Anyone, me::log_in, "Get a token by a password").at_most(MAX_LOGIN),
        post("/logout", Member, me::log_out, "End the token that is shown"),
        get("/me", Member, me::show, "Who I am"),
        post("/me/name", Member, me::rename, "Rename my account"),
        post("/me/password", Member, me::password, "Give my account another password"),
        get("/me/tokens", Member, me::tokens, "My tokens"),
        post("/me/tokens", Member, me::add_token, "Make a token of mine"),
        post("/me/tokens/{token}/revoke", Member, me::revoke_token, "Take a token of mine back"),
    ]
}

/// The fleet as a whole.
fn fleet() -> Vec<Route> {
    vec![
        get("/fleet", Operator, fleet::fleet, "Whom the fleet trusts, and where its server is"),
        get("/status", Operator, fleet::status, "The picture of now"),
        get("/log", Operator, fleet::log, "Lines of the audit log after a number"),
        get("/receipts", Operator, history::receipts, "Receipts from an offset on"),
        get("/receipts/authority", Operator, history::authority, "What receipts are checked by"),
        get("/rate", Operator, rate::show, "The cap of all that is sent, by hour of the day"),
        put("/rate", Admin, rate::set, "Set that cap"),
        get("/vouchers", Operator, fleet::invitations, "Invitations that were made"),
        post("/vouchers", Admin, fleet::add_voucher, "Take an invitation that admins signed"),
        post("/vouchers/{id}/revoke", Admin, fleet::revoke, "Take an invitation back"),
        // It writes a file of the server's machine.
        post("/backup", Owner, history::backup, "Write a backup").also_in_doubt(),
        post("/restore/confirm", Owner, history::confirm, "A restored catalog was looked at")
            .also_in_doubt(),
    ]
}

/// Whom the fleet trusts.
fn trust() -> Vec<Route> {
    vec![
        get("/authority", Operator, authority::show, "The authority documents, and who has them"),
        post("/authority/proposals", Admin, authority::propose, "Take a change, or signatures"),
        delete("/authority/proposals/{id}", Admin, authority::withdraw, "Drop a change"),
        post("/authority/controller", Admin, authority::controller, "The server's next keys"),
        post("/authority/doubtful", Admin, authority::doubtful, "What would count no more")
            .also_in_doubt(),
        post("/authority/memberships", Admin, authority::renew, "Memberships signed anew"),
    ]
}

/// Groups, and the receivers in them.
fn receiving() -> Vec<Route> {
    vec![
        get("/groups", Operator, groups::list, "All groups"),
        post("/groups", Admin, groups::create, "Create a group"),
        patch("/groups/{group}", Admin, groups::rename, "Rename a group"),
        delete("/groups/{group}", Admin, groups::delete, "Delete a group"),
        get("/groups/{group}/members", Operator, groups::members, "Receivers of a group"),
        post("/groups/{group}/members", Admin, groups::add, "Add a receiver, by a certificate"),
        delete("/groups/{group}/members/{receiver}", Admin, groups::remove, "Remove a receiver"),
        get("/groups/{group}/next", Operator, groups::next, "What its next release is made from"),
        post("/groups/{group}/open", Admin, requests::open, "Open a group to all"),
        delete("/groups/{group}/open", Admin, requests::close, "Close it"),
        get("/requests", Operator, requests::list, "Requests to join that wait"),
        post(
            "/groups/{group}/requests/{receiver}/propose",
            Operator,
            requests::propose,
            "Propose that a receiver be in a group",
        ),
        post("/groups/{group}/requests/{receiver}/deny", Admin, requests::deny, "Deny a request"),
        get("/receivers", Operator, receivers::list, "All receivers"),
        get("/receivers/paths", Operator, receivers::paths, "By which path each would be reached"),
        post("/receivers/ping", Operator, receivers::ping, "Ask whether they are there")
            .also_in_doubt(),
        get("/receivers/{receiver}", Operator, receivers::show, "A receiver, with its key"),
        delete("/receivers/{receiver}", Admin, receivers::remove, "Forget a receiver"),
        post("/receivers/{receiver}/approve", Admin, receivers::approve, "Take one in that waits"),
        post("/receivers/{receiver}/rename", Admin, receivers::rename, "Rename a receiver"),
    ]
}

/// What is sent.
fn sending() -> Vec<Route> {
    vec![
        post("/chunks/lacking", Admin, chunks::lacking, "Which ids are lacking, a bit for each")
            .also_in_doubt(),
        put("/chunks", Admin, chunks::store, "Store chunks: id and record, again and again"),
        get("/chunks/{id}", Admin, chunks::read, "The record of a chunk"),
        get("/releases", Operator, releases::list, "Releases of a group, or all"),
        post("/releases", Admin, releases::submit, "Submit a release that admins signed"),
        post("/releases/prune", Admin, retention::prune, "Forget releases that nobody needs"),
        get("/releases/{release}", Operator, releases::show, "A release, by digest or GROUP#N"),
        get("/releases/{release}/document", Operator, releases::document, "Its signed root"),
        post("/releases/{release}/cancel", Admin, releases::cancel, "Take a release back"),
        post("/releases/{release}/signatures", Admin, authority::sign_release, "More signatures"),
        get("/releases/{release}/verify", Operator, retention::verify, "Read its chunks again"),
        get(
            "/deliveries",
            Operator,
            releases::deliveries,
            "Deliveries, and what was sent for them",
        ),
        get("/pending", Operator, pending::list, "Deliveries that are not final"),
        post("/pending/send", Admin, pending::send, "Let deliveries go now"),
        post("/pending/{id}/cancel", Admin, pending::cancel, "Take a delivery back"),
        post("/pending/{id}/pause", Admin, pending::pause, "Stop a delivery until it is resumed"),
        post("/pending/{id}/resume", Admin, pending::resume, "Let it go on"),
        post("/pending/{id}/retry", Admin, pending::retry, "Queue it once more"),
    ]
}

/// Accounts, and their tokens.
fn accounts() -> Vec<Route> {
    vec![
        get("/users", Admin, users::list, "All accounts"),
        post("/users", Admin, users::add, "Make an account"),
        delete("/users/{user}", Admin, users::remove, "Remove an account"),
        post("/users/{user}/name", Admin, users::rename, "Rename an account"),
        post("/users/{user}/password", Admin, users::password, "Give it another password"),
        post("/users/{user}/role", Admin, users::role, "Give it another role"),
        post("/users/{user}/tokens", Admin, tokens::add, "Make a token of an account"),
        get("/tokens", Admin, tokens::list, "All tokens"),
        post("/tokens/{token}/revoke", Admin, tokens::revoke, "Take a token back"),
    ]
}

/// The description of the API as a document of OpenAPI 3.1.
#[must_use]
pub fn description_document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| openapi::document(&table()))
}

async fn description() -> Answer<Value> {
    Ok(Json(description_document().clone()))
}
