//! Messages and datagrams of protocol version 1, byte by byte.
//!
//! Rules of postcard, by which the files were written: an enum is the number of
//! its variant as a varint; integers above 8 bits are varints, seven bits a byte,
//! lowest first, the top bit set on all but the last; strings, byte strings and
//! lists have their length in front as a varint; arrays and structs have nothing
//! in front; `None` is 0, `Some` is 1 and the value; a `bool` is 0 or 1.

use std::fs;
use std::net::Ipv4Addr;

use fleetcast::codec::patch;
use fleetcast_core::crypto::aead::ChaCha;
use fleetcast_core::crypto::packet::Opener;
use fleetcast_core::crypto::sign::{Context, SigningKey, verify};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{
    BlockIndex, Epoch, GroupId, Ordinal, ReceiverId, ReleaseOrder, SegmentIndex, SessionId,
    StaticKey, SymbolIndex, VerifyingKey,
};
use fleetcast_core::limits::MAX_MESSAGE;
use fleetcast_core::tree::patch::{Patch, ShortId};
use fleetcast_core::tree::record::{NONE, PATCH, Record, encode_header};
use fleetcast_core::trust::beacon::{Beacon, fingerprint};
use fleetcast_core::wire::bounds::Bounds;
use fleetcast_core::wire::control::{
    Down, FailCode, Invitation, Object, RefusedWhy, ReleaseName, Standing, Up, WantRun, decode,
    encode,
};
use fleetcast_core::wire::nack::{Entry, Nack, NackWriter};
use fleetcast_core::wire::people::{AccountAnswer, Answer, Available, Relation};
use fleetcast_core::wire::segment::{Run, SegmentHead, SegmentView, SegmentWriter};
use fleetcast_core::wire::session::{Body, End, Header, symbol_head};
use fleetcast_core::wire::transport;
use fleetcast_tests::golden::{folder, golden};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

const SESSION: SessionId = SessionId(0x0102_0304);
const EPOCH: Epoch = Epoch(2);
const GROUP: GroupId = GroupId([0x11; 16]);
const RELEASE: ReleaseName = ReleaseName {
    group: GROUP,
    order: ReleaseOrder { reset_epoch: 1, sequence: 300 },
    digest: Digest([0x22; 32]),
};
const FLEET: [u8; 16] = [0xAA; 16];

fn up(name: &str, message: &Up<'_>) {
    let bytes = golden(&format!("up_{name}"));
    assert_eq!(decode::<Up<'_>>(&bytes).as_ref(), Ok(message), "{name}");
    assert_eq!(encode(message, &mut [0; 1_200]), Ok(&bytes[..]), "{name}");
}

fn down(name: &str, message: &Down<'_>) {
    let bytes = golden(&format!("down_{name}"));
    assert_eq!(decode::<Down<'_>>(&bytes).as_ref(), Ok(message), "{name}");
    assert_eq!(encode(message, &mut [0; 1_200]), Ok(&bytes[..]), "{name}");
}

#[test]
fn some_messages_have_the_bytes_that_a_hand_writes() {
    // Ping is variant 9; 300 is 0b10_0101100: low seven bits 0x2c with the top
    // bit set, then 2.
    assert_eq!(golden("down_ping"), [9, 0xAC, 2]);
    // Refused is variant 10, Revoked variant 2 of its reason.
    assert_eq!(golden("down_refused"), [10, 2]);
    // Joined is variant 2; 0x01020304 in groups of seven bits from below is
    // 0x04, 0x06, 0x08, 0x08; epoch 2 is one byte; true is 1.
    assert_eq!(golden("up_joined"), [2, 0x84, 0x86, 0x88, 0x08, 2, 1]);
    // HeaderRequest is variant 5; 70,000 = 0b100_0100010_1110000.
    assert_eq!(golden("up_header_request"), [5, 0x84, 0x86, 0x88, 0x08, 0xF0, 0xA2, 0x04]);
    // Ended is variant 6 of Down, KeyRequest of Up: only the direction tells.
    assert_eq!(golden("down_ended"), [6, 0x84, 0x86, 0x88, 0x08]);
    assert_eq!(golden("up_key_request"), golden("down_ended"));
    // Removed is variant 3; an identity is its bytes.
    assert_eq!(golden("down_removed"), [&[3][..], &[0x11; 16]].concat());
    // Pong is variant 11; 2^64 - 1 is nine times seven bits and one more.
    assert_eq!(golden("up_pong"), [&[11][..], &[0xFF; 9], &[1]].concat());
    // Cancelled is variant 7: group, reset epoch 1, sequence 300, digest.
    let release = [&[7][..], &[0x11; 16], &[1, 0xAC, 2], &[0x22; 32]].concat();
    assert_eq!(golden("down_cancelled"), release);
    // Hold is variant 11, Activate 12, and Staged 14 of Up, of the same release.
    for (name, variant) in [("down_hold", 11), ("down_activate", 12), ("up_staged", 14)] {
        assert_eq!(golden(name), [&[variant], &release[1..]].concat(), "{name}");
    }
}

#[test]
fn messages_about_who_a_receiver_is() {
    let hello = Up::Hello {
        name: "kiosk-1",
        version: "1.0.0",
        signing: VerifyingKey([0x33; 32]),
        codecs: 3,
        free: 1 << 40,
        authority: 7,
        nonce: [0x44; 16],
    };
    up("hello", &hello);
    up("holds", &Up::Holds { releases: [RELEASE].into_iter().collect(), more: true });
    up("pong", &Up::Pong { nonce: u64::MAX });
    let id = ReceiverId([0x66; 16]);
    let (standing, time, nonce) = (Standing::Member, 1_700_000_000, [0x44; 16]);
    down("welcome", &Down::Welcome { id, name: "kiosk-1", standing, time, nonce });
    let (version, offset, total) = (2, 1_127, 1_500);
    down("authority", &Down::Authority { version, offset, total, bytes: b"piece" });
    down("membership", &Down::Membership { certificate: b"certificate", voucher: b"voucher" });
    down("removed", &Down::Removed { group: GROUP });
    down("refused", &Down::Refused { why: RefusedWhy::Revoked });
    down("ping", &Down::Ping { nonce: 300 });
    let newest = [RELEASE].into_iter().collect();
    let (authority, signature) = (7, &[0x55; 64][..]);
    down("freshness", &Down::Freshness { nonce, authority, newest, signature });
}

#[test]
fn messages_about_what_people_ask_for() {
    up("groups", &Up::Groups { after: Some(GROUP) });
    up("join", &Up::Join { group: "Süd" });
    up("leave", &Up::Leave { group: "nord" });
    let (user, password) = ("ann", &b"correct horse"[..]);
    up("login", &Up::Login { user, password });
    up("password", &Up::Password { user, password, new: &[b'p'; 128] });
    let listed = [
        Available { group: GROUP, name: "nord", open: false, relation: Relation::Denied },
        Available {
            group: GroupId([0x12; 16]),
            name: "Süd",
            open: true,
            relation: Relation::Member,
        },
    ];
    down("groups", &Down::Groups { more: true, groups: listed.into_iter().collect() });
    let answer = Answer::Denied { reason: "not on this floor" };
    down("answer", &Down::Answer { group: "nord", answer });
    down("account", &Down::Account { answer: AccountAnswer::Later });
    // By hand: Account is variant 15, Later variant 3 of its answer.
    assert_eq!(golden("down_account"), [15, 3]);
    // Join is variant 16; ü is two bytes in UTF-8.
    assert_eq!(golden("up_join"), [16, 4, b'S', 0xC3, 0xBC, b'd']);
}

#[test]
fn the_longest_page_of_groups_and_the_longest_passwords_fit_a_message() {
    let name = "n".repeat(64);
    let one = Available { group: GROUP, name: &name, open: true, relation: Relation::Member };
    let groups = std::iter::repeat_n(one, 12).collect();
    let mut buffer = [0; MAX_MESSAGE];
    assert!(encode(&Down::Groups { more: true, groups }, &mut buffer).is_ok());
    let (password, new) = (&[0; 128][..], &[0; 128][..]);
    assert!(encode(&Up::Password { user: &name, password, new }, &mut buffer).is_ok());
}

#[test]
fn messages_about_sessions() {
    up("joined", &Up::Joined { session: SESSION, epoch: EPOCH, heard: true });
    up("nack_reserved", &Up::Nack);
    up("bye", &Up::Bye);
    down("bye", &Down::Bye { spread_ms: 5_000 });
    // By hand: Bye is variant 19; 5,000 = 39 · 128 + 8 as a varint.
    assert_eq!(golden("down_bye"), [19, 0x88, 39]);
    up("staged", &Up::Staged { release: RELEASE });
    up("findings", &Up::Findings { release: RELEASE, changes: 300, atomic: true });
    let (received, lost, held, total) = (1_000, 24, 65_536, 1_000_000);
    up("progress", &Up::Progress { session: SESSION, received, lost, counter: 2_000, held, total });
    up("header_request", &Up::HeaderRequest { session: SESSION, block: BlockIndex(70_000) });
    up("key_request", &Up::KeyRequest { session: SESSION });
    up("finished", &Up::Finished { session: SESSION, poisoned: 3 });
    up("poisoned", &Up::Poisoned { session: SESSION, block: BlockIndex(9) });
    let invitation = Invitation {
        session: SESSION,
        epoch: EPOCH,
        key: [0x77; 32],
        address: Ipv4Addr::new(239, 77, 0, 1),
        port: 7_413,
        slot: 0,
        release: RELEASE,
        root_len: 500,
        symbol: 1_434,
        sources: 192,
        first_block: BlockIndex(0),
        receivers: 200,
        backoff_us: 4_000,
        report_ms: 2_000,
        salt: [0x88; 8],
        payload: 1 << 30,
        full: true,
    };
    down("invitation", &Down::Invitation(invitation));
    down("epoch", &Down::Epoch { session: SESSION, epoch: Epoch(3), key: [0x99; 32] });
    down("ended", &Down::Ended { session: SESSION });
    down("give_up", &Down::GiveUp { session: SESSION, block: BlockIndex(70_000) });
    let (offset, total, bytes) = (1_127, 1_500, b"piece");
    down("header", &Down::Header { session: SESSION, offset, total, bytes });
}

#[test]
fn messages_about_releases() {
    let (offset, total, bytes) = (1_127, 1_500, b"piece");
    up("evidence", &Up::Evidence { release: RELEASE, offset, total, bytes });
    let runs = [
        WantRun { object: Object::Index, first: 5, count: 2 },
        WantRun { object: Object::Content, first: 128, count: 200 },
    ];
    let runs = runs.into_iter().collect();
    up("want", &Up::Want { release: RELEASE, page: 1, more: true, runs });
    let (at, receipt) = (1_700_000_000, &[0x55; 64][..]);
    up("installed", &Up::Installed { release: RELEASE, at, receipt });
    let (code, reason) = (FailCode::BadTree, "names out of order");
    up("failed", &Up::Failed { release: RELEASE, code, reason });
    down("cancelled", &Down::Cancelled { release: RELEASE });
    down("hold", &Down::Hold { release: RELEASE });
    down("activate", &Down::Activate { release: RELEASE });
}

// PROTOCOL M6
#[test]
fn what_a_board_has_room_for() {
    let board = Bounds { symbol: 510, sources: 10, interleave: 1, segment: 16, behind: 128 };
    assert_eq!(golden("up_bounds"), board.to_bytes());
    assert_eq!(Bounds::parse(&golden("up_bounds")), Ok(board));
}

#[test]
fn a_nack() {
    let bytes = golden("nack");
    let plain = Entry { block: BlockIndex(6), missing: 2, passed: 1, sources: &[] };
    let spent = Entry { block: BlockIndex(7), missing: 2, passed: 64, sources: &[0, 191] };
    let nack = Nack::parse(&bytes).unwrap();
    assert_eq!((nack.session(), nack.epoch()), (SESSION, EPOCH));
    assert!(nack.entries().eq([plain, spent]));
    let mut writer = NackWriter::new(vec![0; MAX_MESSAGE], SESSION, EPOCH);
    assert!(writer.push(plain) && writer.push(spent));
    assert_eq!(writer.message(), Some(&bytes[..]));
}

#[test]
fn headers_of_datagrams() {
    let header = Header { epoch: EPOCH, session: SESSION, counter: 0x1122_3344_5566_7788 };
    assert_eq!(golden("session_header"), header.to_bytes());
    let whole = [golden("session_header"), vec![0; 17]].concat();
    assert_eq!(Header::parse(&whole), Ok(header));
    // By hand: kind 0, parity 200, 70,000 = 0x00011170.
    assert_eq!(golden("symbol_head"), [0, 200, 0x70, 0x11, 0x01, 0]);
    assert_eq!(golden("symbol_head"), symbol_head(SymbolIndex(200), BlockIndex(70_000)));
    let header = transport::Header { receiver: 0x0102_0304, counter: 258 };
    assert_eq!(golden("transport_header"), header.write());
    let whole = [golden("transport_header"), vec![0; 16]].concat();
    assert_eq!(transport::Header::read(&whole), Ok(header));
    let content = transport::Content::Reliable(7);
    let frame = transport::Frame { acknowledgement: 9, content };
    assert_eq!(golden("transport_frame"), frame.write());
    assert_eq!(transport::Frame::read(&golden("transport_frame")), Ok(frame));
}

/// The signature behind a control body is the controller's.
fn signed_by_the_controller(body: &[u8], signature: &[u8; 64]) {
    let key = SigningKey::from_seed(&[3; 32]);
    let (session, epoch) = (SESSION.0.to_le_bytes(), EPOCH.0.to_le_bytes());
    let parts = [&FLEET[..], &session, &epoch, body];
    assert_eq!(verify(&key.verifying_key(), Context::Session, &parts, signature), Ok(()));
    assert_eq!(key.sign(Context::Session, &parts), *signature);
    // And ring says so too, over the bytes that the protocol names.
    let message = [&b"fleetcast session v1\0"[..], &parts.concat()].concat();
    let public =
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.verifying_key().0);
    assert!(public.verify(&message, signature).is_ok());
}

#[test]
fn a_segment_header() {
    let bytes = golden("segment");
    let head = SegmentHead {
        last: true,
        proactive: 3,
        blocks: 2,
        sent: true,
        segment: SegmentIndex(7),
        first: BlockIndex(100),
        sequence: 9,
        slots: 2,
    };
    let run = |first, count| Run { first: Ordinal(first), count };
    let mut out = [0; 300];
    let mut writer = SegmentWriter::new(&mut out, head).unwrap();
    writer.block(Object::Index, 5_000).unwrap();
    writer.runs(&[run(1, 2)]).unwrap();
    writer.runs(&[]).unwrap();
    writer.block(Object::Content, 70_000).unwrap();
    writer.runs(&[run(3, 1), run(9, 4)]).unwrap();
    writer.runs(&[run(8, 5)]).unwrap();
    let len = writer.finish();
    assert_eq!(out[..len], bytes[..bytes.len() - 64]);
    let view = SegmentView::parse(&bytes).unwrap();
    assert_eq!((view.segment(), view.first_block()), (head.segment, head.first));
    assert!(view.is_last() && view.is_sent() && view.proactive() == 3);
    let block = view.block(1).unwrap();
    assert_eq!((block.object, block.bytes), (Object::Content, 70_000));
    assert!(block.runs(0).eq([run(3, 1), run(9, 4)]) && block.runs(1).eq([run(8, 5)]));
    signed_by_the_controller(view.signed(), &view.signature());
}

#[test]
fn an_echo_and_an_end() {
    let bytes = golden("echo");
    let Ok(Body::Echo(echo)) = Body::parse(&bytes) else { panic!("no echo") };
    assert!(echo.entries().eq([(BlockIndex(6), 4), (BlockIndex(70_000), 64)]));
    let bytes = golden("end");
    let Ok(Body::End(end)) = Body::parse(&bytes) else { panic!("no end") };
    assert_eq!((end.segments(), end.blocks()), (8, 128));
    assert_eq!(end.signed(), End::unsigned(8, 128, 8));
    signed_by_the_controller(end.signed(), &end.signature());
}

#[test]
fn a_whole_session_datagram_opens_with_ours_and_with_ring() {
    let bytes = golden("session_datagram");
    let header = Header { epoch: EPOCH, session: SESSION, counter: 5 };
    assert_eq!(Header::parse(&bytes), Ok(header));
    let body = [&symbol_head(SymbolIndex(1), BlockIndex(6))[..], b"symbol"].concat();
    let mut ours = bytes.clone();
    let opened = Opener::<ChaCha>::new(&[0x77; 32]).open(header, &mut ours).unwrap();
    assert_eq!(*opened, body);
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[0x77; 32]).unwrap());
    // Four zeros, then the counter.
    let nonce = || Nonce::assume_unique_for_key([0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    let mut theirs = bytes[16..].to_vec();
    let opened = key.open_in_place(nonce(), Aad::from(&bytes[..16]), &mut theirs).unwrap();
    assert_eq!(*opened, body);
    let mut sealed = body;
    let aad = Aad::from(header.to_bytes());
    key.seal_in_place_append_tag(nonce(), aad, &mut sealed).unwrap();
    assert_eq!([&header.to_bytes()[..], &sealed].concat(), bytes);
}

#[test]
fn a_beacon() {
    let bytes = golden("beacon");
    let key = SigningKey::from_seed(&[3; 32]);
    let beacon = Beacon {
        port: 7_411,
        time: 1_700_000_000,
        authority: Digest([0x22; 32]),
        exchange: StaticKey([0x33; 32]),
        signing: key.verifying_key(),
    };
    assert_eq!(Beacon::read(&bytes), Ok(beacon));
    assert_eq!(beacon.write(&key), *bytes);
    // Computed with Python's hashlib.
    let expected = "24c72fc31a870f02800dece94b4415074b269ae8f8b0660d0567b6efd8f37291";
    assert_eq!(fingerprint(&beacon.authority, &beacon.exchange).to_string(), expected);
    let ring =
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.verifying_key().0);
    let signed = [&b"fleetcast beacon v1\0"[..], &bytes[..108]].concat();
    assert!(ring.verify(&signed, &bytes[108..]).is_ok());
}

#[test]
fn a_chunk_record() {
    let text = b"hello, fleet";
    // By hand: no codec, twice twelve in three bytes, the chunk.
    assert_eq!(golden("record"), [&[0, 12, 0, 0, 12, 0, 0][..], text].concat());
    let bytes = golden("record");
    let (record, rest) = Record::parse(&bytes).unwrap();
    assert_eq!((record.codec, record.len, record.encoded, rest.len()), (NONE, 12, &text[..], 0));
    assert_eq!(encode_header(NONE, 12, 12), Ok([0, 12, 0, 0, 12, 0, 0]));
}

// PROTOCOL R5
#[test]
fn a_patch_record() {
    let lines = |before: &str, after: &str| -> Vec<u8> {
        (0..20).flat_map(|n| format!("{before}line {n} of the {after}\n").into_bytes()).collect()
    };
    let (first, second) = (lines("", "first chunk"), lines("and ", "second"));
    let chunk = [&first[100..], b"two words", &second[..300]].concat();
    let bytes = golden("record_patch");
    let (record, rest) = Record::parse(&bytes).unwrap();
    assert_eq!((record.codec, record.len, rest.len()), (PATCH, chunk.len(), 0));
    let patch = Patch::parse(record.encoded).unwrap();
    let names: Vec<ShortId> = patch.predecessors().collect();
    assert_eq!(names, [&first, &second].map(|bytes| ShortId::of(&Digest::of(bytes))));
    let mut decoded = Vec::new();
    let found = [&first[..], &second];
    let find = |name| found.into_iter().find(|bytes| ShortId::of(&Digest::of(bytes)) == name);
    patch::decode_record(&bytes, find, &mut decoded).unwrap();
    assert_eq!(decoded, chunk);
}

#[test]
fn every_golden_file_is_checked_by_some_test() {
    let tests = [
        include_str!("golden.rs"),
        include_str!("golden_authority.rs"),
        include_str!("golden_documents.rs"),
    ]
    .concat();
    let mut count = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.strip_suffix(".hex").expect("only hex files");
        let short = name.trim_start_matches("up_").trim_start_matches("down_");
        let checked = format!("golden(\"{name}\")");
        let (up, down) = (format!("up(\"{short}\""), format!("down(\"{short}\""));
        // Of several that one test reads in turn.
        let listed = format!("(\"{name}\", ");
        let found = [checked, listed, up, down].iter().any(|call| tests.contains(call.as_str()));
        assert!(found, "{name}");
        count += 1;
    }
    // 24 messages up, 19 down, 23 others.
    assert_eq!(count, 66);
}
