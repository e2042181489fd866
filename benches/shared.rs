//! What it costs to spend a quota, or to guard a login, in Valkey and in this process: `cargo bench --bench shared`.
//!
//! The server is on this machine and spoken to over loopback, so this is the least that a round trip costs: what the network
//! takes comes on top. Without a server that part is skipped, and says so.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::model::{Clock, CountedBy, Entropy, NonEmpty, Now, Secret, Source, Tick, Timestamp, WithoutStore};
use portcullis::rules::gcra::Quota;
use portcullis::rules::lockout::{Ending, LockRule};
use portcullis::rules::login_budget::BudgetRule;
use portcullis::store::counters::{Counters, Naming, SharedCounters};
use portcullis::store::login_guard::{GuardKey, GuardTerms, GuardWitness, Happening, LoginGuard, SharedTerms, Who};
use portcullis::store::valkey::{Login, Terms, Topology, Valkey, Watcher};
use tokio::runtime::Runtime;

/// The servers of the black-box tests, here too.
#[path = "../tests/it/support/servers/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "part of the tests; only some of it is needed here"
)]
mod servers;

/// Nothing here needs to be unpredictable.
#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[derive(Debug)]
struct Unwatched;

impl Watcher for Unwatched {
    fn is_up(&self, _: bool) {}

    fn failed(&self, _: &'static str) {}
}

impl GuardWitness for Unwatched {
    fn happened(&self, _: &str, _: Happening) {}

    fn failed(&self, _: &str, _: bool) {}

    fn not_kept(&self) {}
}

/// An instant that does not pass.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now { wall: Timestamp::from_secs(1_800_000_000), tick: Tick::from_millis(1_000) }
    }
}

fn connect(server: &servers::Valkey, runtime: &Runtime) -> Option<Valkey> {
    let terms = Terms {
        servers: NonEmpty::one((server.address.ip().to_string().into(), server.address.port())),
        topology: Topology::Standalone,
        login: Login::default(),
        database: 0,
        tls: None,
        prefix: "bench".into(),
        secret: Secret::new("a secret of thirty-two bytes or so".to_owned()),
        deadline: Duration::from_secs(1),
    };
    let valkey = runtime.block_on(async { Valkey::start(&terms, Arc::new(Unwatched)) }).ok()?;
    assert!(runtime.block_on(valkey.ready(Duration::from_secs(10))), "the server is not connected to");
    Some(valkey)
}

/// A guard that counts by account, here or in a store.
fn guard(shared: Option<Valkey>) -> Arc<LoginGuard> {
    let rule = BudgetRule { lock: Some(LockRule::new(5, Duration::from_mins(30))), window: None };
    let terms = GuardTerms { name: "login".into(), by: NonEmpty::one(CountedBy::Account), rule };
    let key = shared.as_ref().map_or_else(|| GuardKey::random(&Zeros), |valkey| GuardKey::shared(valkey.names()));
    let guard = LoginGuard::new(terms, &key, Arc::new(Still), Arc::new(Unwatched));
    Arc::new(match shared {
        Some(valkey) => {
            let sharing = SharedTerms { valkey, lease: Duration::from_mins(1), gateways: 2, without: WithoutStore::Local };
            guard.sharing(sharing, &Zeros)
        }
        None => guard,
    })
}

fn spending(c: &mut Criterion, runtime: &Runtime, valkey: Option<&Valkey>) {
    let quota = Quota::new(1_000_000, Duration::from_secs(1), 1_000_000, 1);
    let (here, caller) = (Counters::new(100_000), Naming::new(&Zeros).caller(["caller"]));
    let now = Tick::from_millis(1_000);
    c.bench_function("take of a quota here", |bencher| bencher.iter(|| here.take(black_box(caller), &quota, now)));
    let Some(valkey) = valkey else { return };
    let there = SharedCounters::new(valkey.clone());
    let take = |key: &'static str| there.take(key, &quota);
    c.bench_function("take of a quota in Valkey", |bencher| {
        bencher.iter(|| assert!(runtime.block_on(take("bench:{a}")).is_ok()));
    });
    c.bench_function("take of three quotas in Valkey at once", |bencher| {
        let three = || async { tokio::join!(take("bench:{a}"), take("bench:{b}"), take("bench:{c}")) };
        bencher.iter(|| assert!(matches!(runtime.block_on(three()), (Ok(_), Ok(_), Ok(_)))));
    });
}

/// A login from its reservation to its settlement.
fn guarding(c: &mut Criterion, runtime: &Runtime, valkey: Option<&Valkey>) {
    let source = Source::new(IpAddr::V4(Ipv4Addr::LOCALHOST)).key();
    for (name, shared) in [("here", Some(None)), ("in Valkey", valkey.cloned().map(Some))] {
        let Some(guard) = shared.map(|shared| runtime.block_on(async { guard(shared) })) else { continue };
        c.bench_function(&format!("reserve and settle a login {name}"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let begun = guard.begin(Who { account: black_box("ann@example.com"), source, client: None }).await;
                    assert!(begun.is_ok());
                    if let Ok(attempt) = begun {
                        attempt.settle(Ending::Succeeded).written().await;
                    }
                });
            });
        });
    }
}

fn all(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() else { return };
    let server = servers::Valkey::start();
    let valkey = server.as_ref().and_then(|server| connect(server, &runtime));
    spending(c, &runtime, valkey.as_ref());
    guarding(c, &runtime, valkey.as_ref());
}

criterion_group!(shared, all);
criterion_main!(shared);
