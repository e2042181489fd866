//! Where the embedded token service keeps its state.
//!
//! Imports `model`. Deliberately absent: how, which is the business of `tokens` and `store`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::Secret;

/// The database of the embedded token service.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file of SQLite, which one gateway uses at a time.
    Sqlite(PathBuf),
    /// A schema of PostgreSQL, which several gateways may share.
    Postgres(Postgres),
}

impl Database {
    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

/// A schema of PostgreSQL 15 or later.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// A name, an address, or the folder of a Unix socket.
    pub host: Box<str>,
    /// The server's port.
    pub port: u16,
    /// The database.
    pub database: Box<str>,
    /// As whom the gateway signs in.
    pub user: Box<str>,
    /// With what.
    pub password: Option<Secret>,
    /// The schema: lower-case letters, digits and `_`.
    pub schema: Box<str>,
    /// How the connection is encrypted; `None` for not at all.
    pub tls: Option<PostgresTls>,
    /// Connections that read.
    pub readers: usize,
    /// For one attempt to connect.
    pub connect_timeout: Duration,
    /// For one statement.
    pub statement_timeout: Duration,
    /// For how long what other gateways end may go unread.
    pub max_silence: Duration,
}

/// Whom to believe that it is the server.
#[derive(Clone, Debug)]
pub struct PostgresTls {
    /// PEM file of the certificates to trust; the system's if it is not said.
    pub ca_file: Option<PathBuf>,
}
