//! Who may try a password: an attempt is reserved in the database before it is hashed, and settled there when its end is known.
//!
//! Imports `model`, `rules::lockout` and the store's steps. What is decided is decided in the store, where every process that
//! shares the database counts; here is the wait when all attempts are in flight, and that none is left open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use crate::model::{Denial, Timestamp};
use crate::rules::lockout::{Ending, LockRule};
use crate::rules::window::WindowRule;
use crate::tokens::account::AccountId;
use crate::tokens::keyring::Mac;
use crate::tokens::refusal::Refusal;
use crate::tokens::store::{
    AttemptId, BeginStep, Begun, Charge, Counts, LockTerms, Operation, SettleStep, Stake, StoreFault, TokenStore,
};
use crate::tokens::{TokenService, mint};

/// How long an attempt waits for one in flight to settle.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks meanwhile: other processes settle without telling.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How many attempts may wait so. Fewer than what waits for the database at most, so that they do not fill that queue.
const WAITING: usize = 256;

/// Whose attempts are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subject {
    pub(crate) key: Mac,
    pub(crate) account: Option<AccountId>,
}

/// Who waits for attempts of this process to settle.
#[derive(Debug)]
pub(crate) struct Guard {
    rule: LockRule,
    /// How many wrong passwords one source may try, if that is limited.
    pub(in crate::tokens) failures: Option<WindowRule>,
    settled: Arc<Notify>,
    waiting: Semaphore,
    tally: Tally,
}

/// What became of attempts since the start.
#[derive(Debug, Default)]
struct Tally([AtomicU64; Outcome::ALL.len()]);

/// What becomes of an attempt at a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was right.
    Right,
    /// It was wrong.
    Wrong,
    /// Nobody found out, through our own fault; or it was right and a second factor is still to come.
    Open,
    /// The account was locked.
    Locked,
    /// Every attempt of the account was in flight for too long.
    Busy,
    /// Its account or its source had tried too often.
    Limited,
    /// Its source had too many wrong passwords, of more accounts than one.
    Spraying,
}

impl Outcome {
    /// Every outcome, each at the place that it has here.
    pub const ALL: [Self; 7] = [Self::Right, Self::Wrong, Self::Open, Self::Locked, Self::Busy, Self::Limited, Self::Spraying];

    /// Its name in the metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Open => "open",
            Self::Locked => "locked",
            Self::Busy => "busy",
            Self::Limited => "limited",
            Self::Spraying => "spraying",
        }
    }
}

impl Tally {
    fn count(&self, outcome: Outcome) {
        let place = Outcome::ALL.iter().position(|one| *one == outcome);
        if let Some(count) = place.and_then(|place| self.0.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An attempt that may go on. If it is dropped unsettled, we failed and not the caller: the reservation is given back.
#[derive(Debug)]
#[must_use = "an attempt that is dropped is given back"]
pub(crate) struct Attempt {
    store: Arc<dyn TokenStore>,
    settled: Arc<Notify>,
    /// What is left to do; `None` once it is settled.
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    id: AttemptId,
    terms: LockTerms,
    if_failed: Box<[Charge]>,
    begun: Timestamp,
}

/// Why an attempt may not go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Held {
    /// A window is full; how long to wait.
    Window(Operation, Duration),
    /// There is a lock, every attempt is in flight, or the database cannot be asked.
    Denied(Denial),
}

impl Held {
    /// The same, whichever window it is.
    pub(crate) fn denial(self) -> Denial {
        match self {
            Self::Window(_, wait) => Denial::LimitReached(wait),
            Self::Denied(denial) => denial,
        }
    }
}

impl Held {
    /// As what it is counted; what the database could not be asked is counted elsewhere.
    fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Window(Operation::FailureFrom, _) => Some(Outcome::Spraying),
            Self::Window(..) => Some(Outcome::Limited),
            Self::Denied(Denial::Locked(_)) => Some(Outcome::Locked),
            Self::Denied(Denial::LimitReached(_)) => Some(Outcome::Busy),
            Self::Denied(_) => None,
        }
    }
}

impl From<Held> for Refusal {
    fn from(held: Held) -> Self {
        held.denial().into()
    }
}

impl From<StoreFault> for Held {
    fn from(fault: StoreFault) -> Self {
        Self::Denied(fault.into())
    }
}

impl Guard {
    pub(crate) fn new(rule: LockRule, failures: Option<WindowRule>) -> Self {
        Self { rule, failures, tally: Tally::default(), settled: Arc::default(), waiting: Semaphore::new(WAITING) }
    }
}

impl TokenService {
    /// When the failures of a subject lock.
    pub(in crate::tokens) fn lock_terms(&self, subject: Subject) -> LockTerms {
        LockTerms { subject: subject.key, account: subject.account, rule: self.guard.rule }
    }

    /// What became of attempts at passwords since the start.
    #[must_use]
    pub fn attempts(&self) -> [(Outcome, u64); Outcome::ALL.len()] {
        let counts = self.guard.tally.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        let mut counted = Outcome::ALL.map(|outcome| (outcome, 0));
        for (slot, count) in counted.iter_mut().zip(counts) {
            slot.1 = count;
        }
        counted
    }

    /// A lock that was found in passing. Nobody is told of more than a lock, wherever the clock that set its end was.
    pub(in crate::tokens) fn locked_until(&self, until: Timestamp, now: Timestamp) -> Denial {
        Denial::Locked(until.since(now).min(self.guard.rule.duration()))
    }

    /// Reserves an attempt and counts it in the windows. If all attempts are in flight, waits up to two seconds for one to settle.
    ///
    /// # Errors
    /// `Locked` with what is left of the lock; a window; `LimitReached` if the wait was in vain, which says nothing about a lock;
    /// `StoreUnavailable`.
    pub(in crate::tokens) async fn begin(&self, subject: Subject, charges: &[Charge]) -> Result<Attempt, Held> {
        let begun = self.admitted(subject, charges).await;
        if let Err(held) = &begun
            && let Some(outcome) = held.outcome()
        {
            self.guard.tally.count(outcome);
        }
        begun
    }

    /// Notes how an attempt ended.
    pub(in crate::tokens) fn note(&self, ending: Ending) {
        self.guard.tally.count(match ending {
            Ending::Succeeded => Outcome::Right,
            Ending::Failed => Outcome::Wrong,
            Ending::Abandoned => Outcome::Open,
        });
    }

    async fn admitted(&self, subject: Subject, charges: &[Charge]) -> Result<Attempt, Held> {
        let busy = || Held::Denied(Denial::LimitReached(Duration::from_secs(1)));
        let id = AttemptId(mint::bytes(self.entropy()));
        let stake = Stake::Reserves(self.lock_terms(subject), id);
        if let Some(outcome) = self.decided(self.ask(stake, charges).await?, id, subject, charges) {
            return outcome;
        }
        let _place = self.guard.waiting.try_acquire().map_err(|_| busy())?;
        let mut patience = std::pin::pin!(tokio::time::sleep(PATIENCE));
        let mut last_look = false;
        loop {
            let mut settled = std::pin::pin!(self.guard.settled.notified());
            // Listening begins before looking, so that no settlement falls between the two. The look itself is never cut short:
            // it may be what reserves the attempt.
            settled.as_mut().enable();
            let begun = match self.ask(stake, charges).await {
                // Others wait as well; there is room again at the next look.
                Err(StoreFault::Full) => Begun::Busy,
                begun => begun?,
            };
            if let Some(outcome) = self.decided(begun, id, subject, charges) {
                return outcome;
            }
            if last_look {
                return Err(busy());
            }
            tokio::select! {
                biased;
                () = &mut patience => last_look = true,
                () = settled => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Lets through who is not locked and passes the windows, without reserving anything.
    ///
    /// # Errors
    /// `Locked` with what is left of the lock; a window; `StoreUnavailable`.
    pub(in crate::tokens) async fn heed(&self, subject: Subject, charges: &[Charge]) -> Result<(), Held> {
        self.let_through(Stake::Heeds(self.lock_terms(subject)), charges).await
    }

    /// Lets through who passes the windows.
    ///
    /// # Errors
    /// A window; `StoreUnavailable`.
    pub(in crate::tokens) async fn charge(&self, charges: &[Charge]) -> Result<(), Held> {
        self.let_through(Stake::Nothing, charges).await
    }

    async fn let_through(&self, stake: Stake, charges: &[Charge]) -> Result<(), Held> {
        match self.ask(stake, charges).await? {
            Begun::Admitted => Ok(()),
            Begun::Busy => Err(Held::Denied(Denial::LimitReached(Duration::from_secs(1)))),
            Begun::Locked(left) => Err(Held::Denied(Denial::Locked(left))),
            Begun::Held(operation, wait) => Err(Held::Window(operation, wait)),
        }
    }

    async fn ask(&self, stake: Stake, charges: &[Charge]) -> Result<Begun, StoreFault> {
        self.store.begin_attempt(BeginStep { stake, charges: charges.into(), now: self.now().wall }).await
    }

    /// What came of asking; `None` if nobody knows yet.
    fn decided(&self, begun: Begun, id: AttemptId, subject: Subject, charges: &[Charge]) -> Option<Result<Attempt, Held>> {
        match begun {
            Begun::Busy => None,
            Begun::Locked(left) => Some(Err(Held::Denied(Denial::Locked(left)))),
            Begun::Held(operation, wait) => Some(Err(Held::Window(operation, wait))),
            Begun::Admitted => {
                let if_failed = charges.iter().filter(|charge| charge.counts == Counts::Failed).cloned().collect();
                let open = Open { id, terms: self.lock_terms(subject), if_failed, begun: self.now().wall };
                let (store, settled) = (Arc::clone(&self.store), Arc::clone(&self.guard.settled));
                Some(Ok(Attempt { store, settled, open: Some(open) }))
            }
        }
    }
}

impl Attempt {
    /// Settles it. `now` is when its outcome was known, from which a lock counts.
    ///
    /// # Errors
    /// [`StoreFault`]: it is given back when its lease is over.
    pub(crate) async fn settle(mut self, ending: Ending, now: Timestamp) -> Result<(), StoreFault> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let done = self.store.settle_attempt(open.settled(ending, now)).await;
        self.settled.notify_waiters();
        done
    }
}

impl Open {
    fn settled(self, ending: Ending, now: Timestamp) -> SettleStep {
        SettleStep { id: self.id, terms: self.terms, ending, if_failed: self.if_failed, now }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let (store, settled, begun) = (Arc::clone(&self.store), Arc::clone(&self.settled), open.begun);
        runtime.spawn(async move {
            if let Err(fault) = store.settle_attempt(open.settled(Ending::Abandoned, begun)).await {
                tracing::warn!(%fault, "an attempt that was given up stays reserved until its lease is over");
            }
            settled.notify_waiters();
        });
    }
}
