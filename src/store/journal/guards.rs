//! The tables of login guards in the state file: the key that accounts are hashed under, and counters with their locks.
//!
//! Imports as the parent. Instants are milliseconds since the Unix epoch. A row that cannot be read is a lock that would be
//! forgotten, so the file is damaged then.

use std::collections::HashMap;
use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::model::{SourceKey, Timestamp};
use crate::store::journal::file::Fault;
use crate::store::login_guard::{Counted, CounterName, GuardKey, GuardMemory};

/// Since version 2. `account` and `client` are keyed hashes, `source` an address; empty where the counter has none.
pub(super) const TABLES: &str = "
    CREATE TABLE secret (
        name  TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE login_counter (
        guard        TEXT NOT NULL,
        account      BLOB NOT NULL,
        source       TEXT NOT NULL,
        client       BLOB NOT NULL,
        acquainted   INTEGER NOT NULL CHECK (acquainted IN (0, 1)),
        failed       INTEGER NOT NULL,
        failed_at    INTEGER NOT NULL,
        locked_until INTEGER,
        recent       INTEGER NOT NULL,
        recent_at    INTEGER NOT NULL,
        met          INTEGER,
        expires      INTEGER NOT NULL,
        PRIMARY KEY (guard, account, source, client, acquainted)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX login_counter_by_expires ON login_counter (expires);
";

/// The name of the key.
const KEY: &str = "login-guards";

/// What the file knows of login guards; one that knows no key is given `fresh`.
pub(super) fn recall(db: &Connection, fresh: GuardKey) -> Result<GuardMemory, Fault> {
    let known: Option<Vec<u8>> =
        db.query_row("SELECT value FROM secret WHERE name = ?1", [KEY], |row| row.get(0)).optional()?;
    let key = if let Some(key) = known {
        GuardKey(key.try_into().map_err(|_| Fault::Damaged("the key of the login guards cannot be read".into()))?)
    } else {
        db.execute("INSERT INTO secret (name, value) VALUES (?1, ?2)", (KEY, fresh.0))?;
        fresh
    };
    let mut counters: HashMap<String, Vec<(CounterName, Counted)>> = HashMap::new();
    let mut statement = db.prepare(
        "SELECT guard, account, source, client, acquainted, failed, failed_at, locked_until, recent, recent_at, met, expires
             FROM login_counter ORDER BY expires DESC",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let guard: String = row.get(0)?;
        let name = name(row)?.ok_or_else(|| Fault::Damaged(format!("a counter of {guard} cannot be read")))?;
        counters.entry(guard).or_default().push((name, counted(row)?));
    }
    Ok(GuardMemory { key, counters })
}

/// `None` if it is none that was ever written.
fn name(row: &Row<'_>) -> rusqlite::Result<Option<CounterName>> {
    let (account, source, client): (Vec<u8>, String, Vec<u8>) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let hash = |bytes: Vec<u8>| if bytes.is_empty() { Some(None) } else { bytes.try_into().ok().map(Some) };
    let (account, client) = (hash(account), hash(client));
    let source = if source.is_empty() {
        Some(None)
    } else {
        source.parse::<IpAddr>().ok().map(|address| Some(SourceKey::told(address)))
    };
    let acquainted = row.get(4)?;
    let whole = account.zip(source).zip(client);
    Ok(whole.map(|((account, source), client)| CounterName { account, source, client, acquainted }))
}

fn counted(row: &Row<'_>) -> rusqlite::Result<Counted> {
    let instant = |column| row.get(column).map(Timestamp::from_millis);
    let perhaps = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp::from_millis));
    Ok(Counted {
        failed: row.get(5)?,
        failed_at: instant(6)?,
        locked_until: perhaps(7)?,
        recent: row.get(8)?,
        recent_at: instant(9)?,
        met: perhaps(10)?,
        expires: instant(11)?,
    })
}

/// Writes down how a counter stands, or that nothing of it is to be remembered.
pub(super) fn keep(db: &Connection, guard: &str, name: &CounterName, counted: Option<&Counted>) -> rusqlite::Result<()> {
    let bytes = |hash: &Option<[u8; 32]>| hash.map(Vec::from).unwrap_or_default();
    let (account, client) = (bytes(&name.account), bytes(&name.client));
    let source = name.source.map(|source| source.address().to_string()).unwrap_or_default();
    let Some(counted) = counted else {
        let forget =
            "DELETE FROM login_counter WHERE guard = ?1 AND account = ?2 AND source = ?3 AND client = ?4 AND acquainted = ?5";
        return db.prepare_cached(forget)?.execute((guard, account, source, client, name.acquainted)).map(|_| ());
    };
    db.prepare_cached("INSERT OR REPLACE INTO login_counter VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?
        .execute((
            guard,
            account,
            source,
            client,
            name.acquainted,
            counted.failed,
            counted.failed_at.as_millis(),
            counted.locked_until.map(Timestamp::as_millis),
            counted.recent,
            counted.recent_at.as_millis(),
            counted.met.map(Timestamp::as_millis),
            counted.expires.as_millis(),
        ))
        .map(|_| ())
}

/// Deletes at most `limit` counters that mean nothing any more; how many.
pub(super) fn forget(db: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    db.prepare_cached(
        "DELETE FROM login_counter WHERE (guard, account, source, client, acquainted) IN
             (SELECT guard, account, source, client, acquainted FROM login_counter WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
    )?
    .execute((now.as_millis(), limit))
}
