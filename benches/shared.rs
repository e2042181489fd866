//! What it costs to spend a quota in Valkey beside one in this process: `cargo bench --bench shared`.
//!
//! The server is on this machine and spoken to over loopback, so this is the least that a round trip costs: what the network
//! takes comes on top. Without a server that part is skipped, and says so.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::model::{Entropy, NonEmpty, Secret, Tick};
use portcullis::rules::gcra::Quota;
use portcullis::store::counters::{Counters, Naming, SharedCounters};
use portcullis::store::valkey::{Login, Terms, Topology, Valkey, Watcher};

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

fn spending(c: &mut Criterion) {
    let quota = Quota::new(1_000_000, Duration::from_secs(1), 1_000_000, 1);
    let (here, caller) = (Counters::new(100_000), Naming::new(&Zeros).caller(["caller"]));
    let now = Tick::from_millis(1_000);
    c.bench_function("take of a quota here", |bencher| bencher.iter(|| here.take(black_box(caller), &quota, now)));
    let Some(server) = servers::Valkey::start() else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() else { return };
    let terms = Terms {
        servers: NonEmpty::one((server.address.ip().to_string().into(), server.address.port())),
        topology: Topology::Standalone,
        login: Login::default(),
        database: 0,
        tls: None,
        prefix: "bench".into(),
        secret: Secret::new("bench".to_owned()),
        deadline: Duration::from_secs(1),
    };
    let Ok(valkey) = runtime.block_on(async { Valkey::start(&terms, Arc::new(Unwatched)) }) else { return };
    assert!(runtime.block_on(valkey.ready(Duration::from_secs(10))), "the server is not connected to");
    let there = SharedCounters::new(valkey);
    let take = |key: &'static str| there.take(key, &quota);
    c.bench_function("take of a quota in Valkey", |bencher| {
        bencher.iter(|| assert!(runtime.block_on(take("bench:{a}")).is_ok()));
    });
    c.bench_function("take of three quotas in Valkey at once", |bencher| {
        let three = || async { tokio::join!(take("bench:{a}"), take("bench:{b}"), take("bench:{c}")) };
        bencher.iter(|| assert!(matches!(runtime.block_on(three()), (Ok(_), Ok(_), Ok(_)))));
    });
}

criterion_group!(shared, spending);
criterion_main!(shared);
