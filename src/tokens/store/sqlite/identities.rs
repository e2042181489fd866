//! API keys, identities, and the channels that are enrolled.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::model::Timestamp;
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::identity::{Identity, IdentityId, IdentityKind, NamedIdentity, NewIdentity, Role};
use crate::tokens::keyring::Mac;
use crate::tokens::store::Reachable;
use crate::tokens::store::sqlite::rows::At;

pub(super) fn add_api_key(db: &Connection, name: &str, key: Mac, now: Timestamp) -> rusqlite::Result<()> {
    db.execute("INSERT INTO api_key (mac, name, created) VALUES (?1, ?2, ?3)", (key, name, At(now)))?;
    Ok(())
}

pub(super) fn api_key(db: &Connection, key: Mac) -> rusqlite::Result<Option<Box<str>>> {
    db.prepare_cached("SELECT name FROM api_key WHERE mac = ?1 AND revoked IS NULL")?
        .query_row([key], |row| row.get(0))
        .optional()
}

pub(super) fn revoke_api_keys(db: &Connection, name: &str, now: Timestamp) -> rusqlite::Result<usize> {
    db.execute("UPDATE api_key SET revoked = ?2 WHERE name = ?1 AND revoked IS NULL", (name, At(now)))
}

pub(super) fn add(
    db: &Connection,
    account: AccountId,
    new: &NewIdentity,
    now: Timestamp,
) -> rusqlite::Result<Option<Identity>> {
    let known: bool = db.query_row("SELECT EXISTS (SELECT 1 FROM account WHERE id = ?1)", [account], |row| row.get(0))?;
    if !known {
        return Ok(None);
    }
    db.prepare_cached("INSERT INTO identity (kind, name, created) VALUES (?1, ?2, ?3)")?.execute((
        new.kind.name(),
        &new.name,
        At(now),
    ))?;
    let id = IdentityId(db.last_insert_rowid());
    db.prepare_cached("INSERT INTO membership (account_id, identity_id, role) VALUES (?1, ?2, ?3)")?.execute((
        account,
        id,
        new.role.name(),
    ))?;
    Ok(Some(Identity { id, kind: new.kind, name: new.name.clone(), role: new.role }))
}

fn identity(row: &Row<'_>) -> rusqlite::Result<Identity> {
    Ok(Identity { id: row.get(0)?, kind: row.get(1)?, name: row.get(2)?, role: row.get(3)? })
}

/// The account's own first, then in the order in which they were made.
const OF_ACCOUNT: &str = "SELECT i.id, i.kind, i.name, m.role FROM membership m JOIN identity i ON i.id = m.identity_id
     WHERE m.account_id = :account";

pub(super) fn of_account(db: &Connection, account: AccountId) -> rusqlite::Result<Vec<Identity>> {
    db.prepare_cached(&format!("{OF_ACCOUNT} ORDER BY m.role, i.id LIMIT 1000"))?
        .query_map(named_params! { ":account": account }, identity)?
        .collect()
}

pub(super) fn first_of(db: &Connection, account: AccountId) -> rusqlite::Result<Option<Identity>> {
    db.prepare_cached(&format!("{OF_ACCOUNT} ORDER BY m.role, i.id LIMIT 1"))?
        .query_row(named_params! { ":account": account }, identity)
        .optional()
}

pub(super) fn one_of(db: &Connection, account: AccountId, wanted: NamedIdentity) -> rusqlite::Result<Option<Identity>> {
    db.prepare_cached(&format!("{OF_ACCOUNT} AND i.id = :identity AND i.kind = :kind"))?
        .query_row(named_params! { ":account": account, ":identity": wanted.id, ":kind": wanted.kind.name() }, identity)
        .optional()
}

pub(super) fn reachable(db: &Connection, account: AccountId) -> rusqlite::Result<Reachable> {
    let phone = db
        .prepare_cached("SELECT phone_key FROM account WHERE id = ?1 AND status = 'active'")?
        .query_row([account], |row| row.get::<_, Option<Box<str>>>(0))
        .optional()?
        .flatten();
    let channels = db
        .prepare_cached("SELECT channel FROM factor WHERE account_id = ?1")?
        .query_map([account], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Reachable { phone, channels })
}

pub(super) fn enrol(db: &Connection, account: AccountId, channel: Channel, now: Timestamp) -> rusqlite::Result<bool> {
    let enrolled = db
        .prepare_cached(
            "INSERT INTO factor (account_id, channel, enrolled) SELECT id, ?2, ?3 FROM account WHERE id = ?1
             ON CONFLICT DO NOTHING",
        )?
        .execute((account, channel, At(now)))?;
    Ok(enrolled == 1)
}

impl FromSql for IdentityId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

impl ToSql for IdentityId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for IdentityKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Role {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Channel {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::named(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for Channel {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}
