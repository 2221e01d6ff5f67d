//! How a board starts: store, boot counter, seed, keys, and only then the endpoint.

use fleetcast_core::constrained::{
    ConstrainedBuffers, ConstrainedEndpoint, ConstrainedMemory, DATAGRAM,
};
use fleetcast_core::crypto::sign::SigningKey;
use fleetcast_core::ids::StaticKey;
use fleetcast_core::receiver::ReceiverConfig;
use fleetcast_core::store::{Step, Store, StoreError, StoreMemory};
use fleetcast_core::time::Instant;
use fleetcast_core::trust::authority::TrustedAuthority;
use heapless::Deque;

use super::saying::Want;
use super::scrubbing::Scrubbing;
use super::words::Words;
use super::{Appliance, DOCUMENT};
use crate::identity::{Draw, Identity, KEPT, Name};
use crate::partition::Disk;
use crate::settings::Settings;

/// The note that holds the identity.
pub(super) const IDENTITY: u8 = 0;

/// All memory of a receiver but the network's.
pub struct Memory {
    machines: ConstrainedMemory,
    store: StoreMemory,
    document: [u8; DOCUMENT],
}

impl Memory {
    /// Memory that nothing is in.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            machines: ConstrainedMemory::new(),
            store: StoreMemory::new(),
            document: [0; DOCUMENT],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a board cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotStart {
    /// The store cannot be opened, or written.
    Store(StoreError),
    /// There is no seed: neither kept, nor in the settings.
    NoSeed,
    /// It is not enrolled, and the settings hold no code.
    NotEnrolled,
}

impl From<StoreError> for CannotStart {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What is lent to endpoint and session, and room for a signed document.
type Lent<'m> = (&'m mut [u8], ConstrainedBuffers<'m>, &'m mut [u8; DOCUMENT]);

/// What a receiver is put together from, besides its store.
struct Parts<'m> {
    identity: Identity,
    device: StaticKey,
    signing: SigningKey,
    endpoint: ConstrainedEndpoint<'m>,
    buffers: ConstrainedBuffers<'m>,
    document: &'m mut [u8; DOCUMENT],
    boot: u64,
    random: u64,
}

impl<'m, D: Disk> Appliance<'m, D> {
    /// Opens the store, or makes one on a blank disk, and begins to connect. The receiver
    /// is made in `place`: a board's stack has no room for it. Lends the room for
    /// datagrams to the driver.
    ///
    /// `fallback` names a board whose settings do not.
    ///
    /// # Errors
    /// [`CannotStart`].
    #[inline(never)]
    pub fn open<'p>(
        place: &'p mut Option<Self>,
        mut disk: D,
        memory: &'m mut Memory,
        settings: &Settings<'_>,
        fallback: &str,
        now: Instant,
    ) -> Result<(&'p mut Self, &'m mut [u8; DATAGRAM]), CannotStart> {
        let Memory { machines, store, document } = memory;
        let (buffers, messages, datagram) = machines.lend();
        make_store(&mut disk, store)?;
        let store = open_store(disk, store)?;
        let lent = (messages, buffers, document);
        Ok((Self::start(place, store, lent, settings, fallback, now)?, datagram))
    }

    /// Begins to connect over an open store.
    // Apart from what opened it, as is `assemble`: a store is 1.4 KB, and each of them
    // has room for copies on the stack.
    #[inline(never)]
    fn start<'p>(
        place: &'p mut Option<Self>,
        mut store: Store<'m, D>,
        (messages, buffers, document): Lent<'m>,
        settings: &Settings<'_>,
        fallback: &str,
        now: Instant,
    ) -> Result<&'p mut Self, CannotStart> {
        // PROTOCOL H6: durable before the first initiation.
        let boot = store.next_boot()?;
        let kept = store.seed()?;
        let seed = kept.or(settings.seed.map(|digest| digest.0)).ok_or(CannotStart::NoSeed)?;
        let draw = Draw::from(&seed, boot);
        store.put_seed(&draw.next)?;
        let identity = identify(&mut store, settings, fallback, &draw)?;
        // What is free is known before the server is told.
        while store.step()? == Step::More {}
        let config = config(&identity, &draw, boot);
        let parts = Parts {
            device: identity.device(),
            signing: SigningKey::from_seed(&identity.signing),
            endpoint: ConstrainedEndpoint::over(&config, messages, now),
            identity,
            buffers,
            document,
            boot,
            random: draw.small,
        };
        Ok(Self::assemble(place, store, parts))
    }

    #[inline(never)]
    fn assemble<'p>(
        place: &'p mut Option<Self>,
        store: Store<'m, D>,
        parts: Parts<'m>,
    ) -> &'p mut Self {
        let Parts { identity, device, signing, endpoint, buffers, document, boot, random } = parts;
        place.insert(Self {
            device,
            signing,
            identity,
            boot,
            endpoint,
            store,
            authority: None,
            delivery: None,
            buffers: Some(buffers),
            document,
            pieces: None,
            words: Words::default(),
            want: Want::default(),
            failed: None,
            events: Deque::new(),
            work_at: None,
            scrubbing: Scrubbing::new(),
            nonce: None,
            random,
            member: false,
        })
    }

    /// Trusts the authority document that is kept, checked again.
    ///
    /// # Errors
    /// When the store cannot be read.
    #[inline(never)]
    pub fn recall(&mut self) -> Result<(), CannotStart> {
        let kept = self.store.authority(&mut self.document[..])?;
        self.authority = TrustedAuthority::pin(kept, self.identity.trusted).ok();
        // The power may have failed between the document and what follows from it.
        self.follow_controller(Instant::ZERO);
        Ok(())
    }
}

fn config(identity: &Identity, draw: &Draw, boot: u64) -> ReceiverConfig {
    ReceiverConfig {
        static_secret: identity.secret,
        server_key: identity.enrolment.controller,
        server: identity.enrolment.server,
        token: identity.enrolment.token,
        boot,
        constrained: true,
        max_datagram: DATAGRAM as u16,
        seed: draw.endpoint,
    }
}

/// Makes a store where there is nothing at all.
fn make_store<D: Disk>(disk: &mut D, memory: &mut StoreMemory) -> Result<(), CannotStart> {
    if probe(disk, memory) == Err(StoreError::Blank) {
        format(disk, memory)?;
    }
    Ok(())
}

#[inline(never)]
fn probe<D: Disk>(disk: &mut D, memory: &mut StoreMemory) -> Result<(), StoreError> {
    Store::open(disk, memory.lend()).map(drop).map_err(|(_, error)| error)
}

#[inline(never)]
fn format<D: Disk>(disk: &mut D, memory: &mut StoreMemory) -> Result<(), StoreError> {
    Store::format(disk, memory.lend()).map(drop).map_err(|(_, error)| error)
}

#[inline(never)]
fn open_store<D: Disk>(disk: D, memory: &mut StoreMemory) -> Result<Store<'_, D>, CannotStart> {
    Store::open(disk, memory.lend()).map_err(|(_, error)| CannotStart::Store(error))
}

/// The identity that is kept, under a new code if there is one; or a new one.
#[inline(never)]
fn identify<D: Disk>(
    store: &mut Store<'_, D>,
    settings: &Settings<'_>,
    fallback: &str,
    draw: &Draw,
) -> Result<Identity, CannotStart> {
    let mut kept = [0; KEPT];
    let known = Identity::read(store.note(IDENTITY, &mut kept)?);
    let wanted = settings.enrolment.as_ref();
    let named = |name: &str| Name::try_from(name).unwrap_or_default();
    let identity = match (known, wanted) {
        (Some(known), None) => return Ok(known),
        (Some(known), Some(wanted)) if is_same(&known, wanted) => return Ok(known),
        (Some(known), Some(wanted)) => Identity {
            // Under another authority nothing counts that was trusted before.
            trusted: if known.enrolment.authority == wanted.authority {
                known.trusted
            } else {
                wanted.authority
            },
            enrolment: wanted.clone(),
            name: settings.name.map_or_else(|| known.name.clone(), named),
            ..known
        },
        (None, Some(wanted)) => Identity {
            secret: draw.keys.0,
            signing: draw.keys.1,
            trusted: wanted.authority,
            enrolment: wanted.clone(),
            name: named(settings.name.unwrap_or(fallback)),
        },
        (None, None) => return Err(CannotStart::NotEnrolled),
    };
    identity.write(&mut kept);
    store.put_note(IDENTITY, &kept)?;
    Ok(identity)
}

/// Whether a code tells nothing that is not known: its token may have been used.
fn is_same(known: &Identity, wanted: &crate::code::Enrolment) -> bool {
    let token = known.enrolment.token.is_none() || known.enrolment.token == wanted.token;
    let known = &known.enrolment;
    token
        && (known.server, known.controller, known.authority)
            == (wanted.server, wanted.controller, wanted.authority)
}
