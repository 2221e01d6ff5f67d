//! The drivers on real sockets and real disks: a folder crosses loopback by
//! multicast, with losses, to receivers that enrolled by token.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleetcast::agent::{AgentEvent, Enrolment};
use fleetcast::catalog::Catalog;
use fleetcast::driver::receiver::{self, ReceiveOptions, Receiver, Told};
use fleetcast::driver::server::{self, Founding, ServeOptions, Server};
use fleetcast::files;
use fleetcast::ingest::{ChunkSink, Encoding, ReleaseDraft, Tree, ingest};
use fleetcast::keys::NodeKey;
use fleetcast::packs::{ChunkStore, MemoryChunks};
use fleetcast::server::registry::Registry;
use fleetcast::server::releases::SendOptions;
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{FleetId, GroupId, TokenId};
use fleetcast_core::trust::authority::{AuthorityDocument, Controller, TrustedAuthority};
use fleetcast_core::trust::document::{add_signature, assemble, signed_len};
use fleetcast_core::trust::membership::Voucher;
use fleetcast_core::wire::control::encode;

const TOKEN: [u8; 16] = [8; 16];

struct Sink(Arc<MemoryChunks>);

impl ChunkSink for Sink {
    fn lacks(&mut self, ids: &[Digest]) -> io::Result<Vec<bool>> {
        Ok(ids.iter().map(|id| !self.0.contains(id).unwrap()).collect())
    }

    fn put(&mut self, id: Digest, record: &[u8]) -> io::Result<()> {
        self.0.put(id, record).map(|_| ()).map_err(io::Error::other)
    }
}

fn sign(context: Context, body: &[u8], key: &SigningKey) -> Vec<u8> {
    let mut out = vec![0; signed_len(body.len(), 1)];
    let len = assemble(body, &mut out).unwrap();
    let len = add_signature(&mut out, len, context, key).unwrap();
    out.truncate(len);
    out
}

struct Fleet {
    server: Server,
    admin: SigningKey,
    fleet: FleetId,
    enrolment: Enrolment,
    chunks: Arc<MemoryChunks>,
    group: GroupId,
}

async fn found(home: &Path) -> Fleet {
    let admin = SigningKey::from_seed(&[1; 32]);
    let controller = NodeKey::generate().unwrap();
    let exchange = *StaticPair::from_secret(&controller.secret).public();
    let signing = SigningKey::from_seed(&controller.seed);
    let fleet = FleetId([3; 16]);
    let controller_keys = Controller { exchange, signing: signing.verifying_key() };
    let document = authority(fleet, &admin, controller_keys);
    let mut body = [0; 1_024];
    let len = document.encode(&mut body).unwrap();
    let signed = sign(Context::Authority, &body[..len], &admin);
    let digest = Context::Authority.digest(&body[..len]);
    let founding = Founding {
        exchange_secret: controller.secret,
        signing,
        registry: Registry::default(),
        authority: TrustedAuthority::pin(&signed, digest).unwrap(),
        chain: vec![(1, signed)],
    };
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        interface: Some("lo".to_owned()),
        pool: Ipv4Addr::new(239, 77, 0, 0),
        pool_prefix: 16,
        port: 7_413,
        ttl: 1,
        dscp: 0,
        rate: 100_000_000,
        beacon: false,
    };
    let catalog = Catalog::open(&home.join("catalog.db")).await.unwrap();
    let chunks = Arc::new(MemoryChunks::default());
    let server =
        server::start(server::bind(&options).unwrap(), &options, founding, chunks.clone(), catalog)
            .unwrap();
    let enrolment = Enrolment {
        server: server.address,
        server_key: exchange,
        authority: digest,
        token: Some(TOKEN),
    };
    let group = server.handle.run(|node, _| node.create_group("test", "docs", false)).await;
    let group = group.unwrap().unwrap();
    let voucher = Voucher {
        fleet,
        token: TokenId::of(&TOKEN),
        groups: [group].into_iter().collect(),
        uses: 8,
        not_after: u64::MAX,
    };
    let mut body = [0; 1_024];
    let voucher = sign(Context::Voucher, encode(&voucher, &mut body).unwrap(), &admin);
    let added = server.handle.run(move |node, _| node.add_voucher("test", voucher, TOKEN)).await;
    added.unwrap().unwrap();
    Fleet { server, admin, fleet, enrolment, chunks, group }
}

/// The first authority document of a fleet with one admin and one server.
fn authority(fleet: FleetId, admin: &SigningKey, controller: Controller) -> AuthorityDocument {
    AuthorityDocument {
        version: 1,
        fleet,
        admins: [admin.verifying_key()].into_iter().collect(),
        threshold: 1,
        controllers: [controller].into_iter().collect(),
        roles: Default::default(),
        revoked: Default::default(),
        reset_epoch: 0,
    }
}

impl Fleet {
    async fn send(&self, path: &Path) -> Vec<u64> {
        let walk = files::walk(&[path.to_owned()], false).unwrap();
        let mut sink = Sink(self.chunks.clone());
        let ingested = ingest(&walk.entries, Encoding::HOSTS, &mut sink, &mut |_| {}).unwrap();
        let mut tree = Tree::default();
        tree.merge(ingested.sent).unwrap();
        let order = self.server.handle.run(|node, _| node.next_order("docs")).await;
        let draft = ReleaseDraft {
            fleet: self.fleet,
            authority: 1,
            group: self.group,
            group_name: "docs",
            order: order.unwrap().unwrap(),
            created: 0,
            expires: 0,
            label: "test",
        };
        let unsigned = draft.build(&tree, Encoding::HOSTS, &mut sink).unwrap();
        let document = unsigned.sign(&[&self.admin]).unwrap().document;
        let options = SendOptions::default();
        let sent = self
            .server
            .handle
            .run(move |node, now| node.submit_release(now, "test", document, options));
        sent.await.unwrap().unwrap()
    }
}

fn receive(fleet: &Fleet, home: &Path, name: &str, drop: f64) -> Receiver {
    let (into, state) = (home.join(name), home.join(format!("{name}-state")));
    fs::create_dir(&into).unwrap();
    fs::create_dir(&state).unwrap();
    let options = ReceiveOptions {
        enrolment: Some(fleet.enrolment.clone()),
        login: None,
        name: name.to_owned(),
        device: NodeKey::generate().unwrap(),
        interface: Some("lo".to_owned()),
        drop,
    };
    receiver::start(options, &into, &state).unwrap()
}

async fn wait_for(receiver: &mut Receiver, wanted: impl Fn(&AgentEvent) -> bool) {
    let waiting = async {
        loop {
            match receiver.told.recv().await.expect("the receiver runs") {
                Told::Event(event) if wanted(&event) => return,
                Told::Event(AgentEvent::Failed { code, reason }) => panic!("{code}: {reason}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("within a minute");
}

#[test]
fn a_folder_crosses_loopback_by_multicast_with_losses() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let home = tempfile::tempdir().unwrap();
        let fleet = found(home.path()).await;
        let mut receivers: Vec<Receiver> =
            (0..3).map(|i| receive(&fleet, home.path(), &format!("r{i}"), 0.05)).collect();
        for receiver in &mut receivers {
            wait_for(receiver, |event| matches!(event, AgentEvent::Connected { .. })).await;
        }
        let folder = home.path().join("course");
        fs::create_dir(&folder).unwrap();
        let big: Vec<u8> =
            (0..5_000_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(folder.join("big.bin"), &big).unwrap();
        fs::write(folder.join("empty"), b"").unwrap();
        fs::create_dir(folder.join("sub")).unwrap();
        fs::write(folder.join("sub/note.txt"), b"hello").unwrap();
        let deliveries = fleet.send(&folder).await;
        assert_eq!(deliveries.len(), 3);
        for receiver in &mut receivers {
            wait_for(receiver, |event| matches!(event, AgentEvent::Installed { .. })).await;
        }
        for i in 0..3 {
            let copy = home.path().join(format!("r{i}/docs/course"));
            assert!(fs::read(copy.join("big.bin")).unwrap() == big, "receiver {i}");
            assert_eq!(fs::read(copy.join("empty")).unwrap(), b"");
            assert_eq!(fs::read(copy.join("sub/note.txt")).unwrap(), b"hello");
        }
        let traffic = fleet.server.handle.run(|node, _| {
            let releases: Vec<Digest> = node.registry().releases().map(|r| r.name.digest).collect();
            node.traffic(&releases)
        });
        let traffic = traffic.await.unwrap();
        println!("{traffic:?}");
        assert!(traffic.multicast >= 20_000_000, "{traffic:?}");
        assert!(traffic.unicast * 20 < traffic.multicast, "{traffic:?}");
        receivers.iter_mut().for_each(Receiver::stop);
        fleet.server.stop().await;
    });
}
