//! The counters of this gateway alone, and what is noted of them for the next process.
//!
//! Imports the table and the memory. A note is taken under the lock under which the counter changed, so that notes of one
//! counter are in its order. Deliberately absent: waiting for room, hashing, and telling anybody (`LoginGuard`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{CountedBy, Now};
use crate::rules::lockout::Ending;
use crate::rules::login_budget::{Answer, Budget, Closed};
use crate::store::login_guard::GuardTerms;
use crate::store::login_guard::memory::{Counted, CounterName, GuardLedger, Noted};
use crate::store::login_guard::table::{Caller, Refusal, Reservation, Table};
use crate::store::revocations::NotKept;

/// The counters of one guard.
#[derive(Debug, Default)]
pub(super) struct Local {
    table: Mutex<Table>,
    ledger: Option<Arc<dyn GuardLedger>>,
}

impl Local {
    /// What was counted before; from now on it is noted in `ledger`.
    pub(super) fn restored(
        terms: &GuardTerms,
        counters: Vec<(CounterName, Counted)>,
        ledger: Option<Arc<dyn GuardLedger>>,
        now: Now,
    ) -> Self {
        let mut table = Table::default();
        let mut counters: Vec<_> = counters.into_iter().filter(|(_, counted)| counted.expires > now.wall).collect();
        // In the order of their successes, so that the last stay where there is not room for all.
        counters.sort_by_key(|(_, counted)| counted.met);
        for (name, counted) in counters {
            let budget = Budget::restored(&terms.rule_of(&name), &counted.kept(now), now.tick);
            match counted.met.filter(|_| name.acquainted) {
                Some(met) => {
                    let succeeded_at = now.tick.before(now.wall.since(met));
                    table.acquaintances.make_room_of_account(&name.key(), &terms.rule, now.tick);
                    table.acquaintances.restore(name.key(), succeeded_at, budget);
                }
                None => table.counters.restore(name.key(), budget),
            }
        }
        Self { table: Mutex::new(table), ledger }
    }

    /// Reserves in every counter or in none.
    pub(super) fn reserve(&self, terms: &GuardTerms, caller: Caller, now: Now) -> Result<Vec<Reservation>, Refusal> {
        self.table().reserve(terms, caller, now.tick)
    }

    /// What the counters say worst, if one of them admits nobody.
    pub(super) fn consult(&self, terms: &GuardTerms, caller: Caller, now: Now) -> Option<Answer> {
        self.table().consult(terms, caller, now.tick)
    }

    /// Settles what was reserved; whether that locks.
    pub(super) fn settle(
        &self,
        terms: &GuardTerms,
        caller: Caller,
        reservations: Vec<Reservation>,
        ending: Ending,
        now: Now,
    ) -> bool {
        let mut table = self.table();
        let mut locks = false;
        let mut changed = Vec::new();
        for reservation in reservations {
            let before = table.noted(reservation.name(), &reservation.rule, now);
            locks |= table.settle(reservation, ending, now.tick);
            let after = table.noted(reservation.name(), &reservation.rule, now);
            changed.extend(Some(after).filter(|after| *after != before));
        }
        if ending == Ending::Succeeded && terms.by.contains(&CountedBy::Account) {
            changed.extend(table.meet(caller, &terms.rule, now));
        }
        self.note(terms, changed);
        locks
    }

    /// Waits until what was noted is on the disk, where there is one.
    pub(super) async fn written(&self) -> Result<(), NotKept> {
        match &self.ledger {
            Some(ledger) => ledger.written().await,
            None => Ok(()),
        }
    }

    /// The counters that admit nobody for now, of those that are meant.
    pub(super) fn closed(
        &self,
        terms: &GuardTerms,
        means: impl Fn(&CounterName) -> bool,
        now: Now,
    ) -> Vec<(CounterName, Closed)> {
        let mut table = self.table();
        let closed = table.each().filter(|(name, _)| means(name));
        closed.filter_map(|(name, budget)| Some((name, budget.closed(&terms.rule_of(&name), now.tick)?))).collect()
    }

    /// Has those forget what they have counted; how they stood.
    pub(super) fn clear(
        &self,
        terms: &GuardTerms,
        means: impl Fn(&CounterName) -> bool,
        now: Now,
    ) -> Vec<(CounterName, Closed)> {
        let mut table = self.table();
        let mut cleared = Vec::new();
        for (name, budget) in table.each().filter(|(name, _)| means(name)) {
            if let Some(closed) = budget.closed(&terms.rule_of(&name), now.tick) {
                budget.pardon();
                cleared.push((name, closed));
            }
        }
        let changed = cleared.iter().map(|(name, _)| table.noted(*name, &terms.rule_of(name), now)).collect();
        self.note(terms, changed);
        cleared
    }

    /// To be called under the lock of the table.
    pub(super) fn note(&self, terms: &GuardTerms, changed: Vec<Noted>) {
        if let (Some(ledger), false) = (&self.ledger, changed.is_empty()) {
            ledger.note(&terms.name, changed);
        }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
