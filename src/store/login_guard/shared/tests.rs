use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use redis::Connection;
use tokio::runtime::Runtime;

use super::*;
use crate::model::{CountedBy, NonEmpty, Now, Source, SourceKey, Tick, Timestamp};
use crate::rules::lockout::LockRule;
use crate::rules::login_budget::{Budget, BudgetRule, FailureWindow};
use crate::store::login_guard::table::{Caller, Reservation, Table};
use crate::store::valkey::Names;
use crate::store::valkey::tests::{connect, runtime, servers};

/// What the clocks of these tests begin with: so large that instants need as many digits as real ones.
const START: u64 = 1_700_000_000_000;

/// A guard in the store that nobody else uses, and a clock that is set by hand.
struct World {
    connection: Connection,
    names: Names,
    terms: GuardTerms,
    asking: Asking,
    now: u64,
    attempts: u64,
}

impl World {
    fn new(by: &[CountedBy], rule: BudgetRule, lease: Duration) -> Option<Self> {
        static GUARDS: AtomicU64 = AtomicU64::new(0);
        let name = format!("guard{}", GUARDS.fetch_add(1, Ordering::Relaxed));
        let connection = store()?.server.connection();
        Some(Self {
            connection,
            names: store()?.valkey.names().clone(),
            terms: GuardTerms { name: name.into(), by: NonEmpty::new(by.to_vec()).unwrap(), rule },
            asking: Asking::new(lease, 1_000_000),
            now: START,
            attempts: 0,
        })
    }

    fn places(&self, account: &str, from: u8) -> Places {
        Places::of_attempt(&self.names, &self.terms, caller(account, from))
    }

    fn ask(&mut self, places: &Places, id: AttemptId, question: Question) -> Said {
        let invocation = self.asking.invocation(&self.terms, places, id, Some(self.now), question);
        let numbers: Vec<i64> = invocation.invoke(&mut self.connection).unwrap();
        Said::read(&numbers).unwrap()
    }

    fn begin(&mut self, places: &Places) -> (AttemptId, Said) {
        self.attempts += 1;
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.attempts.to_be_bytes());
        (id, self.ask(places, id, Question::Begin))
    }

    fn settle(&mut self, places: &Places, id: AttemptId, ending: Ending, acquainted: bool) -> Said {
        self.ask(places, id, Question::Settle { ending, acquainted })
    }

    /// An attempt that is admitted, and how it ends.
    fn attempt(&mut self, account: &str, from: u8, ending: Ending) -> Said {
        let places = self.places(account, from);
        let (id, said) = self.begin(&places);
        assert!(said.refusal().is_none(), "{said:?}");
        self.settle(&places, id, ending, said.acquainted)
    }

    fn refusal(&mut self, account: &str, from: u8) -> Option<Refusal> {
        let places = self.places(account, from);
        let (id, said) = self.begin(&places);
        if said.refusal().is_none() {
            self.settle(&places, id, Ending::Abandoned, said.acquainted);
        }
        said.refusal()
    }

    fn command<T: redis::FromRedisValue>(&mut self, name: &str, arguments: &[&str]) -> T {
        redis::cmd(name).arg(arguments).query(&mut self.connection).unwrap()
    }

    fn tick(&self) -> Tick {
        Tick::from_millis(self.now)
    }
}

/// A server and a store on it, for all tests of this file. `None` where there is no server.
fn store() -> Option<&'static Store> {
    static STORE: OnceLock<Option<Store>> = OnceLock::new();
    let start = || {
        let server = servers::Valkey::start()?;
        let runtime = runtime();
        let valkey = runtime.block_on(connect(&server));
        Some(Store { server, valkey, _runtime: runtime })
    };
    STORE.get_or_init(start).as_ref()
}

struct Store {
    server: servers::Valkey,
    valkey: Valkey,
    _runtime: Runtime,
}

fn source(number: u8) -> SourceKey {
    Source::new(Ipv4Addr::new(10, 0, 0, number).into()).key()
}

fn caller(account: &str, from: u8) -> Caller {
    let mut hash = [0; 32];
    hash[..account.len()].copy_from_slice(account.as_bytes());
    Caller { account: hash, source: source(from), client: Some(hash) }
}

fn locking() -> BudgetRule {
    BudgetRule { lock: Some(LockRule::new(5, Duration::from_mins(30))), window: None }
}

const MINUTE: Duration = Duration::from_mins(1);

/// Settlements that a counter remembers.
const REMEMBERED: usize = 32;

#[test]
fn the_fifth_failure_locks_and_the_lock_ends_to_the_millisecond() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    for failure in 1..=5 {
        assert_eq!(world.attempt("ann", failure, Ending::Failed).locks(), failure == 5);
    }
    world.now += 1_000;
    let left = Duration::from_secs(1_799);
    assert_eq!(world.refusal("ann", 1), Some(Refusal::Answer(Answer::Locked(left))));
    assert_eq!(world.refusal("bob", 1), None);
    world.now += 1_798_999;
    assert_eq!(world.refusal("ann", 9), Some(Refusal::Answer(Answer::Locked(Duration::from_millis(1)))));
    world.now += 1;
    assert_eq!(world.refusal("ann", 9), None);
}

#[test]
fn the_servers_own_clock_is_used_unless_one_is_given() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    let places = world.places("ann", 1);
    for number in 0..6_u8 {
        for question in [Question::Begin, Question::Settle { ending: Ending::Failed, acquainted: false }] {
            let invocation = world.asking.invocation(&world.terms, &places, [number; 12], None, question);
            let numbers: Vec<i64> = invocation.invoke(&mut world.connection).unwrap();
            let said = Said::read(&numbers).unwrap();
            if number == 5 && matches!(question, Question::Begin) {
                let Some(Refusal::Answer(Answer::Locked(left))) = said.refusal() else { panic!("{said:?}") };
                assert!(left <= Duration::from_mins(30) && left > Duration::from_mins(20), "{left:?}");
            }
        }
    }
}

#[test]
fn whoever_only_asks_is_told_of_locks_and_not_of_what_is_in_flight_and_leaves_no_trace() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    let places = world.places("ann", 1);
    let asked = |world: &mut World| world.ask(&places, [0; 12], Question::Consult).refusal();
    assert_eq!(asked(&mut world), None);
    let held: Vec<AttemptId> = (0..5).map(|_| world.begin(&places).0).collect();
    assert_eq!(asked(&mut world), None);
    for id in held {
        world.settle(&places, id, Ending::Failed, false);
    }
    assert_eq!(asked(&mut world), Some(Refusal::Answer(Answer::Locked(Duration::from_mins(30)))));
    world.now += 1_800_000;
    assert_eq!(asked(&mut world), None);
    assert_eq!(world.refusal("ann", 1), None);
}

#[test]
fn a_reservation_whose_holder_is_gone_ends_with_its_lease() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    let places = world.places("ann", 1);
    let held: Vec<AttemptId> = (0..5).map(|_| world.begin(&places).0).collect();
    assert_eq!(world.refusal("ann", 1), Some(Refusal::Answer(Answer::Busy)));
    world.now += 59_999;
    assert_eq!(world.refusal("ann", 1), Some(Refusal::Answer(Answer::Busy)));
    world.now += 1;
    assert_eq!(world.refusal("ann", 1), None);
    for (number, id) in held.into_iter().enumerate() {
        let late = world.settle(&places, id, Ending::Failed, false);
        assert_eq!(late.locks(), number == 4, "who lived all the same still counts");
    }
}

/// An attempt at an account that was locked since its lease ended.
fn locked_meanwhile() -> Option<(World, Places, AttemptId)> {
    let mut world = World::new(&[CountedBy::Account], locking(), MINUTE)?;
    let places = world.places("ann", 1);
    let (late, _) = world.begin(&places);
    world.now += 60_000;
    for _ in 0..5 {
        world.attempt("ann", 2, Ending::Failed);
    }
    Some((world, places, late))
}

#[test]
fn a_failure_that_comes_during_a_lock_leaves_its_end_as_it_is() {
    let Some((mut world, places, late)) = locked_meanwhile() else { return };
    world.now += 1_000;
    assert!(world.settle(&places, late, Ending::Failed, false).locks());
    let left = Duration::from_secs(1_799);
    assert_eq!(world.refusal("ann", 1), Some(Refusal::Answer(Answer::Locked(left))));
}

#[test]
fn a_settlement_that_is_told_twice_counts_once() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    let places = world.places("ann", 1);
    let ids: Vec<AttemptId> = (0..4).map(|_| world.begin(&places).0).collect();
    for _ in 0..3 {
        for id in &ids {
            assert!(!world.settle(&places, *id, Ending::Failed, false).locks());
        }
        world.now += 70_000;
    }
    assert_eq!(world.refusal("ann", 1), None);
}

#[test]
fn a_success_that_is_told_twice_leaves_what_others_have_failed_in_between() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    let places = world.places("ann", 1);
    let (id, _) = world.begin(&places);
    world.settle(&places, id, Ending::Succeeded, false);
    for _ in 0..4 {
        world.attempt("ann", 2, Ending::Failed);
    }
    world.now += 59_999;
    assert_eq!(world.settle(&places, id, Ending::Succeeded, false).counters[0].failed, 4);
    assert!(world.attempt("ann", 2, Ending::Failed).locks());
}

#[test]
fn a_success_that_comes_during_a_lock_leaves_it_to_be_seen_as_it_is() {
    let Some((mut world, places, late)) = locked_meanwhile() else { return };
    let said = world.settle(&places, late, Ending::Succeeded, false);
    assert!(said.locks());
    assert_eq!((said.counters[0].failed, said.counters[0].lock_left), (5, Some(Duration::from_mins(30))));
    assert_eq!(world.refusal("ann", 2), Some(Refusal::Answer(Answer::Locked(Duration::from_mins(30)))));
    let Caller { account, .. } = caller("ann", 1);
    let counter = CounterName { account: Some(account), source: None, client: None, acquainted: false };
    let all = Places::of(&world.names, &world.terms, &[counter]);
    assert_eq!(world.ask(&all, [0; 12], Question::Show).counters, said.counters);
}

#[test]
fn a_failure_that_comes_after_a_lock_is_the_first_of_new_ones() {
    let Some((mut world, places, late)) = locked_meanwhile() else { return };
    world.now += 1_800_000;
    let said = world.settle(&places, late, Ending::Failed, false);
    assert_eq!((said.locks(), said.counters[0].failed), (false, 1));
}

#[test]
fn a_flood_of_names_fills_the_room_of_its_guard_and_forgets_no_lock() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    world.asking.room = 50;
    for _ in 0..5 {
        world.attempt("ann", 1, Ending::Failed);
    }
    for number in 0..49 {
        world.attempt(&format!("nobody{number}"), 1, Ending::Failed);
    }
    assert_eq!(world.refusal("newcomer", 1), Some(Refusal::Full));
    assert!(matches!(world.refusal("ann", 1), Some(Refusal::Answer(Answer::Locked(_)))));
    world.now += 3_600_000;
    assert_eq!(world.refusal("newcomer", 1), None, "what counts nothing any more makes room");
}

#[test]
fn an_account_knows_only_so_many_sources_and_forgets_the_oldest() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    for from in 0..=u8::try_from(KNOWS).unwrap() {
        world.now += 1;
        world.attempt("ann", from, Ending::Succeeded);
    }
    let known = |world: &mut World, from| {
        let places = world.places("ann", from);
        let (id, said) = world.begin(&places);
        world.settle(&places, id, Ending::Abandoned, said.acquainted);
        said.acquainted
    };
    assert!(!known(&mut world, 0));
    assert!(known(&mut world, 1));
    assert!(known(&mut world, 64));
}

#[test]
fn what_means_nothing_is_gone_and_what_means_something_goes_by_itself() {
    let by = [CountedBy::Account, CountedBy::AccountAndSource, CountedBy::Source];
    let window = Some(FailureWindow { attempts: 3, within: MINUTE, count_success: false });
    let Some(mut world) = World::new(&by, BudgetRule { window, ..locking() }, MINUTE) else { return };
    world.attempt("ann", 1, Ending::Abandoned);
    let pattern = format!("test:{{login:{}}}:*", world.terms.name);
    assert_eq!(world.command::<Vec<String>>("KEYS", &[&pattern]), Vec::<String>::new());
    world.attempt("ann", 1, Ending::Succeeded);
    let keys: Vec<String> = world.command("KEYS", &[&pattern]);
    assert_eq!(keys.len(), 4, "the sources that ann knows, two counters that were told, and the index of counters");
    world.now += 60_000;
    for from in [1, 3] {
        world.attempt("ann", from, Ending::Abandoned);
    }
    let keys: Vec<String> = world.command("KEYS", &[&pattern]);
    assert_eq!(keys.len(), 1, "the sources that ann knows: what was told is remembered for a lease");
    world.attempt("ann", 2, Ending::Failed);
    let keys: Vec<String> = world.command("KEYS", &[&pattern]);
    assert_eq!(keys.len(), 5, "that, three counters, and the index of counters");
    for key in keys {
        let lasts: i64 = world.command("PTTL", &[&key]);
        let longest = if key == world.places("ann", 1).keys[3] { ACQUAINTED } else { Duration::from_hours(1) };
        assert!(lasts > 0 && lasts <= i64::try_from((longest + MINUTE).as_millis()).unwrap(), "{key}: {lasts}");
    }
}

/// By how much the clock of the server is set back in these tests.
const DAY: u64 = 86_400_000;

#[test]
fn a_clock_that_is_set_back_prolongs_no_lock_whoever_looks() {
    for question in [Question::Begin, Question::Consult, Question::Show] {
        let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
        for _ in 0..5 {
            world.attempt("ann", 1, Ending::Failed);
        }
        let Caller { account, .. } = caller("ann", 1);
        let counter = CounterName { account: Some(account), source: None, client: None, acquainted: false };
        let places = match question {
            Question::Begin | Question::Consult => world.places("ann", 1),
            Question::Show | Question::Pardon | Question::Settle { .. } => Places::of(&world.names, &world.terms, &[counter]),
        };
        world.now -= DAY;
        for minute in 0..30 {
            let left = Some(Duration::from_mins(30 - minute));
            assert_eq!(world.ask(&places, [0; 12], question).counters[0].lock_left, left, "{question:?}");
            let listed: Vec<(Vec<u8>, u64)> = world.command("ZRANGE", &[places.locks(), "0", "-1", "WITHSCORES"]);
            assert_eq!(listed.iter().map(|(_, end)| *end).collect::<Vec<_>>(), [START - DAY + 1_800_000]);
            world.now += 60_000;
        }
        assert_eq!(world.refusal("ann", 1), None, "{question:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_prolongs_no_window_no_failures_and_no_lease() {
    let window = Some(FailureWindow { attempts: 3, within: MINUTE, count_success: false });
    let Some(mut world) = World::new(&[CountedBy::Account], BudgetRule { lock: None, window }, MINUTE) else { return };
    for _ in 0..3 {
        world.attempt("ann", 1, Ending::Failed);
    }
    world.now -= DAY;
    assert_eq!(world.refusal("ann", 1), Some(Refusal::Answer(Answer::Spent(MINUTE))));
    world.now += 59_999;
    assert_eq!(world.refusal("ann", 1), Some(Refusal::Answer(Answer::Spent(Duration::from_millis(1)))));
    world.now += 1;
    assert_eq!(world.refusal("ann", 1), None);

    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    let (ann, bob) = (world.places("ann", 1), world.places("bob", 1));
    for _ in 0..4 {
        world.attempt("ann", 1, Ending::Failed);
    }
    for _ in 0..5 {
        world.begin(&bob);
    }
    world.now -= DAY;
    assert_eq!(world.ask(&ann, [0; 12], Question::Consult).counters[0].failed, 4);
    assert_eq!(world.refusal("bob", 1), Some(Refusal::Answer(Answer::Busy)));
    world.now += 60_000;
    assert_eq!(world.refusal("bob", 1), None);
    world.now += 3_540_000;
    assert!(!world.attempt("ann", 1, Ending::Failed).locks());
}

#[test]
fn a_clock_that_is_set_back_has_an_account_know_a_source_no_longer_and_newcomers_no_less() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    let known = |world: &mut World, from| {
        let places = world.places("ann", from);
        world.ask(&places, [0; 12], Question::Consult).acquainted
    };
    for from in 0..u8::try_from(KNOWS).unwrap() {
        world.now += 1;
        world.attempt("ann", from, Ending::Succeeded);
    }
    world.now -= DAY;
    world.attempt("ann", 100, Ending::Succeeded);
    assert!(known(&mut world, 100));
    assert!(!known(&mut world, 0), "where it succeeded longest ago");
    assert!(known(&mut world, 1));
    world.now += u64::try_from(ACQUAINTED.as_millis()).unwrap() - 1_000;
    assert!(known(&mut world, 63));
    world.now += 1_000;
    assert!(!known(&mut world, 63));
}

#[test]
fn whoever_was_not_told_where_it_reserved_gives_it_back_wherever_that_was() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    world.attempt("ann", 1, Ending::Succeeded);
    let places = world.places("ann", 1);
    for _ in 0..6 {
        let (id, said) = world.begin(&places);
        assert!(said.acquainted && said.refusal().is_none(), "{said:?}");
        let said = world.settle(&places, id, Ending::Abandoned, false);
        assert_eq!((said.acquainted, said.counters), (false, vec![Kept::default()]), "of all others");
    }
}

#[test]
fn a_stricter_rule_leaves_one_attempt_rather_than_none_for_an_hour() {
    let Some(mut world) = World::new(&[CountedBy::Account], locking(), MINUTE) else { return };
    for _ in 0..4 {
        world.attempt("ann", 1, Ending::Failed);
    }
    world.terms.rule.lock = Some(LockRule::new(3, Duration::from_mins(30)));
    assert!(world.attempt("ann", 1, Ending::Failed).locks());
}

#[test]
fn a_failure_that_is_told_twice_counts_once_though_its_window_is_over() {
    let window = Some(FailureWindow { attempts: 2, within: Duration::from_secs(1), count_success: false });
    let Some(mut world) = World::new(&[CountedBy::Source], BudgetRule { lock: None, window }, MINUTE) else { return };
    let places = world.places("ann", 1);
    let (id, _) = world.begin(&places);
    world.settle(&places, id, Ending::Failed, false);
    world.now += 2_000;
    assert_eq!(world.refusal("bob", 1), None);
    assert_eq!(world.settle(&places, id, Ending::Failed, false).counters[0].recent, 0);
}

#[test]
fn a_lock_of_a_rule_that_is_gone_is_gone() {
    let window = Some(FailureWindow { attempts: 9, within: MINUTE, count_success: false });
    let Some(mut world) = World::new(&[CountedBy::Account], BudgetRule { window, ..locking() }, MINUTE) else { return };
    for _ in 0..5 {
        world.attempt("ann", 1, Ending::Failed);
    }
    world.terms.rule = world.terms.rule.without_lock();
    assert_eq!(world.refusal("ann", 1), None);
}

fn rules() -> impl Strategy<Value = BudgetRule> {
    let lock = (1_u32..5, 1_u64..7_200).prop_map(|(attempts, secs)| LockRule::new(attempts, Duration::from_secs(secs)));
    let window = (1_u32..6, 1_u64..3_600, any::<bool>()).prop_map(|(attempts, secs, count_success)| FailureWindow {
        attempts,
        within: Duration::from_secs(secs),
        count_success,
    });
    prop_oneof![
        lock.clone().prop_map(|lock| BudgetRule { lock: Some(lock), window: None }),
        window.clone().prop_map(|window| BudgetRule { lock: None, window: Some(window) }),
        (lock, window).prop_map(|(lock, window)| BudgetRule { lock: Some(lock), window: Some(window) }),
    ]
}

fn endings() -> impl Strategy<Value = Ending> {
    prop_oneof![4 => Just(Ending::Failed), 1 => Just(Ending::Abandoned), 1 => Just(Ending::Succeeded)]
}

fn waits() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..5, 0_u64..60_000, 0_u64..4_000_000]
}

/// What may happen to a counter.
#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    /// The attempt at this place of those that are not settled.
    Settle(usize, Ending),
    /// The settlement at this place of the last ones is told once more.
    Again(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Begin),
        4 => (any::<usize>(), endings()).prop_map(|(at, ending)| Step::Settle(at, ending)),
        1 => any::<usize>().prop_map(Step::Again),
        2 => waits().prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..150)
}

/// The rule of a counter with what it does not have: leases.
#[derive(Default)]
struct Leasing {
    budget: Budget,
    /// Attempts that are not settled, each with the end of its lease.
    open: Vec<(AttemptId, u64)>,
    /// Those of them whose lease is over.
    over: Vec<AttemptId>,
}

impl Leasing {
    fn end_leases(&mut self, rule: &BudgetRule, now: u64) {
        for (id, end) in &self.open {
            if *end <= now && !self.over.contains(id) {
                self.budget.settle(rule, Ending::Abandoned, Tick::from_millis(now));
                self.over.push(*id);
            }
        }
    }

    /// Whether that locks.
    fn settle(&mut self, rule: &BudgetRule, id: AttemptId, ending: Ending, now: Tick) -> bool {
        if self.over.contains(&id) { self.budget.count(rule, ending, now) } else { self.budget.settle(rule, ending, now) }
    }
}

/// What of the ages of nothing is said is all one.
fn normal(kept: Kept) -> Kept {
    Kept {
        failed_ago: if kept.failed > 0 { kept.failed_ago } else { Duration::ZERO },
        recent_ago: if kept.recent > 0 { kept.recent_ago } else { Duration::ZERO },
        ..kept
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_counter_in_the_store_is_what_the_rule_says(rule in rules(), steps in steps(), lease in 1_u64..4_000) {
        let Some(mut world) = World::new(&[CountedBy::AccountAndSource], rule, Duration::from_secs(lease)) else {
            return Ok(());
        };
        let places = world.places("ann", 1);
        let (mut model, mut told) = (Leasing::default(), Vec::new());
        for step in steps {
            model.end_leases(&rule, world.now);
            let now = world.tick();
            // A counter that means nothing any more is gone, and with it which settlements it was told, but for those of a lease.
            told.retain(|(_, _, until)| *until > world.now || !model.budget.is_blank(&rule, now));
            let said = match step {
                Step::Wait(millis) => {
                    world.now += millis;
                    continue;
                }
                Step::Begin => {
                    let (id, said) = world.begin(&places);
                    let answer = model.budget.begin(&rule, now);
                    prop_assert_eq!(said.refusal(), Some(answer).filter(|answer| *answer != Answer::Admitted).map(Refusal::Answer));
                    if answer == Answer::Admitted {
                        model.open.push((id, world.now + lease * 1_000));
                    }
                    said
                }
                Step::Settle(at, ending) if !model.open.is_empty() => {
                    let (id, _) = model.open.remove(at % model.open.len());
                    let said = world.settle(&places, id, ending, false);
                    prop_assert_eq!(said.locks(), model.settle(&rule, id, ending, now));
                    told.push((id, ending, world.now + lease * 1_000));
                    let many = told.len().saturating_sub(REMEMBERED);
                    told.drain(..many);
                    said
                }
                Step::Again(at) if !told.is_empty() => {
                    let (id, ending, _) = told[at % told.len()];
                    let said = world.settle(&places, id, ending, false);
                    prop_assert_eq!(said.locks(), model.budget.count(&rule, Ending::Abandoned, now));
                    said
                }
                Step::Settle(..) | Step::Again(_) => continue,
            };
            prop_assert_eq!(said.counters, [normal(model.budget.kept(&rule, now))]);
        }
    }
}

/// What may happen to the counters of a guard.
#[derive(Clone, Copy, Debug)]
enum Event {
    Begin(usize, u8),
    Settle(usize, Ending),
    Wait(u64),
    Days(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        10 => (0_usize..2, 0_u8..3).prop_map(|(account, from)| Event::Begin(account, from)),
        8 => (any::<usize>(), endings()).prop_map(|(at, ending)| Event::Settle(at, ending)),
        3 => waits().prop_map(Event::Wait),
        1 => (0_u64..20).prop_map(Event::Days),
    ];
    prop::collection::vec(event, 0..200)
}

fn counted_by() -> impl Strategy<Value = Vec<CountedBy>> {
    let all = vec![CountedBy::Account, CountedBy::AccountAndSource, CountedBy::Source, CountedBy::Client];
    prop::sample::subsequence(all, 1..=4).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_counters_in_the_store_are_what_the_table_is(by in counted_by(), rule in rules(), events in events()) {
        let Some(mut world) = World::new(&by, rule, Duration::from_hours(24 * 9_000)) else { return Ok(()) };
        let terms = world.terms.clone();
        let mut table = Table::default();
        let mut open: Vec<(AttemptId, Places, Caller, Vec<Reservation>, bool)> = Vec::new();
        for event in events {
            let now = Now { wall: Timestamp::from_millis(i64::try_from(world.now).unwrap()), tick: world.tick() };
            match event {
                Event::Wait(millis) => world.now += millis,
                Event::Days(days) => world.now += days * 86_400_000,
                Event::Begin(account, from) => {
                    let name = ["ann", "bob"][account];
                    let caller = caller(name, from);
                    let places = world.places(name, from);
                    let (id, said) = world.begin(&places);
                    match table.reserve(&terms, caller, now.tick) {
                        Ok(reservations) => {
                            prop_assert_eq!(said.refusal(), None);
                            let acquainted = reservations.iter().any(|reservation| reservation.acquainted);
                            prop_assert_eq!(said.acquainted, acquainted);
                            open.push((id, places, caller, reservations, acquainted));
                        }
                        Err(refusal) => prop_assert_eq!(said.refusal(), Some(refusal)),
                    }
                }
                Event::Settle(at, ending) if !open.is_empty() => {
                    let (id, places, caller, reservations, acquainted) = open.remove(at % open.len());
                    let said = world.settle(&places, id, ending, acquainted);
                    let mut locks = false;
                    for (reservation, kept) in reservations.into_iter().zip(said.counters.clone()) {
                        locks |= table.settle(reservation, ending, now.tick);
                        let counter = if reservation.acquainted {
                            table.acquaintances.known.get(&reservation.key).map(|found| &found.budget)
                        } else {
                            table.counters.budgets.get(&reservation.key)
                        };
                        prop_assert_eq!(normal(counter.unwrap().kept(&reservation.rule, now.tick)), kept);
                    }
                    prop_assert_eq!(said.locks(), locks);
                    if ending == Ending::Succeeded && by.contains(&CountedBy::Account) {
                        table.meet(caller, &terms.rule, now);
                    }
                }
                Event::Settle(..) => {}
            }
        }
    }
}

#[test]
fn keys_of_one_attempt_stand_in_one_slot_and_name_nobody() {
    let Some(Store { valkey, .. }) = store() else { return };
    let names = valkey.names().clone();
    let all = vec![CountedBy::Account, CountedBy::AccountAndSource, CountedBy::Source, CountedBy::Client];
    let by = NonEmpty::new(all).unwrap();
    let terms = GuardTerms { name: Arc::from("each"), by, rule: locking() };
    let places = Places::of_attempt(&names, &terms, caller("ann@example.com", 1));
    assert_eq!(places.keys.len(), 8);
    for (at, key) in places.keys.iter().enumerate() {
        assert!(key.starts_with("test:{login:each}:") && key.len() == 18 + 32, "{key}");
        assert!(!places.keys[..at].contains(key));
    }
}

#[test]
fn a_lock_says_whose_it_is_to_gateways_only() {
    let Some(Store { valkey, .. }) = store() else { return };
    let names = valkey.names().clone();
    let by = NonEmpty::new(vec![CountedBy::Account]).unwrap();
    let terms = GuardTerms { name: Arc::from("each"), by, rule: locking() };
    let Caller { account, source, client } = caller("ann", 7);
    let six = Source::new("2001:db8::1".parse().unwrap()).key();
    for (account, source, client, acquainted) in [
        (Some(account), None, None, false),
        (Some(account), Some(source), None, false),
        (Some(account), Some(source), None, true),
        (None, Some(source), None, false),
        (None, Some(six), None, false),
        (None, None, client, false),
    ] {
        let counter = CounterName { account, source, client, acquainted };
        let places = Places::of(&names, &terms, &[counter]);
        let tag = &places.words[1];
        assert_eq!(named(&names, tag), Some(counter));
        assert!(!tag.windows(4).any(|bytes| bytes == [10, 0, 0, 7]), "{tag:?}");
    }
    assert_eq!(named(&names, b"something else"), None);
}

#[test]
fn locks_and_full_windows_are_listed_until_they_end_or_are_pardoned() {
    let by = [CountedBy::Account, CountedBy::Source];
    let window = Some(FailureWindow { attempts: 6, within: MINUTE, count_success: false });
    let Some(mut world) = World::new(&by, BudgetRule { window, ..locking() }, MINUTE) else { return };
    for number in 0..6 {
        world.now += 1;
        world.attempt(if number < 5 { "ann" } else { "bob" }, 1, Ending::Failed);
    }
    let index = world.places("ann", 1).locks().to_owned();
    let listed = |world: &mut World| {
        let found: Vec<(Vec<u8>, u64)> = redis::cmd("ZRANGEBYSCORE")
            .arg(&index)
            .arg(world.now + 1)
            .arg("+inf")
            .arg("WITHSCORES")
            .query(&mut world.connection)
            .unwrap();
        found.into_iter().map(|(tag, end)| (named(&world.names, &tag).unwrap(), end)).collect::<Vec<_>>()
    };
    let Caller { account, source, .. } = caller("ann", 1);
    let full = CounterName { account: None, source: Some(source), client: None, acquainted: false };
    let lock = CounterName { account: Some(account), source: None, client: None, acquainted: false };
    assert_eq!(listed(&mut world), [(full, START + 60_001), (lock, START + 1_800_005)]);
    let places = Places::of(&world.names, &world.terms, &[full, lock]);
    let shown = world.ask(&places, [0; 12], Question::Show);
    assert_eq!(world.ask(&places, [0; 12], Question::Pardon), shown);
    assert_eq!(shown.counters[1].failed, 5);
    assert_eq!(listed(&mut world), []);
    assert_eq!(world.refusal("ann", 1), None);
    for _ in 0..5 {
        world.attempt("ann", 1, Ending::Failed);
    }
    world.now += 1_800_000;
    assert_eq!(listed(&mut world), []);
}
