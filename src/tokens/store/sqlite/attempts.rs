//! Consecutive failed sign-ins, as they are found again after a restart.

use rusqlite::{Connection, Row};

use crate::model::Timestamp;
use crate::tokens::store::AttemptRow;
use crate::tokens::store::sqlite::rows::At;

pub(super) fn all(db: &Connection, nobodies: u32) -> rusqlite::Result<Vec<AttemptRow>> {
    let read = |row: &Row<'_>| {
        Ok(AttemptRow {
            subject: row.get(0)?,
            account: row.get(1)?,
            failed: row.get(2)?,
            locked_until: row.get::<_, Option<At>>(3)?.map(|at| at.0),
            revision: row.get(4)?,
        })
    };
    let columns = "subject_mac, account_id, failed, locked_until, revision";
    let of_accounts = format!("SELECT {columns} FROM attempt WHERE account_id IS NOT NULL ORDER BY touched DESC");
    let of_nobody = format!("SELECT {columns} FROM attempt WHERE account_id IS NULL ORDER BY touched DESC LIMIT ?1");
    let mut rows: Vec<_> = db.prepare(&of_accounts)?.query_map([], read)?.collect::<Result<_, _>>()?;
    for row in db.prepare(&of_nobody)?.query_map([nobodies], read)? {
        rows.push(row?);
    }
    Ok(rows)
}

pub(super) fn record(db: &Connection, row: &AttemptRow, now: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO attempt (subject_mac, account_id, failed, locked_until, revision, touched) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET failed = excluded.failed, locked_until = excluded.locked_until,
             revision = excluded.revision, touched = excluded.touched
         WHERE excluded.revision > attempt.revision",
    )?
    .execute((row.subject, row.account, row.failed, row.locked_until.map(At), row.revision, At(now)))?;
    Ok(())
}
