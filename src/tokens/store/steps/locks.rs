//! Locks and pauses as an operator sees and clears them.

use crate::model::Timestamp;
use crate::store::sql::{self, Bind, Db, FromColumn, Row, Value, text};
use crate::tokens::keyring::Mac;
use crate::tokens::store::steps::rows::At;
use crate::tokens::store::{Barred, Forgotten, LockName, LockRow, Operation};

/// What is shown of one caller at most. An account has a pause for every operation and source.
const OF_ONE: u32 = 1_000;

const LOCKS: &str = "SELECT t.subject_mac, t.account_id, a.email, t.failed, t.since, t.locked_until
     FROM attempt t LEFT JOIN account a ON a.id = t.account_id WHERE t.locked_until > ?1";
const PAUSES: &str = "SELECT w.caller_mac, w.account_id, a.email, w.source, w.operation, w.blocked_from, w.blocked_until
     FROM attempt_window w LEFT JOIN account a ON a.id = w.account_id WHERE w.blocked_until > ?1";

fn lock(row: &Row<'_>) -> sql::Result<LockRow> {
    let until = row.get::<_, At>(5)?.0;
    Ok(LockRow {
        name: LockName::Lock(row.get(0)?),
        account: row.get(1)?,
        email: row.get(2)?,
        source: None,
        operation: None,
        failures: row.get(3)?,
        since: row.get::<_, Option<At>>(4)?.map_or(until, |at| at.0),
        until,
    })
}

fn pause(row: &Row<'_>) -> sql::Result<LockRow> {
    let until = row.get::<_, At>(6)?.0;
    Ok(LockRow {
        name: LockName::Pause(row.get(0)?),
        account: row.get(1)?,
        email: row.get(2)?,
        source: row.get(3)?,
        operation: Some(row.get(4)?),
        failures: 0,
        since: row.get::<_, Option<At>>(5)?.map_or(until, |at| at.0),
        until,
    })
}

pub(super) fn page(db: &Db<'_>, after: Option<LockName>, limit: u32, now: Timestamp) -> sql::Result<Vec<LockRow>> {
    let nothing = Mac([0; 32]);
    let (locks_after, pauses_after) = match after {
        None => (Some(nothing), nothing),
        Some(LockName::Lock(name)) => (Some(name), nothing),
        Some(LockName::Pause(name)) => (None, name),
    };
    let mut rows = match locks_after {
        Some(after) => many(db, LOCKS, "t.subject_mac > ?2 ORDER BY t.subject_mac", &after, limit, now, lock)?,
        None => Vec::new(),
    };
    let left = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
    rows.extend(many(db, PAUSES, "w.caller_mac > ?2 ORDER BY w.caller_mac", &pauses_after, left, now, pause)?);
    Ok(rows)
}

pub(super) fn of(db: &Db<'_>, whom: &Barred, now: Timestamp) -> sql::Result<Vec<LockRow>> {
    match whom {
        Barred::Subject(subject) => {
            let mut rows = many(db, LOCKS, "t.subject_mac = ?2", subject, OF_ONE, now, lock)?;
            rows.extend(many(db, PAUSES, "w.subject_mac = ?2 ORDER BY w.caller_mac", subject, OF_ONE, now, pause)?);
            Ok(rows)
        }
        Barred::Source(source) => many(db, PAUSES, "w.source = ?2 ORDER BY w.caller_mac", source, OF_ONE, now, pause),
        Barred::Named(LockName::Lock(name)) => many(db, LOCKS, "t.subject_mac = ?2", name, 1, now, lock),
        Barred::Named(LockName::Pause(name)) => many(db, PAUSES, "w.caller_mac = ?2", name, 1, now, pause),
    }
}

pub(super) fn clear(db: &Db<'_>, whom: &Barred, now: Timestamp) -> sql::Result<Forgotten> {
    let locks = of(db, whom, now)?;
    let counters = match whom {
        Barred::Subject(subject) => {
            let failures = db.execute("DELETE FROM attempt WHERE subject_mac = ?1", [subject])?;
            failures + db.execute("DELETE FROM attempt_window WHERE subject_mac = ?1", [subject])?
        }
        Barred::Source(source) => db.execute("DELETE FROM attempt_window WHERE source = ?1", [source])?,
        Barred::Named(LockName::Lock(name)) => db.execute("DELETE FROM attempt WHERE subject_mac = ?1", [name])?,
        Barred::Named(LockName::Pause(name)) => db.execute("DELETE FROM attempt_window WHERE caller_mac = ?1", [name])?,
    };
    Ok(Forgotten { locks, counters })
}

fn many(
    db: &Db<'_>,
    what: &str,
    which: &str,
    key: &impl Bind,
    limit: u32,
    now: Timestamp,
    read: impl Fn(&Row<'_>) -> sql::Result<LockRow>,
) -> sql::Result<Vec<LockRow>> {
    db.rows(&format!("{what} AND {which} LIMIT ?3"), (At(now), key, limit), read)
}

impl FromColumn for Operation {
    fn from_column(value: Value<'_>) -> Option<Self> {
        let name = text(value)?;
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}
