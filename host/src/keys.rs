//! Secret keys in files of `STATE/keys/`, which only their owner can read.
//!
//! A file is whole or not there (written beside, synced, renamed), refuses to be
//! read when group or others have any right to it, and may in addition be
//! sealed by a passphrase.

mod file;
mod seal;

use std::fmt;
use std::path::{Path, PathBuf};

use fleetcast_core::crypto::noise::StaticPair;
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::ids::StaticKey;

pub use file::KeyError;
pub use seal::Seal;

use crate::private;

/// An admin's key: signs releases, memberships, vouchers, authority documents.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminKey {
    /// Ed25519 seed (RFC 8032, the 32-byte private key).
    pub seed: [u8; 32],
}

/// The keys of the server's controller, or of a device: one to shake hands, one to sign.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey {
    /// X25519 secret (RFC 7748, before clamping).
    pub secret: [u8; 32],
    /// Ed25519 seed (RFC 8032).
    pub seed: [u8; 32],
}

impl AdminKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`KeyError::Entropy`].
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self { seed: random()? })
    }

    /// The key that signs.
    #[must_use]
    pub fn signing(&self) -> SigningKey {
        SigningKey::from_seed(&self.seed)
    }
}

impl NodeKey {
    /// The public half of the key that shakes hands.
    #[must_use]
    pub fn exchange(&self) -> StaticKey {
        *StaticPair::from_secret(&self.secret).public()
    }

    /// New random keys.
    ///
    /// # Errors
    /// [`KeyError::Entropy`].
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self { secret: random()?, seed: random()? })
    }

    /// The key that signs.
    #[must_use]
    pub fn signing(&self) -> SigningKey {
        SigningKey::from_seed(&self.seed)
    }
}

/// Secrets are never printed.
impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminKey({})", self.signing().verifying_key())
    }
}

/// Secrets are never printed.
impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.signing().verifying_key())
    }
}

/// Which node's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The server's controller.
    Controller,
    /// What the server's controller will be, once an authority document names it.
    NextController,
    /// A receiver.
    Device,
}

impl Node {
    const fn word(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::NextController => "controller-next",
            Self::Device => "device",
        }
    }
}

/// The directory of keys.
#[derive(Clone, Debug)]
pub struct Keys {
    directory: PathBuf,
}

/// Name of the admin key's file and kind.
const ADMIN: &str = "admin";

impl Keys {
    /// Opens the directory, or makes it with mode 0700.
    ///
    /// # Errors
    /// [`KeyError::Io`]; [`KeyError::Exposed`] when others have rights to it.
    pub fn open(directory: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: directory.to_owned(), source };
        private::make_directory(directory).map_err(io)?;
        file::check_mode(directory, &std::fs::metadata(directory).map_err(io)?)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// How the admin key is sealed, or `None` when there is none.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn admin_sealed_by_passphrase(&self) -> Result<Option<bool>, KeyError> {
        let sealed = file::read(&self.path(ADMIN))?;
        Ok(sealed.map(|document| document.has_passphrase()))
    }

    /// The admin key, or `None` when there is none. A passphrase is needed only
    /// where one seals it.
    ///
    /// # Errors
    /// [`KeyError::PassphraseNeeded`], [`KeyError::WrongPassphrase`] and others.
    pub fn admin(&self, passphrase: Option<&[u8]>) -> Result<Option<AdminKey>, KeyError> {
        let secret = self.load::<32>(ADMIN, passphrase)?;
        Ok(secret.map(|seed| AdminKey { seed }))
    }

    /// Stores the admin key, in place of one before.
    ///
    /// # Errors
    /// [`KeyError`]; then the one before is still there.
    pub fn store_admin(&self, key: &AdminKey, seal: Seal<'_>) -> Result<(), KeyError> {
        self.store(ADMIN, &key.seed, seal)
    }

    /// Writes an admin key to a new file of its own, to be carried elsewhere.
    ///
    /// # Errors
    /// [`KeyError`], also when there is such a file.
    pub fn write_admin(path: &Path, key: &AdminKey, seal: Seal<'_>) -> Result<(), KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        if path.symlink_metadata().is_ok() {
            return Err(io(std::io::ErrorKind::AlreadyExists.into()));
        }
        file::write(path, &seal::close(ADMIN, &key.seed, seal, random()?)?)
    }

    /// Reads an admin key from a file of its own; `None` where there is none.
    ///
    /// # Errors
    /// [`KeyError::PassphraseNeeded`], [`KeyError::WrongPassphrase`] and others.
    pub fn read_admin(
        path: &Path,
        passphrase: Option<&[u8]>,
    ) -> Result<Option<AdminKey>, KeyError> {
        Ok(read_secret(path, ADMIN, passphrase)?.map(|seed| AdminKey { seed }))
    }

    /// Whether the admin key in a file of its own is sealed by a passphrase; `None` where
    /// there is none.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn is_sealed(path: &Path) -> Result<Option<bool>, KeyError> {
        Ok(file::read(path)?.map(|document| document.has_passphrase()))
    }

    /// A node's keys, or `None` when there are none.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn node(&self, node: Node) -> Result<Option<NodeKey>, KeyError> {
        let secret = self.load::<64>(node.word(), None)?;
        Ok(secret.map(|both| {
            let (mut secret, mut seed) = ([0; 32], [0; 32]);
            secret.copy_from_slice(&both[..32]);
            seed.copy_from_slice(&both[32..]);
            NodeKey { secret, seed }
        }))
    }

    /// Stores a node's keys, in place of ones before. A daemon starts without a
    /// person, so the file's mode is their only seal.
    ///
    /// # Errors
    /// [`KeyError`]; then those before are still there.
    pub fn store_node(&self, node: Node, key: &NodeKey) -> Result<(), KeyError> {
        let mut both = [0; 64];
        both[..32].copy_from_slice(&key.secret);
        both[32..].copy_from_slice(&key.seed);
        self.store(node.word(), &both, Seal::File)
    }

    /// A node's keys, made and stored when there are none.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn node_or_new(&self, node: Node) -> Result<NodeKey, KeyError> {
        if let Some(key) = self.node(node)? {
            return Ok(key);
        }
        let key = NodeKey::generate()?;
        self.store_node(node, &key)?;
        Ok(key)
    }

    /// The next controller's keys are the controller's from now on. A crash in between
    /// leaves both files with the same keys; then it is done again.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn promote_controller(&self) -> Result<(), KeyError> {
        if let Some(next) = self.node(Node::NextController)? {
            self.store_node(Node::Controller, &next)?;
            file::remove(&self.path(Node::NextController.word()))?;
        }
        Ok(())
    }

    fn load<const N: usize>(
        &self,
        kind: &str,
        passphrase: Option<&[u8]>,
    ) -> Result<Option<[u8; N]>, KeyError> {
        read_secret(&self.path(kind), kind, passphrase)
    }

    fn store(&self, kind: &str, secret: &[u8], seal: Seal<'_>) -> Result<(), KeyError> {
        let document = seal::close(kind, secret, seal, random()?)?;
        file::write(&self.path(kind), &document)
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{kind}.key"))
    }
}

fn read_secret<const N: usize>(
    path: &Path,
    kind: &str,
    passphrase: Option<&[u8]>,
) -> Result<Option<[u8; N]>, KeyError> {
    let Some(document) = file::read(path)? else { return Ok(None) };
    let secret = seal::open(&document, kind, passphrase, path)?;
    let reason = "a secret of another length";
    let damaged = || KeyError::Damaged { path: path.to_owned(), reason };
    secret.as_slice().try_into().map(Some).map_err(|_| damaged())
}

/// Random bytes from the operating system.
///
/// # Errors
/// [`KeyError::Entropy`] when it gives none.
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| KeyError::Entropy)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "keys/tests.rs"]
mod tests;
