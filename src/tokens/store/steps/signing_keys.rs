//! The keys that tokens are signed with, sealed.

use std::sync::atomic::Ordering;

use crate::store::sql::{self, Db, Row, named_params};
use async_trait::async_trait;

use crate::model::Timestamp;
use crate::tokens::store::steps::StepStore;
use crate::tokens::store::steps::rows::At;
use crate::tokens::store::{SigningKeyRow, SigningKeyStore, StoreFault};

#[async_trait]
impl SigningKeyStore for StepStore {
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreFault> {
        self.readers.read(all).await
    }

    async fn add_signing_key(&self, key: SigningKeyRow, unless_after: Timestamp) -> Result<bool, StoreFault> {
        self.writer.step(move |db| add(db, &key, unless_after)).await
    }

    fn heard_since(&self) -> Option<u64> {
        let is_deaf = self.hearer.as_ref().is_some_and(|hearer| hearer.is_deaf());
        (!is_deaf).then(|| self.begun.load(Ordering::Acquire))
    }

    async fn forget_signing_key(&self, kid: &str) -> Result<(), StoreFault> {
        let kid = kid.to_owned();
        self.writer.step(move |db| forget(db, &kid)).await
    }
}

fn all(db: &Db<'_>) -> sql::Result<Vec<SigningKeyRow>> {
    let read = |row: &Row<'_>| {
        Ok(SigningKeyRow {
            kid: row.get(0)?,
            sealed: row.get(1)?,
            created: row.get::<_, At>(2)?.0,
            signs_from: row.get::<_, At>(3)?.0,
        })
    };
    db.rows("SELECT kid, sealed, created, signs_from FROM signing_key ORDER BY signs_from, created", (), read)
}

/// One statement, so that of two programs that start together one makes the first key.
fn add(db: &Db<'_>, key: &SigningKeyRow, unless_after: Timestamp) -> sql::Result<bool> {
    let added = db.execute(
        "INSERT INTO signing_key (kid, sealed, created, signs_from)
             SELECT :kid, :sealed, :created, :signs_from
             WHERE NOT EXISTS (SELECT 1 FROM signing_key WHERE signs_from > :unless_after)",
        named_params! {
            ":kid": key.kid, ":sealed": &*key.sealed, ":created": At(key.created), ":signs_from": At(key.signs_from),
            ":unless_after": At(unless_after),
        },
    )?;
    Ok(added == 1)
}

fn forget(db: &Db<'_>, kid: &str) -> sql::Result<()> {
    db.execute("DELETE FROM signing_key WHERE kid = ?1", [kid])?;
    Ok(())
}
