//! What admins do. Every command says at once whether it is taken; its answer
//! goes out when the batch of changes that it made is durable.

use std::collections::BTreeSet;

use chacha20::rand_core::Rng as _;
use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId, ReleaseOrder};
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::time::Instant;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::membership::{MAX_VOUCHER, VerifiedMembership, Voucher};
use fleetcast_core::trust::release::ReleaseRoot;
use fleetcast_core::wire::control::{Down, Standing, decode_with};

use super::ServerNode;
use super::contents::Contents;
use crate::error::Failure;
use crate::files::{self, unsafe_name};
use crate::model::{
    DeliveryState, GroupRecord, MembershipRecord, ReceiverRecord, ReleaseRecord, ReleaseState,
    UnixTime, VoucherRecord,
};
use crate::units::quoted;

/// How a release is to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOptions {
    /// Cap in bytes per second, below the server's.
    pub rate: Option<u64>,
    /// Send every chunk, whatever receivers hold.
    pub full: bool,
}

impl<A: Aead> ServerNode<A> {
    // --- groups ---

    /// Creates a group.
    ///
    /// # Errors
    /// `group-exists`, `name-unsafe`.
    pub fn create_group(
        &mut self,
        actor: &str,
        name: &str,
        open: bool,
    ) -> Result<GroupId, Failure> {
        check_name(name)?;
        if self.registry.groups().any(|group| group.name.to_lowercase() == name.to_lowercase()) {
            let message = format!("there is a group {} already", quoted(name));
            return Err(Failure::failed("group-exists", message, "choose another name"));
        }
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let id = GroupId(id);
        let created = self.registry.time();
        self.registry.put_group(GroupRecord { id, name: name.to_owned(), open, created });
        self.registry.log(actor, "group-created", name, "ok");
        Ok(id)
    }

    /// Deletes a group; its members are told, nothing of it stays.
    ///
    /// # Errors
    /// `group-unknown`.
    pub fn delete_group(&mut self, now: Instant, actor: &str, name: &str) -> Result<(), Failure> {
        let group = self.group(name)?.id;
        let members: Vec<ReceiverId> = self.registry.members(group).map(|m| m.receiver).collect();
        for member in members {
            self.registry.remove_membership(member, group);
            self.expel(now, member, group);
        }
        self.registry.remove_group(&group);
        self.registry.log(actor, "group-deleted", name, "ok");
        Ok(())
    }

    /// Renames a group; receivers follow with its next release.
    ///
    /// # Errors
    /// `group-unknown`, `group-exists`, `name-unsafe`.
    pub fn rename_group(&mut self, actor: &str, name: &str, to: &str) -> Result<(), Failure> {
        check_name(to)?;
        let group = self.group(name)?.clone();
        if self.registry.group_named(to).is_some() {
            let message = format!("there is a group {} already", quoted(to));
            return Err(Failure::failed("group-exists", message, "choose another name"));
        }
        self.registry.put_group(GroupRecord { name: to.to_owned(), ..group });
        self.registry.log(actor, "group-renamed", name, to);
        Ok(())
    }

    /// Adds a receiver by a certificate that an admin has signed; again is fine.
    ///
    /// # Errors
    /// `group-unknown`, `receiver-unknown`, `not-trusted`.
    pub fn add_member(
        &mut self,
        now: Instant,
        actor: &str,
        group: &str,
        receiver: &str,
        certificate: Vec<u8>,
    ) -> Result<(), Failure> {
        let group = self.group(group)?.clone();
        let receiver = self.receiver(receiver)?.clone();
        if receiver.standing != Standing::Member {
            let message = format!("{} has not been approved", receiver.name);
            let hint = format!("fleetcast receivers approve {}", receiver.name);
            return Err(Failure::failed("receiver-waiting", message, hint));
        }
        if self.registry.is_member(receiver.id, group.id) {
            return Ok(());
        }
        let verified =
            VerifiedMembership::verify(&self.authority, &receiver.key, &certificate, &[]);
        let verified = verified.map_err(|fault| untrusted("the certificate", &fault))?;
        if verified.membership().group != group.id {
            return Err(untrusted("the certificate", &"it names another group"));
        }
        let record = MembershipRecord {
            receiver: receiver.id,
            group: group.id,
            certificate,
            voucher: None,
            since: self.registry.time(),
        };
        self.registry.put_membership(record.clone());
        self.registry.log(actor, "member-added", &receiver.name, &group.name);
        if let Some(&slot) = self.connected.get(&receiver.id) {
            self.send_membership(now, slot, &record);
        }
        self.owe_current(now, receiver.id);
        Ok(())
    }

    /// Removes a receiver from a group, at once, also in mid-session.
    ///
    /// # Errors
    /// `group-unknown`, `receiver-unknown`.
    pub fn remove_member(
        &mut self,
        now: Instant,
        actor: &str,
        group: &str,
        receiver: &str,
    ) -> Result<(), Failure> {
        let group = self.group(group)?.clone();
        let receiver = self.receiver(receiver)?.clone();
        if self.registry.remove_membership(receiver.id, group.id) {
            self.expel(now, receiver.id, group.id);
            self.registry.log(actor, "member-removed", &receiver.name, &group.name);
        }
        Ok(())
    }

    // --- receivers ---

    /// Takes a waiting receiver in.
    ///
    /// # Errors
    /// `receiver-unknown`.
    pub fn approve_receiver(
        &mut self,
        now: Instant,
        actor: &str,
        name: &str,
    ) -> Result<(), Failure> {
        let record = self.receiver(name)?.clone();
        if record.standing == Standing::Member {
            return Ok(());
        }
        let (id, called) = (record.id, record.name.clone());
        self.registry.put_receiver(ReceiverRecord { standing: Standing::Member, ..record });
        self.registry.log(actor, "receiver-approved", &called, "ok");
        if let Some(&slot) = self.connected.get(&id) {
            self.welcome(now, slot);
        }
        Ok(())
    }

    /// Renames a receiver.
    ///
    /// # Errors
    /// `receiver-unknown`, `name-taken`, `name-unsafe`.
    pub fn rename_receiver(&mut self, actor: &str, name: &str, to: &str) -> Result<(), Failure> {
        check_name(to)?;
        let record = self.receiver(name)?.clone();
        if self.registry.receivers().any(|other| other.name == to && other.id != record.id) {
            let message = format!("there is a receiver {} already", quoted(to));
            return Err(Failure::failed("name-taken", message, "choose another name"));
        }
        self.registry.put_receiver(ReceiverRecord { name: to.to_owned(), ..record });
        self.registry.log(actor, "receiver-renamed", name, to);
        Ok(())
    }

    /// Forgets a receiver: it gets nothing more, and must enrol anew.
    ///
    /// # Errors
    /// `receiver-unknown`.
    pub fn remove_receiver(
        &mut self,
        now: Instant,
        actor: &str,
        name: &str,
    ) -> Result<(), Failure> {
        let record = self.receiver(name)?.clone();
        let groups: Vec<GroupId> =
            self.registry.memberships_of(record.id).map(|m| m.group).collect();
        for group in groups {
            self.registry.remove_membership(record.id, group);
            self.expel(now, record.id, group);
        }
        if let Some(&slot) = self.connected.get(&record.id) {
            let why = fleetcast_core::wire::control::RefusedWhy::Revoked;
            self.tell(now, slot, &Down::Refused { why });
        }
        self.registry.remove_receiver(&record.id);
        self.registry.log(actor, "receiver-removed", &record.name, "ok");
        Ok(())
    }

    /// Asks receivers whether they are there; all that are connected where none is named.
    ///
    /// # Errors
    /// `receiver-unknown`.
    pub fn ping(&mut self, now: Instant, names: &[String]) -> Result<Vec<ReceiverId>, Failure> {
        let mut asked = BTreeSet::new();
        for name in names {
            asked.insert(self.receiver(name)?.id);
        }
        if names.is_empty() {
            asked.extend(self.registry.receivers().map(|receiver| receiver.id));
        }
        for id in &asked {
            let Some(&slot) = self.connected.get(id) else { continue };
            let nonce = self.rng.next_u64();
            if let Some(link) = self.links.get_mut(&slot) {
                link.ping = Some((nonce, now));
                link.round_trip = None;
            }
            self.tell(now, slot, &Down::Ping { nonce });
        }
        Ok(asked.into_iter().collect())
    }

    // --- invitations ---

    /// Takes an invitation: a voucher that admins have signed, and its token.
    ///
    /// # Errors
    /// `not-trusted`, `group-unknown`.
    pub fn add_voucher(
        &mut self,
        actor: &str,
        document: Vec<u8>,
        token: [u8; 16],
    ) -> Result<Digest, Failure> {
        let signed = SignedDocument::parse(&document, MAX_VOUCHER);
        let signed = signed.map_err(|fault| untrusted("the voucher", &fault))?;
        self.authority
            .verify(Context::Voucher, &signed)
            .map_err(|fault| untrusted("the voucher", &fault))?;
        let digest = signed.digest(Context::Voucher);
        let voucher: Voucher = decode_with(signed.body(), &mut [0; MAX_VOUCHER])
            .map_err(|fault| untrusted("the voucher", &fault))?;
        if voucher.token != fleetcast_core::ids::TokenId::of(&token) {
            return Err(untrusted("the voucher", &"it names another token"));
        }
        if let Some(group) =
            voucher.groups.iter().find(|group| self.registry.group(group).is_none())
        {
            let message = format!("the voucher names a group that does not exist ({group})");
            return Err(Failure::failed("group-unknown", message, "fleetcast groups list"));
        }
        self.registry.put_voucher(VoucherRecord {
            digest,
            token_id: voucher.token,
            token,
            used: 0,
            uses: voucher.uses,
            expires: voucher.not_after,
            revoked: false,
            document,
        });
        self.registry.log(actor, "invitation-made", &voucher.token.to_string(), "ok");
        Ok(digest)
    }

    /// The groups that a voucher names.
    pub(super) fn voucher_groups(&self, document: &[u8]) -> Vec<GroupId> {
        let signed = SignedDocument::parse(document, MAX_VOUCHER).ok();
        let voucher =
            signed.and_then(|s| decode_with::<Voucher>(s.body(), &mut [0; MAX_VOUCHER]).ok());
        voucher.map(|voucher| voucher.groups.iter().copied().collect()).unwrap_or_default()
    }

    // --- releases ---

    /// The order that a group's next release must have.
    ///
    /// # Errors
    /// `group-unknown`.
    pub fn next_order(&self, group: &str) -> Result<ReleaseOrder, Failure> {
        let group = self.group(group)?.id;
        let of_group = self.registry.releases().filter(|release| release.name.group == group);
        let highest = of_group.map(|release| release.name.order.sequence).max().unwrap_or(0);
        let reset_epoch = self.authority.document().reset_epoch;
        Ok(ReleaseOrder { reset_epoch, sequence: highest + 1 })
    }

    /// Takes a signed release whose chunks are all stored, and owes it to the
    /// group's members; returns the numbers of their deliveries.
    ///
    /// # Errors
    /// `not-trusted`, `group-unknown`, `out-of-order`, `chunks-missing`.
    pub fn submit_release(
        &mut self,
        now: Instant,
        actor: &str,
        document: Vec<u8>,
        options: SendOptions,
    ) -> Result<Vec<u64>, Failure> {
        let record = self.check_release(&document)?;
        let contents = Contents::read(&document, &*self.chunks)
            .map_err(|fault| chunks_missing(&fault.to_string()))?;
        for chunk in contents.chunks() {
            if !self.chunks.contains(&chunk.id).unwrap_or(false) {
                return Err(chunks_missing(&format!("chunk {} is not stored", chunk.id)));
            }
        }
        let name = record.name;
        self.supersede(name.group);
        let title = format!("{}#{}", self.group_name(name.group), name.order.sequence);
        self.registry.log(actor, "release-sent", &title, &record.label);
        self.registry.put_release(record);
        self.contents.insert(name.digest, contents.into());
        if let Some(rate) = options.rate {
            self.caps.insert(name.digest, rate);
        }
        if options.full {
            self.full_sends.insert(name.digest);
        }
        let mut members: Vec<ReceiverId> =
            self.registry.members(name.group).map(|member| member.receiver).collect();
        members.sort_unstable();
        let first = self.registry.next_delivery();
        for member in members {
            self.owe(now, member, name);
        }
        self.forget_contents();
        Ok((first..self.registry.next_delivery()).collect())
    }

    fn check_release(&self, document: &[u8]) -> Result<ReleaseRecord, Failure> {
        let signed = SignedDocument::parse(document, MAX_ROOT)
            .map_err(|fault| untrusted("the release", &fault))?;
        let root =
            ReleaseRoot::decode(signed.body()).map_err(|fault| untrusted("the release", &fault))?;
        self.authority
            .verify(Context::Release, &signed)
            .map_err(|fault| untrusted("the release", &fault))?;
        if root.fleet != self.authority.document().fleet {
            return Err(untrusted("the release", &"it belongs to another fleet"));
        }
        let Some(group) = self.registry.group(&root.group) else {
            let message = "the release names a group that does not exist".to_owned();
            return Err(Failure::failed("group-unknown", message, "fleetcast groups list"));
        };
        let expected = self.next_order(&group.name)?;
        if root.order != expected {
            let message = format!(
                "the release has number {}, the next one is {}",
                root.order.sequence, expected.sequence
            );
            let hint = "somebody else sent at the same time: send again";
            return Err(Failure::failed("out-of-order", message, hint));
        }
        Ok(ReleaseRecord {
            name: root.name(signed.digest(Context::Release)),
            label: root.label.to_owned(),
            document: document.to_vec(),
            files: root.standard.files.into(),
            bytes: root.standard.content_bytes,
            created: root.created,
            expires: root.expires,
            state: ReleaseState::Current,
        })
    }

    fn supersede(&mut self, group: GroupId) {
        let current: Vec<ReleaseRecord> = self
            .registry
            .releases()
            .filter(|r| r.name.group == group && r.state == ReleaseState::Current)
            .cloned()
            .collect();
        for release in current {
            let state = ReleaseState::Superseded;
            self.registry.put_release(ReleaseRecord { state, ..release });
        }
    }

    /// Takes a delivery that waits back.
    ///
    /// # Errors
    /// `delivery-unknown`.
    pub fn cancel_delivery(&mut self, now: Instant, actor: &str, id: u64) -> Result<(), Failure> {
        let delivery = self.open_delivery(id)?;
        self.withdraw(now, delivery, DeliveryState::Cancelled);
        self.registry.log(actor, "delivery-cancelled", &id.to_string(), "ok");
        Ok(())
    }

    /// Queues a delivery that failed once more, if nothing newer took its place.
    ///
    /// # Errors
    /// `delivery-unknown`, `release-superseded`.
    pub fn retry_delivery(&mut self, now: Instant, actor: &str, id: u64) -> Result<(), Failure> {
        let delivery = self.registry.delivery(id).cloned().ok_or_else(|| unknown_delivery(id))?;
        let current = self.registry.current_release(delivery.release.group);
        if current.is_none_or(|current| current.name != delivery.release) {
            // Owing it again would take the place of the newer one.
            let message = format!("delivery {id} is of a release that is not its group's newest");
            let hint = "the newest release contains everything: fleetcast pending list";
            return Err(Failure::failed("release-superseded", message, hint));
        }
        self.registry.log(actor, "delivery-retried", &id.to_string(), "ok");
        self.owe(now, delivery.receiver, delivery.release);
        Ok(())
    }

    fn open_delivery(&self, id: u64) -> Result<crate::model::DeliveryRecord, Failure> {
        let found = self.registry.delivery(id).filter(|delivery| !delivery.state.is_final());
        found.cloned().ok_or_else(|| unknown_delivery(id))
    }

    // --- names ---

    /// A group by its name.
    ///
    /// # Errors
    /// `group-unknown`.
    pub fn group(&self, name: &str) -> Result<&GroupRecord, Failure> {
        self.registry.group_named(name).ok_or_else(|| {
            let message = format!("there is no group {}", quoted(name));
            Failure::failed("group-unknown", message, "fleetcast groups list")
        })
    }

    /// A receiver by its name or the beginning of its identity.
    ///
    /// # Errors
    /// `receiver-unknown`.
    pub fn receiver(&self, name: &str) -> Result<&ReceiverRecord, Failure> {
        self.registry.receiver_named(name).ok_or_else(|| {
            let message = format!("there is no receiver {}", quoted(name));
            Failure::failed("receiver-unknown", message, "fleetcast receivers list")
        })
    }

    /// The wall clock as last told, in seconds since 1970.
    #[must_use]
    pub const fn time(&self) -> UnixTime {
        self.registry.time()
    }

    fn group_name(&self, id: GroupId) -> String {
        self.registry.group(&id).map_or_else(|| id.to_string(), |group| group.name.clone())
    }
}

fn check_name(name: &str) -> Result<(), Failure> {
    files::check_given(name)?;
    // A group's name becomes a directory, and ours there begins with a dot.
    if name.starts_with('.') { Err(unsafe_name(name, "begins with a dot")) } else { Ok(()) }
}

fn untrusted(what: &str, fault: &impl std::fmt::Debug) -> Failure {
    let message = format!("{what} is not signed as this fleet demands: {fault:?}");
    Failure::failed("not-trusted", message, "use the admin key of this fleet")
}

fn chunks_missing(fault: &str) -> Failure {
    let message = format!("the release is not complete at the server: {fault}");
    Failure::failed("chunks-missing", message, "send again; what is there is not sent twice")
}

fn unknown_delivery(id: u64) -> Failure {
    let message = format!("there is no such open delivery: {id}");
    Failure::failed("delivery-unknown", message, "fleetcast pending list")
}
