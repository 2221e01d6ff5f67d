//! A whole server behind its socket, and the client in front of it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use data_encoding::HEXLOWER;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{FleetId, GroupId, ReleaseOrder, StaticKey, TokenId};
use fleetcast_core::limits::MAX_AUTHORITY;
use fleetcast_core::trust::authority::{AuthorityDocument, Controller, TrustedAuthority};
use fleetcast_core::trust::document::{Fingerprint, add_signature, assemble};
use fleetcast_core::trust::membership::Voucher;
use fleetcast_core::wire::control::encode;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::client::Client;
use super::model::authority::{AdminName, NewProposal};
use super::model::{Hex, NewRelease, NewSchedule, NewVoucher};
use super::*;
use crate::catalog::Catalog;
use crate::driver::server::{Founding, ServeOptions, bind, start};
use crate::ingest::tree::{Node, Sent, Tree};
use crate::ingest::{ChunkSink, Encoding, ReleaseDraft};
use crate::packs::{ChunkStore, MemoryChunks, StoreError};
use crate::server::registry::Registry;

const FLEET: FleetId = FleetId([7; 16]);

fn admin() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn signed(context: Context, body: &[u8]) -> Vec<u8> {
    let mut document = vec![0; body.len() + 100];
    let length = assemble(body, &mut document).unwrap();
    let length = add_signature(&mut document, length, context, &admin()).unwrap();
    document.truncate(length);
    document
}

fn founding() -> Founding {
    let controller = SigningKey::from_seed(&[3; 32]);
    let pair = Controller {
        exchange: *StaticPair::from_secret(&[2; 32]).public(),
        signing: controller.verifying_key(),
    };
    let document = AuthorityDocument {
        version: 1,
        fleet: FLEET,
        admins: [admin().verifying_key()].into_iter().collect(),
        threshold: 1,
        controllers: [pair].into_iter().collect(),
        roles: Default::default(),
        revoked: Default::default(),
        reset_epoch: 0,
    };
    let mut body = [0; MAX_AUTHORITY];
    let length = document.encode(&mut body).unwrap();
    let document = signed(Context::Authority, &body[..length]);
    let digest = Context::Authority.digest(&body[..length]);
    Founding {
        exchange_secret: [2; 32],
        signing: controller,
        registry: Registry::default(),
        authority: TrustedAuthority::pin(&document, digest).unwrap(),
        chain: vec![(1, document)],
    }
}

async fn serve(folder: &Path, chunks: Arc<dyn ChunkStore>) {
    let catalog = Catalog::open(&folder.join("catalog.db")).await.unwrap();
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        interface: Some("127.0.0.1".into()),
        pool: "239.77.0.0".parse().unwrap(),
        pool_prefix: 16,
        port: 7_413,
        ttl: 1,
        dscp: 0,
        rate: 1_000_000,
        beacon: false,
    };
    let socket = bind(&options).unwrap();
    let server = start(socket, &options, founding(), Arc::clone(&chunks), catalog.clone()).unwrap();
    let api = Api::new(server.handle.clone(), chunks, catalog, server.address);
    let listener = socket::listen(&folder.join("fleetcast.sock"), socket::OWN).unwrap();
    tokio::spawn(async move { axum::serve(listener, api.router()).await });
    // It lives as long as its runtime.
    std::mem::forget(server);
}

/// A server on a runtime of its own, and a client of it.
fn fleet() -> (TempDir, Runtime, Client) {
    fleet_with(Arc::new(MemoryChunks::default()))
}

fn fleet_with(chunks: Arc<dyn ChunkStore>) -> (TempDir, Runtime, Client) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(serve(folder.path(), chunks));
    let client = Client::new(&folder.path().join("fleetcast.sock")).unwrap();
    (folder, runtime, client)
}

/// A record that is not encoded (PROTOCOL §4): codec 0, both lengths, the bytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = &(bytes.len() as u32).to_le_bytes()[..3];
    [&Digest::of(bytes).0[..], &[0], length, length, bytes].concat()
}

#[test]
fn groups_are_made_renamed_and_deleted_and_the_log_tells_it() {
    let (_folder, _runtime, client) = fleet();
    let strange = "a b/ü?#%";
    assert_eq!(client.create_group(strange, false).unwrap_err().code, "name-unsafe");
    // Open in name only it would let nobody in.
    assert_eq!(client.create_group("Süd 1?a%", true).unwrap_err().code, "voucher-missing");
    assert_eq!(client.groups().unwrap(), []);
    client.create_group("Süd 1?a%", false).unwrap();
    assert_eq!(client.create_group("süd 1?A%", false).unwrap_err().code, "group-exists");
    let group = client.rename_group("Süd 1?a%", "nord").unwrap();
    assert_eq!((group.name.as_str(), group.open, group.sequence), ("nord", false, 0));
    assert_eq!(client.groups().unwrap(), [group]);
    assert_eq!(client.members("nord").unwrap(), []);
    assert_eq!(client.members("süd").unwrap_err().code, "group-unknown");
    client.delete_group("nord").unwrap();
    assert_eq!(client.groups().unwrap(), []);
    let log = client.log_after(1).unwrap();
    let actions: Vec<&str> = log.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions, ["group-renamed", "group-deleted"]);
    assert_eq!(client.log_after(3).unwrap(), []);
}

#[test]
fn chunks_are_asked_for_stored_and_given_back() {
    let (_folder, _runtime, client) = fleet();
    let chunks: Vec<Vec<u8>> = (0..20).map(|i| vec![i; 1_000 * usize::from(i) + 1]).collect();
    let ids: Vec<Digest> = chunks.iter().map(|chunk| Digest::of(chunk)).collect();
    assert_eq!(client.lacking(&ids).unwrap(), vec![true; 20]);
    let frames: Vec<u8> = chunks.iter().step_by(2).flat_map(|chunk| frame(chunk)).collect();
    let stored = client.store_chunks(frames.clone()).unwrap();
    assert_eq!((stored.received, stored.new), (10, 10));
    assert_eq!(client.store_chunks(frames).unwrap().new, 0);
    let lacking = client.lacking(&ids).unwrap();
    assert!(lacking.iter().enumerate().all(|(at, lacks)| *lacks == (at % 2 == 1)), "{lacking:?}");
    assert_eq!(client.chunk(&ids[2]).unwrap(), frame(&chunks[2])[32..]);
    assert_eq!(client.chunk(&ids[3]).unwrap_err().code, "chunk-unknown");
}

#[test]
fn a_chunk_under_a_wrong_id_and_a_torn_upload_are_refused() {
    let (_folder, _runtime, client) = fleet();
    let mut forged = frame(b"what was promised");
    forged[40] ^= 1;
    assert_eq!(client.store_chunks(forged).unwrap_err().code, "bad-chunk");
    assert_eq!(client.lacking(&[Digest::of(b"what was promised")]).unwrap(), [true]);
    let mut torn = frame(b"whole");
    torn.extend(&frame(b"torn")[..40]);
    assert_eq!(client.store_chunks(torn).unwrap_err().code, "malformed");
}

/// The first release of a group: a directory, and its chunks go to the server.
fn release(client: &Client, group: &str) -> NewRelease {
    let node = Node::Directory { mtime: 1 };
    let mut tree = Tree::default();
    tree.merge([Sent { path: vec!["d".to_owned()], node }]).unwrap();
    let next = client.next_release(group).unwrap();
    let draft = ReleaseDraft {
        fleet: FLEET,
        authority: 1,
        group: GroupId(next.group.array().unwrap()),
        group_name: group,
        order: ReleaseOrder { reset_epoch: 0, sequence: 1 },
        created: 0,
        expires: 0,
        label: "first",
    };
    let unsigned = draft.build(&tree, Encoding::HOSTS, &mut Behind(client)).unwrap();
    let document = Hex(unsigned.sign(&[&admin()]).unwrap().document);
    let (rate, at, ready) = (None, None, None);
    NewRelease { document, rate, full: false, priority: 0, at, ready, queue: false }
}

/// The store behind a client.
struct Behind<'c>(&'c Client);

impl ChunkSink for Behind<'_> {
    fn lacks(&mut self, ids: &[Digest]) -> io::Result<Vec<bool>> {
        self.0.lacking(ids).map_err(io::Error::other)
    }

    fn put(&mut self, id: Digest, record: &[u8]) -> io::Result<()> {
        let frame = [&id.0, record].concat();
        self.0.store_chunks(frame).map(drop).map_err(io::Error::other)
    }
}

/// Durable only by [`ChunkStore::sync`], and not at all when the disk is broken.
#[derive(Default)]
struct Lazy {
    memory: MemoryChunks,
    synced: AtomicBool,
    broken: AtomicBool,
}

impl ChunkStore for Lazy {
    fn put(&self, id: Digest, record: &[u8]) -> Result<bool, StoreError> {
        self.synced.store(false, Ordering::SeqCst);
        self.memory.put(id, record)
    }

    fn record_len(&self, id: &Digest) -> Result<Option<usize>, StoreError> {
        self.memory.record_len(id)
    }

    fn read(&self, id: &Digest, out: &mut [u8]) -> Result<usize, StoreError> {
        self.memory.read(id, out)
    }

    fn sync(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            let (path, source) = ("1.pack".into(), io::Error::other("the disk is broken"));
            return Err(StoreError::Io { path, source });
        }
        self.synced.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn sync_ahead(&self) {}

    fn is_durable(&self, id: &Digest) -> Result<bool, StoreError> {
        Ok(self.synced.load(Ordering::SeqCst) && self.memory.contains(id)?)
    }

    fn collect(&self, keep: &dyn Fn(&Digest) -> bool) -> Result<u64, StoreError> {
        self.memory.collect(keep)
    }
}

#[test]
fn a_release_is_taken_when_the_disk_has_all_its_chunks_and_not_before() {
    let chunks = Arc::new(Lazy::default());
    let (_folder, _runtime, client) = fleet_with(Arc::<Lazy>::clone(&chunks));
    client.create_group("g", false).unwrap();
    let release = release(&client, "g");
    chunks.broken.store(true, Ordering::SeqCst);
    let refused = client.submit(&release).unwrap_err();
    assert!(refused.message.contains("the disk is broken"), "{refused:?}");
    assert_eq!(client.releases(None).unwrap(), []);
    chunks.broken.store(false, Ordering::SeqCst);
    // It is taken; that nobody is in the group is all there is to say against it.
    assert_eq!(client.submit(&release).unwrap_err().code, "group-empty");
    assert!(chunks.synced.load(Ordering::SeqCst));
    assert_eq!(client.releases(None).unwrap().len(), 1);
}

#[test]
fn only_what_an_admin_has_signed_is_taken() {
    let (_folder, _runtime, client) = fleet();
    let token = [9; 16];
    let voucher = Voucher {
        fleet: FLEET,
        token: TokenId::of(&token),
        groups: Default::default(),
        uses: 1,
        not_after: u64::MAX,
    };
    let mut body = [0; 256];
    let body = encode(&voucher, &mut body).unwrap().to_vec();
    let post = |context| {
        let document = Hex(signed(context, &body));
        client.add_voucher(&NewVoucher { document, token: Hex(token.to_vec()) })
    };
    assert_eq!(post(Context::Release).unwrap_err().code, "not-trusted");
    assert_eq!(post(Context::Voucher).unwrap().0, Context::Voucher.digest(&body).0);
    let document = Hex(signed(Context::Release, b"no release"));
    let release = NewRelease {
        document,
        rate: None,
        full: false,
        priority: 0,
        at: None,
        ready: None,
        queue: false,
    };
    assert_eq!(client.submit(&release).unwrap_err().code, "not-trusted");
}

#[test]
fn the_fleet_tells_what_an_invitation_needs() {
    let (_folder, _runtime, client) = fleet();
    let fleet = client.fleet().unwrap();
    assert_eq!(fleet.fleet.0, FLEET.0);
    assert_eq!((fleet.version, fleet.threshold), (1, 1));
    assert_eq!(fleet.digest.0, founding().authority.digest().0);
    let public: &StaticKey = &StaticPair::from_secret(&[2; 32]).public().clone();
    assert_eq!(fleet.controller.0, public.0);
    assert!(fleet.listen.starts_with("127.0.0.1:"), "{}", fleet.listen);
    let status = client.status().unwrap();
    assert_eq!((status.receivers.active, status.sessions.len()), (0, 0));
    assert_eq!(client.receiver("nobody").unwrap_err().code, "receiver-unknown");
    assert_eq!(client.release("abcdef").unwrap_err().code, "release-unknown");
    assert_eq!(client.cancel(7).unwrap_err().code, "delivery-unknown");
    assert_eq!(client.ping(&[]).unwrap(), []);
}

#[test]
fn a_server_that_is_gone_is_told_as_such() {
    let (_folder, runtime, client) = fleet();
    client.groups().unwrap();
    runtime.shutdown_background();
    // What was under way may be cut; after that nobody listens.
    thread::sleep(std::time::Duration::from_millis(100));
    let _ = client.groups();
    let gone = client.groups().unwrap_err();
    assert_eq!((gone.code.as_ref(), gone.exit), ("server-not-running", 1));
}

#[test]
fn rates_by_hour_are_set_shown_and_taken_back() {
    let (_folder, _runtime, client) = fleet();
    let new = |windows: &[&str], zone: &str| NewSchedule {
        windows: windows.iter().map(|&window| window.to_owned()).collect(),
        zone: zone.to_owned(),
    };
    let code = |new: NewSchedule| client.set_rate(&new).unwrap_err().code;
    assert_eq!(code(new(&["soon"], "UTC")), "schedule-malformed");
    assert_eq!(code(new(&["00:00-24:00=1MB/s"], "Mars/Olympus")), "zone-unknown");
    let before = client.rate().unwrap();
    let set = client.set_rate(&new(&["00:00-24:00=1MB/s"], "UTC")).unwrap();
    assert_eq!((set.rate, set.zone.as_str(), set.windows[0].active), (1_000_000, "UTC", true));
    assert_eq!((set.server_rate, set.from.as_str()), (before.rate, "command"));
    assert_eq!(client.status().unwrap().rate.windows, set.windows);
    let cleared = client.set_rate(&new(&[], "local")).unwrap();
    assert_eq!((cleared.rate, cleared.windows), (before.rate, before.windows));
}

#[test]
fn every_route_stands_in_the_table_once_and_nothing_is_mounted_beside_it() {
    let routes = routes::table();
    let names: std::collections::BTreeSet<_> =
        routes.iter().map(|route| (route.path, route.method.as_str())).collect();
    assert_eq!(names.len(), routes.len());
    // What is mounted elsewhere would stand behind no rule.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mounts = |text: &str| {
        [".rou", ".route_ser", ".nest_ser"]
            .iter()
            .zip(["te(", "vice(", "vice("])
            .any(|(begin, end)| text.contains(&format!("{begin}{end}")))
    };
    let mut mounting: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| std::fs::read_to_string(path).is_ok_and(|text| mounts(&text)))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    mounting.sort_unstable();
    assert_eq!(mounting, ["route.rs"]);
}

#[test]
fn a_change_of_the_authority_with_a_name_that_nobody_may_have_is_not_taken_in_part() {
    let (_folder, _runtime, client) = fleet();
    let mut next = founding().authority.document().clone();
    next.version = 2;
    next.admins.push(SigningKey::from_seed(&[5; 32]).verifying_key()).unwrap();
    let mut body = [0; MAX_AUTHORITY];
    let length = next.encode(&mut body).unwrap();
    // Both have to sign: the one of before, and one of its own, who is the same.
    let document = HEXLOWER.encode(&signed(Context::Authority, &body[..length]));
    let named = |name: &str| {
        let admin = HEXLOWER.encode(&Fingerprint::of(&next.admins[1].0).0);
        let names = vec![AdminName { admin, name: name.to_owned() }];
        client.propose(&NewProposal { document: document.clone(), names })
    };
    assert_eq!(named("<b>").unwrap_err().code, "name-unsafe");
    assert_eq!(client.authority().unwrap().chain.len(), 1, "nothing is in force");
    assert!(named("bea").unwrap().in_force);
    let names = client.authority().unwrap().names;
    assert_eq!(names.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["", "bea"]);
}
