//! Sessions that live by being used: opened by a login, exchanged for tokens of an identity, ended by a logout.

use crate::store::sql::{self, Db, Row, named_params};
use std::time::Duration;

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::cuts::{Fingerprint, Reach};
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::identity::{Identity, NewIdentity};
use crate::tokens::keyring::Mac;
use crate::tokens::store::steps::rows::{At, Hash, Kind};
use crate::tokens::store::steps::{StepStore, accounts, endings, identities, outbox, step_up};
use crate::tokens::store::{
    ChallengeId, ChallengeKind, CodeAnswer, CodeVerdict, Enrolled, Exchange, ExchangeStep, LastSeen, OpenSession,
    PasswordChange, PasswordHash, PushAnswer, PushVerdict, Reachable, SessionStore, StoreFault,
};

#[async_trait]
impl SessionStore for StepStore {
    async fn add_api_key(&self, name: &str, key: Mac, now: Timestamp) -> Result<(), StoreFault> {
        let name = name.to_owned();
        self.writer.step(move |db| identities::add_api_key(db, &name, key, now)).await
    }

    async fn api_key(&self, key: Mac) -> Result<Option<Box<str>>, StoreFault> {
        self.readers.read(move |db| identities::api_key(db, key)).await
    }

    async fn revoke_api_keys(&self, name: &str, now: Timestamp) -> Result<usize, StoreFault> {
        let name = name.to_owned();
        self.writer.step(move |db| identities::revoke_api_keys(db, &name, now)).await
    }

    async fn add_identity(&self, of: AccountId, new: NewIdentity, now: Timestamp) -> Result<Option<Identity>, StoreFault> {
        self.writer.step(move |db| identities::add(db, of, &new, now)).await
    }

    async fn identities(&self, of: AccountId) -> Result<Vec<Identity>, StoreFault> {
        self.readers.read(move |db| identities::of_account(db, of)).await
    }

    async fn open_session(&self, step: OpenSession) -> Result<Option<Identity>, StoreFault> {
        self.writer.step(move |db| open(db, &step)).await
    }

    async fn exchange(&self, step: ExchangeStep) -> Result<Exchange, StoreFault> {
        self.writer.step(move |db| exchange(db, &step)).await
    }

    async fn end_session(&self, token: Fingerprint, now: Timestamp) -> Result<Option<Box<str>>, StoreFault> {
        self.writer.step(move |db| end(db, token, now)).await
    }

    async fn session_of(&self, token: Fingerprint) -> Result<Option<Box<str>>, StoreFault> {
        self.readers.read(move |db| endings::session_of(db, token)).await
    }

    async fn note_uses(&self, uses: Vec<(Box<str>, LastSeen)>, now: Timestamp) -> Result<(), StoreFault> {
        self.writer.step(move |db| note_uses(db, &uses, now)).await
    }

    async fn enrolled_account(&self, id: AccountId) -> Result<Option<Enrolled>, StoreFault> {
        self.readers.read(move |db| accounts::enrolled(db, &accounts::Key::Number(id))).await
    }

    async fn change_password(&self, step: PasswordChange) -> Result<Option<Identity>, StoreFault> {
        self.writer.step(move |db| change_password(db, &step)).await
    }

    async fn former_passwords(&self, account: AccountId) -> Result<Vec<PasswordHash>, StoreFault> {
        self.readers.read(move |db| accounts::former_passwords(db, account)).await
    }

    async fn expire_password(&self, of: AccountId, at: Timestamp) -> Result<bool, StoreFault> {
        self.writer.step(move |db| accounts::expire_password(db, of, at)).await
    }

    async fn reachable(&self, account: AccountId) -> Result<Reachable, StoreFault> {
        self.readers.read(move |db| identities::reachable(db, account)).await
    }

    async fn enrol(&self, account: AccountId, channel: Channel, now: Timestamp) -> Result<bool, StoreFault> {
        self.writer.step(move |db| identities::enrol(db, account, channel, now)).await
    }

    async fn latest_challenge(
        &self,
        kind: ChallengeKind,
        token: Fingerprint,
        channel: Channel,
    ) -> Result<Option<ChallengeId>, StoreFault> {
        self.readers.read(move |db| step_up::latest(db, kind, token, channel)).await
    }

    async fn answer_code(&self, answer: CodeAnswer) -> Result<CodeVerdict, StoreFault> {
        self.writer.step(move |db| step_up::answer_code(db, &answer)).await
    }

    async fn answer_push(&self, answer: PushAnswer) -> Result<PushVerdict, StoreFault> {
        self.writer.step(move |db| step_up::answer_push(db, &answer)).await
    }
}

fn open(db: &Db<'_>, step: &OpenSession) -> sql::Result<Option<Identity>> {
    let Some(identity) = identities::first_of(db, step.account)? else { return Ok(None) };
    let used = db.execute(
        "UPDATE account SET last_authentication = ?2, modified = ?2 WHERE id = ?1 AND status = 'active'",
        (step.account, At(step.now)),
    )?;
    if used != 1 {
        return Ok(None);
    }
    let end = step.now.after(step.rule.absolute);
    let idle = step.rule.idle.map(|idle| i64::try_from(idle.as_millis()).unwrap_or(i64::MAX));
    db.execute(
        "INSERT INTO session (sid, account_id, api, client_id, auth_time, acr, amr, created, last_seen, idle_ms, expires)
         VALUES (:sid, :account, :api, :client, :auth_time, :acr, :amr, :now, :now, :idle, :end)",
        named_params! {
            ":sid": step.sid, ":account": step.account, ":api": step.rule.api.name(), ":client": step.client,
            ":auth_time": At(step.authentication.at), ":acr": step.authentication.context, ":amr": step.authentication.methods,
            ":now": At(step.now), ":idle": idle, ":end": At(end),
        },
    )?;
    let token_end = step.now.after(step.rule.access_ttl).min(end);
    db.execute(
        "INSERT INTO access_token (hash, kind, sid, issued, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        (Hash(step.token), Kind(step.kind), &step.sid, At(step.now), At(token_end)),
    )?;
    Ok(Some(identity))
}

fn exchange(db: &Db<'_>, step: &ExchangeStep) -> sql::Result<Exchange> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, At>(2)?.0));
    let held: Option<(AccountId, Box<str>, Timestamp)> = db.optional(
        "SELECT s.account_id, s.sid, s.expires FROM access_token t
             JOIN session s ON s.sid = t.sid
             JOIN account a ON a.id = s.account_id
             WHERE t.hash = ?1 AND t.revoked IS NULL AND t.expires > ?2 AND s.ended IS NULL AND s.expires > ?2
                 AND a.status = 'active'",
        (Hash(step.held), At(step.now)),
        read,
    )?;
    let Some((account, sid, session_end)) = held else { return Ok(Exchange::Gone) };
    let Some(identity) = identities::one_of(db, account, step.identity)? else { return Ok(Exchange::NotTheirs) };
    // A second factor that was shown for the token held counts for the one that follows from it.
    db.execute(
        "INSERT INTO access_token (hash, kind, sid, identity_id, issued, expires, acr, amr, auth_time)
         SELECT :token, 'access', :sid, :identity, :now, :end, acr, amr, auth_time FROM access_token WHERE hash = :held",
        named_params! {
            ":token": Hash(step.token), ":sid": sid, ":identity": identity.id, ":now": At(step.now),
            ":end": At(step.now.after(step.access_ttl).min(session_end)), ":held": Hash(step.held),
        },
    )?;
    Ok(Exchange::Issued(identity))
}

fn end(db: &Db<'_>, token: Fingerprint, now: Timestamp) -> sql::Result<Option<Box<str>>> {
    let ended: Option<Box<str>> = db.optional(
        "UPDATE session SET ended = ?2, end_reason = 'logged-out'
         WHERE ended IS NULL AND sid = (SELECT sid FROM access_token WHERE hash = ?1 AND revoked IS NULL) RETURNING sid",
        (Hash(token), At(now)),
        |row| row.get(0),
    )?;
    if let Some(sid) = &ended {
        outbox::tell(db, &Reach::Session(sid.clone()), now)?;
    }
    Ok(ended)
}

/// How much later than it happened another gateway may write down that a session was used.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

fn note_uses(db: &Db<'_>, uses: &[(Box<str>, LastSeen)], now: Timestamp) -> sql::Result<()> {
    for (sid, seen) in uses {
        match seen {
            LastSeen::At(at) => {
                db.execute("UPDATE session SET last_seen = ?2 WHERE sid = ?1 AND last_seen < ?2", (sid, At(*at)))?;
            }
            LastSeen::TooLongAgo => end_unused(db, sid, now)?,
        }
    }
    Ok(())
}

/// Where others use the same sessions, one that was not used here may have been used there.
fn end_unused(db: &Db<'_>, sid: &str, now: Timestamp) -> sql::Result<()> {
    let by_now = if db.is_shared() { At(now.before(WRITTEN_WITHIN)) } else { At(Timestamp::from_millis(i64::MAX)) };
    let ended = db.execute(
        "UPDATE session SET ended = ?2, end_reason = 'not-used'
         WHERE sid = ?1 AND ended IS NULL AND last_seen + coalesce(idle_ms, 0) <= ?3",
        (sid, At(now), by_now),
    )?;
    if ended == 1 {
        outbox::tell(db, &Reach::Session(sid.into()), now)?;
    }
    Ok(())
}

fn change_password(db: &Db<'_>, step: &PasswordChange) -> sql::Result<Option<Identity>> {
    let PasswordChange { old, new, expires, former_kept, session } = step;
    let changed = db.execute(
        "UPDATE password SET phc = ?3, changed = ?4, expires = ?5 WHERE account_id = ?1 AND phc = ?2",
        (session.account, &old.0, &new.0, At(session.now), expires.map(At)),
    )?;
    if changed != 1 {
        return Ok(None);
    }
    accounts::keep_former_password(db, session.account, old, *former_kept)?;
    db.execute(
        "UPDATE session SET ended = ?2, end_reason = 'password-changed' WHERE account_id = ?1 AND ended IS NULL",
        (session.account, At(session.now)),
    )?;
    // What was earned with the old password but not redeemed yet goes with it.
    db.execute("UPDATE code SET used = ?2 WHERE account_id = ?1 AND used IS NULL", (session.account, At(session.now)))?;
    outbox::tell(db, &Reach::Subject(session.account.to_string().into()), session.now)?;
    open(db, session)
}
