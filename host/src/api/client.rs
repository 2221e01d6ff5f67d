//! The client of the API: one function per route, blocking, for the command line.

mod authority;
mod people;

use std::path::Path;

use fleetcast_core::digest::Digest;
use hyper::Method;
use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::model::{
    Checked, Deliveries, Denial, FleetInfo, Hex, LogItem, NewBackup, NewGroup, NewMember, NewName,
    NewRelease, NewSchedule, NewVoucher, NextRelease, Paths, PingItem, PingRequest, PruneRequest,
    Pruned, ReceiptItem, ReceiverDetail, ReleaseDocument, SendPending, Stored, Submitted,
};
use super::transport::{Ask, Transport};
use crate::backup::BackupItem;
use crate::error::Failure;
use crate::status::{
    DeliveryItem, GroupItem, InvitationItem, Item, Items, RateItem, ReceiverItem, ReleaseItem,
    RequestItem, StatusItem,
};

pub use super::transport::{Target, misunderstood, unpinned};

/// A connection to a server.
pub struct Client {
    transport: Transport,
}

type Outcome<T> = Result<T, Failure>;

impl Client {
    /// A client of the server that listens at `socket`; connects with the first request.
    ///
    /// # Errors
    /// Failure `io` when the process gets no event queue.
    pub fn new(socket: &Path) -> Outcome<Self> {
        Self::of(Target::Socket(socket.to_owned()))
    }

    /// A client of a server, wherever it is.
    ///
    /// # Errors
    /// Failure `io` when the process gets no event queue.
    pub fn of(target: Target) -> Outcome<Self> {
        Ok(Self { transport: Transport::new(target)? })
    }

    /// Another connection to the same server, to be used at the same time.
    ///
    /// # Errors
    /// Failure `io` when the process gets no event queue.
    pub fn another(&self) -> Outcome<Self> {
        Self::of(self.transport.target().clone())
    }

    // Each of these fails as the server says, or with `server-not-running` and `server-lost`.

    /// Whom the fleet trusts, and where its server is.
    pub fn fleet(&self) -> Outcome<FleetInfo> {
        self.get("/fleet")
    }

    /// The picture of now.
    pub fn status(&self) -> Outcome<StatusItem> {
        self.get::<Item<StatusItem>>("/status").map(|document| document.item)
    }

    /// Lines of the log after a number, oldest first; empty at its end.
    pub fn log_after(&self, number: u64) -> Outcome<Vec<LogItem>> {
        self.items(&format!("/log?after={number}"))
    }

    /// Takes an invitation.
    pub fn add_voucher(&self, voucher: &NewVoucher) -> Outcome<Hex> {
        self.post("/vouchers", voucher)
    }

    /// Invitations that were made.
    pub fn invitations(&self) -> Outcome<Vec<InvitationItem>> {
        self.items("/vouchers")
    }

    /// Takes an invitation back.
    pub fn revoke_invitation(&self, id: &str) -> Outcome<InvitationItem> {
        let path = format!("/vouchers/{}/revoke", segment(id));
        self.post::<Item<InvitationItem>>(&path, &()).map(|document| document.item)
    }

    /// All groups.
    pub fn groups(&self) -> Outcome<Vec<GroupItem>> {
        self.items("/groups")
    }

    /// Creates a group.
    pub fn create_group(&self, name: &str, open: bool) -> Outcome<GroupItem> {
        self.post("/groups", &NewGroup { name: name.to_owned(), open })
    }

    /// Renames a group.
    pub fn rename_group(&self, group: &str, to: &str) -> Outcome<GroupItem> {
        let path = format!("/groups/{}", segment(group));
        self.send_json(Method::PATCH, &path, &NewName { name: to.to_owned() })
    }

    /// Deletes a group.
    pub fn delete_group(&self, group: &str) -> Outcome<()> {
        self.delete(&format!("/groups/{}", segment(group)))
    }

    /// The receivers of a group.
    pub fn members(&self, group: &str) -> Outcome<Vec<ReceiverItem>> {
        self.items(&format!("/groups/{}/members", segment(group)))
    }

    /// Adds a receiver to a group.
    pub fn add_member(&self, group: &str, member: &NewMember) -> Outcome<()> {
        self.post(&format!("/groups/{}/members", segment(group)), member)
    }

    /// Removes a receiver from a group.
    pub fn remove_member(&self, group: &str, receiver: &str) -> Outcome<()> {
        self.delete(&format!("/groups/{}/members/{}", segment(group), segment(receiver)))
    }

    /// Requests that wait: of one group, or of all.
    pub fn requests(&self, group: Option<&str>) -> Outcome<Vec<RequestItem>> {
        match group {
            Some(group) => self.items(&format!("/requests?group={}", segment(group))),
            None => self.items("/requests"),
        }
    }

    /// Proposes that a receiver be in a group.
    pub fn propose_member(&self, group: &str, receiver: &str) -> Outcome<()> {
        let path = format!("/groups/{}/requests/{}/propose", segment(group), segment(receiver));
        self.post(&path, &())
    }

    /// Denies a request.
    pub fn deny_request(&self, group: &str, receiver: &str, reason: &str) -> Outcome<()> {
        let path = format!("/groups/{}/requests/{}/deny", segment(group), segment(receiver));
        self.post(&path, &Denial { reason: reason.to_owned() })
    }

    /// Opens a group to all.
    pub fn open_group(&self, group: &str, voucher: &NewVoucher) -> Outcome<()> {
        self.post(&format!("/groups/{}/open", segment(group)), voucher)
    }

    /// Closes it.
    pub fn close_group(&self, group: &str) -> Outcome<()> {
        self.delete(&format!("/groups/{}/open", segment(group)))
    }

    /// What the next release of a group is made from.
    pub fn next_release(&self, group: &str) -> Outcome<NextRelease> {
        self.get(&format!("/groups/{}/next", segment(group)))
    }

    /// All receivers.
    pub fn receivers(&self) -> Outcome<Vec<ReceiverItem>> {
        self.items("/receivers")
    }

    /// A receiver, with its key.
    pub fn receiver(&self, receiver: &str) -> Outcome<ReceiverDetail> {
        self.get(&format!("/receivers/{}", segment(receiver)))
    }

    /// Takes a waiting receiver in.
    pub fn approve_receiver(&self, receiver: &str) -> Outcome<()> {
        self.post(&format!("/receivers/{}/approve", segment(receiver)), &())
    }

    /// Renames a receiver.
    pub fn rename_receiver(&self, receiver: &str, to: &str) -> Outcome<()> {
        let path = format!("/receivers/{}/rename", segment(receiver));
        self.post(&path, &NewName { name: to.to_owned() })
    }

    /// Forgets a receiver.
    pub fn remove_receiver(&self, receiver: &str) -> Outcome<()> {
        self.delete(&format!("/receivers/{}", segment(receiver)))
    }

    /// Asks receivers whether they are there; all where none is named.
    pub fn ping(&self, receivers: &[String]) -> Outcome<Vec<PingItem>> {
        let request = PingRequest { receivers: receivers.to_vec() };
        self.post::<Items<PingItem>>("/receivers/ping", &request).map(|document| document.items)
    }

    /// By which path receivers would be reached now.
    pub fn paths(&self) -> Outcome<Paths> {
        self.get("/receivers/paths")
    }

    /// Which of these chunks the server lacks: one answer per id.
    pub fn lacking(&self, ids: &[Digest]) -> Outcome<Vec<bool>> {
        let body: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        let bits = self.request(Method::POST, "/chunks/lacking", BINARY, body)?;
        if bits.len() != ids.len().div_ceil(8) {
            return Err(misunderstood());
        }
        let bit = |place: usize| bits.get(place / 8).is_some_and(|b| b >> (place % 8) & 1 == 1);
        Ok((0..ids.len()).map(bit).collect())
    }

    /// Stores chunks: `frames` is `id (32) ‖ record`, again and again. Durable on return.
    pub fn store_chunks(&self, frames: Vec<u8>) -> Outcome<Stored> {
        parse(&self.request(Method::PUT, "/chunks", BINARY, frames)?)
    }

    /// The record of a chunk.
    pub fn chunk(&self, id: &Digest) -> Outcome<Bytes> {
        self.request(Method::GET, &format!("/chunks/{id}"), BINARY, Vec::new())
    }

    /// Submits a signed release.
    pub fn submit(&self, release: &NewRelease) -> Outcome<Submitted> {
        self.post("/releases", release)
    }

    /// Releases of a group, or all.
    pub fn releases(&self, group: Option<&str>) -> Outcome<Vec<ReleaseItem>> {
        match group {
            Some(group) => self.items(&format!("/releases?group={}", segment(group))),
            None => self.items("/releases"),
        }
    }

    /// A release by its digest or by `GROUP#SEQUENCE`.
    pub fn release(&self, release: &str) -> Outcome<ReleaseItem> {
        let path = format!("/releases/{}", segment(release));
        self.get::<Item<ReleaseItem>>(&path).map(|document| document.item)
    }

    /// A release's signed root.
    pub fn release_document(&self, release: &str) -> Outcome<ReleaseDocument> {
        self.get(&format!("/releases/{}/document", segment(release)))
    }

    /// Takes a release back.
    pub fn cancel_release(&self, release: &str) -> Outcome<ReleaseItem> {
        self.post(&format!("/releases/{}/cancel", segment(release)), &())
    }

    /// Reads all chunks of a release again.
    pub fn verify_release(&self, release: &str) -> Outcome<Checked> {
        self.get(&format!("/releases/{}/verify", segment(release)))
    }

    /// Forgets releases that nobody needs, and frees the room of their chunks.
    pub fn prune(&self, request: PruneRequest) -> Outcome<Pruned> {
        self.post("/releases/prune", &request)
    }

    /// Receipts from an offset on; empty at their end.
    pub fn receipts(&self, offset: usize) -> Outcome<Vec<ReceiptItem>> {
        self.items(&format!("/receipts?offset={offset}"))
    }

    /// Writes a backup to a new file, given by its whole path.
    pub fn back_up(&self, file: &str) -> Outcome<BackupItem> {
        self.post("/backup", &NewBackup { file: file.to_owned() })
    }

    /// The authority documents that receipts are checked against, from the first on.
    pub fn authority_chain(&self) -> Outcome<Vec<Hex>> {
        self.items("/receipts/authority")
    }

    /// The cap of all that is sent, and its windows.
    pub fn rate(&self) -> Outcome<RateItem> {
        self.get::<Item<RateItem>>("/rate").map(|document| document.item)
    }

    /// Sets the windows, or takes them back.
    pub fn set_rate(&self, new: &NewSchedule) -> Outcome<RateItem> {
        let document: Item<RateItem> = self.send_json(Method::PUT, "/rate", new)?;
        Ok(document.item)
    }

    /// An admin has looked at a catalog in doubt: it counts again.
    pub fn confirm_catalog(&self) -> Outcome<()> {
        self.post("/restore/confirm", &())
    }

    /// The deliveries of releases, and what was sent for them.
    pub fn deliveries(&self, releases: &[String]) -> Outcome<Deliveries> {
        self.get(&format!("/deliveries?releases={}", releases.join(",")))
    }

    /// Deliveries that wait, run or have failed.
    pub fn pending(&self) -> Outcome<Vec<DeliveryItem>> {
        self.items("/pending")
    }

    /// Takes a delivery back.
    pub fn cancel(&self, delivery: u64) -> Outcome<DeliveryItem> {
        self.post(&format!("/pending/{delivery}/cancel"), &())
    }

    /// Stops a delivery until it is resumed.
    pub fn pause(&self, delivery: u64) -> Outcome<DeliveryItem> {
        self.post(&format!("/pending/{delivery}/pause"), &())
    }

    /// Lets a paused delivery go on.
    pub fn resume(&self, delivery: u64) -> Outcome<DeliveryItem> {
        self.post(&format!("/pending/{delivery}/resume"), &())
    }

    /// Lets deliveries go now; all that were only queued where none is named.
    pub fn send_pending(&self, ids: &[u64]) -> Outcome<Vec<DeliveryItem>> {
        let chosen = SendPending { ids: ids.to_vec() };
        self.post::<Items<DeliveryItem>>("/pending/send", &chosen).map(|document| document.items)
    }

    /// Queues a delivery once more.
    pub fn retry(&self, delivery: u64) -> Outcome<DeliveryItem> {
        self.post(&format!("/pending/{delivery}/retry"), &())
    }

    // --- requests ---

    fn items<T: DeserializeOwned>(&self, path: &str) -> Outcome<Vec<T>> {
        self.get::<Items<T>>(path).map(|document| document.items)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        parse(&self.request(Method::GET, path, JSON, Vec::new())?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Outcome<T> {
        self.send_json(Method::POST, path, body)
    }

    fn delete(&self, path: &str) -> Outcome<()> {
        self.send(Method::DELETE, path)
    }

    fn send<T: DeserializeOwned>(&self, method: Method, path: &str) -> Outcome<T> {
        parse(&self.request(method, path, JSON, Vec::new())?)
    }

    fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Outcome<T> {
        let body = serde_json::to_vec(body).map_err(|_| misunderstood())?;
        parse(&self.request(method, path, JSON, body)?)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Vec<u8>,
    ) -> Outcome<Bytes> {
        self.transport.request(&Ask { method, path, kind, body: Bytes::from(body) })
    }
}

const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";

fn parse<T: DeserializeOwned>(body: &[u8]) -> Outcome<T> {
    serde_json::from_slice(body).map_err(|_| misunderstood())
}

/// A name as one segment of a path, or as a value of a query (RFC 3986).
fn segment(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_segment_of_a_path() {
        // RFC 3986, section 2.1; dots too, so that no name is `..`.
        assert_eq!(segment("kiosk-1"), "kiosk-1");
        assert_eq!(segment("a/b?c#d e"), "a%2Fb%3Fc%23d%20e");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("ü"), "%C3%BC");
    }
}
