//! `doctor`: looks at everything that can be looked at from here, and says what to do.

use std::net::{SocketAddr, SocketAddrV4};
use std::os::unix::fs::MetadataExt as _;

use clap::Args;
use serde::Serialize;
use tokio::runtime::Builder;

use super::context::{Context, DONE, Outcome};
use super::table::Table;
use super::{log, printer};
use crate::catalog::Catalog;
use crate::error::{EXIT_FAILED, Failure};
use crate::health::Severity;
use crate::keys::{Keys, Node};
use crate::net::{BatchSocket, find_interface};
use crate::private;
use crate::room::Room;
use crate::state::StateDir;
use crate::status::StatusItem;
use crate::units::{format_count, format_time, now};

/// A clock that stands before this was never set: 2026-01-01.
const FIRST_DAY: u64 = 1_767_225_600;
/// Where multicast is tried: a group of the pool that nobody uses for long.
const PROBE: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(239, 77, 255, 254), 0);

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The interface of multicast, by name or address
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct CheckItem {
    /// What, as a code.
    check: String,
    /// Whether it is as it should be.
    ok: bool,
    /// How bad it is when not.
    severity: Severity,
    /// What was found.
    detail: String,
    /// What to do about it, or empty.
    hint: String,
}

/// What was found, in the order in which it was looked at.
#[derive(Default)]
struct Findings(Vec<CheckItem>);

impl Findings {
    fn good(&mut self, check: &str, detail: impl Into<String>) {
        let (check, detail, hint) = (check.to_owned(), detail.into(), String::new());
        self.0.push(CheckItem { check, ok: true, severity: Severity::Info, detail, hint });
    }

    fn bad(&mut self, check: &str, severity: Severity, detail: impl Into<String>, hint: &str) {
        let (check, detail, hint) = (check.to_owned(), detail.into(), hint.to_owned());
        self.0.push(CheckItem { check, ok: false, severity, detail, hint });
    }

    fn take(&mut self, check: &str, found: Result<String, Failure>) {
        match found {
            Ok(detail) => self.good(check, detail),
            Err(failure) => self.bad(check, Severity::Error, failure.message, &failure.hint),
        }
    }
}

/// Exit code 1 when something that was asked for cannot work.
pub(super) fn run(context: &Context, options: &Options) -> Outcome {
    let state = StateDir::at(&context.state);
    let mut findings = Findings::default();
    directory(&mut findings, &state);
    clock(&mut findings);
    let wanted = options.interface.as_deref().or(context.settings.interface.as_deref());
    findings.take("multicast", multicast(wanted));
    match context.client()?.status() {
        Ok(status) => {
            running(&mut findings, &status);
            findings.take("log", log::check(&context.client()?).map(lines));
        }
        Err(failure) if failure.code == "server-not-running" => {
            findings.bad("server", Severity::Warning, failure.message, &failure.hint);
            at_rest(&mut findings, &state)?;
        }
        Err(failure) => findings.take("server", Err(failure)),
    }
    let broken = findings.0.iter().any(|item| !item.ok && item.severity == Severity::Error);
    printer::items(context, "doctor", findings.0, table);
    Ok(if broken { EXIT_FAILED } else { DONE })
}

fn lines(count: u64) -> String {
    format!("{count} lines, unbroken")
}

/// The state directory, its rights, its keys, its disk.
fn directory(findings: &mut Findings, state: &StateDir) {
    let path = state.path();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let hint = "`fleetcast serve` makes one; or name it with --state DIR";
            let detail = format!("{}: {error}", path.display());
            return findings.bad("state", Severity::Warning, detail, hint);
        }
    };
    match private::exposed(&metadata) {
        Some(mode) => {
            let detail = format!("{} has mode {mode:o}", path.display());
            findings.bad("state", Severity::Warning, detail, "chmod 700 it: keys are in there");
        }
        None => findings.good("state", format!("{}, of user {}", path.display(), metadata.uid())),
    }
    if state.keys().is_dir() {
        let keys = || -> Result<String, Failure> {
            let keys = Keys::open(&state.keys())?;
            let controller = keys.node(Node::Controller)?.is_some();
            let admin = match keys.admin_sealed_by_passphrase()? {
                Some(true) => "sealed by a passphrase",
                Some(false) => "protected by its file's mode only",
                None => "elsewhere",
            };
            let controller = if controller { "here" } else { "missing" };
            Ok(format!("controller key {controller}, admin key {admin}"))
        };
        findings.take("keys", keys());
    }
    if let Some(room) = Room::of(path) {
        let detail = room.to_string();
        if room.is_scarce() {
            findings.bad("disk", Severity::Warning, detail, "make room, or `releases prune`");
        } else {
            findings.good("disk", detail);
        }
    }
}

fn clock(findings: &mut Findings) {
    let time = now();
    let detail = format_time(time);
    if time < FIRST_DAY {
        findings.bad("clock", Severity::Error, detail, "set the clock: signatures carry times");
    } else {
        findings.good("clock", detail);
    }
}

/// Joins a multicast group and leaves it again.
fn multicast(wanted: Option<&str>) -> Result<String, Failure> {
    let interface = find_interface(wanted)?;
    let socket = BatchSocket::multicast(PROBE, &interface)?;
    let SocketAddr::V4(_) = socket.local_addr()? else {
        return Err(Failure::failed("interface-no-multicast", "no IPv4", "choose --interface"));
    };
    Ok(format!("{} ({}) can join", interface.name, interface.address))
}

/// What a running server says of itself.
fn running(findings: &mut Findings, status: &StatusItem) {
    let receivers = &status.receivers;
    let detail = format!(
        "version {}, {} active, {} away, {} waiting",
        status.version,
        format_count(receivers.active, "receiver"),
        receivers.away,
        receivers.waiting
    );
    findings.good("server", detail);
    for health in &status.health {
        let detail = format!("{} ({})", health.title, health.subject);
        findings.bad(&health.code, health.severity, detail, &health.hint);
    }
}

/// The files of a server that does not run.
fn at_rest(findings: &mut Findings, state: &StateDir) -> Result<(), Failure> {
    if !state.catalog().exists() {
        return Ok(());
    }
    let lock = match state.lock() {
        Ok(lock) => lock,
        Err(failure) => {
            findings.take("catalog", Err(failure));
            return Ok(());
        }
    };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("runtime", &error))?;
    let found = runtime.block_on(async {
        let catalog = Catalog::open(&state.catalog()).await?;
        let snapshot = catalog.load().await?;
        catalog.close().await;
        let counts = [
            format_count(snapshot.receivers.len() as u64, "receiver"),
            format_count(snapshot.groups.len() as u64, "group"),
            format_count(snapshot.releases.len() as u64, "release"),
        ];
        Ok(counts.join(", "))
    });
    findings.take("catalog", found);
    drop(lock);
    Ok(())
}

fn table(items: &[CheckItem]) -> Table {
    let mut table = Table::new(&["", "CHECK", "FOUND", "WHAT TO DO"], "nothing was looked at");
    for item in items {
        let sign = match (item.ok, item.severity) {
            (true, _) => "ok",
            (false, Severity::Info) => "info",
            (false, Severity::Warning) => "warning",
            (false, Severity::Error) => "ERROR",
        };
        let (check, detail) = (item.check.clone(), item.detail.clone());
        table.row([sign.to_owned(), check, detail, item.hint.clone()]);
    }
    table
}
