//! What waits for the threads of a crew: one queue, which also knows how many of them have a session.
//!
//! Whether somebody waits or is refused is decided in one place and at one moment:
//!
//! - Where no thread has a session, nobody waits: what comes is refused, and what waited was refused when the last session went.
//! - What has waited for longer than its patience is dropped before it is begun. So is everything that waits when a thread says
//!   that it would wait in vain ([`Works::refuse`]).
//! - What is dropped was never begun and never will be; dropping it is how who asked is told.
//!
//! Imports `model`, and the fault of `store::sqlite`. Deliberately absent: what is done with works, and how long a work takes that was begun.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::{Clock, Tick};
use crate::store::sql::Db;
use crate::store::sqlite::StoreFault;

/// Works that may wait for a crew.
const QUEUE: usize = 512;

pub(super) type Work = Box<dyn FnOnce(&Db<'_>) -> Done + Send>;

/// What is left of a work that was done, until it is kept.
pub(super) struct Done {
    /// Whether what it did is kept.
    pub(super) well: bool,
    pub(super) answer: Box<dyn FnOnce() + Send>,
}

/// A work that waits, and until when it may.
pub(super) struct Waiting {
    pub(super) work: Work,
    until: Tick,
}

/// The queue of a crew.
pub(super) struct Works {
    state: Mutex<State>,
    /// There is more to take.
    news: Notify,
    end: Notify,
    clock: Arc<dyn Clock>,
    patience: Duration,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// How many threads have a session.
    up: usize,
    closed: bool,
}

impl std::fmt::Debug for Works {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Works").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// What there is to take.
enum Next {
    Work(Waiting),
    /// Nothing now.
    Nothing,
    /// Nothing any more.
    Over,
}

impl Works {
    /// An empty queue. Nothing waits in it for longer than `patience` by `clock`.
    pub(super) fn new(clock: Arc<dyn Clock>, patience: Duration) -> Self {
        Self { state: Mutex::default(), news: Notify::new(), end: Notify::new(), clock, patience }
    }

    /// Lets a work wait.
    ///
    /// # Errors
    /// If no thread has a session, or too many wait; the work is dropped then.
    pub(super) fn put(&self, work: Work) -> Result<(), StoreFault> {
        let until = self.clock.now().tick.after(self.patience);
        let mut state = self.state();
        if state.closed || state.up == 0 {
            return Err(StoreFault::Failed);
        }
        if state.waiting.len() >= QUEUE {
            return Err(StoreFault::Full);
        }
        state.waiting.push_back(Waiting { work, until });
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// Puts back what was taken and not begun, before everything else.
    pub(super) fn put_back(&self, waiting: Waiting) {
        self.state().waiting.push_front(waiting);
        self.news.notify_one();
    }

    /// The next work; `None` when there will be none any more.
    pub(super) async fn next(&self) -> Option<Waiting> {
        loop {
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            match self.take() {
                Next::Work(waiting) => return Some(waiting),
                Next::Over => return None,
                Next::Nothing => tokio::select! {
                    () = news => {}
                    () = self.closed() => {}
                },
            }
        }
    }

    /// What waits, if something does.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        match self.take() {
            Next::Work(waiting) => Some(waiting),
            Next::Nothing | Next::Over => None,
        }
    }

    fn take(&self) -> Next {
        let now = self.clock.now().tick;
        let mut overdue = Vec::new();
        let mut state = self.state();
        while let Some(waiting) = state.waiting.pop_front() {
            if now < waiting.until {
                drop(state);
                return Next::Work(waiting);
            }
            overdue.push(waiting);
        }
        let next = if state.closed { Next::Over } else { Next::Nothing };
        drop(state);
        next
    }

    /// Refuses whatever waits now. Who comes later waits anew. How many were refused.
    pub(super) fn refuse(&self) -> usize {
        let refused = std::mem::take(&mut self.state().waiting);
        refused.len()
    }

    /// A thread has a session.
    pub(super) fn up(&self) {
        self.state().up += 1;
    }

    /// A thread has lost its session. If it was the last, whatever waits is refused.
    pub(super) fn down(&self) {
        let mut state = self.state();
        state.up = state.up.saturating_sub(1);
        let refused = if state.up == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
        drop(state);
        drop(refused);
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.end.notify_waiters();
    }

    /// Ends when nothing comes any more.
    pub(super) async fn closed(&self) {
        let mut end = pin!(self.end.notified());
        end.as_mut().enable();
        if !self.state().closed {
            end.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
