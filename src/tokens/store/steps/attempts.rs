//! Consecutive failed sign-ins, as they are found again after a restart.

use crate::model::Timestamp;
use crate::store::sql::{self, Db, Row};
use crate::tokens::store::AttemptRow;
use crate::tokens::store::steps::rows::At;

pub(super) fn all(db: &Db<'_>, nobodies: u32) -> sql::Result<Vec<AttemptRow>> {
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
    let mut rows: Vec<_> = db.rows(&of_accounts, (), read)?;
    rows.extend(db.rows(&of_nobody, [nobodies], read)?);
    Ok(rows)
}

pub(super) fn record(db: &Db<'_>, row: &AttemptRow, now: Timestamp) -> sql::Result<()> {
    db.execute(
        "INSERT INTO attempt (subject_mac, account_id, failed, locked_until, revision, touched) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (subject_mac) DO UPDATE SET failed = excluded.failed, locked_until = excluded.locked_until,
             revision = excluded.revision, touched = excluded.touched
         WHERE excluded.revision > attempt.revision",
        (row.subject, row.account, row.failed, row.locked_until.map(At), row.revision, At(now)),
    )?;
    Ok(())
}
