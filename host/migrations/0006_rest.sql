-- What receivers hold of groups that are gone was left over.
DELETE FROM held WHERE group_id NOT IN (SELECT id FROM groups);

-- A receipt comes with the membership that names its device, and the voucher that this
-- names, as they were when it came: both signed, so that a receipt can be checked without
-- its server. Empty for receipts that came before.
ALTER TABLE receipts ADD COLUMN certificate BLOB NOT NULL DEFAULT '';
ALTER TABLE receipts ADD COLUMN voucher BLOB NOT NULL DEFAULT '';

-- What commands have set for good, such as the rate by hour of the day.
CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
