//! What the board is for, from the first start to the third power cut.

use std::fs;

use fleetcast_tests::emulated::{lan, lose};
use fleetcast_tests::processes::noise;

use crate::stand::{Stand, TAP};

#[test]
fn a_board_beside_three_hosts_receives_at_one_percent_loss_and_outlives_three_power_cuts() {
    let test =
        "a_board_beside_three_hosts_receives_at_one_percent_loss_and_outlives_three_power_cuts";
    let Some(lan) = lan(test, 4, &[TAP]) else { return };
    let stand = Stand::new(&lan);
    let fleet = &stand.fleet;
    let hosts = ["a", "b", "c"].into_iter().zip(1..);
    let hosts: Vec<_> = hosts.map(|(name, host)| fleet.receiver_on(lan.host(host), name)).collect();
    lan.set_loss(0.01, &[1, 2, 3]).unwrap();
    lose(&lan, TAP, 1);
    let board = stand.board("first");
    let item = stand.listed(|item| item["state"] == "active");
    assert_eq!((&item["profile"], &item["groups"][0]), (&"constrained".into(), &"g".into()));

    let folder = fleet.path("folder");
    fs::create_dir(&folder).unwrap();
    let (random, text) = (noise(7, 200_000), "the same line again\n".repeat(5_000));
    fs::write(folder.join("random"), &random).unwrap();
    fs::write(folder.join("text"), &text).unwrap();
    let sent = fleet.send(&folder, &[]);
    let deliveries = sent["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 4, "{sent}");
    assert!(deliveries.iter().all(|d| d["path"] == "multicast"), "{sent}");
    board.wait_for("installed");
    board.kill();
    assert!(stand.on(&stand.card, "g/folder/random") == random);
    assert!(stand.on(&stand.card, "g/folder/text") == text.as_bytes());
    for host in &hosts {
        assert!(fs::read(host.file("folder/random")).unwrap() == random, "{}", host.name);
    }

    // Without its token, and with what it holds.
    let mut board = stand.board("second");
    let item = stand.listed(|item| item["state"] == "active");
    assert_eq!(item["installed"][0]["sequence"], 1, "{item}");
    // Cut again and again in the middle of a release, it takes up where it was.
    let more = noise(8, 500_000);
    fs::write(folder.join("random"), &more).unwrap();
    stand.send(&folder);
    for (cut, held) in [(1, 60_000), (2, 200_000), (3, 340_000)] {
        board.wait_for_progress(held);
        board.kill();
        assert_eq!(stand.check(&stand.card), Some(1), "cut {cut}");
        assert!(stand.on(&stand.card, "g/folder/random") == random, "cut {cut}");
        board = stand.board(&format!("cut-{cut}"));
    }
    board.wait_for("installed sequence=2");
    // Its receipt, too, is with the server.
    stand.listed(|item| item["installed"][0]["sequence"] == 2);
    board.kill();
    assert_eq!(stand.check(&stand.card), Some(2));
    assert!(stand.on(&stand.card, "g/folder/random") == more);
    assert!(stand.on(&stand.card, "g/folder/text") == text.as_bytes());
    for host in &hosts {
        assert!(fs::read(host.file("folder/random")).unwrap() == more, "{}", host.name);
    }
}
