-- The catalog: an index over signed documents, and the state of deliveries.
--
-- Integers are 64-bit; those that come from peers may use all bits, so they are
-- stored as two's complement and never compared here. Times are seconds since
-- 1970, UTC. For PostgreSQL read BYTEA for BLOB.

CREATE TABLE receivers (
    id BLOB NOT NULL PRIMARY KEY,
    device_key BLOB NOT NULL,
    signing_key BLOB,
    name TEXT NOT NULL UNIQUE,
    standing TEXT NOT NULL,
    constrained BOOLEAN NOT NULL,
    boot BIGINT NOT NULL,
    boot_n BIGINT NOT NULL,
    enrolled BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    address TEXT,
    version TEXT NOT NULL,
    free_bytes BIGINT NOT NULL,
    codecs SMALLINT NOT NULL
);

CREATE TABLE groups (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    is_open BOOLEAN NOT NULL,
    created BIGINT NOT NULL
);

CREATE TABLE memberships (
    receiver BLOB NOT NULL REFERENCES receivers (id) ON DELETE CASCADE,
    group_id BLOB NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    certificate BLOB NOT NULL,
    voucher BLOB,
    since BIGINT NOT NULL,
    PRIMARY KEY (receiver, group_id)
);
CREATE INDEX memberships_by_group ON memberships (group_id);

CREATE TABLE vouchers (
    digest BLOB NOT NULL PRIMARY KEY,
    document BLOB NOT NULL,
    token_id BLOB NOT NULL,
    token BLOB NOT NULL,
    used BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    revoked BOOLEAN NOT NULL
);

-- An order names one release of its group: a second digest for it is refused.
CREATE TABLE releases (
    group_id BLOB NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    reset_epoch BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    digest BLOB NOT NULL,
    label TEXT NOT NULL,
    document BLOB NOT NULL,
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (group_id, reset_epoch, sequence, digest),
    UNIQUE (group_id, reset_epoch, sequence)
);

CREATE TABLE deliveries (
    id BIGINT NOT NULL PRIMARY KEY,
    receiver BLOB NOT NULL REFERENCES receivers (id) ON DELETE CASCADE,
    group_id BLOB NOT NULL,
    reset_epoch BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    digest BLOB NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    path TEXT NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    FOREIGN KEY (group_id, reset_epoch, sequence, digest)
        REFERENCES releases (group_id, reset_epoch, sequence, digest) ON DELETE CASCADE
);
CREATE INDEX deliveries_by_receiver ON deliveries (receiver);
CREATE INDEX deliveries_by_release ON deliveries (group_id, reset_epoch, sequence, digest);

-- What a receiver says it holds, known to this catalog or not: a catalog
-- restored from an old backup meets newer releases than its own.
CREATE TABLE held (
    receiver BLOB NOT NULL REFERENCES receivers (id) ON DELETE CASCADE,
    group_id BLOB NOT NULL,
    reset_epoch BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    digest BLOB NOT NULL,
    held_at BIGINT NOT NULL,
    receipt BLOB NOT NULL,
    PRIMARY KEY (receiver, group_id)
);

CREATE TABLE authorities (
    version BIGINT NOT NULL PRIMARY KEY,
    document BLOB NOT NULL
);

CREATE TABLE audit_log (
    number BIGINT NOT NULL PRIMARY KEY,
    logged BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    result TEXT NOT NULL,
    digest BLOB NOT NULL
);
