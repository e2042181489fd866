//! PostgreSQL 15 and later: how a session is opened, and how statements are done on it.
//!
//! The asynchronous client runs on a small runtime of the thread that owns the session, because a deadline on this side is
//! needed too: a server that hangs enforces no `statement_timeout`. Every wait is bounded, and a session on which one of them
//! ran out is given up. Imports `store::sql`. Deliberately absent: transactions and groups, which are the writer's.

mod dialect;
mod listen;
mod open;
mod primary;
mod queue;
mod terms;
mod threads;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, SimpleQueryMessage, Statement};

use crate::store::sql::postgres::primary::Identity;
use crate::store::sql::{Params, Result, Row, SqlFault};

pub(crate) use listen::{Ear, Listener};
pub(crate) use open::open_server;
pub(crate) use terms::{Encryption, Server, Terms};
pub(crate) use threads::{Readers, Writer};
pub(super) use wire::value;

/// Statements that a session keeps prepared at most; there are some hundred in all.
const PREPARED: usize = 256;

/// What a session is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// To write.
    Write,
    /// To read only.
    Read,
    /// To be told, which says which server counts.
    Listen,
}

/// A session with a server, owned by one thread.
#[derive(Debug)]
pub(crate) struct Session {
    runtime: Rc<Runtime>,
    client: Client,
    /// Drives the connection; ends with it.
    driver: JoinHandle<()>,
    prepared: RefCell<HashMap<Box<str>, Rc<Prepared>>>,
    /// How long one statement is waited for.
    deadline: Cell<Duration>,
    /// When all of them together are given up; never, unless it is said.
    until: Cell<Option<Instant>>,
    /// A statement failed since this was last looked at: the transaction it was in can only be rolled back.
    failed: Cell<bool>,
    /// Nobody knows any more what the server is doing.
    broken: Cell<bool>,
    woken: Arc<Notify>,
    /// When it was opened: in a later era it is not to be used.
    era: u64,
}

#[derive(Debug)]
struct Prepared {
    statement: Statement,
    /// The parameters as they are written in our text, in the order of the server's.
    parameters: Vec<Box<str>>,
}

/// A runtime for one thread.
fn runtime() -> std::io::Result<Rc<Runtime>> {
    Builder::new_current_thread().enable_all().build().map(Rc::new)
}

impl Session {
    /// Connects, and settles how this session works. To be awaited on `runtime`.
    async fn connect(runtime: &Rc<Runtime>, terms: &Terms, role: Role) -> Result<Self> {
        let connected = tokio::time::timeout(terms.connect, async {
            let era = terms.primary.era();
            let woken = Arc::new(Notify::new());
            let (client, driver) = if let Some(tls) = &terms.tls {
                let (client, connection) = terms.server.connect(tls.clone()).await?;
                (client, tokio::spawn(drive(connection, Arc::clone(&woken))))
            } else {
                let (client, connection) = terms.server.connect(tokio_postgres::NoTls).await?;
                (client, tokio::spawn(drive(connection, Arc::clone(&woken))))
            };
            client.batch_execute(&terms.opening(role)).await?;
            let server = identity(&client).await?;
            let era = match role {
                Role::Listen => terms.primary.hear(server)?,
                Role::Write | Role::Read => terms.primary.meet(server).map(|()| era)?,
            };
            Ok::<_, SqlFault>((client, driver, woken, era))
        });
        let (client, driver, woken, era) = connected.await.map_err(|_| SqlFault::TimedOut)??;
        Ok(Self {
            runtime: Rc::clone(runtime),
            client,
            driver,
            prepared: RefCell::default(),
            deadline: Cell::new(terms.deadline()),
            until: Cell::new(None),
            failed: Cell::new(false),
            broken: Cell::new(false),
            woken,
            era,
        })
    }

    /// Ends when the connection has. Not to be awaited again after that.
    async fn lost(&mut self) {
        drop((&mut self.driver).await);
    }

    fn is_broken(&self) -> bool {
        self.broken.get() || self.client.is_closed()
    }

    /// From now on all statements together take no longer than this.
    fn limit(&self, all: Duration) {
        self.until.set(Some(self.runtime.block_on(async { tokio::time::sleep(all).deadline() })));
    }

    /// Awaits what the server says, for as long as one statement may take.
    fn run<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        let done = self.runtime.block_on(async {
            let statement = tokio::time::sleep(self.deadline.get()).deadline();
            let until = self.until.get().map_or(statement, |all| all.min(statement));
            tokio::time::timeout_at(until, work).await
        });
        self.failed.set(self.failed.get() || !matches!(done, Ok(Ok(_))));
        if let Ok(done) = done {
            return Ok(done?);
        }
        self.broken.set(true);
        Err(SqlFault::TimedOut)
    }

    /// Whether the server still takes writes: one that was fenced off, or is a standby, knows only what was.
    fn takes_writes(&self) -> Result<()> {
        let read = |row: &Row<'_>| row.get::<_, Box<str>>(0);
        match self.optional("SELECT current_setting('transaction_read_only')", &(), read)?.as_deref() {
            Some("off") => Ok(()),
            Some(_) | None => Err(SqlFault::ReadOnly),
        }
    }

    /// Does a few statements without parameters in one go.
    fn batch(&self, sql: &str) -> Result<()> {
        self.run(self.client.batch_execute(sql))
    }

    pub(super) fn script(&self, sql: &str) -> Result<()> {
        self.batch(&dialect::definitions(sql))
    }

    pub(super) fn execute(&self, sql: &str, params: &dyn Params) -> Result<usize> {
        let prepared = self.prepare(sql)?;
        let values = prepared.bind(params)?;
        let changed = self.run(self.client.execute(&prepared.statement, &references(&values)))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: &dyn Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let prepared = self.prepare(sql)?;
        let values = prepared.bind(params)?;
        let rows = self.run(self.client.query(&prepared.statement, &references(&values)))?;
        rows.iter().map(|row| read(&Row::Postgres(row))).collect()
    }

    pub(super) fn optional<T>(
        &self,
        sql: &str,
        params: &dyn Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let prepared = self.prepare(sql)?;
        let values = prepared.bind(params)?;
        let rows = self.run(self.client.query(&prepared.statement, &references(&values)))?;
        rows.first().map(|row| read(&Row::Postgres(row))).transpose()
    }

    fn prepare(&self, sql: &str) -> Result<Rc<Prepared>> {
        if let Some(known) = self.prepared.borrow().get(sql) {
            return Ok(Rc::clone(known));
        }
        let (text, parameters) = dialect::parameters(sql);
        let statement = self.run(self.client.prepare(&text))?;
        let prepared = Rc::new(Prepared { statement, parameters });
        let mut all = self.prepared.borrow_mut();
        if all.len() >= PREPARED {
            all.clear();
        }
        all.insert(sql.into(), Rc::clone(&prepared));
        Ok(prepared)
    }
}

impl Drop for Session {
    /// Whatever the server is doing: nobody waits for it any more.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Prepared {
    fn bind<'a>(&self, params: &'a dyn Params) -> Result<Vec<wire::Bound<'a>>> {
        let bound = |name: &str| params.value(name).map(wire::Bound).ok_or_else(|| SqlFault::Parameter(name.into()));
        self.parameters.iter().map(|name| bound(name)).collect()
    }
}

fn references<'a>(values: &'a [wire::Bound<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// Reads what the server sends until it sends no more.
async fn drive<S, T>(mut connection: Connection<S, T>, woken: Arc<Notify>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // Notices are for people at a prompt; what ends the connection is told to whoever waits for an answer.
    while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            woken.notify_one();
        }
    }
}

/// Which server a session is at; `None` if it does not tell.
async fn identity(client: &Client) -> Result<Option<Identity>> {
    const QUESTION: &str = "SELECT system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
                            FROM pg_control_system()";
    let messages = match client.simple_query(QUESTION).await {
        Ok(messages) => messages,
        // It has no such functions, or not for everybody. That it was stopped or took too long is no answer (class 57).
        Err(error) if error.code().is_some_and(|code| !code.code().starts_with("57")) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(messages.iter().find_map(|message| {
        let SimpleQueryMessage::Row(row) = message else { return None };
        let timeline = u32::from_str_radix(row.get(1)?, 16).ok()?;
        Some(Identity { system: row.get(0)?.into(), timeline })
    }))
}

/// What went wrong, in a line without data: the detail of an error may hold what is in a row.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
