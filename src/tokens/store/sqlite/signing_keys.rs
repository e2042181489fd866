//! The keys that tokens are signed with, sealed.

use async_trait::async_trait;
use rusqlite::{Connection, Row, named_params};

use crate::model::Timestamp;
use crate::tokens::store::sqlite::SqliteStore;
use crate::tokens::store::sqlite::rows::At;
use crate::tokens::store::{SigningKeyRow, SigningKeyStore, StoreFault};

#[async_trait]
impl SigningKeyStore for SqliteStore {
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreFault> {
        self.readers.read(all).await
    }

    async fn add_signing_key(&self, key: SigningKeyRow, unless_after: Timestamp) -> Result<bool, StoreFault> {
        self.writer.step(move |db| add(db, &key, unless_after)).await
    }

    async fn forget_signing_key(&self, kid: &str) -> Result<(), StoreFault> {
        let kid = kid.to_owned();
        self.writer.step(move |db| forget(db, &kid)).await
    }
}

fn all(db: &Connection) -> rusqlite::Result<Vec<SigningKeyRow>> {
    let read = |row: &Row<'_>| {
        Ok(SigningKeyRow {
            kid: row.get(0)?,
            sealed: row.get::<_, Vec<u8>>(1)?.into(),
            created: row.get::<_, At>(2)?.0,
            signs_from: row.get::<_, At>(3)?.0,
        })
    };
    db.prepare_cached("SELECT kid, sealed, created, signs_from FROM signing_key ORDER BY signs_from, created")?
        .query_map([], read)?
        .collect()
}

/// One statement, so that of two programs that start together one makes the first key.
fn add(db: &Connection, key: &SigningKeyRow, unless_after: Timestamp) -> rusqlite::Result<bool> {
    let added = db
        .prepare_cached(
            "INSERT INTO signing_key (kid, sealed, created, signs_from)
             SELECT :kid, :sealed, :created, :signs_from
             WHERE NOT EXISTS (SELECT 1 FROM signing_key WHERE signs_from > :unless_after)",
        )?
        .execute(named_params! {
            ":kid": key.kid, ":sealed": &*key.sealed, ":created": At(key.created), ":signs_from": At(key.signs_from),
            ":unless_after": At(unless_after),
        })?;
    Ok(added == 1)
}

fn forget(db: &Connection, kid: &str) -> rusqlite::Result<()> {
    db.execute("DELETE FROM signing_key WHERE kid = ?1", [kid])?;
    Ok(())
}
