//! Disks that are full: under the state directory, and where output goes.

use std::fs::OpenOptions;
use std::process::Command;

use fleetcast_tests::processes::program;

/// Runs in a mount namespace of its own: `$1` a directory for the disk, `$2` the program.
const SCRIPT: &str = r#"
set -eu
mount -t tmpfs -o size=64m tmpfs "$1"
disk=$1
program=$2
fleetcast() { "$program" --state "$disk/state" "$@"; }
"$program" --state "$disk/state" serve --listen 127.0.0.1:0 --interface lo --no-beacon \
    --multicast 239.78.250.0/30:7413 > /dev/null &
trap 'kill $!; wait $!' EXIT
is_shown() { fleetcast status --json | grep --quiet '"disk-nearly-full"'; }
waits_until() { for i in $(seq 300); do if "$@"; then return; fi; sleep 0.1; done; false; }
is_not_shown() { ! is_shown; }
waits_until fleetcast status > /dev/null 2>&1
is_not_shown
free=$(df --output=avail --block-size=1 "$disk" | tail -1)
# A twentieth of 64 MiB is 3.2 MiB.
head --bytes=$((free - 2500000)) /dev/zero > "$disk/large"
waits_until is_shown
rm "$disk/large"
waits_until is_not_shown
"#;

#[test]
fn a_disk_that_is_nearly_full_is_shown_until_there_is_room_again() {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["sh", "-c", SCRIPT, "sh"]).arg(place.path()).arg(program());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_cannot_be_written_to_stdout_is_a_failure() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(program()).args(["completions", "bash"]).stdout(full).output();
    let output = output.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("standard output") && told.contains("help:"), "{told}");
}

#[test]
fn a_demo_of_a_file_that_is_not_there_says_so() {
    let output = Command::new(program()).args(["demo", "no-such-file"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("no-such-file") && !told.contains("it failed"), "{told}");
}
