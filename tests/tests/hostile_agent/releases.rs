//! Releases that must not be installed, sent by a server that holds every key but
//! the admin's: the attacks that TUF names, as far as a receiver alone meets them.

use std::net::Ipv4Addr;

use fleetcast::disk::Disk as _;
use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::ids::{Epoch, GroupId, ReleaseOrder, SessionId};
use fleetcast_core::limits::{MAX_ROOT, MAX_SIGNATURES};
use fleetcast_core::time::Duration;
use fleetcast_core::tree::index::TreeTop;
use fleetcast_core::tree::record::encode_header;
use fleetcast_core::trust::document::{SignedDocument, add_signature, assemble, signed_len};
use fleetcast_core::trust::release::{FORMAT, ReleaseRoot};
use fleetcast_core::wire::control::{Down, Invitation, Object, ReleaseName, Up};
use fleetcast_tests::admin::{Admin, EPOCH};
use fleetcast_tests::node::server_address;
use fleetcast_tests::random::Random;
use fleetcast_tests::voice::Voice;

use crate::captor::{Captor, invitation};

pub(crate) const GROUP: GroupId = GroupId([1; 16]);
const SYMBOL: usize = 1_434;

/// A root of an empty tree: it is complete when the root is here.
pub(crate) fn root(admin: &Admin, sequence: u64) -> ReleaseRoot<'static> {
    ReleaseRoot {
        format: FORMAT,
        fleet: admin.authority.1.document().fleet,
        authority: 1,
        group: GROUP,
        group_name: "kiosks",
        order: ReleaseOrder { reset_epoch: 0, sequence },
        created: EPOCH,
        expires: 0,
        label: "",
        standard: TreeTop::EMPTY,
        constrained: None,
    }
}

/// The document of `signed`'s body, signed by these keys instead.
fn signed_by(signed: &[u8], keys: &[SigningKey]) -> Vec<u8> {
    let body = SignedDocument::parse(signed, MAX_ROOT).expect("a document").body();
    let mut out = vec![0; signed_len(body.len(), MAX_SIGNATURES)];
    let mut len = assemble(body, &mut out).expect("room");
    for key in keys {
        len = add_signature(&mut out, len, Context::Release, key).expect("room");
    }
    out.truncate(len);
    out
}

/// A captor whose victim is a member of [`GROUP`] and takes releases, and its admin.
pub(crate) fn captor(seed: u64) -> (Captor, Admin) {
    let mut admin = Admin::new(Random::new(seed));
    let mut captor = Captor::new(&admin);
    captor.take_in(&mut admin, GROUP);
    (captor, admin)
}

impl Captor {
    /// Begins a session of its own for the victim; `number` is the session's.
    fn invite(&mut self, admin: &Admin, number: u32, name: ReleaseName) -> Voice {
        self.invite_from(admin, number, name, Ipv4Addr::UNSPECIFIED)
    }

    /// The same for a session that comes to this address.
    fn invite_from(
        &mut self,
        admin: &Admin,
        number: u32,
        name: ReleaseName,
        address: Ipv4Addr,
    ) -> Voice {
        let voice = Voice {
            fleet: admin.authority.1.document().fleet,
            session: SessionId(number),
            epoch: Epoch(1),
            key: [1; 32],
            signing: SigningKey::from_seed(&admin.signing_seed),
            counter: 0,
        };
        self.say(&Down::Invitation(Invitation {
            address,
            port: if address.is_multicast() { 7_413 } else { 0 },
            release: name,
            ..invitation(GROUP, number)
        }));
        voice
    }

    fn hand(&mut self, mut datagram: Vec<u8>) {
        self.victim.handle_datagram(self.now, server_address(), &mut datagram);
    }

    /// Sends a root document as the release `name`, as a server does.
    pub(crate) fn offer(&mut self, admin: &Admin, number: u32, name: ReleaseName, document: &[u8]) {
        let mut voice = self.invite(admin, number, name);
        let len = document.len();
        let record = [&encode_header(0, len, len).expect("short")[..], document].concat();
        self.hand(voice.segment((0, 0, false), &[(Object::Root, record.len(), 0, 1)]));
        for (index, symbol) in record.chunks(SYMBOL).enumerate() {
            self.hand(voice.symbol(0, index as u8, symbol));
        }
        self.hand(voice.end(1, 1));
        self.wait(Duration::from_secs(1));
    }

    /// The same in a multicast session, whose key other members have too.
    fn offer_to_all(&mut self, admin: &Admin, number: u32, name: ReleaseName, document: &[u8]) {
        let mut voice = self.invite_from(admin, number, name, [239, 77, 0, 1].into());
        let len = document.len();
        let record = [&encode_header(0, len, len).expect("short")[..], document].concat();
        // A member that hears no datagram of full size leaves.
        self.hand(voice.say(&[3; SYMBOL + 6]));
        self.hand(voice.segment((0, 0, false), &[(Object::Root, record.len(), 0, 1)]));
        for (index, symbol) in record.chunks(SYMBOL).enumerate() {
            self.hand(voice.symbol(0, index as u8, symbol));
        }
        self.hand(voice.end(1, 1));
        self.wait(Duration::from_millis(200));
        self.say(&Down::Ended { session: SessionId(number) });
        self.wait(Duration::from_secs(1));
    }

    /// The same, but the header comes over the channel, in two pieces, after a forged one.
    pub(crate) fn offer_told(
        &mut self,
        admin: &Admin,
        number: u32,
        name: ReleaseName,
        document: &[u8],
    ) {
        let mut voice = self.invite(admin, number, name);
        let len = document.len();
        let record = [&encode_header(0, len, len).expect("short")[..], document].concat();
        let blocks = [(Object::Root, record.len(), 0, 1)];
        let session = SessionId(number);
        for forged in [true, false] {
            let mut header = voice.segment_body((0, 0, false), &blocks);
            header[20] ^= u8::from(forged);
            let total = header.len() as u16;
            let (front, back) = header.split_at(50);
            self.say(&Down::Header { session, offset: 0, total, bytes: front });
            self.say(&Down::Header { session, offset: 50, total, bytes: back });
            // Without its header nothing is known of a block, not even which symbol is short.
            for (index, symbol) in record.chunks(SYMBOL).enumerate() {
                self.hand(voice.symbol(0, index as u8, symbol));
            }
            self.wait(Duration::from_secs(1));
            assert_eq!(self.installed().is_empty(), forged);
        }
    }

    /// Sends a release that nothing is wrong with.
    pub(crate) fn offer_good(&mut self, admin: &Admin, number: u32, sequence: u64) {
        let (name, document) = admin.sign_root(&root(admin, sequence));
        self.offer(admin, number, name, &document);
    }
}

// PROTOCOL T3
#[test]
fn a_root_that_no_admin_has_signed_is_not_installed() {
    let (mut captor, admin) = captor(20);
    let (name, document) = admin.sign_root(&root(&admin, 1));
    captor.offer(&admin, 1, name, &signed_by(&document, &[]));
    // The controller may sign much, but no release.
    let controller = SigningKey::from_seed(&admin.signing_seed);
    captor.offer(&admin, 2, name, &signed_by(&document, &[controller]));
    assert_eq!((captor.failed("not-trusted"), captor.installed()), (2, vec![]));
    captor.offer(&admin, 3, name, &document);
    assert_eq!(captor.installed(), [1]);
}

// PROTOCOL T1, PROTOCOL T3
#[test]
fn a_root_that_another_fleets_admin_has_signed_is_not_installed() {
    let (mut captor, admin) = captor(21);
    let stranger = Admin::new(Random::new(22));
    let (theirs, document) = stranger.sign_root(&root(&stranger, 1));
    captor.offer(&admin, 1, theirs, &document);
    // Nor one that names our fleet.
    let (forged, document) = stranger.sign_root(&root(&admin, 1));
    captor.offer(&admin, 2, forged, &document);
    // Nor one for their fleet from an admin of both.
    let fleet = stranger.authority.1.document().fleet;
    let (abroad, document) = admin.sign_root(&ReleaseRoot { fleet, ..root(&admin, 1) });
    captor.offer(&admin, 3, abroad, &document);
    assert_eq!((captor.failed("not-trusted"), captor.installed()), (3, vec![]));
    captor.offer_good(&admin, 4, 1);
    assert_eq!(captor.installed(), [1]);
}

// PROTOCOL T3
#[test]
fn an_older_release_or_another_of_the_same_number_is_not_installed() {
    let (mut captor, admin) = captor(23);
    captor.offer_good(&admin, 1, 9);
    captor.offer_good(&admin, 2, 8);
    let (name, document) = admin.sign_root(&ReleaseRoot { label: "other", ..root(&admin, 9) });
    captor.offer(&admin, 3, name, &document);
    assert_eq!((captor.failed("not-trusted"), captor.installed()), (2, vec![9]));
    let highest = captor.victim.state().highest(GROUP).map(|(order, _)| order.sequence);
    assert_eq!(highest, Some(9));
    captor.offer_good(&admin, 4, 10);
    assert_eq!(captor.installed(), [9, 10]);
}

// PROTOCOL T6
#[test]
fn an_expired_release_is_not_installed_for_the_first_time() {
    let (mut captor, admin) = captor(24);
    let expiring = |sequence| ReleaseRoot { expires: EPOCH + 50, ..root(&admin, sequence) };
    captor.victim.set_time(Some(EPOCH + 50));
    let (name, document) = admin.sign_root(&expiring(1));
    captor.offer(&admin, 1, name, &document);
    captor.victim.set_time(Some(EPOCH + 51));
    let (name, document) = admin.sign_root(&expiring(2));
    captor.offer(&admin, 2, name, &document);
    assert_eq!((captor.failed("expired"), captor.installed()), (1, vec![1]));
}

// PROTOCOL T3
#[test]
fn a_root_of_another_group_stands_for_none_of_this_one() {
    let (mut captor, mut admin) = captor(25);
    let other = GroupId([2; 16]);
    captor.make_member(&mut admin, other);
    let theirs = ReleaseRoot { group: other, group_name: "others", ..root(&admin, 7) };
    let (theirs, document) = admin.sign_root(&theirs);
    let (ours, _) = admin.sign_root(&root(&admin, 1));
    // Under a name that says so, and under the name of one that was promised.
    captor.offer(&admin, 1, ReleaseName { group: GROUP, ..theirs }, &document);
    assert_eq!((captor.failed("not-trusted"), captor.installed()), (1, vec![]));
    // PROTOCOL S26: what was not promised decides nothing.
    captor.offer(&admin, 2, ours, &document);
    assert_eq!((captor.failed("not-trusted"), captor.installed()), (1, vec![]));
    // A root of this group, but not the one that was promised, is no answer either.
    let (_, newer) = admin.sign_root(&root(&admin, 2));
    captor.offer(&admin, 3, ours, &newer);
    assert_eq!(captor.times_said(|up| matches!(up, Up::Poisoned { .. })), 2);
    assert!(captor.installed().is_empty());
    captor.offer(&admin, 4, theirs, &document);
    assert_eq!(captor.installed(), [7]);
}

// PROTOCOL R1
#[test]
fn a_root_that_claims_more_than_there_can_be_is_not_begun() {
    let (mut captor, admin) = captor(26);
    let free = captor.destination.space().expect("a disk").free;
    let claims = [
        TreeTop { content_bytes: u64::MAX, ..TreeTop::EMPTY },
        TreeTop { content_bytes: u64::MAX, content_chunks: 1, ..TreeTop::EMPTY },
        TreeTop { index_bytes: u64::MAX, ..TreeTop::EMPTY },
        TreeTop { entries: u32::MAX, files: u32::MAX, ..TreeTop::EMPTY },
        TreeTop { entry_bytes: u64::MAX, ..TreeTop::EMPTY },
        TreeTop {
            levels: [u32::MAX; 5].into_iter().collect(),
            entry_bytes: u64::MAX,
            ..TreeTop::EMPTY
        },
    ];
    for (number, standard) in claims.into_iter().enumerate() {
        let (name, document) = admin.sign_root(&ReleaseRoot { standard, ..root(&admin, 1) });
        captor.offer(&admin, number as u32, name, &document);
        let poisoned = captor.times_said(|up| matches!(up, Up::Poisoned { .. }));
        assert_eq!((poisoned, captor.installed()), (number + 1, vec![]));
    }
    let used = free - captor.destination.space().expect("a disk").free;
    assert!(used < 1 << 20, "{used} bytes");
    captor.offer_good(&admin, 9, 1);
    assert_eq!(captor.installed(), [1]);
}

#[test]
fn content_without_end_before_its_root_fills_the_scratch_and_no_more() {
    const BLOCK: usize = 192 * SYMBOL;
    const CHUNK: usize = 128 * 1_024;
    let (mut captor, admin) = captor(27);
    let (name, _) = admin.sign_root(&root(&admin, 1));
    let free = captor.destination.space().expect("a disk").free;
    let mut voice = captor.invite(&admin, 1, name);
    // Two of the largest chunks a block, 80 MiB in all.
    let mut block = Vec::new();
    for _ in 0..2 {
        block.extend(encode_header(0, CHUNK, CHUNK).expect("short"));
        block.extend([7; CHUNK]);
    }
    assert!(block.len() <= BLOCK);
    for number in 0..320 {
        if number % 60 == 59 {
            // No more headers are verified in a second than that.
            captor.wait(Duration::from_secs(1));
        }
        let blocks = [(Object::Content, block.len(), 2 * number, 2)];
        captor.hand(voice.segment((number, number, false), &blocks));
        for (index, symbol) in block.chunks(SYMBOL).enumerate() {
            captor.hand(voice.symbol(number, index as u8, symbol));
        }
    }
    captor.wait(Duration::from_secs(1));
    let used = free - captor.destination.space().expect("a disk").free;
    // As the staging's documentation says: 64 MiB, and its own small files.
    assert!((60 << 20..=65 << 20).contains(&used), "{used} bytes");
}

// PROTOCOL S26
#[test]
fn roots_that_members_of_a_session_make_up_fail_no_release() {
    let (mut captor, mut admin) = captor(28);
    let other = GroupId([2; 16]);
    captor.make_member(&mut admin, other);
    let stranger = Admin::new(Random::new(29));
    let (ours, document) = admin.sign_root(&root(&admin, 5));
    let expired = ReleaseRoot { expires: EPOCH - 1, ..root(&admin, 5) };
    captor.victim.set_time(Some(EPOCH));
    let forged = [
        // No signature; a stranger's; another fleet's; another group's; an older release; an
        // expired one.
        signed_by(&document, &[]),
        stranger.sign_root(&root(&admin, 5)).1,
        stranger.sign_root(&root(&stranger, 5)).1,
        admin.sign_root(&ReleaseRoot { group: other, ..root(&admin, 5) }).1,
        admin.sign_root(&root(&admin, 0)).1,
        admin.sign_root(&expired).1,
    ];
    for (number, forgery) in (1..).zip(&forged) {
        captor.offer_to_all(&admin, number, ours, forgery);
        let poisoned = captor.times_said(|up| matches!(up, Up::Poisoned { .. }));
        assert_eq!((poisoned, captor.failed("not-trusted")), (number as usize, 0), "{number}");
        assert_eq!((captor.failed("expired"), captor.installed()), (0, vec![]));
    }
    captor.offer_to_all(&admin, 9, ours, &document);
    assert_eq!(captor.installed(), [5]);
}
