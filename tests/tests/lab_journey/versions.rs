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
}

#[test]
fn without_delta_all_is_sent_whatever_receivers_hold() {
    let fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let (file, bytes) = (fleet.path("file"), noise(2, 8 << 20));
    fs::write(&file, &bytes).unwrap();
    for options in [&[][..], &["--no-delta"]] {
        let item = fleet.send(&file, options);
        let wire = item["wire_bytes"].as_u64().unwrap();
        assert!(wire > 8 << 20, "all of it with {options:?}: {wire}");
        assert!(fs::read(receiver.file("file")).unwrap() == bytes, "identical");
    }
}

#[test]
fn a_rate_is_kept() {
    let fleet = Fleet::start();
    let _receivers = ["a", "b"].map(|name| fleet.receiver(name));
    let file = fleet.path("file");
    for (seed, rate, least) in [(3, "2MB/s", 4.0), (4, "4MB/s", 2.0)] {
        fs::write(&file, noise(seed, 8 << 20)).unwrap();
        let item = fleet.send(&file, &["--rate", rate]);
        let seconds = item["seconds"].as_f64().unwrap();
        // 8.4 MB at that rate; one burst may come at once.
        assert!(seconds > least, "8 MiB at {rate} in {seconds} s");
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
