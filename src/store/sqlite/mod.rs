//! SQLite as everything here uses it: files of the owner's alone, WAL, and threads that own the connections.
//!
//! Imports nothing of ours. WAL with `synchronous=FULL`: an answer that was given survives a power cut. That costs one sync per
//! commit, so steps that wait together are committed together. Deliberately absent: what is kept, and in which tables.

mod threads;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub(crate) use threads::{Readers, Writer};

/// Why a step was not done. In every case nothing of it has been kept, unless the machine died while it was being kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreFault {
    /// Too many steps are waiting.
    #[error("too many steps wait for the database")]
    Full,
    /// The database refused or failed; its log line says why.
    #[error("the database failed")]
    Failed,
}

/// Makes the file for its owner only, before SQLite makes it for everybody; its side files take over its mode.
///
/// # Errors
/// If the file cannot be made or written.
pub(crate) fn keep_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(|_| ())
}

/// A connection on which a commit is on the disk when it returns.
///
/// # Errors
/// What SQLite says.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
