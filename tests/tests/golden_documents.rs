//! Signed documents and trees of protocol version 1, byte by byte.
//!
//! Ed25519 is deterministic (RFC 8032), so signatures are golden too. Keys are
//! made from seeds of 32 equal bytes: admins 1 and 2, controller 3, device 5.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{FleetId, GroupId, ReleaseOrder, StaticKey, TokenId, VerifyingKey};
use fleetcast_core::tree::entry::{
    ALL_DEPTHS, EntryReader, FileEntry, MAX_ENTRY, NameSlot, TreeEvent, TreeTotals,
    encode_directory, encode_file,
};
use fleetcast_core::tree::index::TreeTop;
use fleetcast_core::tree::path::Component;
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::trust::authority::{AuthorityDocument, Controller, Role, TrustedAuthority};
use fleetcast_core::trust::document::{
    Fingerprint, SignedDocument, add_signature, assemble, signed_len,
};
use fleetcast_core::trust::membership::{Membership, VerifiedMembership, Voucher};
use fleetcast_core::trust::release::{FORMAT, ReleaseRoot};
use fleetcast_core::trust::statement::{Freshness, Receipt};
use fleetcast_core::wire::control::{ReleaseName, decode, encode};
use fleetcast_tests::golden::golden;

const FLEET: FleetId = FleetId([0xAA; 16]);
const GROUP: GroupId = GroupId([0x11; 16]);
const DEVICE: StaticKey = StaticKey([0xEE; 32]);
const RELEASE: ReleaseName = ReleaseName {
    group: GROUP,
    order: ReleaseOrder { reset_epoch: 1, sequence: 300 },
    digest: Digest([0x22; 32]),
};
const CHUNK: &[u8] = b"hello, fleet";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn public(seed: u8) -> VerifyingKey {
    key(seed).verifying_key()
}

/// The document of a body, signed by the keys of these seeds.
fn signed(context: Context, body: &[u8], seeds: &[u8]) -> Vec<u8> {
    let mut out = vec![0; signed_len(body.len(), seeds.len())];
    let mut len = assemble(body, &mut out).unwrap();
    for &seed in seeds {
        len = add_signature(&mut out, len, context, &key(seed)).unwrap();
    }
    assert_eq!(len, out.len());
    out
}

fn authority() -> AuthorityDocument {
    let role = Role {
        key: public(4),
        groups: [GROUP].into_iter().collect(),
        prefix: "maps".try_into().unwrap(),
        cap: 1 << 20,
        executables: false,
    };
    let controller = Controller { exchange: StaticKey([0xBB; 32]), signing: public(3) };
    AuthorityDocument {
        version: 1,
        fleet: FLEET,
        admins: [public(1), public(2)].into_iter().collect(),
        threshold: 2,
        controllers: [controller].into_iter().collect(),
        roles: [role].into_iter().collect(),
        revoked: [Fingerprint([0xCC; 8])].into_iter().collect(),
        reset_epoch: 1,
    }
}

fn trusted() -> TrustedAuthority {
    let bytes = golden("authority");
    let digest = SignedDocument::parse(&bytes, 1_024).unwrap().digest(Context::Authority);
    TrustedAuthority::pin(&bytes, digest).unwrap()
}

fn voucher() -> Voucher {
    Voucher {
        fleet: FLEET,
        token: TokenId([0xDD; 16]),
        groups: [GROUP].into_iter().collect(),
        uses: 40,
        not_after: 1_800_000_000,
    }
}

#[test]
fn an_authority_document() {
    let mut body = [0; 1_024];
    let len = authority().encode(&mut body).unwrap();
    assert_eq!(signed(Context::Authority, &body[..len], &[1, 2]), golden("authority"));
    assert_eq!(*trusted().document(), authority());
}

#[test]
fn a_voucher_and_a_membership_made_from_it() {
    let mut body = [0; 256];
    let body = encode(&voucher(), &mut body).unwrap();
    assert_eq!(signed(Context::Voucher, body, &[1, 2]), golden("voucher"));
    // By hand: fleet, token, one group, 40, 1,800,000,000 = 0x6b49d200 in sevens.
    let expected =
        [&[0xAA; 16][..], &[0xDD; 16], &[1], &[0x11; 16], &[40], &[0x80, 0xA4, 0xA7, 0xDA, 0x06]];
    assert_eq!(body, expected.concat());
    assert_eq!(decode::<Voucher>(body), Ok(voucher()));
    let membership = Membership {
        fleet: FLEET,
        device: DEVICE,
        group: GROUP,
        serial: 5,
        issued: 1_700_000_000,
        not_after: 0,
        voucher: Some(Context::Voucher.digest(body)),
    };
    let mut body = [0; 256];
    let body = encode(&membership, &mut body).unwrap();
    assert_eq!(signed(Context::Membership, body, &[3]), golden("membership"));
    let verified =
        VerifiedMembership::verify(&trusted(), &DEVICE, &golden("membership"), &golden("voucher"));
    assert_eq!(*verified.unwrap().membership(), membership);
}

#[test]
fn an_entry_table() {
    let name = |name: &'static str| Component::parse(name.as_bytes()).unwrap();
    let mut table = Vec::new();
    let mut out = [0; MAX_ENTRY];
    let len = encode_directory(0, name("docs"), 1_700_000_000, &mut out).unwrap();
    table.extend_from_slice(&out[..len]);
    let run = name("run.sh");
    let (size, chunks) = (12, 1);
    let run = FileEntry { depth: 1, name: run, executable: true, mtime: -1, size, chunks };
    let len = encode_file(&run, &mut out).unwrap();
    table.extend_from_slice(&out[..len]);
    table.extend_from_slice(&ChunkRef::of(CHUNK).unwrap().encode());
    let empty = name("empty");
    let empty =
        FileEntry { depth: 0, name: empty, executable: false, mtime: 0, size: 0, chunks: 0 };
    let len = encode_file(&empty, &mut out).unwrap();
    table.extend_from_slice(&out[..len]);
    assert_eq!(table, golden("entry_table"));
    // By hand: the directory is kind 0 at depth 0, four letters, 0x6553f100 seconds.
    let directory = [&[0, 0, 4][..], b"docs", &[0, 0xF1, 0x53, 0x65, 0, 0, 0, 0]].concat();
    assert_eq!(golden("entry_table")[..15], directory);
    // An executable file at depth 1 a second before 1970.
    let file = [&[0x81, 1, 6][..], b"run.sh", &[0xFF; 8], &[12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]];
    assert_eq!(golden("entry_table")[15..44], file.concat());
}

#[test]
fn an_entry_table_is_read_back() {
    let table = golden("entry_table");
    let totals = TreeTotals { entries: 3, files: 2, content_bytes: 12, entry_bytes: 108 };
    let mut names = vec![NameSlot::EMPTY; ALL_DEPTHS];
    let mut reader = EntryReader::new(&mut names, totals);
    let mut seen = Vec::new();
    let fed = reader.feed(&table, &mut |event| {
        seen.push(match event {
            TreeEvent::Directory { depth, name, mtime } => {
                format!("{depth} {:?} {mtime}", name.as_bytes())
            }
            TreeEvent::File { depth, name, executable, mtime, size, chunks } => {
                format!("{depth} {:?} {executable} {mtime} {size} {chunks}", name.as_bytes())
            }
            TreeEvent::Chunk(chunk) => format!("{} {}", chunk.id, chunk.len),
        });
        Ok::<(), std::convert::Infallible>(())
    });
    fed.unwrap();
    reader.finish().unwrap();
    let expected = [
        format!("0 {:?} 1700000000", b"docs"),
        format!("1 {:?} true -1 12 1", b"run.sh"),
        format!("{} 12", Digest::of(CHUNK)),
        format!("0 {:?} false 0 0 0", b"empty"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_release_root() {
    let table = golden("entry_table");
    let top = ChunkRef::of(&table).unwrap().encode();
    let tree = TreeTop {
        levels: [1].into_iter().collect(),
        entries: 3,
        files: 2,
        content_bytes: 12,
        content_chunks: 1,
        index_bytes: 108,
        entry_bytes: 108,
        top: &top,
    };
    let root = ReleaseRoot {
        format: FORMAT,
        fleet: FLEET,
        authority: 7,
        group: GROUP,
        group_name: "kiosks",
        order: RELEASE.order,
        created: 1_700_000_000,
        expires: 0,
        label: "spring",
        standard: tree,
        constrained: None,
    };
    let mut body = [0; 4_096];
    let len = root.encode(&mut body).unwrap();
    assert_eq!(signed(Context::Release, &body[..len], &[1]), golden("release_root"));
    let bytes = golden("release_root");
    let document = SignedDocument::parse(&bytes, 4_096).unwrap();
    assert_eq!(ReleaseRoot::decode(document.body()), Ok(root));
    assert_eq!(document.verify_threshold(Context::Release, [public(1)].into_iter(), 1), Ok(()));
}

/// The signature counts, is the one we make, and ring agrees about the bytes.
fn signature_of(seed: u8, context: Context, prefix: &[u8], body: &[u8]) -> [u8; 64] {
    let signature = key(seed).sign(context, &[body]);
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let theirs = pair.sign(&[prefix, body].concat());
    assert_eq!(theirs.as_ref(), signature);
    signature
}

#[test]
fn a_receipt_and_a_freshness_statement() {
    let receipt = Receipt { device: DEVICE, release: RELEASE, at: 1_700_000_000 };
    let body = receipt.body().unwrap();
    let signature = signature_of(5, Context::Receipt, b"fleetcast receipt v1\0", &body);
    assert_eq!([&body[..], &signature].concat(), golden("receipt"));
    assert_eq!(decode::<Receipt>(&body), Ok(receipt));
    assert_eq!(receipt.verify(&public(5), &signature), Ok(()));
    let newest = [RELEASE].into_iter().collect();
    let freshness = Freshness { fleet: FLEET, nonce: [0x44; 16], authority: 7, newest };
    let body = freshness.body().unwrap();
    let signature = signature_of(3, Context::Freshness, b"fleetcast freshness v1\0", &body);
    assert_eq!([&body[..], &signature].concat(), golden("freshness"));
    assert_eq!(decode::<Freshness>(&body), Ok(freshness.clone()));
    assert_eq!(freshness.verify(&trusted(), &signature), Ok(()));
}
