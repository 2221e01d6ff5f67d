//! What admins do about releases and their deliveries.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::ids::{ReceiverId, ReleaseOrder};
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::time::Instant;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::release::ReleaseRoot;

use super::ServerNode;
use super::contents::Contents;
use super::doubt::above;
use crate::error::Failure;
use crate::model::{
    DeliveryRecord, DeliveryState, Hold, ReleaseRecord, ReleaseState, Terms, UnixTime,
};
use crate::units::format_time;

/// How a release is to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOptions {
    /// What stays with the release.
    pub terms: Terms,
    /// Its deliveries wait for `pending send`, or for their receivers to appear.
    pub queue: bool,
}

impl<A: Aead> ServerNode<A> {
    /// The order that a group's next release must have.
    ///
    /// # Errors
    /// `group-unknown`.
    pub fn next_order(&self, group: &str) -> Result<ReleaseOrder, Failure> {
        let group = self.group(group)?.id;
        let reset_epoch = self.authority.document().reset_epoch;
        Ok(ReleaseOrder { reset_epoch, sequence: above(&self.registry, group) + 1 })
    }

    /// Takes a signed release whose chunks are all durable, and owes it to the
    /// group's members; returns the numbers of their deliveries. One that lacks
    /// signatures has none: it waits for them.
    ///
    /// # Errors
    /// `time-over`, `not-trusted`, `group-unknown`, `out-of-order`, `chunks-missing`.
    pub fn submit_release(
        &mut self,
        now: Instant,
        actor: &str,
        document: Vec<u8>,
        options: SendOptions,
    ) -> Result<Vec<u64>, Failure> {
        check_time(options.terms.at, self.registry.time(), "")?;
        let record = ReleaseRecord { terms: options.terms, ..self.check_release(&document)? };
        let contents = Contents::read(&document, &*self.chunks)
            .map_err(|fault| chunks_missing(&fault.to_string()))?;
        for chunk in contents.all_chunks() {
            // Not merely there: a release outlives a crash, and so must what it needs.
            if !self.chunks.is_durable(&chunk.id).unwrap_or(false) {
                return Err(chunks_missing(&format!("chunk {} is not durable", chunk.id)));
            }
        }
        if record.state == ReleaseState::Unsigned {
            self.keep_unsigned(actor, record, options.queue);
            return Ok(Vec::new());
        }
        self.contents.insert(record.name.digest, contents.into());
        Ok(self.publish(now, actor, record, options.queue))
    }

    /// Makes a release the newest of its group, and owes it to the members.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        actor: &str,
        record: ReleaseRecord,
        queue: bool,
    ) -> Vec<u64> {
        let name = record.name;
        let title = self.registry.release_title(&name);
        self.registry.log(actor, "release-sent", &title, &record.label);
        if record.terms.is_scheduled() {
            self.scheduled.insert(name.digest);
        }
        self.registry.put_release(ReleaseRecord { state: ReleaseState::Current, ..record });
        let mut members: Vec<ReceiverId> =
            self.registry.members(name.group).map(|member| member.receiver).collect();
        members.sort_unstable();
        let first = self.registry.next_delivery();
        let hold = if queue { Hold::Send } else { self.hold_of_new(&name.digest) };
        for member in members {
            // One that is signed again may be there already.
            let held = self.registry.held(member, name.group).map(|held| held.release);
            if held != Some(name) {
                self.owe(now, member, name, hold);
            }
        }
        self.outdate(&name);
        self.forget_contents();
        (first..self.registry.next_delivery()).collect()
    }

    fn check_release(&self, document: &[u8]) -> Result<ReleaseRecord, Failure> {
        let signed = SignedDocument::parse(document, MAX_ROOT)
            .map_err(|fault| untrusted("the release", &fault))?;
        let root =
            ReleaseRoot::decode(signed.body()).map_err(|fault| untrusted("the release", &fault))?;
        let (document, state) = self.judge_signatures(&signed)?;
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
            document,
            files: root.standard.files.into(),
            bytes: root.standard.content_bytes,
            created: root.created,
            expires: root.expires,
            state,
            terms: Terms::default(),
        })
    }

    /// Takes a delivery that waits back.
    ///
    /// # Errors
    /// `delivery-unknown`.
    pub fn cancel_delivery(&mut self, now: Instant, actor: &str, id: u64) -> Result<(), Failure> {
        let delivery = self.open_delivery(id)?;
        self.withdraw(now, delivery, DeliveryState::Cancelled);
        let what = self.delivery_title(id);
        self.registry.log(actor, "delivery-cancelled", &id.to_string(), &what);
        Ok(())
    }

    /// Queues a delivery that failed once more, if nothing newer took its place.
    ///
    /// # Errors
    /// `delivery-unknown`, `release-superseded`.
    pub fn retry_delivery(&mut self, now: Instant, actor: &str, id: u64) -> Result<(), Failure> {
        let delivery = self.registry.delivery(id).cloned().ok_or_else(|| unknown_delivery(id))?;
        let release = delivery.release;
        if self.is_outdated(&release) || self.is_overtaken(delivery.receiver, &release) {
            // Owing it again would take the place of the newer one.
            let message = format!("delivery {id} is of a release that is not its group's newest");
            let hint = "the newest release contains everything: fleetcast pending list";
            return Err(Failure::failed("release-superseded", message, hint));
        }
        if !matches!(delivery.state, DeliveryState::Failed | DeliveryState::Cancelled) {
            let message = format!("delivery {id} has neither failed nor been cancelled");
            let hint = "what was paused goes on by: fleetcast pending resume";
            return Err(Failure::failed("delivery-not-failed", message, hint));
        }
        if !self.registry.is_member(delivery.receiver, delivery.release.group) {
            let message = format!("the receiver of delivery {id} is not in its group any more");
            let hint = "fleetcast groups add puts it there, and it gets what is current";
            return Err(Failure::failed("receiver-not-member", message, hint));
        }
        let what = self.delivery_title(id);
        self.registry.log(actor, "delivery-retried", &id.to_string(), &what);
        let hold = self.hold_of_new(&delivery.release.digest);
        self.owe(now, delivery.receiver, delivery.release, hold);
        Ok(())
    }

    /// Which release to whom, for the log.
    pub(super) fn delivery_title(&self, id: u64) -> String {
        let title = |delivery: &DeliveryRecord| {
            let release = self.registry.release_title(&delivery.release);
            format!("{release} to {}", self.name_of(&delivery.receiver))
        };
        self.registry.delivery(id).map(title).unwrap_or_default()
    }

    pub(super) fn open_delivery(&self, id: u64) -> Result<DeliveryRecord, Failure> {
        let found = self.registry.delivery(id).filter(|delivery| !delivery.state.is_final());
        found.cloned().ok_or_else(|| unknown_delivery(id))
    }
}

/// Seconds by which a moment may be over: clocks differ, and words are on their way.
const OVER: UnixTime = 60;

/// Refuses a moment of activation that is over by the server's clock, which shows `now`: who
/// names one means a time to come, and what was to be staged before would be installed at
/// once. `also` goes on where that clock is told.
///
/// # Errors
/// `time-over`.
pub fn check_time(at: Option<UnixTime>, now: UnixTime, also: &str) -> Result<(), Failure> {
    let Some(at) = at.filter(|at| at.saturating_add(OVER) < now) else { return Ok(()) };
    let (at, now) = (format_time(at), format_time(now));
    let message = format!("{at} is over: the server's clock shows {now}{also}");
    let hint = "name a time to come (--at 18:00, --at 90m), or leave --at out to send at once; \
        if a clock is wrong, put it right";
    Err(Failure::failed("time-over", message, hint))
}

/// A document that does not count.
pub(super) fn untrusted(what: &str, fault: &impl std::fmt::Debug) -> Failure {
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
