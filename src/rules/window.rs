//! So many attempts in any stretch of time, and for whoever tries more a pause, or a wait until there is room again: a pure
//! state machine, one per caller.
//!
//! Imports nothing but instants. Deliberately absent: clocks, tables and what an attempt is; `tokens::store` has those.
//!
//! An exact log of instants, not a bucket: a bucket that refills lets nearly twice as many through in the first minute, and a
//! counter that is reset lets twice as many through around the reset. The log holds at most `attempts` instants.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Tick;

/// How many attempts there may be in any window, and what becomes of whoever tries one more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowRule {
    attempts: usize,
    window: Duration,
    /// The pause that one attempt more begins; without one it waits for room.
    block: Option<Duration>,
}

/// What is remembered of one caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Window {
    /// The attempts that were admitted within the window, oldest first; never more than the rule admits.
    recent: VecDeque<Tick>,
    blocked_until: Option<Tick>,
}

/// Whether an attempt may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passage {
    /// It may, and counts, however it ends.
    Admitted,
    /// It is the one too many: a pause of this length begins with it, or, without pauses, there is room after this.
    Blocked(Duration),
    /// There is a pause, and this much is left of it. Trying does not prolong it.
    StillBlocked(Duration),
}

impl WindowRule {
    /// At most `attempts` in any `window`, at least one; the next one begins a pause of `block`.
    #[must_use]
    pub fn new(attempts: u32, window: Duration, block: Duration) -> Self {
        Self { block: Some(block), ..Self::sliding(attempts, window) }
    }

    /// The pause that one attempt more begins, if there are pauses.
    #[must_use]
    pub fn block(&self) -> Option<Duration> {
        self.block
    }

    /// At most `attempts` in any `window`, at least one; the next one waits until the oldest of them is a window old.
    #[must_use]
    pub fn sliding(attempts: u32, window: Duration) -> Self {
        Self { attempts: usize::try_from(attempts).unwrap_or(usize::MAX).max(1), window, block: None }
    }
}

impl Window {
    /// What is kept somewhere else between attempts: those that were admitted, oldest first, and until when there is a pause.
    /// Whatever lies in the future, since the clock was set back or another's is ahead, is taken for now; and no pause lasts
    /// longer than the rule's. Of more attempts than the rule admits, since it is another, the latest count.
    #[must_use]
    pub fn resumed(rule: &WindowRule, recent: &[Tick], blocked_until: Option<Tick>, now: Tick) -> Self {
        let longest = now.after(rule.block.unwrap_or_default());
        Self {
            recent: recent.iter().skip(recent.len().saturating_sub(rule.attempts)).map(|at| *at.min(&now)).collect(),
            blocked_until: blocked_until.map(|until| until.min(longest)),
        }
    }

    /// The attempts that were admitted within the window, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = Tick> {
        self.recent.iter().copied()
    }

    /// Until when there is a pause, whether or not that is over.
    #[must_use]
    pub fn blocked_until(&self) -> Option<Tick> {
        self.blocked_until
    }

    /// From when on forgetting this changes nothing.
    #[must_use]
    pub fn blank_from(&self, rule: &WindowRule) -> Tick {
        let room = self.recent.back().map_or(Tick::default(), |latest| latest.after(rule.window));
        self.blocked_until.map_or(room, |until| until.max(room))
    }

    /// How much is left of a pause, if there is one. Asking is no attempt.
    #[must_use]
    pub fn pause(&self, now: Tick) -> Option<Duration> {
        self.blocked_until.filter(|until| now < *until).map(|until| until.since(now))
    }

    /// Asks for an attempt. An instant that is exactly a window old does not count any more, and at its very end a pause is
    /// over; the attempts before it are forgotten with it.
    pub fn attempt(&mut self, rule: &WindowRule, now: Tick) -> Passage {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Passage::StillBlocked(until.since(now));
            }
            *self = Self::default();
        }
        while self.recent.front().is_some_and(|oldest| now.since(*oldest) >= rule.window) {
            self.recent.pop_front();
        }
        if let Some(oldest) = self.recent.front().filter(|_| self.recent.len() >= rule.attempts) {
            let Some(block) = rule.block else {
                return Passage::Blocked(rule.window.saturating_sub(now.since(*oldest)));
            };
            self.recent.clear();
            self.blocked_until = Some(now.after(block));
            return Passage::Blocked(block);
        }
        self.recent.push_back(now);
        Passage::Admitted
    }

    /// Whether forgetting this would change nothing any more.
    #[must_use]
    pub fn is_blank(&self, rule: &WindowRule, now: Tick) -> bool {
        self.blocked_until.is_none_or(|until| now >= until)
            && self.recent.back().is_none_or(|latest| now.since(*latest) >= rule.window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule() -> WindowRule {
        WindowRule::new(5, Duration::from_mins(1), Duration::from_mins(10))
    }

    fn at(secs: u64) -> Tick {
        Tick::from_millis(secs * 1000)
    }

    fn admitted(window: &mut Window, secs: &[u64]) {
        for second in secs {
            assert_eq!(window.attempt(&rule(), at(*second)), Passage::Admitted, "at {second} s");
        }
    }

    #[test]
    fn the_sixth_attempt_within_a_minute_begins_a_pause_of_ten_minutes() {
        let mut window = Window::default();
        admitted(&mut window, &[0, 1, 2, 3, 59]);
        assert_eq!(window.attempt(&rule(), Tick::from_millis(59_999)), Passage::Blocked(Duration::from_mins(10)));
        assert_eq!(window.attempt(&rule(), at(60)), Passage::StillBlocked(Duration::from_millis(599_999)));
        let end = Tick::from_millis(59_999 + 600_000);
        let before = Tick::from_millis(end.as_millis() - 1);
        assert_eq!(window.attempt(&rule(), before), Passage::StillBlocked(Duration::from_millis(1)));
        assert_eq!(window.attempt(&rule(), end), Passage::Admitted);
    }

    #[test]
    fn the_window_slides_instead_of_being_reset() {
        let mut window = Window::default();
        admitted(&mut window, &[50, 51, 52, 53, 59]);
        assert_eq!(window.attempt(&rule(), at(61)), Passage::Blocked(Duration::from_mins(10)));
        let mut window = Window::default();
        admitted(&mut window, &[50, 51, 52, 53, 59, 110, 111]);
    }

    #[test]
    fn it_is_blank_once_it_could_be_forgotten() {
        let mut window = Window::default();
        assert!(window.is_blank(&rule(), at(0)));
        admitted(&mut window, &[0]);
        assert!(!window.is_blank(&rule(), at(59)));
        assert!(window.is_blank(&rule(), at(60)));
        let paused = Window::resumed(&rule(), &[], Some(at(5)), at(0));
        assert!(!paused.is_blank(&rule(), at(4)));
        assert!(paused.is_blank(&rule(), at(5)));
        assert_eq!((window.blank_from(&rule()), paused.blank_from(&rule())), (at(60), at(5)));
    }

    #[test]
    fn what_was_kept_under_a_clock_that_was_set_back_lasts_no_longer_than_it_would() {
        let day = 86_400;
        let paused = Window::resumed(&rule(), &[], Some(at(day)), at(0));
        assert_eq!(paused.pause(at(0)), Some(Duration::from_mins(10)));
        let mut full = Window::resumed(&WindowRule::sliding(2, Duration::from_mins(1)), &[at(day), at(day)], None, at(7));
        assert_eq!(full.recent().collect::<Vec<_>>(), [at(7), at(7)]);
        let wait = full.attempt(&WindowRule::sliding(2, Duration::from_mins(1)), at(7));
        assert_eq!(wait, Passage::Blocked(Duration::from_mins(1)));
    }

    #[test]
    fn a_stricter_rule_tells_the_wait_that_it_means() {
        let strict = WindowRule::sliding(1, Duration::from_mins(1));
        let mut window = Window::resumed(&strict, &[at(0), at(10), at(20)], None, at(30));
        assert_eq!(window.attempt(&strict, at(30)), Passage::Blocked(Duration::from_secs(50)));
        assert_eq!(window.attempt(&strict, at(80)), Passage::Admitted);
    }

    proptest! {
        /// Against the plainest reading of the rule: keep every admitted instant, and count those of the last minute.
        #[test]
        fn no_stretch_of_a_window_admits_more_than_the_rule_and_no_fewer_are_admitted(
            attempts in 1_u32..6, window in 1_u64..50, block in 0_u64..80, steps in prop::collection::vec(0_u64..20, 0..200),
        ) {
            let rule = WindowRule::new(attempts, Duration::from_millis(window), Duration::from_millis(block));
            let (mut state, mut now) = (Window::default(), 0);
            let (mut admitted, mut blocked_until): (Vec<u64>, u64) = (Vec::new(), 0);
            for step in steps {
                now += step;
                let expected = if now < blocked_until {
                    Passage::StillBlocked(Duration::from_millis(blocked_until - now))
                } else if admitted.iter().filter(|then| now - **then < window).count() < attempts as usize {
                    admitted.push(now);
                    Passage::Admitted
                } else {
                    admitted.clear();
                    blocked_until = now + block;
                    Passage::Blocked(Duration::from_millis(block))
                };
                prop_assert_eq!(state.attempt(&rule, Tick::from_millis(now)), expected);
                prop_assert!(state.recent.len() <= attempts as usize);
            }
        }

        /// The wait that is told is exact: a moment earlier there is no room yet.
        #[test]
        fn without_a_pause_whoever_tries_more_waits_until_there_is_room(
            attempts in 1_u32..6, window in 1_u64..50, steps in prop::collection::vec(0_u64..20, 0..200),
        ) {
            let rule = WindowRule::sliding(attempts, Duration::from_millis(window));
            let (mut state, mut now, mut admitted) = (Window::default(), 0, Vec::<u64>::new());
            for step in steps {
                now += step;
                let recent: Vec<u64> = admitted.iter().copied().filter(|then| now - then < window).collect();
                let expected = if recent.len() < attempts as usize {
                    admitted.push(now);
                    Passage::Admitted
                } else {
                    Passage::Blocked(Duration::from_millis(recent[0] + window - now))
                };
                prop_assert_eq!(state.attempt(&rule, Tick::from_millis(now)), expected);
            }
        }

        #[test]
        fn forgetting_a_blank_window_changes_nothing(steps in prop::collection::vec(0_u64..40_000, 1..60)) {
            let rule = WindowRule::new(3, Duration::from_mins(1), Duration::from_mins(2));
            let (mut kept, mut forgotten, mut now) = (Window::default(), Window::default(), 0);
            for step in steps {
                now += step;
                let tick = Tick::from_millis(now);
                if forgotten.is_blank(&rule, tick) {
                    forgotten = Window::default();
                }
                let blank = kept.is_blank(&rule, tick);
                prop_assert_eq!(blank, kept.blank_from(&rule) <= tick);
                prop_assert_eq!(kept.attempt(&rule, tick), forgotten.attempt(&rule, tick));
            }
        }

        /// Written down and read back between any two attempts, it decides the same.
        #[test]
        fn a_window_that_is_resumed_goes_on_as_if_it_had_never_been_put_away(steps in prop::collection::vec(0_u64..40_000, 1..60)) {
            let rule = WindowRule::new(3, Duration::from_mins(1), Duration::from_mins(2));
            let (mut kept, mut resumed, mut now) = (Window::default(), Window::default(), 0);
            for step in steps {
                now += step;
                let tick = Tick::from_millis(now);
                let recent: Vec<_> = resumed.recent().collect();
                resumed = Window::resumed(&rule, &recent, resumed.blocked_until(), tick);
                prop_assert_eq!(kept.attempt(&rule, tick), resumed.attempt(&rule, tick));
            }
        }
    }
}
