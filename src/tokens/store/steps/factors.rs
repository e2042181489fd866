//! Which accounts need a code by e-mail beside their password.

use crate::model::Timestamp;
use crate::store::sql::{self, Db};
use crate::tokens::account::AccountId;
use crate::tokens::store::EmailFactor;
use crate::tokens::store::steps::rows::At;

pub(super) fn email(db: &Db<'_>, account: AccountId) -> sql::Result<Option<Box<str>>> {
    db.optional("SELECT email FROM account JOIN email_factor ON account_id = id WHERE id = ?1", [account], |row| row.get(0))
}

pub(super) fn switch_email(db: &Db<'_>, id: AccountId, factor: EmailFactor, now: Timestamp) -> sql::Result<bool> {
    match factor {
        EmailFactor::On => db.execute(
            "INSERT INTO email_factor (account_id, since) SELECT id, ?2 FROM account WHERE id = ?1 ON CONFLICT DO NOTHING",
            (id, At(now)),
        )?,
        EmailFactor::Off => db.execute("DELETE FROM email_factor WHERE account_id = ?1", [id])?,
    };
    Ok(db.execute("UPDATE account SET modified = ?2 WHERE id = ?1", (id, At(now)))? == 1)
}
