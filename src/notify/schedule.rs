//! How often a message is tried, and how long the pauses are.
//!
//! Imports `model`. Pauses double from half a second to half a minute, each shortened at random by up to a half, so that the
//! messages that an outage held up do not come back all at once. Deliberately absent: clocks and waiting.

use std::time::Duration;

use crate::model::Entropy;

/// The rule of pauses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Schedule {
    attempts: u32,
    first: Duration,
}

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

impl Schedule {
    /// So many tries in all; at least one.
    pub(super) fn new(attempts: u32) -> Self {
        Self { attempts, first: Duration::from_millis(500) }
    }

    /// The same with another first pause.
    #[cfg(test)]
    pub(super) fn beginning_with(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// How long to pause after so many tries have failed, when the code lives for `left`; `None` if that was the last try.
    pub(super) fn pause(self, failed: u32, left: Duration, entropy: &dyn Entropy) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        let doublings = failed.saturating_sub(1).min(16);
        let whole = self.first.saturating_mul(1 << doublings).min(LONGEST);
        let mut random = [0; 4];
        entropy.fill(&mut random);
        let part = f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX);
        let pause = whole.mul_f64(0.5 + part / 2.0);
        (pause < left).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same byte for ever.
    #[derive(Debug)]
    struct Always(u8);

    impl Entropy for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    const LONG: Duration = Duration::from_mins(10);

    fn pauses(schedule: Schedule, random: u8) -> Vec<Duration> {
        (1..).map_while(|failed| schedule.pause(failed, LONG, &Always(random))).collect()
    }

    #[test]
    fn pauses_double_up_to_half_a_minute_and_end_with_the_last_try() {
        let secs = |all: &[f64]| all.iter().copied().map(Duration::from_secs_f64).collect::<Vec<_>>();
        assert_eq!(pauses(Schedule::new(10), 0xff), secs(&[0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]));
        assert!(pauses(Schedule::new(1), 0xff).is_empty());
    }

    #[test]
    fn chance_shortens_a_pause_by_up_to_a_half() {
        let (longest, shortest) = (pauses(Schedule::new(10), 0xff), pauses(Schedule::new(10), 0));
        assert_eq!(shortest.iter().map(|pause| *pause * 2).collect::<Vec<_>>(), longest);
        for (pause, longest) in pauses(Schedule::new(10), 0x5a).into_iter().zip(longest) {
            assert!(pause < longest && pause > longest / 2, "{pause:?} of {longest:?}");
        }
    }

    #[test]
    fn nothing_is_tried_when_the_code_has_expired() {
        let schedule = Schedule::new(10);
        let half_a_second = Duration::from_millis(500);
        assert_eq!(schedule.pause(1, half_a_second, &Always(0xff)), None);
        assert_eq!(schedule.pause(1, half_a_second + Duration::from_millis(1), &Always(0xff)), Some(half_a_second));
    }
}
