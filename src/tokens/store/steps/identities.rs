//! API keys, identities, and the channels that are enrolled.

use crate::model::Timestamp;
use crate::store::sql::{self, Bind, Db, FromColumn, Row, Value, named_params, text};
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::identity::{Identity, IdentityId, IdentityKind, NamedIdentity, NewIdentity, Role};
use crate::tokens::keyring::Mac;
use crate::tokens::store::Reachable;
use crate::tokens::store::steps::rows::At;

pub(super) fn add_api_key(db: &Db<'_>, name: &str, key: Mac, now: Timestamp) -> sql::Result<()> {
    db.execute("INSERT INTO api_key (mac, name, created) VALUES (?1, ?2, ?3)", (key, name, At(now)))?;
    Ok(())
}

pub(super) fn api_key(db: &Db<'_>, key: Mac) -> sql::Result<Option<Box<str>>> {
    db.optional("SELECT name FROM api_key WHERE mac = ?1 AND revoked IS NULL", [key], |row| row.get(0))
}

pub(super) fn revoke_api_keys(db: &Db<'_>, name: &str, now: Timestamp) -> sql::Result<usize> {
    db.execute("UPDATE api_key SET revoked = ?2 WHERE name = ?1 AND revoked IS NULL", (name, At(now)))
}

pub(super) fn add(db: &Db<'_>, account: AccountId, new: &NewIdentity, now: Timestamp) -> sql::Result<Option<Identity>> {
    let known: bool = db.one("SELECT EXISTS (SELECT 1 FROM account WHERE id = ?1)", [account], |row| row.get(0))?;
    if !known {
        return Ok(None);
    }
    let id = db.one(
        "INSERT INTO identity (kind, name, created) VALUES (?1, ?2, ?3) RETURNING id",
        (new.kind.name(), &new.name, At(now)),
        |row| row.get(0),
    )?;
    db.execute("INSERT INTO membership (account_id, identity_id, role) VALUES (?1, ?2, ?3)", (account, id, new.role.name()))?;
    Ok(Some(Identity { id, kind: new.kind, name: new.name.clone(), role: new.role }))
}

fn identity(row: &Row<'_>) -> sql::Result<Identity> {
    Ok(Identity { id: row.get(0)?, kind: row.get(1)?, name: row.get(2)?, role: row.get(3)? })
}

/// The account's own first, then in the order in which they were made.
const OF_ACCOUNT: &str = "SELECT i.id, i.kind, i.name, m.role FROM membership m JOIN identity i ON i.id = m.identity_id
     WHERE m.account_id = :account";

pub(super) fn of_account(db: &Db<'_>, account: AccountId) -> sql::Result<Vec<Identity>> {
    db.rows(&format!("{OF_ACCOUNT} ORDER BY m.role, i.id LIMIT 1000"), named_params! { ":account": account }, identity)
}

pub(super) fn first_of(db: &Db<'_>, account: AccountId) -> sql::Result<Option<Identity>> {
    db.optional(&format!("{OF_ACCOUNT} ORDER BY m.role, i.id LIMIT 1"), named_params! { ":account": account }, identity)
}

pub(super) fn one_of(db: &Db<'_>, account: AccountId, wanted: NamedIdentity) -> sql::Result<Option<Identity>> {
    db.optional(
        &format!("{OF_ACCOUNT} AND i.id = :identity AND i.kind = :kind"),
        named_params! { ":account": account, ":identity": wanted.id, ":kind": wanted.kind.name() },
        identity,
    )
}

pub(super) fn reachable(db: &Db<'_>, account: AccountId) -> sql::Result<Reachable> {
    let phone = db
        .optional("SELECT phone_key FROM account WHERE id = ?1 AND status = 'active'", [account], |row| {
            row.get::<_, Option<Box<str>>>(0)
        })?
        .flatten();
    let channels = db.rows("SELECT channel FROM factor WHERE account_id = ?1", [account], |row| row.get(0))?;
    Ok(Reachable { phone, channels })
}

pub(super) fn enrol(db: &Db<'_>, account: AccountId, channel: Channel, now: Timestamp) -> sql::Result<bool> {
    let enrolled = db.execute(
        "INSERT INTO factor (account_id, channel, enrolled) SELECT id, ?2, ?3 FROM account WHERE id = ?1
             ON CONFLICT DO NOTHING",
        (account, channel, At(now)),
    )?;
    Ok(enrolled == 1)
}

impl FromColumn for IdentityId {
    fn from_column(value: Value<'_>) -> Option<Self> {
        i64::from_column(value).map(Self)
    }
}

impl Bind for IdentityId {
    fn bind(&self) -> Value<'_> {
        Value::Integer(self.0)
    }
}

impl FromColumn for IdentityKind {
    fn from_column(value: Value<'_>) -> Option<Self> {
        let name = text(value)?;
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl FromColumn for Role {
    fn from_column(value: Value<'_>) -> Option<Self> {
        let name = text(value)?;
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl FromColumn for Channel {
    fn from_column(value: Value<'_>) -> Option<Self> {
        Self::named(text(value)?)
    }
}

impl Bind for Channel {
    fn bind(&self) -> Value<'_> {
        Value::Text(self.name())
    }
}
