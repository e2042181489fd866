-- What ended or changed, for gateways that use the same database: each reads the rows above the last that it has read. Written
-- by the transaction that ends it. `reach` is a token's hash, or the name of a session, account or client.
CREATE TABLE revocation_event (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    kind  TEXT NOT NULL,
    reach BLOB NOT NULL,
    at    INTEGER NOT NULL
) STRICT;
CREATE INDEX revocation_event_by_at ON revocation_event (at);
