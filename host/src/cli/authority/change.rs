//! The next version of the authority document, from its draft to the server.

use fleetcast_core::crypto::sign::{Context as Purpose, SigningKey};
use fleetcast_core::ids::VerifyingKey;
use fleetcast_core::limits::MAX_AUTHORITY;
use fleetcast_core::trust::authority::{AuthorityDocument, TrustedAuthority};
use fleetcast_core::trust::document::Fingerprint;

use super::items::{ProposalItem, id, name_of};
use super::kept::verified;
use super::renew::renew;
use crate::api::client::Client;
use crate::api::model::authority::{AdminName, AuthorityState, NewProposal};
use crate::cli::context::Context;
use crate::cli::printer;
use crate::cli::signing::signed_by;
use crate::error::Failure;
use crate::ids::hex;
use crate::units::quoted;

/// A change that is being made.
pub(super) struct Draft {
    /// What the server has said.
    pub(super) state: AuthorityState,
    /// What is in force, as this admin trusts it.
    pub(super) present: TrustedAuthority,
    /// What shall be.
    pub(super) next: AuthorityDocument,
    /// What would count no more is signed anew before.
    pub(super) renews: bool,
    names: Vec<AdminName>,
}

impl Draft {
    /// The next version, which changes nothing yet.
    ///
    /// # Errors
    /// Those of [`verified`].
    pub(super) fn begin(context: &Context, client: &Client) -> Result<Self, Failure> {
        let state = client.authority()?;
        let present = verified(context, &state)?;
        let document = present.document().clone();
        let next = AuthorityDocument { version: document.version.saturating_add(1), ..document };
        Ok(Self { state, present, next, renews: true, names: Vec::new() })
    }

    /// Lists another admin; again is fine.
    ///
    /// # Errors
    /// `admins-full`.
    pub(super) fn add_admin(&mut self, key: VerifyingKey, name: &str) -> Result<(), Failure> {
        if !self.next.admins.contains(&key) {
            self.next.admins.push(key).map_err(|_| {
                let message = "the authority document lists as many admins as it can";
                Failure::failed("admins-full", message, "remove one first")
            })?;
        }
        if !name.is_empty() {
            let admin = hex(&Fingerprint::of(&key.0).0);
            self.names.push(AdminName { admin, name: name.to_owned() });
        }
        Ok(())
    }

    /// Lists an admin no more.
    ///
    /// # Errors
    /// `authority-unusable` when too few would be left to sign.
    pub(super) fn remove_admin(&mut self, admin: VerifyingKey) -> Result<(), Failure> {
        self.next.admins.retain(|key| *key != admin);
        if self.next.admins.len() < usize::from(self.next.threshold) {
            let message = format!(
                "{} signatures are needed, and {} admins would be left",
                self.next.threshold,
                self.next.admins.len()
            );
            let hint = "add another admin first, or lower the threshold";
            return Err(Failure::failed("authority-unusable", message, hint));
        }
        Ok(())
    }

    /// An admin by its name, or by the beginning of its id.
    ///
    /// # Errors
    /// `admin-unknown`, `admin-ambiguous`.
    pub(super) fn admin(&self, wanted: &str) -> Result<VerifyingKey, Failure> {
        let fits = |key: &&VerifyingKey| {
            let fingerprint = Fingerprint::of(&key.0);
            let name = name_of(&self.state, &fingerprint);
            let begins = wanted.len() >= 4 && id(&fingerprint).starts_with(wanted);
            begins || (!name.is_empty() && name == wanted)
        };
        let mut found = self.present.document().admins.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(*key),
            (Some(_), Some(_)) => {
                let message = format!("{} is not one admin", quoted(wanted));
                Err(Failure::failed("admin-ambiguous", message, "write more of its id"))
            }
            (None, _) => {
                let message = format!("there is no admin {}", quoted(wanted));
                Err(Failure::failed("admin-unknown", message, "fleetcast authority show"))
            }
        }
    }

    /// How an admin is called in questions.
    pub(super) fn called(&self, key: &VerifyingKey) -> String {
        let fingerprint = Fingerprint::of(&key.0);
        let (id, name) = (id(&fingerprint), name_of(&self.state, &fingerprint));
        if name.is_empty() { id } else { format!("{} ({id})", quoted(name)) }
    }

    /// Signs the change with this admin's key, and `more`, and hands it in.
    ///
    /// # Errors
    /// `authority-unchanged`, `not-signable`, and as the server says.
    pub(super) fn hand_in(
        self,
        context: &Context,
        client: &Client,
        more: &[&SigningKey],
    ) -> Result<ProposalItem, Failure> {
        let present = self.present.document();
        if (AuthorityDocument { version: present.version, ..self.next.clone() }) == *present {
            let message = "this changes nothing";
            return Err(Failure::failed(
                "authority-unchanged",
                message,
                "fleetcast authority show",
            ));
        }
        let own = context.admin_key()?.signing();
        let mut body = [0; MAX_AUTHORITY];
        let len = self.next.encode(&mut body).map_err(|fault| {
            let message = format!("this cannot be an authority document: {fault:?}");
            Failure::failed("authority-unusable", message, "change less at a time")
        })?;
        let signers = [&[&own], more].concat();
        let stays = self.next.admins.contains(&own.verifying_key());
        if self.renews && stays {
            // Before: what is signed now counts under both documents.
            self.renew(context, client, &signers)?;
        }
        let document = signed_by(&body[..len], Purpose::Authority, &signers)?;
        let proposal = NewProposal { document: hex(&document), names: self.names.clone() };
        let answer = client.propose(&proposal)?;
        if self.renews && stays && answer.in_force {
            // What a new admin has signed before could not count yet.
            self.renew(context, client, &signers)?;
        }
        ProposalItem::after(&self.present, &self.next, &client.authority()?, &answer)
    }
}

impl Draft {
    fn renew(
        &self,
        context: &Context,
        client: &Client,
        signers: &[&SigningKey],
    ) -> Result<(), Failure> {
        let renewed = renew(client, &self.next, signers)?;
        if renewed.is_something() {
            printer::say(context, &renewed.to_string());
        }
        Ok(())
    }
}

/// Lists another admin's key, in one step.
///
/// # Errors
/// As the server says.
pub(in crate::cli) fn added(
    context: &Context,
    client: &Client,
    key: VerifyingKey,
    name: &str,
) -> Result<ProposalItem, Failure> {
    let mut draft = Draft::begin(context, client)?;
    draft.add_admin(key, name)?;
    draft.hand_in(context, client, &[])
}
