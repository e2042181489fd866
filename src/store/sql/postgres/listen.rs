//! Hearing of what others commit: a session that is woken by them, and looks by itself every second.
//!
//! A notification only wakes; what happened is in a table, which whoever listens reads from where it stopped. So nothing is
//! missed over a lost session, and nothing depends on a notification that never came.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::Tick;
use crate::store::sql::postgres::{Role, Session, Terms, runtime};
use crate::store::sql::{Db, OpenFault, Result, SqlFault};

/// Who is told.
pub(crate) trait Ear: Send + 'static {
    /// Reads what is new; `anew` over a session that has just been opened.
    ///
    /// # Errors
    /// Whatever the database says; it is tried again.
    fn look(&mut self, db: &Db<'_>, anew: bool) -> Result<()>;
    /// Nothing could be read for longer than may be.
    fn deaf(&mut self);
    /// It can be read again, and has been.
    fn hearing(&mut self);
}

/// A thread that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts to listen; when this returns, the ear has looked once.
    ///
    /// # Errors
    /// If there is no session, or the first look fails.
    pub(crate) fn start(terms: &Arc<Terms>, name: &str, mut ear: impl Ear) -> Result<Self, OpenFault> {
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let terms = Arc::clone(terms);
        let work = move || match Listening::open(&terms, &mut ear) {
            Ok(mut listening) => {
                drop(ready.send(Ok(())));
                listening.go_on(&mut ear, stopped);
            }
            Err(fault) => drop(ready.send(Err(fault))),
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(work).map_err(OpenFault::Thread)?;
        let gone = || Err(OpenFault::Thread(std::io::Error::other("it ended at once")));
        started.recv().unwrap_or_else(|_| gone())?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Listening {
    runtime: std::rc::Rc<tokio::runtime::Runtime>,
    terms: Arc<Terms>,
    session: Option<Session>,
    /// Until then all was read.
    heard: Tick,
    deaf: bool,
    /// Nothing was read over this session.
    anew: bool,
    wait: Duration,
}

/// How the thread goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Look,
    Lost,
    Stop,
}

impl Listening {
    fn open(terms: &Arc<Terms>, ear: &mut impl Ear) -> Result<Self, OpenFault> {
        let runtime = runtime().map_err(OpenFault::Thread)?;
        let failed = |source| OpenFault::Database { place: terms.place().into(), source };
        let session = runtime.block_on(Self::connect(&runtime, terms)).map_err(failed)?;
        ear.look(&Db::Postgres(&session), true).map_err(failed)?;
        let (terms, session, heard) = (Arc::clone(terms), Some(session), terms.clock.now().tick);
        Ok(Self { runtime, terms, session, heard, deaf: false, anew: false, wait: SHORTEST })
    }

    /// Listens before it looks, so that nothing falls in between. From now on the server that it finds counts, and every other
    /// session of this gateway is opened anew before it is used.
    async fn connect(runtime: &std::rc::Rc<tokio::runtime::Runtime>, terms: &Terms) -> Result<Session> {
        let session = Session::connect(runtime, terms, Role::Listen).await?;
        session.client.batch_execute(&format!("LISTEN \"{}\"", terms.channel())).await?;
        Ok(session)
    }

    fn go_on(&mut self, ear: &mut impl Ear, mut stopped: oneshot::Receiver<()>) {
        loop {
            let next = if self.session.is_some() { self.await_news(&mut stopped) } else { self.reconnect(&mut stopped) };
            match next {
                Next::Stop => return,
                Next::Lost => self.session = None,
                Next::Look => self.look(ear),
            }
            if !self.deaf && self.left().is_zero() {
                self.deaf = true;
                tracing::warn!(place = self.terms.place(), "revocations of other gateways cannot be read: nothing is trusted");
                ear.deaf();
            }
        }
    }

    /// How long it may still take until something is read; without a bound once that is over.
    fn left(&self) -> Duration {
        if self.deaf {
            self.terms.deadline()
        } else {
            self.terms.silence.saturating_sub(self.terms.clock.now().tick.since(self.heard))
        }
    }

    fn look(&mut self, ear: &mut impl Ear) {
        let Some(session) = &self.session else { return };
        let began = self.terms.clock.now().tick;
        session.deadline.set(self.left().min(self.terms.deadline()));
        let looked = ear.look(&Db::Postgres(session), std::mem::take(&mut self.anew));
        match looked.and_then(|()| session.takes_writes()) {
            Ok(()) => {
                self.heard = began;
                self.wait = SHORTEST;
                if std::mem::take(&mut self.deaf) {
                    tracing::info!(place = self.terms.place(), "revocations of other gateways are read again");
                    ear.hearing();
                }
            }
            Err(fault) => {
                tracing::warn!(place = self.terms.place(), %fault, "revocations of other gateways were not read");
                // The next session begins anew, whatever this one has read.
                self.session = None;
            }
        }
    }

    fn await_news(&mut self, stopped: &mut oneshot::Receiver<()>) -> Next {
        let Some(session) = &mut self.session else { return Next::Lost };
        let pause = (self.terms.silence / 2).min(Duration::from_secs(1));
        let woken = Arc::clone(&session.woken);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stopped => Next::Stop,
                () = session.lost() => Next::Lost,
                () = self.terms.primary.doubted() => Next::Lost,
                () = woken.notified() => Next::Look,
                () = tokio::time::sleep(pause) => Next::Look,
            }
        })
    }

    /// One attempt, and the wait after it if it fails.
    fn reconnect(&mut self, stopped: &mut oneshot::Receiver<()>) -> Next {
        let limit = self.left().min(self.terms.connect);
        let attempt = async { tokio::time::timeout(limit, Self::connect(&self.runtime, &self.terms)).await };
        let connected = self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = &mut *stopped => None,
                connected = attempt => Some(connected.unwrap_or(Err(SqlFault::TimedOut))),
            }
        });
        let wait = self.wait.min(self.left());
        match connected {
            None => Next::Stop,
            Some(Ok(session)) => {
                (self.session, self.anew) = (Some(session), true);
                Next::Look
            }
            Some(Err(_)) => self.runtime.block_on(async {
                self.wait = (self.wait * 2).min(LONGEST);
                tokio::select! {
                    biased;
                    _ = stopped => Next::Stop,
                    () = tokio::time::sleep(wait) => Next::Lost,
                }
            }),
        }
    }
}

/// Between two attempts to connect: the first, and the longest.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);
