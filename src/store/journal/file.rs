//! The state file's tables, and the statements on them.
//!
//! Instants are milliseconds since the Unix epoch. A file is ours by its application id, and whole by SQLite's own check:
//! a row that cannot be read is a cut that would be forgotten, so nothing is skipped.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::model::Timestamp;
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::journal::{JournalFault, guards};

/// The version of the tables that this program writes.
pub(super) const VERSION: i64 = 2;

/// "Prtc": marks a file as ours.
const APPLICATION: i64 = 0x5072_7463;

/// `kind` and `value` are those of a reach: the 32 bytes of a token's fingerprint, or a name in UTF-8. `all` reaches everything
/// that the issuer issued until `made`. `cuts` counts the rows of an issuer.
const TABLES: &str = "
    CREATE TABLE issuer (
        id   INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        cuts INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE cut (
        issuer INTEGER NOT NULL REFERENCES issuer (id),
        kind   TEXT NOT NULL CHECK (kind IN ('token', 'session', 'subject', 'client', 'all')),
        value  BLOB NOT NULL,
        made   INTEGER NOT NULL,
        PRIMARY KEY (issuer, kind, value)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX cut_by_made ON cut (made);
";

/// The kind of a cut that reaches everything.
const ALL: &str = "all";

/// A file that cannot be used, before its name is known.
#[derive(Debug)]
pub(super) enum Fault {
    Database(rusqlite::Error),
    Damaged(String),
    Foreign,
    TooNew(i64),
}

impl Fault {
    pub(super) fn of(self, path: &Path) -> JournalFault {
        let path = path.to_owned();
        match self {
            Self::Database(source) => JournalFault::Database { path, source },
            Self::Damaged(what) => JournalFault::Damaged { path, what },
            Self::Foreign => JournalFault::Foreign { path },
            Self::TooNew(found) => JournalFault::TooNew { path, found },
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// A cut as it was written down; `reach` is `None` for everything.
pub(super) struct Row {
    pub(super) reach: Option<Reach>,
    pub(super) at: Timestamp,
}

/// Checks that the file is ours and whole, and makes the tables of an empty one.
pub(super) fn recognise(connection: &mut Connection) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number = |pragma: &str| transaction.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    if number("SELECT count(*) FROM sqlite_schema")? == 0 && application == 0 && version == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.execute_batch(guards::TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
        return Ok(());
    }
    if application != APPLICATION {
        return Err(Fault::Foreign);
    }
    if version > VERSION {
        return Err(Fault::TooNew(version));
    }
    let found: String = transaction.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(Fault::Damaged(found));
    }
    if version < VERSION {
        // Version 1 had no login guards.
        transaction.execute_batch(guards::TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(transaction.commit()?)
}

/// Shows every cut of an issuer.
pub(super) fn each_cut(db: &Connection, issuer: &str, mut show: impl FnMut(Row)) -> Result<(), Fault> {
    let mut statement = db.prepare(
        "SELECT c.kind, c.value, c.made FROM cut c JOIN issuer i ON i.id = c.issuer WHERE i.name = ?1 ORDER BY c.made",
    )?;
    let mut rows = statement.query([issuer])?;
    while let Some(found) = rows.next()? {
        let cut = row(&found.get::<_, String>(0)?, found.get(1)?, found.get(2)?);
        show(cut.ok_or_else(|| Fault::Damaged(format!("a cut of {issuer} cannot be read")))?);
    }
    Ok(())
}

/// Writes a cut down. One that was there already is the later of the two.
pub(super) fn keep(db: &Connection, issuer: &str, reach: &Reach, at: Timestamp, capacity: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO issuer (name) VALUES (?1) ON CONFLICT DO NOTHING")?.execute([issuer])?;
    let (id, cuts): (i64, i64) = db
        .prepare_cached("SELECT id, cuts FROM issuer WHERE name = ?1")?
        .query_row([issuer], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let later = db
        .prepare_cached("UPDATE cut SET made = max(made, ?4) WHERE issuer = ?1 AND kind = ?2 AND value = ?3")?
        .execute((id, reach.word(), value(reach), at.as_millis()))?;
    if later == 1 {
        return Ok(());
    }
    if cuts >= capacity {
        fold(db, id, at)?;
    }
    insert(db, id, reach.word(), value(reach), at.as_millis())
}

/// Deletes at most `limit` cuts that were made until `edge`; how many.
pub(super) fn forget(db: &Connection, edge: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM cut WHERE (issuer, kind, value) IN
                 (SELECT issuer, kind, value FROM cut WHERE made <= ?1 ORDER BY made LIMIT ?2)",
        )?
        .execute((edge.as_millis(), limit))?;
    if deleted > 0 {
        db.prepare_cached("UPDATE issuer SET cuts = (SELECT count(*) FROM cut WHERE cut.issuer = issuer.id)")?.execute([])?;
    }
    Ok(deleted)
}

/// Puts one cut of everything in the place of all.
fn fold(db: &Connection, issuer: i64, at: Timestamp) -> rusqlite::Result<()> {
    let latest: Option<i64> = db
        .prepare_cached("SELECT max(made) FROM cut WHERE issuer = ?1")?
        .query_row([issuer], |row| row.get(0))
        .optional()?
        .flatten();
    db.prepare_cached("DELETE FROM cut WHERE issuer = ?1")?.execute([issuer])?;
    db.prepare_cached("UPDATE issuer SET cuts = 0 WHERE id = ?1")?.execute([issuer])?;
    insert(db, issuer, ALL, &[], latest.unwrap_or_default().max(at.as_millis()))
}

fn insert(db: &Connection, issuer: i64, kind: &str, value: &[u8], made: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO cut (issuer, kind, value, made) VALUES (?1, ?2, ?3, ?4)")?
        .execute((issuer, kind, value, made))?;
    db.prepare_cached("UPDATE issuer SET cuts = cuts + 1 WHERE id = ?1")?.execute([issuer])?;
    Ok(())
}

fn value(reach: &Reach) -> &[u8] {
    match reach {
        Reach::Token(Fingerprint(bytes)) => bytes,
        Reach::Session(name) | Reach::Subject(name) | Reach::Client(name) => name.as_bytes(),
    }
}

/// `None` if it is none that was ever written.
fn row(kind: &str, value: Vec<u8>, made: i64) -> Option<Row> {
    let name = |value| String::from_utf8(value).ok().map(String::into_boxed_str);
    let reach = match kind {
        "token" => Some(Reach::Token(Fingerprint(value.try_into().ok()?))),
        "session" => Some(Reach::Session(name(value)?)),
        "subject" => Some(Reach::Subject(name(value)?)),
        "client" => Some(Reach::Client(name(value)?)),
        ALL => None,
        _ => return None,
    };
    Some(Row { reach, at: Timestamp::from_millis(made) })
}
