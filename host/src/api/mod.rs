//! The server's HTTP API, `/api/v1`: what the command line speaks, over the Unix
//! socket in the state directory.
//!
//! Bodies are JSON in the models of [`crate::status`] and of [`model`]; chunks
//! travel as bytes. A failure is the error document of the contract with a
//! fitting status. Who may open the socket is an admin; nothing here signs.
//!
//! Every handler does its work on the data thread in one go (`Api::run`), and
//! answers when the changes that it made are durable.

mod answer;
mod authority;
mod chunks;
pub mod client;
mod fleet;
mod frames;
mod groups;
mod history;
pub mod model;
mod pending;
mod rate;
mod receivers;
mod recent;
mod releases;
mod requests;
mod retention;
pub mod socket;
mod state;
mod users;

use axum::Router;
use axum::routing::{get, post, put};

pub use state::Api;

impl Api {
    /// All routes.
    pub fn router(self) -> Router {
        let v1 = Router::new()
            .route("/fleet", get(fleet::fleet))
            .route("/status", get(fleet::status))
            .route("/log", get(fleet::log))
            .merge(authority::routes())
            .route("/vouchers", get(fleet::invitations).post(fleet::add_voucher))
            .route("/vouchers/{id}/revoke", post(fleet::revoke))
            .route("/groups", get(groups::list).post(groups::create))
            .route("/groups/{group}", axum::routing::patch(groups::rename).delete(groups::delete))
            .route("/groups/{group}/members", get(groups::members).post(groups::add))
            .route("/groups/{group}/members/{receiver}", axum::routing::delete(groups::remove))
            .route("/groups/{group}/next", get(groups::next))
            .route("/groups/{group}/open", post(requests::open).delete(requests::close))
            .route("/groups/{group}/requests/{receiver}/deny", post(requests::deny))
            .route("/requests", get(requests::list))
            .route("/receivers", get(receivers::list))
            .route("/receivers/ping", post(receivers::ping))
            .route("/receivers/paths", get(receivers::paths))
            .route("/receivers/{receiver}", get(receivers::show).delete(receivers::remove))
            .route("/receivers/{receiver}/approve", post(receivers::approve))
            .route("/receivers/{receiver}/rename", post(receivers::rename))
            .route("/chunks/lacking", post(chunks::lacking))
            .route("/chunks", put(chunks::store))
            .route("/chunks/{id}", get(chunks::read))
            .route("/releases", get(releases::list).post(releases::submit))
            .route("/releases/prune", post(retention::prune))
            .route("/releases/{release}", get(releases::show))
            .route("/releases/{release}/document", get(releases::document))
            .route("/releases/{release}/cancel", post(releases::cancel))
            .route("/releases/{release}/verify", get(retention::verify))
            .route("/receipts", get(history::receipts))
            .route("/receipts/authority", get(history::authority))
            .route("/backup", post(history::backup))
            .route("/restore/confirm", post(history::confirm))
            .route("/deliveries", get(releases::deliveries))
            .route("/rate", get(rate::show).put(rate::set))
            .route("/pending", get(pending::list))
            .route("/pending/send", post(pending::send))
            .route("/pending/{id}/cancel", post(pending::cancel))
            .route("/pending/{id}/pause", post(pending::pause))
            .route("/pending/{id}/resume", post(pending::resume))
            .route("/pending/{id}/retry", post(pending::retry))
            .route("/users", get(users::list).post(users::add))
            .route("/users/{user}", axum::routing::delete(users::remove))
            .route("/users/{user}/password", post(users::password))
            .route("/users/{user}/role", post(users::role))
            .layer(axum::extract::DefaultBodyLimit::max(model::MAX_BODY));
        let guard = axum::middleware::from_fn_with_state(self.clone(), history::guard);
        let all = Router::new().nest("/api/v1", v1).fallback(answer::no_route);
        all.layer(guard).with_state(self)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
