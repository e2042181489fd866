//! Where steps and queries run: on threads that own the connections, whichever database it is.

use crate::store::sql::{Db, Result, postgres};
use crate::store::sqlite::{self, StoreFault};

/// The one thread that writes.
#[derive(Debug)]
pub(crate) enum Writer {
    /// To a file.
    Sqlite(sqlite::Writer),
    /// To a server.
    Postgres(postgres::Writer),
}

impl Writer {
    /// Runs a step in the writer's next transaction and answers once that is committed. A step that fails leaves nothing.
    pub(crate) async fn step<T, F>(&self, step: F) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
    {
        match self {
            Self::Sqlite(writer) => writer.step(move |connection| step(&Db::Sqlite(connection))).await,
            Self::Postgres(writer) => writer.step(step).await,
        }
    }
}

/// The threads that read.
#[derive(Debug)]
pub(crate) enum Readers {
    /// From a file.
    Sqlite(sqlite::Readers),
    /// From a server.
    Postgres(postgres::Readers),
}

impl Readers {
    /// Runs a query on the next free connection; it sees everything that was committed before.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
    {
        match self {
            Self::Sqlite(readers) => readers.read(move |connection| query(&Db::Sqlite(connection))).await,
            Self::Postgres(readers) => readers.read(query).await,
        }
    }
}
