//! The signed authority documents of a fleet, in the order of their versions.

use fleetcast_core::chain::Documents;
use fleetcast_core::crypto::sign::Context;
use fleetcast_core::digest::Digest;
use fleetcast_core::limits::MAX_AUTHORITY;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::wire::chain::Wanted;

/// One version.
struct Version {
    number: u32,
    digest: Digest,
    document: Vec<u8>,
    /// The batch of changes that makes it durable.
    batch: u64,
}

/// All versions; those that are not durable yet are shown to nobody.
#[derive(Default)]
pub(super) struct Chain {
    versions: Vec<Version>,
    /// The newest batch that is durable.
    durable: u64,
}

impl Chain {
    /// The chain of a catalog.
    pub(super) fn of(documents: Vec<(u32, Vec<u8>)>) -> Self {
        let mut chain = Self::default();
        for (number, document) in documents {
            let signed = SignedDocument::parse(&document, MAX_AUTHORITY);
            // One that cannot be read was refused when the catalog was.
            let Ok(digest) = signed.map(|signed| signed.digest(Context::Authority)) else {
                continue;
            };
            chain.push(number, digest, document, 0);
        }
        chain
    }

    /// Adds the next version, which is durable with a batch of changes.
    pub(super) fn push(&mut self, number: u32, digest: Digest, document: Vec<u8>, batch: u64) {
        self.versions.push(Version { number, digest, document, batch });
    }

    /// A batch is durable, and all before it.
    pub(super) fn persisted(&mut self, batch: u64) {
        self.durable = self.durable.max(batch);
    }

    /// The signed documents of versions above `known`, oldest first.
    pub(super) fn above(&self, known: u32) -> impl Iterator<Item = (u32, &[u8])> {
        let newer = self.versions.iter().filter(move |version| version.number > known);
        newer.map(|version| (version.number, &version.document[..]))
    }
}

impl Documents for Chain {
    fn document(&self, digest: &Digest, wanted: Wanted) -> Option<&[u8]> {
        let at = self.versions.iter().position(|version| version.digest == *digest)?;
        let found = self.versions.get(at + usize::from(wanted == Wanted::Successor))?;
        // What a crash could take must not be trusted by anybody.
        (found.batch <= self.durable).then_some(&found.document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_shown_when_it_is_durable_and_not_before() {
        let digest = |n| Digest([n; 32]);
        let mut chain = Chain::default();
        chain.push(1, digest(1), vec![1], 0);
        chain.push(2, digest(2), vec![2], 5);
        let after =
            |chain: &Chain| chain.document(&digest(1), Wanted::Successor).map(<[u8]>::to_vec);
        assert_eq!(chain.document(&digest(1), Wanted::Itself), Some(&[1][..]));
        assert_eq!(after(&chain), None);
        chain.persisted(4);
        assert_eq!((after(&chain), chain.document(&digest(2), Wanted::Itself)), (None, None));
        chain.persisted(5);
        assert_eq!(after(&chain), Some(vec![2]));
        assert_eq!(chain.document(&digest(2), Wanted::Successor), None);
        assert_eq!(chain.document(&digest(3), Wanted::Itself), None);
        assert_eq!(chain.above(1).collect::<Vec<_>>(), [(2, &[2][..])]);
        assert_eq!(chain.above(2).count(), 0);
    }
}
