//! The Debian package: what is in it, and that another root takes it and gives it back.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fleetcast_tests::package::build_package;
use fleetcast_tests::processes::{skip, workspace};

/// dpkg with a root of its own.
fn dpkg(root: &Path, arguments: &[&str]) -> Output {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.display())).arg("--force-not-root");
    dpkg.args(["--force-script-chrootless", "--force-depends"]).args(arguments).output().unwrap()
}

/// Whether a program can be run.
fn has(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok()
}

#[test]
fn the_package_goes_into_another_root_and_leaves_it_again() {
    if !has("dpkg-deb") {
        return skip("the_package_goes_into_another_root_and_leaves_it_again: no dpkg-deb");
    }
    let folder = tempfile::tempdir().unwrap();
    let (package, listed) = build_package(folder.path());
    for name in ["./usr/bin/fleetcast", "./usr/lib/systemd/system/fleetcast-server.service"] {
        assert!(listed.lines().any(|line| line.ends_with(name)), "{name}: {listed}");
    }
    let root = folder.path().join("root");
    for place in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"] {
        fs::create_dir_all(root.join(place)).unwrap();
    }
    for file in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
        fs::write(root.join(file), "").unwrap();
    }
    let installed = dpkg(&root, &["--install", package.to_str().unwrap()]);
    assert!(installed.status.success(), "{installed:?}");
    let version = Command::new(root.join("usr/bin/fleetcast")).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("fleetcast "), "{version:?}");
    check_units(&root);
    // Removed, it leaves the state; purged, nothing but what was installed from releases.
    for place in ["var/lib/fleetcast", "etc/default", "srv/fleet/.fleetcast", "srv/fleet/kiosks"] {
        fs::create_dir_all(root.join(place)).unwrap();
    }
    fs::write(root.join("var/lib/fleetcast/catalog.db"), "x").unwrap();
    fs::write(root.join("etc/default/fleetcast-receiver"), "x").unwrap();
    assert!(dpkg(&root, &["--remove", "fleetcast"]).status.success());
    assert!(!root.join("usr/bin/fleetcast").exists());
    assert!(root.join("var/lib/fleetcast/catalog.db").exists(), "keys are not thrown away");
    let purged = dpkg(&root, &["--purge", "fleetcast"]);
    assert!(purged.status.success(), "{purged:?}");
    assert!(!root.join("var/lib/fleetcast").exists());
    for place in ["usr/lib/systemd", "etc/default/fleetcast-receiver", "srv/fleet/.fleetcast"] {
        assert!(!root.join(place).exists(), "an orphan: {place}");
    }
    assert!(root.join("srv/fleet/kiosks").exists(), "it is its users', not ours");
}

#[test]
fn the_services_expose_next_to_nothing() {
    if !has("systemd-analyze") {
        return skip("the_services_expose_next_to_nothing: no systemd-analyze");
    }
    for unit in ["fleetcast-server.service", "fleetcast-receiver.service"] {
        let unit = workspace().join("host/package").join(unit);
        let mut security = Command::new("systemd-analyze");
        // In tenths; an ordinary service has 9.6.
        security.args(["security", "--offline=true", "--no-pager", "--threshold=15"]).arg(unit);
        let judged = security.output().unwrap();
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    }
}

/// systemd finds nothing wrong with the units.
fn check_units(root: &Path) {
    if !has("systemd-analyze") {
        return skip("check_units: no systemd-analyze");
    }
    for unit in ["fleetcast-server.service", "fleetcast-receiver.service"] {
        let unit = root.join("usr/lib/systemd/system").join(unit);
        // The program is not in this machine's own /usr/bin.
        let text = fs::read_to_string(&unit).unwrap();
        let program = root.join("usr/bin/fleetcast");
        let text = text.replace("/usr/bin/fleetcast", program.to_str().unwrap());
        let copy = root.join(unit.file_name().unwrap());
        fs::write(&copy, text).unwrap();
        let mut verify = Command::new("systemd-analyze");
        let said = said(verify.args(["verify", "--man=no"]).arg(&copy));
        assert!(said.is_empty(), "{said}");
    }
}

/// What a program says of our units; what it says of others of this machine is not ours.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours = said.lines().filter(|line| line.contains("fleetcast-"));
    ours.collect::<Vec<_>>().join("\n")
}
