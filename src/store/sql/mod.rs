//! A database as the token service uses it: statements that mean the same to SQLite and to PostgreSQL.
//!
//! A step is written once, over `Db`, in the SQL that both understand; what they do not share (`min` of two values, `IS` of
//! two values, the last row's number) is written in another way. Parameters are `?1` or `:name`. Statements are prepared once
//! for each connection. Imports `model` and `store::sqlite`. Deliberately absent: what is kept, and in which tables.

mod file;
pub(crate) mod postgres;
mod sqlite;
mod threads;
mod value;

use std::io;

pub(crate) use file::open_file;
pub(crate) use threads::{Readers, Writer};
pub(crate) use value::{Bind, FromColumn, Params, Value, named_params, text};

/// Why a statement did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum SqlFault {
    /// SQLite says no.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL says no, or cannot be reached.
    #[error("{}", postgres::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The server did not answer in time; whether it did what it was asked to is unknown.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The session with the server ended.
    #[error("the session with the server is gone")]
    Lost,
    /// The server is a standby, or takes no writes any more.
    #[error("the server takes no writes")]
    ReadOnly,
    /// The server is not the one that revocations are read from.
    #[error("the server is another one than revocations are read from")]
    OtherServer,
    /// The server is one that a fail-over has left behind.
    #[error("the server was left behind by a fail-over: its timeline is older than one that was seen")]
    Behind,
    /// A step went on after one of its statements had failed: a mistake in this program.
    #[error("a statement failed and the step went on")]
    Unnoticed,
    /// The statement has a parameter without a value: a mistake in this program.
    #[error("no value for the parameter {0}")]
    Parameter(Box<str>),
    /// A column holds something else than is read from it.
    #[error("the column {0} holds something else")]
    Column(Box<str>),
    /// A row that must be there is not.
    #[error("there is no such row")]
    NoRow,
}

/// A database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// The database says no.
    #[error("the database {place} cannot be opened: {source}")]
    Database {
        /// Which one.
        place: Box<str>,
        /// What it says.
        source: SqlFault,
    },
    /// The file cannot be made or written.
    #[error("the database {place} cannot be made or written: {source}")]
    File {
        /// Which file.
        place: Box<str>,
        /// What the system says.
        source: io::Error,
    },
    /// The certificates to trust cannot be had.
    #[error(transparent)]
    Trust(#[from] crate::fetch::TrustError),
    /// A thread could not be started.
    #[error("a database thread cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// What a statement gives.
pub(crate) type Result<T, E = SqlFault> = std::result::Result<T, E>;

/// A connection inside a step's transaction, or a reader's.
#[derive(Debug)]
pub(crate) enum Db<'a> {
    /// Of SQLite.
    Sqlite(&'a rusqlite::Connection),
    /// Of PostgreSQL.
    Postgres(&'a postgres::Session),
}

#[expect(clippy::needless_pass_by_value, reason = "the values of a statement are written where it is")]
impl Db<'_> {
    /// Does a statement; how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        match self {
            Self::Sqlite(connection) => sqlite::execute(connection, sql, &params),
            Self::Postgres(session) => session.execute(sql, &params),
        }
    }

    /// Every row of a query, as `read` reads it. A query whose answer may be long has a `LIMIT`.
    pub(crate) fn rows<T>(&self, sql: &str, params: impl Params, read: impl FnMut(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(connection) => sqlite::rows(connection, sql, &params, read),
            Self::Postgres(session) => session.rows(sql, &params, read),
        }
    }

    /// The first row of a query, if it has one.
    pub(crate) fn optional<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        match self {
            Self::Sqlite(connection) => sqlite::optional(connection, sql, &params, read),
            Self::Postgres(session) => session.optional(sql, &params, read),
        }
    }

    /// The first row of a query that has one.
    pub(crate) fn one<T>(&self, sql: &str, params: impl Params, read: impl FnOnce(&Row<'_>) -> Result<T>) -> Result<T> {
        self.optional(sql, params, read)?.ok_or(SqlFault::NoRow)
    }

    /// Does the statements of a script, one after another. A script is a migration, or part of one.
    pub(crate) fn script(&self, sql: &str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Self::Postgres(session) => session.script(sql),
        }
    }

    /// Whether other gateways use the same database.
    pub(crate) fn is_shared(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(_) => true,
        }
    }

    /// The answer of a `SELECT EXISTS (…)`.
    pub(crate) fn exists(&self, sql: &str, params: impl Params) -> Result<bool> {
        self.one(sql, params, |row| row.get(0))
    }
}

/// A row of an answer.
#[derive(Debug)]
pub(crate) enum Row<'a> {
    /// Of SQLite.
    Sqlite(&'a rusqlite::Row<'a>),
    /// Of PostgreSQL.
    Postgres(&'a tokio_postgres::Row),
}

impl Row<'_> {
    /// What is in a column: by its place, from 0, or by its name.
    pub(crate) fn get<I: Index, T: FromColumn>(&self, column: I) -> Result<T> {
        let value = match self {
            Self::Sqlite(row) => sqlite::value(row, column)?,
            Self::Postgres(row) => postgres::value(row, column)?,
        };
        T::from_column(value).ok_or_else(|| SqlFault::Column(column.to_string().into()))
    }
}

/// A column's place or name.
pub(crate) trait Index: rusqlite::RowIndex + tokio_postgres::row::RowIndex + std::fmt::Display {}

impl Index for usize {}
impl Index for &str {}
