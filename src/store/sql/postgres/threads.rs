//! The threads that own the sessions: one that writes, in groups, and some that read.
//!
//! A writer takes a lock of its schema for the length of a transaction, and so the writers of all gateways come one after
//! another: a step means what it means on SQLite, whose writer is alone, and the order of numbers is the order of commits.
//!
//! A session that is lost is opened anew by its thread, after a wait that grows to a second. Until then whoever waits, and
//! whoever comes, is told at once. A commit whose answer was lost may have been kept: the fault that is told then means that
//! nobody knows.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Mutex, oneshot};

use crate::store::sql::postgres::{Role, Session, Terms, runtime};
use crate::store::sql::{Db, OpenFault, Result, SqlFault};
use crate::store::sqlite::StoreFault;

/// Steps that may wait for a thread.
const QUEUE: usize = 512;

/// Steps that are committed together at most.
const GROUP: usize = 64;

/// Between two attempts to connect: the first, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

type Work = Box<dyn FnOnce(&Db<'_>) -> Done + Send>;

/// What is left of a step that was done, until its group is committed.
struct Done {
    /// Whether what it did is kept.
    well: bool,
    answer: Box<dyn FnOnce() + Send>,
}

/// The one thread that writes.
#[derive(Debug)]
pub(crate) struct Writer(Crew);

/// The threads that read.
#[derive(Debug)]
pub(crate) struct Readers(Crew);

#[derive(Debug)]
struct Crew {
    queue: Option<Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. It lets `prepare` do its work first, alone in a transaction of any length.
    pub(super) fn start<E>(
        terms: &Arc<Terms>,
        name: &str,
        prepare: impl FnOnce(&Db<'_>) -> Result<(), E> + Send + 'static,
    ) -> Result<Self, E>
    where
        E: From<OpenFault> + Send + 'static,
    {
        let (queue, works) = channel(QUEUE);
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let terms = Arc::clone(terms);
        let work = move || {
            let works = Works::new(works);
            let line = Line::open(&terms, Role::Write, Arc::default()).map_err(E::from);
            match line.and_then(|line| prepared(&line, prepare).map(|()| line)) {
                Ok(mut line) => {
                    drop(ready.send(Ok(())));
                    line.write(&works);
                }
                Err(fault) => drop(ready.send(Err(fault))),
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(work).map_err(OpenFault::Thread)?;
        let crew = Crew { queue: Some(queue), threads: vec![thread] };
        started.recv().unwrap_or_else(|_| Err(gone().into()))?;
        Ok(Self(crew))
    }

    /// Runs a step in the writer's next transaction and answers once that is committed. A step that fails leaves nothing.
    pub(crate) async fn step<T, F>(&self, step: F) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
    {
        self.0.ask(step).await
    }
}

impl Readers {
    pub(super) fn start(terms: &Arc<Terms>, name: &str) -> Result<Self, OpenFault> {
        let (queue, works) = channel(QUEUE);
        let (works, up) = (Works::new(works), Arc::<AtomicUsize>::default());
        let mut crew = Crew { queue: Some(queue), threads: Vec::new() };
        let (ready, started) = std::sync::mpsc::sync_channel(terms.readers);
        for _ in 0..terms.readers {
            let (terms, works, up, ready) = (Arc::clone(terms), works.clone(), Arc::clone(&up), ready.clone());
            let work = move || match Line::open(&terms, Role::Read, up) {
                Ok(mut line) => {
                    drop(ready.send(Ok(())));
                    line.read(&works);
                }
                Err(fault) => drop(ready.send(Err(fault))),
            };
            crew.threads.push(std::thread::Builder::new().name(name.into()).spawn(work).map_err(OpenFault::Thread)?);
        }
        for _ in 0..terms.readers {
            started.recv().unwrap_or_else(|_| Err(gone()))?;
        }
        Ok(Self(crew))
    }

    /// Runs a query on the next free session; it sees everything that was committed before.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
    {
        self.0.ask(query).await
    }
}

impl Crew {
    async fn ask<T, F>(&self, work: F) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |db| {
            let result = work(db).inspect_err(failed);
            let well = result.is_ok();
            // Whoever asked may have gone; the step is done all the same.
            Done { well, answer: Box::new(move || drop(answer.send(result.map_err(|_| StoreFault::Failed)))) }
        });
        let queue = self.queue.as_ref().ok_or(StoreFault::Failed)?;
        queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => StoreFault::Full,
            TrySendError::Closed(_) => StoreFault::Failed,
        })?;
        answered.await.unwrap_or(Err(StoreFault::Failed))
    }
}

impl Drop for Crew {
    /// Lets the threads finish what is queued.
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn gone() -> OpenFault {
    OpenFault::Thread(std::io::Error::other("it ended at once"))
}

/// What waits for a thread.
#[derive(Clone)]
struct Works(Arc<Mutex<Receiver<Work>>>);

impl Works {
    fn new(works: Receiver<Work>) -> Self {
        Self(Arc::new(Mutex::new(works)))
    }

    async fn next(&self) -> Option<Work> {
        self.0.lock().await.recv().await
    }

    /// Whether nothing waits and nothing can come. Not seen while another thread waits for it, who sees it then.
    fn over(&self) -> bool {
        self.0.try_lock().is_ok_and(|queue| queue.is_closed() && queue.is_empty())
    }

    fn waiting(&self) -> Option<Work> {
        self.0.try_lock().ok()?.try_recv().ok()
    }
}

/// A thread's session, which may be away.
pub(super) struct Line {
    pub(super) runtime: Rc<Runtime>,
    terms: Arc<Terms>,
    role: Role,
    pub(super) session: Option<Session>,
    /// How many lines of this crew have a session.
    up: Arc<AtomicUsize>,
}

impl Line {
    fn open(terms: &Arc<Terms>, role: Role, up: Arc<AtomicUsize>) -> Result<Self, OpenFault> {
        let runtime = runtime().map_err(OpenFault::Thread)?;
        let failed = |source| OpenFault::Database { place: terms.place().into(), source };
        let session = runtime.block_on(Session::connect(&runtime, terms, role)).map_err(failed)?;
        up.fetch_add(1, Ordering::AcqRel);
        Ok(Self { runtime, terms: Arc::clone(terms), role, session: Some(session), up })
    }

    /// The next work, when there is a session to do it on; `None` when there will be none any more.
    fn next(&mut self, works: &Works) -> Option<Work> {
        let runtime = Rc::clone(&self.runtime);
        runtime.block_on(async {
            loop {
                let Some(session) = &mut self.session else {
                    self.reconnect(works).await?;
                    continue;
                };
                tokio::select! {
                    biased;
                    () = session.lost() => self.lose(&SqlFault::Lost),
                    work = works.next() => return work,
                }
            }
        })
    }

    fn lose(&mut self, why: &SqlFault) {
        if self.session.take().is_some() {
            self.up.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!(place = self.terms.place(), %why, "a session with the database is lost");
        }
    }

    /// Tries until there is a session. If no line of the crew has one, nobody waits for it: what waits is dropped, which is
    /// how who asked is told. `None` when nobody can ask any more.
    async fn reconnect(&mut self, works: &Works) -> Option<()> {
        let (mut wait, longest) = WAITS;
        while !works.over() {
            let attempt = Session::connect(&self.runtime, &self.terms, self.role);
            match refusing(attempt, works, &self.up).await? {
                Ok(session) => {
                    self.session = Some(session);
                    self.up.fetch_add(1, Ordering::AcqRel);
                    tracing::info!(place = self.terms.place(), "there is a session with the database again");
                    return Some(());
                }
                Err(fault) => tracing::debug!(%fault, "no session with the database"),
            }
            refusing(tokio::time::sleep(wait), works, &self.up).await?;
            wait = (wait * 2).min(longest);
        }
        None
    }

    fn read(&mut self, works: &Works) {
        while let Some(work) = self.next(works) {
            let Some(session) = &self.session else { continue };
            (work(&Db::Postgres(session)).answer)();
            if session.is_broken() {
                self.lose(&SqlFault::Lost);
            }
        }
    }

    fn write(&mut self, works: &Works) {
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({}); SAVEPOINT step", self.terms.lock());
        while let Some(first) = self.next(works) {
            let Some(session) = &self.session else { continue };
            match commit(session, &begin, first, works) {
                Ok(answers) => answers.into_iter().for_each(|answer| answer()),
                // Dropping the answers has told everyone in the group.
                Err(fault) => {
                    failed(&fault);
                    if session.is_broken() || session.batch("ROLLBACK").is_err() {
                        self.lose(&fault);
                    }
                }
            }
        }
    }
}

/// Awaits something. Meanwhile, as long as the crew has no session at all, works are dropped.
async fn refusing<T>(wait: impl Future<Output = T>, works: &Works, up: &AtomicUsize) -> Option<T> {
    tokio::pin!(wait);
    loop {
        tokio::select! {
            biased;
            done = &mut wait => return Some(done),
            work = works.next(), if up.load(Ordering::Acquire) == 0 => drop(work?),
        }
    }
}

/// Does a step and whatever waits behind it in one transaction; their answers, once it is committed.
fn commit(session: &Session, begin: &str, first: Work, works: &Works) -> Result<Vec<Box<dyn FnOnce() + Send>>> {
    session.batch(begin)?;
    session.failed.set(false);
    let mut answers = Vec::new();
    let mut next = Some(first);
    while let Some(step) = next {
        let done = step(&Db::Postgres(session));
        if session.is_broken() {
            return Err(SqlFault::Lost);
        }
        if session.failed.replace(false) && done.well {
            // It did not notice that a statement of it failed, and the server has undone the rest.
            return Err(SqlFault::Unnoticed);
        }
        answers.push(done.answer);
        next = if answers.len() < GROUP { works.waiting() } else { None };
        // A step that failed is undone alone; those committed with it are not its business.
        session.batch(match (done.well, next.is_some()) {
            (true, true) => "RELEASE step; SAVEPOINT step",
            (false, true) => "ROLLBACK TO step",
            (true, false) => "COMMIT",
            (false, false) => "ROLLBACK TO step; COMMIT",
        })?;
    }
    Ok(answers)
}

/// Lets `prepare` do its work before anything else is done here, alone among the writers of all gateways.
fn prepared<E: From<OpenFault>>(line: &Line, prepare: impl FnOnce(&Db<'_>) -> Result<(), E>) -> Result<(), E> {
    const LONG: Duration = Duration::from_mins(10);
    let terms = &line.terms;
    let failed = |source| OpenFault::Database { place: terms.place().into(), source };
    let session = line.session.as_ref().ok_or_else(|| failed(SqlFault::Lost))?;
    session.deadline.set(LONG);
    let limits = format!("SET LOCAL statement_timeout = {0}; SET LOCAL lock_timeout = {0}", LONG.as_millis());
    let lock = format!("SELECT pg_advisory_xact_lock({})", terms.lock());
    session.batch(&format!("BEGIN; {limits}; {lock}")).map_err(failed)?;
    let db = Db::Postgres(session);
    let known = db.exists("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = ?1)", [&terms.schema]);
    if !known.map_err(failed)? {
        session.batch(&format!("CREATE SCHEMA \"{}\"", terms.schema)).map_err(failed)?;
    }
    prepare(&db)?;
    session.batch("COMMIT").map_err(failed)?;
    session.deadline.set(terms.deadline());
    Ok(())
}

fn failed(fault: &SqlFault) {
    let thread = std::thread::current();
    tracing::error!(thread = thread.name(), error = %fault, "a step of a database failed");
}
