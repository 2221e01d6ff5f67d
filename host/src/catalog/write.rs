//! One statement per change. `$1` parameters and `ON CONFLICT` are understood by
//! SQLite and PostgreSQL alike.

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId};
use fleetcast_core::wire::control::ReleaseName;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Sqlite, query::Query};

use super::error::CatalogError;
use super::words;
use crate::model::{
    AccountRecord, AdminNameRecord, Change, DeliveryRecord, GroupRecord, HeldRecord, LogRecord,
    MembershipRecord, ProposalRecord, ReceiptRecord, ReceiverRecord, ReleaseRecord, RequestRecord,
    TokenRecord, VoucherRecord,
};

/// A statement that takes its values by copy.
type Statement = Query<'static, Sqlite, SqliteArguments>;

/// Applies one change within the connection's transaction.
pub(super) async fn change(
    connection: &mut SqliteConnection,
    change: &Change,
) -> Result<(), CatalogError> {
    if let Change::GroupGone(id) = change {
        // What receivers hold names groups without a reference to them.
        held_gone(*id).execute(&mut *connection).await?;
    }
    let statement = match change {
        Change::Receiver(record) => receiver(record),
        Change::ReceiverGone(id) => receiver_gone(*id),
        Change::Group(record) => group(record),
        Change::GroupGone(id) => group_gone(*id),
        Change::Membership(record) => membership(record),
        Change::MembershipGone(receiver, group) => membership_gone(*receiver, *group),
        Change::Request(record) => request(record),
        Change::RequestGone(receiver, group) => request_gone(*receiver, *group),
        Change::Account(record) => account(record),
        Change::AccountGone(name) => account_gone(name),
        Change::Token(record) => token(record),
        Change::TokenGone(hash) => token_gone(hash),
        Change::Voucher(record) => voucher(record),
        Change::VoucherGone(digest) => voucher_gone(*digest),
        Change::Release(record) => release(record),
        Change::Delivery(record) => delivery(record),
        Change::Held(record) => held(record),
        Change::HeldGone(receiver, group) => held_lost(*receiver, *group),
        Change::Authority(version, document) => authority(*version, document),
        Change::Proposal(record) => proposal(record),
        Change::ProposalGone(digest) => proposal_gone(*digest),
        Change::AdminName(record) => admin_name(record),
        Change::ReleaseGone(name) => release_gone(name),
        Change::Receipt(record) => receipt(record),
        Change::Mark(name, value) => mark(name, *value),
        Change::Setting(name, value) => setting(name, value.as_deref()),
        Change::Log(record) => log(record),
    };
    statement.execute(connection).await?;
    Ok(())
}

fn receiver(record: &ReceiverRecord) -> Statement {
    sqlx::query(
        "INSERT INTO receivers (id, device_key, signing_key, name, standing, constrained, boot, \
         boot_n, enrolled, last_seen, address, version, free_bytes, codecs, owner) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (id) DO UPDATE SET device_key = excluded.device_key, \
         signing_key = excluded.signing_key, name = excluded.name, standing = excluded.standing, \
         constrained = excluded.constrained, boot = excluded.boot, boot_n = excluded.boot_n, \
         enrolled = excluded.enrolled, last_seen = excluded.last_seen, \
         address = excluded.address, version = excluded.version, \
         free_bytes = excluded.free_bytes, codecs = excluded.codecs, owner = excluded.owner",
    )
    .bind(record.id.0.to_vec())
    .bind(record.key.0.to_vec())
    .bind(record.signing.map(|key| key.0.to_vec()))
    .bind(record.name.clone())
    .bind(words::standing(record.standing))
    .bind(record.constrained)
    .bind(record.order.0.cast_signed())
    .bind(record.order.1.cast_signed())
    .bind(record.enrolled.cast_signed())
    .bind(record.last_seen.cast_signed())
    .bind(record.address.map(|address| address.to_string()))
    .bind(record.version.clone())
    .bind(record.free.cast_signed())
    .bind(i16::from(record.codecs))
    .bind(record.owner.clone())
}

fn receiver_gone(id: ReceiverId) -> Statement {
    sqlx::query("DELETE FROM receivers WHERE id = $1").bind(id.0.to_vec())
}

fn group(record: &GroupRecord) -> Statement {
    sqlx::query(
        "INSERT INTO groups (id, name, is_open, created, voucher) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, is_open = excluded.is_open, \
         created = excluded.created, voucher = excluded.voucher",
    )
    .bind(record.id.0.to_vec())
    .bind(record.name.clone())
    .bind(record.open)
    .bind(record.created.cast_signed())
    .bind(record.voucher.map(|digest| digest.0.to_vec()))
}

fn group_gone(id: GroupId) -> Statement {
    sqlx::query("DELETE FROM groups WHERE id = $1").bind(id.0.to_vec())
}

fn held_gone(group: GroupId) -> Statement {
    sqlx::query("DELETE FROM held WHERE group_id = $1").bind(group.0.to_vec())
}

fn membership(record: &MembershipRecord) -> Statement {
    sqlx::query(
        "INSERT INTO memberships (receiver, group_id, certificate, voucher, since) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (receiver, group_id) DO UPDATE SET certificate = excluded.certificate, \
         voucher = excluded.voucher, since = excluded.since",
    )
    .bind(record.receiver.0.to_vec())
    .bind(record.group.0.to_vec())
    .bind(record.certificate.clone())
    .bind(record.voucher.map(|digest| digest.0.to_vec()))
    .bind(record.since.cast_signed())
}

fn membership_gone(receiver: ReceiverId, group: GroupId) -> Statement {
    sqlx::query("DELETE FROM memberships WHERE receiver = $1 AND group_id = $2")
        .bind(receiver.0.to_vec())
        .bind(group.0.to_vec())
}

fn request(record: &RequestRecord) -> Statement {
    sqlx::query(
        "INSERT INTO requests (receiver, group_id, state, reason, since, asked, proposed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (receiver, group_id) DO UPDATE SET state = excluded.state, \
         reason = excluded.reason, since = excluded.since, asked = excluded.asked, \
         proposed = excluded.proposed",
    )
    .bind(record.receiver.0.to_vec())
    .bind(record.group.0.to_vec())
    .bind(words::request_state(record.denied.is_some()))
    .bind(record.denied.clone().unwrap_or_default())
    .bind(record.since.cast_signed())
    .bind(record.asked)
    .bind(record.proposed.clone())
}

fn request_gone(receiver: ReceiverId, group: GroupId) -> Statement {
    sqlx::query("DELETE FROM requests WHERE receiver = $1 AND group_id = $2")
        .bind(receiver.0.to_vec())
        .bind(group.0.to_vec())
}

fn account(record: &AccountRecord) -> Statement {
    sqlx::query(
        "INSERT INTO accounts (name, role, password, created, changed) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET role = excluded.role, \
         password = excluded.password, created = excluded.created, changed = excluded.changed",
    )
    .bind(record.name.clone())
    .bind(record.role.word())
    .bind(record.password.clone())
    .bind(record.created.cast_signed())
    .bind(record.changed.cast_signed())
}

fn account_gone(name: &str) -> Statement {
    sqlx::query("DELETE FROM accounts WHERE name = $1").bind(name.to_owned())
}

fn token(record: &TokenRecord) -> Statement {
    sqlx::query(
        "INSERT INTO tokens (hash, account, name, is_login, created, expires, used) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (hash) DO UPDATE SET account = excluded.account, name = excluded.name, \
         is_login = excluded.is_login, created = excluded.created, expires = excluded.expires, \
         used = excluded.used",
    )
    .bind(record.hash.0.to_vec())
    .bind(record.account.clone())
    .bind(record.name.clone())
    .bind(record.login)
    .bind(record.created.cast_signed())
    .bind(record.expires.cast_signed())
    .bind(record.used.cast_signed())
}

fn token_gone(hash: &Digest) -> Statement {
    sqlx::query("DELETE FROM tokens WHERE hash = $1").bind(hash.0.to_vec())
}

fn voucher(record: &VoucherRecord) -> Statement {
    sqlx::query(
        "INSERT INTO vouchers (digest, document, token_id, token, used, uses, expires, revoked) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (digest) DO UPDATE SET document = excluded.document, \
         token_id = excluded.token_id, token = excluded.token, used = excluded.used, \
         uses = excluded.uses, expires = excluded.expires, revoked = excluded.revoked",
    )
    .bind(record.digest.0.to_vec())
    .bind(record.document.clone())
    .bind(record.token_id.0.to_vec())
    .bind(record.token.to_vec())
    .bind(i64::from(record.used))
    .bind(i64::from(record.uses))
    .bind(record.expires.cast_signed())
    .bind(record.revoked)
}

fn voucher_gone(digest: Digest) -> Statement {
    sqlx::query("DELETE FROM vouchers WHERE digest = $1").bind(digest.0.to_vec())
}

/// Binds a release's name: group, reset epoch, sequence, digest.
fn named(statement: Statement, name: &ReleaseName) -> Statement {
    statement
        .bind(name.group.0.to_vec())
        .bind(i64::from(name.order.reset_epoch))
        .bind(name.order.sequence.cast_signed())
        .bind(name.digest.0.to_vec())
}

fn release(record: &ReleaseRecord) -> Statement {
    let statement = sqlx::query(
        "INSERT INTO releases (group_id, reset_epoch, sequence, digest, label, document, files, \
         bytes, created, expires, state, rate, send_whole, priority, activate_at, \
         activate_ready) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
         ON CONFLICT (group_id, reset_epoch, sequence, digest) DO UPDATE SET \
         label = excluded.label, document = excluded.document, files = excluded.files, \
         bytes = excluded.bytes, created = excluded.created, expires = excluded.expires, \
         state = excluded.state, rate = excluded.rate, send_whole = excluded.send_whole, \
         priority = excluded.priority, activate_at = excluded.activate_at, \
         activate_ready = excluded.activate_ready",
    );
    named(statement, &record.name)
        .bind(record.label.clone())
        .bind(record.document.clone())
        .bind(record.files.cast_signed())
        .bind(record.bytes.cast_signed())
        .bind(record.created.cast_signed())
        .bind(record.expires.cast_signed())
        .bind(words::release_state(record.state))
        .bind(record.terms.rate.map(u64::cast_signed))
        .bind(record.terms.full)
        .bind(i16::from(record.terms.priority))
        .bind(record.terms.at.map(u64::cast_signed))
        .bind(record.terms.ready.map(i16::from))
}

fn delivery(record: &DeliveryRecord) -> Statement {
    let statement = sqlx::query(
        "INSERT INTO deliveries (group_id, reset_epoch, sequence, digest, id, receiver, state, \
         code, reason, bytes, path, created, updated, hold) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
         ON CONFLICT (id) DO UPDATE SET group_id = excluded.group_id, \
         reset_epoch = excluded.reset_epoch, sequence = excluded.sequence, \
         digest = excluded.digest, receiver = excluded.receiver, state = excluded.state, \
         code = excluded.code, reason = excluded.reason, bytes = excluded.bytes, \
         path = excluded.path, created = excluded.created, updated = excluded.updated, \
         hold = excluded.hold",
    );
    named(statement, &record.release)
        .bind(record.id.cast_signed())
        .bind(record.receiver.0.to_vec())
        .bind(record.state.word())
        .bind(record.code.clone())
        .bind(record.reason.clone())
        .bind(record.bytes.cast_signed())
        .bind(record.path.word())
        .bind(record.created.cast_signed())
        .bind(record.updated.cast_signed())
        .bind(record.hold.kept_word())
}

fn held(record: &HeldRecord) -> Statement {
    let statement = sqlx::query(
        "INSERT INTO held (group_id, reset_epoch, sequence, digest, receiver, held_at, receipt) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (receiver, group_id) DO UPDATE SET reset_epoch = excluded.reset_epoch, \
         sequence = excluded.sequence, digest = excluded.digest, held_at = excluded.held_at, \
         receipt = excluded.receipt",
    );
    named(statement, &record.release)
        .bind(record.receiver.0.to_vec())
        .bind(record.at.cast_signed())
        .bind(record.receipt.clone())
}

fn held_lost(receiver: ReceiverId, group: GroupId) -> Statement {
    sqlx::query("DELETE FROM held WHERE receiver = $1 AND group_id = $2")
        .bind(receiver.0.to_vec())
        .bind(group.0.to_vec())
}

fn authority(version: u32, document: &[u8]) -> Statement {
    sqlx::query(
        "INSERT INTO authorities (version, document) VALUES ($1, $2) \
         ON CONFLICT (version) DO UPDATE SET document = excluded.document",
    )
    .bind(i64::from(version))
    .bind(document.to_vec())
}

fn proposal(record: &ProposalRecord) -> Statement {
    sqlx::query(
        "INSERT INTO proposals (digest, document, proposer, since) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (digest) DO UPDATE SET document = excluded.document, \
         proposer = excluded.proposer, since = excluded.since",
    )
    .bind(record.digest.0.to_vec())
    .bind(record.document.clone())
    .bind(record.proposer.clone())
    .bind(record.since.cast_signed())
}

fn proposal_gone(digest: Digest) -> Statement {
    sqlx::query("DELETE FROM proposals WHERE digest = $1").bind(digest.0.to_vec())
}

fn admin_name(record: &AdminNameRecord) -> Statement {
    sqlx::query(
        "INSERT INTO admin_names (admin, name) VALUES ($1, $2) \
         ON CONFLICT (admin) DO UPDATE SET name = excluded.name",
    )
    .bind(record.admin.0.to_vec())
    .bind(record.name.clone())
}

fn release_gone(name: &ReleaseName) -> Statement {
    let statement = "DELETE FROM releases WHERE group_id = $1 AND reset_epoch = $2 \
                     AND sequence = $3 AND digest = $4";
    named(sqlx::query(statement), name)
}

/// The same receipt again says nothing new.
fn receipt(record: &ReceiptRecord) -> Statement {
    let statement = sqlx::query(
        "INSERT INTO receipts (group_id, reset_epoch, sequence, digest, receiver, receiver_name, \
         device_key, signing_key, group_name, installed, signature, certificate, voucher) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT DO NOTHING",
    );
    named(statement, &record.release)
        .bind(record.receiver.0.to_vec())
        .bind(record.receiver_name.clone())
        .bind(record.device.0.to_vec())
        .bind(record.signing.0.to_vec())
        .bind(record.group_name.clone())
        .bind(record.at.cast_signed())
        .bind(record.signature.clone())
        .bind(record.certificate.clone())
        .bind(record.voucher.clone())
}

fn mark(name: &str, value: Option<u64>) -> Statement {
    match value {
        Some(value) => sqlx::query(
            "INSERT INTO marks (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name.to_owned())
        .bind(value.cast_signed()),
        None => sqlx::query("DELETE FROM marks WHERE name = $1").bind(name.to_owned()),
    }
}

fn setting(name: &str, value: Option<&str>) -> Statement {
    match value {
        Some(value) => sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name.to_owned())
        .bind(value.to_owned()),
        None => sqlx::query("DELETE FROM settings WHERE name = $1").bind(name.to_owned()),
    }
}

/// A line of the log is written once: a second one of its number is an error.
fn log(record: &LogRecord) -> Statement {
    sqlx::query(
        "INSERT INTO audit_log (number, logged, actor, action, subject, result, digest) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(record.number.cast_signed())
    .bind(record.time.cast_signed())
    .bind(record.actor.clone())
    .bind(record.action.clone())
    .bind(record.subject.clone())
    .bind(record.result.clone())
    .bind(record.digest.0.to_vec())
}
