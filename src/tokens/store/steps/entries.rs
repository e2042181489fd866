//! Sessions that begin with an e-mail address and a password and belong to no client, and how every session is opened.

use std::time::Duration;

use crate::store::sql::{self, Db, named_params};
use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::cuts::{Fingerprint, Reach};
use crate::tokens::account::AccountId;
use crate::tokens::session::{Api, SessionRule};
use crate::tokens::store::steps::grants::{NewTokens, issue_tokens};
use crate::tokens::store::steps::rows::At;
use crate::tokens::store::steps::{StepStore, challenges, factors, grants, outbox};
use crate::tokens::store::{
    ChallengeId, ChallengeKind, Confirmation, Descent, EmailFactor, EntryStore, Issued, NO_CLIENT, OpenStep, SignOut,
    StoreFault,
};

#[async_trait]
impl EntryStore for StepStore {
    async fn email_factor(&self, account: AccountId) -> Result<Option<Box<str>>, StoreFault> {
        self.readers.read(move |db| factors::email(db, account)).await
    }

    async fn switch_email_factor(&self, id: AccountId, factor: EmailFactor, now: Timestamp) -> Result<bool, StoreFault> {
        self.writer.step(move |db| factors::switch_email(db, id, factor, now)).await
    }

    async fn challenged(&self, challenge: ChallengeId, kind: ChallengeKind) -> Result<Option<AccountId>, StoreFault> {
        self.readers.read(move |db| challenges::account_of(db, challenge, kind)).await
    }

    async fn open_entry(&self, step: OpenStep) -> Result<bool, StoreFault> {
        self.writer.step(move |db| open_by_password(db, &step)).await
    }

    async fn confirm_entry(&self, code: Confirmation, step: OpenStep) -> Result<bool, StoreFault> {
        self.writer.step(move |db| open_by_code(db, &code, &step)).await
    }

    async fn end_own_session(&self, sid: &str, api: Api, now: Timestamp) -> Result<SignOut, StoreFault> {
        let sid = sid.to_owned();
        self.writer.step(move |db| end(db, &sid, api, now)).await
    }

    async fn descent(&self, token: Fingerprint, api: Api) -> Result<Option<Descent>, StoreFault> {
        self.readers.read(move |db| grants::descent(db, token, api)).await
    }
}

/// A session to be opened, with its grant and its first tokens.
pub(super) struct NewSession<'a> {
    pub(super) sid: &'a str,
    pub(super) account: AccountId,
    pub(super) rule: &'a SessionRule,
    pub(super) acr: &'a str,
    pub(super) amr: &'a str,
    pub(super) auth_time: Timestamp,
    pub(super) client: &'a str,
    pub(super) scope: &'a str,
    pub(super) access: Fingerprint,
    pub(super) refresh: Fingerprint,
    pub(super) refresh_idle: Duration,
    pub(super) now: Timestamp,
}

/// Opens a session; the number of its grant, and what was issued.
pub(super) fn open(db: &Db<'_>, new: &NewSession<'_>) -> sql::Result<(i64, Issued)> {
    let end = new.now.after(new.rule.absolute);
    let idle = new.rule.idle.map(|idle| i64::try_from(idle.as_millis()).unwrap_or(i64::MAX));
    db.execute(
        "INSERT INTO session (sid, account_id, api, auth_time, acr, amr, created, last_seen, idle_ms, expires)
         VALUES (:sid, :account, :api, :auth_time, :acr, :amr, :now, :now, :idle, :end)",
        named_params! {
            ":sid": new.sid, ":account": new.account, ":api": new.rule.api.name(), ":auth_time": At(new.auth_time),
            ":acr": new.acr, ":amr": new.amr, ":now": At(new.now), ":idle": idle, ":end": At(end),
        },
    )?;
    let grant = db.one(
        "INSERT INTO token_grant (sid, client_id, scope, created, expires) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id",
        (new.sid, new.client, new.scope, At(new.now), At(end)),
        |row| row.get(0),
    )?;
    let tokens = NewTokens {
        sid: new.sid,
        grant,
        grant_end: end,
        access: new.access,
        access_ttl: new.rule.access_ttl,
        refresh: new.refresh,
        refresh_idle: new.refresh_idle,
        now: new.now,
    };
    let issued = issue_tokens(db, new.account, &tokens)?;
    Ok((grant, issued))
}

pub(super) fn open_by_password(db: &Db<'_>, step: &OpenStep) -> sql::Result<bool> {
    // Looked at again here: the factor may have been switched on while the password was being checked.
    let factor = db
        .one("SELECT EXISTS (SELECT 1 FROM email_factor WHERE account_id = ?1)", [step.account], |row| row.get::<_, bool>(0))?;
    if factor { Ok(false) } else { open_own(db, step) }
}

pub(super) fn open_by_code(db: &Db<'_>, code: &Confirmation, step: &OpenStep) -> sql::Result<bool> {
    if !challenges::consume(db, code, step.account, step.now)? {
        return Ok(false);
    }
    open_own(db, step)
}

/// Opens a session that belongs to no client, if the account can be used.
fn open_own(db: &Db<'_>, step: &OpenStep) -> sql::Result<bool> {
    let signed_in = db.execute(
        "UPDATE account SET last_authentication = ?2, modified = ?2 WHERE id = ?1 AND status = 'active'",
        (step.account, At(step.now)),
    )?;
    if signed_in == 0 {
        return Ok(false);
    }
    let opened = NewSession {
        sid: &step.sid,
        account: step.account,
        rule: &step.rule,
        acr: step.authentication.context,
        amr: step.authentication.methods,
        auth_time: step.authentication.at,
        client: NO_CLIENT,
        scope: "",
        access: step.access,
        refresh: step.refresh,
        refresh_idle: step.refresh_idle,
        now: step.now,
    };
    open(db, &opened)?;
    Ok(true)
}

pub(super) fn end(db: &Db<'_>, sid: &str, api: Api, now: Timestamp) -> sql::Result<SignOut> {
    let ended = db.execute(
        "UPDATE session SET ended = ?3, end_reason = 'signed-out'
             WHERE sid = ?1 AND api = ?2 AND ended IS NULL AND expires > ?3",
        (sid, api.name(), At(now)),
    )?;
    db.execute(
        "UPDATE token_grant SET revoked = ?2, end_reason = 'signed-out'
         WHERE sid = ?1 AND revoked IS NULL AND EXISTS (SELECT 1 FROM session s WHERE s.sid = ?1 AND s.ended IS NOT NULL)",
        (sid, At(now)),
    )?;
    if ended == 1 {
        outbox::tell(db, &Reach::Session(sid.into()), now)?;
        return Ok(SignOut::Ended);
    }
    let before = db.one(
        "SELECT EXISTS (SELECT 1 FROM session WHERE sid = ?1 AND api = ?2 AND ended IS NOT NULL)",
        (sid, api.name()),
        |row| row.get::<_, bool>(0),
    )?;
    Ok(if before { SignOut::EndedBefore } else { SignOut::NoSession })
}
