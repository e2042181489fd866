//! Guards on logins at token services that are not ours: the wait when attempts in flight fill a budget, and what is said.
//!
//! Imports `model`, `rules::{lockout, login_budget}` and the primitives of aws-lc-rs. An account is known here only by a keyed
//! hash of its folded name. The counters are in `table`, under one lock in `local`; `memory` says what of them outlives a
//! restart. A counter that counts anything is never pushed out: when there is no room, newcomers are refused. Deliberately
//! absent: where a login names its account (`rules::account_key`), and files (`store::journal`).

mod local;
mod locks;
mod memory;
mod spray;
mod table;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::sync::{Notify, Semaphore};

use crate::model::{Clock, CountedBy, Denial, NonEmpty, SourceKey};
use crate::rules::lockout::Ending;
use crate::rules::login_budget::{Answer, BudgetRule};
use crate::store::revocations::NotKept;
use local::Local;
pub use locks::{AccountMark, Cleared, Lock, Whose};
pub use memory::{Counted, CounterName, GuardKey, GuardLedger, GuardMemory, Noted};
pub use spray::FEW_ACCOUNTS;
use spray::Spray;
pub use table::{ACQUAINTANCES, COUNTERS};
use table::{AccountHash, Caller, Refusal, Reservation};

/// How long an attempt waits for one in flight to settle.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many attempts may wait so, at one guard.
const WAITING: usize = 1_024;

/// How long whoever found no room is told to wait.
const NO_ROOM: Duration = Duration::from_mins(1);

/// What a guard goes by.
#[derive(Clone, Debug)]
pub struct GuardTerms {
    /// Its name: label of its metrics, field of its log lines.
    pub name: Arc<str>,
    /// What attempts are counted by.
    pub by: NonEmpty<CountedBy>,
    /// What each counter takes.
    pub rule: BudgetRule,
}

impl GuardTerms {
    /// What a counter takes: no success ends what a source has failed, so there is no lock of one.
    fn rule_of(&self, counter: &CounterName) -> BudgetRule {
        if counter.account.is_some() { self.rule } else { self.rule.without_lock() }
    }
}

/// Whose attempt it is, by folded names.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The account.
    pub account: &'a str,
    /// Where it comes from.
    pub source: SourceKey,
    /// The client, where the guard counts by it.
    pub client: Option<&'a str>,
}

/// What came of an attempt, as the metrics count it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Happening {
    /// The service said that the login is wrong.
    Failed,
    /// The service said that it is right.
    Succeeded,
    /// The service said neither, or nothing: nothing is counted.
    GivenBack,
    /// Refused: there is a lock.
    Locked,
    /// Refused: a window is full.
    Spent,
    /// Refused: attempts in flight filled the budget for too long.
    Busy,
    /// Refused: there is no room for another counter.
    Full,
    /// Refused: it names no account, or may name two.
    Unreadable,
}

impl Happening {
    /// The label of the metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Succeeded => "succeeded",
            Self::GivenBack => "given-back",
            Self::Locked => "locked",
            Self::Spent => "spent",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Who is told what came of attempts.
pub trait GuardWitness: Send + Sync + fmt::Debug {
    /// An attempt was refused or is settled.
    fn happened(&self, guard: &str, happening: Happening);
    /// A login was wrong; whether the account had succeeded from there lately.
    fn failed(&self, guard: &str, known: bool);
    /// A lock holds, but could not be written down: it will not survive a restart.
    fn not_kept(&self);
}

/// One guard with its counters.
#[derive(Debug)]
pub struct LoginGuard {
    terms: GuardTerms,
    key: AccountHashing,
    clock: Arc<dyn Clock>,
    witness: Arc<dyn GuardWitness>,
    counters: Local,
    spray: Mutex<Spray>,
    settled: Notify,
    waiting: Semaphore,
}

struct AccountHashing(hmac::Key);

impl fmt::Debug for AccountHashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountHashing(…)")
    }
}

/// An attempt that may go on. If it is dropped unsettled, we failed and not the caller: the reservations are given back, unless
/// the service has answered.
#[derive(Debug)]
#[must_use = "an attempt that is dropped is given back"]
pub struct Attempt {
    guard: Arc<LoginGuard>,
    caller: Caller,
    /// Empty once it is settled.
    reservations: Vec<Reservation>,
    if_dropped: Ending,
}

impl LoginGuard {
    /// A guard that has seen nothing yet, and whose counters end with the process.
    #[must_use]
    pub fn new(terms: GuardTerms, key: &GuardKey, clock: Arc<dyn Clock>, witness: Arc<dyn GuardWitness>) -> Self {
        Self {
            terms,
            key: AccountHashing(hmac::Key::new(hmac::HMAC_SHA256, &key.0)),
            clock,
            witness,
            counters: Local::default(),
            spray: Mutex::default(),
            settled: Notify::new(),
            waiting: Semaphore::new(WAITING),
        }
    }

    /// The same with what was counted before a restart, under the same key; from now on `ledger` is told what is counted.
    #[must_use]
    pub fn remembering(self, counted: Vec<(CounterName, Counted)>, ledger: Arc<dyn GuardLedger>) -> Self {
        let counters = Local::restored(&self.terms, counted, Some(ledger), self.clock.now());
        Self { counters, ..self }
    }

    /// Reserves an attempt. If attempts in flight fill a budget, waits up to two seconds
    /// for one to settle.
    ///
    /// # Errors
    /// `Locked` with what is left of the lock; `LimitReached` with the time until a window has room, or a second if the wait was
    /// in vain, which says nothing about a lock; `Overloaded` if there is no room for another counter.
    pub async fn begin(self: &Arc<Self>, who: Who<'_>) -> Result<Attempt, Denial> {
        let caller = self.caller(who);
        if let Some(outcome) = self.try_begin(caller) {
            return outcome;
        }
        let busy = || self.refuse(Refusal::Answer(Answer::Busy));
        let Ok(_place) = self.waiting.try_acquire() else { return Err(busy()) };
        let retry = async {
            loop {
                let mut settled = std::pin::pin!(self.settled.notified());
                // Listening begins before looking, so that no settlement falls between the two.
                settled.as_mut().enable();
                if let Some(outcome) = self.try_begin(caller) {
                    return outcome;
                }
                settled.await;
            }
        };
        match tokio::time::timeout(PATIENCE, retry).await {
            Ok(outcome) => outcome,
            Err(_) => Err(busy()),
        }
    }

    /// Whether the account may try at all, without trying: attempts in flight are nobody's business here.
    ///
    /// # Errors
    /// `Locked` with what is left of the lock; `LimitReached` with the time until a window has room.
    pub fn consult(&self, who: Who<'_>) -> Result<(), Denial> {
        let caller = self.caller(who);
        match self.counters.consult(&self.terms, caller, self.clock.now()) {
            Some(answer) => Err(self.refuse(Refusal::Answer(answer))),
            None => Ok(()),
        }
    }

    /// How many sources have failed on more than [`FEW_ACCOUNTS`] accounts within an hour, as far as is looked.
    #[must_use]
    pub fn spraying(&self) -> usize {
        self.spray.lock().unwrap_or_else(PoisonError::into_inner).sources(self.clock.now().tick)
    }

    /// Counts a login that could not be read.
    pub fn note_unreadable(&self) {
        self.witness.happened(&self.terms.name, Happening::Unreadable);
    }

    /// `None` while only attempts in flight are in the way.
    fn try_begin(self: &Arc<Self>, caller: Caller) -> Option<Result<Attempt, Denial>> {
        let reserved = self.counters.reserve(&self.terms, caller, self.clock.now());
        match reserved {
            Ok(reservations) => {
                let if_dropped = Ending::Abandoned;
                Some(Ok(Attempt { guard: Arc::clone(self), caller, reservations, if_dropped }))
            }
            Err(Refusal::Answer(Answer::Busy)) => None,
            Err(refusal) => Some(Err(self.refuse(refusal))),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Denial {
        let (happening, denial) = match refusal {
            Refusal::Full => (Happening::Full, Denial::Overloaded(NO_ROOM)),
            Refusal::Answer(Answer::Locked(left)) => (Happening::Locked, Denial::Locked(left)),
            Refusal::Answer(Answer::Spent(wait)) => (Happening::Spent, Denial::LimitReached(wait)),
            Refusal::Answer(Answer::Busy | Answer::Admitted) => (Happening::Busy, Denial::LimitReached(Duration::from_secs(1))),
        };
        self.witness.happened(&self.terms.name, happening);
        denial
    }

    /// Whether that locks.
    fn settle(&self, caller: Caller, reservations: Vec<Reservation>, ending: Ending) -> bool {
        let now = self.clock.now();
        if ending == Ending::Failed {
            self.witness.failed(&self.terms.name, self.counters.knows(caller, now));
            let mut spray = self.spray.lock().unwrap_or_else(PoisonError::into_inner);
            spray.note(caller.source, AccountMark::of(&caller.account), now.tick);
        }
        let locks = self.counters.settle(&self.terms, caller, reservations, ending, now);
        self.settled.notify_waiters();
        self.witness.happened(
            &self.terms.name,
            match ending {
                Ending::Failed => Happening::Failed,
                Ending::Succeeded => Happening::Succeeded,
                Ending::Abandoned => Happening::GivenBack,
            },
        );
        if locks {
            let account = AccountMark::of(&caller.account);
            tracing::warn!(guard = &*self.terms.name, %account, "an account is locked after too many failures");
        }
        locks
    }

    fn caller(&self, who: Who<'_>) -> Caller {
        Caller { account: self.hash(who.account), source: who.source, client: who.client.map(|client| self.hash(client)) }
    }

    fn hash(&self, account: &str) -> AccountHash {
        let mut hash = [0; 32];
        hash.iter_mut().zip(hmac::sign(&self.key.0, account.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
        hash
    }
}

impl Attempt {
    /// Settles it, now that its outcome is known. A lock that this begins holds at once.
    pub fn settle(mut self, ending: Ending) -> Settled {
        let reservations = std::mem::take(&mut self.reservations);
        let locks = self.guard.settle(self.caller, reservations, ending);
        Settled { unwritten: locks.then(|| Arc::clone(&self.guard)) }
    }

    /// From now on it has failed if it is dropped: the service has answered, whatever becomes of the answer.
    pub fn fail_unless_settled(&mut self) {
        self.if_dropped = Ending::Failed;
    }

    /// Gives it back because the request is not forwarded after all.
    pub fn withdraw(mut self) {
        let reservations = std::mem::take(&mut self.reservations);
        let (guard, now) = (&self.guard, self.guard.clock.now());
        guard.counters.settle(&guard.terms, self.caller, reservations, Ending::Abandoned, now);
        guard.settled.notify_waiters();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.reservations.is_empty() {
            let reservations = std::mem::take(&mut self.reservations);
            self.guard.settle(self.caller, reservations, self.if_dropped);
        }
    }
}

/// An attempt that is settled.
#[derive(Debug)]
#[must_use = "a lock that nobody waits for may be answered before it is written down"]
pub struct Settled {
    /// The guard, if there is a lock to be written down.
    unwritten: Option<Arc<LoginGuard>>,
}

impl Settled {
    /// Waits until a lock that it began is written down; where that fails, the lock holds until a restart.
    pub async fn written(self) {
        if let Some(guard) = self.unwritten
            && let Err(NotKept) = guard.counters.written().await
        {
            tracing::error!(guard = &*guard.terms.name, "a lock could not be written down; it holds until a restart");
            guard.witness.not_kept();
        }
    }
}

#[cfg(test)]
mod tests;
