//! What this gateway keeps of counters that are shared: enough to go on with when the store is away.
//!
//! Imports as the parent. It is told how counters stand whenever the store says so, and counts by itself what it cannot tell the
//! store yet.

use crate::model::{CountedBy, Now};
use crate::rules::lockout::Ending;
use crate::rules::login_budget::{Answer, Budget, Kept};
use crate::store::login_guard::GuardTerms;
use crate::store::login_guard::local::Local;
use crate::store::login_guard::memory::Noted;
use crate::store::login_guard::table::{Caller, Refusal, Reservation, Table};

impl Local {
    /// Puts what the store says of an attempt's counters in the place of what is known here. Where there is no room, nothing is.
    pub(super) fn learn(&self, terms: &GuardTerms, caller: Caller, acquainted: bool, counters: &[Kept], now: Now) {
        let mut table = self.table();
        let mut changed = Vec::new();
        if acquainted {
            changed.extend(table.acquaint(terms, caller, now));
        }
        for (counted_by, kept) in terms.by.iter().zip(counters) {
            let reservation = Table::drawn_on(*counted_by, terms, caller, acquainted && *counted_by == CountedBy::Account);
            changed.extend(table.change(terms, reservation, !kept.is_blank(), now, |budget| {
                budget.learn(&reservation.rule, kept, now.tick);
            }));
        }
        self.note(terms, changed);
    }

    /// Counts an attempt that is reserved in the store, or was; whether that locks, as far as is known here.
    pub(super) fn count(&self, terms: &GuardTerms, caller: Caller, acquainted: bool, ending: Ending, now: Now) -> bool {
        let mut table = self.table();
        let (mut locks, mut changed) = (false, Vec::new());
        for counted_by in terms.by.iter() {
            let reservation = Table::drawn_on(*counted_by, terms, caller, acquainted && *counted_by == CountedBy::Account);
            changed.extend(table.change(terms, reservation, ending != Ending::Abandoned, now, |budget| {
                locks |= budget.count(&reservation.rule, ending, now.tick);
            }));
        }
        if ending == Ending::Succeeded && terms.by.contains(&CountedBy::Account) {
            changed.extend(table.meet(caller, &terms.rule, now));
        }
        self.note(terms, changed);
        locks
    }

    /// Notes a success of which the store knows.
    pub(super) fn meet(&self, terms: &GuardTerms, caller: Caller, now: Now) {
        let mut table = self.table();
        let changed = table.meet(caller, &terms.rule, now);
        self.note(terms, changed);
    }

    /// Reserves a part of the budgets, `part`, in every counter or in none. Failures that are known here use it up.
    pub(super) fn reserve_part(
        &self,
        terms: &GuardTerms,
        part: &GuardTerms,
        caller: Caller,
        now: Now,
    ) -> Result<Vec<Reservation>, Refusal> {
        let mut table = self.table();
        match table.reserve(part, caller, now.tick) {
            Ok(mut reservations) => {
                for reservation in &mut reservations {
                    reservation.rule = terms.rule_of(&reservation.name());
                }
                Ok(reservations)
            }
            Err(Refusal::Answer(Answer::Busy)) if table.is_worn(part, caller, now) => Err(Refusal::Away),
            Err(refusal) => Err(refusal),
        }
    }
}

impl Table {
    /// Has an account know a source, if it does not.
    fn acquaint(&mut self, terms: &GuardTerms, caller: Caller, now: Now) -> Vec<Noted> {
        let known = self.counter(CountedBy::Account, terms, caller, now.tick);
        if known.acquainted { Vec::new() } else { self.meet(caller, &terms.rule, now) }
    }

    /// Changes a counter, which is made first if it must be; what of that is to be written down.
    fn change(
        &mut self,
        terms: &GuardTerms,
        reservation: Reservation,
        makes: bool,
        now: Now,
        change: impl FnOnce(&mut Budget),
    ) -> Option<Noted> {
        let before = self.noted(reservation.name(), &reservation.rule, now);
        let budget = if makes { self.make(reservation, &terms.rule, now.tick) } else { self.find(reservation) };
        change(budget?);
        Some(self.noted(reservation.name(), &reservation.rule, now)).filter(|after| *after != before)
    }

    /// Whether failures alone use a budget up that is no more than a part.
    fn is_worn(&mut self, part: &GuardTerms, caller: Caller, now: Now) -> bool {
        part.by.iter().any(|counted_by| {
            let reservation = self.counter(*counted_by, part, caller, now.tick);
            self.find(reservation).is_some_and(|budget| budget.is_worn(&reservation.rule))
        })
    }
}
