//! How many failed logins one counter takes: the lock after consecutive failures, a window of failures, or both.
//!
//! Imports instants and `rules::lockout`. Deliberately absent: clocks, tables and waiting; `store::login_guard` has those.
//!
//! An attempt is reserved before it is forwarded and admitted only while failures and reservations together leave room. What is
//! not known yet is never taken for a failure: while only reservations fill the budget, it is busy and neither locked nor spent.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Tick;
use crate::rules::lockout::{Attempts, Beginning, Ending, LockRule};

/// For how long consecutive failures count at least. A shorter lock forgets them no sooner, so that whoever waits in between
/// gains nothing on whoever is locked.
const MEMORY: Duration = Duration::from_hours(1);

/// What a counter takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BudgetRule {
    /// The lock after consecutive failures.
    pub lock: Option<LockRule>,
    /// The failures that there may be in any stretch of time.
    pub window: Option<FailureWindow>,
}

/// So many failures in any stretch of time. They count from when the answer came, so no more are ever begun in one stretch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailureWindow {
    /// How many, at least 1.
    pub attempts: u32,
    /// The stretch.
    pub within: Duration,
    /// Whether attempts that succeed count too.
    pub count_success: bool,
}

/// What is remembered of one counter. Holds at most `attempts` instants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Budget {
    attempts: Attempts,
    recent: VecDeque<Tick>,
    in_flight: u32,
    failed_at: Option<Tick>,
}

/// What a restart must not forget of a counter. In ages, because the instants of one process mean nothing to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Consecutive failures.
    pub failed: u32,
    /// How long ago the last of them was.
    pub failed_ago: Duration,
    /// What is left of a lock.
    pub lock_left: Option<Duration>,
    /// What the window counts.
    pub recent: u32,
    /// How long ago the last of that was.
    pub recent_ago: Duration,
}

impl Kept {
    /// Whether there is nothing to be remembered.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.failed == 0 && self.lock_left.is_none() && self.recent == 0
    }

    /// For how long there is something to be remembered.
    #[must_use]
    pub fn lasts(&self, rule: &BudgetRule) -> Duration {
        let failures = if self.failed == 0 { Duration::ZERO } else { rule.memory().saturating_sub(self.failed_ago) };
        let window = rule.window.filter(|_| self.recent > 0);
        let window = window.map_or(Duration::ZERO, |window| window.within.saturating_sub(self.recent_ago));
        failures.max(window).max(self.lock_left.unwrap_or_default())
    }
}

/// Why a counter admits nobody, whatever is in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// What closed it.
    pub by: ClosedBy,
    /// How many failures that took.
    pub failures: u32,
    /// How long ago that was.
    pub ago: Duration,
    /// For how much longer.
    pub left: Duration,
}

/// What closes a counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClosedBy {
    /// The lock after consecutive failures.
    Lock,
    /// The window is full.
    Window,
}

/// Whether an attempt may begin, in the order of what is said first when several counters refuse it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Answer {
    /// It holds a reservation now, which must be settled.
    Admitted,
    /// Reservations fill the budget; nobody knows yet how they end.
    Busy,
    /// The window is full for this much longer.
    Spent(Duration),
    /// There is a lock for this much longer.
    Locked(Duration),
}

impl BudgetRule {
    /// The same without the lock: for a counter that no success clears.
    #[must_use]
    pub fn without_lock(self) -> Self {
        Self { lock: None, ..self }
    }

    /// The part of it that each of so many gateways may allow by itself; `None` if that is nothing.
    #[must_use]
    pub fn part(&self, gateways: u32) -> Option<Self> {
        let part = |attempts: u32| attempts.checked_div(gateways).filter(|part| *part > 0);
        let lock = match &self.lock {
            Some(lock) => Some(LockRule::new(part(lock.attempts())?, lock.duration())),
            None => None,
        };
        let window = match self.window {
            Some(window) => Some(FailureWindow { attempts: part(window.attempts)?, ..window }),
            None => None,
        };
        Some(Self { lock, window })
    }

    /// After this long without a failure, consecutive ones are forgotten.
    #[must_use]
    pub fn memory(&self) -> Duration {
        self.lock.map_or(MEMORY, |lock| lock.duration().max(MEMORY))
    }
}

impl Budget {
    /// Asks for an attempt. Costs nothing if it is not admitted.
    pub fn begin(&mut self, rule: &BudgetRule, now: Tick) -> Answer {
        self.forget(rule, now);
        if let Some(left) = self.attempts.lock_left(now) {
            return Answer::Locked(left);
        }
        if let Some(window) = &rule.window {
            let counted = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
            if let Some(oldest) = self.recent.front().filter(|_| counted >= window.attempts) {
                return Answer::Spent(window.within.saturating_sub(now.since(*oldest)));
            }
            if counted.saturating_add(self.in_flight) >= window.attempts {
                return Answer::Busy;
            }
        }
        if let Some(lock) = &rule.lock {
            match self.attempts.begin(lock, now) {
                Beginning::Admitted => {}
                Beginning::Busy => return Answer::Busy,
                Beginning::Locked(left) => return Answer::Locked(left),
            }
        }
        self.in_flight = self.in_flight.saturating_add(1);
        Answer::Admitted
    }

    /// Settles an attempt that was admitted; whether that locks. `now` is when its outcome was known.
    pub fn settle(&mut self, rule: &BudgetRule, ending: Ending, now: Tick) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.note(rule, ending, now);
        let Some(lock) = &rule.lock else { return false };
        self.attempts.settle(lock, ending, now);
        self.attempts.lock_left(now).is_some()
    }

    /// Counts an attempt that holds no reservation here any more, or never held one; whether that locks.
    pub fn count(&mut self, rule: &BudgetRule, ending: Ending, now: Tick) -> bool {
        self.forget(rule, now);
        self.note(rule, ending, now);
        let Some(lock) = &rule.lock else { return false };
        self.attempts.count(lock, ending, now);
        self.attempts.lock_left(now).is_some()
    }

    /// Notes when it ended, where that counts.
    fn note(&mut self, rule: &BudgetRule, ending: Ending, now: Tick) {
        let counts = |window: &FailureWindow| match ending {
            Ending::Failed => true,
            Ending::Succeeded => window.count_success,
            Ending::Abandoned => false,
        };
        if let Some(window) = rule.window.filter(counts) {
            self.recent.push_back(now);
            // What was not reserved may be one too many. The newest say when there is room.
            while self.recent.len() > window.attempts as usize {
                self.recent.pop_front();
            }
        }
        if rule.lock.is_some() && ending == Ending::Failed {
            self.failed_at = Some(now);
        }
    }

    /// Whether forgetting this would change nothing any more.
    #[must_use]
    pub fn is_blank(&self, rule: &BudgetRule, now: Tick) -> bool {
        let old = self.failed_at.is_none_or(|last| now.since(last) >= rule.memory());
        let windowless = rule.window.is_none_or(|window| self.recent.back().is_none_or(|at| now.since(*at) >= window.within));
        let unfailed = old || self.attempts.failed() == 0;
        self.in_flight == 0 && self.attempts.lock_left(now).is_none() && unfailed && windowless
    }

    /// Why it admits nobody, if so: the lock before the window.
    #[must_use]
    pub fn closed(&self, rule: &BudgetRule, now: Tick) -> Option<Closed> {
        if let (Some(left), Some(lock)) = (self.attempts.lock_left(now), &rule.lock) {
            let ago = lock.duration().saturating_sub(left);
            return Some(Closed { by: ClosedBy::Lock, failures: self.attempts.failed(), ago, left });
        }
        let window = rule.window.as_ref()?;
        let counted = self.counted(window, now);
        let oldest =
            self.recent.get(self.recent.len().checked_sub(counted)?).filter(|_| counted >= window.attempts as usize)?;
        let left = window.within.saturating_sub(now.since(*oldest));
        let ago = self.recent.back().map_or(Duration::ZERO, |last| now.since(*last));
        Some(Closed { by: ClosedBy::Window, failures: u32::try_from(counted).unwrap_or(u32::MAX), ago, left })
    }

    /// Forgets whatever was counted; what is in flight goes on.
    pub fn pardon(&mut self) {
        self.attempts.pardon();
        self.recent.clear();
        self.failed_at = None;
    }

    /// What the window counts now.
    fn counted(&self, window: &FailureWindow, now: Tick) -> usize {
        self.recent.len() - self.recent.partition_point(|at| now.since(*at) >= window.within)
    }

    /// What a restart must not forget.
    #[must_use]
    pub fn kept(&self, rule: &BudgetRule, now: Tick) -> Kept {
        let failed_ago = self.failed_at.map_or(Duration::ZERO, |last| now.since(last));
        let recent = rule.window.as_ref().map_or(0, |window| self.counted(window, now));
        let lock_left = self.attempts.lock_left(now);
        let remembered = self.failed_at.is_some() && failed_ago < rule.memory();
        Kept {
            failed: if remembered && self.attempts.is_open() || lock_left.is_some() { self.attempts.failed() } else { 0 },
            failed_ago,
            lock_left,
            recent: u32::try_from(recent).unwrap_or(u32::MAX),
            recent_ago: self.recent.back().map_or(Duration::ZERO, |last| now.since(*last)),
        }
    }

    /// A counter as it was before a restart. Of a window only its count and its latest attempt were written down: it is as full
    /// as it was, and all of it ends with that attempt. What is left of a lock is one, whatever is said of failures. The rule may
    /// be another than before.
    #[must_use]
    pub fn restored(rule: &BudgetRule, kept: &Kept, now: Tick) -> Self {
        let mut budget = Self::default();
        let counts = kept.lock_left.is_some() || kept.failed > 0 && kept.failed_ago < rule.memory();
        if let Some(lock) = rule.lock.filter(|_| counts) {
            budget.attempts = Attempts::restored(&lock, kept.failed, kept.lock_left, now);
            budget.failed_at = Some(now.before(kept.failed_ago));
        }
        if let Some(window) = rule.window.filter(|window| kept.recent_ago < window.within) {
            let count = kept.recent.min(window.attempts);
            budget.recent.extend((0..count).map(|_| now.before(kept.recent_ago)));
        }
        budget
    }

    /// Puts what somebody else has counted in the place of what was counted here; what is in flight here goes on.
    pub fn learn(&mut self, rule: &BudgetRule, kept: &Kept, now: Tick) {
        let learnt = Self::restored(rule, kept, now);
        let attempts = learnt.attempts.with_flights_of(&self.attempts);
        *self = Self { attempts, in_flight: self.in_flight, ..learnt };
    }

    /// Whether consecutive failures leave nothing of the rule, and yet there is no lock: they were counted by a rule that takes
    /// more.
    #[must_use]
    pub fn is_worn(&self, rule: &BudgetRule) -> bool {
        rule.lock.is_some_and(|lock| self.attempts.is_open() && self.attempts.failed() >= lock.attempts())
    }

    fn forget(&mut self, rule: &BudgetRule, now: Tick) {
        if let Some(window) = &rule.window {
            while self.recent.front().is_some_and(|oldest| now.since(*oldest) >= window.within) {
                self.recent.pop_front();
            }
        }
        let old = self.failed_at.is_some_and(|last| now.since(last) >= rule.memory());
        if old && self.in_flight == 0 {
            (self.attempts, self.failed_at) = (Attempts::default(), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOCK: Duration = Duration::from_mins(30);

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn locking() -> BudgetRule {
        BudgetRule { lock: Some(LockRule::new(5, LOCK)), window: None }
    }

    fn windowed(attempts: u32, within: u64, count_success: bool) -> BudgetRule {
        let window = FailureWindow { attempts, within: Duration::from_millis(within), count_success };
        BudgetRule { lock: None, window: Some(window) }
    }

    fn attempt(budget: &mut Budget, rule: &BudgetRule, ending: Ending, millis: u64) {
        assert_eq!(budget.begin(rule, at(millis)), Answer::Admitted);
        budget.settle(rule, ending, at(millis));
    }

    #[test]
    fn a_lock_has_a_fixed_end_and_comes_before_a_full_window() {
        let rule = BudgetRule { lock: locking().lock, ..windowed(5, 60_000, false) };
        let mut budget = Budget::default();
        for failure in 0..5 {
            attempt(&mut budget, &rule, Ending::Failed, failure);
        }
        assert_eq!(budget.begin(&rule, at(4)), Answer::Locked(LOCK));
        assert_eq!(budget.begin(&rule, at(1_800_003)), Answer::Locked(Duration::from_millis(1)));
        assert_eq!(budget.begin(&rule, at(1_800_004)), Answer::Admitted);
    }

    #[test]
    fn a_full_window_says_when_there_is_room_and_a_success_does_not_empty_it() {
        let rule = windowed(2, 1_000, false);
        let mut budget = Budget::default();
        attempt(&mut budget, &rule, Ending::Failed, 0);
        attempt(&mut budget, &rule, Ending::Succeeded, 10);
        attempt(&mut budget, &rule, Ending::Failed, 300);
        assert_eq!(budget.begin(&rule, at(400)), Answer::Spent(Duration::from_millis(600)));
        assert_eq!(budget.begin(&rule, at(1_000)), Answer::Admitted);
        assert_eq!(budget.begin(&rule, at(1_000)), Answer::Busy, "one failure and one in flight");
    }

    #[test]
    fn right_attempts_count_where_that_is_said() {
        let rule = windowed(2, 1_000, true);
        let mut budget = Budget::default();
        attempt(&mut budget, &rule, Ending::Succeeded, 0);
        attempt(&mut budget, &rule, Ending::Abandoned, 0);
        attempt(&mut budget, &rule, Ending::Succeeded, 0);
        assert_eq!(budget.begin(&rule, at(0)), Answer::Spent(Duration::from_secs(1)));
    }

    #[test]
    fn old_failures_are_forgotten_and_then_the_counter_is_blank() {
        let mut budget = Budget::default();
        for _ in 0..4 {
            attempt(&mut budget, &locking(), Ending::Failed, 0);
        }
        assert!(!budget.is_blank(&locking(), at(3_599_999)));
        assert!(budget.is_blank(&locking(), at(3_600_000)));
        attempt(&mut budget, &locking(), Ending::Failed, 3_600_000);
        assert_eq!(budget.begin(&locking(), at(3_600_000)), Answer::Admitted);
    }

    #[test]
    fn what_is_left_of_a_lock_and_of_a_window_outlives_a_restart_and_nothing_of_it_outlives_its_end() {
        let rule = BudgetRule { lock: locking().lock, ..windowed(7, 60_000, false) };
        let mut before = Budget::default();
        for failure in 0..5 {
            attempt(&mut before, &rule, Ending::Failed, 1_000 * failure);
        }
        let kept = before.kept(&rule, at(10_000));
        let restart = 5_000_000;
        let restored = || Budget::restored(&rule, &kept, at(restart));
        assert_eq!(restored().begin(&rule, at(restart)), Answer::Locked(LOCK.saturating_sub(Duration::from_secs(6))));
        let unlocked = restart + 1_794_000;
        assert_eq!(restored().begin(&rule, at(unlocked)), Answer::Admitted);
        let windowed = windowed(5, 60_000, false);
        let mut restored = Budget::restored(&windowed, &kept, at(restart));
        assert_eq!(restored.begin(&windowed, at(restart)), Answer::Spent(Duration::from_secs(54)));
        assert_eq!(restored.begin(&windowed, at(restart + 54_000)), Answer::Admitted);
        let over = before.kept(&rule, at(3_700_000));
        assert!(over.is_blank(), "{over:?}");
    }

    #[test]
    fn what_is_closed_says_why_until_when_and_is_open_once_it_is_pardoned() {
        let rule = BudgetRule { lock: locking().lock, ..windowed(5, 60_000, false) };
        let mut budget = Budget::default();
        for failure in 0..5 {
            assert_eq!(budget.closed(&rule, at(1_000 * failure)), None);
            attempt(&mut budget, &rule, Ending::Failed, 1_000 * failure);
        }
        let ago = Duration::from_secs(6);
        let locked = Closed { by: ClosedBy::Lock, failures: 5, ago, left: LOCK.saturating_sub(ago) };
        assert_eq!(budget.closed(&rule, at(10_000)), Some(locked));
        let windowed = rule.without_lock();
        let full = Closed { by: ClosedBy::Window, failures: 5, ago, left: Duration::from_secs(50) };
        // Without the rule for it there is no lock to be seen.
        assert_eq!(budget.closed(&windowed, at(10_000)), Some(full));
        assert_eq!(budget.closed(&windowed, at(60_000)), None, "the oldest is out of the window");
        budget.pardon();
        assert_eq!((budget.closed(&rule, at(10_000)), budget.begin(&rule, at(10_000))), (None, Answer::Admitted));
    }

    #[test]
    fn failures_that_did_not_lock_yet_outlive_a_restart_for_as_long_as_they_count() {
        let mut before = Budget::default();
        for _ in 0..4 {
            attempt(&mut before, &locking(), Ending::Failed, 0);
        }
        let kept = before.kept(&locking(), at(1_000));
        let mut after = Budget::restored(&locking(), &kept, at(90_000_000));
        attempt(&mut after, &locking(), Ending::Failed, 90_000_000);
        assert_eq!(after.begin(&locking(), at(90_000_000)), Answer::Locked(LOCK));
        let late = Kept { failed_ago: Duration::from_hours(1), ..kept };
        assert_eq!(Budget::restored(&locking(), &late, at(90_000_000)), Budget::default());
        assert_eq!(kept.lasts(&locking()), Duration::from_secs(3_599));
    }

    #[test]
    fn a_lock_that_is_told_of_is_one_whatever_is_said_of_failures() {
        let told = Kept { lock_left: Some(Duration::from_mins(7)), ..Kept::default() };
        let mut learnt = Budget::default();
        attempt(&mut learnt, &locking(), Ending::Failed, 0);
        learnt.learn(&locking(), &told, at(60_000));
        let lock = Closed { by: ClosedBy::Lock, failures: 5, ago: Duration::from_mins(23), left: Duration::from_mins(7) };
        assert_eq!(learnt.closed(&locking(), at(60_000)), Some(lock));
        assert_eq!(learnt.begin(&locking(), at(60_000)), Answer::Locked(Duration::from_mins(7)));
        assert_eq!(learnt.begin(&locking(), at(480_000)), Answer::Admitted);
    }

    #[test]
    fn a_success_that_comes_during_a_lock_leaves_it_to_be_seen_as_it_is() {
        let mut budget = Budget::default();
        for failure in 0..5 {
            attempt(&mut budget, &locking(), Ending::Failed, failure);
        }
        let before = (budget.closed(&locking(), at(60_000)), budget.kept(&locking(), at(60_000)));
        assert!(budget.count(&locking(), Ending::Succeeded, at(60_000)));
        assert_eq!((budget.closed(&locking(), at(60_000)), budget.kept(&locking(), at(60_000))), before);
        assert_eq!(before.1.failed, 5);
    }

    /// What may happen to a counter.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Begin,
        Settle(Ending),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Begin),
            3 => prop::sample::select(vec![Ending::Failed, Ending::Abandoned, Ending::Succeeded]).prop_map(Step::Settle),
            1 => (0_u64..400).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn failures_and_reservations_together_never_exceed_the_budget(steps in steps(), most in 1_u32..6) {
            let rule = BudgetRule { lock: Some(LockRule::new(most, Duration::from_millis(500))), window: None };
            let (mut budget, mut now, mut in_flight, mut failed) = (Budget::default(), 0, 0_u32, 0_u32);
            let mut locked_until = 0;
            for step in steps {
                match step {
                    Step::Wait(millis) => now += millis,
                    Step::Begin => match budget.begin(&rule, at(now)) {
                        Answer::Admitted => {
                            prop_assert!(now >= locked_until);
                            if locked_until > 0 {
                                (failed, locked_until) = (0, 0);
                            }
                            in_flight += 1;
                        }
                        Answer::Busy => prop_assert!(in_flight > 0, "nobody can be busy without anything in flight"),
                        Answer::Locked(left) => prop_assert_eq!(left, Duration::from_millis(locked_until - now)),
                        Answer::Spent(_) => prop_assert!(false, "there is no window"),
                    },
                    Step::Settle(ending) if in_flight > 0 => {
                        in_flight -= 1;
                        match ending {
                            Ending::Failed => failed += 1,
                            Ending::Succeeded => failed = 0,
                            Ending::Abandoned => {}
                        }
                        let locks = budget.settle(&rule, ending, at(now));
                        prop_assert_eq!(locks, failed == most);
                        if locks {
                            locked_until = now + 500;
                        }
                    }
                    Step::Settle(_) => {}
                }
                prop_assert!(failed + in_flight <= most);
            }
        }

        #[test]
        fn no_stretch_of_a_window_has_more_failures_than_the_rule(steps in steps(), most in 1_u32..6, within in 1_u64..900) {
            let rule = windowed(most, within, false);
            let (mut budget, mut now, mut in_flight, mut failures) = (Budget::default(), 0, 0_u32, Vec::new());
            for step in steps {
                let recent = |failures: &[u64], now: u64| failures.iter().filter(|then| now - **then < within).count();
                match step {
                    Step::Wait(millis) => now += millis,
                    Step::Begin => {
                        let counted = recent(&failures, now);
                        let answer = budget.begin(&rule, at(now));
                        if counted >= most as usize {
                            let oldest = failures[failures.len() - counted];
                            prop_assert_eq!(answer, Answer::Spent(Duration::from_millis(oldest + within - now)));
                        } else if counted + in_flight as usize >= most as usize {
                            prop_assert_eq!(answer, Answer::Busy);
                        } else {
                            prop_assert_eq!(answer, Answer::Admitted);
                            in_flight += 1;
                        }
                    }
                    Step::Settle(ending) if in_flight > 0 => {
                        in_flight -= 1;
                        budget.settle(&rule, ending, at(now));
                        if ending == Ending::Failed {
                            failures.push(now);
                        }
                    }
                    Step::Settle(_) => {}
                }
                prop_assert!(recent(&failures, now) <= most as usize);
            }
        }

        #[test]
        fn forgetting_a_blank_counter_changes_nothing(steps in steps()) {
            let rule = BudgetRule { lock: Some(LockRule::new(3, Duration::from_millis(700))), ..windowed(2, 300, true) };
            let (mut kept, mut forgotten, mut now, mut in_flight) = (Budget::default(), Budget::default(), 0, 0);
            for step in steps {
                match step {
                    Step::Wait(millis) => now += millis * 20_000,
                    Step::Begin => {
                        if forgotten.is_blank(&rule, at(now)) {
                            forgotten = Budget::default();
                        }
                        let answer = kept.begin(&rule, at(now));
                        prop_assert_eq!(answer, forgotten.begin(&rule, at(now)));
                        in_flight += u32::from(answer == Answer::Admitted);
                    }
                    Step::Settle(ending) if in_flight > 0 => {
                        in_flight -= 1;
                        prop_assert_eq!(kept.settle(&rule, ending, at(now)), forgotten.settle(&rule, ending, at(now)));
                    }
                    Step::Settle(_) => {}
                }
            }
        }
    }
}
