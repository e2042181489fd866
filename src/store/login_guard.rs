//! Guards on logins at token services that are not ours: the wait when attempts in flight fill a budget, and what is said.
//!
//! Imports `model`, `rules::{lockout, login_budget}` and the primitives of aws-lc-rs. An account is known here only by a keyed
//! hash of its folded name. The counters are in `table`, under one lock in `local`; `memory` says what of them outlives a
//! restart. Where gateways share them, they are in a store (`shared`, `places`), which `team` asks, and `mirror` keeps what is
//! known of them. A counter that counts anything is never pushed out: when there is no room, newcomers are refused. Deliberately
//! absent: where a login names its account (`rules::account_key`), and files (`store::journal`).

mod attempt;
mod eviction;
mod local;
mod locks;
mod memory;
mod mirror;
mod places;
mod shared;
mod spray;
mod table;
mod team;

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore};

use crate::model::{Clock, CountedBy, Denial, Entropy, NonEmpty, SourceKey};
use crate::rules::lockout::Ending;
use crate::rules::login_budget::{Answer, BudgetRule};
use crate::store::revocations::NotKept;
pub use attempt::{Attempt, Settled};
pub use eviction::watch_eviction;
use local::Local;
pub use locks::{AccountMark, Cleared, Lock, Remainder, Whose};
pub use memory::{Counted, CounterName, GuardKey, GuardLedger, GuardMemory, Noted};
pub use spray::FEW_ACCOUNTS;
use spray::Spray;
pub use table::{ACQUAINTANCES, COUNTERS};
use table::{AccountHash, Caller, Refusal};
pub use team::SharedTerms;
use team::{Hold, Team};

/// How long an attempt waits for one in flight to settle.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many attempts may wait so, at one guard.
const WAITING: usize = 1_024;

/// How long whoever found no room is told to wait.
const NO_ROOM: Duration = Duration::from_mins(1);

/// How long whoever is refused because the store is away is told to wait.
const AWAY: Duration = Duration::from_secs(5);

/// How soon an attempt that waits looks again whether another gateway has settled one, and how much later at most, so that those
/// who wait do not all look at once.
const LOOK_EVERY: Duration = Duration::from_millis(75);
const SCATTER: u32 = 50;

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
    /// Let through by what this gateway knows alone, because the store is away. Counted again when it is settled.
    Alone,
    /// Refused because the store is away.
    Away,
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
            Self::Alone => "alone",
            Self::Away => "away",
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
    counters: Arc<Local>,
    /// With whom the counters are shared, if they are.
    team: Option<Arc<Team>>,
    spray: Mutex<Spray>,
    settled: Notify,
    waiting: Semaphore,
    looks: AtomicU32,
}

struct AccountHashing(hmac::Key);

impl fmt::Debug for AccountHashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountHashing(…)")
    }
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
            counters: Arc::default(),
            team: None,
            spray: Mutex::default(),
            settled: Notify::new(),
            waiting: Semaphore::new(WAITING),
            looks: AtomicU32::new(0),
        }
    }

    /// The same with what was counted before a restart, under the same key; from now on `ledger` is told what is counted.
    #[must_use]
    pub fn remembering(self, counted: Vec<(CounterName, Counted)>, ledger: Arc<dyn GuardLedger>) -> Self {
        let counters = Local::restored(&self.terms, counted, Some(ledger), self.clock.now());
        Self { counters: Arc::new(counters), ..self }
    }

    /// The same with counters that gateways share. The key must be [`GuardKey::shared`]. To be called last, on a runtime.
    #[must_use]
    pub fn sharing(self, sharing: SharedTerms, entropy: &dyn Entropy) -> Self {
        let (local, clock) = (Arc::clone(&self.counters), Arc::clone(&self.clock));
        let team = Team::gather(self.terms.clone(), sharing, local, clock, entropy);
        Self { team: Some(team), ..self }
    }

    /// Reserves an attempt. If attempts in flight fill a budget, waits up to two seconds for one to settle.
    ///
    /// # Errors
    /// `Locked` with what is left of the lock; `LimitReached` with the time until a window has room, or a second if the wait was
    /// in vain, which says nothing about a lock; `Overloaded` if there is no room for another counter; `StoreUnavailable` if the
    /// counters are shared, the store is away, and this gateway may not allow any more by itself.
    pub async fn begin(self: &Arc<Self>, who: Who<'_>) -> Result<Attempt, Denial> {
        let caller = self.caller(who);
        if let Some(outcome) = self.try_begin(caller).await {
            return outcome;
        }
        let busy = || self.refuse(Refusal::Answer(Answer::Busy));
        let Ok(_place) = self.waiting.try_acquire() else { return Err(busy()) };
        let mut patience = pin!(tokio::time::sleep(PATIENCE));
        loop {
            let mut settled = pin!(self.settled.notified());
            // Listening begins before looking, so that no settlement falls between the two.
            settled.as_mut().enable();
            if let Some(outcome) = self.try_begin(caller).await {
                return outcome;
            }
            tokio::select! {
                () = self.look_again(settled) => {}
                () = &mut patience => return Err(busy()),
            }
        }
    }

    /// When another look is due: an attempt was settled here, or, where counters are shared, perhaps elsewhere.
    async fn look_again(&self, settled: std::pin::Pin<&mut Notified<'_>>) {
        if self.team.is_none() {
            return settled.await;
        }
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        let scatter = Duration::from_millis(u64::from(look.wrapping_mul(17) % SCATTER));
        let _ = tokio::time::timeout(LOOK_EVERY + scatter, settled).await;
    }

    /// Whether the account may try at all, without trying: attempts in flight are nobody's business here.
    ///
    /// # Errors
    /// `Locked` with what is left of the lock; `LimitReached` with the time until a window has room; `StoreUnavailable` if the
    /// counters are shared, the store is away, and nobody is let in then.
    pub async fn consult(&self, who: Who<'_>) -> Result<(), Denial> {
        let caller = self.caller(who);
        let refusal = match &self.team {
            Some(team) => team.consult(caller).await,
            None => self.counters.consult(&self.terms, caller, self.clock.now()).map(Refusal::Answer),
        };
        match refusal {
            Some(refusal) => Err(self.refuse(refusal)),
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
    async fn try_begin(self: &Arc<Self>, caller: Caller) -> Option<Result<Attempt, Denial>> {
        let begun = match &self.team {
            Some(team) => team.begin(caller).await,
            None => self.counters.reserve(&self.terms, caller, self.clock.now()).map(Hold::Here),
        };
        match begun {
            Ok(hold) => {
                if let (Hold::Here(_), Some(_)) = (&hold, &self.team) {
                    self.witness.happened(&self.terms.name, Happening::Alone);
                }
                Some(Ok(Attempt::new(Arc::clone(self), caller, hold)))
            }
            Err(Refusal::Answer(Answer::Busy)) => None,
            Err(refusal) => Some(Err(self.refuse(refusal))),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Denial {
        let (happening, denial) = match refusal {
            Refusal::Full => (Happening::Full, Denial::Overloaded(NO_ROOM)),
            Refusal::Away => (Happening::Away, Denial::StoreUnavailable(AWAY)),
            Refusal::Answer(Answer::Locked(left)) => (Happening::Locked, Denial::Locked(left)),
            Refusal::Answer(Answer::Spent(wait)) => (Happening::Spent, Denial::LimitReached(wait)),
            Refusal::Answer(Answer::Busy | Answer::Admitted) => (Happening::Busy, Denial::LimitReached(Duration::from_secs(1))),
        };
        self.witness.happened(&self.terms.name, happening);
        denial
    }

    /// Wakes those who wait for an attempt to be settled.
    fn wake(&self, ending: Ending, locks: bool) {
        // Where counters are shared, everybody who waits asks the store: no more of them than there may be room for.
        match (&self.team, ending) {
            (None, _) => self.settled.notify_waiters(),
            (Some(_), Ending::Failed) if locks => self.settled.notify_waiters(),
            (Some(_), Ending::Failed) => {}
            (Some(_), Ending::Succeeded | Ending::Abandoned) => self.settled.notify_one(),
        }
    }

    /// What is said once an attempt is settled, whose account had succeeded from there lately (`known`) or not.
    fn settled(&self, caller: Caller, known: bool, ending: Ending, locks: bool) {
        self.wake(ending, locks);
        if ending == Ending::Failed {
            self.witness.failed(&self.terms.name, known);
            let mut spray = self.spray.lock().unwrap_or_else(PoisonError::into_inner);
            spray.note(caller.source, AccountMark::of(&caller.account), self.clock.now().tick);
        }
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
    }

    /// Waits until a lock is written down.
    async fn keep(&self) {
        if let Err(NotKept) = self.counters.written().await {
            tracing::error!(guard = &*self.terms.name, "a lock could not be written down; it holds until a restart");
            self.witness.not_kept();
        }
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

#[cfg(test)]
mod tests;
