//! Hearing of what others commit: a session that is woken by them, and looks by itself every second.
//!
//! A notification only wakes; what happened is in a table, which whoever listens reads from where it stopped. So nothing is
//! missed over a lost session, and nothing depends on a notification that never came. Each look says until when it is good
//! enough; nothing here has to notice that there are no more of them.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::model::Tick;
use crate::store::sql::postgres::{Role, Session, Terms, runtime};
use crate::store::sql::{Db, OpenFault, Result, SqlFault};

/// Who is told.
pub(crate) trait Ear: Send + 'static {
    /// Reads what is new; `anew` over a session that has just been opened. No session that was opened before that one is used
    /// any more then.
    ///
    /// # Errors
    /// Whatever the database says; it is tried again.
    fn look(&mut self, db: &Db<'_>, anew: bool) -> Result<()>;
    /// All that was committed by the beginning of the last look has been read. That is good enough until then.
    fn heard(&mut self, until: Tick);
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
    runtime: Rc<Runtime>,
    terms: Arc<Terms>,
    session: Option<Session>,
    /// Until when what was read is good enough.
    heard: Tick,
    /// It was said that it is no more.
    complained: bool,
    /// Nothing was read over this session.
    anew: bool,
    wait: Duration,
    probe: Pin<Box<dyn Future<Output = Infallible>>>,
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
        let (terms, session) = (Arc::clone(terms), Some(session));
        let (heard, wait) = (Tick::default(), SHORTEST);
        let probe = Box::pin(probe(Rc::clone(&runtime), Arc::clone(&terms)));
        let mut listening = Self { runtime, terms, session, heard, complained: false, anew: true, wait, probe };
        // A server that is slow at first is no reason not to start. What comes too late is not good enough by itself.
        let patience = listening.terms.deadline();
        listening.look(ear, patience).map_err(failed)?;
        Ok(listening)
    }

    /// Listens before it looks, so that nothing falls in between. From now on the server that it finds counts, and every other
    /// session of this gateway is opened anew before it is used.
    async fn connect(runtime: &Rc<Runtime>, terms: &Terms) -> Result<Session> {
        let session = Session::connect(runtime, terms, Role::Listen).await?;
        session.client.batch_execute(&format!("LISTEN \"{}\"", terms.channel())).await?;
        Ok(session)
    }

    fn go_on(&mut self, ear: &mut impl Ear, mut stopped: oneshot::Receiver<()>) {
        loop {
            let mut next = if self.session.is_some() { self.await_news(&mut stopped) } else { self.reconnect(&mut stopped) };
            if next == Next::Look
                && let Err(fault) = self.look(ear, self.terms.deadline().min(self.terms.silence))
            {
                tracing::warn!(place = self.terms.place(), %fault, "revocations of other gateways were not read");
                next = self.rest(&mut stopped);
            }
            match next {
                Next::Stop => return,
                // The next session begins anew, whatever this one has read.
                Next::Lost => self.session = None,
                Next::Look => {}
            }
            let deaf = self.terms.clock.now().tick >= self.heard;
            if deaf && !self.complained {
                tracing::warn!(place = self.terms.place(), "revocations of other gateways cannot be read: nothing is trusted");
            } else if self.complained && !deaf {
                tracing::info!(place = self.terms.place(), "revocations of other gateways are read again");
            }
            self.complained = deaf;
        }
    }

    /// Reads what is new and sees that the server still takes writes, within one deadline for all of it. What that brings is as
    /// good as it was when it began.
    fn look(&mut self, ear: &mut impl Ear, patience: Duration) -> Result<()> {
        let Some(session) = &self.session else { return Err(SqlFault::Lost) };
        let began = self.terms.clock.now().tick;
        session.limit(patience);
        ear.look(&Db::Postgres(session), std::mem::take(&mut self.anew))?;
        session.takes_writes()?;
        self.heard = began.after(self.terms.silence);
        self.wait = SHORTEST;
        ear.heard(self.heard);
        Ok(())
    }

    fn await_news(&mut self, stopped: &mut oneshot::Receiver<()>) -> Next {
        let Some(session) = &mut self.session else { return Next::Lost };
        // As often as the feed looks at its store: three looks may be late.
        let pause = (self.terms.silence / 4).min(Duration::from_secs(1));
        let woken = Arc::clone(&session.woken);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stopped => Next::Stop,
                () = session.lost() => Next::Lost,
                () = self.terms.primary.doubted() => Next::Lost,
                () = woken.notified() => Next::Look,
                () = tokio::time::sleep(pause) => Next::Look,
                never = &mut self.probe => match never {},
            }
        })
    }

    /// One attempt, and the wait after it if it fails.
    fn reconnect(&mut self, stopped: &mut oneshot::Receiver<()>) -> Next {
        let attempt = async { tokio::time::timeout(self.terms.connect, Self::connect(&self.runtime, &self.terms)).await };
        let connected = self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = &mut *stopped => None,
                connected = attempt => Some(connected.unwrap_or(Err(SqlFault::TimedOut))),
            }
        });
        match connected {
            None => Next::Stop,
            Some(Ok(session)) => {
                (self.session, self.anew) = (Some(session), true);
                Next::Look
            }
            Some(Err(fault)) => {
                self.terms.complain(&fault, self.wait == SHORTEST);
                self.rest(stopped)
            }
        }
    }

    /// Waits before it connects again, longer each time until a look comes through: every session that is opened here has all
    /// others of the gateway opened anew.
    fn rest(&mut self, stopped: &mut oneshot::Receiver<()>) -> Next {
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stopped => Next::Stop,
                () = tokio::time::sleep(wait) => Next::Lost,
            }
        })
    }
}

/// Sees now and then where the name leads: a fail-over may leave a server that lives, takes writes and keeps its connections.
/// Whether it is the server that counts is compared when the session is opened; that there is none, looks notice sooner.
async fn probe(runtime: Rc<Runtime>, terms: Arc<Terms>) -> Infallible {
    let pause = terms.silence.saturating_mul(5).min(LONGEST_UNSEEN);
    loop {
        tokio::time::sleep(pause).await;
        drop(Session::connect(&runtime, &terms, Role::Read).await);
    }
}

/// How long it may go unseen that the name leads elsewhere.
const LONGEST_UNSEEN: Duration = Duration::from_secs(10);

/// Between two attempts to connect: the first, and the longest.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);
