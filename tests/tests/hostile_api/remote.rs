//! A server that other machines reach, and people with accounts there.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Command;

use fleetcast_tests::http::Door;
use fleetcast_tests::processes::{Answer, Child, Fleet, SLOW, program};

pub(crate) const PASSWORD: &str = "correct horse";

/// A fleet whose API is on.
pub(crate) fn fleet() -> Fleet {
    Fleet::start_with(&["--api", "127.0.0.1:0"])
}

/// Where its API listens.
pub(crate) fn listen(fleet: &Fleet) -> SocketAddr {
    fleet.ready["api"]["listen"].as_str().unwrap().parse().unwrap()
}

/// Its door for other machines.
pub(crate) fn door(fleet: &Fleet) -> Door {
    Door::Tls(listen(fleet))
}

/// Its address with its certificate.
pub(crate) fn url(fleet: &Fleet) -> String {
    let api = &fleet.ready["api"];
    format!("https://{}#{}", listen(fleet), api["fingerprint"].as_str().unwrap())
}

/// Makes an account.
pub(crate) fn add(fleet: &Fleet, user: &str, role: &str) {
    fleet.run_with(&format!("{PASSWORD}\n"), ["users", "add", user, "--role", role]).done();
}

/// A token of an account, with these options.
pub(crate) fn token(fleet: &Fleet, user: &str, options: &[&str]) -> String {
    let answer = fleet.run([&["users", "token", "create", user], options].concat());
    answer.done()["item"]["token"].as_str().unwrap().to_owned()
}

/// A command on another machine, which has a state directory of its own.
pub(crate) fn elsewhere<A: AsRef<OsStr>>(
    fleet: &Fleet,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(program());
    for name in ["STATE", "SERVER", "TOKEN", "PASSPHRASE_FILE"] {
        command.env_remove(format!("FLEETCAST_{name}"));
    }
    command.arg("--state").arg(fleet.path("elsewhere")).arg("--json").args(arguments);
    command
}

/// Runs a command on another machine by a token.
pub(crate) fn by_token(fleet: &Fleet, token: &str, arguments: &[&str]) -> Answer {
    let mut command = elsewhere(fleet, arguments);
    command.env("FLEETCAST_SERVER", url(fleet)).env("FLEETCAST_TOKEN", token);
    Child::start(&format!("{arguments:?}"), command).wait(SLOW)
}

/// Runs a command on another machine that reads this from standard input.
pub(crate) fn by_login(fleet: &Fleet, input: &str, arguments: &[&str]) -> Answer {
    let command = elsewhere(fleet, arguments);
    Child::start_with(&format!("{arguments:?}"), command, input).wait(SLOW)
}
