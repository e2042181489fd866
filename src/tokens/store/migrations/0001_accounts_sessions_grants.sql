-- Instants are milliseconds since the Unix epoch. Columns named `hash` hold the SHA-256 of a token or code, columns named
-- `..._mac` an HMAC-SHA256 under the server key. Nothing here can be presented to anybody as it is.

CREATE TABLE server_key (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    check_mac BLOB NOT NULL
) STRICT;

CREATE TABLE account (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind                TEXT NOT NULL CHECK (kind IN ('person', 'system', 'support', 'integration')),
    status              TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    email               TEXT NOT NULL,
    email_key           TEXT NOT NULL UNIQUE,
    phone_key           TEXT UNIQUE,
    country             TEXT,
    created             INTEGER NOT NULL,
    modified            INTEGER NOT NULL,
    last_authentication INTEGER
) STRICT;

CREATE TABLE password (
    account_id INTEGER PRIMARY KEY REFERENCES account (id),
    phc        TEXT NOT NULL,
    changed    INTEGER NOT NULL
) STRICT;

CREATE TABLE client (
    id                  TEXT PRIMARY KEY,
    secret_mac          BLOB NOT NULL,
    previous_secret_mac BLOB,
    rights              TEXT NOT NULL,
    redirect_uris       TEXT NOT NULL,
    created             INTEGER NOT NULL,
    modified            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Consecutive failed sign-ins. `subject_mac` names an account, or an identifier that belongs to none: both behave alike.
CREATE TABLE attempt (
    subject_mac  BLOB PRIMARY KEY,
    account_id   INTEGER REFERENCES account (id),
    failed       INTEGER NOT NULL,
    locked_until INTEGER,
    revision     INTEGER NOT NULL,
    touched      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_by_account ON attempt (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX attempt_by_touched ON attempt (touched);

-- A one-time code that was sent, and the proof it was exchanged for.
CREATE TABLE challenge (
    id              BLOB PRIMARY KEY,
    kind            TEXT NOT NULL,
    destination_mac BLOB NOT NULL,
    account_id      INTEGER REFERENCES account (id),
    code_mac        BLOB NOT NULL,
    tries           INTEGER NOT NULL,
    max_tries       INTEGER NOT NULL,
    created         INTEGER NOT NULL,
    expires         INTEGER NOT NULL,
    voided          INTEGER,
    answered        INTEGER,
    proof_hash      BLOB UNIQUE,
    proof_expires   INTEGER,
    proof_used      INTEGER,
    keep_until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX challenge_by_destination ON challenge (destination_mac, kind, created);
CREATE INDEX challenge_by_keep_until ON challenge (keep_until);
CREATE INDEX challenge_of_nobody ON challenge (keep_until) WHERE account_id IS NULL;

CREATE TABLE session (
    sid        TEXT PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id),
    api        TEXT NOT NULL,
    auth_time  INTEGER NOT NULL,
    acr        TEXT NOT NULL,
    amr        TEXT NOT NULL,
    created    INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    idle_ms    INTEGER,
    expires    INTEGER NOT NULL,
    ended      INTEGER,
    end_reason TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_account ON session (account_id);
CREATE INDEX session_by_expires ON session (expires);
CREATE INDEX session_by_ended ON session (ended) WHERE ended IS NOT NULL;

-- A rotation family: every token that descends from one redemption.
CREATE TABLE token_grant (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    sid        TEXT NOT NULL REFERENCES session (sid),
    client_id  TEXT NOT NULL,
    scope      TEXT NOT NULL,
    created    INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    revoked    INTEGER,
    end_reason TEXT
) STRICT;
CREATE INDEX token_grant_by_sid ON token_grant (sid);
CREATE INDEX token_grant_by_expires ON token_grant (expires);
CREATE INDEX token_grant_by_revoked ON token_grant (revoked) WHERE revoked IS NOT NULL;

CREATE TABLE access_token (
    hash     BLOB PRIMARY KEY,
    kind     TEXT NOT NULL CHECK (kind IN ('access', 'auth', 'temporary')),
    sid      TEXT NOT NULL REFERENCES session (sid),
    grant_id INTEGER REFERENCES token_grant (id),
    issued   INTEGER NOT NULL,
    expires  INTEGER NOT NULL,
    revoked  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX access_token_by_grant ON access_token (grant_id);
CREATE INDEX access_token_by_sid ON access_token (sid);
CREATE INDEX access_token_by_expires ON access_token (expires);

CREATE TABLE refresh_token (
    hash             BLOB PRIMARY KEY,
    grant_id         INTEGER NOT NULL REFERENCES token_grant (id),
    issued           INTEGER NOT NULL,
    expires          INTEGER NOT NULL,
    used             INTEGER,
    successor_access BLOB,
    successor_sealed BLOB,
    grace_until      INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_token_by_grant ON refresh_token (grant_id);

CREATE TABLE code (
    hash         BLOB PRIMARY KEY,
    client_id    TEXT NOT NULL,
    redirect_uri TEXT,
    account_id   INTEGER NOT NULL REFERENCES account (id),
    scope        TEXT NOT NULL,
    auth_time    INTEGER NOT NULL,
    acr          TEXT NOT NULL,
    amr          TEXT NOT NULL,
    issued       INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    used         INTEGER,
    grant_id     INTEGER REFERENCES token_grant (id) ON DELETE SET NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX code_by_expires ON code (expires);
CREATE INDEX code_by_grant ON code (grant_id) WHERE grant_id IS NOT NULL;
