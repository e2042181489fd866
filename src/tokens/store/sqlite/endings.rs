//! Ending what an operator names: a token's session, a session, or every session of an account or client.
//!
//! A session ends with its grants, so that no refresh token of it is good either, and with the codes that would open another.

use rusqlite::{Connection, OptionalExtension};

use crate::model::Timestamp;
use crate::store::cuts::{Fingerprint, Reach};
use crate::tokens::account::AccountId;
use crate::tokens::store::sqlite::rows::{At, Hash};

pub(super) fn end(db: &Connection, reach: &Reach, now: Timestamp) -> rusqlite::Result<Option<Box<str>>> {
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
fn session_of(db: &Connection, token: Fingerprint) -> rusqlite::Result<Option<Box<str>>> {
    db.prepare_cached(
        "SELECT sid FROM access_token WHERE hash = ?1
         UNION ALL SELECT g.sid FROM refresh_token r JOIN token_grant g ON g.id = r.grant_id WHERE r.hash = ?1",
    )?
    .query_row([Hash(token)], |row| row.get(0))
    .optional()
}

fn end_session(db: &Connection, sid: &str, now: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE session SET ended = ?2, end_reason = 'revoked' WHERE sid = ?1 AND ended IS NULL")?
        .execute((sid, At(now)))?;
    db.prepare_cached("UPDATE token_grant SET revoked = ?2, end_reason = 'revoked' WHERE sid = ?1 AND revoked IS NULL")?
        .execute((sid, At(now)))?;
    Ok(())
}

fn end_account(db: &Connection, account: AccountId, now: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE session SET ended = ?2, end_reason = 'revoked' WHERE account_id = ?1 AND ended IS NULL")?
        .execute((account, At(now)))?;
    db.prepare_cached(
        "UPDATE token_grant SET revoked = ?2, end_reason = 'revoked'
         WHERE revoked IS NULL AND sid IN (SELECT sid FROM session WHERE account_id = ?1)",
    )?
    .execute((account, At(now)))?;
    db.prepare_cached("UPDATE code SET used = ?2 WHERE account_id = ?1 AND used IS NULL")?.execute((account, At(now)))?;
    Ok(())
}

/// A session belongs to the client of its grants, or to the program that opened it.
fn end_client(db: &Connection, client: &str, now: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE session SET ended = ?2, end_reason = 'revoked' WHERE ended IS NULL
             AND (client_id = ?1 OR sid IN (SELECT sid FROM token_grant WHERE client_id = ?1))",
    )?
    .execute((client, At(now)))?;
    db.prepare_cached("UPDATE token_grant SET revoked = ?2, end_reason = 'revoked' WHERE client_id = ?1 AND revoked IS NULL")?
        .execute((client, At(now)))?;
    db.prepare_cached("UPDATE code SET used = ?2 WHERE client_id = ?1 AND used IS NULL")?.execute((client, At(now)))?;
    Ok(())
}
