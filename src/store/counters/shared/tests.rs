use std::cell::{Cell, RefCell};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use super::*;
use crate::model::Tick;
use crate::rules::gcra::Tat;
use crate::store::valkey::tests::{connect, runtime, servers};

/// A clock that the test sets. Nothing expires by the real one meanwhile.
const SET_BY_HAND: &str = "local now, slack = tonumber(redis.call('GET', 'clock')), 3600000 ";

struct Real {
    runtime: Runtime,
    server: servers::Valkey,
    counters: SharedCounters,
}

impl Real {
    fn start(clock: &str) -> Option<Self> {
        let (runtime, server) = (runtime(), servers::Valkey::start()?);
        let valkey = runtime.block_on(connect(&server));
        Some(Self { runtime, server, counters: SharedCounters::by(clock, valkey) })
    }

    fn take(&self, caller: &str, quota: &Quota) -> Verdict {
        self.runtime.block_on(self.counters.take(caller, quota)).unwrap()
    }

    fn give_back(&self, caller: &str, quota: &Quota) {
        self.runtime.block_on(self.counters.give_back(caller, quota)).unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take,
    GiveBack,
}

/// Two quotas, as a route of another price or a changed configuration has them, and which of them each step is under, when.
fn histories() -> impl Strategy<Value = ([Quota; 2], Vec<(Step, bool, i64)>)> {
    let quota = || {
        let per = prop_oneof![1_u64..5_000, Just(86_400_000)];
        (1_u32..100, per, 1_u32..30, 1_u32..6)
            .prop_map(|(units, per, burst, cost)| Quota::new(units, Duration::from_millis(per), burst.max(cost), cost))
    };
    let step = prop_oneof![4 => Just(Step::Take), 1 => Just(Step::GiveBack)];
    // The clock of a server is set back now and then, or is that of another server.
    let time = prop_oneof![6 => 0_i64..50, 3 => 0_i64..3_000, 1 => -2_000_i64..100_000_000];
    let steps = prop::collection::vec((step, prop::bool::weighted(0.1), time), 1..80);
    ([quota(), quota()], steps)
}

#[test]
fn the_script_decides_as_the_rule_does_over_thousands_of_steps() {
    let Some(real) = Real::start(SET_BY_HAND) else { return };
    let link = RefCell::new(real.server.connection());
    let set = |words: &[&str]| {
        let mut command = redis::Cmd::new();
        command.arg(words).exec(&mut *link.borrow_mut()).unwrap();
    };
    let mut config = ProptestConfig::with_cases(200);
    config.failure_persistence = None;
    let (caller, taken) = ("caller", Cell::new(0_usize));
    TestRunner::new(config)
        .run(&histories(), |(quotas, steps)| {
            set(&["DEL", caller]);
            let (mut tat, mut now) = (Tat::default(), 1_795_000_000_000_i64);
            for (step, other, time) in steps {
                now += time;
                set(&["SET", "clock", &(now * 1000).to_string()]);
                let (quota, tick) = (&quotas[usize::from(other)], Tick::from_millis(now.unsigned_abs()));
                match step {
                    Step::Take => {
                        let verdict = quota.decide(tat, tick);
                        prop_assert_eq!(real.take(caller, quota), verdict);
                        tat = match verdict {
                            Verdict::Admitted { tat, .. } => tat,
                            Verdict::Refused { .. } => quota.at_most(tat, tick),
                        };
                        taken.set(taken.get() + 1);
                    }
                    Step::GiveBack => {
                        real.give_back(caller, quota);
                        tat = quota.give_back(tat);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(taken.get() > 2_000, "{taken:?}");
}

#[test]
fn the_largest_numbers_are_as_exact_there_as_here() {
    let Some(real) = Real::start(SET_BY_HAND) else { return };
    let mut link = real.server.connection();
    let quota = Quota::new(1, Duration::from_hours(24), 31, 31);
    let year_2255 = (1_u64 << 53) - 31 * 86_400_000_000 - 1;
    redis::cmd("SET").arg("clock").arg(year_2255).exec(&mut link).unwrap();
    assert!(matches!(real.take("last", &quota), Verdict::Admitted { left: 0, .. }));
    let kept: u64 = redis::cmd("GET").arg("last").query(&mut link).unwrap();
    assert_eq!(kept, (1 << 53) - 1);
    real.give_back("last", &quota);
    assert!(!redis::cmd("EXISTS").arg("last").query::<bool>(&mut link).unwrap());
}

#[test]
fn a_clock_that_is_set_back_costs_a_caller_no_more_than_the_whole_quota() {
    let Some(real) = Real::start(SET_BY_HAND) else { return };
    let mut link = real.server.connection();
    let mut set = |millis: u64| redis::cmd("SET").arg("clock").arg(millis * 1_000).exec(&mut link).unwrap();
    let (quota, start) = (Quota::new(1, Duration::from_mins(1), 10, 1), 1_795_000_000_000);
    set(start);
    assert!(matches!(real.take("caller", &quota), Verdict::Admitted { left: 9, .. }));
    let back = start - 86_400_000;
    for second in 0..60 {
        set(back + second * 1_000);
        let wait = Duration::from_secs(60 - second);
        assert_eq!(real.take("caller", &quota), Verdict::Refused { left: 0, wait });
    }
    set(back + 60_000);
    assert!(matches!(real.take("caller", &quota), Verdict::Admitted { left: 0, .. }));
    set(back + 600_000);
    assert!(matches!(real.take("caller", &quota), Verdict::Admitted { left: 8, .. }));
}

#[test]
fn a_caller_is_kept_until_it_is_at_rest_by_the_servers_clock() {
    let Some(real) = Real::start(CLOCK) else { return };
    let mut link = real.server.connection();
    let mut kept_for = || redis::cmd("PTTL").arg("caller").query::<u64>(&mut link).unwrap();
    let quota = Quota::new(1, Duration::from_mins(10), 2, 1);
    assert!(matches!(real.take("caller", &quota), Verdict::Admitted { left: 1, .. }));
    assert!((1..=600_002).contains(&kept_for()));
    assert!(matches!(real.take("caller", &quota), Verdict::Admitted { left: 0, .. }));
    assert!((600_000..=1_200_002).contains(&kept_for()));
    let Verdict::Refused { left: 0, wait } = real.take("caller", &quota) else { panic!("three were admitted") };
    assert!(wait <= Duration::from_mins(10), "{wait:?}");
    real.give_back("caller", &quota);
    assert!((1..=600_002).contains(&kept_for()));
    assert!(matches!(real.take("caller", &quota), Verdict::Admitted { left: 0, .. }));
}

#[test]
fn requests_at_the_same_moment_at_two_gateways_pass_no_more_often_than_one_after_the_other() {
    let Some(real) = Real::start(CLOCK) else { return };
    let other = SharedCounters::new(real.runtime.block_on(connect(&real.server)));
    let quota = Quota::new(100, Duration::from_hours(1), 100, 1);
    let passed = real.runtime.block_on(async {
        let ask = |index: usize| {
            let counters = if index.is_multiple_of(2) { real.counters.clone() } else { other.clone() };
            tokio::spawn(async move { matches!(counters.take("ada", &quota).await, Ok(Verdict::Admitted { .. })) })
        };
        let asked: Vec<_> = (0..400).map(ask).collect();
        let mut passed = 0;
        for asked in asked {
            passed += usize::from(asked.await.unwrap());
        }
        passed
    });
    assert_eq!(passed, 100);
}
