//! What admins decide about requests to join, and about groups that need no
//! decision.

use fleetcast_core::crypto::aead::Aead;
use fleetcast_core::digest::Digest;
use fleetcast_core::time::Instant;
use fleetcast_core::wire::people::{Answer, MAX_REASON};

use super::ServerNode;
use super::releases::untrusted;
use crate::error::Failure;
use crate::model::{GroupRecord, RequestRecord, VoucherRecord};
use crate::status::RequestItem;
use crate::units::quoted;

impl<A: Aead> ServerNode<A> {
    /// Requests that wait, the oldest first: of one group, or of all.
    ///
    /// # Errors
    /// `group-unknown`.
    pub fn request_items(&self, group: Option<&str>) -> Result<Vec<RequestItem>, Failure> {
        let only = group.map(|name| self.group(name).map(|group| group.id)).transpose()?;
        let waiting = self.registry.requests().filter(|request| {
            request.denied.is_none() && only.is_none_or(|only| only == request.group)
        });
        let mut items: Vec<RequestItem> = waiting
            .filter_map(|request| {
                let receiver = self.registry.receiver(&request.receiver)?;
                Some(RequestItem {
                    group: self.registry.group(&request.group)?.name.clone(),
                    receiver: receiver.name.clone(),
                    fingerprint: Digest::of(&receiver.key.0).to_string(),
                    asked: request.asked,
                    proposed_by: request.proposed.clone(),
                    since: request.since,
                })
            })
            .collect();
        items.sort_unstable_by(|a, b| {
            (a.since, &a.group, &a.receiver).cmp(&(b.since, &b.group, &b.receiver))
        });
        Ok(items)
    }

    /// Denies a request; its receiver is told why. Again is fine.
    ///
    /// # Errors
    /// `group-unknown`, `receiver-unknown`, `request-unknown`, `reason-unsafe`.
    pub fn deny_request(
        &mut self,
        now: Instant,
        actor: &str,
        group: &str,
        receiver: &str,
        reason: &str,
    ) -> Result<(), Failure> {
        check_reason(reason)?;
        let group = self.group(group)?.clone();
        let receiver = self.receiver(receiver)?.clone();
        let Some(request) = self.registry.request(receiver.id, group.id).cloned() else {
            return Err(no_request(&receiver.name, &group.name));
        };
        if request.denied.is_some() {
            return Ok(());
        }
        let asked = request.asked;
        if asked {
            let since = self.registry.time();
            let denied = Some(reason.to_owned());
            // What was proposed has been decided with it.
            let proposed = None;
            self.registry.put_request(RequestRecord { proposed, denied, since, ..request });
        } else {
            // Nobody there has asked: nobody there is told.
            self.registry.remove_request(receiver.id, group.id);
        }
        let result = if reason.is_empty() {
            group.name.clone()
        } else {
            format!("{}: {reason}", group.name)
        };
        self.registry.log(actor, "request-denied", &receiver.name, &result);
        if asked {
            self.tell_answer(now, receiver.id, &group.name, Answer::Denied { reason });
        }
        Ok(())
    }

    /// Opens a group: whoever asks is in at once, by memberships made from this
    /// voucher, which admins have signed for this group alone.
    ///
    /// # Errors
    /// `group-unknown`, `not-trusted`.
    pub fn open_group(
        &mut self,
        actor: &str,
        name: &str,
        document: Vec<u8>,
        token: [u8; 16],
    ) -> Result<(), Failure> {
        let group = self.group(name)?.clone();
        let (digest, voucher) = self.check_voucher(&document, &token)?;
        if voucher.groups.as_slice() != [group.id] || voucher.uses != 0 {
            return Err(untrusted("the voucher", &"it is not for this group alone"));
        }
        self.revoke_open(&group);
        self.registry.put_voucher(VoucherRecord {
            digest,
            token_id: voucher.token,
            token,
            used: 0,
            uses: 0,
            expires: voucher.not_after,
            revoked: false,
            document,
        });
        self.registry.put_group(GroupRecord { open: true, voucher: Some(digest), ..group });
        self.registry.log(actor, "group-opened", name, "ok");
        Ok(())
    }

    /// Closes a group: from now on an admin decides. Members stay. Again is fine.
    ///
    /// # Errors
    /// `group-unknown`.
    pub fn close_group(&mut self, actor: &str, name: &str) -> Result<(), Failure> {
        let group = self.group(name)?.clone();
        if group.open {
            self.revoke_open(&group);
            self.registry.put_group(GroupRecord { open: false, voucher: None, ..group });
            self.registry.log(actor, "group-closed", name, "ok");
        }
        Ok(())
    }

    /// Takes back the voucher that a group was open by; memberships made from it stay.
    fn revoke_open(&mut self, group: &GroupRecord) {
        let before = group.voucher.and_then(|digest| self.registry.voucher_of(&digest).cloned());
        if let Some(before) = before {
            self.registry.put_voucher(VoucherRecord { revoked: true, ..before });
        }
    }
}

fn check_reason(reason: &str) -> Result<(), Failure> {
    let fault = if reason.len() > MAX_REASON {
        format!("it is longer than {MAX_REASON} bytes")
    } else if reason.chars().any(char::is_control) {
        "it holds a control character".to_owned()
    } else {
        return Ok(());
    };
    let message = format!("that cannot be a reason: {fault}");
    Err(Failure::failed("reason-unsafe", message, "write one short sentence"))
}

fn no_request(receiver: &str, group: &str) -> Failure {
    let message = format!("{} does not ask to be in {}", quoted(receiver), quoted(group));
    Failure::failed("request-unknown", message, "fleetcast groups requests")
}
