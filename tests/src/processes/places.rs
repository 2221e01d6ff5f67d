//! Files to send and compare; what this machine cannot do.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// The directory of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `len` bytes that do not compress, the same for the same `seed`.
#[must_use]
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

/// All below a directory: paths, and the bytes of files (directories have none).
///
/// # Panics
/// When something cannot be read.
#[must_use]
pub fn tree(directory: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display())) {
            let path = entry.expect("an entry").path();
            let inner = path.strip_prefix(directory).expect("below it").to_path_buf();
            if path.is_dir() {
                found.insert(inner, None);
                open.push(path);
            } else {
                found.insert(inner, Some(fs::read(&path).expect("a file that can be read")));
            }
        }
    }
    found
}

/// Says that this test cannot run here: it counts as skipped, not as passed.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
    let Some(path) = std::env::var_os("XTASK_SKIPS") else { return };
    let mut file = File::options().create(true).append(true).open(path).expect("the file of skips");
    writeln!(file, "{reason}").expect("room for a line");
}
