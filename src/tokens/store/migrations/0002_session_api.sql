-- What the session API needs: keys of programs, identities, enrolled channels, and a second factor shown for one token.

CREATE TABLE api_key (
    mac     BLOB PRIMARY KEY,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER
) STRICT, WITHOUT ROWID;

-- As whom an account acts. Every account has at least the identity that was made with it.
CREATE TABLE identity (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL CHECK (kind IN ('consumer', 'corporate')),
    name    TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE membership (
    account_id  INTEGER NOT NULL REFERENCES account (id),
    identity_id INTEGER NOT NULL REFERENCES identity (id),
    role        TEXT NOT NULL CHECK (role IN ('root', 'user')),
    PRIMARY KEY (account_id, identity_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_by_identity ON membership (identity_id);

-- No two accounts have the same address, so each finds the identity that was made for it.
INSERT INTO identity (kind, name, created) SELECT 'consumer', email, created FROM account ORDER BY id;
INSERT INTO membership (account_id, identity_id, role)
    SELECT account.id, identity.id, 'root' FROM account JOIN identity ON identity.name = account.email;

-- A channel on which an account can be asked for a second factor.
CREATE TABLE factor (
    account_id INTEGER NOT NULL REFERENCES account (id),
    channel    TEXT NOT NULL,
    enrolled   INTEGER NOT NULL,
    PRIMARY KEY (account_id, channel)
) STRICT, WITHOUT ROWID;

ALTER TABLE password ADD COLUMN expires INTEGER;

-- The program whose key opened the session, where there is no grant to tell.
ALTER TABLE session ADD COLUMN client_id TEXT;

-- As whom the token acts, and how strongly its holder was proven for it alone; else as its session says.
ALTER TABLE access_token ADD COLUMN identity_id INTEGER REFERENCES identity (id);
ALTER TABLE access_token ADD COLUMN acr TEXT;
ALTER TABLE access_token ADD COLUMN amr TEXT;
ALTER TABLE access_token ADD COLUMN auth_time INTEGER;

-- The token for which a challenge was opened, and on which channel it is asked.
ALTER TABLE challenge ADD COLUMN token_hash BLOB;
ALTER TABLE challenge ADD COLUMN channel TEXT;
CREATE INDEX challenge_by_token ON challenge (token_hash, kind, created) WHERE token_hash IS NOT NULL;
