//! The schema and its history: numbered files, applied in order, each in a transaction, never backwards.

use crate::model::Timestamp;
use crate::store::sql::{self, Db};
use crate::tokens::store::steps::OpenFault;

/// The schema version that this program writes.
#[expect(clippy::cast_possible_wrap, reason = "a handful of files")]
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// The file at place `n` makes version `n + 1` of version `n`. A file that was released is never changed.
const MIGRATIONS: [&str; 6] = [
    include_str!("../migrations/0001_accounts_sessions_grants.sql"),
    include_str!("../migrations/0002_session_api.sql"),
    include_str!("../migrations/0003_signing_keys_and_email_factors.sql"),
    include_str!("../migrations/0004_former_passwords.sql"),
    include_str!("../migrations/0005_attempts_and_windows.sql"),
    include_str!("../migrations/0006_revocation_events.sql"),
];

/// Brings the schema up to date, inside a transaction that no other program's can overlap.
pub(super) fn migrate(db: &Db<'_>, place: &str, now: Timestamp) -> Result<(), OpenFault> {
    let failed = |source| OpenFault::Schema { place: place.into(), source };
    let found = version(db).map_err(failed)?;
    if found > SCHEMA_VERSION {
        return Err(OpenFault::TooNew { place: place.into(), found });
    }
    for (version, script) in (1_i64..).zip(MIGRATIONS) {
        if version > found {
            apply(db, version, script, now).map_err(failed)?;
        }
    }
    Ok(())
}

fn version(db: &Db<'_>) -> sql::Result<i64> {
    db.script("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL) STRICT")?;
    db.one("SELECT coalesce(max(version), 0) FROM schema_version", (), |row| row.get(0))
}

fn apply(db: &Db<'_>, version: i64, script: &str, now: Timestamp) -> sql::Result<()> {
    db.script(script)?;
    db.execute("INSERT INTO schema_version (version, applied) VALUES (?1, ?2)", (version, now.as_millis()))?;
    Ok(())
}
