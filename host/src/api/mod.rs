//! The server's HTTP API, `/api/v1`: what the command line speaks, over the Unix
//! socket in the state directory, and from other machines over TLS with a token.
//!
//! Bodies are JSON in the models of [`crate::status`] and of [`model`]; chunks
//! travel as bytes. A failure is the error document of the contract with a
//! fitting status. Nothing here signs.
//!
//! A request goes this way:
//!
//! ```text
//! socket ──────────────┐
//! remote (TLS, bounds) ┴▶ authenticate ─▶ authorize ─▶ handler ─▶ data thread
//!                         who asks        who may: the table of `routes.rs`
//! ```
//!
//! Every handler does its work on the data thread in one go (`Api::run`), and
//! answers when the changes that it made are durable. To add a route: a handler, and
//! a line in the table of `routes.rs`.

mod access;
mod answer;
mod authority;
mod caller;
mod chunks;
pub mod client;
mod describe;
mod fleet;
mod frames;
mod groups;
mod history;
mod identity;
mod me;
pub mod model;
mod openapi;
mod paced;
mod pending;
pub mod pinned;
mod rate;
mod receivers;
mod recent;
mod refusal;
mod releases;
pub mod remote;
mod requests;
mod retention;
mod route;
mod routes;
pub mod socket;
mod state;
mod tokens;
mod transport;
mod users;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};

use self::access::{Door, authenticate};

pub use routes::description_document;
pub use state::Api;

impl Api {
    /// All routes, for whoever comes by the socket in the state directory: its owner.
    pub fn router(self) -> Router {
        self.behind(Door::Socket)
    }

    /// All routes, for whoever comes over the network and shows a token.
    fn remote_router(self) -> Router {
        self.behind(Door::Network).layer(from_fn(paced::pace))
    }

    fn behind(self, door: Door) -> Router {
        let mount = |router: Router<Self>, route: route::Route| route.mount(router, &self);
        let v1 = routes::table().into_iter().fold(Router::new(), mount);
        let v1 = v1.layer(DefaultBodyLimit::max(model::MAX_BODY));
        Router::new()
            .nest("/api/v1", v1)
            .fallback(answer::no_route)
            .method_not_allowed_fallback(answer::no_method)
            .layer(from_fn_with_state((self.clone(), door), authenticate))
            .layer(from_fn(answer::in_our_words))
            .with_state(self)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
