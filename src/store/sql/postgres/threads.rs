//! The threads that own the sessions: one that writes, in groups, and some that read.
//!
//! A writer takes a lock of its schema for the length of a transaction, and so the writers of all gateways come one after
//! another: a step means what it means on SQLite, whose writer is alone, and the order of numbers is the order of commits.
//!
//! A session that is lost is opened anew by its thread, after a wait that grows to a second. While no thread of a crew has one,
//! whoever waits, and whoever comes, is told at once. If the lock cannot be had (a migration, a commit elsewhere that waits for
//! a standby, a gateway that hangs), whoever waits by then is told the same, together with whom it was asked for; whoever comes
//! later tries anew. So nobody waits for more than one `lock_timeout`, however many there are. A step that has waited too long
//! otherwise is refused before it is begun, and one that was begun is waited for: what is told is what happened.
//!
//! A session that was opened before the listener heard anew is given up before anything else is asked of it (`primary`). What
//! it was asked before that is not answered any more, and what it was to write is not committed.
//!
//! A commit whose answer was lost may have been kept: the fault that is told then means that nobody knows.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::store::sql::postgres::queue::{Done, Waiting, Work, Works};
use crate::store::sql::postgres::{Role, Session, Terms, runtime};
use crate::store::sql::{Db, OpenFault, Result, SqlFault};
use crate::store::sqlite::StoreFault;

/// Steps that are committed together at most.
const GROUP: usize = 64;

/// Between two attempts to connect: the first, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The one thread that writes.
#[derive(Debug)]
pub(crate) struct Writer(Crew);

/// The threads that read.
#[derive(Debug)]
pub(crate) struct Readers(Crew);

#[derive(Debug)]
struct Crew {
    works: Arc<Works>,
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
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let works = Arc::new(Works::new(Arc::clone(&terms.clock), terms.statement));
        let (terms, queue) = (Arc::clone(terms), Arc::clone(&works));
        let work = move || {
            let line = Line::open(&terms, Role::Write, queue).map_err(E::from);
            match line.and_then(|line| prepared(&line, prepare).map(|()| line)) {
                Ok(mut line) => {
                    drop(ready.send(Ok(())));
                    line.write();
                }
                Err(fault) => drop(ready.send(Err(fault))),
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(work).map_err(OpenFault::Thread)?;
        let crew = Crew { works, threads: vec![thread] };
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
        let works = Arc::new(Works::new(Arc::clone(&terms.clock), terms.statement));
        let mut crew = Crew { works, threads: Vec::new() };
        let (ready, started) = std::sync::mpsc::sync_channel(terms.readers);
        for _ in 0..terms.readers {
            let (terms, queue, ready) = (Arc::clone(terms), Arc::clone(&crew.works), ready.clone());
            let work = move || match Line::open(&terms, Role::Read, queue) {
                Ok(mut line) => {
                    drop(ready.send(Ok(())));
                    line.read();
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
        self.works.put(work)?;
        answered.await.unwrap_or(Err(StoreFault::Failed))
    }
}

impl Drop for Crew {
    /// Lets the threads finish what is queued.
    fn drop(&mut self) {
        self.works.close();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn gone() -> OpenFault {
    OpenFault::Thread(std::io::Error::other("it ended at once"))
}

/// A thread's session, which may be away.
struct Line {
    runtime: Rc<Runtime>,
    terms: Arc<Terms>,
    role: Role,
    session: Option<Session>,
    works: Arc<Works>,
}

impl Drop for Line {
    /// The thread ends, for whatever reason: nobody is to wait for it.
    fn drop(&mut self) {
        if self.session.is_some() {
            self.works.down();
        }
    }
}

impl Line {
    fn open(terms: &Arc<Terms>, role: Role, works: Arc<Works>) -> Result<Self, OpenFault> {
        let runtime = runtime().map_err(OpenFault::Thread)?;
        let failed = |source| OpenFault::Database { place: terms.place().into(), source };
        let session = runtime.block_on(Session::connect(&runtime, terms, role)).map_err(failed)?;
        works.up();
        Ok(Self { runtime, terms: Arc::clone(terms), role, session: Some(session), works })
    }

    /// The next work, when there is a session to do it on; `None` when there will be none any more.
    fn next(&mut self) -> Option<Waiting> {
        let runtime = Rc::clone(&self.runtime);
        runtime.block_on(async {
            loop {
                let Some(session) = &mut self.session else {
                    self.reconnect().await?;
                    continue;
                };
                let (primary, era) = (&self.terms.primary, session.era);
                tokio::select! {
                    biased;
                    () = session.lost() => self.lose(&SqlFault::Lost),
                    () = primary.beyond(era) => self.renew().await,
                    next = self.works.next() => match next {
                        Some(work) if primary.era() != era => self.works.put_back(work),
                        next => return next,
                    },
                }
            }
        })
    }

    fn lose(&mut self, why: &SqlFault) {
        if self.session.take().is_some() {
            self.works.down();
            tracing::warn!(place = self.terms.place(), %why, "a session with the database is lost");
        }
    }

    /// Gives up a session that may be at a server which counts no more, for another. Whoever waits goes on waiting meanwhile,
    /// for one attempt.
    async fn renew(&mut self) {
        self.session = None;
        match Session::connect(&self.runtime, &self.terms, self.role).await {
            Ok(session) => self.session = Some(session),
            Err(why) => {
                self.works.down();
                tracing::warn!(place = self.terms.place(), %why, "a session with the database is lost");
            }
        }
    }

    /// Tries until there is a session. `None` when nobody can ask any more.
    async fn reconnect(&mut self) -> Option<()> {
        let works = Arc::clone(&self.works);
        tokio::select! {
            biased;
            // Without a session in the crew nothing waits.
            () = works.closed() => None,
            () = self.connect() => Some(()),
        }
    }

    async fn connect(&mut self) {
        let (mut wait, longest) = WAITS;
        loop {
            let era = self.terms.primary.era();
            match Session::connect(&self.runtime, &self.terms, self.role).await {
                Ok(session) => {
                    self.session = Some(session);
                    self.works.up();
                    tracing::info!(place = self.terms.place(), "there is a session with the database again");
                    return;
                }
                Err(fault) => self.terms.complain(&fault, wait == WAITS.0),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(longest),
                // Whoever listens has found the server.
                () = self.terms.primary.beyond(era) => {}
            }
        }
    }

    /// Whether nobody has heard anew since this session was opened. If somebody has, its server may be one that was left.
    fn counts(&self, session: &Session) -> bool {
        self.terms.primary.era() == session.era
    }

    fn read(&mut self) {
        while let Some(next) = self.next() {
            let Some(session) = &self.session else { continue };
            let done = (next.work)(&Db::Postgres(session));
            // What a server says that counts no more is no answer: dropping it is how who asked is told.
            if self.counts(session) {
                (done.answer)();
            }
            if session.is_broken() {
                self.lose(&SqlFault::Lost);
            }
        }
    }

    fn write(&mut self) {
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({}); SAVEPOINT step", self.terms.lock());
        while let Some(first) = self.next() {
            let Some(session) = &self.session else { continue };
            let begun = session.batch(&begin);
            if begun.is_err() {
                // Each of the others would wait as long for the same, one after another.
                let others = self.works.refuse();
                tracing::warn!(others, "no step of a database can be begun: all that wait are refused");
            }
            match begun.and_then(|()| self.group(session, first.work)) {
                Ok(answers) if self.counts(session) => answers.into_iter().for_each(|answer| answer()),
                // Kept where it may be lost: nobody knows.
                Ok(_) => failed(&SqlFault::OtherServer),
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

    /// Does a step and whatever waits behind it in the transaction that was begun; their answers, once it is committed. After
    /// half of the time for a statement it takes no more of them: those that are in it wait for the commit, and the other
    /// gateways for the lock.
    fn group(&self, session: &Session, first: Work) -> Result<Vec<Box<dyn FnOnce() + Send>>> {
        let now = || self.terms.clock.now().tick;
        let full = now().after(self.terms.statement / 2);
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
            let more = answers.len() < GROUP && now() < full;
            next = if more { self.works.waiting().map(|waiting| waiting.work) } else { None };
            if next.is_none() && !self.counts(session) {
                return Err(SqlFault::OtherServer);
            }
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
