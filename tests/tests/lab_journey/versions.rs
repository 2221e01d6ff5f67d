//! Only what receivers lack is sent.

use std::fs;

use fleetcast_tests::processes::{Fleet, noise};

#[test]
fn a_byte_in_front_costs_next_to_nothing() {
    let fleet = Fleet::start();
    let receivers = ["a", "b", "c"].map(|name| fleet.receiver(name));
    let file = fleet.path("file");
    let mut bytes = noise(1, 8 << 20);
    fs::write(&file, &bytes).unwrap();
    let wire = |options: &[&str]| {
        let item = fleet.send(&file, options);
        item["wire_bytes"].as_u64().unwrap()
    };
    let all = wire(&["--name", "one"]);
    assert!(all > 8 << 20, "all of it: {all}");
    bytes.insert(0, b'!');
    fs::write(&file, &bytes).unwrap();
    let delta = wire(&["--name", "two"]);
    // 120 kB would be one chunk; all 3 receivers share it by multicast.
    assert!(delta < 200_000, "a chunk or two, an index, the release: {delta}");
    for receiver in &receivers {
        assert!(fs::read(receiver.file("file")).unwrap() == bytes, "{}", receiver.name);
    }
    let again = wire(&["--name", "three"]);
    assert!(again < 100_000, "nothing new: {again}");
    let full = wire(&["--name", "four", "--no-delta"]);
    assert!(full > 8 << 20, "all of it once more: {full}");
    for receiver in &receivers {
        assert!(fs::read(receiver.file("file")).unwrap() == bytes, "{}", receiver.name);
    }
}

#[test]
fn a_mirror_removes_what_is_not_sent() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    for name in ["one", "two"] {
        fs::write(fleet.path(name), name).unwrap();
        fleet.send(&fleet.path(name), &[]);
    }
    assert!(receiver.file("one").exists() && receiver.file("two").exists());
    fleet.send(&fleet.path("two"), &["--mirror"]);
    assert!(!receiver.file("one").exists() && receiver.file("two").exists());
}
