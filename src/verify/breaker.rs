//! A circuit breaker: an authority that keeps failing is left alone for a moment, then tried with a single question.
//!
//! Imports `model`. It spares requests the wait for a deadline and the authority a rush while it comes back.
//! Deliberately absent: what counts as a failure.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::Tick;

/// The state of one authority.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: Mutex<State>,
    /// A probe that has told nothing for this long is given up: the longest time that a question can take.
    patience: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Questions pass.
    Closed { failures: u32 },
    /// None passes until then.
    Open { until: Tick },
    /// One has passed and decides; if it has told nothing until then, another one does.
    Probing { until: Tick },
}

impl Breaker {
    /// So many failures in a row open it,
    const FAILURES: u32 = 5;
    /// for so long.
    const PAUSE: Duration = Duration::from_secs(1);

    pub(crate) fn new(patience: Duration) -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }), patience }
    }

    /// Whether a question may be asked now; if not, how long the authority is still left alone.
    pub(crate) fn admit(&self, now: Tick) -> Result<(), Duration> {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Ok(()),
            State::Open { until } | State::Probing { until } if now < until => Err(until.since(now)),
            State::Open { .. } | State::Probing { .. } => {
                *state = State::Probing { until: now.after(self.patience.max(Self::PAUSE)) };
                Ok(())
            }
        }
    }

    /// An answer came.
    pub(crate) fn succeeded(&self) {
        *self.state() = State::Closed { failures: 0 };
    }

    /// None came.
    pub(crate) fn failed(&self, now: Tick) {
        let mut state = self.state();
        *state = match *state {
            State::Closed { failures } if failures + 1 < Self::FAILURES => State::Closed { failures: failures + 1 },
            State::Closed { .. } | State::Probing { .. } => State::Open { until: now.after(Self::PAUSE) },
            State::Open { until } => State::Open { until },
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn opened() -> Breaker {
        let breaker = Breaker::new(Duration::from_secs(3));
        for _ in 0..5 {
            assert_eq!(breaker.admit(at(0)), Ok(()));
            breaker.failed(at(0));
        }
        breaker
    }

    #[test]
    fn the_fifth_failure_in_a_row_opens_it_for_a_second() {
        let breaker = opened();
        assert_eq!(breaker.admit(at(1)), Err(Duration::from_millis(999)));
        assert_eq!(breaker.admit(at(1000)), Ok(()));
    }

    #[test]
    fn failures_with_a_success_between_them_do_not_open_it() {
        let breaker = Breaker::new(Duration::from_secs(3));
        for failures in 0..20 {
            assert_eq!(breaker.admit(at(0)), Ok(()));
            if failures % 5 == 4 { breaker.succeeded() } else { breaker.failed(at(0)) }
        }
    }

    #[test]
    fn one_probe_passes_and_decides() {
        let breaker = opened();
        assert_eq!(breaker.admit(at(1000)), Ok(()));
        assert!(breaker.admit(at(1000)).is_err());
        breaker.failed(at(1500));
        assert_eq!(breaker.admit(at(1600)), Err(Duration::from_millis(900)));
        assert_eq!(breaker.admit(at(2500)), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit(at(2500)), Ok(()));
        assert_eq!(breaker.admit(at(2500)), Ok(()));
    }

    #[test]
    fn a_probe_that_never_tells_does_not_keep_it_open_for_ever() {
        let breaker = opened();
        assert_eq!(breaker.admit(at(1000)), Ok(()));
        assert!(breaker.admit(at(3999)).is_err());
        assert_eq!(breaker.admit(at(4000)), Ok(()));
    }
}
