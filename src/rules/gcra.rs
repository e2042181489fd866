//! A quota that refills evenly: the generic cell rate algorithm (ITU-T I.371), a pure state machine, one number per caller.
//!
//! Imports nothing but instants. Deliberately absent: clocks, tables and what a request costs; `store::counters` and `flow` have
//! those. All of it is integer arithmetic in microseconds that stays below 2^53 until the year 2255 of whichever clock is
//! passed in, so that the same sums come out where numbers are doubles (Lua).
//!
//! What is remembered is the *theoretical arrival time* (TAT): when the caller's quota will be whole again. So a caller at rest
//! is the same as one that was never seen, and may be forgotten.

use std::time::Duration;

use crate::model::Tick;

/// So many units evenly spread over a time, of which so many may be spent at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Microseconds in which one unit comes back, at least 1.
    interval: u64,
    /// Units that there are when none is spent, at least 1.
    burst: u64,
    /// Units that one request spends, at least 1.
    cost: u64,
}

/// When a caller's quota will be whole again, in microseconds of the clock that decides; in the past for a caller at rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tat(u64);

/// Whether a request may go on, and how the caller stands then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may.
    Admitted {
        /// What to remember of the caller now.
        tat: Tat,
        /// Units that it has left.
        left: u64,
        /// Until it has all of them again, if nothing further is spent.
        whole_after: Duration,
    },
    /// It may not, and nothing is spent.
    Refused {
        /// Units that it has left, too few.
        left: u64,
        /// Until it may; a microsecond earlier it may not.
        wait: Duration,
    },
}

impl Quota {
    /// The longest time in which a quota may become whole, 31 days.
    pub const LONGEST: Duration = Duration::from_hours(31 * 24);
    /// The shortest time in which a unit may come back; below it the rounding of [`Quota::new`] would be felt.
    pub const SHORTEST_INTERVAL: Duration = Duration::from_micros(10);

    /// `units` in each `per`, `burst` of them at once, `cost` of them for one request; each at least 1. The time of a unit is
    /// rounded up to whole microseconds: never more is admitted than is said, and less by that rounding only.
    #[must_use]
    pub fn new(units: u32, per: Duration, burst: u32, cost: u32) -> Self {
        let per = u64::try_from(per.as_micros()).unwrap_or(u64::MAX);
        Self {
            interval: per.div_ceil(u64::from(units.max(1))).max(1),
            burst: u64::from(burst.max(1)),
            cost: u64::from(cost.max(1)),
        }
    }

    /// The same quota, from which one request spends so many units, at least 1.
    #[must_use]
    pub fn costing(self, cost: u32) -> Self {
        Self { cost: u64::from(cost.max(1)), ..self }
    }

    /// Units that there are when none is spent.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Units that one request spends.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// How long what one request spends takes to come back.
    #[must_use]
    pub fn price(&self) -> Duration {
        Duration::from_micros(self.toll())
    }

    /// How long a quota that is spent takes to become whole.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_micros(self.interval.saturating_mul(self.burst))
    }

    /// What one of so many gateways may admit by itself while none knows what the others admit: its part of the rate, and of the
    /// burst, rounded down. `None` if that is less than one request costs.
    #[must_use]
    pub fn share(&self, gateways: u32) -> Option<Self> {
        let gateways = u64::from(gateways.max(1));
        let burst = self.burst / gateways;
        (burst >= self.cost).then(|| Self { interval: self.interval.saturating_mul(gateways), burst, cost: self.cost })
    }

    /// Decides about one request of a caller. A clock that was set back, and a quota that was larger before, cost a caller no
    /// more than the whole of this one.
    #[must_use]
    pub fn decide(&self, remembered: Tat, now: Tick) -> Verdict {
        let now = micros(now);
        let tolerance = self.interval.saturating_mul(self.burst);
        let spent = remembered.0.saturating_sub(now).min(tolerance);
        let after = spent.saturating_add(self.toll());
        if after > tolerance {
            let wait = Duration::from_micros(after - tolerance);
            return Verdict::Refused { left: self.left(tolerance, spent), wait };
        }
        Verdict::Admitted {
            tat: Tat(now.saturating_add(after)),
            left: self.left(tolerance, after),
            whole_after: Duration::from_micros(after),
        }
    }

    /// What to remember of a caller who was refused, where the clock may be set back: as much as it had spent, and no more than
    /// the whole of this quota.
    #[must_use]
    pub fn at_most(&self, remembered: Tat, now: Tick) -> Tat {
        let tolerance = self.interval.saturating_mul(self.burst);
        remembered.min(Tat(micros(now).saturating_add(tolerance)))
    }

    /// What was decided by the same rule where the caller is remembered: `outcome` is how many microseconds the quota takes to
    /// become whole if the request may go on, and how many are missing, negated, if it may not; `now` is that place's clock.
    #[must_use]
    pub fn decided(&self, outcome: i64, now: u64) -> Verdict {
        let (tolerance, micros) = (self.interval.saturating_mul(self.burst), outcome.unsigned_abs());
        if outcome < 0 {
            let spent = tolerance.saturating_add(micros).saturating_sub(self.toll());
            return Verdict::Refused { left: self.left(tolerance, spent), wait: Duration::from_micros(micros) };
        }
        Verdict::Admitted {
            tat: Tat(now.saturating_add(micros)),
            left: self.left(tolerance, micros),
            whole_after: Duration::from_micros(micros),
        }
    }

    /// What to remember of a caller whose latest request did not count after all.
    #[must_use]
    pub fn give_back(&self, remembered: Tat) -> Tat {
        Tat(remembered.0.saturating_sub(self.toll()))
    }

    fn toll(&self) -> u64 {
        self.interval.saturating_mul(self.cost)
    }

    fn left(&self, tolerance: u64, spent: u64) -> u64 {
        tolerance.saturating_sub(spent) / self.interval.max(1)
    }
}

impl Tat {
    /// Whether the caller is at rest, and forgetting it changes nothing.
    #[must_use]
    pub fn is_at_rest(self, now: Tick) -> bool {
        self.0 <= micros(now)
    }
}

fn micros(tick: Tick) -> u64 {
    tick.as_millis().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn spend(quota: &Quota, tat: &mut Tat, now: Tick) -> bool {
        match quota.decide(*tat, now) {
            Verdict::Admitted { tat: next, .. } => {
                *tat = next;
                true
            }
            Verdict::Refused { .. } => false,
        }
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_for_each_interval() {
        let quota = Quota::new(6, Duration::from_mins(1), 3, 1);
        let (mut tat, start) = (Tat::default(), at(5));
        for (left, whole) in [(2, 10), (1, 20), (0, 30)] {
            let verdict = quota.decide(tat, start);
            let whole_after = Duration::from_secs(whole);
            let Verdict::Admitted { tat: next, .. } = verdict else { panic!("{verdict:?}") };
            assert_eq!(verdict, Verdict::Admitted { tat: next, left, whole_after });
            tat = next;
        }
        assert_eq!(quota.decide(tat, start), Verdict::Refused { left: 0, wait: Duration::from_secs(10) });
        assert_eq!(quota.decide(tat, at(10_004)), Verdict::Refused { left: 0, wait: Duration::from_millis(1) });
        assert!(spend(&quota, &mut tat, at(10_005)));
        assert!(!spend(&quota, &mut tat, at(10_005)));
        assert!(!tat.is_at_rest(at(40_004)) && tat.is_at_rest(at(40_005)));
    }

    #[test]
    fn a_dear_request_waits_until_there_is_enough_of_it() {
        let quota = Quota::new(1, Duration::from_secs(1), 10, 4);
        let mut tat = Tat::default();
        assert!(spend(&quota, &mut tat, at(0)) && spend(&quota, &mut tat, at(0)));
        assert_eq!(quota.decide(tat, at(0)), Verdict::Refused { left: 2, wait: Duration::from_secs(2) });
    }

    #[test]
    fn a_rate_that_does_not_divide_is_rounded_to_the_slower_side() {
        let quota = Quota::new(7, Duration::from_secs(1), 7, 1);
        assert_eq!(quota.window(), Duration::from_micros(7 * 142_858));
    }

    #[test]
    fn the_largest_numbers_stay_exact_in_a_double() {
        let quota = Quota::new(1, Duration::from_hours(24), 31, 31);
        assert_eq!(quota.window(), Quota::LONGEST);
        let year_2255 = at((1 << 53) / 1000 - 31 * 86_400_000);
        let Verdict::Admitted { tat, .. } = quota.decide(Tat::default(), year_2255) else { panic!("a whole quota is refused") };
        assert!(tat.0 <= 1 << 53);
    }

    #[test]
    fn a_share_is_never_more_than_its_part_and_none_if_nothing_could_be_paid_with_it() {
        let quota = Quota::new(7, Duration::from_mins(1), 5, 2);
        let share = quota.share(2).unwrap();
        assert_eq!((share.burst, share.cost, share.interval), (2, 2, quota.interval * 2));
        assert_eq!((quota.share(0), quota.share(1)), (Some(quota), Some(quota)));
        assert_eq!(quota.share(3), None, "a burst of one does not pay a request of two");
    }

    #[test]
    fn a_clock_that_is_set_back_costs_no_more_than_the_whole_quota() {
        let quota = Quota::new(1, Duration::from_secs(1), 3, 1);
        let mut tat = Tat::default();
        assert!(spend(&quota, &mut tat, at(3_600_000)));
        assert_eq!(quota.decide(tat, at(0)), Verdict::Refused { left: 0, wait: Duration::from_secs(1) });
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_admits_more_than_the_burst_and_what_came_back_in_it(
            units in 1_u32..50, per in 1_u64..5000, burst in 1_u32..20, cost in 1_u32..5,
            steps in prop::collection::vec(0_u64..400, 1..150),
        ) {
            let burst = burst.max(cost);
            let quota = Quota::new(units, Duration::from_millis(per), burst, cost);
            let (mut tat, mut now, mut admitted) = (Tat::default(), 0, Vec::new());
            for step in steps {
                now += step;
                if spend(&quota, &mut tat, at(now)) {
                    admitted.push(now);
                }
            }
            for (first, start) in admitted.iter().enumerate() {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let spent = (last - first + 1) as u64 * u64::from(cost);
                    // In whole numbers: spent <= burst + (end - start) * units / per.
                    prop_assert!(spent * per <= u64::from(burst) * per + (end - start) * u64::from(units));
                }
            }
        }

        #[test]
        fn who_waits_as_long_as_is_said_is_admitted_and_who_comes_earlier_is_not(
            units in 1_u32..50, per in 1_u64..5000, burst in 1_u32..20, cost in 1_u32..5,
            steps in prop::collection::vec(0_u64..50, 1..80),
        ) {
            let quota = Quota::new(units, Duration::from_millis(per), burst.max(cost), cost);
            let (mut tat, mut now) = (Tat::default(), 0);
            for step in steps {
                now += step;
                if let Verdict::Refused { wait, left } = quota.decide(tat, at(now)) {
                    prop_assert!(left < u64::from(cost));
                    let whole = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap();
                    prop_assert!(whole > 0);
                    let admitted = matches!(quota.decide(tat, at(now + whole)), Verdict::Admitted { .. });
                    let earlier = matches!(quota.decide(tat, at(now + whole - 1)), Verdict::Admitted { .. });
                    prop_assert!(admitted && !earlier);
                }
                spend(&quota, &mut tat, at(now));
            }
        }

        #[test]
        fn after_its_window_of_rest_the_whole_burst_passes_again(
            units in 1_u32..50, per in 1_u64..5000, burst in 1_u32..20, tries in 0_usize..60,
        ) {
            let quota = Quota::new(units, Duration::from_millis(per), burst, 1);
            let mut tat = Tat::default();
            for _ in 0..tries {
                spend(&quota, &mut tat, at(1));
            }
            let rested = at(2 + u64::try_from(quota.window().as_millis()).unwrap());
            prop_assert!(tat.is_at_rest(rested));
            for _ in 0..burst {
                prop_assert!(spend(&quota, &mut tat, rested));
            }
            prop_assert!(!spend(&quota, &mut tat, rested));
        }

        #[test]
        fn forgetting_a_caller_at_rest_changes_nothing(steps in prop::collection::vec(0_u64..4000, 1..80)) {
            let quota = Quota::new(3, Duration::from_secs(2), 4, 1);
            let (mut kept, mut forgotten, mut now) = (Tat::default(), Tat::default(), 0);
            for step in steps {
                now += step;
                if forgotten.is_at_rest(at(now)) {
                    forgotten = Tat::default();
                }
                prop_assert_eq!(spend(&quota, &mut kept, at(now)), spend(&quota, &mut forgotten, at(now)));
            }
        }

        #[test]
        fn what_is_given_back_can_be_spent_again(spends in 0_usize..5) {
            let quota = Quota::new(1, Duration::from_secs(1), 5, 1);
            let mut tat = Tat::default();
            for _ in 0..spends {
                prop_assert!(spend(&quota, &mut tat, at(7)));
            }
            let Verdict::Admitted { tat: once, .. } = quota.decide(tat, at(7)) else { return Ok(()) };
            prop_assert_eq!(quota.decide(quota.give_back(once), at(7)), quota.decide(tat, at(7)));
        }
    }
}
