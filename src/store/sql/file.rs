//! Opening a database that is a file of SQLite.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::store::sql::{Db, OpenFault, Readers, Writer};
use crate::store::sqlite::{self, connect, keep_private};

/// Opens the file, makes it if it is not there, and lets `prepare` bring it up to date in one transaction. Two programs that
/// start together do it one after the other. The threads are called `name`.
///
/// # Errors
/// If the file cannot be used, or what `prepare` says; nothing is changed then.
pub(crate) fn open_file<E: From<OpenFault>>(
    path: &Path,
    name: &str,
    readers: usize,
    prepare: impl FnOnce(&Db<'_>) -> Result<(), E>,
) -> Result<(Readers, Writer), E> {
    let place: Box<str> = path.display().to_string().into();
    let failed = |source: rusqlite::Error| OpenFault::Database { place: place.clone(), source: source.into() };
    keep_private(path).map_err(|source| OpenFault::File { place: place.clone(), source })?;
    let mut writer = connect(path).map_err(failed)?;
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    prepare(&Db::Sqlite(&transaction))?;
    transaction.commit().map_err(failed)?;
    let connections = (0..readers).map(|_| reader(path)).collect::<rusqlite::Result<_>>().map_err(failed)?;
    let readers = sqlite::Readers::start(connections, &format!("{name}-reader")).map_err(OpenFault::Thread)?;
    let writer = sqlite::Writer::start(writer, &format!("{name}-writer")).map_err(OpenFault::Thread)?;
    Ok((Readers::Sqlite(readers), Writer::Sqlite(writer)))
}

fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let reader = connect(path)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}
