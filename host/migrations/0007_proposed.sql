-- An operator may propose that a receiver be in a group, whether the receiver asks or not.
ALTER TABLE requests ADD COLUMN asked BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE requests ADD COLUMN proposed TEXT;
