//! Small releases for tests, built from the core's encoders and nothing else.

use std::collections::BTreeMap;

use fleetcast::disk::{self, Disk};
use fleetcast::install::{InstallError, Installed, NotPersisted, install};
use fleetcast::staging::area::Area;
use fleetcast::staging::gate::{Decode, Evidence, Gate, Refusal, Undecodable};
use fleetcast::staging::{Staging, StepOutcome};
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, Ordinal, ReleaseOrder};
use fleetcast_core::session::intake::{Intake, Taken};
use fleetcast_core::tree::entry::{FileEntry, MAX_ENTRY, encode_directory, encode_file};
use fleetcast_core::tree::index::{Levels, TreeTop};
use fleetcast_core::tree::path::Component;
use fleetcast_core::tree::reference::ChunkRef;
use fleetcast_core::wire::control::{Object, ReleaseName};

use crate::disk::Node;

/// A release with all that a server would send of it.
#[derive(Clone, Debug)]
pub struct TestRelease {
    /// Its name.
    pub name: ReleaseName,
    /// Its root document: just its digest's preimage, since the gate is a stub.
    pub root: Vec<u8>,
    /// Index chunks by ordinal.
    pub index: Vec<Vec<u8>>,
    /// Content chunks by ordinal.
    pub content: Vec<Vec<u8>>,
    /// What a reader must see when it is installed.
    pub expected: BTreeMap<String, Node>,
    /// The tree as a release root states it.
    pub tree: TreeTop<'static>,
}

impl TestRelease {
    /// Builds the release of these files; files are cut every `chunk` bytes,
    /// index chunks hold `index_chunk` bytes.
    ///
    /// # Panics
    /// When the tree is none that a signer would make.
    #[must_use]
    pub fn new(
        group: GroupId,
        sequence: u64,
        files: &BTreeMap<String, Node>,
        (chunk, index_chunk): (usize, usize),
    ) -> Self {
        let (mut table, mut content, mut ordinals) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (mut files_count, mut bytes) = (0, 0);
        // Paths with a low byte as separator sort depth first.
        let mut sorted: Vec<_> = files.iter().collect();
        sorted.sort_by_key(|(path, _)| path.replace('/', "\u{1}"));
        for (path, node) in sorted {
            let depth = path.matches('/').count() as u8;
            let name = path.rsplit('/').next().unwrap_or(path);
            let name = Component::parse(name.as_bytes()).expect("tests name files safely");
            let mut out = [0; MAX_ENTRY];
            match node {
                Node::Directory(mtime) => {
                    let len = encode_directory(depth, name, *mtime, &mut out);
                    table.extend_from_slice(&out[..len.expect("it fits")]);
                }
                Node::File(executable, mtime, data) => {
                    let pieces: Vec<&[u8]> = data.chunks(chunk).collect();
                    let (size, chunks) = (data.len() as u64, pieces.len() as u32);
                    let (executable, mtime) = (*executable, *mtime);
                    let entry = FileEntry { depth, name, executable, mtime, size, chunks };
                    let len = encode_file(&entry, &mut out).expect("it fits");
                    table.extend_from_slice(&out[..len]);
                    for piece in pieces {
                        let id = ChunkRef::of(piece).expect("chunks are bounded");
                        table.extend_from_slice(&id.encode());
                        ordinals.entry(id).or_insert_with(|| content.push(piece.to_vec()));
                    }
                    files_count += 1;
                    bytes += size;
                }
                Node::Other => panic!("releases hold files and directories"),
            }
        }
        let (levels, index, top) = index_of(&table, index_chunk);
        let tree = TreeTop {
            levels,
            entries: files.len() as u32,
            files: files_count,
            content_bytes: bytes,
            content_chunks: content.len() as u32,
            index_bytes: index.iter().map(|chunk| chunk.len() as u64).sum(),
            entry_bytes: table.len() as u64,
            top: top.leak(),
        };
        let root = format!("{group} {sequence} {}", Digest::of(tree.top)).into_bytes();
        let order = ReleaseOrder { reset_epoch: 0, sequence };
        let name = ReleaseName { group, order, digest: Digest::of(&root) };
        Self { name, root, index, content, expected: files.clone(), tree }
    }

    /// The record of an ordinal, uncompressed.
    #[must_use]
    pub fn chunk(&self, object: Object, ordinal: u32) -> &[u8] {
        match object {
            Object::Root => &self.root,
            Object::Index => &self.index[ordinal as usize],
            Object::Content => &self.content[ordinal as usize],
        }
    }
}

fn index_of(table: &[u8], index_chunk: usize) -> (Levels, Vec<Vec<u8>>, Vec<u8>) {
    let (mut counts, mut levels, mut list) = (Vec::new(), Vec::new(), table.to_vec());
    while !list.is_empty() && (levels.is_empty() || list.len() > 4 * 36) {
        let chunks: Vec<Vec<u8>> = list.chunks(index_chunk).map(<[u8]>::to_vec).collect();
        let references = chunks.iter().filter_map(|chunk| ChunkRef::of(chunk).ok());
        list = references.flat_map(|reference| reference.encode()).collect();
        counts.insert(0, chunks.len() as u32);
        levels.insert(0, chunks);
    }
    (counts.into_iter().collect(), levels.concat(), list)
}

/// Evidence that stands for the signatures of a test release.
#[derive(Clone, Debug)]
pub struct TestEvidence(TestRelease);

impl Evidence for TestEvidence {
    fn name(&self) -> ReleaseName {
        self.0.name
    }

    fn tree(&self) -> TreeTop<'_> {
        self.0.tree.clone()
    }
}

/// Admits the root of one test release.
#[derive(Clone, Debug)]
pub struct TestGate(pub TestRelease);

impl Gate for TestGate {
    type Evidence = TestEvidence;

    fn admit(&mut self, document: &[u8]) -> Result<TestEvidence, Refusal> {
        let right = document == self.0.root;
        if right { Ok(TestEvidence(self.0.clone())) } else { Err(Refusal::Wrong) }
    }
}

/// Takes records as they are, and patches.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Decode for Plain {
    fn decode<'o>(
        &mut self,
        codec: u8,
        len: usize,
        encoded: &'o [u8],
        _: &'o mut Vec<u8>,
    ) -> Result<&'o [u8], Undecodable> {
        if codec == 0 && encoded.len() == len { Ok(encoded) } else { Err(Undecodable) }
    }
}

/// The staging of a test release.
pub type TestStaging<D> = Staging<D, Plain, TestGate>;

/// Opens the destination, recovers it, and begins or resumes a staging.
///
/// # Errors
/// When the storage fails.
pub fn resume<D: Disk>(disk: &D, release: &TestRelease) -> disk::Result<TestStaging<D>> {
    let area = Area::open(disk)?;
    fleetcast::install::recover(&area)?;
    Staging::open(area, release.name, TestGate(release.clone()), Plain)
}

/// Steps and hands over what is missing until the release is complete; the
/// number of content bytes that had to come from outside.
///
/// # Errors
/// The state it stopped in, when it does not get there.
pub fn receive<D: Disk>(
    staging: &mut TestStaging<D>,
    release: &TestRelease,
) -> Result<u64, StepOutcome> {
    let (mut received, mut rounds) = (0, 0);
    while rounds < 100 {
        match staging.step(64 * 1024) {
            StepOutcome::More => continue,
            StepOutcome::Complete => return Ok(received),
            StepOutcome::Failed => return Err(StepOutcome::Failed),
            StepOutcome::Waiting => rounds += 1,
        }
        let mut runs = Vec::new();
        staging.missing(&mut |run| runs.push(run));
        for run in runs {
            for ordinal in run.first..run.first + run.count {
                let chunk = release.chunk(run.object, ordinal);
                let taken = staging.record(run.object, Ordinal(ordinal), 0, chunk.len(), chunk);
                if taken == Taken::Failed {
                    return Err(StepOutcome::Failed);
                }
                if run.object == Object::Content {
                    received += chunk.len() as u64;
                }
            }
        }
    }
    Err(StepOutcome::Waiting)
}

/// Receives and installs a release as the directory `kiosks`.
///
/// # Errors
/// What the installation says; [`InstallError::Incomplete`] when it could not
/// be received.
pub fn deliver<D: Disk>(disk: &D, release: &TestRelease) -> Result<(Installed, u64), InstallError> {
    let mut staging = resume(disk, release)?;
    for _ in 0..10 {
        let received = receive(&mut staging, release).map_err(|_| InstallError::Incomplete)?;
        match install(&mut staging, kiosks(), &mut |_| Ok::<(), NotPersisted>(())) {
            Ok(installed) => {
                let area = Area::open(disk)?;
                while !area.empty_trash(3)? {}
                return Ok((installed, received));
            }
            Err(InstallError::Incomplete) => {}
            Err(error) => return Err(error),
        }
    }
    Err(InstallError::Incomplete)
}

/// The directory that tests install into.
///
/// # Panics
/// Never: the name is safe.
#[must_use]
pub fn kiosks() -> Component<'static> {
    Component::parse(b"kiosks").expect("a plain name")
}
