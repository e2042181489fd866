//! Attempts, locks and windows of the service against a real database, by a clock that is set by hand.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::world::{PASSWORD, PHONE, World, back_office, phone, secret, settings};
use crate::model::{Denial, Secret, Source, Timestamp};
use crate::plan::Environment;
use crate::tokens::identifier::{EmailAddress, Identifier};
use crate::tokens::refusal::Refusal;
use crate::tokens::session::{CodeRule, EntryRule, SessionRule, VerificationRule};
use crate::tokens::store::EmailFactor;
use crate::tokens::{
    Entered, Entry, Lock, LockId, LockKind, LogIn, LogInLimits, LogInRefused, LoggedIn, Operation, Outcome, Settings, SignIn,
    TokenService, Whom,
};

const EMAIL: &str = "ann@example.com";

/// A source whose address ends so.
fn from(last: u8) -> Source {
    Source::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
}

fn here() -> Source {
    from(1)
}

fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

async fn with_api_c() -> World {
    World::with(crate::plan::TokenService { back_office: Some(back_office()), ..settings() }).await
}

/// Another service on the same database, as another process would run it.
async fn beside(world: &World) -> TokenService {
    let settings = Settings::from_plan(&world.plan, Environment::Sandbox);
    TokenService::open(&world.plan.database, &world.plan.key_file, &settings, world.service.surroundings.clone()).await.unwrap()
}

/// A sign-in at API A.
async fn sign_in(world: &World, service: &TokenService, password: &str, proof: &Secret) -> Result<(), Refusal> {
    let (phone, password) = (phone(PHONE), secret(password));
    let request = SignIn { client: &world.client, phone: &phone, password: &password, proof, source: here() };
    service.sign_in(&CodeRule::oauth(world.api()), request).await.map(|_| ())
}

/// A login at API B.
async fn log_in(world: &World, address: &str, password: &str, source: Source) -> Result<LoggedIn, LogInRefused> {
    let api = world.plan.session.as_ref().unwrap();
    let (email, password) = (email(address), secret(password));
    let request = LogIn { program: "program", email: &email, password: &password, source };
    world.service.log_in(&SessionRule::session(api), &LogInLimits::session(api), request).await
}

/// A sign-in at API C.
async fn enter(world: &World, address: &str, password: &str, source: Source) -> Result<Entered, Refusal> {
    let rule = EntryRule::back_office(world.plan.back_office.as_ref().unwrap());
    let (email, password) = (email(address), secret(password));
    world.service.enter(&rule, Entry { email: &email, password: &password, source }).await
}

/// The token that a code is to be answered with.
async fn asked(world: &World) -> Secret {
    match enter(world, EMAIL, PASSWORD, here()).await.unwrap() {
        Entered::SecondFactor(factor) => factor.token,
        Entered::Open(_) => panic!("no second factor was asked for"),
    }
}

async fn confirm(world: &World, token: &Secret, code: &str) -> Result<Secret, Refusal> {
    let rule = EntryRule::back_office(world.plan.back_office.as_ref().unwrap());
    world.service.confirm(&rule, token, &secret(code), here()).await.map(|pair| pair.refresh)
}

async fn renew(world: &World, token: &Secret) -> Result<Secret, Refusal> {
    let rule = EntryRule::back_office(world.plan.back_office.as_ref().unwrap());
    world.service.refresh_own(&rule, token, here()).await.map(|pair| pair.refresh)
}

/// What became of an attempt that was refused, or should have been.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said {
    Passed,
    Wrong,
    Limit(u64),
    Locked(u64),
    Other(Refusal),
}

use Said::{Limit, Locked, Passed, Wrong};

fn refused<T>(outcome: Result<T, Refusal>) -> Said {
    match outcome {
        Ok(_) => Passed,
        Err(Refusal::ProofWrong) => Wrong,
        Err(Refusal::Denied(Denial::LimitReached(wait))) => Limit(wait.as_secs()),
        Err(Refusal::Denied(Denial::Locked(wait))) => Locked(wait.as_secs()),
        Err(other) => Said::Other(other),
    }
}

fn at_b(outcome: Result<LoggedIn, LogInRefused>) -> Said {
    match outcome {
        Ok(_) => Passed,
        Err(LogInRefused::Refused(refusal)) => refused::<()>(Err(refusal)),
        Err(held) => panic!("{held:?}"),
    }
}

#[tokio::test]
async fn what_keeps_somebody_out_is_listed_and_shown_and_can_be_cleared() {
    let world = with_api_c().await;
    for _ in 0..5 {
        assert_eq!(refused(enter(&world, EMAIL, "wrong", here()).await), Wrong);
        assert_eq!(refused(enter(&world, "nobody@example.com", "wrong", from(2)).await), Wrong);
        world.clock.advance(Duration::from_secs(2));
    }
    let locks = world.service.locks(None, 10).await.unwrap();
    assert_eq!(locks.len(), 2);
    let of_ann: Vec<&Lock> = locks.iter().filter(|lock| lock.account == Some(world.account.id)).collect();
    let [ann] = of_ann[..] else { panic!("{locks:?}") };
    assert_eq!((ann.kind, ann.failures, ann.identifier.as_deref()), (LockKind::Lock, 5, Some("a…@example.com")));
    assert_eq!(ann.until.since(ann.since), Duration::from_secs(8 + 1_800), "since the first failure, from the last on");
    assert_eq!(LockId::parse(&ann.id.to_string()), Some(ann.id));

    let first = world.service.locks(None, 1).await.unwrap();
    let rest = world.service.locks(Some(first[0].id), 10).await.unwrap();
    assert_eq!([first, rest].concat(), locks, "page by page");

    let nobody = email("nobody@example.com");
    let of_nobody = world.service.lock_of(Whom::Identifier(Identifier::Email(&nobody))).await.unwrap();
    assert_eq!((of_nobody.len(), of_nobody[0].account, of_nobody[0].identifier.as_deref()), (1, None, None));
    let number = phone(PHONE);
    assert_eq!(world.service.lock_of(Whom::Identifier(Identifier::Phone(&number))).await.unwrap(), std::slice::from_ref(ann));
    assert_eq!(world.service.clear_lock(Whom::Account(world.account.id)).await.unwrap().locks, std::slice::from_ref(ann));
    assert_eq!(world.service.clear_lock(Whom::Account(world.account.id)).await.unwrap().locks, []);
    world.clock.advance(Duration::from_mins(1));
    assert!(enter(&world, EMAIL, PASSWORD, here()).await.is_ok());
    assert_eq!(world.service.locks(None, 10).await.unwrap(), of_nobody, "others stay locked");
    assert_eq!(world.service.clear_lock(Whom::Named(of_nobody[0].id)).await.unwrap().locks, of_nobody);
    assert_eq!(world.service.locks(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_pause_is_listed_after_the_locks_and_cleared_by_account_or_by_source() {
    let world = with_api_c().await;
    for source in [1, 2] {
        for _ in 0..5 {
            assert!(enter(&world, EMAIL, PASSWORD, from(source)).await.is_ok());
        }
        assert_eq!(refused(enter(&world, EMAIL, PASSWORD, from(source)).await), Limit(600));
    }
    for _ in 0..4 {
        assert_eq!(at_b(log_in(&world, EMAIL, "wrong", here()).await), Wrong);
    }
    assert_eq!(at_b(log_in(&world, EMAIL, "wrong", here()).await), Wrong);
    let kinds: Vec<_> = world.service.locks(None, 10).await.unwrap().iter().map(|lock| lock.kind).collect();
    let pause = LockKind::Pause(Operation::SignIn);
    assert_eq!(kinds, [LockKind::Lock, pause, pause]);
    let [pausing] = &world.service.lock_of(Whom::Source(here().key())).await.unwrap()[..] else { panic!() };
    assert_eq!((pausing.kind, pausing.account, pausing.source.as_deref()), (pause, Some(world.account.id), Some("192.0.2.1")));
    assert_eq!(pausing.until.since(pausing.since), Duration::from_mins(10));
    assert_eq!(world.service.clear_lock(Whom::Source(here().key())).await.unwrap().locks, std::slice::from_ref(pausing));
    assert_eq!(
        world.service.clear_lock(Whom::Account(world.account.id)).await.unwrap().locks.len(),
        2,
        "the lock and the other pause"
    );
    assert!(enter(&world, EMAIL, PASSWORD, here()).await.is_ok());
    assert!(enter(&world, EMAIL, PASSWORD, from(2)).await.is_ok());
}

#[tokio::test]
async fn at_every_api_a_source_has_so_many_passwords_a_minute_whoever_it_names_and_the_rest_cost_no_hash() {
    let mut plan = crate::plan::TokenService { back_office: Some(back_office()), ..settings() };
    plan.oauth.as_mut().unwrap().logins_per_source = Some(3);
    plan.back_office.as_mut().unwrap().logins_per_source = Some(4);
    let world = World::with(plan).await;
    for number in 0..4 {
        let address = format!("nobody{number}@example.com");
        assert_eq!(refused(enter(&world, &address, "wrong", here()).await), Wrong);
    }
    for number in 4..20 {
        let address = format!("nobody{number}@example.com");
        assert_eq!(refused(enter(&world, &address, "wrong", here()).await), Limit(60));
    }
    let proof = world.proof().await;
    for _ in 0..3 {
        assert_eq!(refused(sign_in(&world, &world.service, "wrong", &proof).await), Wrong);
    }
    assert_eq!(refused(sign_in(&world, &world.service, PASSWORD, &proof).await), Limit(60));
    assert_eq!(world.service.password_checks(), 7);
    assert!(enter(&world, EMAIL, PASSWORD, from(2)).await.is_ok(), "another source");
    world.clock.advance(Duration::from_mins(1));
    assert!(enter(&world, EMAIL, PASSWORD, here()).await.is_ok());
    assert_eq!(sign_in(&world, &world.service, PASSWORD, &proof).await, Ok(()));
}

#[tokio::test]
async fn made_up_secrets_from_one_source_are_written_down_so_often_a_minute_and_no_more() {
    let mut plan = crate::plan::TokenService { back_office: Some(back_office()), ..settings() };
    plan.back_office.as_mut().unwrap().logins_per_source = Some(4);
    let world = World::with(plan).await;
    for number in 0..4 {
        let outcome = renew(&world, &secret(&format!("made up {number}"))).await;
        assert_eq!(refused(outcome), Said::Other(Refusal::RefreshInvalid));
    }
    assert_eq!(refused(renew(&world, &secret("made up 5")).await), Limit(60));
    let written = rows(&world, "attempt_window");
    for number in 6..50 {
        assert_eq!(refused(renew(&world, &secret(&format!("made up {number}"))).await), Limit(60));
    }
    assert_eq!(rows(&world, "attempt_window"), written);
    let Entered::Open(pair) = enter(&world, EMAIL, PASSWORD, here()).await.unwrap() else { panic!() };
    assert!(renew(&world, &pair.refresh).await.is_ok(), "a secret that leads to somebody is not held back");
}

#[tokio::test]
async fn a_source_that_fails_on_many_accounts_is_held_back_at_every_api_and_counted() {
    let mut plan = crate::plan::TokenService { back_office: Some(back_office()), ..settings() };
    plan.failures_per_source = Some(12);
    let mut world = World::with(plan).await;
    for number in 0..6 {
        let address = format!("nobody{number}@example.com");
        assert_eq!(refused(enter(&world, &address, "wrong", here()).await), Wrong);
        assert_eq!(at_b(log_in(&world, &address, "wrong", here()).await), Wrong);
        assert!(enter(&world, EMAIL, PASSWORD, here()).await.is_ok() || number > 4, "right ones count for nothing");
    }
    assert_eq!(at_b(log_in(&world, "nobody7@example.com", "wrong", here()).await), Wrong, "the thirteenth");
    world = world.restart().await;
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Limit(600));
    assert_eq!(refused(enter(&world, "nobody9@example.com", "wrong", here()).await), Limit(600));
    let proof = world.proof().await;
    assert_eq!(refused(sign_in(&world, &world.service, PASSWORD, &proof).await), Limit(600));
    let spraying = world.service.attempts().into_iter().find(|(outcome, _)| *outcome == Outcome::Spraying);
    assert_eq!(spraying, Some((Outcome::Spraying, 3)));
    let pauses = world.service.lock_of(Whom::Source(here().key())).await.unwrap();
    assert!(pauses.iter().any(|pause| pause.kind == LockKind::Pause(Operation::FailureFrom)));
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, from(2)).await), Passed, "another source");
    world.clock.advance(Duration::from_mins(10));
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Passed);
}

#[tokio::test]
async fn a_source_can_ask_for_so_many_codes_whoever_is_to_get_them() {
    let mut plan = settings();
    plan.oauth.as_mut().unwrap().codes_per_source = Some(3);
    let world = World::with(plan).await;
    let rule = VerificationRule::oauth(world.api());
    let ask = async |number: &str, source| refused(world.service.request_code(&rule, &phone(number), "en", source).await);
    for number in ["+40700000001", PHONE, "+40700000002"] {
        assert_eq!(ask(number, here()).await, Passed);
        world.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(ask(PHONE, here()).await, Limit(420));
    assert_eq!(ask("+40700000001", here()).await, Limit(420), "who is nobody is told the same");
    assert_eq!(ask(PHONE, from(2)).await, Passed);
    world.clock.advance(Duration::from_mins(7));
    assert_eq!(ask(PHONE, here()).await, Passed);
}

#[test]
fn the_name_of_a_lock_has_one_spelling() {
    let digits = "0f".repeat(32);
    for good in [format!("lock-{digits}"), format!("pause-{digits}")] {
        assert_eq!(LockId::parse(&good).unwrap().to_string(), good);
    }
    for bad in ["", "lock-", "lock", &digits, &format!("lock-{}", &digits[1..]), &format!("lock-{}", digits.to_uppercase())] {
        assert_eq!(LockId::parse(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn api_c_refuses_the_sixth_sign_in_of_any_minute_and_after_six_hundred_seconds_no_more() {
    let mut world = with_api_c().await;
    world.clock.advance(Duration::from_secs(50));
    for _ in 50..55 {
        assert!(enter(&world, EMAIL, PASSWORD, here()).await.is_ok());
        world.clock.advance(Duration::from_secs(2));
    }
    // From 50 to 58 s there were five; it is 60 s now.
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(refused(enter(&world, EMAIL, PASSWORD, here()).await), Limit(600), "at 61 s");
    world.clock.advance(Duration::from_mins(5));
    world = world.restart().await;
    assert_eq!(refused(enter(&world, EMAIL, PASSWORD, here()).await), Limit(300), "a restart forgets nothing");
    assert!(enter(&world, EMAIL, PASSWORD, from(2)).await.is_ok(), "another source");
    world.clock.advance(Duration::from_secs(299));
    assert_eq!(refused(enter(&world, EMAIL, PASSWORD, here()).await), Limit(1));
    world.clock.advance(Duration::from_secs(1));
    assert!(enter(&world, EMAIL, PASSWORD, here()).await.is_ok());
}

#[tokio::test]
async fn api_c_refuses_the_fourth_confirmation_and_the_sixth_refresh_and_a_restart_forgets_neither() {
    let mut world = with_api_c().await;
    assert!(world.service.switch_email_factor(world.account.id, EmailFactor::On).await.unwrap());
    let token = asked(&world).await;
    for _ in 0..3 {
        assert_eq!(refused(confirm(&world, &token, "000000").await), Wrong);
    }
    world = world.restart().await;
    assert_eq!(refused(confirm(&world, &token, "123456").await), Limit(600));
    world = world.restart().await;
    world.clock.advance(Duration::from_secs(599));
    assert_eq!(refused(confirm(&world, &token, "123456").await), Limit(1));
    world.clock.advance(Duration::from_secs(1));
    let token = asked(&world).await;
    let mut refresh = confirm(&world, &token, "123456").await.unwrap();
    for second in 0..5 {
        refresh = renew(&world, &refresh).await.unwrap();
        world.clock.advance(Duration::from_secs(second));
    }
    world = world.restart().await;
    assert_eq!(refused(renew(&world, &refresh).await), Limit(600));
    world = world.restart().await;
    world.clock.advance(Duration::from_secs(599));
    assert_eq!(refused(renew(&world, &refresh).await), Limit(1));
    world.clock.advance(Duration::from_secs(1));
    assert!(renew(&world, &refresh).await.is_ok());
}

#[tokio::test]
async fn api_b_answers_five_failures_and_then_locks_for_half_an_hour_whoever_it_is_and_through_a_restart() {
    let mut world = World::new().await;
    for address in [EMAIL, "nobody@example.com"] {
        for _ in 0..3 {
            assert_eq!(at_b(log_in(&world, address, "wrong", here()).await), Wrong, "{address}");
        }
        world = world.restart().await;
        for _ in 0..2 {
            assert_eq!(at_b(log_in(&world, address, "wrong", here()).await), Wrong, "{address}");
        }
        assert_eq!(at_b(log_in(&world, address, PASSWORD, here()).await), Locked(1_800), "{address}: the right one too");
    }
    world.clock.advance(Duration::from_secs(1_000));
    world = world.restart().await;
    for address in [EMAIL, "nobody@example.com"] {
        assert_eq!(at_b(log_in(&world, address, PASSWORD, here()).await), Locked(800), "{address}");
    }
    world.clock.advance(Duration::from_secs(799));
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Locked(1), "tries do not extend it");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Passed);
    assert_eq!(at_b(log_in(&world, "nobody@example.com", PASSWORD, here()).await), Wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_parallel_wrong_passwords_on_two_processes_five_are_hashed() {
    let world = Arc::new(World::new().await);
    let other = Arc::new(beside(&world).await);
    let proof = Arc::new(world.proof().await);
    let tries: Vec<_> = (0_u64..100)
        .map(|number| {
            let (world, other, proof) = (Arc::clone(&world), Arc::clone(&other), Arc::clone(&proof));
            // Split in no order that either could keep to.
            let first = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).is_multiple_of(2) ^ (number % 3 == 0);
            tokio::spawn(async move {
                let service = if first { &world.service } else { &other };
                sign_in(&world, service, "wrong", &proof).await
            })
        })
        .collect();
    let mut wrong = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Err(Refusal::ProofWrong) => wrong += 1,
            Err(Refusal::Denied(Denial::Locked(_))) => {}
            outcome => panic!("{outcome:?}"),
        }
    }
    assert_eq!((wrong, world.service.password_checks() + other.password_checks()), (5, 5));
    for service in [&world.service, &other] {
        assert_eq!(refused(sign_in(&world, service, PASSWORD, &proof).await), Locked(1_800));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_parallel_right_passwords_on_two_processes_pass_and_count_for_nothing() {
    let world = Arc::new(World::new().await);
    let other = Arc::new(beside(&world).await);
    let mut tries = Vec::new();
    for number in 0..20 {
        let (world, other, proof) = (Arc::clone(&world), Arc::clone(&other), world.proof().await);
        tries.push(tokio::spawn(async move {
            let service = if number % 3 == 0 { &world.service } else { &other };
            sign_in(&world, service, PASSWORD, &proof).await
        }));
    }
    for attempt in tries {
        assert_eq!(attempt.await.unwrap(), Ok(()));
    }
    assert_eq!(rows(&world, "attempt") + rows(&world, "attempt_in_flight"), 0);
}

#[tokio::test]
async fn windows_count_together_on_two_processes() {
    let world = with_api_c().await;
    let other = beside(&world).await;
    let rule = EntryRule::back_office(world.plan.back_office.as_ref().unwrap());
    let (address, password) = (email(EMAIL), secret(PASSWORD));
    let entry = Entry { email: &address, password: &password, source: here() };
    for service in [&world.service, &other, &world.service, &other, &world.service] {
        assert!(service.enter(&rule, entry).await.is_ok());
    }
    assert_eq!(refused(other.enter(&rule, entry).await), Limit(600));
    assert_eq!(refused(world.service.enter(&rule, entry).await), Limit(600));
}

/// How many rows a table has.
fn rows(world: &World, table: &str) -> i64 {
    world.ask(&format!("SELECT count(*) FROM {table}")).parse().unwrap()
}

/// Notices what others commit.
struct Watch<'a> {
    world: &'a World,
    file: Option<rusqlite::Connection>,
}

impl<'a> Watch<'a> {
    fn on(world: &'a World) -> Self {
        let file = match &world.plan.database {
            crate::plan::Database::Sqlite(path) => Some(rusqlite::Connection::open(path).unwrap()),
            crate::plan::Database::Postgres(_) => None,
        };
        Self { world, file }
    }

    /// Changes whenever anybody else has committed something; on PostgreSQL, which is shared with other tests, whenever a row
    /// that tells of attempts has another version.
    fn seen(&self) -> String {
        if let Some(file) = &self.file {
            return file.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap().to_string();
        }
        let versions = |table: &str| {
            let versions = "coalesce(string_agg(ctid::text || xmin::text, ' ' ORDER BY ctid), '')";
            self.world.ask(&format!("SELECT {versions} FROM {table}"))
        };
        ["attempt", "attempt_in_flight", "attempt_window"].map(versions).join(" ")
    }
}

#[tokio::test]
async fn whoever_is_locked_or_pauses_costs_no_commit() {
    let world = with_api_c().await;
    let watch = Watch::on(&world);
    for _ in 0..5 {
        assert!(enter(&world, EMAIL, "wrong", here()).await.is_err());
    }
    let fresh = watch.seen();
    assert!(enter(&world, "nobody@example.com", "wrong", here()).await.is_err());
    assert_ne!(watch.seen(), fresh, "what is written is noticed");
    let before = watch.seen();
    for _ in 0..10 {
        assert_eq!(refused(enter(&world, EMAIL, PASSWORD, from(2)).await), Locked(1_800));
    }
    assert_eq!(watch.seen(), before, "locked");
    for _ in 0..6 {
        drop(renew(&world, &secret("unknown")).await);
    }
    let before = watch.seen();
    for _ in 0..10 {
        assert_eq!(refused(renew(&world, &secret("unknown")).await), Limit(600));
    }
    assert_eq!(watch.seen(), before, "pausing");
}

#[tokio::test]
async fn a_wrong_code_counts_towards_the_lock_once_for_each_challenge() {
    let world = with_api_c().await;
    assert!(world.service.switch_email_factor(world.account.id, EmailFactor::On).await.unwrap());
    let (rule, number) = (VerificationRule::oauth(world.api()), phone(PHONE));
    // Two challenges of API A, each tried until it is void; right codes and right passwords between them forget nothing.
    for _ in 0..2 {
        world.service.request_code(&rule, &number, "en", here()).await.unwrap();
        for _ in 0..5 {
            let wrong = world.service.verify_code(&rule, &number, &secret("000000")).await;
            assert_eq!(refused(wrong), Wrong);
        }
        world.proof().await;
    }
    // Three of API C, each tried once.
    for _ in 0..3 {
        let token = asked(&world).await;
        assert_eq!(refused(confirm(&world, &token, "000000").await), Wrong);
        world.clock.advance(Duration::from_secs(30));
    }
    let token = enter(&world, EMAIL, PASSWORD, here()).await;
    assert_eq!(refused(token), Locked(1_770));
    assert_eq!(refused(world.service.verify_code(&rule, &number, &secret("123456")).await), Locked(1_770));
}

#[tokio::test]
async fn wrong_codes_for_a_number_that_is_nobodys_lock_it_like_an_account() {
    let world = World::new().await;
    let rule = VerificationRule::oauth(world.api());
    for number in [PHONE, "+40799999999"].map(phone) {
        for _ in 0..5 {
            world.service.request_code(&rule, &number, "en", here()).await.unwrap();
            let wrong = world.service.verify_code(&rule, &number, &secret("000000")).await;
            assert_eq!(refused(wrong), Wrong);
        }
        assert_eq!(refused(world.service.verify_code(&rule, &number, &secret("000000")).await), Locked(1_800), "{number:?}");
    }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_neither_keeps_a_lock_for_ever_nor_ends_it_by_a_small_step() {
    let world = World::new().await;
    for _ in 0..5 {
        assert_eq!(at_b(log_in(&world, EMAIL, "wrong", here()).await), Wrong);
    }
    let now = world.service.now().wall;
    world.clock.set_wall(now.before(Duration::from_secs(1)));
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Locked(1_800), "another process is a second behind");
    world.clock.set_wall(now.after(Duration::from_secs(1)));
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Locked(1_799), "or ahead");
    world.clock.set_wall(Timestamp::from_secs(5));
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Locked(1_800), "set back by years");
    world.clock.advance(Duration::from_secs(1_799));
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Locked(1));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Passed);
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_keeps_no_window_full_for_longer_than_it_is() {
    let mut plan = settings();
    plan.session.as_mut().unwrap().logins = 2;
    let world = World::with(plan).await;
    for _ in 0..2 {
        assert_eq!(at_b(log_in(&world, EMAIL, PASSWORD, here()).await), Passed);
    }
    world.clock.set_wall(Timestamp::from_secs(5));
    let wait = |seconds| Err(LogInRefused::AccountLimit(Duration::from_secs(seconds)));
    let again = async || log_in(&world, EMAIL, PASSWORD, here()).await.map(|_| ());
    assert_eq!(again().await, wait(3_600));
    world.clock.advance(Duration::from_secs(3_599));
    assert_eq!(again().await, wait(1));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(again().await, Ok(()));
}

#[tokio::test]
async fn attempts_of_a_process_that_died_count_until_their_lease_is_over() {
    let world = World::new().await;
    let proof = world.proof().await;
    let subject = world.service.subject_of(world.account.id);
    for _ in 0..5 {
        std::mem::forget(world.service.begin(subject, &[]).await.unwrap());
    }
    let other = beside(&world).await;
    let busy = refused(sign_in(&world, &other, PASSWORD, &proof).await);
    assert_eq!(busy, Limit(1), "nobody knows how they end, and so this is no lock");
    world.clock.advance(crate::tokens::store::LEASE);
    assert_eq!(sign_in(&world, &other, PASSWORD, &proof).await, Ok(()));
    assert_eq!(rows(&world, "attempt_in_flight"), 0);
}

#[tokio::test]
async fn an_attempt_that_is_dropped_is_given_back() {
    let world = World::new().await;
    let subject = world.service.subject_of(world.account.id);
    for _ in 0..20 {
        drop(world.service.begin(subject, &[]).await.unwrap());
    }
    while rows(&world, "attempt_in_flight") > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rows(&world, "attempt"), 0);
}

#[tokio::test]
async fn when_all_attempts_are_in_flight_the_next_waits_for_one_to_settle_wherever_it_does() {
    let world = World::new().await;
    let other = beside(&world).await;
    let subject = world.service.subject_of(world.account.id);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(other.begin(subject, &[]).await.unwrap());
    }
    let now = world.service.now().wall;
    let waiting = world.service.begin(subject, &[]);
    let settles = async { held.pop().unwrap().settle(crate::rules::lockout::Ending::Succeeded, now).await.unwrap() };
    let (admitted, ()) = tokio::join!(biased; waiting, settles);
    assert!(admitted.is_ok());
}

#[tokio::test]
async fn what_is_over_is_forgotten_when_it_is_cleaned_up() {
    let world = with_api_c().await;
    // Each address has a window, and the source one of its sign-ins and one of its failures.
    for address in [EMAIL, "nobody@example.com"] {
        for _ in 0..5 {
            assert!(enter(&world, address, "wrong", here()).await.is_err());
        }
    }
    assert_eq!((rows(&world, "attempt"), rows(&world, "attempt_window")), (2, 4));
    world.service.clean_up(world.service.now()).await.unwrap();
    assert_eq!((rows(&world, "attempt"), rows(&world, "attempt_window")), (2, 4));
    world.clock.advance(Duration::from_hours(1));
    world.service.clean_up(world.service.now()).await.unwrap();
    assert_eq!((rows(&world, "attempt"), rows(&world, "attempt_window")), (0, 0));
}
