//! The lock after consecutive failed sign-ins: a pure state machine, one per account, shared by every API.
//!
//! Imports nothing but instants. Deliberately absent: clocks, tables, waiting and persistence; `tokens::store` and `tokens::guard`
//! have those. Instants are of one clock, whichever: what is kept in a database is decided on by the wall clock.
//!
//! ```text
//!             begin: one reservation        settle(Failed): one failure more
//!           ┌────────────────────────┐    ┌─────────────────────────────────┐
//!           ▼                        │    ▼                                 │
//!   Open { failed, in_flight } ──────┴────┴── failed = attempts ──▶ Locked { until }
//!           ▲          ▲                                                │
//!           │          └── settle(Succeeded) while open: failed = 0     │
//!           └───────────────── at `until`: failed = 0 ◀─────────────────┘
//! ```
//!
//! An attempt is reserved *before* its password is hashed and admitted only while `failed + in_flight < attempts`. So a
//! hundred parallel guesses are at most `attempts` hashes, and a failure can only be followed by the lock, never overtaken
//! by a guess that began before it. A lock has a fixed length from its start: tries during it neither extend it nor count, and
//! what began before it and ends during it, well or badly, leaves it as it is.

use std::time::Duration;

use crate::model::Tick;

/// When an account is locked, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockRule {
    attempts: u32,
    duration: Duration,
}

/// What is remembered of an account's attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attempts {
    failed: u32,
    in_flight: u32,
    locked_until: Option<Tick>,
}

/// Whether an attempt may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beginning {
    /// It holds a reservation now, which must be settled.
    Admitted,
    /// Attempts in flight fill the budget. Nobody knows yet how they end, so this is no lock.
    Busy,
    /// The account is locked for this much longer.
    Locked(Duration),
}

/// How an admitted attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// A secret was wrong: the reservation becomes a failure.
    Failed,
    /// Everything was right: failures are forgotten.
    Succeeded,
    /// We could not find out, through our own fault: the reservation is given back.
    Abandoned,
}

impl LockRule {
    /// Locks for `duration` after `attempts` consecutive failures; at least one attempt is always granted.
    #[must_use]
    pub fn new(attempts: u32, duration: Duration) -> Self {
        Self { attempts: attempts.max(1), duration }
    }

    /// Consecutive failures that lock.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The length of a lock.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }
}

impl Attempts {
    /// What was remembered before a restart: `failed` failures, and how much of a lock was left.
    ///
    /// A count that would lock under today's rule, but did not under yesterday's, leaves one attempt.
    #[must_use]
    pub fn restored(rule: &LockRule, failed: u32, lock_left: Option<Duration>, now: Tick) -> Self {
        Self::resumed(rule, failed, 0, lock_left.map(|left| now.after(left)), now)
    }

    /// What is kept somewhere else between attempts: `failed` failures, `in_flight` attempts that have not ended, and until when
    /// there is a lock. One that is over has taken its failures with it; one that would last longer than a lock does, since the
    /// clock was set back or the rule has changed, lasts as long as a lock.
    ///
    /// A count that would lock under today's rule, but did not under yesterday's, leaves one attempt.
    #[must_use]
    pub fn resumed(rule: &LockRule, failed: u32, in_flight: u32, locked_until: Option<Tick>, now: Tick) -> Self {
        let failed = match locked_until {
            Some(until) if now < until => rule.attempts,
            Some(_) => 0,
            None => failed.min(rule.attempts - 1),
        };
        let locked_until = locked_until.filter(|until| now < *until).map(|until| until.min(now.after(rule.duration)));
        Self { failed, in_flight, locked_until }
    }

    /// Asks for an attempt. Costs nothing if it is not admitted.
    pub fn begin(&mut self, rule: &LockRule, now: Tick) -> Beginning {
        if let Some(left) = self.lock_left(now) {
            return Beginning::Locked(left);
        }
        self.end_lock(now);
        if self.failed.saturating_add(self.in_flight) >= rule.attempts {
            return Beginning::Busy;
        }
        self.in_flight += 1;
        Beginning::Admitted
    }

    /// Settles an attempt that was admitted. What comes during a lock, having begun long before it, leaves the lock as it is: a
    /// failure does not extend it, and a success takes nothing away from what it says.
    pub fn settle(&mut self, rule: &LockRule, ending: Ending, now: Tick) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.count(rule, ending, now);
    }

    /// Counts an attempt that holds no reservation here.
    pub fn count(&mut self, rule: &LockRule, ending: Ending, now: Tick) {
        self.end_lock(now);
        match ending {
            Ending::Failed => {
                self.failed = self.failed.saturating_add(1);
                if self.failed >= rule.attempts && self.is_open() {
                    self.locked_until = Some(now.after(rule.duration));
                }
            }
            Ending::Succeeded if self.is_open() => self.failed = 0,
            Ending::Succeeded | Ending::Abandoned => {}
        }
    }

    /// A lock that is over takes its failures with it.
    fn end_lock(&mut self, now: Tick) {
        if self.locked_until.is_some_and(|until| until <= now) {
            self.pardon();
        }
    }

    /// The same with what is in flight in `other`, and nothing of its failures.
    #[must_use]
    pub fn with_flights_of(self, other: &Self) -> Self {
        Self { in_flight: other.in_flight, ..self }
    }

    /// How much longer the account is locked; `None` if it is not.
    #[must_use]
    pub fn lock_left(&self, now: Tick) -> Option<Duration> {
        self.locked_until.filter(|until| now < *until).map(|until| until.since(now))
    }

    /// Forgets failures and lock; what is in flight goes on.
    pub fn pardon(&mut self) {
        (self.failed, self.locked_until) = (0, None);
    }

    /// Whether there is no lock, nor one that is over and was not noticed yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.locked_until.is_none()
    }

    /// Until when the account is locked, whether or not that is over.
    #[must_use]
    pub fn locked_until(&self) -> Option<Tick> {
        self.locked_until
    }

    /// Consecutive failures so far.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// Whether there is nothing worth remembering.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HALF_AN_HOUR: Duration = Duration::from_mins(30);

    fn rule() -> LockRule {
        LockRule::new(5, HALF_AN_HOUR)
    }

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn locked_at(now: Tick) -> Attempts {
        let mut attempts = Attempts::default();
        for _ in 0..5 {
            assert_eq!(attempts.begin(&rule(), now), Beginning::Admitted);
            attempts.settle(&rule(), Ending::Failed, now);
        }
        attempts
    }

    #[test]
    fn the_fifth_failure_locks_for_half_an_hour_to_the_millisecond() {
        let mut attempts = locked_at(at(0));
        assert_eq!(attempts.begin(&rule(), at(0)), Beginning::Locked(HALF_AN_HOUR));
        assert_eq!(attempts.begin(&rule(), at(1_799_999)), Beginning::Locked(Duration::from_millis(1)));
        assert_eq!(attempts.begin(&rule(), at(1_800_000)), Beginning::Admitted);
    }

    #[test]
    fn tries_during_a_lock_do_not_extend_it() {
        let mut attempts = locked_at(at(0));
        for second in 0..1_800 {
            assert!(matches!(attempts.begin(&rule(), at(second * 1_000)), Beginning::Locked(_)));
        }
        assert_eq!(attempts.begin(&rule(), at(1_800_000)), Beginning::Admitted);
    }

    #[test]
    fn after_a_lock_all_attempts_are_there_again() {
        let mut attempts = locked_at(at(0));
        for _ in 0..4 {
            assert_eq!(attempts.begin(&rule(), at(1_800_000)), Beginning::Admitted);
            attempts.settle(&rule(), Ending::Failed, at(1_800_000));
        }
        assert_eq!(attempts.begin(&rule(), at(1_800_000)), Beginning::Admitted);
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let mut attempts = Attempts::default();
        for ending in [Ending::Failed, Ending::Failed, Ending::Failed, Ending::Failed, Ending::Succeeded] {
            assert_eq!(attempts.begin(&rule(), at(0)), Beginning::Admitted);
            attempts.settle(&rule(), ending, at(0));
        }
        assert!(attempts.is_blank());
    }

    #[test]
    fn parallel_attempts_fill_the_budget_without_locking_and_give_it_back() {
        let mut attempts = Attempts::default();
        for _ in 0..5 {
            assert_eq!(attempts.begin(&rule(), at(0)), Beginning::Admitted);
        }
        assert_eq!(attempts.begin(&rule(), at(0)), Beginning::Busy);
        attempts.settle(&rule(), Ending::Abandoned, at(0));
        assert_eq!(attempts.begin(&rule(), at(0)), Beginning::Admitted);
    }

    #[test]
    fn a_lock_outlives_a_restart_by_what_was_left_of_it_and_by_no_more_than_its_length() {
        let left = |lock_left| Attempts::restored(&rule(), 5, Some(lock_left), at(10)).lock_left(at(10));
        assert_eq!(left(Duration::from_secs(7)), Some(Duration::from_secs(7)));
        assert_eq!(left(Duration::from_hours(7)), Some(HALF_AN_HOUR), "the wall clock was set back meanwhile");
    }

    #[test]
    fn a_stricter_rule_after_a_restart_leaves_one_attempt_rather_than_none_for_ever() {
        let strict = LockRule::new(3, HALF_AN_HOUR);
        let mut attempts = Attempts::restored(&strict, 4, None, at(0));
        assert_eq!(attempts.begin(&strict, at(0)), Beginning::Admitted);
        assert_eq!(attempts.begin(&strict, at(0)), Beginning::Busy);
    }

    #[test]
    fn what_was_kept_goes_on_and_a_lock_that_is_over_has_taken_its_failures_with_it() {
        let mut kept = Attempts::resumed(&rule(), 3, 1, None, at(0));
        assert_eq!(kept.begin(&rule(), at(0)), Beginning::Admitted);
        assert_eq!(kept.begin(&rule(), at(0)), Beginning::Busy, "three failures and two in flight");
        let over = Attempts::resumed(&rule(), 5, 0, Some(at(10)), at(10));
        assert_eq!((over.failed(), over.locked_until()), (0, None));
        let set_back = Attempts::resumed(&rule(), 5, 0, Some(at(10_000_000)), at(10));
        assert_eq!(set_back.lock_left(at(10)), Some(HALF_AN_HOUR));
    }

    #[test]
    fn a_failure_that_comes_late_does_not_extend_a_lock() {
        let mut attempts = locked_at(at(0));
        attempts.settle(&rule(), Ending::Failed, at(60_000));
        assert_eq!(attempts.begin(&rule(), at(1_800_000)), Beginning::Admitted);
    }

    #[test]
    fn a_success_that_comes_during_a_lock_leaves_it_and_its_failures_as_they_are() {
        let mut attempts = locked_at(at(0));
        attempts.count(&rule(), Ending::Succeeded, at(60_000));
        assert_eq!((attempts.failed(), attempts.lock_left(at(60_000))), (5, Some(Duration::from_mins(29))));
        attempts.count(&rule(), Ending::Succeeded, at(1_800_000));
        assert!(attempts.is_blank(), "afterwards it is one like any other");
    }

    #[test]
    fn a_failure_that_comes_after_a_lock_is_the_first_of_new_ones() {
        let mut attempts = locked_at(at(0));
        attempts.count(&rule(), Ending::Failed, at(1_800_000));
        assert_eq!((attempts.failed(), attempts.lock_left(at(1_800_000))), (1, None));
        assert_eq!(attempts.begin(&rule(), at(1_800_000)), Beginning::Admitted);
    }

    proptest! {
        #[test]
        fn no_interleaving_lets_more_than_five_wrong_guesses_begin_in_half_an_hour(
            steps in prop::collection::vec((prop::bool::ANY, 0u64..10_000), 1..200),
        ) {
            let (mut attempts, mut now, mut in_flight, mut begun) = (Attempts::default(), 0, 0u32, 0u32);
            for (begins, passes) in steps {
                now = (now + passes).min(1_799_999);
                if begins {
                    if attempts.begin(&rule(), at(now)) == Beginning::Admitted {
                        in_flight += 1;
                        begun += 1;
                    }
                } else if in_flight > 0 {
                    in_flight -= 1;
                    attempts.settle(&rule(), Ending::Failed, at(now));
                }
            }
            prop_assert!(begun <= 5);
        }
    }
}
