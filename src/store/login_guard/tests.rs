use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::table::{ACQUAINTED, KNOWS};
use super::*;
use crate::model::{Entropy, Now, Source, Tick, Timestamp};
use crate::rules::lockout::LockRule;
use crate::rules::login_budget::FailureWindow;

/// A clock that is set by hand.
#[derive(Debug, Default)]
struct ByHand(AtomicU64);

impl Clock for ByHand {
    fn now(&self) -> Now {
        Now { wall: Timestamp::from_secs(0), tick: Tick::from_millis(self.0.load(Ordering::SeqCst)) }
    }
}

#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<Happening>>);

impl GuardWitness for Told {
    fn happened(&self, guard: &str, happening: Happening) {
        assert_eq!(guard, "login");
        self.0.lock().unwrap().push(happening);
    }

    fn failed(&self, guard: &str, _: bool) {
        assert_eq!(guard, "login");
    }

    fn not_kept(&self) {
        unreachable!("nothing is written down");
    }
}

struct World {
    guard: Arc<LoginGuard>,
    clock: Arc<ByHand>,
    told: Arc<Told>,
}

const HALF_AN_HOUR: Duration = Duration::from_mins(30);

fn locking() -> BudgetRule {
    BudgetRule { lock: Some(LockRule::new(5, HALF_AN_HOUR)), window: None }
}

fn windowed() -> BudgetRule {
    let window = FailureWindow { attempts: 3, within: Duration::from_mins(1), count_success: false };
    BudgetRule { lock: None, window: Some(window) }
}

impl World {
    fn new(by: &[CountedBy], rule: BudgetRule) -> Self {
        let (clock, told) = (Arc::new(ByHand::default()), Arc::new(Told::default()));
        let terms = GuardTerms { name: "login".into(), by: NonEmpty::new(by.to_vec()).unwrap(), rule };
        let guard = LoginGuard::new(terms, &GuardKey::random(&Zeros), Arc::clone(&clock) as _, Arc::clone(&told) as _);
        Self { guard: Arc::new(guard), clock, told }
    }

    fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    async fn attempt(&self, account: &str, from: u8, ending: Ending) -> Result<(), Denial> {
        let attempt = self.guard.begin(who(account, from)).await?;
        attempt.settle(ending).written().await;
        Ok(())
    }

    async fn fail(&self, account: &str, from: u8, times: usize) {
        for _ in 0..times {
            assert_eq!(self.attempt(account, from, Ending::Failed).await, Ok(()));
        }
    }

    fn sizes(&self) -> (usize, usize) {
        let table = self.guard.counters.table();
        (table.counters.budgets.len(), table.counters.order.len())
    }
}

fn who(account: &str, from: u8) -> Who<'_> {
    Who { account, source: source(from), client: None }
}

fn source(number: u8) -> SourceKey {
    Source::new(Ipv4Addr::new(10, 0, 0, number).into()).key()
}

#[tokio::test]
async fn the_fifth_failure_locks_wherever_the_next_comes_from_and_the_lock_has_a_fixed_end() {
    let world = World::new(&[CountedBy::Account], locking());
    world.fail("ann", 1, 4).await;
    world.fail("ann", 2, 1).await;
    for from in 1..5 {
        world.pass(Duration::from_mins(1));
        let left = Duration::from_mins(30 - u64::from(from));
        assert_eq!(world.attempt("ann", from, Ending::Succeeded).await, Err(Denial::Locked(left)));
    }
    assert_eq!(world.attempt("bob", 1, Ending::Failed).await, Ok(()));
    world.pass(Duration::from_mins(26));
    assert_eq!(world.attempt("ann", 1, Ending::Succeeded).await, Ok(()));
}

#[tokio::test]
async fn an_attempt_that_is_dropped_or_given_back_counts_nothing() {
    let world = World::new(&[CountedBy::Account, CountedBy::Source], windowed());
    for _ in 0..20 {
        drop(world.guard.begin(who("ann", 1)).await.unwrap());
        assert_eq!(world.attempt("ann", 1, Ending::Abandoned).await, Ok(()));
    }
    assert_eq!(*world.told.0.lock().unwrap(), [Happening::GivenBack; 40]);
}

#[tokio::test]
async fn a_source_that_succeeded_lately_cannot_be_locked_out_from_elsewhere() {
    let world = World::new(&[CountedBy::Account], locking());
    assert_eq!(world.attempt("ann", 1, Ending::Succeeded).await, Ok(()));
    world.fail("ann", 2, 5).await;
    assert!(world.attempt("ann", 3, Ending::Succeeded).await.is_err(), "everybody else shares a lock");
    assert_eq!(world.attempt("ann", 1, Ending::Succeeded).await, Ok(()));
    assert!(world.attempt("ann", 3, Ending::Succeeded).await.is_err(), "which that success does not open");
    world.fail("ann", 1, 5).await;
    assert!(world.attempt("ann", 1, Ending::Succeeded).await.is_err(), "but it has no more than a budget of its own");
    world.pass(ACQUAINTED);
    world.fail("ann", 2, 5).await;
    assert!(world.attempt("ann", 1, Ending::Succeeded).await.is_err(), "and not for ever");
}

#[tokio::test]
async fn a_success_of_another_account_does_not_help_a_source() {
    let world = World::new(&[CountedBy::Account, CountedBy::Source], windowed());
    for victim in ["ann", "bob", "cid"] {
        world.fail(victim, 1, 1).await;
        if victim != "cid" {
            assert_eq!(world.attempt("mallory", 1, Ending::Succeeded).await, Ok(()));
        }
    }
    let wait = Err(Denial::LimitReached(Duration::from_mins(1)));
    assert_eq!(world.attempt("dan", 1, Ending::Failed).await, wait);
    assert_eq!(world.attempt("mallory", 1, Ending::Succeeded).await, wait);
    assert_eq!(world.attempt("dan", 2, Ending::Failed).await, Ok(()));
}

#[tokio::test]
async fn counters_are_reserved_together_or_not_at_all() {
    let world = World::new(&[CountedBy::AccountAndSource, CountedBy::Source], windowed());
    world.fail("ann", 1, 3).await;
    for _ in 0..10 {
        assert!(world.attempt("bob", 1, Ending::Failed).await.is_err());
    }
    assert_eq!(world.told.0.lock().unwrap()[3..], [Happening::Spent; 10]);
    world.pass(Duration::from_mins(1));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(world.guard.try_begin(world.guard.caller(who("bob", 1))).await);
    }
    assert!(held.iter().all(|outcome| matches!(outcome, Some(Ok(_)))), "what was refused holds nothing of bob's");
}

#[tokio::test]
async fn when_only_attempts_in_flight_are_in_the_way_the_next_waits_for_one_to_settle() {
    let world = World::new(&[CountedBy::Account], locking());
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(world.guard.begin(who("ann", 1)).await.unwrap());
    }
    let mut waiting = Box::pin(world.guard.begin(who("ann", 2)));
    tokio::select! { biased; _ = &mut waiting => panic!("there was none left"), () = async {} => {} }
    held.pop().unwrap().settle(Ending::Succeeded).written().await;
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn whoever_finds_no_place_to_wait_is_not_told_of_a_lock() {
    let world = World::new(&[CountedBy::Account], locking());
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(world.guard.begin(who("ann", 1)).await.unwrap());
    }
    let _all = world.guard.waiting.try_acquire_many(u32::try_from(WAITING).unwrap()).unwrap();
    assert_eq!(world.attempt("ann", 1, Ending::Failed).await, Err(Denial::LimitReached(Duration::from_secs(1))));
    assert_eq!(*world.told.0.lock().unwrap(), [Happening::Busy]);
}

#[tokio::test]
async fn a_full_table_refuses_newcomers_and_forgets_no_lock() {
    let world = World::new(&[CountedBy::Account], locking());
    world.fail("ann", 1, 5).await;
    for number in 0..COUNTERS - 1 {
        world.fail(&format!("nobody{number}"), 1, 1).await;
    }
    for number in 0..100 {
        let refused = world.attempt(&format!("newcomer{number}"), 1, Ending::Failed).await;
        assert_eq!(refused, Err(Denial::Overloaded(NO_ROOM)));
    }
    assert_eq!(world.sizes(), (COUNTERS, COUNTERS));
    assert!(matches!(world.attempt("ann", 1, Ending::Succeeded).await, Err(Denial::Locked(_))));
    world.pass(Duration::from_hours(1));
    world.fail("newcomer", 1, 1).await;
    assert!(world.sizes().0 < COUNTERS, "what counts nothing any more makes room");
    assert_eq!(world.sizes().0, world.sizes().1);
}

#[tokio::test]
async fn acquaintances_are_bounded_and_a_lock_of_one_is_kept() {
    let world = World::new(&[CountedBy::Account], locking());
    assert_eq!(world.attempt("ann", 1, Ending::Succeeded).await, Ok(()));
    world.fail("ann", 1, 5).await;
    for number in 0..ACQUAINTANCES + 50 {
        assert_eq!(world.attempt(&format!("person{number}"), 1, Ending::Succeeded).await, Ok(()));
    }
    let sizes = {
        let table = world.guard.counters.table();
        (table.acquaintances.known.len(), table.acquaintances.order.len())
    };
    assert_eq!(sizes, (ACQUAINTANCES, ACQUAINTANCES));
    assert!(matches!(world.attempt("ann", 1, Ending::Succeeded).await, Err(Denial::Locked(_))));
}

#[tokio::test]
async fn an_account_knows_only_so_many_sources_forgets_the_longest_ago_and_pushes_nobody_out() {
    let world = World::new(&[CountedBy::Account], locking());
    assert_eq!(world.attempt("bob", 1, Ending::Succeeded).await, Ok(()));
    assert_eq!(world.attempt("ann", 0, Ending::Succeeded).await, Ok(()));
    world.fail("ann", 0, 1).await;
    let succeed = async |number: usize| {
        world.pass(Duration::from_millis(1));
        let source = Source::new(Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into()).key();
        let attempt = world.guard.begin(Who { source, ..who("ann", 0) }).await.unwrap();
        attempt.settle(Ending::Succeeded).written().await;
    };
    for number in 1..ACQUAINTANCES + 50 {
        succeed(number).await;
    }
    // It goes on for long with a few, each of which was forgotten when it comes again.
    for number in 0..1_000 {
        succeed(1 + number % (KNOWS + 1)).await;
    }
    {
        let table = world.guard.counters.table();
        let known: Vec<_> =
            table.acquaintances.known.keys().filter(|key| key.account == Some(world.guard.hash("ann"))).collect();
        assert_eq!((known.len(), table.acquaintances.order.len()), (KNOWS, KNOWS + 1));
        assert!(known.iter().any(|key| key.source == Some(source(0))), "what was failed there still counts");
    }
    world.fail("bob", 2, 5).await;
    assert_eq!(world.attempt("bob", 1, Ending::Succeeded).await, Ok(()), "bob is known there as before");
}

#[tokio::test]
async fn after_a_restart_an_account_knows_no_more_sources_than_before() {
    let World { guard, clock, told } = World::new(&[CountedBy::Account], locking());
    let account = Some(guard.hash("ann"));
    let met = |number: u8| {
        let name = CounterName { account, source: Some(source(number)), client: None, acquainted: true };
        let (met, expires) = (Timestamp::from_secs(i64::from(number) - 1_000), Timestamp::from_secs(1_000));
        let never = Timestamp::from_secs(0);
        (
            name,
            Counted { failed: 0, failed_at: never, locked_until: None, recent: 0, recent_at: never, met: Some(met), expires },
        )
    };
    clock.0.store(10_000_000, Ordering::SeqCst);
    // As a version wrote it that had another bound, in no order.
    let counted: Vec<_> = (0..200).map(|number| met(u8::try_from(number * 7 % 200).unwrap())).collect();
    let terms = guard.terms.clone();
    let counters = Local::restored(&terms, counted, None, clock.now());
    let table = counters.table();
    let known: Vec<_> = table.acquaintances.known.keys().filter_map(|key| key.source).collect();
    assert_eq!(known, (136..200).map(source).collect::<Vec<_>>(), "the last");
    assert!(told.0.lock().unwrap().is_empty());
}
