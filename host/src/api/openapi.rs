//! The description of the API (OpenAPI 3.1), made from the table of routes.

use serde_json::{Map, Value, json};

use super::access::Least;
use super::describe::Schemas;
use super::model::FailureBody;
use super::route::Route;

/// The document.
pub(super) fn document(routes: &[Route]) -> Value {
    let mut schemas = Schemas::new();
    let failure = schemas.answer::<FailureBody>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths.entry(format!("/api/v1{}", route.path)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut schemas);
    }
    let failed = json!({
        "description": "Why it was refused, and what to do about it.",
        "content": { "application/json": { "schema": failure } },
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "fleetcast",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the command line speaks: over the socket in the state \
                directory, as its owner; over TLS, with a token of an account. `x-least-role` \
                says who may use a route at least; each role may do what those before it may: \
                anyone, member, operator, admin, owner.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas.named(),
            "responses": { "Failure": failed },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "fct_…" },
            },
        },
        "security": [{ "token": [] }],
    })
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let told = (route.describe)(schemas);
    let named = names(route.path).zip(told.segments).map(
        |(name, schema)| json!({ "name": name, "in": "path", "required": true, "schema": schema }),
    );
    let parameters: Vec<Value> = named.chain(told.query).collect();
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.title,
        "tags": [route.path.split('/').nth(1).unwrap_or_default()],
        "x-least-role": route.rule.least.word(),
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": told.gives },
            "default": { "$ref": "#/components/responses/Failure" },
        },
    });
    if let Some(content) = told.takes {
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if route.rule.least == Least::Anyone {
        operation["security"] = json!([]);
    }
    operation
}

/// Names of the variable segments of a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// A name for generators of clients: `post_groups_group_members`.
fn operation_id(route: &Route) -> String {
    let method = route.method.as_str().to_ascii_lowercase();
    let parts = route.path.split(['/', '.']).filter(|part| !part.is_empty());
    let parts = parts.map(|part| part.trim_matches(['{', '}']));
    parts.fold(method, |id, part| format!("{id}_{part}"))
}
