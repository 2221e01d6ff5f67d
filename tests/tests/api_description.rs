//! The description of the API: it names what there is, and what there is looks so. The
//! schemas are checked by a validator that is none of ours.

// Helpers of tests, too, end a test by panicking.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use boon::{Compiler, Draft, Schemas};
use fleetcast_tests::http::Door;
use fleetcast_tests::processes::{Child, Fleet, Receiver, SLOW, program};
use serde_json::{Value, json};

fn socket(fleet: &Fleet) -> Door {
    Door::Socket(fleet.state().join("fleetcast.sock"))
}

fn description(fleet: &Fleet) -> Value {
    let reply = socket(fleet).ask("GET", "/api/v1/openapi.json", None, "");
    assert_eq!(reply.status, 200);
    reply.json()
}

/// The same schemas, but what they do not name must not be there.
fn strict(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            for value in fields.values_mut() {
                *value = strict(value.take());
            }
            if fields.get("properties").is_some_and(Value::is_object)
                && fields.get("type").is_some_and(|kind| kind == "object")
            {
                fields.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = strict(item.take())),
        _ => {}
    }
    schema
}

/// What a validator finds wrong with a body that is to have a schema of a document.
fn faults(document: &Value, schema: &Value, body: &Value) -> Vec<String> {
    let mut root = json!({ "allOf": [schema] });
    root["components"] = document["components"].clone();
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V2020_12);
    compiler.enable_format_assertions();
    compiler.add_resource("schema:body", strict(root)).unwrap();
    let mut schemas = Schemas::new();
    let compiled = compiler.compile("schema:body", &mut schemas);
    let compiled = compiled.unwrap_or_else(|error| panic!("{error:#}: {schema}"));
    let found = schemas.validate(body, compiled).err();
    found.map(|error| error.to_string()).into_iter().collect()
}

#[test]
fn the_document_is_the_same_everywhere_and_its_schemas_are_sound() {
    let fleet = Fleet::start();
    let document = description(&fleet);
    let mut command = std::process::Command::new(program());
    command.arg("openapi");
    let printed: Value = {
        let output = command.output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(printed, document);
    assert_eq!(document["openapi"], "3.1.0");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        // It compiles; and an array is none of them.
        let array = faults(&document, schema, &json!([0]));
        assert!(!array.is_empty(), "{name}: {schema}");
        assert!(schema.to_string().len() > 20, "{name}: {schema}");
    }
    // Every reference leads somewhere.
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    let mut names = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} twice");
            let segments = path.matches('{').count();
            let told = operation["parameters"].as_array().unwrap().iter();
            let told = told.filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(told, segments, "{method} {path}");
            assert!(method != "get" || operation["requestBody"].is_null(), "{path}");
        }
    }
}

#[test]
fn every_route_of_the_document_is_there() {
    let fleet = Fleet::start();
    let (document, door) = (description(&fleet), socket(&fleet));
    for (path, operations) in document["paths"].as_object().unwrap() {
        let filled: Vec<&str> =
            path.split('/').map(|part| if part.starts_with('{') { "0" } else { part }).collect();
        for method in operations.as_object().unwrap().keys() {
            // A body of which nothing can be made: nothing happens.
            let method = method.to_ascii_uppercase();
            if path.ends_with("/restore/confirm") {
                continue;
            }
            let told = door.ask(&method, &filled.join("/"), None, "[0]").told();
            let absent = ["route-unknown", "method-wrong"].contains(&told.1.as_str());
            assert!(!absent && told.0 != 500, "{method} {path}: {told:?}");
        }
    }
}

/// Something of everything that answers can show.
fn populated() -> (Fleet, Receiver) {
    let fleet = Fleet::start_with(&["--api", "127.0.0.1:0"]);
    let file = fleet.path("file");
    fs::write(&file, vec![7; 100_000]).unwrap();
    let receiver = fleet.receiver("r");
    fleet.run_with("correct horse\n", ["users", "add", "ann", "--role", "admin"]).done();
    fleet.run(["users", "token", "create", "ann", "--name", "script"]).done();
    fleet.run(["groups", "create", "h"]).done();
    receiver.my(["join", "h"]).done();
    fleet.send(&file, &[]);
    let mut away = fleet.receiver("away");
    away.kill();
    fs::write(&file, vec![8; 100_000]).unwrap();
    let path = file.to_str().unwrap();
    fleet.run(["send", path, "--to", "g", "--at", "2099-01-01T00:00:00Z"]).done();
    (fleet, receiver)
}

/// Method, path, what stands in its place or behind it, body.
type Asked = (&'static str, &'static str, String, Value);

/// Requests that are answered.
fn asked(release: &str, token: &str, backup: &Path) -> Vec<Asked> {
    vec![
        ("get", "/openapi.json", String::new(), json!(null)),
        ("get", "/me", String::new(), json!(null)),
        ("get", "/fleet", String::new(), json!(null)),
        ("get", "/status", String::new(), json!(null)),
        ("get", "/log", "?after=2".into(), json!(null)),
        ("get", "/receipts", String::new(), json!(null)),
        ("get", "/vouchers", String::new(), json!(null)),
        ("get", "/groups", String::new(), json!(null)),
        ("get", "/groups/{group}/members", "g".into(), json!(null)),
        ("get", "/groups/{group}/next", "g".into(), json!(null)),
        ("get", "/requests", String::new(), json!(null)),
        ("get", "/receivers", String::new(), json!(null)),
        ("get", "/receivers/paths", String::new(), json!(null)),
        ("get", "/receivers/{receiver}", "r".into(), json!(null)),
        ("get", "/releases", "?group=g".into(), json!(null)),
        ("get", "/releases/{release}", release.into(), json!(null)),
        ("get", "/releases/{release}/document", release.into(), json!(null)),
        ("get", "/releases/{release}/verify", release.into(), json!(null)),
        ("get", "/deliveries", format!("?releases={release}"), json!(null)),
        ("get", "/pending", String::new(), json!(null)),
        ("get", "/users", String::new(), json!(null)),
        ("get", "/tokens", String::new(), json!(null)),
        ("post", "/receivers/ping", String::new(), json!({ "receivers": ["r"] })),
        ("post", "/groups", String::new(), json!({ "name": "i", "open": false })),
        ("patch", "/groups/{group}", "i".into(), json!({ "name": "j" })),
        ("delete", "/groups/{group}", "j".into(), json!(null)),
        ("post", "/pending/send", String::new(), json!({ "ids": [] })),
        ("post", "/releases/prune", String::new(), json!({ "dry_run": true, "keep": 1 })),
        ("post", "/users/{user}/role", "ann".into(), json!({ "role": "operator" })),
        ("post", "/users/{user}/tokens", "ann".into(), json!({ "name": "", "seconds": 60 })),
        ("post", "/tokens/{token}/revoke", token.into(), json!(null)),
        ("post", "/backup", String::new(), json!({ "file": backup })),
    ]
}

#[test]
fn real_answers_are_as_the_document_says() {
    let (fleet, _receiver) = populated();
    let (document, door) = (description(&fleet), socket(&fleet));
    let release = door.ask("GET", "/api/v1/releases", None, "").json();
    let release = release["items"][0]["release"].as_str().unwrap().to_owned();
    let token = door.ask("GET", "/api/v1/tokens", None, "").json()["items"][0]["id"].clone();
    let token = token.as_str().unwrap();
    for (method, path, with, body) in asked(&release, token, &fleet.path("backup.tar")) {
        let operation = &document["paths"][format!("/api/v1{path}")][method];
        let real = match path.find('{') {
            Some(begin) => {
                let end = path.find('}').unwrap();
                format!("/api/v1{}{with}{}", &path[..begin], &path[end + 1..])
            }
            None => format!("/api/v1{path}{with}"),
        };
        if !body.is_null() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            assert_eq!(faults(&document, schema, &body), [""; 0], "{method} {path}: {body}");
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let reply = door.ask(&method.to_ascii_uppercase(), &real, None, &text);
        assert_eq!(reply.status, 200, "{method} {real}: {:?}", reply.json());
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "{method} {path}");
        let answer = reply.json();
        assert_eq!(faults(&document, schema, &answer), [""; 0], "{method} {path}: {answer}");
        // A schema that everything fits would say nothing.
        if path != "/openapi.json" {
            let found = faults(&document, schema, &json!({ "something": "else" }));
            assert!(!found.is_empty(), "{method} {path}: {schema}");
        }
        // Lists are not empty: there is something to be looked at.
        let empty = answer["items"].as_array().is_some_and(Vec::is_empty);
        let may = ["/vouchers", "/pending/send"].contains(&path);
        assert!(!empty || may, "{method} {path}: {answer}");
    }
    let refused = door.ask("GET", "/api/v1/receivers/nobody", None, "");
    let failure = &document["components"]["responses"]["Failure"]["content"];
    let schema = &failure["application/json"]["schema"];
    assert_eq!(faults(&document, schema, &refused.json()), [""; 0]);
    assert!(!faults(&document, schema, &json!({ "code": "x" })).is_empty());
}

#[test]
fn numbers_out_of_range_and_missing_fields_are_refused_as_the_document_says() {
    let fleet = Fleet::start();
    let (document, door) = (description(&fleet), socket(&fleet));
    for (path, body) in [
        ("/groups", json!({ "name": "i" })),
        ("/groups", json!({ "name": 7, "open": false })),
        ("/releases/prune", json!({ "dry_run": "yes" })),
        ("/vouchers", json!({ "document": "0g", "token": "00" })),
        ("/users", json!({ "name": "ann", "role": "king", "password": "correct horse" })),
    ] {
        let operation = &document["paths"][format!("/api/v1{path}")]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        assert!(!faults(&document, schema, &body).is_empty(), "{path}: {body}");
        let told = door.ask("POST", &format!("/api/v1{path}"), None, &body.to_string()).told();
        assert_eq!(told, (422, "malformed".into()), "{path}: {body}");
    }
    let mut child = Child::start("openapi", {
        let mut command = std::process::Command::new(program());
        command.args(["--json", "openapi"]);
        command
    });
    assert_eq!(child.wait(SLOW).code, 0, "no server is needed");
}
