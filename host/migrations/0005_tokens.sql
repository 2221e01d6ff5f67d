-- Tokens of accounts, for those who use the server from another machine. The token
-- itself stands nowhere, only its SHA-256.
CREATE TABLE tokens (
    hash BLOB NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    is_login BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used BIGINT NOT NULL
);
