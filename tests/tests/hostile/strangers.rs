//! Those whom nobody has let in: their channels, names and passwords.

use std::net::IpAddr;

use super::*;

/// Secret keys of strangers: not the first byte, of which X25519 clears three bits.
fn secret(n: usize) -> [u8; 32] {
    let mut secret = [0x66; 32];
    secret[8..16].copy_from_slice(&n.to_le_bytes());
    secret
}

fn is_known(fleet: &mut Fleet, secret: &[u8; 32]) -> bool {
    let id = ReceiverId::of(StaticPair::from_secret(secret).public());
    fleet.node().registry().receiver(&id).is_some()
}

/// Lets time pass at the server.
fn pass(fleet: &mut Fleet, seconds: u64) {
    fleet.now += Duration::from_secs(seconds);
    fleet.drain();
}

// PROTOCOL C8
#[test]
fn strangers_take_no_place_of_a_receiver_that_was_let_in() {
    let mut fleet = Fleet::new(51);
    let (mut known, id) = waiting(&mut fleet);
    let now = fleet.now;
    fleet.node().approve_receiver(now, "admin", &id).unwrap();
    known.say(&mut fleet, &Up::Bye);
    // The table has forty places: for 24 receivers, and 16 more.
    for n in 0..40 {
        let mut stranger = Liar::with_secret(&mut fleet, 1, secret(n));
        // PROTOCOL H5: only now the channel is in use.
        stranger.say(&mut fleet, &Up::Pong { nonce: 1 });
    }
    assert!(fleet.now < Instant::ZERO + Duration::from_secs(9), "all of them are still there");
    let mut back = Liar::connected(&mut fleet, 0);
    back.hello(&mut fleet, "w");
    let id = ReceiverId::of(StaticPair::from_secret(&SECRET).public());
    assert!(fleet.node().is_here(&id));
    // And who has an invitation finds a place as well.
    let (document, token) = fleet.admin.voucher(&[], 1);
    fleet.node().add_voucher("admin", document, token).unwrap();
    let mut invited = Liar::with_token(&mut fleet, 2, secret(100), Some(token));
    invited.hello(&mut fleet, "invited");
    let id = ReceiverId::of(StaticPair::from_secret(&secret(100)).public());
    let standing = fleet.node().registry().receiver(&id).map(|record| record.standing);
    assert_eq!(standing, Some(Standing::Member));
}

// PROTOCOL C8
#[test]
fn a_channel_that_comes_to_nothing_is_forgotten() {
    let mut fleet = Fleet::new(52);
    let mut silent = Liar::with_secret(&mut fleet, 1, secret(1));
    silent.say(&mut fleet, &Up::Pong { nonce: 1 });
    pass(&mut fleet, 11);
    silent.hello(&mut fleet, "silent");
    assert!(!is_known(&mut fleet, &secret(1)), "nobody hears it any more");
    let mut slow = Liar::with_secret(&mut fleet, 2, secret(2));
    slow.say(&mut fleet, &Up::Pong { nonce: 1 });
    pass(&mut fleet, 9);
    slow.hello(&mut fleet, "slow");
    pass(&mut fleet, 9);
    slow.exchange(&mut fleet);
    let id = ReceiverId::of(StaticPair::from_secret(&secret(2)).public());
    assert!(fleet.node().is_here(&id), "it said Hello in time, and waits");
    // Who was refused, and goes on all the same.
    let (document, token) = fleet.admin.voucher(&[], 1);
    fleet.node().add_voucher("admin", document, token).unwrap();
    Liar::with_token(&mut fleet, 3, secret(3), Some(token)).hello(&mut fleet, "first");
    let mut second = Liar::with_token(&mut fleet, 4, secret(4), Some(token));
    second.hello(&mut fleet, "second");
    assert_eq!(second.answers(), ["refused: Used"]);
    let before = fleet.node().batch_of_changes();
    second.hello(&mut fleet, "second");
    assert_eq!(second.answers(), [""; 0]);
    assert_eq!(fleet.node().batch_of_changes(), before, "nothing is written for it");
}

#[test]
fn what_is_typed_as_a_name_is_neither_kept_nor_logged_unless_somebody_has_it() {
    let mut fleet = Fleet::new(53);
    fleet.node().add_account("admin", "ann", Role::Member, "a hash".to_owned()).unwrap();
    let (mut liar, _) = waiting(&mut fleet);
    for user in ["correct horse\u{1b}[2J", "ANN"] {
        liar.say(&mut fleet, &Up::Login { user, password: b"wrong" });
        let number = fleet.node().poll_password_check().expect("a check").number;
        let (now, right) = (fleet.now, false);
        fleet.node().password_checked(now, PasswordChecked { number, right, new: None });
    }
    let (now, from) = (fleet.now, IpAddr::from([192, 0, 2, 1]));
    let long = "n".repeat(65);
    let refused = fleet.node().begin_login(now, &long, Some(from)).map_err(|fault| fault.code);
    assert_eq!(refused, Err("login-refused".into()), "no account has so long a name");
    let lines = fleet.node().registry().recent_log();
    let lines = lines.filter(|line| line.action == "login-refused");
    let names: Vec<&str> = lines.map(|line| line.subject.as_str()).collect();
    assert_eq!(names, ["an unknown name", "ann", "an unknown name"]);
}

#[test]
fn an_address_that_is_stopped_uses_up_no_account() {
    let mut fleet = Fleet::new(54);
    fleet.node().add_account("admin", "ann", Role::Member, "a hash".to_owned()).unwrap();
    let now = fleet.now;
    let mut try_in = |user: &str, from: u8| {
        let from = Some(IpAddr::from([192, 0, 2, from]));
        fleet.node().begin_login(now, user, from).map_err(|fault| fault.code)
    };
    // PROTOCOL G5: thirty attempts of an address at once, ten of an account.
    for n in 0..30 {
        assert_eq!(try_in(&format!("nobody{n}"), 1), Ok(None), "{n}");
    }
    for _ in 0..20 {
        assert_eq!(try_in("ann", 1), Err("login-limited".into()));
    }
    for n in 0..10 {
        assert_eq!(try_in("ann", 2), Ok(Some("a hash".to_owned())), "{n}");
    }
    assert_eq!(try_in("ann", 2), Err("login-limited".into()));
    // What the account's limit stops, its address has not used up.
    for _ in 0..30 {
        assert_eq!(try_in("ann", 2), Err("login-limited".into()));
    }
    assert_eq!(try_in("nobody", 2), Ok(None));
}

#[test]
fn nobody_calls_itself_by_the_beginning_of_another_s_identity() {
    let mut fleet = Fleet::new(55);
    let (_victim, id) = waiting(&mut fleet);
    let typed = &id[..6];
    let mut liar = Liar::connected(&mut fleet, 1);
    liar.hello(&mut fleet, &typed.to_uppercase());
    let other = ReceiverId::of(StaticPair::from_secret(&[6; 32]).public());
    let name = fleet.node().registry().receiver(&other).unwrap().name.clone();
    assert_eq!(name, format!("receiver-{}", typed.to_uppercase()));
    let mut again = Liar::connected(&mut fleet, 2);
    again.hello(&mut fleet, typed);
    let now = fleet.now;
    fleet.node().approve_receiver(now, "admin", typed).unwrap();
    let members = |fleet: &mut Fleet| {
        let all = fleet.node().registry().receivers();
        let members = all.filter(|record| record.standing == Standing::Member);
        members.map(|record| record.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(members(&mut fleet), [id]);
}
