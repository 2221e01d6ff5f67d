//! The authority document: its chain, changes that wait for signatures, the server's
//! own key; and signatures on releases.

use std::fmt::Display;

use axum::Json;
use axum::extract::{Path, State};
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::VerifyingKey;
use fleetcast_core::trust::document::Fingerprint;

use super::answer::{Answer, malformed};
use super::caller::Actor;
use super::model::authority::{
    AdminName, AuthorityState, ControllerKeys, DoubtfulAnswer, DoubtfulRequest, MoreSignatures,
    NewProposal, ProposalAnswer, ProposalState, Renewals,
};
use super::releases::find;
use super::state::Api;
use crate::driver::server::Node;
use crate::error::Failure;
use crate::keys::{Keys, Node as Whose, NodeKey};
use crate::model::ProposalRecord;
use crate::server::authority::{Doubtful, check_admin_name};
use crate::status::{Item, ReleaseItem};

/// Most memberships that are renewed by one request.
const MOST_RENEWALS: usize = 1_000;

pub(super) async fn show(State(api): State<Api>) -> Answer<AuthorityState> {
    Ok(Json(api.run(|node, _| Ok(state(node))).await?))
}

/// Takes a proposal, or further signatures on one.
pub(super) async fn propose(
    State(api): State<Api>,
    actor: Actor,
    Json(new): Json<NewProposal>,
) -> Answer<ProposalAnswer> {
    let next = next_controller(&api)?;
    let document = bytes(&new.document)?;
    let mut names = Vec::new();
    for name in new.names {
        // Before anything is in force: what follows from that must not be left undone.
        check_admin_name(&name.name)?;
        names.push((Fingerprint(array(&name.admin)?), name.name));
    }
    let proposed = api.run(move |node, now| {
        let proposed = node.propose_authority(now, &actor, &document)?;
        for (admin, name) in names {
            node.name_admin(admin, &name)?;
        }
        let taken = proposed.in_force && take_controller(node, now, next);
        Ok((proposed, taken))
    });
    let (proposed, taken) = proposed.await?;
    if taken {
        // The document is durable: a crash from here on is made good by the next start.
        keys(&api)?.promote_controller().map_err(Failure::from)?;
    }
    let digest = proposed.digest.to_string();
    Ok(Json(ProposalAnswer { digest, in_force: proposed.in_force }))
}

/// The server takes the key that the newest document names; whether it had another.
fn take_controller(
    node: &mut Node,
    now: fleetcast_core::time::Instant,
    next: Option<NodeKey>,
) -> bool {
    let named = next.filter(|key| node.authority().controller(&key.exchange()).is_some());
    let Some(key) = named else { return false };
    let signing = key.signing();
    // Also where it runs under this key already: what the lost one signed is signed anew.
    node.take_controller(now, key.secret, signing);
    true
}

pub(super) async fn withdraw(
    State(api): State<Api>,
    actor: Actor,
    Path(digest): Path<String>,
) -> Answer<()> {
    let digest = Digest(array(&digest)?);
    Ok(Json(api.run(move |node, _| node.drop_proposal(&actor, &digest)).await?))
}

/// Makes the keys that the server will have once a document names them; again gives
/// the same.
pub(super) async fn controller(State(api): State<Api>) -> Answer<ControllerKeys> {
    let key = keys(&api)?.node_or_new(Whose::NextController).map_err(Failure::from)?;
    let exchange = hex(&key.exchange().0);
    Ok(Json(ControllerKeys { exchange, signing: hex(&key.signing().verifying_key().0) }))
}

pub(super) async fn doubtful(
    State(api): State<Api>,
    Json(request): Json<DoubtfulRequest>,
) -> Answer<DoubtfulAnswer> {
    let mut admins = Vec::new();
    for admin in &request.admins {
        admins.push(VerifyingKey(array(admin)?));
    }
    let found = api.run(move |node, _| {
        let Doubtful { memberships, groups, releases } = node.doubtful(&admins, request.threshold);
        let memberships = memberships.iter().filter_map(|record| {
            let key = node.registry().receiver(&record.receiver)?.key;
            Some((hex(&key.0), hex(&record.group.0)))
        });
        Ok(DoubtfulAnswer {
            memberships: memberships.collect(),
            groups: groups.into_iter().map(|group| group.name).collect(),
            releases: releases.iter().map(ToString::to_string).collect(),
        })
    });
    Ok(Json(found.await?))
}

pub(super) async fn renew(
    State(api): State<Api>,
    actor: Actor,
    Json(renewals): Json<Renewals>,
) -> Answer<()> {
    if renewals.certificates.len() > MOST_RENEWALS {
        return Err(malformed("too many memberships at a time").into());
    }
    let mut certificates = Vec::new();
    for certificate in &renewals.certificates {
        certificates.push(bytes(certificate)?);
    }
    let renewed = api.run(move |node, now| {
        let many = certificates.len();
        for certificate in certificates {
            node.renew_membership(now, certificate)?;
        }
        node.note(&actor, "memberships-renewed", &many.to_string(), "ok");
        Ok(())
    });
    Ok(Json(renewed.await?))
}

/// Takes further signatures on a release.
pub(super) async fn sign_release(
    State(api): State<Api>,
    actor: Actor,
    Path(wanted): Path<String>,
    Json(more): Json<MoreSignatures>,
) -> Answer<Item<ReleaseItem>> {
    let _kept = api.gate.read().await;
    let document = bytes(&more.document)?;
    let signed = api.run(move |node, now| {
        let release = find(node.release_items(None), &wanted)?;
        let digest = node.sign_release(now, &actor, &document)?.to_string();
        if digest != release.release {
            return Err(malformed("the signatures are on another release"));
        }
        find(node.release_items(None), &digest)
    });
    Ok(Json(Item::new("release", signed.await?)))
}

fn state(node: &Node) -> AuthorityState {
    let authority = node.authority();
    let admins: Vec<VerifyingKey> = authority.admins().collect();
    let spread = node.spread();
    let mut names = Vec::new();
    let listed = authority.document().admins.iter().map(|key| Fingerprint::of(&key.0));
    for admin in listed {
        let name = node.registry().admin_name(&admin).to_owned();
        names.push(AdminName { admin: hex(&admin.0), name });
    }
    AuthorityState {
        chain: node.authority_chain().iter().map(|(_, document)| hex(document)).collect(),
        proposals: node.registry().proposals().map(|record| proposal(node, record)).collect(),
        names,
        controller: hex(&node.own_key().0),
        current: spread.current,
        behind: spread.behind,
        away: spread.away,
        doubtful: node.doubtful(&admins, 0).memberships.len() as u64,
    }
}

fn proposal(node: &Node, record: &ProposalRecord) -> ProposalState {
    let progress = node.progress_of(record);
    ProposalState {
        digest: record.digest.to_string(),
        document: hex(&record.document),
        proposer: record.proposer.clone(),
        since: record.since,
        signers: progress.signers.iter().map(|signer| hex(&signer.0)).collect(),
        before: progress.before,
        after: progress.after,
    }
}

fn keys(api: &Api) -> Result<Keys, Failure> {
    let directory = api.directory.as_ref().ok_or_else(|| {
        let hint = "run the server with a state directory";
        Failure::failed("no-state-directory", "the server does not know its directory", hint)
    })?;
    Ok(Keys::open(&directory.keys())?)
}

/// The key that the server will have, if it has made one.
fn next_controller(api: &Api) -> Result<Option<NodeKey>, Failure> {
    // A server without a directory (in tests) has none.
    if api.directory.is_none() {
        return Ok(None);
    }
    Ok(keys(api)?.node(Whose::NextController)?)
}

fn hex(bytes: &(impl AsRef<[u8]> + ?Sized)) -> String {
    HEX.encode(bytes.as_ref())
}

fn bytes(text: &str) -> Result<Vec<u8>, Failure> {
    HEX.decode(text.as_bytes()).map_err(not_hex)
}

fn array<const N: usize>(text: &str) -> Result<[u8; N], Failure> {
    bytes(text)?.try_into().map_err(|_| not_hex("another length"))
}

// By value, for `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn not_hex(fault: impl Display) -> Failure {
    malformed(&format!("not hexadecimal: {fault}"))
}
