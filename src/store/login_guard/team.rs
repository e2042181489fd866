//! A guard whose counters several gateways share: what it asks the store, what it does while the store is away, and what it tells
//! the store when it is back.
//!
//! Imports as the parent. A failure that was answered is never lost while this process lives: what the store could not be told
//! waits (`untold`), and the store is told of an account's before it is asked about that account again. Where that takes longer
//! than the store's deadline, telling and asking together, this gateway decides by what it knows, as in an outage. Deliberately
//! absent: waiting for room (`LoginGuard`), and what the counters do (`shared`, `mirror`).

mod locks;
mod untold;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::{Clock, CountedBy, Entropy, Now, Tick, WithoutStore};
use crate::rules::lockout::Ending;
use crate::rules::login_budget::Answer;
use crate::store::login_guard::GuardTerms;
use crate::store::login_guard::local::Local;
use crate::store::login_guard::shared::Shared;
use crate::store::login_guard::table::{AccountHash, Caller, Refusal, Reservation};
use crate::store::login_guard::team::untold::{Settlement, Untold};
use crate::store::valkey::{Outage, Valkey};

/// For how long a lock that the store told of is believed without asking again: so long it may hold after it was cleared.
const BELIEVED: Duration = Duration::from_secs(1);

/// How many callers' locks are believed at a time. More are asked about.
const BELIEVED_AT_ONCE: usize = 4_096;

/// How often it is tried to tell the store what it does not know.
const TRY_EVERY: Duration = Duration::from_millis(250);

/// How a guard shares its counters.
#[derive(Debug)]
pub struct SharedTerms {
    /// The store.
    pub valkey: Valkey,
    /// How long a reservation lasts whose holder does not settle it. Longer than any answer may take, or an attempt more may
    /// begin while one is still under way.
    pub lease: Duration,
    /// How many gateways share it, at least 1.
    pub gateways: u32,
    /// What is done while it is away.
    pub without: WithoutStore,
}

/// The gateways that share a guard's counters, as one of them sees them.
#[derive(Debug)]
pub(super) struct Team {
    terms: GuardTerms,
    /// What this gateway may allow by itself; `None` if that is nothing.
    part: Option<GuardTerms>,
    /// Whether nothing is allowed at all while the store is away.
    denies: bool,
    local: Arc<Local>,
    clock: Arc<dyn Clock>,
    shared: Shared,
    believed: Mutex<HashMap<Caller, Believed>>,
    untold: Untold,
    /// How long telling and asking may take together.
    deadline: Duration,
    wake: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
struct Believed {
    until: Tick,
    told_at: Tick,
}

/// An attempt that holds reservations in the store. However this ends, the store is told, or the lease ends.
#[derive(Debug)]
pub(super) struct Held {
    team: Arc<Team>,
    settlement: Settlement,
    is_open: bool,
}

/// What an attempt may go on with.
#[derive(Debug)]
pub(super) enum Hold {
    /// Reservations at this gateway.
    Here(Vec<Reservation>),
    /// Reservations in the store.
    There(Held),
}

impl Team {
    /// Begins to tell the store what it does not know, on the runtime that this is called on.
    pub(super) fn gather(
        terms: GuardTerms,
        sharing: SharedTerms,
        local: Arc<Local>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Arc<Self> {
        let part = match sharing.without {
            WithoutStore::Local => terms.rule.part(sharing.gateways).map(|rule| GuardTerms { rule, ..terms.clone() }),
            WithoutStore::Deny => None,
        };
        let team = Arc::new(Self {
            terms,
            part,
            denies: sharing.without == WithoutStore::Deny,
            local,
            clock,
            deadline: sharing.valkey.deadline(),
            shared: Shared::new(sharing.valkey, sharing.lease, entropy),
            believed: Mutex::default(),
            untold: Untold::default(),
            wake: Arc::default(),
        });
        tokio::spawn(tell(Arc::downgrade(&team), Arc::clone(&team.wake)));
        team
    }

    /// Reserves an attempt, in the store if it can be asked.
    pub(super) async fn begin(self: &Arc<Self>, caller: Caller) -> Result<Hold, Refusal> {
        if let Some(left) = self.believed(caller) {
            return Err(Refusal::Answer(Answer::Locked(left)));
        }
        match self.in_time(caller.account, self.ask(caller)).await {
            Ok(outcome) => outcome.map(Hold::There),
            Err(Outage) => match &self.part {
                Some(part) => self.local.reserve_part(&self.terms, part, caller, self.clock.now()).map(Hold::Here),
                None => Err(Refusal::Away),
            },
        }
    }

    async fn ask(self: &Arc<Self>, caller: Caller) -> Result<Result<Held, Refusal>, Outage> {
        let mut held = self.held(caller, false, Ending::Abandoned);
        // If the answer is lost, or nobody waits for it any more, what it may have reserved is given back.
        let said = self.shared.begin(&self.terms, &held.settlement.places, held.settlement.id).await?;
        let now = self.clock.now();
        self.local.learn(&self.terms, caller, said.acquainted, &said.counters, now);
        held.settlement.acquainted = said.acquainted;
        let Some(refusal) = said.refusal() else { return Ok(Ok(held)) };
        held.is_open = false;
        if let Refusal::Answer(Answer::Locked(left)) = refusal {
            self.believe(caller, left, now.tick);
        }
        Ok(Err(refusal))
    }

    /// Why the account may not try at all; attempts in flight are no reason.
    pub(super) async fn consult(&self, caller: Caller) -> Option<Refusal> {
        if let Some(left) = self.believed(caller) {
            return Some(Refusal::Answer(Answer::Locked(left)));
        }
        let places = self.shared.places(&self.terms, caller);
        match self.in_time(caller.account, self.shared.consult(&self.terms, &places)).await {
            Ok(said) => said.refusal().filter(|refusal| *refusal != Refusal::Answer(Answer::Busy)),
            Err(Outage) if self.denies => Some(Refusal::Away),
            Err(Outage) => self.local.consult(&self.terms, caller, self.clock.now()).map(Refusal::Answer),
        }
    }

    /// Something of which the store is to be told; it is when this is dropped at the latest.
    pub(super) fn held(self: &Arc<Self>, caller: Caller, acquainted: bool, ending: Ending) -> Held {
        let places = Arc::new(self.shared.places(&self.terms, caller));
        let settlement = Settlement { caller, places, id: self.shared.next_id(), acquainted, ending };
        Held { team: Arc::clone(self), settlement, is_open: true }
    }

    async fn tell_store(&self, settlement: &Settlement) -> Result<bool, Outage> {
        let Settlement { caller, places, id, acquainted, ending } = settlement;
        let said = self.shared.settle(&self.terms, places, *id, *ending, *acquainted).await?;
        let now = self.clock.now();
        self.local.learn(&self.terms, *caller, *acquainted, &said.counters, now);
        if *ending == Ending::Succeeded && self.terms.by.contains(&CountedBy::Account) {
            self.local.meet(&self.terms, *caller, now);
        }
        Ok(said.locks())
    }

    /// Asks the store about an account once it knows whatever is known here.
    async fn in_time<T>(&self, account: AccountHash, asking: impl Future<Output = Result<T, Outage>>) -> Result<T, Outage> {
        if !self.shared.is_up() {
            return Err(Outage);
        }
        if self.untold.turn(account).is_none() {
            // The same deadline, and the store's own, so that a store that does not answer is found out.
            return asking.await;
        }
        let told_and_asked = async {
            self.tell_of(account).await?;
            asking.await
        };
        tokio::time::timeout(self.deadline, told_and_asked).await.unwrap_or(Err(Outage))
    }

    /// Tells what counts of an account and the store does not know. Whoever comes while it is being told waits for that.
    async fn tell_of(&self, account: AccountHash) -> Result<(), Outage> {
        while let Some(turn) = self.untold.turn(account) {
            let _teller = turn.lock().await;
            while let Some(entry) = self.untold.first(account, &turn) {
                self.tell_store(&entry.settlement).await?;
                self.untold.told(&entry);
            }
        }
        Ok(())
    }

    /// Tells all that the store does not know: of one account, then one thing that is given back, and so on.
    async fn tell_all(&self) -> Result<(), Outage> {
        loop {
            let (account, given_back) = (self.untold.oldest(), self.untold.oldest_given_back());
            if let Some(account) = account {
                self.tell_of(account).await?;
            }
            if let Some(entry) = &given_back {
                self.tell_store(&entry.settlement).await?;
                self.untold.told(entry);
            }
            if account.is_none() && given_back.is_none() {
                return Ok(());
            }
        }
    }

    fn remember(&self, settlement: Settlement) {
        if self.untold.add(settlement) {
            tracing::error!(
                guard = &*self.terms.name,
                "more logins than can be remembered wait for the shared store; the oldest is not told"
            );
        }
        self.wake.notify_one();
    }

    fn believe(&self, caller: Caller, left: Duration, now: Tick) {
        let mut believed = lock(&self.believed);
        if believed.len() >= BELIEVED_AT_ONCE {
            believed.clear();
        }
        believed.insert(caller, Believed { until: now.after(left), told_at: now });
    }

    /// What is left of a lock of which the store told just now.
    fn believed(&self, caller: Caller) -> Option<Duration> {
        let Now { tick, .. } = self.clock.now();
        let believed = *lock(&self.believed).get(&caller)?;
        (tick < believed.until && tick.since(believed.told_at) < BELIEVED).then(|| believed.until.since(tick))
    }
}

impl Hold {
    /// Whether the account had succeeded from there lately, as far as it is counted by.
    pub(super) fn acquainted(&self) -> bool {
        match self {
            Self::Here(reservations) => reservations.iter().any(|reservation| reservation.acquainted),
            Self::There(held) => held.acquainted(),
        }
    }
}

impl Held {
    pub(super) fn acquainted(&self) -> bool {
        self.settlement.acquainted
    }

    /// The same, now that it is known how it ended. Whoever hangs up from now on has still been answered.
    pub(super) fn ended(mut self, ending: Ending) -> Self {
        self.settlement.ending = ending;
        self
    }

    /// Settles an attempt that is reserved in the store; whether that locks.
    pub(super) async fn settle(mut self) -> bool {
        if let Ok(locks) = self.try_tell().await {
            return locks;
        }
        let Self { team, settlement: Settlement { caller, acquainted, ending, .. }, .. } = &self;
        team.local.count(&team.terms, *caller, *acquainted, *ending, team.clock.now())
    }

    /// Tells the store how an attempt ended that began here while it was away.
    pub(super) async fn tell(mut self) {
        // Where it is still away, dropping this has it told later.
        let _ = self.try_tell().await;
    }

    async fn try_tell(&mut self) -> Result<bool, Outage> {
        if !self.team.shared.is_up() {
            return Err(Outage);
        }
        let locks = self.team.tell_store(&self.settlement).await?;
        self.is_open = false;
        Ok(locks)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_open {
            self.team.remember(self.settlement.clone());
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends with the team.
async fn tell(team: Weak<Team>, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        while let Some(team) = team.upgrade() {
            if team.shared.is_up() && team.tell_all().await.is_ok() {
                break;
            }
            drop(team);
            tokio::time::sleep(TRY_EVERY).await;
        }
        if team.strong_count() == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
