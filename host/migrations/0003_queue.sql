-- The queue: how a release is sent, and what a delivery waits for besides its
-- receiver. What was made before had no such wishes.

ALTER TABLE releases ADD COLUMN rate BIGINT;
ALTER TABLE releases ADD COLUMN send_whole BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE releases ADD COLUMN priority SMALLINT NOT NULL DEFAULT 0;
-- When it is to be activated, and at which share of receivers in per cent.
ALTER TABLE releases ADD COLUMN activate_at BIGINT;
ALTER TABLE releases ADD COLUMN activate_ready SMALLINT;

ALTER TABLE deliveries ADD COLUMN hold TEXT NOT NULL DEFAULT '';
