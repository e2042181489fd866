//! Clients, and whose key the database belongs to.

use crate::model::Timestamp;
use crate::store::sql::{self, Db, Row, SqlFault};
use crate::tokens::client::{Client, ClientRight, NewClient};
use crate::tokens::keyring::Mac;
use crate::tokens::store::ClientRow;
use crate::tokens::store::steps::rows::At;

pub(super) fn adopt_key(db: &Db<'_>, check: Mac) -> sql::Result<bool> {
    db.execute("INSERT INTO server_key (only_row, check_mac) VALUES (1, ?1) ON CONFLICT DO NOTHING", [check])?;
    let known: Mac = db.one("SELECT check_mac FROM server_key", (), |row| row.get(0))?;
    Ok(known == check)
}

pub(super) fn add(db: &Db<'_>, new: &NewClient, secret: Mac, now: Timestamp) -> sql::Result<bool> {
    let rights: Vec<_> = new.rights.iter().map(|right| right.name()).collect();
    let made = db.execute(
        "INSERT INTO client (id, secret_mac, rights, redirect_uris, created, modified) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
         ON CONFLICT DO NOTHING",
        (&new.id, secret, rights.join(" "), new.redirect_uris.join(" "), At(now)),
    )?;
    Ok(made == 1)
}

fn client(row: &Row<'_>) -> sql::Result<Client> {
    let rights: Box<str> = row.get("rights")?;
    let unknown = || SqlFault::Column("rights".into());
    let rights = rights.split_whitespace().map(|name| ClientRight::named(name).ok_or_else(unknown));
    let redirect_uris: Box<str> = row.get("redirect_uris")?;
    Ok(Client {
        id: row.get("id")?,
        rights: rights.collect::<Result<_, _>>()?,
        redirect_uris: redirect_uris.split_whitespace().map(Into::into).collect(),
    })
}

pub(super) fn by_id(db: &Db<'_>, id: &str) -> sql::Result<Option<ClientRow>> {
    let read = |row: &Row<'_>| {
        let previous_secret = row.get("previous_secret_mac")?;
        Ok(ClientRow { client: client(row)?, secret: row.get("secret_mac")?, previous_secret })
    };
    db.optional("SELECT id, rights, redirect_uris, secret_mac, previous_secret_mac FROM client WHERE id = ?1", [id], read)
}

pub(super) fn all(db: &Db<'_>) -> sql::Result<Vec<Client>> {
    db.rows("SELECT id, rights, redirect_uris FROM client ORDER BY id", (), client)
}

pub(super) fn rotate(db: &Db<'_>, id: &str, secret: Mac, now: Timestamp) -> sql::Result<bool> {
    let rotated = db.execute(
        "UPDATE client SET previous_secret_mac = secret_mac, secret_mac = ?2, modified = ?3 WHERE id = ?1",
        (id, secret, At(now)),
    )?;
    Ok(rotated == 1)
}
