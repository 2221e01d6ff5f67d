//! What operators may do for people: propose that a receiver be in a group. It changes
//! nothing until an admin has signed the membership.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::wire::control::Standing;

use super::ServerNode;
use crate::error::Failure;
use crate::model::RequestRecord;
use crate::units::quoted;

impl<A: Aead> ServerNode<A> {
    /// Proposes that a receiver be in a group, for an admin to approve or deny; a receiver
    /// that waits for approval may be proposed too. Again is fine, and so is a member.
    ///
    /// # Errors
    /// `group-unknown`, `receiver-unknown`, `receiver-revoked`, `requests-full`.
    pub fn propose_member(
        &mut self,
        actor: &str,
        group: &str,
        receiver: &str,
    ) -> Result<(), Failure> {
        let group = self.group(group)?.clone();
        let receiver = self.receiver(receiver)?.clone();
        if receiver.standing == Standing::Revoked {
            let message = format!("{} is revoked", quoted(&receiver.name));
            return Err(Failure::failed("receiver-revoked", message, "fleetcast receivers list"));
        }
        let known = self.registry.request(receiver.id, group.id).cloned();
        let is_proposed = |r: &RequestRecord| r.proposed.is_some() && r.denied.is_none();
        if self.registry.is_member(receiver.id, group.id) || known.as_ref().is_some_and(is_proposed)
        {
            return Ok(());
        }
        if !self.make_room(receiver.id, group.id, false) {
            let message = "too many requests wait";
            return Err(Failure::failed("requests-full", message, "fleetcast groups requests"));
        }
        let waits = known.as_ref().filter(|request| request.denied.is_none());
        self.registry.put_request(RequestRecord {
            receiver: receiver.id,
            group: group.id,
            asked: known.as_ref().is_some_and(|request| request.asked),
            proposed: Some(actor.to_owned()),
            denied: None,
            // Who asks goes on being the first to have asked.
            since: waits.map_or(self.registry.time(), |request| request.since),
        });
        self.registry.log(actor, "membership-proposed", &receiver.name, &group.name);
        Ok(())
    }
}
