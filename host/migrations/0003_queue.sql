-- The queue: how a release is sent, and what a delivery waits for besides its
-- receiver. What was made before had no such wishes.

ALTER TABLE releases ADD COLUMN rate BIGINT;
ALTER TABLE releases ADD COLUMN send_whole BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE releases ADD COLUMN priority SMALLINT NOT NULL DEFAULT 0;
-- When it is to be activated, and at which share of receivers in per cent.
ALTER TABLE releases ADD COLUMN activate_at BIGINT;
ALTER TABLE releases ADD COLUMN activate_ready SMALLINT;

ALTER TABLE deliveries ADD COLUMN hold TEXT NOT NULL DEFAULT '';

-- Facts of the whole fleet that are a number: that the catalog is in doubt and
-- since when, and below which sequence no release of a group may be made.
CREATE TABLE marks (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

-- Every receipt that came, with all that checking it needs: it stays when its
-- receiver, its group or its release is gone.
CREATE TABLE receipts (
    receiver BLOB NOT NULL,
    receiver_name TEXT NOT NULL,
    device_key BLOB NOT NULL,
    signing_key BLOB NOT NULL,
    group_id BLOB NOT NULL,
    group_name TEXT NOT NULL,
    reset_epoch BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    digest BLOB NOT NULL,
    installed BIGINT NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (receiver, group_id, reset_epoch, sequence, digest, installed)
);
INSERT INTO receipts
SELECT r.id, r.name, r.device_key, r.signing_key, h.group_id, COALESCE(g.name, ''),
       h.reset_epoch, h.sequence, h.digest, h.held_at, h.receipt
FROM held h
JOIN receivers r ON r.id = h.receiver
LEFT JOIN groups g ON g.id = h.group_id
WHERE length(h.receipt) > 0 AND r.signing_key IS NOT NULL;
