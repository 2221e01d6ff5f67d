-- People: requests to join, open groups, accounts and what they enrolled.

-- A request waits ('asked') until an admin decides; a denied one stays with its
-- reason until its receiver asks again or takes it back.
CREATE TABLE requests (
    receiver BLOB NOT NULL REFERENCES receivers (id) ON DELETE CASCADE,
    group_id BLOB NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (receiver, group_id)
);
CREATE INDEX requests_by_group ON requests (group_id);

-- Digest of the voucher that memberships in an open group are made from.
ALTER TABLE groups ADD COLUMN voucher BLOB;

-- A name stands here as it was given; two that differ only by case are refused before.
CREATE TABLE accounts (
    name TEXT NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL
);

-- The account that stands behind a receiver.
ALTER TABLE receivers ADD COLUMN owner TEXT;
