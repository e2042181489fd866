-- Attempts and windows are decided on in the database, so that several processes count together and a restart forgets nothing.

-- When the failures began, and no revision: whoever writes has read within the same transaction.
ALTER TABLE attempt ADD COLUMN since INTEGER;
UPDATE attempt SET since = touched;
ALTER TABLE attempt DROP COLUMN revision;
CREATE INDEX attempt_of_nobody ON attempt (touched) WHERE account_id IS NULL;

-- Attempts that have begun and not ended. A process that dies leaves its own behind; they count until their lease is over.
CREATE TABLE attempt_in_flight (
    id          BLOB PRIMARY KEY,
    subject_mac BLOB NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_in_flight_by_subject ON attempt_in_flight (subject_mac, lease_until);
CREATE INDEX attempt_in_flight_by_lease ON attempt_in_flight (lease_until);

-- What was tried lately, by caller: an account or somebody else, a source, or both. `recent` holds instants of 8 bytes each, the
-- oldest first; from `keep_until` on the row says nothing that no row would not say.
CREATE TABLE attempt_window (
    caller_mac    BLOB PRIMARY KEY,
    operation     TEXT NOT NULL,
    account_id    INTEGER REFERENCES account (id),
    subject_mac   BLOB,
    source        TEXT,
    recent        BLOB NOT NULL,
    blocked_from  INTEGER,
    blocked_until INTEGER,
    keep_until    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_window_by_subject ON attempt_window (subject_mac) WHERE subject_mac IS NOT NULL;
CREATE INDEX attempt_window_by_source ON attempt_window (source) WHERE source IS NOT NULL;
CREATE INDEX attempt_window_by_keep_until ON attempt_window (keep_until);
CREATE INDEX attempt_window_of_nobody ON attempt_window (keep_until) WHERE account_id IS NULL;
