//! Who is let into a group: by an admin, by a request that an admin approves, or
//! by a group that is open. What lets somebody in is signed here.

use fleetcast_core::crypto::sign::{Context as Purpose, SigningKey};
use fleetcast_core::ids::{FleetId, GroupId, StaticKey, TokenId};
use fleetcast_core::trust::membership::{Membership, Voucher};

use super::context::{Context, DONE, Outcome};
use super::printer;
use super::signing::{signed, signed_with};
use super::table::Table;
use crate::api::client::{Client, misunderstood};
use crate::api::model::{Hex, NewMember, NewVoucher};
use crate::error::Failure;
use crate::keys::random;
use crate::status::{ReceiverItem, ReceiverState, RequestItem};
use crate::units::{format_time, now, printable, quoted};

/// How long a group stays open: ten years. There is no "for ever" in a voucher.
const OPEN_FOR: u64 = 10 * 365 * 86_400;

/// Signs memberships for receivers that have none yet.
pub(super) fn admit(
    context: &Context,
    client: &Client,
    group: &str,
    receivers: &[String],
) -> Result<(), Failure> {
    // Before anybody is asked for a passphrase it is known that they are there.
    client.next_release(group)?;
    receivers.iter().try_for_each(|receiver| client.receiver(receiver).map(drop))?;
    admit_by(&context.admin_key()?.signing(), client, group, receivers)
}

fn admit_by(
    key: &SigningKey,
    client: &Client,
    group: &str,
    receivers: &[String],
) -> Result<(), Failure> {
    let next = client.next_release(group)?;
    let fleet = FleetId(next.fleet.array().ok_or_else(misunderstood)?);
    let id = GroupId(next.group.array().ok_or_else(misunderstood)?);
    // Each is known before the first is added.
    let known = receivers.iter().map(|receiver| client.receiver(receiver));
    for receiver in known.collect::<Result<Vec<_>, _>>()? {
        let issued = now();
        let membership = Membership {
            fleet,
            device: StaticKey(receiver.key.array().ok_or_else(misunderstood)?),
            group: id,
            // Grows with every one that is signed.
            serial: issued,
            issued,
            not_after: 0,
            voucher: None,
        };
        let certificate = Hex(signed(&membership, Purpose::Membership, key)?);
        let receiver = receiver.item.id;
        client.add_member(group, &NewMember { receiver, certificate })?;
    }
    Ok(())
}

/// Lists the requests that wait.
pub(super) fn requests(context: &Context, client: &Client, group: Option<&str>) -> Outcome {
    printer::items(context, "requests", client.requests(group)?, table);
    Ok(DONE)
}

/// Proposes memberships for an admin to sign. Again is fine.
pub(super) fn propose(
    context: &Context,
    client: &Client,
    group: &str,
    receivers: &[String],
) -> Outcome {
    // Each is known before the first is proposed.
    let known = receivers.iter().map(|receiver| client.receiver(receiver));
    let known = known.collect::<Result<Vec<_>, _>>()?;
    for receiver in &known {
        client.propose_member(group, &receiver.item.id)?;
    }
    requests(context, client, Some(group))
}

/// Signs the membership that was asked for, or proposed. Again is fine. One that waits for
/// approval is taken in by that: the list of requests shows its fingerprint.
pub(super) fn approve(context: &Context, client: &Client, group: &str, receiver: &str) -> Outcome {
    let found = client.receiver(receiver)?.item;
    let waiting = client.requests(Some(group))?;
    let request = waiting.into_iter().find(|request| request.fingerprint == found.fingerprint);
    let is_member = found.groups.iter().any(|name| name == group);
    let Some(request) = request else {
        // A second admin may have been faster.
        if !is_member {
            return Err(no_request(&found.name, group));
        }
        return done(context, gone(group, found), "approved");
    };
    // Whoever has no key to sign with takes nobody in.
    let key = context.admin_key()?.signing();
    if found.state == ReceiverState::Waiting {
        client.approve_receiver(&found.id)?;
    }
    admit_by(&key, client, group, &[found.id])?;
    done(context, request, "approved")
}

/// Denies what was asked for. Again is fine.
pub(super) fn deny(
    context: &Context,
    client: &Client,
    (group, receiver): (&str, &str),
    reason: &str,
) -> Outcome {
    let found = client.receiver(receiver)?.item;
    let waiting = client.requests(Some(group))?;
    let request = waiting.into_iter().find(|request| request.fingerprint == found.fingerprint);
    client.deny_request(group, &found.id, reason)?;
    done(context, request.unwrap_or_else(|| gone(group, found)), "denied")
}

/// What is left of a request that somebody has decided before.
fn gone(group: &str, receiver: ReceiverItem) -> RequestItem {
    RequestItem {
        group: group.to_owned(),
        receiver: receiver.name,
        fingerprint: receiver.fingerprint,
        asked: false,
        proposed_by: None,
        since: now(),
    }
}

fn done(context: &Context, request: RequestItem, what: &str) -> Outcome {
    printer::item(context, "request", request, |request| {
        format!("{what} {} in {}\n", printable(&request.receiver), printable(&request.group))
    });
    Ok(DONE)
}

/// Signs the voucher by which whoever asks is in the group at once. The token that
/// it names is told to nobody, and it enrols nobody: it counts for no uses.
pub(super) fn open(client: &Client, group: &str, keys: &[&SigningKey]) -> Result<(), Failure> {
    let next = client.next_release(group)?;
    let token: [u8; 16] = random()?;
    let voucher = Voucher {
        fleet: FleetId(next.fleet.array().ok_or_else(misunderstood)?),
        token: TokenId::of(&token),
        groups: [GroupId(next.group.array().ok_or_else(misunderstood)?)].into_iter().collect(),
        uses: 0,
        not_after: now().saturating_add(OPEN_FOR),
    };
    let document = Hex(signed_with(&voucher, Purpose::Voucher, keys)?);
    client.open_group(group, &NewVoucher { document, token: Hex(token.to_vec()) })
}

fn no_request(receiver: &str, group: &str) -> Failure {
    let message = format!("{} does not ask to be in {}", quoted(receiver), quoted(group));
    Failure::failed("request-unknown", message, "`fleetcast groups add` adds it all the same")
}

fn table(requests: &[RequestItem]) -> Table {
    let titles = ["GROUP", "RECEIVER", "SINCE", "ASKED BY", "FINGERPRINT"];
    let mut table = Table::new(&titles, "nobody asks");
    for request in requests {
        let asked = request.asked.then(|| "the receiver".to_owned());
        let by: Vec<String> = asked.into_iter().chain(request.proposed_by.clone()).collect();
        table.row([
            request.group.clone(),
            request.receiver.clone(),
            format_time(request.since),
            by.join(", "),
            request.fingerprint.clone(),
        ]);
    }
    table
}
