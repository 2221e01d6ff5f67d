//! The admin of a simulated fleet: keys, documents, releases of random trees,
//! and the model of what receivers may show.

use std::collections::BTreeMap;

use fleetcast::codec::Encoder;
use fleetcast::packs::{ChunkStore, MemoryChunks};
use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{FleetId, GroupId, ReleaseOrder, StaticKey, TokenId};
use fleetcast_core::limits::{MAX_ROOT, MAX_SIGNATURES};
use fleetcast_core::trust::authority::{AuthorityDocument, Controller, TrustedAuthority};
use fleetcast_core::trust::document::{SignedDocument, add_signature, assemble, signed_len};
use fleetcast_core::trust::membership::{MAX_MEMBERSHIP, MAX_VOUCHER, Membership, Voucher};
use fleetcast_core::trust::release::{FORMAT, ReleaseRoot};
use fleetcast_core::wire::control::{CODEC_LZ4, CODEC_ZSTD, ReleaseName, encode};

use crate::disk::Node;
use crate::random::Random;
use crate::release::TestRelease;

/// A directory's content by path.
pub type Tree = BTreeMap<String, Node>;

/// Seconds since 1970 at the beginning of every simulation.
pub const EPOCH: u64 = 1_800_000_000;

/// A release that was signed: what a receiver may show.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Group, order, digest.
    pub name: ReleaseName,
    /// The signed root document.
    pub document: Vec<u8>,
    /// The tree.
    pub tree: Tree,
    /// Bytes of its files.
    pub bytes: u64,
}

/// An admin with the only key of a fleet.
pub struct Admin {
    key: SigningKey,
    random: Random,
    /// The server's secret X25519 key.
    pub exchange_secret: [u8; 32],
    /// The seed of the server's Ed25519 key.
    pub signing_seed: [u8; 32],
    /// The authority document, and what it says.
    pub authority: (Vec<u8>, TrustedAuthority),
    /// Every release ever signed.
    pub signed: Vec<Signed>,
    /// Bytes at which files are cut; by lot, where it is not said.
    pub cut: Option<usize>,
    /// When what it signs from now on expires, in seconds since 1970; 0: never.
    pub expires: u64,
}

impl Admin {
    /// A fleet of its own.
    ///
    /// # Panics
    /// Never: its documents are sound.
    #[must_use]
    pub fn new(mut random: Random) -> Self {
        let key = SigningKey::from_seed(&random.bytes());
        let (exchange_secret, signing_seed) = (random.bytes(), random.bytes());
        let mut fleet = FleetId([0; 16]);
        random.fill(&mut fleet.0);
        let controller = Controller {
            exchange: *StaticPair::from_secret(&exchange_secret).public(),
            signing: SigningKey::from_seed(&signing_seed).verifying_key(),
        };
        let document = AuthorityDocument {
            version: 1,
            fleet,
            admins: [key.verifying_key()].into_iter().collect(),
            threshold: 1,
            controllers: [controller].into_iter().collect(),
            roles: Default::default(),
            revoked: Default::default(),
            reset_epoch: 0,
        };
        let mut body = [0; 1_024];
        let len = document.encode(&mut body).expect("a small document");
        let bytes = sign(&key, Context::Authority, &body[..len]);
        let parsed = SignedDocument::parse(&bytes, 1_024).expect("just made");
        let pinned = parsed.digest(Context::Authority);
        let trusted = TrustedAuthority::pin(&bytes, pinned).expect("signed by its admin");
        let authority = (bytes, trusted);
        Self {
            key,
            random,
            exchange_secret,
            signing_seed,
            authority,
            signed: Vec::new(),
            cut: None,
            expires: 0,
        }
    }

    /// The server's public key, as an enrolment code names it.
    #[must_use]
    pub fn server_key(&self) -> StaticKey {
        *StaticPair::from_secret(&self.exchange_secret).public()
    }

    /// An invitation: the signed voucher and its token.
    ///
    /// # Panics
    /// When there are more groups than a voucher takes.
    pub fn voucher(&mut self, groups: &[GroupId], uses: u32) -> (Vec<u8>, [u8; 16]) {
        let mut token = [0; 16];
        self.random.fill(&mut token);
        let voucher = Voucher {
            fleet: self.fleet(),
            token: TokenId::of(&token),
            groups: groups.iter().copied().collect(),
            uses,
            not_after: EPOCH + 86_400,
        };
        let mut body = [0; MAX_VOUCHER];
        let body = encode(&voucher, &mut body).expect("bounded");
        (sign(&self.key, Context::Voucher, body), token)
    }

    /// A membership certificate of a device in a group.
    ///
    /// # Panics
    /// Never: it is bounded.
    pub fn certificate(&mut self, device: StaticKey, group: GroupId, serial: u64) -> Vec<u8> {
        self.certificate_by(&self.key, device, group, serial)
    }

    /// The same, signed by another admin of the fleet.
    ///
    /// # Panics
    /// Never: it is bounded.
    #[must_use]
    pub fn certificate_by(
        &self,
        key: &SigningKey,
        device: StaticKey,
        group: GroupId,
        serial: u64,
    ) -> Vec<u8> {
        let fleet = self.fleet();
        let issued = EPOCH;
        let membership =
            Membership { fleet, device, group, serial, issued, not_after: 0, voucher: None };
        let mut body = [0; MAX_MEMBERSHIP];
        let body = encode(&membership, &mut body).expect("bounded");
        sign(key, Context::Membership, body)
    }

    /// Signs a release of a tree and puts its chunks into the server's store.
    ///
    /// # Panics
    /// When the tree is none that a signer would make.
    pub fn release(
        &mut self,
        group: GroupId,
        group_name: &str,
        order: ReleaseOrder,
        tree: &Tree,
        store: &MemoryChunks,
    ) -> &Signed {
        let drawn = 1_usize << self.random.within(11, 15);
        let chunk = self.cut.unwrap_or(drawn);
        let built = TestRelease::new(group, order.sequence, tree, (chunk, 2_048));
        let root = ReleaseRoot {
            format: FORMAT,
            fleet: self.fleet(),
            authority: 1,
            group,
            group_name,
            order,
            created: EPOCH,
            expires: self.expires,
            label: "simulated",
            standard: built.tree.clone(),
            constrained: None,
        };
        let mut body = [0; MAX_ROOT];
        let len = root.encode(&mut body).expect("a tree that fits its root");
        let document = sign(&self.key, Context::Release, &body[..len]);
        let digest = Context::Release.digest(&body[..len]);
        let mut encoder = Encoder::new(CODEC_LZ4 | CODEC_ZSTD, true).expect("memory");
        for chunk in built.index.iter().chain(&built.content) {
            let mut record = Vec::new();
            encoder.encode(chunk, &mut record).expect("chunks are bounded");
            store.put(Digest::of(chunk), &record).expect("memory does not fail");
        }
        let bytes = built.tree.content_bytes;
        let name = ReleaseName { group, order, digest };
        self.signed.push(Signed { name, document, tree: tree.clone(), bytes });
        self.signed.last().expect("just pushed")
    }

    /// Signs a root, whatever it says; the name that it gives its release, and the
    /// signed document.
    ///
    /// # Panics
    /// When it is too long for a root.
    #[must_use]
    pub fn sign_root(&self, root: &ReleaseRoot<'_>) -> (ReleaseName, Vec<u8>) {
        let mut body = [0; MAX_ROOT];
        let body = encode(root, &mut body).expect("short enough for a root");
        let name = root.name(Context::Release.digest(body));
        (name, sign(&self.key, Context::Release, body))
    }

    /// The authority document after this admin's, changed, and signed by it and by `more`.
    ///
    /// # Panics
    /// When no document could say that.
    #[must_use]
    pub fn next_authority(
        &self,
        change: impl FnOnce(&mut AuthorityDocument),
        more: &[&SigningKey],
    ) -> Vec<u8> {
        let mut document = self.authority.1.document().clone();
        document.version += 1;
        change(&mut document);
        let mut body = [0; 1_024];
        let len = document.encode(&mut body).expect("a document that can be");
        let mut out = vec![0; signed_len(len, MAX_SIGNATURES)];
        let mut len = assemble(&body[..len], &mut out).expect("room for the body");
        for key in [&[&self.key], more].concat() {
            len = add_signature(&mut out, len, Context::Authority, key).expect("room for it");
        }
        out.truncate(len);
        out
    }

    const fn fleet(&self) -> FleetId {
        self.authority.1.document().fleet
    }
}

fn sign(key: &SigningKey, context: Context, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; signed_len(body.len(), MAX_SIGNATURES)];
    let len = assemble(body, &mut out).expect("room for the body");
    let len = add_signature(&mut out, len, context, key).expect("room for a signature");
    out.truncate(len);
    out
}

/// A tree of about so many bytes: files of all sizes, some in directories.
pub fn random_tree(random: &mut Random, bytes: u64) -> Tree {
    let mut tree = Tree::new();
    let mut left = bytes;
    for number in 0.. {
        let size = if number > 12 { left } else { random.below(left / 2 + 2) };
        let directory = random.below(4);
        let path = if directory < 2 {
            format!("f{number}")
        } else {
            let dir = format!("d{directory}");
            tree.entry(dir.clone()).or_insert(Node::Directory(77));
            format!("{dir}/f{number}")
        };
        tree.insert(path, Node::File(random.below(3) == 0, 1_000, random_bytes(random, size)));
        left -= size;
        if left == 0 {
            return tree;
        }
    }
    tree
}

/// The next version of a tree: files changed, grown, new, gone.
pub fn evolve(random: &mut Random, tree: &mut Tree, most: u64) {
    let paths: Vec<String> = tree.keys().cloned().collect();
    for path in paths {
        let Some(Node::File(executable, mtime, data)) = tree.get_mut(&path) else { continue };
        match random.below(6) {
            0 if !data.is_empty() => {
                let at = random.below(data.len() as u64) as usize;
                data[at] ^= 0x55;
                *mtime += 1;
            }
            1 => {
                let size = random.below(most / 4 + 1);
                data.extend(random_bytes(random, size));
                *mtime += 1;
            }
            2 => *executable ^= true,
            3 => {
                tree.remove(&path);
            }
            _ => {}
        }
    }
    let number = random.below(1_000);
    let size = random.below(most / 2 + 1);
    let data = random_bytes(random, size);
    tree.insert(format!("n{number}"), Node::File(false, 2_000, data));
}

/// Noise, or a pattern that compresses and repeats.
fn random_bytes(random: &mut Random, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    if random.below(4) == 0 {
        let period = random.within(1, 5_000);
        let salt = random.below(256);
        bytes.iter_mut().enumerate().for_each(|(i, b)| *b = ((i as u64 % period) ^ salt) as u8);
    } else {
        random.fill(&mut bytes);
    }
    bytes
}
