//! `receipts verify`: what an exported file proves, by itself and one digest that its
//! reader trusts.
//!
//! ```text
//! receipt ◀─ signing key ◀─ device's static key ◀─ membership ◀─ (voucher ◀─) authority
//! ```
//! The first arrow is a signature, the second arithmetic (PROTOCOL T9), the others are
//! signatures of admins, or of the controller within a voucher that admins have signed.
//! Nothing of it rests on the server's word; names do, which only help to read it.

use std::path::{Path, PathBuf};

use fleetcast_core::crypto::device::signing_key_of;
use fleetcast_core::crypto::sign::Context as Purpose;
use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId, ReleaseOrder, StaticKey, VerifyingKey};
use fleetcast_core::limits::MAX_AUTHORITY;
use fleetcast_core::trust::authority::TrustedAuthority;
use fleetcast_core::trust::document::SignedDocument;
use fleetcast_core::trust::membership::VerifiedMembership;
use fleetcast_core::trust::statement::Receipt;
use fleetcast_core::wire::control::ReleaseName;
use serde::{Deserialize, Serialize};

use crate::api::model::{Hex, ReceiptItem};
use crate::cli::context::{Context, DONE, Outcome};
use crate::cli::printer;
use crate::error::Failure;
use crate::units::{format_count, printable, quoted, quoted_path};

/// An exported file.
#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) schema: u32,
    pub(super) kind: String,
    pub(super) items: Vec<ReceiptItem>,
    /// The authority documents, from the first on.
    #[serde(default)]
    pub(super) authority: Vec<Hex>,
}

/// What checking an exported file has shown.
#[derive(Debug, Serialize)]
struct VerifiedItem {
    ok: bool,
    receipts: usize,
    /// Receipts whose signature does not fit what they say.
    bad: Vec<String>,
    /// Receipts that a key has signed which only the server says to be the device's:
    /// those of boards, and of older versions.
    unbound: Vec<String>,
    /// Receipts without a membership that admins stand behind.
    unproven: Vec<String>,
    /// Digest of the first authority document, on which all memberships rest.
    authority: String,
    /// Whether that is the one that the caller has named.
    trusted: bool,
}

/// What a receipt proves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The signature is none of the key that stands there.
    Bad,
    /// Signed by a key of which only the server says that it is the device's.
    Unbound,
    /// Signed by the device; its membership is not proved.
    Unproven,
    /// Signed by the device, which admins have made a member of the group.
    Whole,
}

/// Options of `receipts verify`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// What `receipts export` wrote
    file: PathBuf,
    /// Digest of the fleet's first authority document, as `fleetcast invite --json` names it;
    /// without it the file's own is shown, to be compared
    #[arg(long, value_name = "DIGEST")]
    authority: Option<String>,
    /// Fail also for receipts of which not all is proved
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(context: &Context, options: &Options) -> Outcome {
    let document = read(&options.file)?;
    let pinned = options.authority.as_deref().map(parse_digest).transpose()?;
    let chain = chain(&document.authority, pinned)?;
    let name = |item: &ReceiptItem| format!("{} {}#{}", item.receiver, item.group, item.sequence);
    let proofs: Vec<(Proof, String)> =
        document.items.iter().map(|item| (proof(item, &chain), name(item))).collect();
    let of = |wanted: Proof| -> Vec<String> {
        let found = proofs.iter().filter(|(proof, _)| *proof == wanted);
        found.map(|(_, name)| name.clone()).collect()
    };
    let (bad, unbound, unproven) = (of(Proof::Bad), of(Proof::Unbound), of(Proof::Unproven));
    let whole = bad.is_empty() && unbound.is_empty() && unproven.is_empty();
    let ok = if options.strict { whole && pinned.is_some() } else { bad.is_empty() };
    let authority = chain.first().map(|first| first.digest().to_string()).unwrap_or_default();
    let trusted = pinned.is_some();
    let receipts = proofs.len();
    let item = VerifiedItem { ok, receipts, bad, unbound, unproven, authority, trusted };
    let failure = (!ok).then(|| failure_of(&item));
    printer::item(context, "receipts-verified", item, describe);
    failure.map_or(Ok(DONE), Err)
}

/// Why it fails, in one sentence: the item says which receipts.
fn failure_of(item: &VerifiedItem) -> Failure {
    let all = format_count(item.receipts as u64, "receipt");
    let lacking = item.unbound.len() + item.unproven.len();
    if !item.bad.is_empty() {
        let message = format!("{} of {all} do not fit their signatures", item.bad.len());
        let hint = "export them once more; if they stay so, somebody has changed them";
        return Failure::failed("receipts-bad", message, hint);
    }
    if lacking > 0 {
        let message = format!("{lacking} of {all} are not proved in all that they say");
        let hint = "leave --strict out, if the server's word is enough for these";
        return Failure::failed("receipts-unproved", message, hint);
    }
    let message = format!("{all} rest on an authority document that nobody has vouched for");
    let hint = "add --authority DIGEST; `fleetcast invite --json` names it at your server";
    Failure::failed("receipts-unproved", message, hint)
}

fn describe(item: &VerifiedItem) -> String {
    let count = format_count(item.receipts as u64, "receipt");
    let mut text = format!("{count}, {} bad\n", item.bad.len());
    if item.receipts > item.bad.len() {
        text.push_str(
            "proved by the devices' own signatures: which device has installed which release, \
             by their ids, and when by its clock\n\
             the names of receivers and groups are the server's word\n",
        );
    }
    let lists = [
        ("bad", &item.bad),
        ("signed by a key that only the server says to be the device's", &item.unbound),
        ("signed by the device, whose membership is not proved", &item.unproven),
    ];
    for (what, names) in lists {
        names.iter().for_each(|name| text.push_str(&format!("{what}: {}\n", printable(name))));
    }
    if !item.trusted && !item.authority.is_empty() {
        text.push_str(&format!(
            "memberships rest on the authority document {} of the file itself: compare it with \
             your fleet's, and name it by --authority\n",
            item.authority
        ));
    }
    text
}

fn read(file: &Path) -> Result<Document, Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::io(file.display(), &error))?;
    serde_json::from_str(&text).map_err(|error| {
        let message = format!("{} holds no receipts: {error}", quoted_path(file));
        Failure::failed("receipts-malformed", message, "name what `receipts export` wrote")
    })
}

fn parse_digest(text: &str) -> Result<Digest, Failure> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    let digest = bytes.and_then(|bytes| bytes.try_into().ok()).map(Digest);
    digest.ok_or_else(|| {
        let message = format!("{} is no digest of an authority document", quoted(text));
        Failure::usage("usage", message, "it has 64 hexadecimal digits")
    })
}

/// The file's authority documents, each trusted by the one before, the first by its pin.
fn chain(documents: &[Hex], pinned: Option<Digest>) -> Result<Vec<TrustedAuthority>, Failure> {
    let broken = |fault: &dyn std::fmt::Debug| {
        let message = format!("the file's authority documents are not those: {fault:?}");
        Failure::failed("not-trusted", message, "export the receipts once more, or ask the admin")
    };
    let mut chain: Vec<TrustedAuthority> = Vec::new();
    for Hex(document) in documents {
        let next = match (chain.last(), pinned) {
            (Some(known), _) => known.advance(document),
            (None, Some(pinned)) => TrustedAuthority::pin(document, pinned),
            (None, None) => {
                let signed = SignedDocument::parse(document, MAX_AUTHORITY);
                let signed = signed.map_err(|fault| broken(&fault))?;
                TrustedAuthority::pin(document, signed.digest(Purpose::Authority))
            }
        };
        chain.push(next.map_err(|fault| broken(&fault))?);
    }
    if chain.is_empty() && pinned.is_some() {
        return Err(broken(&"there are none"));
    }
    Ok(chain)
}

/// What a receipt proves, given whom the fleet has trusted in the course of time.
fn proof(item: &ReceiptItem, chain: &[TrustedAuthority]) -> Proof {
    let Some((receipt, signing, signature)) = parse(item) else { return Proof::Bad };
    let own = ReceiverId::of(&receipt.device).to_string() == item.id;
    if !own || receipt.verify(&signing, &signature).is_err() {
        return Proof::Bad;
    }
    // PROTOCOL T9
    if signing_key_of(&receipt.device) != Some(signing) {
        return Proof::Unbound;
    }
    let (certificate, voucher) = (&item.certificate.0, &item.voucher.0);
    let stands = |authority: &TrustedAuthority| {
        let device = &receipt.device;
        let verified = VerifiedMembership::verify(authority, device, certificate, voucher);
        verified.is_ok_and(|member| member.membership().group == receipt.release.group)
    };
    // What counted then may have been revoked since: any version will do.
    if chain.iter().any(stands) { Proof::Whole } else { Proof::Unproven }
}

fn parse(item: &ReceiptItem) -> Option<(Receipt, VerifyingKey, [u8; 64])> {
    let device = StaticKey(item.device_key.array()?);
    let signing = VerifyingKey(item.signing_key.array()?);
    let order = ReleaseOrder { reset_epoch: item.reset_epoch, sequence: item.sequence };
    let (group, digest) = (GroupId(item.group_id.array()?), Digest(item.release.array()?));
    let release = ReleaseName { group, order, digest };
    let receipt = Receipt { device, release, at: item.installed };
    Some((receipt, signing, item.signature.array()?))
}
