use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::model::{Denial, NonEmpty, Source, SourceKey, Timestamp};
use crate::rules::lockout::LockRule;
use crate::rules::login_budget::{BudgetRule, FailureWindow};
use crate::store::login_guard::locks::{AccountMark, Remainder};
use crate::store::login_guard::places::Places;
use crate::store::login_guard::team::untold::UNTOLD;
use crate::store::login_guard::{GuardKey, GuardWitness, Happening, LoginGuard, Who, Whose};
use crate::store::valkey::tests::{connect, connect_within, servers};

/// A guard against hanging, never a measure.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
struct ByHand(AtomicU64);

impl Clock for ByHand {
    fn now(&self) -> Now {
        Now { wall: Timestamp::from_secs(1_800_000_000), tick: Tick::from_millis(self.0.load(Ordering::SeqCst)) }
    }
}

/// Bytes that differ from call to call.
#[derive(Debug)]
struct Counting;

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        bytes.copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()[..bytes.len()]);
    }
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<Happening>>, Mutex<Vec<bool>>);

impl GuardWitness for Told {
    fn happened(&self, _: &str, happening: Happening) {
        self.0.lock().unwrap().push(happening);
    }

    fn failed(&self, _: &str, known: bool) {
        self.1.lock().unwrap().push(known);
    }

    fn not_kept(&self) {
        unreachable!("nothing is written down");
    }
}

/// A gateway's guard, as it shares its counters with another's.
struct Node {
    guard: Arc<LoginGuard>,
    clock: Arc<ByHand>,
    told: Arc<Told>,
    valkey: Valkey,
}

impl Node {
    async fn start(server: &servers::Valkey, without: WithoutStore, gateways: u32) -> Self {
        let rule = BudgetRule { lock: Some(LockRule::new(5, Duration::from_mins(30))), window: None };
        Self::counting(server, &[CountedBy::Account], rule, without, gateways).await
    }

    async fn counting(
        server: &servers::Valkey,
        by: &[CountedBy],
        rule: BudgetRule,
        without: WithoutStore,
        gateways: u32,
    ) -> Self {
        Self::on(connect(server).await, by, rule, without, gateways)
    }

    fn on(valkey: Valkey, by: &[CountedBy], rule: BudgetRule, without: WithoutStore, gateways: u32) -> Self {
        let (clock, told) = (Arc::new(ByHand::default()), Arc::new(Told::default()));
        let by = NonEmpty::new(by.to_vec()).unwrap();
        let terms = GuardTerms { name: "login".into(), by, rule };
        let key = GuardKey::shared(valkey.names());
        let guard = LoginGuard::new(terms, &key, Arc::clone(&clock) as _, Arc::clone(&told) as _);
        let sharing = SharedTerms { valkey: valkey.clone(), lease: Duration::from_mins(1), gateways, without };
        Self { guard: Arc::new(guard.sharing(sharing, &Counting)), clock, told, valkey }
    }

    async fn two(server: &servers::Valkey) -> [Self; 2] {
        [Self::start(server, WithoutStore::Local, 2).await, Self::start(server, WithoutStore::Local, 2).await]
    }

    async fn attempt(&self, account: &str, from: u8, ending: Ending) -> Result<(), Denial> {
        let attempt = self.guard.begin(who(account, from)).await?;
        attempt.settle(ending).written().await;
        Ok(())
    }

    #[track_caller]
    fn said(&self, happening: Happening) -> usize {
        self.told.0.lock().unwrap().iter().filter(|told| **told == happening).count()
    }

    fn untold(&self) -> usize {
        self.team().untold.count()
    }

    fn team(&self) -> &Arc<Team> {
        self.guard.team.as_ref().unwrap()
    }

    /// What the store might be told of an attempt.
    fn settlement(&self, account: &str, ending: Ending) -> Settlement {
        let mut held = self.team().held(self.guard.caller(who(account, 1)), false, ending);
        held.is_open = false;
        held.settlement.clone()
    }

    async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let come = async {
            while !so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, come).await.is_ok(), "never happened: {what}");
    }
}

fn who(account: &str, from: u8) -> Who<'_> {
    Who { account, source: source(from), client: None }
}

fn source(number: u8) -> SourceKey {
    Source::new(Ipv4Addr::new(10, 0, 0, number).into()).key()
}

fn locked(outcome: &Result<(), Denial>) -> bool {
    matches!(outcome, Err(Denial::Locked(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_wrong_guesses_at_two_gateways_five_are_let_through() {
    let Some(server) = servers::Valkey::start() else { return };
    let nodes = Node::two(&server).await;
    let guesses: Vec<_> = (0..100)
        .map(|number| {
            let guard = Arc::clone(&nodes[number % 2].guard);
            tokio::spawn(async move {
                let attempt = guard.begin(who("ann", 1)).await?;
                attempt.settle(Ending::Failed).written().await;
                Ok(())
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for guess in guesses {
        outcomes.push(guess.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
    assert_eq!(outcomes.iter().filter(|outcome| locked(outcome)).count(), 95);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_believed_for_a_second_and_cleared_at_one_gateway_it_is_cleared_at_all() {
    let Some(server) = servers::Valkey::start() else { return };
    let [one, other] = Node::two(&server).await;
    for _ in 0..5 {
        assert_eq!(one.attempt("ann", 1, Ending::Failed).await, Ok(()));
    }
    assert!(locked(&one.attempt("ann", 1, Ending::Succeeded).await));
    assert!(locked(&other.attempt("ann", 2, Ending::Succeeded).await));
    let shown = other.guard.locks(None, 10).await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].failures, shown[0].source), (5, None));
    assert_eq!(one.guard.locks_of(Whose::Account("Ann"), 10).await.unwrap().len(), 1);
    let cleared = one.guard.clear(Whose::Account("ann")).await;
    assert_eq!(cleared.locks.len(), 1);
    assert_eq!(one.attempt("ann", 1, Ending::Abandoned).await, Ok(()));
    assert!(locked(&other.attempt("ann", 2, Ending::Succeeded).await), "this was asked just now");
    assert_eq!(other.attempt("ann", 3, Ending::Abandoned).await, Ok(()), "this was not");
    other.clock.0.fetch_add(1_000, Ordering::SeqCst);
    assert_eq!(other.attempt("ann", 2, Ending::Abandoned).await, Ok(()));
    assert_eq!(other.guard.locks(None, 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cleared_while_the_store_is_away_is_not_said_to_be_clear_and_stays_locked_here() {
    let Some(mut server) = servers::Valkey::start() else { return };
    let [one, _] = Node::two(&server).await;
    for _ in 0..5 {
        assert_eq!(one.attempt("ann", 1, Ending::Failed).await, Ok(()));
    }
    assert_eq!(one.guard.clear(Whose::Account("bob")).await.remainder, Remainder::Nothing);
    server.kill();
    let cleared = one.guard.clear(Whose::Account("ann")).await;
    assert_eq!((cleared.locks, cleared.remainder), (Vec::new(), Remainder::Unknown));
    assert!(locked(&one.attempt("ann", 1, Ending::Succeeded).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_lock_is_listed_by_its_counter_where_the_list_says_more() {
    let Some(server) = servers::Valkey::start() else { return };
    let [one, _] = Node::two(&server).await;
    for _ in 0..5 {
        assert_eq!(one.attempt("ann", 1, Ending::Failed).await, Ok(()));
    }
    let places = Places::of(one.valkey.names(), &one.guard.terms, &[]);
    let [tag] = &server.ask::<Vec<Vec<u8>>>(&["ZRANGE", places.locks(), "0", "-1"])[..] else { panic!("one is listed") };
    let mut connection = server.connection();
    redis::cmd("ZINCRBY").arg(places.locks()).arg(86_400_000).arg(tag).exec(&mut connection).unwrap();
    let [lock] = &one.guard.locks(None, 10).await.unwrap()[..] else { panic!("there is one lock") };
    assert!(lock.until <= one.clock.now().wall.after(Duration::from_mins(30)), "{lock:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_logins_are_told_by_what_the_store_knows_and_one_source_on_many_accounts_is_seen() {
    let Some(mut server) = servers::Valkey::start() else { return };
    let [one, other] = Node::two(&server).await;
    assert_eq!(one.attempt("ann", 1, Ending::Succeeded).await, Ok(()));
    assert_eq!(other.attempt("ann", 1, Ending::Failed).await, Ok(()));
    assert_eq!(other.attempt("ann", 2, Ending::Failed).await, Ok(()));
    let mut left = other.guard.begin(who("ann", 1)).await.unwrap();
    left.fail_unless_settled();
    drop(left);
    assert_eq!(*other.told.1.lock().unwrap(), [true, false, true]);
    for number in 0..9 {
        assert_eq!(other.attempt(&format!("person{number}"), 2, Ending::Failed).await, Ok(()));
    }
    assert_eq!((one.guard.spraying(), other.guard.spraying()), (0, 0), "ten accounts are few");
    server.kill();
    other.until("the store is away", |node| !node.valkey.is_up()).await;
    assert_eq!(other.attempt("bob", 2, Ending::Failed).await, Ok(()));
    assert_eq!((one.guard.spraying(), other.guard.spraying()), (0, 1));
    assert_eq!(other.told.1.lock().unwrap().iter().filter(|known| **known).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_one_window_at_all_gateways_whatever_account_and_source() {
    let Some(server) = servers::Valkey::start() else { return };
    let window = Some(FailureWindow { attempts: 3, within: Duration::from_mins(1), count_success: false });
    let by = [CountedBy::Client];
    let node = || Node::counting(&server, &by, BudgetRule { lock: None, window }, WithoutStore::Local, 2);
    let [one, other] = [node().await, node().await];
    let attempt = async |node: &Node, account, from, client| {
        let attempt = node.guard.begin(Who { client: Some(client), ..who(account, from) }).await?;
        attempt.settle(Ending::Failed).written().await;
        Ok::<(), Denial>(())
    };
    assert_eq!(attempt(&one, "ann", 1, "app").await, Ok(()));
    assert_eq!(attempt(&other, "bob", 2, "app").await, Ok(()));
    assert_eq!(attempt(&one, "cid", 3, "app").await, Ok(()));
    let refused = attempt(&other, "ann", 1, "app").await;
    assert!(matches!(refused, Err(Denial::LimitReached(_))), "{refused:?}");
    assert_eq!(attempt(&other, "ann", 1, "else").await, Ok(()));
    let [lock] = &one.guard.locks(None, 10).await.unwrap()[..] else { panic!("one window is full") };
    assert_eq!((lock.failures, lock.account, lock.source), (3, None, None));
    assert_eq!(lock.client, Some(AccountMark::of(&one.guard.hash("app"))));
    assert_eq!(one.guard.clear(Whose::Client("App")).await.locks.len(), 1);
    assert_eq!(attempt(&other, "ann", 1, "app").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_succeeded_at_one_gateway_cannot_be_locked_out_at_another() {
    let Some(mut server) = servers::Valkey::start() else { return };
    let [one, other] = Node::two(&server).await;
    assert_eq!(one.attempt("ann", 1, Ending::Succeeded).await, Ok(()));
    for _ in 0..5 {
        assert_eq!(one.attempt("ann", 2, Ending::Failed).await, Ok(()));
    }
    assert!(locked(&other.attempt("ann", 3, Ending::Succeeded).await));
    assert_eq!(other.attempt("ann", 1, Ending::Succeeded).await, Ok(()));
    server.kill();
    other.until("the store is away", |node| !node.valkey.is_up()).await;
    assert_eq!(other.attempt("ann", 1, Ending::Succeeded).await, Ok(()), "nor while the store is away");
    assert!(locked(&other.attempt("ann", 4, Ending::Succeeded).await), "and the lock is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_each_gateway_allows_its_part_and_tells_the_store_when_it_is_back() {
    let Some(mut server) = servers::Valkey::start() else { return };
    let nodes = Node::two(&server).await;
    server.kill();
    for node in &nodes {
        node.until("the store is away", |node| !node.valkey.is_up()).await;
        for _ in 0..2 {
            assert_eq!(node.attempt("ann", 1, Ending::Failed).await, Ok(()));
        }
        assert_eq!(node.attempt("ann", 1, Ending::Failed).await, Err(Denial::StoreUnavailable(Duration::from_secs(5))));
        assert_eq!((node.said(Happening::Alone), node.said(Happening::Away)), (2, 1));
        assert!(node.guard.locks(None, 10).await.is_err());
    }
    server.start_again();
    for node in &nodes {
        node.until("the store is told", |node| node.untold() == 0).await;
    }
    assert_eq!(nodes[0].attempt("ann", 1, Ending::Failed).await, Ok(()), "the fifth");
    assert!(locked(&nodes[1].attempt("ann", 1, Ending::Succeeded).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_part_or_where_it_is_said_everything_is_refused_while_the_store_is_away() {
    let Some(mut server) = servers::Valkey::start() else { return };
    let nodes = [Node::start(&server, WithoutStore::Local, 6).await, Node::start(&server, WithoutStore::Deny, 2).await];
    server.kill();
    for node in &nodes {
        node.until("the store is away", |node| !node.valkey.is_up()).await;
        assert_eq!(node.attempt("ann", 1, Ending::Failed).await, Err(Denial::StoreUnavailable(Duration::from_secs(5))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_when_the_store_went_away_is_counted_when_it_is_back() {
    let Some(mut server) = servers::Valkey::start() else { return };
    let [one, other] = Node::two(&server).await;
    let mut under_way = Vec::new();
    for _ in 0..5 {
        under_way.push(one.guard.begin(who("ann", 1)).await.unwrap());
    }
    server.kill();
    one.until("the store is away", |node| !node.valkey.is_up()).await;
    for attempt in under_way {
        attempt.settle(Ending::Failed).written().await;
    }
    assert!(locked(&one.attempt("ann", 2, Ending::Succeeded).await), "here they are known");
    server.start_again();
    one.until("the store is told", |node| node.untold() == 0).await;
    other.until("there is a connection", |node| node.valkey.is_up()).await;
    assert!(locked(&other.attempt("ann", 1, Ending::Succeeded).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_dropped_is_given_back_in_the_store() {
    let Some(server) = servers::Valkey::start() else { return };
    let [one, other] = Node::two(&server).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(one.guard.begin(who("ann", 1)).await.unwrap());
    }
    let waiting = tokio::spawn({
        let guard = Arc::clone(&other.guard);
        async move { guard.begin(who("ann", 2)).await.map(drop) }
    });
    drop(held);
    assert_eq!(waiting.await.unwrap(), Ok(()));
    one.until("the store is told", |node| node.untold() == 0).await;
    assert_eq!(one.said(Happening::GivenBack), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_be_remembered_gives_up_the_oldest() {
    let Some(mut server) = servers::Valkey::start() else { return };
    let [one, _] = Node::two(&server).await;
    server.kill();
    one.until("the store is away", |node| !node.valkey.is_up()).await;
    for number in 0..UNTOLD + 10 {
        assert_eq!(one.attempt(&format!("nobody{number}"), 1, Ending::Failed).await, Ok(()));
    }
    assert_eq!(one.untold(), UNTOLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_waits_for_what_is_told_of_its_account_and_no_longer_than_the_deadline() {
    let Some(mut server) = servers::Valkey::start() else { return };
    let valkey = connect_within(&server, Duration::from_millis(500)).await;
    let rule = BudgetRule { lock: Some(LockRule::new(6, Duration::from_mins(30))), window: None };
    let node = Node::on(valkey, &[CountedBy::Account], rule, WithoutStore::Local, 2);
    server.kill();
    node.until("the store is away", |node| !node.valkey.is_up()).await;
    assert_eq!(node.attempt("ann", 1, Ending::Failed).await, Ok(()));
    // Somebody tells that of ann, and does not get on.
    let turn = node.team().untold.turn(node.guard.caller(who("ann", 1)).account).expect("it waits");
    let telling = turn.lock().await;
    server.start_again();
    node.until("there is a connection", |node| node.valkey.is_up()).await;
    assert_eq!(node.attempt("ann", 2, Ending::Failed).await, Ok(()));
    assert_eq!(node.said(Happening::Alone), 2, "by what is known here");
    assert_eq!(node.guard.consult(who("ann", 2)).await, Ok(()));
    assert!(node.untold() > 0, "nobody else has told it meanwhile");
    drop(telling);
    node.until("the store is told", |node| node.untold() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_given_back_keeps_nobody_waiting_and_makes_room_for_what_counts() {
    let Some(server) = servers::Valkey::start() else { return };
    let node = Node::start(&server, WithoutStore::Local, 2).await;
    let account = |name: &str| node.guard.caller(who(name, 1)).account;
    let untold = Untold::default();
    for name in ["ann", "bob"] {
        assert!(!untold.add(node.settlement(name, Ending::Abandoned)));
    }
    assert!(untold.turn(account("ann")).is_none());
    for number in 0..UNTOLD - 2 {
        assert!(!untold.add(node.settlement(&format!("person{number}"), Ending::Failed)));
    }
    assert!(!untold.add(node.settlement("ann", Ending::Succeeded)), "what ann gave back goes first");
    assert_eq!(untold.oldest_given_back().map(|entry| entry.settlement.caller.account), Some(account("bob")));
    assert!(!untold.add(node.settlement("ann", Ending::Failed)), "then what bob did");
    assert!(!untold.add(node.settlement("cid", Ending::Abandoned)), "nor does it make room for itself");
    assert!(untold.turn(account("person0")).is_some());
    assert!(untold.add(node.settlement("bob", Ending::Failed)), "then the oldest that counts");
    assert!(untold.turn(account("person0")).is_none());
    assert_eq!((untold.oldest(), untold.count()), (Some(account("person1")), UNTOLD));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_of_an_account_is_told_in_its_order_by_one_at_a_time() {
    let Some(server) = servers::Valkey::start() else { return };
    let node = Node::start(&server, WithoutStore::Local, 2).await;
    let ann = node.guard.caller(who("ann", 1)).account;
    let untold = Untold::default();
    for ending in [Ending::Failed, Ending::Succeeded] {
        untold.add(node.settlement("ann", ending));
    }
    let turn = untold.turn(ann).unwrap();
    for ending in [Ending::Failed, Ending::Succeeded] {
        let entry = untold.first(ann, &turn).unwrap();
        assert_eq!(entry.settlement.ending, ending);
        assert!(Arc::ptr_eq(&untold.first(ann, &turn).unwrap().settlement, &entry.settlement), "until it is told");
        untold.told(&entry);
    }
    assert!(untold.first(ann, &turn).is_none() && untold.turn(ann).is_none());
    // A line that began anew belongs to another turn.
    untold.add(node.settlement("ann", Ending::Failed));
    assert!(untold.first(ann, &turn).is_none());
    assert!(untold.first(ann, &untold.turn(ann).unwrap()).is_some());
}
