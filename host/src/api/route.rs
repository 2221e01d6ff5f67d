//! An entry of the table of routes: a route, who may use it, what it does, what it takes.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::access::{Least, Rule, authorize};
use super::describe::{Described, Operation, Schemas};
use super::state::Api;

/// An entry of the table.
pub(super) struct Route {
    pub(super) method: Method,
    /// Its path below `/api/v1`.
    pub(super) path: &'static str,
    pub(super) rule: Rule,
    /// What it does, for the description.
    pub(super) title: &'static str,
    /// What it takes and gives.
    pub(super) describe: fn(&mut Schemas) -> Operation,
    handler: MethodRouter<Api>,
}

/// A route that only looks.
pub(super) fn get<H, T, D>(
    path: &'static str,
    least: Least,
    handler: H,
    title: &'static str,
) -> Route
where
    H: Handler<T, Api> + Described<D>,
    T: 'static,
{
    route((Method::GET, MethodFilter::GET), path, Rule { least, changes: false }, handler, title)
}

macro_rules! changing {
    ($($name:ident $method:ident $title:literal;)*) => {
        $(
            #[doc = $title]
            pub(super) fn $name<H, T, D>(
                path: &'static str,
                least: Least,
                handler: H,
                title: &'static str,
            ) -> Route
            where
                H: Handler<T, Api> + Described<D>,
                T: 'static,
            {
                let rule = Rule { least, changes: true };
                route((Method::$method, MethodFilter::$method), path, rule, handler, title)
            }
        )*
    };
}

changing! {
    post POST "A route that makes or changes something.";
    put PUT "A route that puts something in its place.";
    patch PATCH "A route that changes a part of something.";
    delete DELETE "A route that takes something away.";
}

fn route<H, T, D>(
    (method, filter): (Method, MethodFilter),
    path: &'static str,
    rule: Rule,
    handler: H,
    title: &'static str,
) -> Route
where
    H: Handler<T, Api> + Described<D>,
    T: 'static,
{
    let handler = on(filter, handler);
    Route { method, path, rule, title, describe: <H as Described<D>>::describe, handler }
}

impl Route {
    /// The same; but it changes nothing that a catalog in doubt could lack.
    pub(super) fn also_in_doubt(mut self) -> Self {
        self.rule.changes = false;
        self
    }

    /// The same, with bodies of at most so many bytes.
    pub(super) fn at_most(mut self, bytes: usize) -> Self {
        self.handler = self.handler.layer(DefaultBodyLimit::max(bytes));
        self
    }

    /// Adds it to `router`, behind its rule.
    pub(super) fn mount(self, router: Router<Api>, api: &Api) -> Router<Api> {
        let guard = from_fn_with_state((api.clone(), self.rule), authorize);
        router.route(self.path, self.handler.route_layer(guard))
    }
}
