//! `invite`: a code that receivers enrol with. The voucher behind it is signed here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;
use data_encoding::HEXLOWER;
use fleetcast_core::crypto::sign::Context as Purpose;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{FleetId, GroupId, StaticKey, TokenId};
use fleetcast_core::limits::MAX_VOUCHER_GROUPS;
use fleetcast_core::trust::beacon::fingerprint;
use fleetcast_core::trust::membership::Voucher;
use serde_json::json;

use super::context::{Context, DONE, Outcome};
use super::servers::{Named, named_server};
use super::signing::signed;
use super::table::Table;
use super::{number, printer};
use crate::api::client::{Client, misunderstood};
use crate::api::model::{FleetInfo, Hex, NewVoucher};
use crate::code::EnrolmentCode;
use crate::error::Failure;
use crate::keys::random;
use crate::model::UnixTime;
use crate::net::find_interface;
use crate::status::{InvitationItem, InviteItem};
use crate::units::{BadUnit, format_time, now, parse_duration, quoted};

/// Options of `invite`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A group that its receivers are in at once; may be repeated
    #[arg(long = "group", value_name = "G", conflicts_with = "no_token")]
    groups: Vec<String>,
    /// How many receivers may enrol with it
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "no_token",
          allow_negative_numbers = true,
          value_parser = number::from::<u32>(1))]
    uses: u32,
    /// How long it counts
    #[arg(long, value_name = "DURATION", default_value = "24h", conflicts_with = "no_token",
          value_parser = parse_life)]
    expires: std::time::Duration,
    /// Without a secret: receivers wait until an admin approves each
    #[arg(long)]
    no_token: bool,
    /// Print it as a QR code too, on stderr
    #[arg(long)]
    qr: bool,
    /// List the codes that were made
    #[arg(long, conflicts_with_all = ["groups", "no_token", "qr", "address", "revoke"])]
    list: bool,
    /// Print the server's fingerprint, which people compare at receivers without a code
    #[arg(long,
          conflicts_with_all = ["groups", "no_token", "qr", "address", "revoke", "list"])]
    fingerprint: bool,
    /// Take a code back: the code itself, or its ID in the list, or the beginning of that
    #[arg(long, value_name = "CODE|ID",
          conflicts_with_all = ["groups", "no_token", "qr", "address"])]
    revoke: Option<String>,
    /// The address that receivers are told, HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

/// How long a code counts: one that never did would be a mistake, found at a receiver.
fn parse_life(text: &str) -> Result<std::time::Duration, BadUnit> {
    let life = parse_duration(text)?;
    if life.as_secs() == 0 { Err(BadUnit::Range(text.into())) } else { Ok(life) }
}

pub(super) fn run(context: &Context, options: &Options) -> Outcome {
    let client = context.client()?;
    if options.list {
        printer::items(context, "invitations", client.invitations()?, table);
        return Ok(DONE);
    }
    if let Some(which) = &options.revoke {
        let item = client.revoke_invitation(&named(which)?)?;
        printer::item(context, "invitation", item, |item| format!("took back {}\n", item.id));
        return Ok(DONE);
    }
    let fleet = client.fleet()?;
    if options.fingerprint {
        return tell_fingerprint(context, &fleet);
    }
    let (host, port) = match &options.address {
        Some(address) => split(address)?,
        None => reached(context, &fleet.listen)?,
    };
    // Before a voucher is signed: a code that cannot be made needs none.
    let mut code = EnrolmentCode {
        host,
        port,
        authority: Digest(fleet.digest.array().ok_or_else(misunderstood)?),
        controller: StaticKey(fleet.controller.array().ok_or_else(misunderstood)?),
        token: None,
    };
    code.to_string().parse::<EnrolmentCode>()?;
    let (mut uses, mut expires) = (0, UnixTime::MAX);
    if !options.no_token {
        (uses, expires) = (options.uses, now().saturating_add(options.expires.as_secs()));
        code.token = Some(vouch(context, &client, &fleet, options, expires)?);
    }
    if options.qr {
        printer::say_lines(&code.to_qr()?);
    }
    let item = InviteItem {
        code: code.to_string(),
        address: joined(&code.host, code.port),
        authority: HEXLOWER.encode(&fleet.digest.0),
        controller: HEXLOWER.encode(&fleet.controller.0),
        uses,
        expires,
    };
    printer::item(context, "invite", item, |item| format!("{}\n", item.code));
    Ok(DONE)
}

/// What people compare with what `receive --discover` shows.
fn tell_fingerprint(context: &Context, fleet: &FleetInfo) -> Outcome {
    let authority = Digest(fleet.digest.array().ok_or_else(misunderstood)?);
    let controller = StaticKey(fleet.controller.array().ok_or_else(misunderstood)?);
    let fingerprint = fingerprint(&authority, &controller).to_string();
    let item = json!({ "fingerprint": fingerprint });
    printer::item(context, "server", item, |_| format!("{fingerprint}\n"));
    Ok(DONE)
}

/// The public name of the token that a code holds; anything else is such a name.
fn named(which: &str) -> Result<String, Failure> {
    let Ok(code) = which.parse::<EnrolmentCode>() else {
        if which.is_empty() {
            let hint = "fleetcast invite --list";
            return Err(Failure::failed("invite-unknown", "that names no invitation", hint));
        }
        return Ok(which.to_owned());
    };
    let token = code.token.ok_or_else(|| {
        let hint = "`fleetcast receivers deny` turns away who waits";
        Failure::usage("invite-unknown", "a code without a token cannot be taken back", hint)
    })?;
    Ok(TokenId::of(&token).to_string())
}

fn table(invitations: &[InvitationItem]) -> Table {
    let titles = ["ID", "GROUPS", ">USED", ">OF", "EXPIRES", "STATE"];
    let now = now();
    let mut table = Table::new(&titles, "no codes yet; `fleetcast invite` makes one");
    for item in invitations {
        table.row([
            item.id.clone(),
            item.groups.join(", "),
            item.used.to_string(),
            item.uses.to_string(),
            format_time(item.expires),
            match item {
                item if item.revoked => "taken back",
                item if item.used >= item.uses => "used up",
                item if item.expires < now => "expired",
                _ => "open",
            }
            .to_owned(),
        ]);
    }
    table
}

/// Signs a voucher for a new token and gives it to the server.
fn vouch(
    context: &Context,
    client: &Client,
    fleet: &FleetInfo,
    options: &Options,
    not_after: UnixTime,
) -> Result<[u8; 16], Failure> {
    let token: [u8; 16] = random()?;
    let mut voucher = Voucher {
        fleet: FleetId(fleet.fleet.array().ok_or_else(misunderstood)?),
        token: TokenId::of(&token),
        groups: Default::default(),
        uses: options.uses,
        not_after,
    };
    for group in &options.groups {
        let id =
            client.next_release(group)?.group.array().map(GroupId).ok_or_else(misunderstood)?;
        if voucher.groups.contains(&id) {
            continue;
        }
        voucher.groups.push(id).map_err(|_| {
            let message = format!("a code can name {MAX_VOUCHER_GROUPS} groups at most");
            Failure::usage("too-many-groups", message, "add the others with `fleetcast groups add`")
        })?;
    }
    let key = context.admin_key()?.signing();
    let document = Hex(signed(&voucher, Purpose::Voucher, &key)?);
    client.add_voucher(&NewVoucher { document, token: Hex(token.to_vec()) })?;
    Ok(token)
}

/// An address under which receivers reach the server: where it is on another machine, by
/// the name that we reach it by.
fn reached(context: &Context, listen: &str) -> Result<(String, u16), Failure> {
    let (host, port) = reachable(listen)?;
    let anywhere = listen.parse().is_ok_and(|at: SocketAddr| at.ip().is_unspecified());
    match named_server(&context.state, context.server.as_deref())? {
        Some(Named::Remote(url)) if anywhere && !url.plain => Ok((url.host, port)),
        _ => Ok((host, port)),
    }
}

/// An address under which others reach a server on this machine that listens at `listen`.
pub(super) fn reachable(listen: &str) -> Result<(String, u16), Failure> {
    let listen: SocketAddr = listen.parse().map_err(|_| {
        Failure::failed("server-misunderstood", "the server names no address", "use --address")
    })?;
    let address = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => find_interface(None).map_or(Ipv4Addr::LOCALHOST, |i| i.address).into(),
        // It hears IPv4 too.
        IpAddr::V6(_) => find_interface(None).map_or(Ipv4Addr::LOCALHOST, |i| i.address).into(),
    };
    Ok((address.to_string(), listen.port()))
}

fn split(address: &str) -> Result<(String, u16), Failure> {
    let parse = || {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port: u16 = port.parse().ok()?;
        (!host.is_empty() && port != 0).then(|| (host.to_owned(), port))
    };
    parse().ok_or_else(|| {
        let message = format!("{} is no address", quoted(address));
        Failure::usage("address-malformed", message, "write HOST:PORT, such as 192.0.2.7:7411")
    })
}

fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(split("kiosk.example:7411").unwrap(), ("kiosk.example".into(), 7411));
        assert_eq!(split("[2001:db8::1]:7411").unwrap(), ("2001:db8::1".into(), 7411));
        assert_eq!(joined("2001:db8::1", 7411), "[2001:db8::1]:7411");
        for text in ["kiosk", ":7411", "kiosk:0", "kiosk:port", ""] {
            assert_eq!(split(text).unwrap_err().exit, 2, "{text}");
        }
    }

    #[test]
    fn a_bound_address_is_told_as_it_is() {
        assert_eq!(reachable("192.0.2.7:7411").unwrap(), ("192.0.2.7".into(), 7411));
        assert_ne!(reachable("0.0.0.0:7411").unwrap().0, "0.0.0.0");
    }
}
