//! The documents against the command-line contract, written out by hand.

use super::*;

/// The names of an object's fields, sorted.
fn fields(item: &impl Serialize) -> Vec<String> {
    let value = serde_json::to_value(item).unwrap();
    let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

/// The contract's list of fields, sorted.
fn contract(list: &str) -> Vec<String> {
    let mut names: Vec<String> = list.split(',').map(Into::into).collect();
    names.sort();
    names
}

fn delivery() -> DeliveryItem {
    DeliveryItem {
        id: 1,
        receiver: "kiosk".into(),
        group: "shops".into(),
        release: "ab".into(),
        sequence: 2,
        state: "queued".into(),
        code: String::new(),
        reason: String::new(),
        bytes: 0,
        path: "multicast".into(),
        waits: "activation".into(),
        at: Some(1_800_000_000),
        priority: 3,
    }
}

fn status() -> StatusItem {
    let session = SessionItem {
        id: 7,
        groups: vec!["shops".into()],
        rate: 50_000_000,
        loss: 0.01,
        repair_symbols: 3,
        limiter: "cap".into(),
        cause: "08:00-18:00=50MB/s (UTC)".into(),
        path: "multicast".into(),
    };
    StatusItem {
        version: "0.1.0".into(),
        uptime_s: 5,
        receivers: ReceiverCounts { active: 1, away: 2, waiting: 3 },
        rate: RateItem {
            rate: 50_000_000,
            server_rate: 115_000_000,
            windows: vec![WindowItem {
                window: "08:00-18:00=50MB/s".into(),
                rate: 50_000_000,
                active: true,
            }],
            zone: "UTC".into(),
            local_time: "2026-11-22 08:00 UTC".into(),
            from: "command".into(),
        },
        sessions: vec![session],
        totals: TotalsItem { payload_bytes: 1, wire_bytes: 2, saved_bytes: 3 },
        health: Vec::new(),
    }
}

#[test]
fn a_receiver_is_written_as_the_contract_says() {
    let item = ReceiverItem {
        name: "kiosk".into(),
        id: "00ff".into(),
        fingerprint: "ab12".into(),
        state: ReceiverState::Active,
        last_seen: 1_700_000_000,
        address: None,
        version: "0.1.0".into(),
        profile: Profile::Constrained,
        groups: vec!["shops".into()],
        free_bytes: 9,
        installed: vec![InstalledItem { group: "shops".into(), sequence: 2, release: "cd".into() }],
    };
    let document = serde_json::to_value(Items::new("receivers", vec![item.clone()])).unwrap();
    let expected = json!({"schema": 1, "kind": "receivers", "items": [{
        "name": "kiosk", "id": "00ff", "fingerprint": "ab12", "state": "active",
        "last_seen": "2023-11-14T22:13:20Z", "address": null, "version": "0.1.0",
        "profile": "constrained", "groups": ["shops"], "free_bytes": 9,
        "installed": [{"group": "shops", "sequence": 2, "release": "cd"}],
    }]});
    assert_eq!(document, expected);
    let back: Items<ReceiverItem> = serde_json::from_value(document).unwrap();
    assert_eq!(back.items, [item]);
}

#[test]
fn a_status_is_written_as_the_contract_says() {
    let document = serde_json::to_value(Item::new("status", status())).unwrap();
    let expected = json!({"schema": 1, "kind": "status", "item": {
        "version": "0.1.0", "uptime_s": 5,
        "receivers": {"active": 1, "away": 2, "waiting": 3},
        "sessions": [{"id": 7, "groups": ["shops"], "rate": 50_000_000, "loss": 0.01,
            "repair_symbols": 3, "limiter": "cap", "cause": "08:00-18:00=50MB/s (UTC)",
            "path": "multicast"}],
        "rate": {"rate": 50_000_000, "server_rate": 115_000_000, "zone": "UTC",
            "local_time": "2026-11-22 08:00 UTC", "from": "command",
            "windows": [{"window": "08:00-18:00=50MB/s", "rate": 50_000_000, "active": true}]},
        "totals": {"payload_bytes": 1, "wire_bytes": 2, "saved_bytes": 3},
        "health": [],
    }});
    assert_eq!(document, expected);
    let back: Item<StatusItem> = serde_json::from_value(document).unwrap();
    assert_eq!(back.item, status());
}

#[test]
fn the_other_items_have_the_fields_of_the_contract() {
    let group = GroupItem { name: "shops".into(), open: false, receivers: 1, sequence: 2 };
    assert_eq!(fields(&group), contract("name,open,receivers,sequence"));
    let request = RequestItem {
        group: "shops".into(),
        receiver: "kiosk".into(),
        fingerprint: "ab".into(),
        asked: true,
        proposed_by: None,
        since: 0,
    };
    let names = "group,receiver,fingerprint,asked,proposed_by,since";
    assert_eq!(fields(&request), contract(names));
    let invite = InviteItem {
        code: "FC1-".into(),
        address: "192.0.2.7:7411".into(),
        authority: "ab".into(),
        controller: "cd".into(),
        uses: 1,
        expires: 0,
    };
    assert_eq!(fields(&invite), contract("code,address,authority,controller,uses,expires"));
    let names = "id,receiver,group,release,sequence,state,code,reason,bytes,path,waits,at,\
                 priority";
    assert_eq!(fields(&delivery()), contract(names));
    let send = SendItem {
        releases: Vec::new(),
        deliveries: vec![delivery()],
        payload_bytes: 0,
        wire_bytes: 0,
        multicast_bytes: 0,
        unicast_bytes: 0,
        seconds: 0.5,
        ingest_seconds: 0.25,
        unsigned: Vec::new(),
    };
    let names = "releases,deliveries,payload_bytes,wire_bytes,multicast_bytes,unicast_bytes,\
                 seconds,ingest_seconds";
    assert_eq!(fields(&send), contract(names));
}

#[test]
fn releases_files_and_demonstrations_have_the_fields_of_the_contract() {
    let release = ReleaseItem {
        release: "ab".into(),
        group: "shops".into(),
        sequence: 1,
        name: String::new(),
        files: 1,
        bytes: 1,
        created: 0,
        expires: 0,
        signatures: 1,
        threshold: 1,
        state: "current".into(),
    };
    let names =
        "release,group,sequence,name,files,bytes,created,expires,signatures,threshold,state";
    assert_eq!(fields(&release), contract(names));
    let file = FileItem {
        name: "logo".into(),
        bytes: 1,
        sha256: "ab".into(),
        owner: "ann".into(),
        modified: 0,
    };
    assert_eq!(fields(&file), contract("name,bytes,sha256,owner,modified"));
    let receiver = DemoReceiverItem { name: "r1".into(), dir: "/d".into(), identical: true };
    assert_eq!(fields(&receiver), contract("name,dir,identical"));
    let demo = DemoItem {
        ok: true,
        seconds: 1.0,
        goodput: 1,
        payload_bytes: 1,
        wire_bytes: 1,
        multicast_data: 1,
        unicast_data: 0,
        lost: 0,
        repaired: 0,
        receivers: vec![receiver],
    };
    let names = "ok,seconds,goodput,payload_bytes,wire_bytes,multicast_data,unicast_data,lost,\
                 repaired,receivers";
    assert_eq!(fields(&demo), contract(names));
}

#[test]
fn an_event_is_one_line_with_its_own_fields_protected() {
    let body = json!({"bytes": 5, "total": 9, "event": "forged", "name": "a\nb"});
    let line = event_line("progress", 1_700_000_000, &body).unwrap();
    assert!(!line.contains('\n'));
    let expected = json!({"schema": 1, "event": "progress", "time": "2023-11-14T22:13:20Z",
        "bytes": 5, "total": 9, "name": "a\nb"});
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    let bare = event_line("waiting", 0, &Value::Null).unwrap();
    let expected = json!({"schema": 1, "event": "waiting", "time": "1970-01-01T00:00:00Z"});
    assert_eq!(serde_json::from_str::<Value>(&bare).unwrap(), expected);
}
