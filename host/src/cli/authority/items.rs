//! What is shown of authority documents and of changes that wait.

use std::fmt::Write as _;

use fleetcast_core::crypto::sign::Context as Purpose;
use fleetcast_core::limits::MAX_AUTHORITY;
use fleetcast_core::trust::authority::{AuthorityDocument, Controller, TrustedAuthority};
use fleetcast_core::trust::document::{Fingerprint, SignedDocument};
use serde::Serialize;

use super::kept::verified;
use crate::api::client::{Client, misunderstood};
use crate::api::model::authority::{AuthorityState, ProposalAnswer, ProposalState};
use crate::cli::context::Context;
use crate::cli::table::Table;
use crate::error::Failure;
use crate::ids::{hex, unhex};
use crate::model::UnixTime;
use crate::units::{format_time, now, printable, rfc3339};

/// The newest authority document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct AuthorityItem {
    version: u32,
    digest: String,
    fleet: String,
    threshold: u8,
    admins: Vec<AdminItem>,
    controllers: Vec<ControllerItem>,
    revoked: Vec<String>,
    reset_epoch: u32,
    receivers: SpreadItem,
    /// Memberships that no admin stands behind any more.
    doubtful_memberships: u64,
    /// Changes that wait for signatures.
    waiting: usize,
}

/// An admin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct AdminItem {
    id: String,
    name: String,
    key: String,
    revoked: bool,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ControllerItem {
    id: String,
    exchange: String,
    signing: String,
    /// It is the one that answers here.
    own: bool,
}

/// Which receivers trust the newest document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SpreadItem {
    current: u64,
    behind: u64,
    away: u64,
}

/// A change that waits, or is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct ProposalItem {
    id: String,
    version: u32,
    /// `waiting`, `in-force` or `dropped`.
    state: &'static str,
    /// What it changes.
    changes: Vec<String>,
    /// Ids of admins that have signed.
    signers: Vec<String>,
    /// Signatures by admins of the document in force: there are, and are needed.
    before: (usize, usize),
    /// The same of its own admins.
    after: (usize, usize),
    proposer: String,
    #[serde(with = "rfc3339")]
    since: UnixTime,
}

/// How a key is called: its fingerprint in hex.
pub(super) fn id(key: &Fingerprint) -> String {
    hex(&key.0)
}

/// What people call an admin, or empty.
pub(super) fn name_of<'s>(state: &'s AuthorityState, admin: &Fingerprint) -> &'s str {
    let wanted = hex(&admin.0);
    let found = state.names.iter().find(|name| name.admin == wanted);
    found.map_or("", |found| found.name.as_str())
}

impl AuthorityItem {
    /// What is shown of a document that is trusted.
    pub(super) fn of(trusted: &TrustedAuthority, state: &AuthorityState) -> Self {
        let document = trusted.document();
        let admin = |key: &fleetcast_core::ids::VerifyingKey| {
            let fingerprint = Fingerprint::of(&key.0);
            AdminItem {
                id: id(&fingerprint),
                name: name_of(state, &fingerprint).to_owned(),
                key: hex(&key.0),
                revoked: trusted.is_revoked(&key.0),
            }
        };
        let controller = |named: &Controller| ControllerItem {
            id: id(&Fingerprint::of(&named.exchange.0)),
            exchange: hex(&named.exchange.0),
            signing: hex(&named.signing.0),
            own: hex(&named.exchange.0) == state.controller,
        };
        Self {
            version: document.version,
            digest: trusted.digest().to_string(),
            fleet: hex(&document.fleet.0),
            threshold: document.threshold,
            admins: document.admins.iter().map(admin).collect(),
            controllers: document.controllers.iter().map(controller).collect(),
            revoked: document.revoked.iter().map(id).collect(),
            reset_epoch: document.reset_epoch,
            receivers: SpreadItem {
                current: state.current,
                behind: state.behind,
                away: state.away,
            },
            doubtful_memberships: state.doubtful,
            waiting: state.proposals.len(),
        }
    }
}

impl ProposalItem {
    /// A change that waits.
    ///
    /// # Errors
    /// `server-misunderstood` when the server's document is none.
    pub(super) fn waiting(
        present: &TrustedAuthority,
        state: &AuthorityState,
        proposal: &ProposalState,
    ) -> Result<Self, Failure> {
        let next = document(proposal)?;
        Ok(Self {
            id: proposal.digest.clone(),
            version: next.version,
            state: "waiting",
            changes: differences(present.document(), &next, state),
            signers: proposal.signers.clone(),
            before: proposal.before,
            after: proposal.after,
            proposer: proposal.proposer.clone(),
            since: proposal.since,
        })
    }

    /// Its id, and `in-force` or `waiting`.
    pub(in crate::cli) fn outcome(&self) -> (String, String) {
        (self.id.clone(), self.state.to_owned())
    }

    /// The same, taken back.
    pub(super) fn dropped(self) -> Self {
        Self { state: "dropped", ..self }
    }

    /// A change after it was handed in.
    ///
    /// # Errors
    /// `server-misunderstood` when the server tells nothing of it.
    pub(super) fn after(
        present: &TrustedAuthority,
        next: &AuthorityDocument,
        state: &AuthorityState,
        answer: &ProposalAnswer,
    ) -> Result<Self, Failure> {
        if let Some(found) = state.proposals.iter().find(|p| p.digest == answer.digest) {
            return Self::waiting(present, state, found);
        }
        if !answer.in_force {
            return Err(misunderstood());
        }
        let (before, after) = (present.document().threshold.into(), next.threshold.into());
        Ok(Self {
            id: answer.digest.clone(),
            version: next.version,
            state: "in-force",
            changes: differences(present.document(), next, state),
            signers: Vec::new(),
            before: (before, before),
            after: (after, after),
            proposer: String::new(),
            since: now(),
        })
    }
}

/// The document of a proposal, which must be what its id says.
///
/// # Errors
/// `server-misunderstood`.
pub(super) fn document(proposal: &ProposalState) -> Result<AuthorityDocument, Failure> {
    let bytes = unhex(&proposal.document).ok_or_else(misunderstood)?;
    let signed = SignedDocument::parse(&bytes, MAX_AUTHORITY).map_err(|_| misunderstood())?;
    if signed.digest(Purpose::Authority).to_string() != proposal.digest {
        return Err(misunderstood());
    }
    AuthorityDocument::decode(signed.body()).map_err(|_| misunderstood())
}

/// Changes that wait for signatures.
///
/// # Errors
/// Those of [`verified`].
pub(super) fn waiting(context: &Context, client: &Client) -> Result<Vec<ProposalItem>, Failure> {
    let state = client.authority()?;
    let present = verified(context, &state)?;
    let item = |proposal| ProposalItem::waiting(&present, &state, proposal);
    state.proposals.iter().map(item).collect()
}

/// What differs between two documents, a line each, told from the documents alone.
pub(super) fn differences(
    before: &AuthorityDocument,
    after: &AuthorityDocument,
    state: &AuthorityState,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut gone_and_new = |what: &str, before: Vec<String>, after: Vec<String>| {
        lines.extend(
            before.iter().filter(|id| !after.contains(id)).map(|id| format!("- {what} {id}")),
        );
        lines.extend(
            after.iter().filter(|id| !before.contains(id)).map(|id| format!("+ {what} {id}")),
        );
    };
    let admins = |document: &AuthorityDocument| {
        let called = |key: &fleetcast_core::ids::VerifyingKey| {
            let fingerprint = Fingerprint::of(&key.0);
            let name = name_of(state, &fingerprint);
            let id = id(&fingerprint);
            if name.is_empty() { id } else { format!("{id} {}", printable(name)) }
        };
        document.admins.iter().map(called).collect::<Vec<_>>()
    };
    gone_and_new("admin", admins(before), admins(after));
    let controllers = |document: &AuthorityDocument| {
        let named = document.controllers.iter();
        named.map(|c| format!("{} {}", id(&Fingerprint::of(&c.exchange.0)), c.signing)).collect()
    };
    gone_and_new("server", controllers(before), controllers(after));
    let revoked = |document: &AuthorityDocument| document.revoked.iter().map(id).collect();
    gone_and_new("revoked", revoked(before), revoked(after));
    if before.threshold != after.threshold {
        lines.push(format!("threshold {} -> {}", before.threshold, after.threshold));
    }
    if before.reset_epoch != after.reset_epoch {
        lines.push(format!("reset epoch {} -> {}", before.reset_epoch, after.reset_epoch));
    }
    if before.roles != after.roles {
        lines.push("roles".to_owned());
    }
    if before.fleet != after.fleet {
        lines.push("ANOTHER FLEET".to_owned());
    }
    lines
}

/// Changes that wait, for people.
pub(super) fn table(changes: &[ProposalItem]) -> Table {
    let titles = ["ID", ">VERSION", "SIGNED", "CHANGES", "SINCE"];
    let mut table = Table::new(&titles, "no changes wait");
    for change in changes {
        table.row([
            change.id.chars().take(12).collect(),
            change.version.to_string(),
            signed(change),
            change.changes.join("; "),
            format_time(change.since),
        ]);
    }
    table
}

/// A change, for people.
pub(super) fn describe_change(change: &ProposalItem) -> String {
    let mut text = String::new();
    for line in &change.changes {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", printable(line));
    }
    let id: String = change.id.chars().take(12).collect();
    let version = change.version;
    let _ = match change.state {
        "waiting" => {
            let signed = signed(change);
            writeln!(
                text,
                "version {version} waits for signatures ({signed}): fleetcast authority sign {id}"
            )
        }
        "in-force" => writeln!(text, "version {version} is in force"),
        _ => writeln!(text, "taken back"),
    };
    text
}

fn signed(change: &ProposalItem) -> String {
    let ((has, needs), (new, of)) = (change.before, change.after);
    format!("{has} of {needs} present, {new} of {of} future admins")
}

/// The document, for people.
pub(super) fn describe(item: &AuthorityItem) -> String {
    let mut text = String::new();
    let mut line = |title: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{title:<12} {}", printable(value));
    };
    line("version", &item.version.to_string());
    line("digest", &item.digest);
    line("threshold", &format!("{} of {} admins", item.threshold, item.admins.len()));
    for admin in &item.admins {
        let revoked = if admin.revoked { " (revoked)" } else { "" };
        line("admin", &format!("{} {}{revoked}", admin.id, admin.name));
    }
    for controller in &item.controllers {
        let own = if controller.own { " (this one)" } else { "" };
        line("server", &format!("{}{own}", controller.id));
    }
    for revoked in &item.revoked {
        line("revoked", revoked);
    }
    let SpreadItem { current, behind, away } = item.receivers;
    line("receivers", &format!("{current} trust it, {behind} do not yet, {away} are away"));
    if item.doubtful_memberships > 0 {
        let count = item.doubtful_memberships;
        line("doubtful", &format!("{count} memberships: fleetcast authority renew"));
    }
    if item.waiting > 0 {
        line("waiting", &format!("{} changes: fleetcast authority list", item.waiting));
    }
    text
}
