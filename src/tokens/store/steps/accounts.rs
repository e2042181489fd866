//! Accounts and their passwords.

use crate::model::Timestamp;
use crate::store::cuts::Reach;
use crate::store::sql::{self, Bind, Db, Row, SqlFault, named_params};
use crate::tokens::account::{Account, AccountId, AccountStatus};
use crate::tokens::identifier::Identifier;
use crate::tokens::identity::{IdentityKind, NewIdentity, Role};
use crate::tokens::store::steps::rows::At;
use crate::tokens::store::steps::{identities, outbox};
use crate::tokens::store::{AccountRow, Enrolled, PasswordHash, PasswordReplacement, Taken};

/// The column by which an account is looked up, and what must be in it.
pub(super) enum Key {
    Phone(Box<str>),
    Email(Box<str>),
    Number(AccountId),
}

impl Key {
    pub(super) fn of(identifier: Identifier<'_>) -> Self {
        match identifier {
            Identifier::Phone(phone) => Self::Phone(phone.as_str().into()),
            Identifier::Email(email) => Self::Email(email.key().into()),
        }
    }
}

pub(super) fn add(db: &Db<'_>, new: &AccountRow) -> sql::Result<Result<Account, Taken>> {
    if db.exists("SELECT EXISTS (SELECT 1 FROM account WHERE email_key = ?1)", [&new.email_key])? {
        return Ok(Err(Taken::Email));
    }
    if let Some(phone) = &new.phone
        && db.exists("SELECT EXISTS (SELECT 1 FROM account WHERE phone_key = ?1)", [phone])?
    {
        return Ok(Err(Taken::Phone));
    }
    let id = db.one(
        "INSERT INTO account (kind, status, email, email_key, phone_key, country, created, modified)
         VALUES (:kind, 'active', :email, :email_key, :phone, :country, :now, :now) RETURNING id",
        named_params! {
            ":kind": new.kind, ":email": new.email, ":email_key": new.email_key, ":phone": new.phone, ":country": new.country,
            ":now": At(new.now),
        },
        |row| row.get(0),
    )?;
    if let Some(PasswordHash(phc)) = &new.password {
        db.execute("INSERT INTO password (account_id, phc, changed) VALUES (?1, ?2, ?3)", (id, phc, At(new.now)))?;
    }
    let own = NewIdentity { kind: IdentityKind::Consumer, name: new.email.clone(), role: Role::Root };
    identities::add(db, id, &own, new.now)?;
    by_id(db, id)?.map(Ok).ok_or(SqlFault::NoRow)
}

const ACCOUNT: &str = "SELECT id, kind, status, email, phone_key, country, created, modified, last_authentication,
    EXISTS (SELECT 1 FROM password WHERE account_id = account.id) AS registered FROM account";

fn account(row: &Row<'_>) -> sql::Result<Account> {
    Ok(Account {
        id: row.get("id")?,
        kind: row.get("kind")?,
        status: row.get("status")?,
        email: row.get("email")?,
        phone: row.get("phone_key")?,
        country: row.get("country")?,
        registered: row.get("registered")?,
        created: row.get::<_, At>("created")?.0,
        modified: row.get::<_, At>("modified")?.0,
        last_authentication: row.get::<_, Option<At>>("last_authentication")?.map(|at| at.0),
    })
}

pub(super) fn by_id(db: &Db<'_>, id: AccountId) -> sql::Result<Option<Account>> {
    db.optional(&format!("{ACCOUNT} WHERE id = ?1"), [id], account)
}

pub(super) fn page(db: &Db<'_>, after: AccountId, limit: u32) -> sql::Result<Vec<Account>> {
    db.rows(&format!("{ACCOUNT} WHERE id > ?1 ORDER BY id LIMIT ?2"), (after, limit), account)
}

pub(super) fn enrolled(db: &Db<'_>, key: &Key) -> sql::Result<Option<Enrolled>> {
    let (column, value): (_, &dyn Bind) = match key {
        Key::Phone(phone) => ("phone_key", phone),
        Key::Email(email) => ("email_key", email),
        Key::Number(id) => ("id", id),
    };
    let query =
        format!("SELECT id, status, phc, expires FROM account LEFT JOIN password ON account_id = id WHERE {column} = ?1");
    let read = |row: &Row<'_>| {
        let password = row.get::<_, Option<Box<str>>>(2)?.map(PasswordHash);
        let password_expires = row.get::<_, Option<At>>(3)?.map(|at| at.0);
        Ok(Enrolled { id: row.get(0)?, status: row.get(1)?, password, password_expires })
    };
    db.optional(&query, [value], read)
}

pub(super) fn switch(db: &Db<'_>, id: AccountId, status: AccountStatus, now: Timestamp) -> sql::Result<bool> {
    let known = db.execute("UPDATE account SET status = ?2, modified = ?3 WHERE id = ?1", (id, status, At(now)))? == 1;
    if known && status == AccountStatus::Disabled {
        db.execute(
            "UPDATE session SET ended = ?2, end_reason = 'account-disabled' WHERE account_id = ?1 AND ended IS NULL",
            (id, At(now)),
        )?;
        // A code that was issued before must not open a session when the account is enabled again.
        db.execute("UPDATE code SET used = ?2 WHERE account_id = ?1 AND used IS NULL", (id, At(now)))?;
    }
    if known {
        outbox::tell(db, &Reach::Subject(id.to_string().into()), now)?;
    }
    Ok(known)
}

pub(super) fn replace_password(db: &Db<'_>, replacement: &PasswordReplacement) -> sql::Result<()> {
    let PasswordReplacement { account, old, new } = replacement;
    db.execute("UPDATE password SET phc = ?3 WHERE account_id = ?1 AND phc = ?2", (account, &old.0, &new.0))?;
    Ok(())
}

pub(super) fn expire_password(db: &Db<'_>, account: AccountId, at: Timestamp) -> sql::Result<bool> {
    Ok(db.execute("UPDATE password SET expires = ?2 WHERE account_id = ?1", (account, At(at)))? == 1)
}

pub(super) fn former_passwords(db: &Db<'_>, account: AccountId) -> sql::Result<Vec<PasswordHash>> {
    db.rows("SELECT phc FROM former_password WHERE account_id = ?1 ORDER BY id DESC LIMIT 100", [account], |row| {
        row.get(0).map(PasswordHash)
    })
}

/// Adds a password to the former ones, and forgets those that are more than are kept.
pub(super) fn keep_former_password(db: &Db<'_>, account: AccountId, former: &PasswordHash, kept: u32) -> sql::Result<()> {
    db.execute("INSERT INTO former_password (account_id, phc) VALUES (?1, ?2)", (account, &former.0))?;
    db.execute(
        "DELETE FROM former_password WHERE account_id = ?1
             AND id NOT IN (SELECT id FROM former_password WHERE account_id = ?1 ORDER BY id DESC LIMIT ?2)",
        (account, kept),
    )?;
    Ok(())
}
