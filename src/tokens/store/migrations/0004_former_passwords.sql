-- Passwords that an account had before, the newest last: kept only where it is configured that none of them may come back.
CREATE TABLE former_password (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account (id),
    phc        TEXT NOT NULL
) STRICT;
CREATE INDEX former_password_by_account ON former_password (account_id, id);
