//! What only a removed admin has signed, signed anew by one that stays.

use std::fmt;

use fleetcast_core::crypto::sign::{Context as Purpose, SigningKey};
use fleetcast_core::ids::{GroupId, StaticKey};
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::trust::authority::AuthorityDocument;
use fleetcast_core::trust::document::{Fingerprint, SignedDocument};
use fleetcast_core::trust::membership::{MAX_MEMBERSHIP, Membership};
use fleetcast_core::wire::control::encode;
use serde::Serialize;

use super::kept::verified;
use crate::api::client::{Client, misunderstood};
use crate::api::model::authority::DoubtfulRequest;
use crate::cli::context::Context;
use crate::cli::signing::signed_by;
use crate::cli::{joining, printer};
use crate::error::Failure;
use crate::ids::{array, hex};
use crate::units::now;

/// Memberships per request.
const BATCH: usize = 500;

/// Signs anew what no present admin stands behind.
///
/// # Errors
/// As the server says.
pub(super) fn all(context: &Context, client: &Client) -> Result<(), Failure> {
    let trusted = verified(context, &client.authority()?)?;
    let own = context.admin_key()?.signing();
    let renewed = renew(client, trusted.document(), &[&own])?;
    printer::item(context, "renewed", renewed, |renewed| format!("{renewed}\n"));
    Ok(())
}

/// How much was signed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Renewed {
    memberships: usize,
    groups: usize,
    releases: usize,
}

impl Renewed {
    /// Whether it was anything at all.
    pub(super) const fn is_something(&self) -> bool {
        self.memberships + self.groups + self.releases > 0
    }
}

impl fmt::Display for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memberships, groups, releases } = self;
        write!(
            f,
            "signed anew: {memberships} memberships, {groups} open groups, {releases} releases"
        )
    }
}

/// Signs anew what would count no more under a document: memberships, open groups, and
/// current releases.
///
/// # Errors
/// As the server says.
pub(super) fn renew(
    client: &Client,
    next: &AuthorityDocument,
    keys: &[&SigningKey],
) -> Result<Renewed, Failure> {
    let revoked = |key: &[u8; 32]| next.revoked.contains(&Fingerprint::of(key));
    let admins = next.admins.iter().filter(|key| !revoked(&key.0)).map(|key| hex(&key.0));
    let request = DoubtfulRequest { admins: admins.collect(), threshold: next.threshold };
    let doubtful = client.doubtful(&request)?;
    let mut certificates = Vec::new();
    for (device, group) in &doubtful.memberships {
        let device = StaticKey(array(device).ok_or_else(misunderstood)?);
        if revoked(&device.0) {
            continue;
        }
        let issued = now();
        let membership = Membership {
            fleet: next.fleet,
            device,
            group: GroupId(array(group).ok_or_else(misunderstood)?),
            serial: issued,
            issued,
            not_after: 0,
            voucher: None,
        };
        let mut body = [0; MAX_MEMBERSHIP];
        let body = encode(&membership, &mut body).map_err(|_| misunderstood())?;
        certificates.push(hex(&signed_by(body, Purpose::Membership, keys)?));
    }
    for batch in certificates.chunks(BATCH) {
        client.renew(batch.to_vec())?;
    }
    for group in &doubtful.groups {
        joining::open(client, group, keys)?;
    }
    for release in &doubtful.releases {
        sign_again(client, release, keys)?;
    }
    Ok(Renewed {
        memberships: certificates.len(),
        groups: doubtful.groups.len(),
        releases: doubtful.releases.len(),
    })
}

/// Adds signatures to a release that is in force.
fn sign_again(client: &Client, release: &str, keys: &[&SigningKey]) -> Result<(), Failure> {
    let found = client.release_document(release)?;
    let signed = SignedDocument::parse(&found.document.0, MAX_ROOT).map_err(|_| misunderstood())?;
    // What was asked for, and nothing else.
    if signed.digest(Purpose::Release).to_string() != release {
        return Err(misunderstood());
    }
    let document = signed_by(signed.body(), Purpose::Release, keys)?;
    client.sign_release(release, hex(&document)).map(drop)
}
