//! The redemption of a code: one conditional write decides, and whoever comes second ends what the first was given.

use crate::model::Timestamp;
use crate::store::sql::{self, Db, Row, named_params};
use crate::tokens::account::AccountId;
use crate::tokens::store::steps::entries::{NewSession, open};
use crate::tokens::store::steps::grants::{Granted, revoke_grant};
use crate::tokens::store::steps::rows::{At, Hash};
use crate::tokens::store::{RedeemStep, Redemption};

/// What a code stands for.
struct Earned {
    account: AccountId,
    scope: Box<str>,
    auth_time: Timestamp,
    acr: Box<str>,
    amr: Box<str>,
}

pub(super) fn redeem(db: &Db<'_>, step: &RedeemStep) -> sql::Result<Redemption> {
    if let Some(until) = locked_until(db, step)? {
        return Ok(Redemption::Locked(until));
    }
    let Some(earned) = consume(db, step)? else { return refuse(db, step) };
    let opened = NewSession {
        sid: &step.sid,
        account: earned.account,
        rule: &step.rule,
        acr: &earned.acr,
        amr: &earned.amr,
        auth_time: earned.auth_time,
        client: &step.client,
        scope: &earned.scope,
        access: step.access,
        refresh: step.refresh,
        refresh_idle: step.refresh_idle,
        now: step.now,
    };
    let (grant, issued) = open(db, &opened)?;
    db.execute("UPDATE code SET grant_id = ?2 WHERE hash = ?1", (Hash(step.code), grant))?;
    Ok(Redemption::Issued(issued))
}

/// A code that was earned before the account was locked waits, and is not consumed by being tried.
fn locked_until(db: &Db<'_>, step: &RedeemStep) -> sql::Result<Option<Timestamp>> {
    db.optional(
        "SELECT locked_until FROM code JOIN attempt USING (account_id)
         WHERE hash = ?1 AND client_id = ?2 AND used IS NULL AND expires > ?3 AND locked_until > ?3",
        (Hash(step.code), &step.client, At(step.now)),
        |row| row.get::<_, At>(0),
    )
    .map(|until| until.map(|at| at.0))
}

fn consume(db: &Db<'_>, step: &RedeemStep) -> sql::Result<Option<Earned>> {
    let read = |row: &Row<'_>| {
        Ok(Earned {
            account: row.get(0)?,
            scope: row.get(1)?,
            auth_time: row.get::<_, At>(2)?.0,
            acr: row.get(3)?,
            amr: row.get(4)?,
        })
    };
    db.optional(
        "UPDATE code SET used = :now
         WHERE hash = :hash AND client_id = :client AND used IS NULL AND expires > :now
             AND (redirect_uri IS NULL OR redirect_uri = :redirect_uri)
             AND EXISTS (SELECT 1 FROM account WHERE id = code.account_id AND status = 'active')
         RETURNING account_id, scope, auth_time, acr, amr",
        named_params! {
            ":hash": Hash(step.code), ":client": step.client, ":redirect_uri": step.redirect_uri, ":now": At(step.now),
        },
        read,
    )
}

/// Why the code was not consumed. If it had been before, by the same client for the same place, one of the two was a thief,
/// and nobody can tell which: what the first was given is revoked (RFC 6749 section 4.1.2).
fn refuse(db: &Db<'_>, step: &RedeemStep) -> sql::Result<Redemption> {
    let granted = db.optional(
        "SELECT g.id, g.sid FROM code c JOIN token_grant g ON g.id = c.grant_id
             WHERE c.hash = ?1 AND c.client_id = ?2 AND c.used IS NOT NULL
                 AND (c.redirect_uri IS NULL OR c.redirect_uri = ?3)",
        (Hash(step.code), &step.client, &step.redirect_uri),
        Granted::read,
    )?;
    let Some(granted) = granted else { return Ok(Redemption::Invalid) };
    revoke_grant(db, &granted, "code-reused", step.now)?;
    Ok(Redemption::Reused(granted.sid))
}
