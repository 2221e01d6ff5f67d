//! The rules of the chain against a model of their own: sets of small numbers in
//! place of keys, and none of the code under test.

use std::collections::BTreeSet;
use std::vec::Vec as List;

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::super::document::{add_signature, append_signature, assemble, signed_len};
use super::super::fixtures::{FLEET, authority, body, key, public, revoke, signed, trusted};
use super::*;
use crate::limits::MAX_SIGNATURES;

/// A document as the model knows it: keys are the numbers of their seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    version: u32,
    fleet: FleetId,
    admins: List<u8>,
    threshold: u8,
    revoked: List<u8>,
    reset_epoch: u32,
}

/// A signature as the model knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    /// By this key, over this document.
    By(u8),
    /// By the first key, in the name of the second.
    InTheNameOf(u8, u8),
    /// By this key, over another document or for another purpose.
    Other(u8),
}

impl Model {
    fn counts(&self) -> BTreeSet<u8> {
        self.admins.iter().copied().filter(|admin| !self.revoked.contains(admin)).collect()
    }

    /// Whether a document says something that can be.
    fn is_sound(&self) -> bool {
        let different = self.admins.iter().collect::<BTreeSet<_>>().len() == self.admins.len();
        let threshold = usize::from(self.threshold);
        self.version > 0 && different && threshold >= 1 && threshold <= self.admins.len()
    }

    fn is_signed(&self, signatures: &[Signed]) -> bool {
        let valid = signatures.iter().filter_map(|signature| match signature {
            Signed::By(key) => Some(*key),
            Signed::InTheNameOf(..) | Signed::Other(_) => None,
        });
        let valid: BTreeSet<u8> = valid.collect();
        valid.intersection(&self.counts()).count() >= usize::from(self.threshold)
    }

    /// Whether `next` follows with these signatures, by PROTOCOL T1 and T2.
    fn accepts(&self, next: &Self, signatures: &[Signed]) -> bool {
        next.is_sound()
            && u64::from(next.version) == u64::from(self.version) + 1
            && next.fleet == self.fleet
            && next.reset_epoch >= self.reset_epoch
            && self.is_signed(signatures)
            && next.is_signed(signatures)
    }

    fn document(&self) -> AuthorityDocument {
        AuthorityDocument {
            version: self.version,
            fleet: self.fleet,
            admins: self.admins.iter().copied().map(public).collect(),
            threshold: self.threshold,
            revoked: self.revoked.iter().map(|&key| Fingerprint::of(&public(key).0)).collect(),
            reset_epoch: self.reset_epoch,
            ..authority(1)
        }
    }

    /// The document's bytes under these signatures, in that order.
    fn signed(&self, signatures: &[Signed]) -> List<u8> {
        let body = body(&self.document());
        let mut bytes = std::vec![0; signed_len(body.len(), MAX_SIGNATURES)];
        let mut len = assemble(&body, &mut bytes).unwrap();
        for signature in signatures {
            len = match *signature {
                Signed::By(by) => add_signature(&mut bytes, len, Context::Authority, &key(by)),
                Signed::Other(by) => add_signature(&mut bytes, len, Context::Release, &key(by)),
                Signed::InTheNameOf(by, name) => {
                    let made = key(by).sign(Context::Authority, &[&body]);
                    append_signature(&mut bytes, len, Fingerprint::of(&public(name).0), &made)
                }
            }
            .unwrap();
        }
        bytes.truncate(len);
        bytes
    }
}

/// Chance, the same in every run.
struct Chance(ChaCha20Rng);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound
    }

    /// Some of the keys 1 to 6, each with this chance in percent.
    fn some(&mut self, percent: u32) -> List<u8> {
        (1..=6).filter(|_| self.below(100) < percent).collect()
    }

    fn first(&mut self) -> Model {
        let admins = [self.some(50), std::vec![1]].concat().into_iter().collect::<BTreeSet<_>>();
        let admins: List<u8> = admins.into_iter().collect();
        let threshold = 1 + self.below(admins.len() as u32) as u8;
        let (version, reset_epoch) = (1 + self.below(3), self.below(3));
        Model { version, fleet: FLEET, admins, threshold, revoked: List::new(), reset_epoch }
    }

    /// What could follow, or nearly.
    fn next(&mut self, before: &Model) -> Model {
        let mut next = Model { version: before.version + 1, ..before.clone() };
        match self.below(10) {
            0 => next.version = self.below(6),
            1 => next.fleet = FleetId([9; 16]),
            2 => next.reset_epoch = self.below(4),
            _ => {}
        }
        if self.below(2) == 0 {
            next.admins = self.some(50);
        }
        if self.below(8) == 0 {
            next.admins.extend(next.admins.first().copied());
        }
        if self.below(2) == 0 {
            next.threshold = self.below(5) as u8;
        }
        if self.below(3) == 0 {
            next.revoked = self.some(20);
        }
        next
    }

    fn signatures(&mut self) -> List<Signed> {
        let mut signatures = List::new();
        for by in self.some(60) {
            signatures.push(match self.below(10) {
                0 => Signed::Other(by),
                1 => Signed::InTheNameOf(by, 1 + self.below(6) as u8),
                _ => Signed::By(by),
            });
        }
        signatures
    }
}

/// Later signatures in one name replace earlier ones, as the writer does.
fn as_written(signatures: &[Signed]) -> List<Signed> {
    let name = |signature: &Signed| match *signature {
        Signed::By(by) | Signed::Other(by) | Signed::InTheNameOf(_, by) => by,
    };
    let mut written: List<Signed> = List::new();
    for signature in signatures {
        written.retain(|earlier| name(earlier) != name(signature));
        written.push(match *signature {
            Signed::InTheNameOf(by, of) if by == of => Signed::By(by),
            other => other,
        });
    }
    written
}

#[test]
fn the_chain_takes_what_the_model_takes_and_nothing_else() {
    // PROTOCOL T1, PROTOCOL T2
    let mut chance = Chance(ChaCha20Rng::from_seed([7; 32]));
    let (mut taken, mut refused) = (0, 0);
    for case in 0..400 {
        let first = chance.first();
        let by_all: List<Signed> = first.admins.iter().copied().map(Signed::By).collect();
        let bytes = first.signed(&by_all);
        let pinned = SignedDocument::parse(&bytes, 1_024).unwrap().digest(Context::Authority);
        let trusted = TrustedAuthority::pin(&bytes, pinned).unwrap();
        let next = chance.next(&first);
        let signatures = as_written(&chance.signatures());
        let found = trusted.advance(&next.signed(&signatures));
        let expected = first.accepts(&next, &signatures);
        assert_eq!(found.is_ok(), expected, "case {case}: {first:?} {next:?} {signatures:?}");
        if let Ok(found) = found {
            assert_eq!(*found.document(), next.document());
            // Rollback, and the same once more: neither follows.
            assert!(found.advance(&bytes).is_err());
            assert!(found.advance(&next.signed(&signatures)).is_err());
        }
        *(if expected { &mut taken } else { &mut refused }) += 1;
    }
    // Enough of both that neither rule hides behind the other.
    assert!(taken >= 40 && refused >= 40, "{taken} taken, {refused} refused");
}

#[test]
fn one_signer_counts_once_however_often_it_stands_there() {
    // PROTOCOL T1: written by hand, since the writer replaces a signature.
    let model = Model {
        version: 1,
        fleet: FLEET,
        admins: std::vec![1, 2],
        threshold: 2,
        revoked: List::new(),
        reset_epoch: 0,
    };
    let bytes = model.signed(&[Signed::By(1), Signed::By(2)]);
    let pinned = SignedDocument::parse(&bytes, 1_024).unwrap().digest(Context::Authority);
    let trusted = TrustedAuthority::pin(&bytes, pinned).unwrap();
    let next = Model { version: 2, ..model };
    let mut twice = next.signed(&[Signed::By(1)]);
    let count = twice.len() - 73;
    let entry = twice[count + 1..].to_vec();
    twice.extend(entry);
    twice[count] = 2;
    let untrusted = Untrusted { valid: 1, threshold: 2 };
    let refused = Err(AuthorityRefused::UntrustedByPredecessor(untrusted));
    assert_eq!(trusted.advance(&twice), refused);
    assert!(trusted.advance(&next.signed(&[Signed::By(2), Signed::By(1)])).is_ok());
}

#[test]
fn a_ninth_admin_a_ninth_signature_and_a_body_beyond_its_bound_are_refused() {
    let trusted = trusted(|_| {});
    // Nine admins: postcard counts them in one byte; the rest of the body is moved.
    let mut nine =
        body(&AuthorityDocument { admins: (1..=8).map(public).collect(), ..authority(2) });
    let admins = 1 + 16;
    assert_eq!(nine[admins], 8, "by hand: version, fleet, then the number of admins");
    nine[admins] = 9;
    let at = admins + 1 + 8 * 32;
    nine.splice(at..at, public(9).0);
    let nine = signed(Context::Authority, &nine, &[1, 2]);
    assert!(matches!(trusted.advance(&nine), Err(AuthorityRefused::Malformed(_))));
    // A body of 1,025 bytes is not looked at.
    let long = signed(Context::Authority, &[0; 1_025], &[1, 2]);
    assert_eq!(trusted.advance(&long), Err(AuthorityRefused::Malformed(Malformed::Bound)));
    let mut many = signed(Context::Authority, &body(&authority(2)), &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(trusted.advance(&many).is_ok());
    let count = many.len() - 8 * 72 - 1;
    many[count] = 9;
    many.extend([0; 72]);
    assert_eq!(trusted.advance(&many), Err(AuthorityRefused::Malformed(Malformed::Bound)));
}

#[test]
fn what_became_stricter_and_who_answers_next_follow_from_the_documents() {
    // PROTOCOL A3
    let second = Controller { exchange: StaticKey([0xC1; 32]), signing: public(51) };
    let two = trusted(|document| document.controllers.push(second).unwrap());
    let (first_key, second_key) = (StaticKey([0xC0; 32]), StaticKey([0xC1; 32]));
    assert_eq!(two.controller_after(&first_key), Some(second_key));
    assert_eq!(two.controller_after(&second_key), Some(first_key));
    assert_eq!(two.controller_after(&StaticKey([1; 32])), Some(first_key));
    assert_eq!(two.controller(&second_key), Some(public(51)));
    let one = trusted(|document| {
        document.controllers.push(second).unwrap();
        revoke(document, 51);
    });
    assert_eq!(one.controller_after(&first_key), Some(first_key));
    assert_eq!(one.controller(&second_key), None);
    assert_eq!(trusted(|document| document.controllers.clear()).controller_after(&first_key), None);

    let before = trusted(|_| {});
    let stricter = |change: fn(&mut AuthorityDocument)| trusted(change).is_stricter_than(&before);
    assert!(!stricter(|_| {}));
    assert!(!stricter(|document| document.admins.push(public(4)).unwrap()));
    assert!(!stricter(|document| document.threshold = 1));
    assert!(stricter(|document| document.threshold = 3));
    assert!(stricter(|document| document.admins.truncate(2)));
    assert!(stricter(|document| revoke(document, 9)));
    assert!(stricter(|document| document.reset_epoch = 5));
}
