//! When something that dies of disuse was last used: one clock, shared by everybody who remembers one of its tokens.
//!
//! Sessions that die of inactivity need the exact instant of the last use, while a token is asked about only now and then. So
//! whoever lets a request through notes it here, and the owner reads it here. It goes by the monotonic clock, so that a step of
//! the wall clock neither ends a session nor makes it live longer. Deliberately absent: how it is kept.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::model::Tick;

/// The idle clock of a session or token. Only ever moves forward, and an end is an end: once it was seen to be over, no use
/// that is told late brings it back.
#[derive(Debug)]
pub struct Activity {
    idle: Duration,
    /// Milliseconds on the scale of [`Tick`]; below zero if that was before the clock's start. [`OVER`] once it is over.
    last: AtomicI64,
}

/// Of what is over.
const OVER: i64 = i64::MIN;

impl Activity {
    /// Of what was last used so long before `now`, and dies `idle` after that.
    #[must_use]
    pub fn new(idle: Duration, unused_for: Duration, now: Tick) -> Self {
        let last = millis(now).saturating_sub(i64::try_from(unused_for.as_millis()).unwrap_or(i64::MAX));
        Self { idle, last: AtomicI64::new(last.max(OVER + 1)) }
    }

    /// After how long without use it is over.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.idle
    }

    /// Notes a use. Without effect on what is over.
    pub fn note(&self, now: Tick) {
        let later = |last| (last != OVER && last < millis(now)).then(|| millis(now));
        let _ = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Notes a use that was told of by another clock. Without effect on what is over.
    pub fn note_use(&self, told: Use) {
        let later = |last| (last != OVER && last < told.0).then_some(told.0);
        let _ = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Names the last use, to tell it from later ones; `None` once it is over.
    #[must_use]
    pub fn last_use(&self) -> Option<Use> {
        Some(self.last.load(Ordering::Acquire)).filter(|last| *last != OVER).map(Use)
    }

    /// How much longer it lives unless it is used before; zero if it is over, which it is at that very instant.
    #[must_use]
    pub fn left(&self, now: Tick) -> Duration {
        loop {
            let last = self.last.load(Ordering::Acquire);
            if last == OVER {
                return Duration::ZERO;
            }
            let left = self.idle.saturating_sub(Use(last).age(now));
            if !left.is_zero() {
                return left;
            }
            // A use that is noted in this moment was let through in time, and goes before.
            if self.last.compare_exchange(last, OVER, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Duration::ZERO;
            }
        }
    }

    /// Whether it has been idle for too long.
    #[must_use]
    pub fn is_over(&self, now: Tick) -> bool {
        self.left(now).is_zero()
    }
}

impl PartialEq for Activity {
    fn eq(&self, other: &Self) -> bool {
        (self.idle, self.last_use()) == (other.idle, other.last_use())
    }
}

/// A use, by when it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Use(i64);

impl Use {
    /// How long ago it was; zero if it was not before `now`.
    #[must_use]
    pub fn age(self, now: Tick) -> Duration {
        Duration::from_millis(u64::try_from(millis(now).saturating_sub(self.0)).unwrap_or(0))
    }
}

fn millis(tick: Tick) -> i64 {
    i64::try_from(tick.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_mins(5);

    fn at(seconds: u64) -> Tick {
        Tick::from_millis(seconds * 1000)
    }

    #[test]
    fn a_session_lives_for_its_idle_time_after_the_last_use_and_not_at_its_end() {
        let activity = Activity::new(IDLE, Duration::ZERO, at(1_000));
        assert!(!activity.is_over(Tick::from_millis(1_299_999)));
        activity.note(at(1_290));
        assert_eq!(activity.left(at(1_300)), Duration::from_secs(290));
        assert!(!activity.is_over(Tick::from_millis(1_589_999)));
        assert!(activity.is_over(at(1_590)));
    }

    #[test]
    fn a_use_that_is_told_late_does_not_turn_the_clock_back() {
        let activity = Activity::new(IDLE, Duration::ZERO, at(1_000));
        activity.note(at(900));
        assert_eq!(activity.last_use().map(|last| last.age(at(1_010))), Some(Duration::from_secs(10)));
    }

    #[test]
    fn what_was_seen_to_be_over_is_not_brought_back_by_a_use_that_is_told_late() {
        let activity = Activity::new(IDLE, Duration::ZERO, at(1_000));
        assert!(activity.is_over(at(1_300)));
        activity.note(at(1_299));
        activity.note(at(1_301));
        assert!(activity.is_over(at(1_302)));
        assert_eq!(activity.last_use(), None);
    }

    #[test]
    fn a_use_from_before_the_clock_began_is_as_old_as_it_is() {
        let activity = Activity::new(IDLE, Duration::from_secs(200), at(10));
        assert_eq!(activity.left(at(10)), Duration::from_secs(100));
        assert!(!activity.is_over(at(109)));
        assert!(activity.is_over(at(110)));
        assert!(Activity::new(IDLE, Duration::MAX, at(10)).is_over(at(10)));
    }
}
