//! Rows as records. A value that no version of this software wrote is damage.

use fleetcast_core::digest::Digest;
use fleetcast_core::ids::{GroupId, ReceiverId, ReleaseOrder, StaticKey, TokenId, VerifyingKey};
use fleetcast_core::trust::document::Fingerprint;
use fleetcast_core::wire::control::ReleaseName;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{ColumnIndex, Decode, Row, Sqlite, Type};

use super::error::CatalogError;
use super::words;
use crate::model::{
    AccountRecord, AdminNameRecord, DeliveryRecord, DeliveryState, GroupRecord, HeldRecord,
    LogRecord, MembershipRecord, ProposalRecord, ReceiptRecord, ReceiverRecord, ReleaseRecord,
    RequestRecord, Snapshot, Terms, TokenRecord, VoucherRecord,
};

/// Reads all tables, within the connection's transaction.
pub(super) async fn snapshot(db: &mut SqliteConnection) -> Result<Snapshot, CatalogError> {
    Ok(Snapshot {
        receivers: all(db, "SELECT * FROM receivers ORDER BY id", receiver).await?,
        groups: all(db, "SELECT * FROM groups ORDER BY name", group).await?,
        memberships: all(db, "SELECT * FROM memberships ORDER BY receiver, group_id", membership)
            .await?,
        requests: all(db, "SELECT * FROM requests ORDER BY receiver, group_id", request).await?,
        accounts: all(db, "SELECT * FROM accounts ORDER BY name", account).await?,
        tokens: all(db, "SELECT * FROM tokens ORDER BY hash", token).await?,
        vouchers: all(db, "SELECT * FROM vouchers ORDER BY digest", voucher).await?,
        releases: all(
            db,
            "SELECT * FROM releases ORDER BY created, group_id, reset_epoch, sequence",
            release,
        )
        .await?,
        deliveries: all(db, "SELECT * FROM deliveries ORDER BY id", delivery).await?,
        held: all(db, "SELECT * FROM held ORDER BY receiver, group_id", held).await?,
        authorities: all(db, "SELECT * FROM authorities ORDER BY version", authority).await?,
        proposals: all(db, "SELECT * FROM proposals ORDER BY digest", proposal).await?,
        admin_names: all(db, "SELECT * FROM admin_names ORDER BY admin", admin_name).await?,
        marks: all(db, "SELECT * FROM marks ORDER BY name", mark).await?,
        settings: all(db, "SELECT * FROM settings ORDER BY name", setting).await?,
        last_log: all(db, "SELECT * FROM audit_log ORDER BY number DESC LIMIT 1", log).await?.pop(),
    })
}

/// Reads at most `limit` lines of the log with numbers greater than `after`.
pub(super) async fn log_after(
    db: &mut SqliteConnection,
    after: u64,
    limit: u32,
) -> Result<Vec<LogRecord>, CatalogError> {
    let statement = "SELECT * FROM audit_log WHERE number > $1 ORDER BY number LIMIT $2";
    let query = sqlx::query(statement).bind(after.cast_signed()).bind(i64::from(limit));
    query.fetch_all(db).await?.iter().map(log).collect()
}

/// Reads at most `limit` receipts from `offset` on.
pub(super) async fn receipts(
    db: &mut SqliteConnection,
    offset: u64,
    limit: u32,
) -> Result<Vec<ReceiptRecord>, CatalogError> {
    let statement = "SELECT * FROM receipts ORDER BY installed, receiver, group_id, reset_epoch, \
                     sequence, digest LIMIT $1 OFFSET $2";
    let query = sqlx::query(statement).bind(i64::from(limit)).bind(offset.cast_signed());
    query.fetch_all(db).await?.iter().map(receipt).collect()
}

async fn all<T>(
    db: &mut SqliteConnection,
    statement: &'static str,
    map: fn(&SqliteRow) -> Result<T, CatalogError>,
) -> Result<Vec<T>, CatalogError> {
    sqlx::query(statement).fetch_all(db).await?.iter().map(map).collect()
}

fn receiver(row: &SqliteRow) -> Result<ReceiverRecord, CatalogError> {
    let address: Option<String> = value(row, "address")?;
    let address = address.map(|text| text.parse().map_err(|_| damaged("address")));
    let signing: Option<Vec<u8>> = value(row, "signing_key")?;
    Ok(ReceiverRecord {
        id: ReceiverId(bytes(row, "id")?),
        key: StaticKey(bytes(row, "device_key")?),
        signing: signing.map(|key| array(&key, "signing_key")).transpose()?.map(VerifyingKey),
        name: value(row, "name")?,
        standing: word(row, "standing", words::parse_standing)?,
        constrained: value(row, "constrained")?,
        order: (number(row, "boot")?, number(row, "boot_n")?),
        enrolled: number(row, "enrolled")?,
        last_seen: number(row, "last_seen")?,
        address: address.transpose()?,
        version: value(row, "version")?,
        free: number(row, "free_bytes")?,
        codecs: small(row, "codecs")?,
        owner: value(row, "owner")?,
    })
}

fn group(row: &SqliteRow) -> Result<GroupRecord, CatalogError> {
    let voucher: Option<Vec<u8>> = value(row, "voucher")?;
    Ok(GroupRecord {
        id: GroupId(bytes(row, "id")?),
        name: value(row, "name")?,
        open: value(row, "is_open")?,
        voucher: voucher.map(|digest| array(&digest, "voucher")).transpose()?.map(Digest),
        created: number(row, "created")?,
    })
}

fn membership(row: &SqliteRow) -> Result<MembershipRecord, CatalogError> {
    let voucher: Option<Vec<u8>> = value(row, "voucher")?;
    Ok(MembershipRecord {
        receiver: ReceiverId(bytes(row, "receiver")?),
        group: GroupId(bytes(row, "group_id")?),
        certificate: value(row, "certificate")?,
        voucher: voucher.map(|digest| array(&digest, "voucher")).transpose()?.map(Digest),
        since: number(row, "since")?,
    })
}

fn request(row: &SqliteRow) -> Result<RequestRecord, CatalogError> {
    let (denied, reason) = (word(row, "state", words::parse_request_state)?, value(row, "reason")?);
    Ok(RequestRecord {
        receiver: ReceiverId(bytes(row, "receiver")?),
        group: GroupId(bytes(row, "group_id")?),
        asked: value(row, "asked")?,
        proposed: value(row, "proposed")?,
        denied: denied.then_some(reason),
        since: number(row, "since")?,
    })
}

fn account(row: &SqliteRow) -> Result<AccountRecord, CatalogError> {
    Ok(AccountRecord {
        name: value(row, "name")?,
        role: word(row, "role", words::parse_role)?,
        password: value(row, "password")?,
        created: number(row, "created")?,
        changed: number(row, "changed")?,
    })
}

fn token(row: &SqliteRow) -> Result<TokenRecord, CatalogError> {
    Ok(TokenRecord {
        hash: Digest(bytes(row, "hash")?),
        account: value(row, "account")?,
        name: value(row, "name")?,
        login: value(row, "is_login")?,
        created: number(row, "created")?,
        expires: number(row, "expires")?,
        used: number(row, "used")?,
    })
}

fn voucher(row: &SqliteRow) -> Result<VoucherRecord, CatalogError> {
    Ok(VoucherRecord {
        digest: Digest(bytes(row, "digest")?),
        document: value(row, "document")?,
        token_id: TokenId(bytes(row, "token_id")?),
        token: bytes(row, "token")?,
        used: small(row, "used")?,
        uses: small(row, "uses")?,
        expires: number(row, "expires")?,
        revoked: value(row, "revoked")?,
    })
}

fn name(row: &SqliteRow) -> Result<ReleaseName, CatalogError> {
    let order = ReleaseOrder {
        reset_epoch: small(row, "reset_epoch")?,
        sequence: number(row, "sequence")?,
    };
    let group = GroupId(bytes(row, "group_id")?);
    Ok(ReleaseName { group, order, digest: Digest(bytes(row, "digest")?) })
}

fn release(row: &SqliteRow) -> Result<ReleaseRecord, CatalogError> {
    Ok(ReleaseRecord {
        name: name(row)?,
        label: value(row, "label")?,
        document: value(row, "document")?,
        files: number(row, "files")?,
        bytes: number(row, "bytes")?,
        created: number(row, "created")?,
        expires: number(row, "expires")?,
        state: word(row, "state", words::parse_release_state)?,
        terms: terms(row)?,
    })
}

fn terms(row: &SqliteRow) -> Result<Terms, CatalogError> {
    let optional = |column| value::<Option<i64>>(row, column).map(|n| n.map(i64::cast_unsigned));
    let ready = value::<Option<i64>>(row, "activate_ready")?;
    let ready = ready.map(|share| u8::try_from(share).map_err(|_| damaged("activate_ready")));
    Ok(Terms {
        rate: optional("rate")?,
        full: value(row, "send_whole")?,
        priority: small(row, "priority")?,
        at: optional("activate_at")?,
        ready: ready.transpose()?,
    })
}

fn delivery(row: &SqliteRow) -> Result<DeliveryRecord, CatalogError> {
    Ok(DeliveryRecord {
        id: number(row, "id")?,
        receiver: ReceiverId(bytes(row, "receiver")?),
        release: name(row)?,
        state: word(row, "state", DeliveryState::parse)?,
        hold: word(row, "hold", words::parse_hold)?,
        code: value(row, "code")?,
        reason: value(row, "reason")?,
        bytes: number(row, "bytes")?,
        path: word(row, "path", words::parse_delivery_path)?,
        created: number(row, "created")?,
        updated: number(row, "updated")?,
    })
}

fn held(row: &SqliteRow) -> Result<HeldRecord, CatalogError> {
    Ok(HeldRecord {
        receiver: ReceiverId(bytes(row, "receiver")?),
        release: name(row)?,
        at: number(row, "held_at")?,
        receipt: value(row, "receipt")?,
    })
}

fn receipt(row: &SqliteRow) -> Result<ReceiptRecord, CatalogError> {
    Ok(ReceiptRecord {
        receiver: ReceiverId(bytes(row, "receiver")?),
        receiver_name: value(row, "receiver_name")?,
        device: StaticKey(bytes(row, "device_key")?),
        signing: VerifyingKey(bytes(row, "signing_key")?),
        release: name(row)?,
        group_name: value(row, "group_name")?,
        at: number(row, "installed")?,
        signature: value(row, "signature")?,
        certificate: value(row, "certificate")?,
        voucher: value(row, "voucher")?,
    })
}

fn mark(row: &SqliteRow) -> Result<(String, u64), CatalogError> {
    Ok((value(row, "name")?, number(row, "value")?))
}

fn setting(row: &SqliteRow) -> Result<(String, String), CatalogError> {
    Ok((value(row, "name")?, value(row, "value")?))
}

fn authority(row: &SqliteRow) -> Result<(u32, Vec<u8>), CatalogError> {
    Ok((small(row, "version")?, value(row, "document")?))
}

fn proposal(row: &SqliteRow) -> Result<ProposalRecord, CatalogError> {
    Ok(ProposalRecord {
        digest: Digest(bytes(row, "digest")?),
        document: value(row, "document")?,
        proposer: value(row, "proposer")?,
        since: number(row, "since")?,
    })
}

fn admin_name(row: &SqliteRow) -> Result<AdminNameRecord, CatalogError> {
    Ok(AdminNameRecord { admin: Fingerprint(bytes(row, "admin")?), name: value(row, "name")? })
}

fn log(row: &SqliteRow) -> Result<LogRecord, CatalogError> {
    Ok(LogRecord {
        number: number(row, "number")?,
        time: number(row, "logged")?,
        actor: value(row, "actor")?,
        action: value(row, "action")?,
        subject: value(row, "subject")?,
        result: value(row, "result")?,
        digest: Digest(bytes(row, "digest")?),
    })
}

fn value<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T, CatalogError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
    &'static str: ColumnIndex<SqliteRow>,
{
    row.try_get(column).map_err(|error| CatalogError::Corrupt(error.to_string()))
}

fn number(row: &SqliteRow, column: &'static str) -> Result<u64, CatalogError> {
    value::<i64>(row, column).map(i64::cast_unsigned)
}

fn small<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, CatalogError> {
    T::try_from(value::<i64>(row, column)?).map_err(|_| damaged(column))
}

fn bytes<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N], CatalogError> {
    array(&value::<Vec<u8>>(row, column)?, column)
}

fn array<const N: usize>(bytes: &[u8], column: &'static str) -> Result<[u8; N], CatalogError> {
    bytes.try_into().map_err(|_| damaged(column))
}

fn word<T>(
    row: &SqliteRow,
    column: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, CatalogError> {
    parse(&value::<String>(row, column)?).ok_or_else(|| damaged(column))
}

fn damaged(column: &'static str) -> CatalogError {
    CatalogError::Corrupt(format!("no version writes such a value into `{column}`"))
}
