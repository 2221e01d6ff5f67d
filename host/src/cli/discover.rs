//! Servers on this network, for a receiver that has no code: listed, and on a
//! terminal one of them chosen by a person.

use std::time::Duration;

use serde::Serialize;

use super::context::{Context, on_terminal};
use super::table::Table;
use super::{printer, prompt};
use crate::code::EnrolmentCode;
use crate::discovery::{Found, listen};
use crate::error::Failure;
use crate::net::find_interface;

/// Two beacons and a bit.
const TIME: Duration = Duration::from_millis(6_500);

/// A server, as `receive --discover` lists it.
#[derive(Clone, Debug, Serialize)]
struct ServerItem {
    address: String,
    fingerprint: String,
    code: String,
}

/// The code of the server that a person has chosen; `None` when there was nobody
/// to choose, and they were only listed.
///
/// # Errors
/// `no-server-found`, `not-chosen`, `io`.
pub(super) fn discover(
    context: &Context,
    interface: Option<&str>,
) -> Result<Option<EnrolmentCode>, Failure> {
    printer::say(context, "listening for servers on this network…");
    let found = listen(&find_interface(interface)?, TIME)?;
    let items: Vec<ServerItem> = found.iter().map(item).collect();
    if context.json || !on_terminal() {
        printer::items(context, "servers", items, table);
        return Ok(None);
    }
    if found.is_empty() {
        let hint = "ask the admin for a code, and enrol with --enrol CODE";
        return Err(Failure::failed("no-server-found", "no server says that it is here", hint));
    }
    printer::raw(&table(&items).to_string());
    printer::say_lines(
        "Compare the fingerprint with what `fleetcast invite --fingerprint` prints at the server.",
    );
    let answer = prompt::line("Which one is yours? [its number; nothing for none] ")?;
    // PROTOCOL B2: nothing is trusted that nobody has chosen.
    let number = answer.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let chosen = number.and_then(|at| found.get(at)).map(|server| server.code.clone());
    chosen.map(Some).ok_or_else(|| {
        let hint = "ask the admin for a code, and enrol with --enrol CODE";
        Failure::failed("not-chosen", "none of them was chosen", hint)
    })
}

fn item(found: &Found) -> ServerItem {
    ServerItem {
        address: found.address.to_string(),
        fingerprint: found.fingerprint.to_string(),
        code: found.code.to_string(),
    }
}

fn table(servers: &[ServerItem]) -> Table {
    let hint = "no server says that it is here; ask the admin for a code";
    let mut table = Table::new(&[">", "SERVER", "FINGERPRINT"], hint);
    for (number, server) in (1_u32..).zip(servers) {
        table.row([number.to_string(), server.address.clone(), server.fingerprint.clone()]);
    }
    table
}
