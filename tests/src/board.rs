//! A board that receives releases into its chunk store, without a network: what a
//! server would send, and the calls that its firmware makes.

use std::collections::BTreeMap;

use fleetcast::codec::Encoder;
use fleetcast_core::ids::{GroupId, Ordinal, ReleaseOrder, StaticKey};
use fleetcast_core::session::intake::{Intake, Taken};
use fleetcast_core::store::{Fault, Step, Store, StoreError, StoreMemory, TrustGate};
use fleetcast_core::tree::path::Component;
use fleetcast_core::tree::record::Record;
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::membership::VerifiedMembership;
use fleetcast_core::trust::release::{Circumstances, FORMAT, ReleaseRoot};
use fleetcast_core::wire::control::{CODEC_LZ4, Object, ReleaseName, WantRun};

use crate::admin::{Admin, EPOCH, Tree};
use crate::card::Card;
use crate::disk::Node;
use crate::processes::noise;
use crate::random::Random;
use crate::release::TestRelease;

/// The group of the boards.
pub const GROUP: GroupId = GroupId([0x42; 16]);
const DEVICE: StaticKey = StaticKey([0xb0; 32]);

/// A release as a server would send it to boards.
#[derive(Clone, Debug)]
pub struct BoardRelease {
    /// Its name.
    pub name: ReleaseName,
    /// The signed root document.
    pub document: Vec<u8>,
    /// Records of the index, by ordinal.
    pub index: Vec<Vec<u8>>,
    /// Records of the content, by ordinal.
    pub content: Vec<Vec<u8>>,
    /// What its files hold.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Whom a board trusts.
pub struct Trust {
    admin: Admin,
    membership: VerifiedMembership,
}

impl Trust {
    /// A fleet with one board in [`GROUP`].
    ///
    /// # Panics
    /// Never: its documents are sound.
    #[must_use]
    pub fn new() -> Self {
        let mut admin = Admin::new(Random::new(7));
        let certificate = admin.certificate(DEVICE, GROUP, 1);
        let authority = &admin.authority.1;
        let membership = VerifiedMembership::verify(authority, &DEVICE, &certificate, &[]);
        Self { membership: membership.expect("signed by the admin"), admin }
    }

    /// The gate, for a board that has accepted nothing.
    #[must_use]
    pub const fn gate(&self) -> TrustGate<'_> {
        let authority: &TrustedAuthority = &self.admin.authority.1;
        let circumstances =
            Circumstances { highest: None, now: Some(EPOCH), installed_before: false };
        TrustGate { authority, membership: &self.membership, circumstances }
    }

    /// The signed authority document.
    #[must_use]
    pub fn authority(&self) -> &[u8] {
        &self.admin.authority.0
    }

    /// The admin.
    #[must_use]
    pub const fn admin(&self) -> &Admin {
        &self.admin
    }

    /// A membership certificate of a device in a group.
    pub fn certificate(&mut self, device: StaticKey, group: GroupId) -> Vec<u8> {
        self.admin.certificate(device, group, 1)
    }

    /// A signed release of a tree, in chunks for boards of at most `chunk` bytes.
    ///
    /// # Panics
    /// When the tree is none that a signer would make.
    #[must_use]
    pub fn release(&self, sequence: u64, tree: &Tree, chunk: usize, lz4: bool) -> BoardRelease {
        self.release_until(0, sequence, tree, chunk, lz4)
    }

    /// The same, which expires then: seconds since 1970, 0 for never.
    ///
    /// # Panics
    /// As above.
    #[must_use]
    pub fn release_until(
        &self,
        expires: u64,
        sequence: u64,
        tree: &Tree,
        chunk: usize,
        lz4: bool,
    ) -> BoardRelease {
        let boards = TestRelease::new(GROUP, sequence, tree, (chunk, 700));
        let others = TestRelease::new(GROUP, sequence, tree, (16_384, 2_048));
        let root = ReleaseRoot {
            format: FORMAT,
            fleet: self.admin.authority.1.document().fleet,
            authority: 1,
            group: GROUP,
            group_name: "boards",
            order: ReleaseOrder { reset_epoch: 0, sequence },
            created: EPOCH,
            expires,
            label: "for boards",
            standard: others.tree.clone(),
            constrained: Some(boards.tree.clone()),
        };
        let (name, document) = self.admin.sign_root(&root);
        let codecs = if lz4 { CODEC_LZ4 } else { 0 };
        let mut encoder = Encoder::new(codecs, true).expect("memory");
        let mut records = |chunks: &[Vec<u8>]| {
            let record = |chunk: &Vec<u8>| {
                let mut record = Vec::new();
                encoder.encode(chunk, &mut record).expect("chunks are bounded");
                record
            };
            chunks.iter().map(record).collect()
        };
        let (index, content) = (records(&boards.index), records(&boards.content));
        let files = tree.iter().filter_map(|(path, node)| match node {
            Node::File(_, _, bytes) => Some((path.clone(), bytes.clone())),
            _ => None,
        });
        BoardRelease { name, document, index, content, files: files.collect() }
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::new()
    }
}

impl BoardRelease {
    /// Bytes that a chunk takes in a block.
    #[must_use]
    pub fn bytes_of(&self, object: Object, ordinal: u32) -> usize {
        self.record(object, ordinal).len()
    }

    fn record(&self, object: Object, ordinal: u32) -> &[u8] {
        match object {
            Object::Root => &self.document,
            Object::Index => &self.index[ordinal as usize],
            Object::Content => &self.content[ordinal as usize],
        }
    }
}

/// A board's card and memory; a store is opened over them for each life.
pub struct Board {
    /// The card.
    pub card: Card,
    memory: Box<StoreMemory>,
}

/// The store of a board of the tests.
pub type BoardStore<'b> = Store<'b, Card>;

impl Board {
    /// A board whose card holds an empty store.
    ///
    /// # Panics
    /// When the card is too small.
    #[must_use]
    pub fn formatted(sectors: usize) -> Self {
        let mut board = Self::with(Card::new(sectors));
        let formatted = Store::format(board.card.clone(), board.memory.lend());
        assert!(formatted.is_ok(), "{:?}", formatted.err().map(|(_, error)| error));
        board
    }

    /// A board with this card.
    #[must_use]
    pub fn with(card: Card) -> Self {
        Self { card, memory: Box::default() }
    }

    /// Opens the store and finds out what is free.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(&mut self) -> Result<BoardStore<'_>, StoreError> {
        let opened = Store::open(self.card.clone(), self.memory.lend());
        let mut store = opened.map_err(|(_, error)| error)?;
        settle(&mut store)?;
        Ok(store)
    }
}

/// Lets the store work until it waits.
///
/// # Errors
/// What the store says.
///
/// # Panics
/// When it does not end.
pub fn settle(store: &mut BoardStore<'_>) -> Result<Step, StoreError> {
    for _ in 0..100_000 {
        match store.step()? {
            Step::More => {}
            step => return Ok(step),
        }
    }
    panic!("the store works for ever");
}

/// Hands a record over as a session does.
pub fn hand(
    store: &mut BoardStore<'_>,
    trust: &Trust,
    release: &BoardRelease,
    (object, ordinal): (Object, u32),
) -> Taken {
    let mut gate = trust.gate();
    let mut intake = store.intake(&mut gate);
    let record = release.record(object, ordinal);
    if object == Object::Root {
        return intake.record(object, Ordinal(0), 0, record.len(), record);
    }
    let Ok((record, _)) = Record::parse(record) else { return Taken::Poisoned };
    intake.record(object, Ordinal(ordinal), record.codec, record.len, record.encoded)
}

/// Receives all that is lacking of a release; bytes that came.
///
/// # Errors
/// What the store says.
///
/// # Panics
/// When a sound record is not taken, or it never ends.
pub fn receive(
    store: &mut BoardStore<'_>,
    trust: &Trust,
    release: &BoardRelease,
) -> Result<usize, StoreError> {
    store.expect(release.name)?;
    let mut came = 0;
    for _ in 0..200 {
        if settle(store)? == Step::Complete {
            return Ok(came);
        }
        for run in lacking(store)? {
            for ordinal in run.first..run.first + run.count {
                let taken = hand(store, trust, release, (run.object, ordinal));
                came += release.bytes_of(run.object, ordinal);
                if taken == Taken::Failed {
                    return Err(store.failure().unwrap_or(StoreError::Failed));
                }
                assert_eq!(taken, Taken::Stored, "{:?} {ordinal}", run.object);
                store.step()?;
            }
        }
    }
    panic!("nothing is lacking, and it is not complete");
}

/// What a store lacks of its expected release.
///
/// # Errors
/// What the store says.
pub fn lacking(store: &mut BoardStore<'_>) -> Result<Vec<WantRun>, StoreError> {
    let (mut from, mut runs) = (0, Vec::new());
    while store.missing(&mut from, |run| runs.push(run))? {}
    Ok(runs)
}

/// Reads a file.
///
/// # Errors
/// What the store says.
///
/// # Panics
/// When the path has unsafe names.
pub fn read(
    store: &mut BoardStore<'_>,
    name: &ReleaseName,
    path: &str,
) -> Result<Vec<u8>, StoreError> {
    let components = path.split('/').map(|c| Component::parse(c.as_bytes()).expect("safe"));
    let components: Vec<Component<'_>> = components.collect();
    let mut file = store.open_file(name, &components)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = store.next_chunk(&mut file)? {
        bytes.extend_from_slice(chunk.bytes());
    }
    Ok(bytes)
}

/// Checks that every file of a release reads as it should.
///
/// # Panics
/// When one does not.
pub fn check(store: &mut BoardStore<'_>, release: &BoardRelease) {
    for (path, expected) in &release.files {
        let found = read(store, &release.name, path);
        assert!(found.as_ref() == Ok(expected), "{path}: {:?}", found.map(|bytes| bytes.len()));
    }
}

/// Checks that whatever reads of a release reads right: nothing is ever wrong, and
/// whose fault it is when it is not there.
///
/// # Panics
/// When a file reads as something else.
pub fn check_readable(store: &mut BoardStore<'_>, release: &BoardRelease) {
    for (path, expected) in &release.files {
        match read(store, &release.name, path) {
            Ok(found) => assert!(found == *expected, "{path} is wrong"),
            Err(error) => assert!(
                matches!(error.fault(), Fault::Storage | Fault::Caller),
                "{path}: {error:?}"
            ),
        }
    }
}

/// A plain file.
#[must_use]
pub fn file(bytes: &[u8]) -> Node {
    Node::File(false, 1_000, bytes.to_vec())
}

/// A small tree with a directory in another, a file that is there twice, and an empty one.
#[must_use]
pub fn sample_tree() -> Tree {
    let text = b"a board keeps what it was sent. ".repeat(400);
    BTreeMap::from([
        ("app".to_owned(), Node::Directory(5)),
        ("app/deep".to_owned(), Node::Directory(6)),
        ("app/deep/data".to_owned(), file(&noise(1, 9_000))),
        ("app/same".to_owned(), file(&noise(1, 9_000))),
        ("app/text".to_owned(), file(&text)),
        ("app0".to_owned(), file(b"")),
        ("tiny".to_owned(), file(b"x")),
    ])
}
