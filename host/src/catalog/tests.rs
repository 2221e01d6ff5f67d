//! Every change and back, across reopening, crashes and damage.

use std::os::unix::fs::PermissionsExt;

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId, ReleaseOrder, StaticKey, TokenId, VerifyingKey};
use fleetcast_core::trust::document::Fingerprint;
use fleetcast_core::wire::control::{ReleaseName, Standing};

use super::*;
use crate::audit;
use crate::model::*;

fn receiver(n: u8) -> ReceiverRecord {
    ReceiverRecord {
        id: ReceiverId([n; 16]),
        key: StaticKey([n + 1; 32]),
        signing: n.is_multiple_of(2).then_some(VerifyingKey([n + 2; 32])),
        name: format!("kiosk-{n}"),
        standing: Standing::Waiting,
        constrained: n == 2,
        // A peer may use all 64 bits.
        order: (u64::MAX, 1 << 63),
        enrolled: 1_700_000_000,
        last_seen: 1_700_000_001,
        address: n.is_multiple_of(2).then(|| "[fe80::1]:7411".parse().unwrap()),
        version: "0.1.0".into(),
        free: u64::MAX,
        codecs: 255,
        owner: (n == 1).then(|| "ann".into()),
    }
}

pub(super) fn group(n: u8) -> GroupRecord {
    let voucher = (n == 1).then(|| Digest::of(b"open"));
    GroupRecord { id: GroupId([n; 16]), name: format!("g{n}"), open: n == 1, voucher, created: 5 }
}

fn name(group: u8, sequence: u64) -> ReleaseName {
    let order = ReleaseOrder { reset_epoch: u32::MAX, sequence };
    ReleaseName { group: GroupId([group; 16]), order, digest: Digest::of(&[group]) }
}

fn release(group: u8, sequence: u64) -> ReleaseRecord {
    ReleaseRecord {
        name: name(group, sequence),
        label: "spring 'prices'; --".into(),
        document: vec![0, 1, 2, 255],
        files: 3,
        bytes: 1 << 40,
        created: 100 + sequence,
        expires: 200,
        state: ReleaseState::Current,
        terms: Terms {
            rate: Some(u64::MAX),
            full: true,
            priority: 9,
            at: (group == 1).then_some(1_800_000_000),
            ready: (group == 2).then_some(90),
        },
    }
}

fn delivery(id: u64, receiver: u8, group: u8, sequence: u64) -> DeliveryRecord {
    DeliveryRecord {
        id,
        receiver: ReceiverId([receiver; 16]),
        release: name(group, sequence),
        state: DeliveryState::Queued,
        hold: Hold::Free,
        code: String::new(),
        reason: String::new(),
        bytes: 0,
        path: DeliveryPath::Multicast,
        created: 9,
        updated: 9,
    }
}

fn membership(receiver: u8, group: u8) -> MembershipRecord {
    MembershipRecord {
        receiver: ReceiverId([receiver; 16]),
        group: GroupId([group; 16]),
        certificate: vec![receiver, group],
        voucher: (group == 1).then(|| Digest::of(b"voucher")),
        since: 7,
    }
}

pub(super) fn request(receiver: u8, group: u8) -> RequestRecord {
    let (receiver, group) = (ReceiverId([receiver; 16]), GroupId([group; 16]));
    // A denial without a word is a denial all the same.
    let denied = (receiver.0[0] == 2).then(String::new);
    let proposed = (group.0[0] == 2).then(|| "otto".to_owned());
    let asked = proposed.is_none();
    RequestRecord { receiver, group, asked, proposed, denied, since: 12 }
}

pub(super) fn account(name: &str, role: Role) -> AccountRecord {
    let password = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaA".into();
    AccountRecord { name: name.into(), role, password, created: 3, changed: 4 }
}

fn token(account: &str, used: u64) -> TokenRecord {
    let (hash, name) = (Digest::of(account.as_bytes()), "nightly 'builds'".into());
    let (account, login) = (account.into(), account == "bob");
    TokenRecord { hash, account, name, login, created: 3, expires: 1 << 40, used }
}

fn held(receiver: u8, group: u8, sequence: u64) -> HeldRecord {
    let release = name(group, sequence);
    HeldRecord { receiver: ReceiverId([receiver; 16]), release, at: 8, receipt: vec![1; 64] }
}

fn voucher() -> VoucherRecord {
    VoucherRecord {
        digest: Digest::of(b"voucher"),
        document: vec![5; 300],
        token_id: TokenId([6; 16]),
        token: [7; 16],
        used: 0,
        uses: u32::MAX,
        expires: 1_800_000_000,
        revoked: false,
    }
}

/// Two receivers, two groups, everything between them.
fn fleet() -> Snapshot {
    Snapshot {
        receivers: vec![receiver(1), receiver(2)],
        groups: vec![group(1), group(2)],
        memberships: vec![membership(1, 1), membership(1, 2), membership(2, 1)],
        requests: vec![request(1, 2), request(2, 1)],
        accounts: vec![account("ann", Role::Admin), account("bob", Role::Member)],
        tokens: vec![token("ann", 0), token("bob", 7)],
        vouchers: vec![voucher()],
        releases: vec![release(1, 1), release(2, 2)],
        deliveries: vec![delivery(1, 1, 1, 1), delivery(2, 1, 2, 2), delivery(3, 2, 1, 1)],
        held: vec![held(1, 1, 1), held(2, 9, 4)],
        authorities: vec![(1, vec![1; 500]), (2, vec![2; 600])],
        proposals: vec![ProposalRecord {
            digest: Digest::of(b"proposal"),
            document: vec![3; 700],
            proposer: "ann".into(),
            since: u64::MAX,
        }],
        admin_names: vec![AdminNameRecord { admin: Fingerprint([1; 8]), name: "bea".into() }],
        marks: vec![("doubt".into(), u64::MAX), ("floor".into(), 7)],
        settings: vec![("rate-zone".into(), "local".into())],
        last_log: Some(audit::next_line(None, 3, ["ann", "approved", "\u{1b}[31m", "ok"])),
    }
}

fn changes(fleet: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(fleet.receivers.iter().cloned().map(Change::Receiver));
    changes.extend(fleet.groups.iter().cloned().map(Change::Group));
    changes.extend(fleet.memberships.iter().cloned().map(Change::Membership));
    changes.extend(fleet.requests.iter().cloned().map(Change::Request));
    changes.extend(fleet.accounts.iter().cloned().map(Change::Account));
    changes.extend(fleet.tokens.iter().cloned().map(Change::Token));
    changes.extend(fleet.vouchers.iter().cloned().map(Change::Voucher));
    changes.extend(fleet.releases.iter().cloned().map(Change::Release));
    changes.extend(fleet.deliveries.iter().cloned().map(Change::Delivery));
    changes.extend(fleet.held.iter().cloned().map(Change::Held));
    changes.extend(fleet.authorities.iter().cloned().map(|(n, text)| Change::Authority(n, text)));
    changes.extend(fleet.proposals.iter().cloned().map(Change::Proposal));
    changes.extend(fleet.admin_names.iter().cloned().map(Change::AdminName));
    let marks = fleet.marks.iter().cloned();
    changes.extend(marks.map(|(name, value)| Change::Mark(name, Some(value))));
    let settings = fleet.settings.iter().cloned();
    changes.extend(settings.map(|(name, value)| Change::Setting(name, Some(value))));
    changes.extend(fleet.last_log.iter().cloned().map(Change::Log));
    changes
}

/// Spoils the bytes of a database.
type Damage = fn(&mut Vec<u8>);

struct Fixture {
    folder: tempfile::TempDir,
    catalog: Catalog,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.unwrap();
        Self { folder, catalog }
    }

    async fn with_fleet() -> Self {
        let fixture = Self::new().await;
        fixture.catalog.apply(&changes(&fleet())).await.unwrap();
        fixture
    }

    async fn reopened(self) -> Self {
        self.catalog.close().await;
        let catalog = Catalog::open(&self.folder.path().join("catalog.db")).await.unwrap();
        Self { catalog, ..self }
    }
}

#[tokio::test]
async fn an_empty_catalog_loads_as_nothing_and_is_its_owners_alone() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.catalog.load().await.unwrap(), Snapshot::default());
    for entry in std::fs::read_dir(fixture.folder.path()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn every_record_comes_back_after_reopening_as_it_was() {
    let fixture = Fixture::with_fleet().await.reopened().await;
    assert_eq!(fixture.catalog.load().await.unwrap(), fleet());
}

#[tokio::test]
async fn a_record_written_again_takes_the_place_of_its_former_self() {
    let mut fleet = fleet();
    let fixture = Fixture::with_fleet().await;
    fleet.receivers[0].standing = Standing::Revoked;
    fleet.receivers[0].name = "renamed".into();
    fleet.groups[1].name = "h2".into();
    fleet.memberships[2].certificate = vec![9];
    fleet.requests[0].denied = Some("no 'room'".into());
    fleet.accounts[1].role = Role::Operator;
    fleet.tokens[1].used = 8;
    fleet.vouchers[0].used = 1;
    fleet.vouchers[0].revoked = true;
    fleet.releases[0].state = ReleaseState::Superseded;
    fleet.releases[1].state = ReleaseState::Unsigned;
    fleet.proposals[0].document.push(1);
    fleet.admin_names[0].name = "eve".into();
    fleet.deliveries[1].state = DeliveryState::Failed;
    fleet.deliveries[0].hold = Hold::ResumeToSend;
    fleet.settings[0].1 = "UTC".into();
    fleet.releases[1].terms = Terms::default();
    fleet.deliveries[1].code = "no-space".into();
    fleet.deliveries[1].path = DeliveryPath::Local;
    fleet.held[0] = held(1, 1, 2);
    fleet.authorities[1].1 = vec![3];
    let mut again = changes(&fleet);
    again.pop();
    fixture.catalog.apply(&again).await.unwrap();
    assert_eq!(fixture.catalog.load().await.unwrap(), fleet);
}

#[tokio::test]
async fn a_receiver_takes_its_memberships_deliveries_and_holdings_along() {
    let fixture = Fixture::with_fleet().await;
    fixture.catalog.apply(&[Change::ReceiverGone(ReceiverId([1; 16]))]).await.unwrap();
    let left = fixture.catalog.load().await.unwrap();
    let expected = Snapshot {
        receivers: vec![receiver(2)],
        memberships: vec![membership(2, 1)],
        requests: vec![request(2, 1)],
        deliveries: vec![delivery(3, 2, 1, 1)],
        held: vec![held(2, 9, 4)],
        ..fleet()
    };
    assert_eq!(left, expected);
}

#[tokio::test]
async fn a_group_takes_its_memberships_releases_deliveries_and_holdings_along() {
    let fixture = Fixture::with_fleet().await;
    fixture.catalog.apply(&[Change::GroupGone(GroupId([1; 16]))]).await.unwrap();
    let left = fixture.catalog.load().await.unwrap();
    let expected = Snapshot {
        groups: vec![group(2)],
        memberships: vec![membership(1, 2)],
        requests: vec![request(1, 2)],
        releases: vec![release(2, 2)],
        deliveries: vec![delivery(2, 1, 2, 2)],
        held: vec![held(2, 9, 4)],
        ..fleet()
    };
    assert_eq!(left, expected);
}

#[tokio::test]
async fn a_release_takes_its_deliveries_along_and_marks_settings_and_vouchers_go_alone() {
    let fixture = Fixture::with_fleet().await;
    let gone = [
        Change::ReleaseGone(name(1, 1)),
        Change::Mark("doubt".into(), None),
        Change::Setting("rate-zone".into(), None),
        Change::VoucherGone(voucher().digest),
    ];
    fixture.catalog.apply(&gone).await.unwrap();
    let left = fixture.catalog.load().await.unwrap();
    let expected = Snapshot {
        releases: vec![release(2, 2)],
        deliveries: vec![delivery(2, 1, 2, 2)],
        marks: vec![("floor".into(), 7)],
        settings: Vec::new(),
        vouchers: Vec::new(),
        ..fleet()
    };
    assert_eq!(left, expected);
}

#[tokio::test]
async fn receipts_stay_when_all_that_they_are_about_is_gone() {
    let fixture = Fixture::with_fleet().await;
    let receipt = |sequence| ReceiptRecord {
        receiver: ReceiverId([1; 16]),
        receiver_name: "kiosk-1".into(),
        device: StaticKey([2; 32]),
        signing: VerifyingKey([3; 32]),
        release: name(1, sequence),
        group_name: "g1".into(),
        at: 100 - sequence,
        signature: vec![4; 64],
        certificate: vec![5; 200],
        voucher: Vec::new(),
    };
    let both = [Change::Receipt(receipt(1)), Change::Receipt(receipt(2))];
    fixture.catalog.apply(&both).await.unwrap();
    // Again on the next channel.
    fixture.catalog.apply(&both).await.unwrap();
    fixture.catalog.apply(&[Change::ReceiverGone(ReceiverId([1; 16]))]).await.unwrap();
    assert_eq!(fixture.catalog.receipts(0, 9).await.unwrap(), [receipt(2), receipt(1)]);
    assert_eq!(fixture.catalog.receipts(1, 9).await.unwrap(), [receipt(1)]);
}

#[tokio::test]
async fn one_membership_goes_alone() {
    let fixture = Fixture::with_fleet().await;
    let gone = Change::MembershipGone(ReceiverId([1; 16]), GroupId([1; 16]));
    fixture.catalog.apply(&[gone]).await.unwrap();
    let left = fixture.catalog.load().await.unwrap();
    assert_eq!(left.memberships, [membership(1, 2), membership(2, 1)]);
}

#[tokio::test]
async fn a_batch_with_one_impossible_change_changes_nothing() {
    let fixture = Fixture::with_fleet().await;
    let batch = [
        Change::Group(group(3)),
        // Receiver 77 is unknown.
        Change::Membership(membership(77, 3)),
    ];
    assert!(matches!(fixture.catalog.apply(&batch).await, Err(CatalogError::Database(_))));
    assert_eq!(fixture.catalog.load().await.unwrap(), fleet());
}

#[tokio::test]
async fn an_order_names_one_release_only() {
    let fixture = Fixture::with_fleet().await;
    let mut other = release(1, 1);
    other.name.digest = Digest::of(b"another");
    assert!(fixture.catalog.apply(&[Change::Release(other)]).await.is_err());
}

#[tokio::test]
async fn a_transaction_dropped_before_its_commit_never_was() {
    let fixture = Fixture::with_fleet().await;
    let mut transaction = fixture.catalog.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    write::change(&mut transaction, &Change::Group(group(3))).await.unwrap();
    // As a killed process leaves them: the files, copied while the transaction is open.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture.folder.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    drop(transaction);
    assert_eq!(fixture.catalog.load().await.unwrap(), fleet());
    let killed = Catalog::open(&copy.path().join("catalog.db")).await.unwrap();
    assert_eq!(killed.load().await.unwrap(), fleet());
}

#[tokio::test]
async fn damage_is_told_as_damage() {
    let fixture = Fixture::with_fleet().await;
    fixture.catalog.close().await;
    let path = fixture.folder.path().join("catalog.db");
    let whole = std::fs::read(&path).unwrap();
    // The header, a page in the middle, the second half.
    let cases: [Damage; 3] = [
        |bytes| bytes[..16].fill(b'x'),
        |bytes| bytes[4_096..5 * 4_096].fill(0xa5),
        |bytes| bytes.truncate(bytes.len() / 2),
    ];
    for damage in cases {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(Catalog::open(&path).await, Err(CatalogError::Corrupt(_))));
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(Catalog::open(&path).await.unwrap().load().await.unwrap(), fleet());
}

#[tokio::test]
async fn a_word_that_nobody_writes_is_damage() {
    let fixture = Fixture::with_fleet().await;
    let forged = "UPDATE deliveries SET state = 'perhaps' WHERE id = 1";
    sqlx::query(forged).execute(&fixture.catalog.pool).await.unwrap();
    assert!(matches!(fixture.catalog.load().await, Err(CatalogError::Corrupt(_))));
}

#[tokio::test]
async fn the_log_is_read_in_pages_and_tampering_shows() {
    let fixture = Fixture::new().await;
    let mut last = None;
    for time in 0..5 {
        let line = audit::next_line(last.as_ref(), time, ["ann", "approved", "kiosk", "ok"]);
        fixture.catalog.apply(&[Change::Log(line.clone())]).await.unwrap();
        last = Some(line);
    }
    let first = fixture.catalog.log_after(0, 3).await.unwrap();
    let rest = fixture.catalog.log_after(3, 3).await.unwrap();
    assert_eq!((first.len(), rest.len()), (3, 2));
    assert_eq!(audit::verify(None, &first), Ok(()));
    assert_eq!(audit::verify(first.last(), &rest), Ok(()));
    assert!(fixture.catalog.apply(&[Change::Log(rest[0].clone())]).await.is_err());
    let forged = "UPDATE audit_log SET result = 'denied' WHERE number = 2";
    sqlx::query(forged).execute(&fixture.catalog.pool).await.unwrap();
    let lines = fixture.catalog.log_after(0, 9).await.unwrap();
    assert_eq!(audit::verify(None, &lines), Err(audit::BrokenChain::Digest(2)));
}

#[tokio::test]
async fn a_copy_is_a_whole_catalog() {
    let fixture = Fixture::with_fleet().await;
    let copy = fixture.folder.path().join("backup.db");
    fixture.catalog.copy_to(&copy).await.unwrap();
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fixture.catalog.copy_to(&copy).await.is_err());
    assert_eq!(Catalog::open(&copy).await.unwrap().load().await.unwrap(), fleet());
}

#[tokio::test]
async fn commits_are_synced_and_foreign_keys_are_on() {
    let fixture = Fixture::new().await;
    // 2 is FULL (SQLite documentation, PRAGMA synchronous).
    for (pragma, expected) in [("PRAGMA synchronous", 2_i64), ("PRAGMA foreign_keys", 1)] {
        let row = sqlx::query(pragma).fetch_one(&fixture.catalog.pool).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), expected);
    }
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(&fixture.catalog.pool).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "wal");
}

#[tokio::test]
async fn a_copy_keeps_nobody_from_writing_however_long_it_takes() {
    let fixture = Fixture::with_fleet().await;
    // All connections that changes are written by are taken, as a slow copy would take them.
    let writing = fixture.catalog.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let copy = fixture.folder.path().join("backup.db");
    let copied = tokio::time::timeout(Duration::from_secs(10), fixture.catalog.copy_to(&copy));
    copied.await.expect("it waits for no other connection").unwrap();
    drop(writing);
    assert_eq!(Catalog::open(&copy).await.unwrap().load().await.unwrap(), fleet());
}

#[tokio::test]
async fn what_a_receiver_has_lost_goes_alone() {
    let fixture = Fixture::with_fleet().await;
    let lost = [
        Change::HeldGone(ReceiverId([2; 16]), GroupId([9; 16])),
        // It holds nothing of this one.
        Change::HeldGone(ReceiverId([2; 16]), GroupId([1; 16])),
    ];
    fixture.catalog.apply(&lost).await.unwrap();
    let expected = Snapshot { held: vec![held(1, 1, 1)], ..fleet() };
    assert_eq!(fixture.catalog.load().await.unwrap(), expected);
}
