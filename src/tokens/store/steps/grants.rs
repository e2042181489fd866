//! Grants and their tokens: issue, rotate, revoke, look up.

use std::time::Duration;

use crate::model::{Timestamp, TokenKind};
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::sql::{self, Db, Row, named_params};
use crate::tokens::account::AccountId;
use crate::tokens::session::Api;
use crate::tokens::store::steps::outbox;
use crate::tokens::store::steps::rows::{At, Hash, Kind};
use crate::tokens::store::{Descent, Issued, LiveToken, NO_CLIENT, Revocation, RotateStep, Rotation};

/// A pair of tokens to be issued under a grant.
pub(super) struct NewTokens<'a> {
    pub(super) sid: &'a str,
    pub(super) grant: i64,
    pub(super) grant_end: Timestamp,
    pub(super) access: Fingerprint,
    pub(super) access_ttl: Duration,
    pub(super) refresh: Fingerprint,
    pub(super) refresh_idle: Duration,
    pub(super) now: Timestamp,
}

/// Issues a pair, neither of which outlives the grant.
pub(super) fn issue_tokens(db: &Db<'_>, account: AccountId, new: &NewTokens<'_>) -> sql::Result<Issued> {
    let access_expires = new.now.after(new.access_ttl).min(new.grant_end);
    let refresh_expires = new.now.after(new.refresh_idle).min(new.grant_end);
    db.execute(
        "INSERT INTO access_token (hash, kind, sid, grant_id, issued, expires) VALUES (?1, 'access', ?2, ?3, ?4, ?5)",
        (Hash(new.access), new.sid, new.grant, At(new.now), At(access_expires)),
    )?;
    db.execute(
        "INSERT INTO refresh_token (hash, grant_id, issued, expires) VALUES (?1, ?2, ?3, ?4)",
        (Hash(new.refresh), new.grant, At(new.now), At(refresh_expires)),
    )?;
    Ok(Issued { account, at: new.now, access_expires, refresh_expires })
}

/// A grant, and the session that it is of.
pub(super) struct Granted {
    pub(super) grant: i64,
    pub(super) sid: Box<str>,
}

impl Granted {
    pub(super) fn read(row: &Row<'_>) -> sql::Result<Self> {
        Ok(Self { grant: row.get(0)?, sid: row.get(1)? })
    }
}

/// Revokes a grant, and ends its session if that has no other. Nothing happens if it was revoked already: other gateways on
/// this database were told of that by the step that did it.
pub(super) fn revoke_grant(db: &Db<'_>, Granted { grant, sid }: &Granted, reason: &str, now: Timestamp) -> sql::Result<()> {
    let revoked = db.execute(
        "UPDATE token_grant SET revoked = ?2, end_reason = ?3 WHERE id = ?1 AND revoked IS NULL",
        (*grant, At(now), reason),
    )?;
    if revoked == 1 {
        outbox::tell(db, &Reach::Session(sid.clone()), now)?;
        db.execute(
            "UPDATE session SET ended = ?2, end_reason = ?3 WHERE sid = ?1 AND ended IS NULL
                 AND NOT EXISTS (SELECT 1 FROM token_grant g WHERE g.sid = session.sid AND g.revoked IS NULL)",
            (sid, At(now), reason),
        )?;
    }
    Ok(())
}

/// A refresh token of a grant that is alive.
struct Found {
    grant: i64,
    grant_end: Timestamp,
    sid: Box<str>,
    account: AccountId,
    expires: Timestamp,
    used: bool,
    /// The sealed successors, if the grace is not over.
    repeatable: Option<Box<[u8]>>,
}

pub(super) fn rotate(db: &Db<'_>, step: &RotateStep) -> sql::Result<Rotation> {
    let Some(found) = find(db, step)? else { return Ok(Rotation::Invalid) };
    if found.used {
        if let Some(sealed) = &found.repeatable {
            return repeat(db, &found, step, sealed);
        }
        let family = Granted { grant: found.grant, sid: found.sid };
        revoke_grant(db, &family, "refresh-reused", step.now)?;
        return Ok(Rotation::Reused(family.sid));
    }
    if found.expires <= step.now || !mark_used(db, step)? {
        return Ok(Rotation::Invalid);
    }
    db.execute(
        "UPDATE access_token SET expires = ?2 WHERE grant_id = ?1 AND expires > ?2",
        (found.grant, At(step.now.after(step.rule.superseded_access))),
    )?;
    let tokens = NewTokens {
        sid: &found.sid,
        grant: found.grant,
        grant_end: found.grant_end,
        access: step.access,
        access_ttl: step.access_ttl,
        refresh: step.refresh,
        refresh_idle: step.rule.idle,
        now: step.now,
    };
    let issued = issue_tokens(db, found.account, &tokens)?;
    db.execute("UPDATE session SET last_seen = ?2 WHERE sid = ?1", (&found.sid, At(step.now)))?;
    outbox::tell(db, &Reach::Session(found.sid.clone()), step.now)?;
    Ok(Rotation::Rotated(issued, found.sid))
}

fn find(db: &Db<'_>, step: &RotateStep) -> sql::Result<Option<Found>> {
    let read = |row: &Row<'_>| {
        Ok(Found {
            grant: row.get(0)?,
            grant_end: earliest(row, &[1, 7])?,
            sid: row.get(2)?,
            account: row.get(3)?,
            expires: row.get::<_, At>(4)?.0,
            used: row.get(5)?,
            repeatable: row.get(6)?,
        })
    };
    db.optional(
        "SELECT g.id, g.expires, s.sid, s.account_id, r.expires, r.used IS NOT NULL,
             CASE WHEN r.grace_until > :now THEN r.successor_sealed END, s.expires
         FROM refresh_token r
         JOIN token_grant g ON g.id = r.grant_id
         JOIN session s ON s.sid = g.sid
         JOIN account a ON a.id = s.account_id
         WHERE r.hash = :hash AND g.client_id = :client AND g.revoked IS NULL AND g.expires > :now
             AND s.api = :api AND s.ended IS NULL AND s.expires > :now AND a.status = 'active'",
        named_params! {
            ":hash": Hash(step.used), ":client": step.client, ":api": step.api.name(), ":now": At(step.now),
        },
        read,
    )
}

pub(super) fn descent(db: &Db<'_>, token: Fingerprint, api: Api) -> sql::Result<Option<Descent>> {
    let read = |row: &Row<'_>| {
        Ok(Descent {
            account: row.get(0)?,
            sid: row.get(1)?,
            acr: row.get(2)?,
            amr: row.get(3)?,
            auth_time: row.get::<_, At>(4)?.0,
            end: earliest(row, &[5, 6])?,
        })
    };
    db.optional(
        "SELECT s.account_id, s.sid, s.acr, s.amr, s.auth_time, g.expires, s.expires
         FROM refresh_token r
         JOIN token_grant g ON g.id = r.grant_id
         JOIN session s ON s.sid = g.sid
         WHERE r.hash = ?1 AND g.client_id = ?2 AND s.api = ?3",
        (Hash(token), NO_CLIENT, api.name()),
        read,
    )
}

fn mark_used(db: &Db<'_>, step: &RotateStep) -> sql::Result<bool> {
    let grace_until = step.sealed.as_ref().map(|_| At(step.now.after(step.rule.grace)));
    let marked = db.execute(
        "UPDATE refresh_token SET used = :now, successor_access = :access, successor_sealed = :sealed, grace_until = :grace
             WHERE hash = :hash AND used IS NULL",
        named_params! {
            ":hash": Hash(step.used), ":now": At(step.now), ":access": Hash(step.access), ":sealed": step.sealed.as_deref(),
            ":grace": grace_until,
        },
    )?;
    Ok(marked == 1)
}

/// The pair that was issued for the first use, while its access token is still good.
fn repeat(db: &Db<'_>, found: &Found, step: &RotateStep, sealed: &[u8]) -> sql::Result<Rotation> {
    let issued = |row: &Row<'_>| {
        let at = row.get::<_, At>(0)?.0;
        let refresh_expires = at.after(step.rule.idle).min(found.grant_end);
        Ok(Issued { account: found.account, at, access_expires: row.get::<_, At>(1)?.0, refresh_expires })
    };
    let issued = db.optional(
        "SELECT a.issued, a.expires FROM refresh_token r JOIN access_token a ON a.hash = r.successor_access
             WHERE r.hash = ?1 AND a.revoked IS NULL AND a.expires > ?2",
        (Hash(step.used), At(step.now)),
        issued,
    )?;
    Ok(issued.map_or(Rotation::Invalid, |issued| Rotation::Repeated(issued, sealed.into())))
}

pub(super) fn revoke(db: &Db<'_>, token: Fingerprint, client: &str, now: Timestamp) -> sql::Result<Revocation> {
    let access = db.execute(
        "UPDATE access_token SET revoked = ?3 WHERE hash = ?1 AND revoked IS NULL
                 AND EXISTS (SELECT 1 FROM token_grant g WHERE g.id = grant_id AND g.client_id = ?2)",
        (Hash(token), client, At(now)),
    )?;
    if access == 1 {
        outbox::tell(db, &Reach::Token(token), now)?;
        return Ok(Revocation::Token);
    }
    let granted = db.optional(
        "SELECT g.id, g.sid FROM refresh_token r JOIN token_grant g ON g.id = r.grant_id WHERE r.hash = ?1 AND g.client_id = ?2",
        (Hash(token), client),
        Granted::read,
    )?;
    if let Some(granted) = granted {
        revoke_grant(db, &granted, "revoked", now)?;
        return Ok(Revocation::Grant(granted.sid));
    }
    let before = db.one(
        "SELECT EXISTS (SELECT 1 FROM access_token t JOIN token_grant g ON g.id = t.grant_id
             WHERE t.hash = ?1 AND g.client_id = ?2)",
        (Hash(token), client),
        |row| row.get::<_, bool>(0),
    )?;
    Ok(if before { Revocation::Token } else { Revocation::Nothing })
}

pub(super) fn live_token(db: &Db<'_>, token: Fingerprint, now: Timestamp) -> sql::Result<Option<LiveToken>> {
    db.optional(
        "SELECT t.kind, s.account_id, s.sid, coalesce(nullif(g.client_id, ''), s.client_id), coalesce(g.scope, ''),
             coalesce(t.acr, s.acr), coalesce(t.amr, s.amr), coalesce(t.auth_time, s.auth_time), t.issued, t.expires,
             s.idle_ms, s.last_seen, s.expires
         FROM access_token t
         JOIN session s ON s.sid = t.sid
         JOIN account a ON a.id = s.account_id
         LEFT JOIN token_grant g ON g.id = t.grant_id
         WHERE t.hash = :hash AND t.revoked IS NULL AND t.expires > :now
             AND s.ended IS NULL AND s.expires > :now
             AND a.status = 'active' AND (t.grant_id IS NULL OR (g.revoked IS NULL AND g.expires > :now))",
        named_params! { ":hash": Hash(token), ":now": At(now) },
        |row| live(row, row.get::<_, Kind>(0)?.0, &[9, 12]),
    )
}

pub(super) fn live_refresh_token(db: &Db<'_>, token: Fingerprint, now: Timestamp) -> sql::Result<Option<LiveToken>> {
    db.optional(
        "SELECT r.hash, s.account_id, s.sid, coalesce(nullif(g.client_id, ''), s.client_id), g.scope, s.acr, s.amr,
             s.auth_time,
             r.issued, r.expires, s.idle_ms, s.last_seen, s.expires, g.expires
         FROM refresh_token r
         JOIN token_grant g ON g.id = r.grant_id
         JOIN session s ON s.sid = g.sid
         JOIN account a ON a.id = s.account_id
         WHERE r.hash = :hash AND r.used IS NULL AND r.expires > :now AND g.revoked IS NULL AND g.expires > :now
             AND s.ended IS NULL AND s.expires > :now AND a.status = 'active'",
        named_params! { ":hash": Hash(token), ":now": At(now) },
        |row| live(row, TokenKind::Refresh, &[9, 12, 13]),
    )
}

/// The earliest of the instants in these columns.
fn earliest(row: &Row<'_>, columns: &[usize]) -> sql::Result<Timestamp> {
    let mut earliest = Timestamp::from_millis(i64::MAX);
    for column in columns {
        earliest = earliest.min(row.get::<_, At>(*column)?.0);
    }
    Ok(earliest)
}

fn live(row: &Row<'_>, kind: TokenKind, ends: &[usize]) -> sql::Result<LiveToken> {
    let millis = |idle: i64| Duration::from_millis(idle.unsigned_abs());
    let last_seen = row.get::<_, At>(11)?.0;
    Ok(LiveToken {
        kind,
        account: row.get(1)?,
        sid: row.get(2)?,
        client: row.get(3)?,
        scope: row.get(4)?,
        acr: row.get(5)?,
        amr: row.get(6)?,
        auth_time: row.get::<_, At>(7)?.0,
        issued: row.get::<_, At>(8)?.0,
        expires: earliest(row, ends)?,
        idle: row.get::<_, Option<i64>>(10)?.map(|idle| (last_seen, millis(idle))),
    })
}
