//! The services as they run for real: the package installed on a machine whose process 1
//! is systemd, from the first start to the removal.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;

use fleetcast_tests::package::build_package;
use fleetcast_tests::processes::{noise, skip, workspace};

use machine::Machine;

mod machine;

const SERVER: &str = "fleetcast-server.service";
const RECEIVER: &str = "fleetcast-receiver.service";
const SERVICES: [&str; 2] = [SERVER, RECEIVER];
/// The machine's own address.
const ADDRESS: &str = "10.7.7.1:7411";

// nightly
#[ignore = "nightly: boots a systemd in namespaces, as root"]
#[test]
fn the_services_live_under_systemd_from_installation_to_removal() {
    let test = "the_services_live_under_systemd_from_installation_to_removal";
    let machine = match Machine::boot() {
        Ok(machine) => machine,
        Err(reason) => return skip(&format!("{test}: {reason}")),
    };
    let folder = tempfile::tempdir().unwrap();
    let (package, _) = build_package(folder.path());
    fs::copy(package, machine.path("/tmp/fleetcast.deb")).unwrap();
    machine.does("dpkg --force-depends --install /tmp/fleetcast.deb");
    they_start_when_they_are_wanted(&machine);
    they_may_do_what_they_need_and_nothing_else(&machine);
    they_are_started_again_when_they_are_killed(&machine);
    they_end_in_order(&machine);
    a_new_version_starts_what_runs_again(&machine);
    an_older_catalog_comes_up_to_date(&machine);
    removed_they_stop_and_purged_nothing_is_left(&machine);
}

fn they_start_when_they_are_wanted(machine: &Machine) {
    // An installation starts nothing by itself.
    SERVICES.iter().for_each(|unit| assert_eq!(machine.property(unit, "ActiveState"), "inactive"));
    // It comes back when the server says that it is ready, and then it answers.
    machine.does(&format!("systemctl enable --now {SERVER}"));
    assert_eq!(machine.property(SERVER, "Type"), "notify");
    machine.does("fleetcast groups create kiosks");
    let invite = format!("fleetcast invite --group kiosks --address {ADDRESS}");
    let code = machine.does(&invite);
    let options = format!("FLEETCAST_OPTIONS=\"--enrol {code} --name kiosk\"\n");
    fs::write(machine.path("/etc/default/fleetcast-receiver"), options).unwrap();
    machine.does(&format!("systemctl enable --now {RECEIVER}"));
    machine.waits_until("fleetcast receivers list | grep 'kiosk *active'");
    arrives(machine, 1);
}

/// A file that is sent is there, and belongs to the receiver's user.
fn arrives(machine: &Machine, seed: u64) {
    fs::write(machine.path("/tmp/film"), noise(seed, 3 << 20)).unwrap();
    machine.does("fleetcast send /tmp/film --to kiosks --wait");
    machine.does("cmp /tmp/film /srv/fleet/kiosks/film");
    let owner = machine.does("stat --format=%U /srv/fleet/kiosks/film");
    assert_eq!(owner, "fleetcast-receiver");
}

fn they_may_do_what_they_need_and_nothing_else(machine: &Machine) {
    let users = ["fleetcast", "fleetcast-receiver"];
    let places = ["/var/lib/fleetcast", "/srv/fleet"];
    for ((unit, user), place) in SERVICES.into_iter().zip(users).zip(places) {
        let process = machine.property(unit, "MainPID");
        assert_eq!(machine.does(&format!("stat --format=%U /proc/{process}")), user);
        let status = machine.does(&format!("cat /proc/{process}/status"));
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!(field("CapEff:"), "0000000000000000");
        assert_eq!(field("CapBnd:"), "0000000000000000");
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".to_owned(), "2".to_owned()));
        // Even root, with its eyes, writes nowhere else.
        let seen =
            |words: &str| machine.can(&format!("nsenter --target {process} --mount {words}"));
        assert!(seen(&format!("touch {place}/probe")) && seen(&format!("rm {place}/probe")));
        for elsewhere in ["/etc/probe", "/usr/probe", "/var/lib/probe", "/root/probe"] {
            assert!(!seen(&format!("touch {elsewhere}")), "{unit} may write {elsewhere}");
        }
        machine.does("test -e /dev/probe || mknod /dev/probe c 1 3");
        assert!(seen("test -e /dev/null") && !seen("test -e /dev/probe"), "{unit} sees devices");
        machine.does(&format!("systemd-analyze security --no-pager --threshold=15 {unit}"));
    }
}

fn they_are_started_again_when_they_are_killed(machine: &Machine) {
    for unit in SERVICES {
        machine.does(&format!("systemctl kill --signal=KILL --kill-whom=main {unit}"));
        machine.waits_until(&format!("test $(systemctl show --value -p NRestarts {unit}) = 1"));
        machine.waits_until(&format!("systemctl is-active {unit}"));
    }
    machine.waits_until("fleetcast receivers list | grep 'kiosk *active'");
    arrives(machine, 2);
    machine.does("fleetcast log verify");
}

fn they_end_in_order(machine: &Machine) {
    for unit in SERVICES {
        machine.does(&format!("systemctl stop {unit}"));
        assert_eq!(machine.property(unit, "Result"), "success");
        assert_eq!(machine.property(unit, "ExecMainStatus"), "0");
        machine.does(&format!("systemctl start {unit}"));
    }
}

fn a_new_version_starts_what_runs_again(machine: &Machine) {
    let before = SERVICES.map(|unit| machine.property(unit, "MainPID"));
    machine.does("dpkg --force-depends --install /tmp/fleetcast.deb");
    let after = SERVICES.map(|unit| machine.property(unit, "MainPID"));
    for (before, after) in before.iter().zip(&after) {
        assert!(before != after && after != "0", "{before} {after}");
    }
    machine.waits_until("fleetcast receivers list | grep 'kiosk *active'");
    arrives(machine, 3);
}

/// Makes of the present catalog one of the first version, with what that knew.
const FIRST_VERSION: &str = "set -e
cd /var/lib/fleetcast
sqlite3 catalog.db 'PRAGMA wal_checkpoint(TRUNCATE)'
mv catalog.db /tmp/new.db
sqlite3 catalog.db < /tmp/first.sql
sqlite3 /tmp/new.db '.schema _sqlx_migrations' | sqlite3 catalog.db
sqlite3 catalog.db \"SELECT 'INSERT INTO main.' || name || ' SELECT ' ||
    (SELECT group_concat(name) FROM pragma_table_info(m.name)) || ' FROM new.' || name ||
    CASE name WHEN '_sqlx_migrations' THEN ' WHERE version = 1' ELSE '' END || ';'
    FROM sqlite_master m WHERE type = 'table'\" > /tmp/copy.sql
(echo \"ATTACH '/tmp/new.db' AS new;\"; cat /tmp/copy.sql) | sqlite3 catalog.db
chown fleetcast: catalog.db
chmod 600 catalog.db
rm -f catalog.db-wal catalog.db-shm";

fn an_older_catalog_comes_up_to_date(machine: &Machine) {
    if !machine.can("command -v sqlite3") {
        return skip("an_older_catalog_comes_up_to_date: no sqlite3");
    }
    let first = workspace().join("host/migrations/0001_catalog.sql");
    fs::copy(first, machine.path("/tmp/first.sql")).unwrap();
    let versions = "sqlite3 /var/lib/fleetcast/catalog.db 'SELECT count(*) FROM _sqlx_migrations'";
    let newest = machine.does(versions);
    let known = ["groups list", "receivers list --json", "releases list", "log"];
    machine.does(&format!("systemctl stop {RECEIVER} {SERVER}"));
    machine.does(FIRST_VERSION);
    assert_eq!(machine.does(versions), "1");
    machine.does(&format!("systemctl start {SERVER} {RECEIVER}"));
    assert_eq!(machine.does(versions), newest);
    for list in known {
        assert!(machine.does(&format!("fleetcast {list}")).contains("kiosk"), "{list}");
    }
    machine.does("fleetcast log verify");
    machine.waits_until("fleetcast receivers list | grep 'kiosk *active'");
    arrives(machine, 4);
}

fn removed_they_stop_and_purged_nothing_is_left(machine: &Machine) {
    machine.does("dpkg --remove fleetcast");
    assert!(!machine.can("pgrep --exact fleetcast"), "it still runs");
    assert!(!machine.can("systemctl is-enabled fleetcast-server fleetcast-receiver"));
    machine.does("test -e /var/lib/fleetcast/catalog.db");
    machine.does("dpkg --purge fleetcast");
    let left = "find /etc /usr /var /srv -iname '*fleetcast*' \
                -newer /etc/systemd/system/house.target";
    assert_eq!(machine.does(left), "");
    assert!(machine.can("cmp /tmp/film /srv/fleet/kiosks/film"), "it is its users', not ours");
    assert_eq!(machine.does("systemctl list-units --all --no-legend 'fleetcast*'"), "");
    // Users stay, as Debian has it: their numbers must not become somebody else's.
    machine.does("getent passwd fleetcast fleetcast-receiver");
}
