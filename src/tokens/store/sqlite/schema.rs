//! The schema and its history: numbered files, applied in order, each in a transaction, never backwards.

use rusqlite::{Connection, TransactionBehavior};

use crate::model::Timestamp;

/// The schema version that this program writes.
#[expect(clippy::cast_possible_wrap, reason = "a handful of files")]
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// The file at place `n` makes version `n + 1` of version `n`. A file that was released is never changed.
const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/0001_accounts_sessions_grants.sql"),
    include_str!("../migrations/0002_session_api.sql"),
    include_str!("../migrations/0003_signing_keys_and_email_factors.sql"),
    include_str!("../migrations/0004_former_passwords.sql"),
    include_str!("../migrations/0005_attempts_and_windows.sql"),
];

/// What became of a migration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Migrated {
    /// The schema is the one this program knows.
    Current,
    /// It is of this later version; nothing was touched.
    TooNew(i64),
}

/// Brings the schema up to date. Two programs that start together do it once: the second waits for the first.
pub(super) fn migrate(connection: &mut Connection, now: Timestamp) -> rusqlite::Result<Migrated> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL) STRICT",
    )?;
    let found: i64 = transaction.query_row("SELECT coalesce(max(version), 0) FROM schema_version", [], |row| row.get(0))?;
    if found > SCHEMA_VERSION {
        return Ok(Migrated::TooNew(found));
    }
    for (version, script) in (1_i64..).zip(MIGRATIONS) {
        if version > found {
            transaction.execute_batch(script)?;
            transaction.execute("INSERT INTO schema_version VALUES (?1, ?2)", (version, now.as_millis()))?;
        }
    }
    transaction.commit()?;
    Ok(Migrated::Current)
}
