//! The counters of one guard: which of them an attempt draws on, and how they stay bounded.
//!
//! Imports as the parent. A counter that counts something is never pushed out. Deliberately absent: locks, clocks and waiting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::model::{CountedBy, Now, SourceKey, Tick};
use crate::rules::lockout::Ending;
use crate::rules::login_budget::{Answer, Budget, BudgetRule, ClosedBy};
use crate::store::login_guard::GuardTerms;
use crate::store::login_guard::memory::{Counted, CounterName, Noted};

/// Counters of one guard. To fill them somebody must fail under as many names within the time for which failures count.
pub const COUNTERS: usize = 131_072;

/// Accounts and sources of one guard that are remembered to belong together; each has a counter of its own.
pub const ACQUAINTANCES: usize = 65_536;

/// Sources that an account knows at most, here and in the store. Only who knows its password can make it know another.
pub(super) const KNOWS: usize = 64;

/// How many of the oldest are looked at to make room for one that comes.
const LOOKED_AT: usize = 16;

/// For how long a source counts for itself after a success of the account.
pub(super) const ACQUAINTED: Duration = Duration::from_hours(30 * 24);

/// A success is written down anew when the one that is was so long ago.
const MET_ANEW: Duration = Duration::from_hours(24);

/// A keyed hash of an account's folded name.
pub(super) type AccountHash = [u8; 32];

/// Whose attempt it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Caller {
    pub(super) account: AccountHash,
    pub(super) source: SourceKey,
    /// The hash of the client, where the guard counts by it.
    pub(super) client: Option<AccountHash>,
}

impl Caller {
    /// The account and the source together.
    fn both(&self) -> CounterKey {
        CounterKey { account: Some(self.account), source: Some(self.source), client: None }
    }
}

/// What a counter is about. Those of one account follow each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct CounterKey {
    pub(super) account: Option<AccountHash>,
    pub(super) source: Option<SourceKey>,
    pub(super) client: Option<AccountHash>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) counters: Counters,
    pub(super) acquaintances: Acquaintances,
}

/// Bounded counters; `order` holds each key once, oldest first.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) budgets: HashMap<CounterKey, Budget>,
    pub(super) order: VecDeque<CounterKey>,
}

/// Where accounts succeeded lately, with what is counted for each account there: at most [`KNOWS`] places of one account.
/// `order` holds each key once, oldest first.
#[derive(Debug, Default)]
pub(super) struct Acquaintances {
    pub(super) known: BTreeMap<CounterKey, Acquaintance>,
    pub(super) order: BTreeMap<u64, CounterKey>,
    /// The next number in `order`.
    next: u64,
}

#[derive(Debug, Default)]
pub(super) struct Acquaintance {
    pub(super) succeeded_at: Tick,
    pub(super) budget: Budget,
    /// Its number in `order`.
    place: u64,
}

/// A reservation in one counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservation {
    pub(super) key: CounterKey,
    pub(super) rule: BudgetRule,
    pub(super) acquainted: bool,
}

impl Reservation {
    pub(super) fn name(&self) -> CounterName {
        CounterName::of(self.key, self.acquainted)
    }
}

/// Why an attempt may not begin, yet or at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Answer(Answer),
    Full,
    /// The store that gateways share is away, and nothing is left of what this one may allow by itself.
    Away,
}

impl Table {
    /// Reserves in every counter or in none. What the counters say worst is what is said.
    pub(super) fn reserve(&mut self, terms: &GuardTerms, caller: Caller, now: Tick) -> Result<Vec<Reservation>, Refusal> {
        let mut reserved = Vec::with_capacity(terms.by.as_slice().len());
        let mut worst: Option<Refusal> = None;
        for counted_by in terms.by.iter() {
            let reservation = self.counter(*counted_by, terms, caller, now);
            let refusal = match self.make(reservation, &terms.rule, now) {
                None => Refusal::Full,
                Some(budget) => match budget.begin(&reservation.rule, now) {
                    Answer::Admitted => {
                        reserved.push(reservation);
                        continue;
                    }
                    answer @ (Answer::Busy | Answer::Spent(_) | Answer::Locked(_)) => Refusal::Answer(answer),
                },
            };
            worst = Some(match worst {
                None => refusal,
                Some(before) => before.or_worse(refusal),
            });
        }
        if let Some(refusal) = worst {
            for reservation in reserved {
                self.settle(reservation, Ending::Abandoned, now);
            }
            return Err(refusal);
        }
        Ok(reserved)
    }

    /// What the counters say worst, if one of them admits nobody whatever is in flight. Makes no counter.
    pub(super) fn consult(&self, terms: &GuardTerms, caller: Caller, now: Tick) -> Option<Answer> {
        let closed = |counted_by: &CountedBy| {
            let Reservation { key, rule, acquainted } = self.counter(*counted_by, terms, caller, now);
            let budget = if acquainted {
                self.acquaintances.known.get(&key).map(|acquaintance| &acquaintance.budget)
            } else {
                self.counters.budgets.get(&key)
            };
            let closed = budget?.closed(&rule, now)?;
            Some(match closed.by {
                ClosedBy::Lock => Answer::Locked(closed.left),
                ClosedBy::Window => Answer::Spent(closed.left),
            })
        };
        terms.by.iter().filter_map(closed).max()
    }

    pub(super) fn counter(&self, counted_by: CountedBy, terms: &GuardTerms, caller: Caller, now: Tick) -> Reservation {
        let both = caller.both();
        let acquainted = counted_by == CountedBy::Account && self.acquaintances.knows(&both, now);
        Self::drawn_on(counted_by, terms, caller, acquainted)
    }

    /// The counter of an attempt whose source its account knows, or does not.
    pub(super) fn drawn_on(counted_by: CountedBy, terms: &GuardTerms, caller: Caller, acquainted: bool) -> Reservation {
        let both = caller.both();
        let key = match counted_by {
            CountedBy::Account if !acquainted => CounterKey { source: None, ..both },
            CountedBy::Account | CountedBy::AccountAndSource => both,
            CountedBy::Source => CounterKey { account: None, ..both },
            CountedBy::Client => CounterKey { account: None, source: None, client: caller.client },
        };
        Reservation { key, rule: terms.rule_of(&CounterName::of(key, acquainted)), acquainted }
    }

    /// The budget of a reservation to be; `None` if there is no room for it. `rule` is that of the whole guard, by which the
    /// counters that make room are judged.
    pub(super) fn make(&mut self, reservation: Reservation, rule: &BudgetRule, now: Tick) -> Option<&mut Budget> {
        if reservation.acquainted {
            return self.acquaintances.known.get_mut(&reservation.key).map(|acquaintance| &mut acquaintance.budget);
        }
        self.counters.find_or_make(reservation.key, rule, now)
    }

    /// Whether that locks. A counter with something in flight is never pushed out, so it is there.
    pub(super) fn settle(&mut self, reservation: Reservation, ending: Ending, now: Tick) -> bool {
        self.find(reservation).is_some_and(|budget| budget.settle(&reservation.rule, ending, now))
    }

    /// The budget of a reservation, if it is there.
    pub(super) fn find(&mut self, reservation: Reservation) -> Option<&mut Budget> {
        if reservation.acquainted {
            return self.acquaintances.known.get_mut(&reservation.key).map(|acquaintance| &mut acquaintance.budget);
        }
        self.counters.budgets.get_mut(&reservation.key)
    }

    /// Every counter.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (CounterName, &mut Budget)> {
        let counters = self.counters.budgets.iter_mut().map(|(key, budget)| (CounterName::of(*key, false), budget));
        let known = self.acquaintances.known.iter_mut();
        counters.chain(known.map(|(key, known)| (CounterName::of(*key, true), &mut known.budget)))
    }

    /// How a counter stands, as it is written down.
    pub(super) fn noted(&self, name: CounterName, rule: &BudgetRule, now: Now) -> Noted {
        let (budget, met) = if name.acquainted {
            let found = self.acquaintances.known.get(&name.key());
            (found.map(|found| &found.budget), found.map(|found| now.tick.since(found.succeeded_at)))
        } else {
            (self.counters.budgets.get(&name.key()), None)
        };
        (name, budget.and_then(|budget| Counted::of(&budget.kept(rule, now.tick), met, rule, now)))
    }

    /// Notes a success of an account at a source; what of that is to be written down.
    pub(super) fn meet(&mut self, caller: Caller, rule: &BudgetRule, now: Now) -> Vec<Noted> {
        let key = caller.both();
        let mut changed = Vec::new();
        if self.acquaintances.meet(key, rule, now.tick, |gone| changed.push((CounterName::of(gone, true), None))) {
            changed.push(self.noted(CounterName::of(key, true), rule, now));
        }
        changed
    }
}

impl Refusal {
    /// What is said if two counters refuse: a full table, then the longest lock, then the longest wait.
    pub(super) fn or_worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Answer(first), Self::Answer(second)) => Self::Answer(first.max(second)),
            (Self::Full, _) | (_, Self::Full) => Self::Full,
            (Self::Away, _) | (_, Self::Away) => Self::Away,
        }
    }
}

impl Counters {
    pub(super) fn find_or_make(&mut self, key: CounterKey, rule: &BudgetRule, now: Tick) -> Option<&mut Budget> {
        if !self.budgets.contains_key(&key) {
            self.make_room(rule, now);
            if self.budgets.len() >= COUNTERS {
                return None;
            }
            self.order.push_back(key);
        }
        Some(self.budgets.entry(key).or_default())
    }

    /// Puts a counter where there is room.
    pub(super) fn restore(&mut self, key: CounterKey, budget: Budget) {
        if self.budgets.len() < COUNTERS && self.budgets.insert(key, budget).is_none() {
            self.order.push_back(key);
        }
    }

    /// Looks at some of the oldest for each that comes, so that the table shrinks faster than it grows once a flood is over.
    pub(super) fn make_room(&mut self, rule: &BudgetRule, now: Tick) {
        for _ in 0..LOOKED_AT {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.budgets.get(&oldest).is_none_or(|budget| budget.is_blank(rule, now)) {
                self.budgets.remove(&oldest);
            } else {
                self.order.push_back(oldest);
            }
        }
    }
}

impl Acquaintances {
    pub(super) fn knows(&self, key: &CounterKey, now: Tick) -> bool {
        self.known.get(key).is_some_and(|acquaintance| now.since(acquaintance.succeeded_at) < ACQUAINTED)
    }

    /// Notes a success. The source of the account that succeeded longest ago makes room for it, if the account knows as many as it
    /// may. Whatever counts something stays; if there is no room then, the source goes on being counted with all others. Whether
    /// that is worth writing down; `gone` is told who had to go.
    pub(super) fn meet(&mut self, key: CounterKey, rule: &BudgetRule, now: Tick, mut gone: impl FnMut(CounterKey)) -> bool {
        if let Some(acquaintance) = self.known.get_mut(&key) {
            let before = std::mem::replace(&mut acquaintance.succeeded_at, now);
            return now.since(before) >= MET_ANEW;
        }
        self.make_room(rule, now, &mut gone);
        if let Some(longest_ago) = self.make_room_of_account(&key, rule, now) {
            gone(longest_ago);
        }
        self.restore(key, now, Budget::default())
    }

    /// Forgets the source where the account of a key succeeded longest ago, if it knows as many as it may.
    pub(super) fn make_room_of_account(&mut self, key: &CounterKey, rule: &BudgetRule, now: Tick) -> Option<CounterKey> {
        if self.of_account(key).count() < KNOWS {
            return None;
        }
        let blank = self.of_account(key).filter(|(_, acquaintance)| acquaintance.budget.is_blank(rule, now));
        let (longest_ago, _) = blank.min_by_key(|(_, acquaintance)| acquaintance.succeeded_at)?;
        let longest_ago = *longest_ago;
        let acquaintance = self.known.remove(&longest_ago)?;
        self.order.remove(&acquaintance.place);
        Some(longest_ago)
    }

    /// Looks at some of the oldest.
    fn make_room(&mut self, rule: &BudgetRule, now: Tick, gone: &mut impl FnMut(CounterKey)) {
        for _ in 0..LOOKED_AT.min(self.order.len()) {
            let full = self.known.len() >= ACQUAINTANCES;
            let Some((_, oldest)) = self.order.pop_first() else { return };
            let Some(acquaintance) = self.known.get_mut(&oldest) else { continue };
            let is_over = full || now.since(acquaintance.succeeded_at) >= ACQUAINTED;
            if is_over && acquaintance.budget.is_blank(rule, now) {
                self.known.remove(&oldest);
                gone(oldest);
            } else {
                acquaintance.place = self.next;
                self.order.insert(self.next, oldest);
                self.next += 1;
            }
        }
    }

    /// What is known of the account of a key; no more than [`KNOWS`].
    fn of_account(&self, key: &CounterKey) -> impl Iterator<Item = (&CounterKey, &Acquaintance)> {
        let account = key.account;
        let first = CounterKey { account, source: None, client: None };
        self.known.range(first..).take_while(move |(key, _)| key.account == account)
    }

    /// Puts one that is not known yet where there is room; whether there was.
    pub(super) fn restore(&mut self, key: CounterKey, succeeded_at: Tick, budget: Budget) -> bool {
        let has_room =
            self.known.len() < ACQUAINTANCES && self.of_account(&key).count() < KNOWS && !self.known.contains_key(&key);
        if has_room {
            self.order.insert(self.next, key);
            self.known.insert(key, Acquaintance { succeeded_at, budget, place: self.next });
            self.next += 1;
        }
        has_room
    }
}
