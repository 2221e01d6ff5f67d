//! What a route takes and gives, told by the types of its handler: the description of
//! the API (OpenAPI) cannot say anything else than the code does.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::caller::{Actor, Caller};
use super::refusal::Refusal;
use super::state::Api;

/// Where schemas that have a name stand in the document.
const SCHEMAS: &str = "/components/schemas";

/// The schemas of all bodies. What may be left out of a request always stands in an answer.
pub(super) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12()
                .with(|settings| settings.definitions_path = SCHEMAS.into())
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    /// The schema of an answer.
    pub(super) fn answer<T: JsonSchema>(&mut self) -> Schema {
        self.answers.subschema_for::<T>()
    }

    /// All that have a name.
    pub(super) fn named(&mut self) -> Map<String, Value> {
        let mut named = self.requests.take_definitions(true);
        named.extend(self.answers.take_definitions(true));
        named
    }
}

/// A route, as the document tells it.
#[derive(Default)]
pub(super) struct Operation {
    /// Schemas of the variable segments of its path, in their order.
    pub(super) segments: Vec<Value>,
    /// What may stand behind the question mark.
    pub(super) query: Vec<Value>,
    /// The body that it takes, by its media type.
    pub(super) takes: Option<Value>,
    /// The body that it gives, by its media type.
    pub(super) gives: Value,
}

/// A part of what a handler takes.
pub(super) trait Input {
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

/// What a handler gives.
pub(super) trait Output {
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

/// A handler, by what it takes and gives.
pub(super) trait Described<Inputs> {
    fn describe(schemas: &mut Schemas) -> Operation;
}

macro_rules! described {
    ($($input:ident)*) => {
        impl<F, Fut, R, $($input,)*> Described<($($input,)*)> for F
        where
            F: Fn($($input),*) -> Fut,
            Fut: Future<Output = R>,
            R: Output,
            $($input: Input,)*
        {
            fn describe(schemas: &mut Schemas) -> Operation {
                let mut operation = Operation::default();
                $($input::describe(&mut operation, schemas);)*
                R::describe(&mut operation, schemas);
                operation
            }
        }
    };
}

described!();
described!(A);
described!(A B);
described!(A B C);
described!(A B C D);

/// Parts that come of the server itself.
macro_rules! unseen {
    ($($part:ty),*) => {
        $(impl Input for $part {
            fn describe(_: &mut Operation, _: &mut Schemas) {}
        })*
    };
}

unseen!(State<Api>, Actor, Caller);

impl<T: JsonSchema> Input for Json<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let schema = schemas.requests.subschema_for::<T>();
        operation.takes = Some(json!({ "application/json": { "schema": schema } }));
    }
}

/// Bytes, by what the route's title says of them.
fn binary() -> Value {
    json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } })
}

impl Input for Bytes {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.takes = Some(binary());
    }
}

impl Input for Body {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.takes = Some(binary());
    }
}

impl<T: JsonSchema> Input for Query<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let schema = T::json_schema(&mut schemas.requests).to_value();
        let required = |name: &str| {
            schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
        };
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let required = required(name);
            operation.query.push(
                json!({ "name": name, "in": "query", "required": required, "schema": schema }),
            );
        }
    }
}

impl<T: JsonSchema> Input for Path<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let schema = T::json_schema(&mut schemas.requests).to_value();
        // A tuple is an array of its members.
        match schema["prefixItems"].as_array() {
            Some(members) => operation.segments.extend(members.iter().cloned()),
            None => operation.segments.push(schema),
        }
    }
}

impl<T: JsonSchema> Output for Answer<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let schema = schemas.answer::<T>();
        operation.gives = json!({ "application/json": { "schema": schema } });
    }
}

impl Output for Result<Vec<u8>, Refusal> {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.gives = binary();
    }
}
