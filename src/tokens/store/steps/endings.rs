//! Ending what an operator names: a token's session, a session, or every session of an account or client.
//!
//! A session ends with its grants, so that no refresh token of it is good either, and with the codes that would open another.

use crate::model::Timestamp;
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::sql::{self, Db};
use crate::tokens::account::AccountId;
use crate::tokens::store::steps::outbox;
use crate::tokens::store::steps::rows::{At, Hash};

pub(super) fn end(db: &Db<'_>, reach: &Reach, now: Timestamp) -> sql::Result<Option<Box<str>>> {
    let session = end_reached(db, reach, now)?;
    outbox::tell(db, reach, now)?;
    if let Some(sid) = &session {
        outbox::tell(db, &Reach::Session(sid.clone()), now)?;
    }
    Ok(session)
}

fn end_reached(db: &Db<'_>, reach: &Reach, now: Timestamp) -> sql::Result<Option<Box<str>>> {
    match reach {
        Reach::Token(token) => {
            let session = session_of(db, *token)?;
            if let Some(sid) = &session {
                end_session(db, sid, now)?;
            }
            Ok(session)
        }
        Reach::Session(sid) => end_session(db, sid, now).map(|()| None),
        Reach::Subject(subject) => match AccountId::from_subject(subject) {
            Some(account) => end_account(db, account, now).map(|()| None),
            None => Ok(None),
        },
        Reach::Client(client) => end_client(db, client, now).map(|()| None),
    }
}

/// The session of a token of any kind, whatever has become of either.
pub(super) fn session_of(db: &Db<'_>, token: Fingerprint) -> sql::Result<Option<Box<str>>> {
    db.optional(
        "SELECT sid FROM access_token WHERE hash = ?1
         UNION ALL SELECT g.sid FROM refresh_token r JOIN token_grant g ON g.id = r.grant_id WHERE r.hash = ?1",
        [Hash(token)],
        |row| row.get(0),
    )
}

fn end_session(db: &Db<'_>, sid: &str, now: Timestamp) -> sql::Result<()> {
    db.execute("UPDATE session SET ended = ?2, end_reason = 'revoked' WHERE sid = ?1 AND ended IS NULL", (sid, At(now)))?;
    db.execute(
        "UPDATE token_grant SET revoked = ?2, end_reason = 'revoked' WHERE sid = ?1 AND revoked IS NULL",
        (sid, At(now)),
    )?;
    Ok(())
}

fn end_account(db: &Db<'_>, account: AccountId, now: Timestamp) -> sql::Result<()> {
    db.execute(
        "UPDATE session SET ended = ?2, end_reason = 'revoked' WHERE account_id = ?1 AND ended IS NULL",
        (account, At(now)),
    )?;
    db.execute(
        "UPDATE token_grant SET revoked = ?2, end_reason = 'revoked'
         WHERE revoked IS NULL AND sid IN (SELECT sid FROM session WHERE account_id = ?1)",
        (account, At(now)),
    )?;
    db.execute("UPDATE code SET used = ?2 WHERE account_id = ?1 AND used IS NULL", (account, At(now)))?;
    Ok(())
}

/// A session belongs to the client of its grants, or to the program that opened it.
fn end_client(db: &Db<'_>, client: &str, now: Timestamp) -> sql::Result<()> {
    db.execute(
        "UPDATE session SET ended = ?2, end_reason = 'revoked' WHERE ended IS NULL
             AND (client_id = ?1 OR sid IN (SELECT sid FROM token_grant WHERE client_id = ?1))",
        (client, At(now)),
    )?;
    db.execute(
        "UPDATE token_grant SET revoked = ?2, end_reason = 'revoked' WHERE client_id = ?1 AND revoked IS NULL",
        (client, At(now)),
    )?;
    db.execute("UPDATE code SET used = ?2 WHERE client_id = ?1 AND used IS NULL", (client, At(now)))?;
    Ok(())
}
