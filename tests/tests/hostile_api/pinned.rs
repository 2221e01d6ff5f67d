//! Which server a command speaks with: the one whose certificate it knows, or none. And
//! what somebody on the way between can do: nothing but cut the line.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fleetcast_tests::processes::{Answer, Child, Fleet, SLOW, noise};

use crate::remote::{PASSWORD, add, by_login, elsewhere, fleet, listen, token, url};

/// Somebody between: passes on what comes, counts it, cuts a line after so many bytes from
/// the client (in all), and keeps what was seen.
#[derive(Clone, Default)]
struct Between {
    seen: Arc<AtomicU64>,
    cut: Arc<AtomicU64>,
}

impl Between {
    fn start(&self, to: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let between = self.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let (from, back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || pass(from, back, |_| true));
                let between = between.clone();
                std::thread::spawn(move || pass(client, server, |count| between.passes(count)));
            }
        });
        at
    }

    /// Waits until so many bytes have passed.
    fn wait(&self, bytes: u64) {
        let begin = Instant::now();
        while self.seen.load(Ordering::SeqCst) < bytes {
            assert!(begin.elapsed() < 4 * SLOW, "no {bytes} bytes have passed");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn passes(&self, count: u64) -> bool {
        let seen = self.seen.fetch_add(count, Ordering::SeqCst) + count;
        let cut = self.cut.load(Ordering::SeqCst);
        if cut > 0 && seen > cut {
            self.cut.store(0, Ordering::SeqCst);
            return false;
        }
        true
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(u64) -> bool) {
    let mut buffer = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !passes(count as u64) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Runs a command on another machine with this server and this token.
fn at(fleet: &Fleet, url: &str, token: &str, arguments: &[&str]) -> Answer {
    let mut command = elsewhere(fleet, arguments);
    command.env("FLEETCAST_SERVER", url).env("FLEETCAST_TOKEN", token);
    Child::start(&format!("{arguments:?}"), command).wait(4 * SLOW)
}

#[test]
fn only_the_server_with_the_known_certificate_is_spoken_with() {
    let (fleet, other) = (fleet(), fleet());
    add(&fleet, "ann", "admin");
    let ann = token(&fleet, "ann", &[]);
    let (bare, listen) = (format!("https://{}", listen(&fleet)), listen(&fleet));
    let list = |url: &str| at(&fleet, url, &ann, &["groups", "list"]);
    list(&url(&fleet)).done();
    // Unknown: nobody is here to compare anything, so nothing is sent.
    list(&bare).refused(2, "server-unknown");
    // Somebody else answers, at the same place or on the way.
    let pin = url(&other).split_once('#').unwrap().1.to_owned();
    list(&format!("{bare}#{pin}")).refused(1, "server-changed");
    let way = Between::default().start(crate::remote::listen(&other));
    let own = url(&fleet).split_once('#').unwrap().1.to_owned();
    list(&format!("https://{way}#{own}")).refused(1, "server-changed");
    let log = other.run(["log"]).stdout;
    assert!(!log.contains("token-refused"), "the token was not shown to it: {log}");
    // Passing on is all that somebody between can do, and is no matter.
    let way = Between::default().start(listen);
    list(&format!("https://{way}#{own}")).done();
    for (url, code) in [
        (format!("http://{listen}"), "server-lost"),
        ("http://192.0.2.1:7414".into(), "https-needed"),
        (format!("{bare}#{}", &own[1..]), "fingerprint-malformed"),
        ("gopher://127.0.0.1".into(), "server-malformed"),
    ] {
        let answer = list(&url);
        assert_ne!(answer.code, 0, "{url}");
        let told = answer.failure()["code"].as_str().unwrap().to_owned();
        assert!(told == code || told == "https-needed", "{url}: {told}");
    }
    // Nobody there, and somebody there who speaks no TLS.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let answer = list(&format!("https://{nobody}#{own}"));
    answer.refused(1, "server-unreachable");
    assert!(answer.took.as_secs() < 15, "{:?}", answer.took);
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = list(&format!("https://{}#{own}", mute.local_addr().unwrap()));
    answer.refused(1, "server-unreachable");
    assert!(answer.took.as_secs() < 30, "{:?}", answer.took);
}

#[test]
fn a_server_that_was_logged_in_at_is_known_from_then_on() {
    let mut fleet = fleet();
    add(&fleet, "ann", "operator");
    let (url, password) = (url(&fleet), format!("{PASSWORD}\n"));
    let (bare, _) = url.split_once('#').unwrap();
    by_login(&fleet, &password, &["login", bare, "--user", "ann"]).refused(2, "server-unknown");
    by_login(&fleet, &password, &["login", &url, "--user", "ann"]).done();
    by_login(&fleet, &password, &["login", bare, "--user", "ann"]).done();
    by_login(&fleet, "", &["--server", bare, "groups", "list"]).done();
    // The certificate is made once; where it is another, somebody must look.
    let port = listen(&fleet).port();
    let pem = fleet.state().join("keys/api.pem");
    fleet.kill_server();
    fs::remove_file(pem).unwrap();
    fleet.set_option("--api", &format!("127.0.0.1:{port}"));
    fleet.start_server();
    by_login(&fleet, "", &["groups", "list"]).refused(1, "server-changed");
    by_login(&fleet, &password, &["login", bare, "--user", "ann"]).refused(1, "server-changed");
    let renewed = crate::remote::url(&fleet);
    by_login(&fleet, &password, &["login", &renewed, "--user", "ann"]).done();
    by_login(&fleet, "", &["groups", "list"]).done();
}

#[test]
fn files_are_sent_from_elsewhere_and_an_upload_that_is_cut_goes_on() {
    let fleet = fleet();
    add(&fleet, "ann", "admin");
    let ann = token(&fleet, "ann", &[]);
    let mut receiver = fleet.receiver("r");
    // The admin's key is where the admin is.
    let keys = fleet.path("elsewhere").join("keys");
    fs::create_dir_all(&keys).unwrap();
    for folder in [fleet.path("elsewhere"), keys.clone()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::copy(fleet.state().join("keys/admin.key"), keys.join("admin.key")).unwrap();
    let file = fleet.path("noise");
    let size = 24 << 20;
    fs::write(&file, noise(7, size)).unwrap();
    let between = Between::default();
    let way = between.start(listen(&fleet));
    let pin = url(&fleet).split_once('#').unwrap().1.to_owned();
    let way = format!("https://{way}#{pin}");
    // The line is cut twice, each time in the midst of a batch: it is taken up again.
    between.cut.store(5 << 20, Ordering::SeqCst);
    let cutter = between.clone();
    let second = std::thread::spawn(move || {
        cutter.wait(14 << 20);
        cutter.cut.store(1, Ordering::SeqCst);
    });
    let path = file.to_str().unwrap();
    at(&fleet, &way, &ann, &["send", path, "--to", "g", "--wait"]).done();
    second.join().unwrap();
    assert_eq!(fs::read(receiver.file("noise")).unwrap(), fs::read(&file).unwrap());
    // At most the batches that were cut went again: 8 MiB each, and some headers.
    let sent = between.seen.load(Ordering::SeqCst);
    let most = (size + 2 * (9 << 20) + (1 << 20)) as u64;
    println!("{sent} bytes for a file of {size}");
    assert!(sent < most, "{sent} bytes for a file of {size}");
    // A command that is killed in the midst, and given again, sends the rest only.
    receiver.kill();
    let more = fleet.path("more");
    fs::write(&more, noise(8, size)).unwrap();
    let before = between.seen.load(Ordering::SeqCst);
    let mut command = elsewhere(&fleet, ["send", more.to_str().unwrap(), "--to", "g"]);
    command.env("FLEETCAST_SERVER", &way).env("FLEETCAST_TOKEN", &ann);
    let child = Child::start("send", command);
    between.wait(before + (18 << 20));
    child.kill();
    let before = between.seen.load(Ordering::SeqCst);
    at(&fleet, &way, &ann, &["send", more.to_str().unwrap(), "--to", "g"]).done();
    let rest = between.seen.load(Ordering::SeqCst) - before;
    println!("{rest} bytes after the command was killed");
    assert!(rest < (16 << 20), "{rest} bytes after 18 MiB of {size} had gone");
    signed_elsewhere(&fleet, &way, &ann);
}

/// What an admin's key signs comes from the PC where the key is.
fn signed_elsewhere(fleet: &Fleet, way: &str, ann: &str) {
    let at = |arguments: &[&str]| at(fleet, way, ann, arguments);
    // Invitations and memberships, which are signed, go the same way; a code made elsewhere
    // names the server by the address that it is reached by.
    let answer = at(&["invite", "--group", "g"]).done();
    assert!(answer["item"]["code"].as_str().unwrap().starts_with("FC1-"));
    at(&["groups", "remove", "g", "r", "--yes"]).done();
    at(&["groups", "add", "g", "r"]).done();
    at(&["releases", "verify", "g#1"]).done();
    at(&["doctor", "--interface", "lo"]).done();
    at(&["backup", "never.tar"]).refused(1, "forbidden");
    let log = fleet.run(["log", "--actor", "ann"]).stdout;
    assert!(log.contains("release-sent") && log.contains("member-removed"), "{log}");
}
