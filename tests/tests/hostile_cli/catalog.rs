//! A catalog that is lost or damaged: a server that began anew under the same
//! keys would give the numbers of its releases to other content.

use std::fs;
use std::path::Path;

use fleetcast::catalog::Catalog;
use fleetcast_tests::processes::{Child, Fleet, SLOW};
use rustix::process::Signal;

/// Every file of the database.
const FILES: [&str; 3] = ["catalog.db", "catalog.db-wal", "catalog.db-shm"];

fn remove(state: &Path) {
    for name in FILES {
        // After an orderly end there is only the first.
        let _ = fs::remove_file(state.join(name));
    }
}

/// A catalog with its tables and nothing in them.
fn fresh(path: &Path) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Catalog::open(path).await.unwrap().close().await });
    fs::read(path).unwrap()
}

#[test]
fn a_server_whose_catalog_is_lost_refuses_to_begin_anew() {
    let mut fleet = Fleet::start();
    let receiver = fleet.receiver("r");
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    fleet.send(&file, &[]);
    let state = fleet.state();
    fleet.stop_server(Signal::TERM);
    let whole = fs::read(state.join("catalog.db")).unwrap();
    let mut other = Fleet::start();
    other.stop_server(Signal::TERM);
    let foreign = fs::read(other.state().join("catalog.db")).unwrap();
    let fresh = fresh(&other.path("fresh.db"));
    let mut garbage = whole.clone();
    garbage[..64].fill(b'x');
    let cases: [(&str, Option<&[u8]>, &str); 6] = [
        ("removed", None, "catalog-missing"),
        ("emptied", Some(b""), "catalog-damaged"),
        ("overwritten", Some(&garbage), "catalog-damaged"),
        ("cut in half", Some(&whole[..whole.len() / 2]), "catalog-damaged"),
        ("made anew", Some(&fresh), "catalog-damaged"),
        ("of another fleet", Some(&foreign), "catalog-foreign"),
    ];
    for (what, bytes, code) in cases {
        remove(&state);
        if let Some(bytes) = bytes {
            fs::write(state.join("catalog.db"), bytes).unwrap();
        }
        let mut command = fleet.serve_command(&state);
        command.args(["--listen", "127.0.0.1:0"]);
        let answer = Child::start("serve", command).wait(SLOW);
        answer.refused(1, code);
        assert!(answer.failure()["hint"].as_str().unwrap().contains("backup"), "{what}");
        let made = state.join("catalog.db").exists();
        assert_eq!(made, bytes.is_some(), "{what}: nothing was made in its place");
    }
    remove(&state);
    fs::write(state.join("catalog.db"), whole).unwrap();
    fleet.start_server();
    fs::write(&file, "y").unwrap();
    let sent = fleet.run(["send", file.to_str().unwrap(), "--to", "g"]).done();
    assert_eq!(sent["item"]["releases"][0]["sequence"], 2, "numbers go on");
    fleet.settle("r", SLOW);
    assert_eq!(fs::read(receiver.file("file")).unwrap(), b"y");
}
