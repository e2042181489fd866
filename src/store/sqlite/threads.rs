//! The threads that own the connections. Nothing of SQLite runs anywhere else, so no request ever waits in a system call.
//!
//! Both queues are bounded; what does not fit is refused at once. An answer that never comes (a failed commit, a thread
//! that is gone) shows as its channel closing, which is a fault like any other.

use std::fmt::Display;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::store::sqlite::StoreFault;

/// Steps that may wait for a thread.
const QUEUE: usize = 512;

/// Steps that are committed together at most.
const GROUP: usize = 64;

type Read = Box<dyn FnOnce(&Connection) + Send>;
/// A step, which runs inside the transaction and leaves behind how its answer is given after the commit.
type Step = Box<dyn FnOnce(&Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce() + Send>;

/// The one thread that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    steps: Option<SyncSender<Step>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, which is called `name`.
    pub(crate) fn start(connection: Connection, name: &str) -> std::io::Result<Self> {
        let (steps, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || write(connection, &queue))?;
        Ok(Self { steps: Some(steps), thread: Some(thread) })
    }

    /// Runs a step in the writer's next transaction and answers once that is committed. A step that fails leaves nothing.
    pub(crate) async fn step<T, E, F>(&self, step: F) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Display,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let step = Box::new(move |connection: &Connection| -> Answer {
            let result = in_savepoint(connection, step).map_err(|error| failed(&error));
            // Whoever asked may have gone; the step is done all the same.
            Box::new(move || drop(answer.send(result)))
        });
        enqueue(self.steps.as_ref(), step)?;
        answered.await.unwrap_or(Err(StoreFault::Failed))
    }
}

impl Writer {
    /// Queues a step that nobody waits for. What it returns is called on the writer's thread once the step is committed, and
    /// dropped if it is not.
    ///
    /// # Errors
    /// If the step does not fit the queue; nothing is queued then.
    pub(crate) fn post<A, F>(&self, step: F) -> Result<(), StoreFault>
    where
        A: FnOnce() + Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<A> + Send + 'static,
    {
        let step = Box::new(move |connection: &Connection| -> Answer {
            match in_savepoint(connection, step) {
                Ok(done) => Box::new(done),
                Err(error) => {
                    failed(&error);
                    Box::new(|| ())
                }
            }
        });
        enqueue(self.steps.as_ref(), step)
    }
}

impl Drop for Writer {
    /// Lets the writer finish what is queued: whoever opens the file next finds it whole.
    fn drop(&mut self) {
        self.steps = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The threads that read.
#[derive(Debug)]
pub(crate) struct Readers {
    reads: Option<SyncSender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts a thread for each connection; all are called `name`.
    pub(crate) fn start(connections: Vec<Connection>, name: &str) -> std::io::Result<Self> {
        let (reads, queue) = sync_channel::<Read>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for connection in connections {
            let queue = Arc::clone(&queue);
            let work = move || {
                while let Some(read) = next(&queue) {
                    read(&connection);
                }
            };
            threads.push(std::thread::Builder::new().name(name.into()).spawn(work)?);
        }
        Ok(Self { reads: Some(reads), threads })
    }

    /// Runs a query on the next free connection; it sees everything that was committed before.
    pub(crate) async fn read<T, E, F>(&self, query: F) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        E: Display,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let read = Box::new(move |connection: &Connection| {
            drop(answer.send(query(connection).map_err(|error| failed(&error))));
        });
        enqueue(self.reads.as_ref(), read)?;
        answered.await.unwrap_or(Err(StoreFault::Failed))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.reads = None;
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn enqueue<T>(queue: Option<&SyncSender<T>>, work: T) -> Result<(), StoreFault> {
    let Some(queue) = queue else { return Err(StoreFault::Failed) };
    queue.try_send(work).map_err(|error| match error {
        TrySendError::Full(_) => StoreFault::Full,
        TrySendError::Disconnected(_) => StoreFault::Failed,
    })
}

fn next(queue: &Mutex<Receiver<Read>>) -> Option<Read> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn write(mut connection: Connection, queue: &Receiver<Step>) {
    while let Ok(first) = queue.recv() {
        let steps = std::iter::once(first).chain(queue.try_iter().take(GROUP - 1));
        match commit(&mut connection, steps) {
            Ok(answers) => answers.into_iter().for_each(|answer| answer()),
            // Dropping the answers tells everyone in the group that nothing was kept.
            Err(error) => drop(failed(&error)),
        }
    }
}

fn commit(connection: &mut Connection, steps: impl Iterator<Item = Step>) -> rusqlite::Result<Vec<Answer>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let answers = steps.map(|step| step(&transaction)).collect();
    transaction.commit()?;
    Ok(answers)
}

/// A step that fails is undone alone; those committed with it are not its business.
fn in_savepoint<T, E: From<rusqlite::Error>>(
    connection: &Connection,
    step: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    connection.execute_batch("SAVEPOINT step")?;
    let result = step(connection);
    let end = if result.is_ok() { "RELEASE step" } else { "ROLLBACK TO step; RELEASE step" };
    connection.execute_batch(end)?;
    result
}

fn failed(error: &impl Display) -> StoreFault {
    let thread = std::thread::current();
    tracing::error!(thread = thread.name(), %error, "a step of a database failed");
    StoreFault::Failed
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn writer() -> Writer {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").unwrap();
        Writer::start(connection, "test-writer").unwrap()
    }

    fn insert(x: i64) -> impl FnOnce(&Connection) -> rusqlite::Result<()> {
        move |db| db.execute("INSERT INTO t VALUES (?1)", [x]).map(|_| ())
    }

    async fn contents(writer: &Writer) -> Vec<i64> {
        let read = |db: &Connection| db.prepare("SELECT x FROM t ORDER BY x")?.query_map([], |row| row.get(0))?.collect();
        writer.step(read).await.unwrap()
    }

    /// Keeps the writer busy until the sender is dropped.
    fn occupy(writer: &Writer) -> mpsc::Sender<()> {
        let (free, wait) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel::<()>();
        let step = Box::new(move |_: &Connection| -> Answer {
            drop(started);
            assert!(wait.recv().is_err());
            Box::new(|| ())
        });
        enqueue(writer.steps.as_ref(), step).unwrap();
        assert!(start.recv().is_err());
        free
    }

    #[tokio::test]
    async fn a_step_that_fails_leaves_nothing_and_harms_none_that_is_committed_with_it() {
        let writer = writer();
        let occupied = occupy(&writer);
        let fails = |db: &Connection| {
            db.execute("INSERT INTO t VALUES (2)", [])?;
            db.execute("INSERT INTO t VALUES (1)", []).map(|_| ())
        };
        let (first, second, third) = tokio::join!(biased; writer.step(insert(1)), writer.step(fails), async {
            let third = writer.step(insert(3));
            drop(occupied);
            third.await
        });
        assert_eq!((first, second, third), (Ok(()), Err(StoreFault::Failed), Ok(())));
        assert_eq!(contents(&writer).await, [1, 3]);
    }

    #[tokio::test]
    async fn what_does_not_fit_the_queue_is_refused_at_once() {
        let writer = writer();
        let occupied = occupy(&writer);
        for _ in 0..QUEUE {
            let step = Box::new(|_: &Connection| -> Answer { Box::new(|| ()) });
            enqueue(writer.steps.as_ref(), step).unwrap();
        }
        assert_eq!(writer.step(insert(1)).await, Err(StoreFault::Full));
        drop(occupied);
    }

    #[tokio::test]
    async fn a_step_that_nobody_waits_for_is_done_all_the_same() {
        let writer = writer();
        let occupied = occupy(&writer);
        {
            let mut step = Box::pin(writer.step(insert(1)));
            tokio::select! { biased; _ = &mut step => unreachable!("the writer is busy"), () = async {} => {} }
        }
        drop(occupied);
        assert_eq!(contents(&writer).await, [1]);
    }

    #[tokio::test]
    async fn a_commit_that_fails_is_told_to_everybody_in_the_group() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "PRAGMA foreign_keys = ON; CREATE TABLE a (id INTEGER PRIMARY KEY);
                 CREATE TABLE b (a INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
            )
            .unwrap();
        let writer = Writer::start(connection, "test-writer").unwrap();
        let dangling = |db: &Connection| db.execute("INSERT INTO b VALUES (7)", []).map(|_| ());
        assert_eq!(writer.step(dangling).await, Err(StoreFault::Failed));
        let count = |db: &Connection| db.query_row("SELECT count(*) FROM b", [], |row| row.get::<_, i64>(0));
        assert_eq!(writer.step(count).await, Ok(0));
    }
}
