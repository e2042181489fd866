//! When a session was last used: one clock, shared by everybody who remembers one of its tokens.
//!
//! Sessions that die of inactivity need the exact instant of the last use, while a token is asked about only now and then. So
//! whoever lets a request through notes it here, and the session's owner reads it here. Deliberately absent: how it is kept.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::model::Timestamp;

/// The idle clock of a session. Only ever moves forward.
#[derive(Debug)]
pub struct Activity {
    idle: Duration,
    last: AtomicI64,
}

impl Activity {
    /// Of a session that was last used at `last` and dies `idle` after that.
    #[must_use]
    pub fn new(idle: Duration, last: Timestamp) -> Self {
        Self { idle, last: AtomicI64::new(last.as_millis()) }
    }

    /// Notes a use. To be called only for a session that was not over at `now`: an end is an end.
    pub fn note(&self, now: Timestamp) {
        self.last.fetch_max(now.as_millis(), Ordering::AcqRel);
    }

    /// When it was last used.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        Timestamp::from_millis(self.last.load(Ordering::Acquire))
    }

    /// When it will be over unless it is used before. It is over at that very instant.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.last().after(self.idle)
    }

    /// Whether it has been idle for too long.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.deadline() <= now
    }
}

impl PartialEq for Activity {
    fn eq(&self, other: &Self) -> bool {
        (self.idle, self.last()) == (other.idle, other.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_for_its_idle_time_after_the_last_use_and_not_at_its_end() {
        let activity = Activity::new(Duration::from_mins(5), Timestamp::from_secs(1_000));
        assert!(!activity.is_over(Timestamp::from_millis(1_299_999)));
        assert!(activity.is_over(Timestamp::from_secs(1_300)));
        activity.note(Timestamp::from_secs(1_290));
        assert!(!activity.is_over(Timestamp::from_millis(1_589_999)));
        assert!(activity.is_over(Timestamp::from_secs(1_590)));
    }

    #[test]
    fn a_use_that_is_told_late_does_not_turn_the_clock_back() {
        let activity = Activity::new(Duration::from_mins(5), Timestamp::from_secs(1_000));
        activity.note(Timestamp::from_secs(900));
        assert_eq!(activity.last(), Timestamp::from_secs(1_000));
    }
}
