//! `cargo xtask deb`: a Debian package of the program, with units for server and receiver.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::shell;

/// Where what goes into the package besides the program lies, below the root.
const SOURCES: &str = "host/package";
/// Plain files: where from, where to.
const FILES: [(&str, &str); 7] = [
    ("host/package/fleetcast-server.service", "usr/lib/systemd/system/fleetcast-server.service"),
    (
        "host/package/fleetcast-receiver.service",
        "usr/lib/systemd/system/fleetcast-receiver.service",
    ),
    ("host/package/sysusers.conf", "usr/lib/sysusers.d/fleetcast.conf"),
    ("host/package/tmpfiles.conf", "usr/lib/tmpfiles.d/fleetcast.conf"),
    ("host/package/fleetcast.toml", "usr/share/doc/fleetcast/examples/fleetcast.toml"),
    ("README.md", "usr/share/doc/fleetcast/README.md"),
    ("SECURITY.md", "usr/share/doc/fleetcast/SECURITY.md"),
];
/// Scripts that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Options of `deb`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program, where it is built already
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where the package goes
    #[arg(long, value_name = "DIR", default_value = "target/debian")]
    to: PathBuf,
}

/// Builds the package and prints what is in it.
///
/// # Errors
/// When something cannot be written, or `dpkg-deb` is not there.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let root = shell::root();
    let program = match &options.program {
        Some(program) => program.clone(),
        None => {
            let mut build = shell::cargo(&["build", "--release", "-p", "fleetcast"]);
            if !build.status().map_err(|error| format!("cargo: {error}"))?.success() {
                return Ok(false);
            }
            root.join("target/release/fleetcast")
        }
    };
    let to = root.join(&options.to);
    let tree = to.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|error| told(&tree, &error))?;
    }
    place(&program, &tree.join("usr/bin/fleetcast"), 0o755)?;
    for (from, at) in FILES {
        place(&root.join(from), &tree.join(at), 0o644)?;
    }
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        place(&root.join(license), &tree.join("usr/share/doc/fleetcast").join(license), 0o644)?;
    }
    for script in SCRIPTS {
        place(&root.join(SOURCES).join(script), &tree.join("DEBIAN").join(script), 0o755)?;
    }
    let architecture = dpkg(&["--print-architecture"]).unwrap_or_else(|| "amd64".to_owned());
    let version = env!("CARGO_PKG_VERSION");
    let control = tree.join("DEBIAN/control");
    let text = control_text(version, &architecture, &tree)?;
    fs::write(&control, text).map_err(|error| told(&control, &error))?;
    let package = to.join(format!("fleetcast_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]).arg(&tree).arg(&package);
    let done = shell::run("deb", build).map_err(|error| format!("dpkg-deb: {error}"))?;
    if !done.ok {
        return Err(format!("dpkg-deb: {}", done.output.trim()));
    }
    let mut list = Command::new("dpkg-deb");
    list.arg("--contents").arg(&package);
    println!("{}", shell::stdout(list).ok_or("dpkg-deb cannot read its own package")?);
    println!("{}", package.display());
    Ok(true)
}

fn dpkg(arguments: &[&str]) -> Option<String> {
    let mut dpkg = Command::new("dpkg");
    dpkg.args(arguments);
    shell::stdout(dpkg)
}

fn control_text(version: &str, architecture: &str, tree: &Path) -> Result<String, String> {
    let program = tree.join("usr/bin/fleetcast");
    let size = fs::metadata(&program).map_err(|error| told(&program, &error))?.len() / 1_024 + 64;
    Ok(format!(
        "Package: fleetcast\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: the fleetcast developers <fleetcast@localhost>\n\
         Section: net\n\
         Priority: optional\n\
         Installed-Size: {size}\n\
         Depends: libc6, libgcc-s1\n\
         Recommends: systemd\n\
         Description: secure distribution of files to groups of receivers by multicast\n \
          One copy crosses the network, repaired by parity, encrypted, signed by the\n \
          admin and verified chunk by chunk; only what a receiver lacks is sent.\n"
    ))
}

/// Copies a file to its place in the tree.
fn place(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder).map_err(|error| told(folder, &error))?;
    fs::copy(from, to).map_err(|error| told(from, &error))?;
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(to, mode).map_err(|error| told(to, &error))
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
