//! The documents and lines of `--json`: exactly the keys that the contract names.
//!
//! Keys that were added since are listed apart, so that adding one is a decision.

use std::collections::BTreeSet;
use std::fs;

use fleetcast_tests::processes::{Child, Fleet, SLOW};
use serde_json::Value;

const GROUP: &str = "name,open,receivers,sequence";
const RECEIVER: &str = "name,id,fingerprint,state,last_seen,address,version,profile,groups,\
    free_bytes,installed";
const RELEASE_OF: &str = "group,sequence,release";
const DELIVERY: &str = "id,receiver,group,release,sequence,state,code,reason,bytes,path,waits,at,\
    priority";
const SEND: &str = "releases,deliveries,payload_bytes,wire_bytes,multicast_bytes,unicast_bytes,\
    seconds,ingest_seconds";
const RELEASE: &str = "release,group,sequence,name,files,bytes,created,expires,signatures,\
    threshold,state";
const INVITE: &str = "code,address,authority,controller,uses,expires";
const STATUS: &str = "version,uptime_s,receivers,sessions,totals,health,rate";
const HEALTH: &str = "code,severity,subject,title,hint,since";
const SESSION: &str = "id,groups,rate,loss,repair_symbols,limiter,cause,path";

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    object.keys().map(String::as_str).collect()
}

fn assert_keys(value: &Value, expected: &str) {
    assert_eq!(keys(value), expected.split(',').collect(), "{value}");
}

/// The item of a document, whose own keys are right.
fn item(fleet: &Fleet, arguments: &[&str], expected: &str) -> Value {
    let document = fleet.run(arguments).done();
    assert_keys(&document, "schema,kind,item");
    assert_eq!(document["schema"], 1);
    assert!(document["kind"].is_string());
    assert_keys(&document["item"], expected);
    document["item"].clone()
}

/// The items of a document, at least one.
fn items(fleet: &Fleet, arguments: &[&str], expected: &str) -> Vec<Value> {
    let document = fleet.run(arguments).done();
    assert_keys(&document, "schema,kind,items");
    assert_eq!(document["schema"], 1);
    let items = document["items"].as_array().unwrap().clone();
    assert!(!items.is_empty(), "{arguments:?}");
    items.iter().for_each(|item| assert_keys(item, expected));
    items
}

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    fleetcast::units::parse_time(text).is_ok() && text.ends_with('Z')
}

fn is_digest(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[test]
fn documents_have_the_keys_of_the_contract() {
    let fleet = Fleet::start();
    let mut receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    let path = file.to_str().unwrap();
    let invite = item(&fleet, &["invite", "--group", "g"], INVITE);
    assert!(is_time(&invite["expires"]) && is_digest(&invite["authority"]), "{invite}");
    let bare = item(&fleet, &["invite", "--no-token"], INVITE);
    assert_eq!(bare["uses"], 0);
    let sent = item(&fleet, &["send", path, "--to", "g", "--wait"], SEND);
    assert_keys(&sent["releases"][0], RELEASE_OF);
    assert_keys(&sent["deliveries"][0], DELIVERY);
    assert!(is_digest(&sent["releases"][0]["release"]), "{sent}");
    let (wire, multicast) = (sent["wire_bytes"].as_u64(), sent["multicast_bytes"].as_u64());
    assert_eq!(wire, multicast.zip(sent["unicast_bytes"].as_u64()).map(|(m, u)| m + u));
    items(&fleet, &["groups", "list"], GROUP);
    item(&fleet, &["groups", "create", "h"], GROUP);
    item(&fleet, &["groups", "rename", "h", "i"], GROUP);
    item(&fleet, &["groups", "add", "i", "r"], GROUP);
    item(&fleet, &["groups", "remove", "i", "r"], GROUP);
    item(&fleet, &["groups", "delete", "i", "--yes"], GROUP);
    for arguments in [&["receivers", "list"][..], &["groups", "members", "g"]] {
        let listed = items(&fleet, arguments, RECEIVER);
        assert_keys(&listed[0]["installed"][0], RELEASE_OF);
        assert!(is_time(&listed[0]["last_seen"]), "{listed:?}");
        assert_eq!(listed[0]["profile"], "standard");
    }
    item(&fleet, &["receivers", "show", "r"], RECEIVER);
    item(&fleet, &["receivers", "rename", "r", "s"], RECEIVER);
    items(&fleet, &["receivers", "ping"], "receiver,answered,round_trip_us");
    let releases = items(&fleet, &["releases", "list"], RELEASE);
    assert!(is_time(&releases[0]["created"]) && is_time(&releases[0]["expires"]));
    item(&fleet, &["releases", "show", "g#1"], RELEASE);
    items(&fleet, &["log"], "number,time,actor,action,subject,result,digest");
    item(&fleet, &["log", "verify"], "ok,lines");
    receiver.kill();
    fs::write(&file, "y").unwrap();
    item(&fleet, &["send", path, "--to", "g"], SEND);
    let pending = items(&fleet, &["pending", "list"], DELIVERY);
    let id = pending[0]["id"].to_string();
    items(&fleet, &["pending", "cancel", &id], DELIVERY);
    let lacking = "groups,files,bytes,lacking_chunks,lacking_bytes";
    let plan = item(&fleet, &["send", path, "--to", "g", "--dry-run"], lacking);
    let group = "name,sequence,receivers,plan,multicast_bytes,unicast_bytes,later_bytes,seconds";
    assert_keys(&plan["groups"][0], group);
    assert_keys(&plan["groups"][0]["plan"][0], "receiver,path,bytes");
}

#[test]
fn status_has_the_keys_of_the_contract() {
    let fleet = Fleet::start();
    let _receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, fleetcast_tests::processes::noise(5, 8 << 20)).unwrap();
    let send = ["send", file.to_str().unwrap(), "--to", "g", "--rate", "1MB/s"];
    fleet.run(send).done();
    let mut sessions = Vec::new();
    for _ in 0..100 {
        let status = item(&fleet, &["status"], STATUS);
        assert_keys(&status["receivers"], "active,away,waiting");
        assert_keys(&status["totals"], "payload_bytes,wire_bytes,saved_bytes");
        let health = status["health"].as_array().unwrap();
        assert!(health.iter().any(|h| h["code"] == "key-unsealed"), "{status}");
        health.iter().for_each(|h| assert_keys(h, HEALTH));
        sessions = status["sessions"].as_array().unwrap().clone();
        if !sessions.is_empty() {
            break;
        }
    }
    assert!(!sessions.is_empty(), "no session in 100 looks");
    assert_keys(&sessions[0], SESSION);
}

#[test]
fn lines_have_the_keys_of_the_contract() {
    let mut fleet = Fleet::start();
    let code = fleet.invite(&["--group", "g"]);
    let mut receiver = fleet.absent("r");
    receiver.start(&["--name", "r", "--enrol", &code]);
    receiver.process().wait_for("connected");
    let file = fleet.path("file");
    fs::write(&file, fleetcast_tests::processes::noise(6, 1 << 20)).unwrap();
    fleet.send(&file, &[]);
    let (_, lines) = receiver.process.take().unwrap().end_by(rustix::process::Signal::TERM);
    let line = |event: &str| {
        let found = lines.iter().find(|line| line["event"] == event);
        found.unwrap_or_else(|| panic!("no {event}: {lines:?}"))
    };
    for (event, fields) in [
        ("enrolled", ["id", "name"].as_slice()),
        ("connected", &["server"]),
        ("offered", &["group", "group_id", "sequence", "release", "bytes"]),
        ("progress", &["bytes", "total"]),
        ("installed", &["group", "sequence", "release"]),
    ] {
        let line = line(event);
        let expected: BTreeSet<&str> =
            ["schema", "event", "time"].iter().chain(fields).copied().collect();
        assert_eq!(keys(line), expected, "{line}");
        assert!(is_time(&line["time"]), "{line}");
    }
    assert!(line("connected")["server"].is_string());
    for stream in [&["log", "--follow"][..], &["status", "--watch"]] {
        let mut child = Child::start(stream[0], fleet.command(stream));
        let line = child.next_within(SLOW).expect("a line");
        for key in ["schema", "event", "time"] {
            assert!(keys(&line).contains(key), "{line}");
        }
    }
    fleet.stop_server(rustix::process::Signal::TERM);
    let mut command = fleet.serve_command(&fleet.state());
    command.args(["--listen", &fleet.address]);
    let ready = Child::start("serve", command).wait_for("ready");
    assert_keys(&ready, "schema,event,time,listen,web,socket");
}

#[test]
fn a_receiver_without_token_waits_with_its_fingerprint() {
    let fleet = Fleet::start();
    let code = fleet.invite(&["--no-token"]);
    let mut receiver = fleet.absent("r");
    receiver.start(&["--name", "r", "--enrol", &code]);
    let waiting = receiver.process().wait_for("waiting");
    assert_keys(&waiting, "schema,event,time,fingerprint");
    let listed = fleet.listed("r");
    assert_eq!(listed["state"], "waiting", "{listed}");
    assert_eq!(listed["fingerprint"], waiting["fingerprint"]);
    fleet.run(["receivers", "approve", "r"]).done();
    receiver.process().wait_for("connected");
}
