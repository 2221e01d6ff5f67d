-- Changes of the authority document that wait for signatures, and what people
-- call its admins. The documents that count are in `authorities`.

CREATE TABLE proposals (
    digest BLOB NOT NULL PRIMARY KEY,
    document BLOB NOT NULL,
    proposer TEXT NOT NULL,
    since BIGINT NOT NULL
);

CREATE TABLE admin_names (
    admin BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
);
