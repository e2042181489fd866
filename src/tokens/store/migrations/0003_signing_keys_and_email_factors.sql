-- The keys that tokens are signed with: PKCS #8, sealed under the server key and bound to their name. What each of them is,
-- next, active or retired, follows from when they begin to sign and is written nowhere.
CREATE TABLE signing_key (
    kid        TEXT PRIMARY KEY,
    sealed     BLOB NOT NULL,
    created    INTEGER NOT NULL,
    signs_from INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Accounts whose sign-in by e-mail address and password needs a code that is sent to that address.
CREATE TABLE email_factor (
    account_id INTEGER PRIMARY KEY REFERENCES account (id),
    since      INTEGER NOT NULL
) STRICT;
