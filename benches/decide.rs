//! What the parts of a decision cost, without sockets: `cargo bench --bench decide`.
//!
//! Only public parts of the library, over a plan compiled from configuration text as at start-up. Everything is warm: the
//! token is remembered, and `admit` must then complete without being suspended, which is asserted on every call.

mod support;

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, header};
use portcullis::flow::{Admission, Standing};
use portcullis::model::{Clock, Credential, Now, RequestHead, Source};
use portcullis::rules::gcra::{Quota, Verdict};
use portcullis::rules::head::{self, Examined, HeadLimits};
use portcullis::rules::lockout::Ending;
use portcullis::rules::path;
use portcullis::store::counters::{CallerKey, Counters, Naming};
use portcullis::store::login_guard::Who;
use portcullis::verify::Recall;

use support::{ByHand, Gateway, START, Zeros, at_once, login_guard};

/// How many routes a gateway has in these benches.
const ROUTES: [usize; 3] = [10, 1_000, 10_000];
const TOKEN: &str = "7b1f6f6e-6b7e-4c58-9e2e-2f6a3c1d9b47";
/// A request as a browser behind a mobile network sends it.
const HEAD: &[u8] = b"GET /services/7/items/4711?expand=lines HTTP/1.1\r\n\
    Host: api.example.test\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Accept-Language: en-GB,en;q=0.8,ko;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Authorization: Bearer 7b1f6f6e-6b7e-4c58-9e2e-2f6a3c1d9b47\r\n\
    Origin: https://app.example.test\r\n\
    Referer: https://app.example.test/\r\n\
    \r\n";

/// Callers, or accounts, that come in turn where it matters that there are many.
const MANY: u32 = 100_000;

/// A gateway in which `TOKEN` is remembered.
fn gateway(routes: usize) -> Result<Gateway, Box<dyn std::error::Error>> {
    let gateway = Gateway::with(&configuration(routes)?, Arc::new(ByHand::default()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let headers = headers();
    let (first, mut standing) = (request(&headers, "/services/7/items/4711"), Standing::default());
    let first = runtime.block_on(gateway.flow.admit(&gateway.plan, &first, START, &mut standing));
    first.map_err(|refusal| format!("the first request is refused: {:?}", refusal.denial))?;
    Ok(gateway)
}

fn configuration(routes: usize) -> Result<String, fmt::Error> {
    let mut text = String::from(
        r#"
        environment = "sandbox"
        listener = [{ address = "127.0.0.1:8080" }]
        [issuer.bench.introspection]
        url = "http://127.0.0.1:9000/introspect"
        client = { basic = { id = "bench", secret = { env = "BENCH_SECRET" } } }
        [upstream.items]
        servers = ["http://127.0.0.1:9001"]
        "#,
    );
    for number in 0..routes {
        write!(
            text,
            r#"
            [[route]]
            path = "/services/{number}/items/**"
            upstream = "items"
            access = {{ bearer = {{ issuers = ["bench"], scopes = ["items:read"] }} }}
            "#
        )?;
    }
    Ok(text)
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("api.example.test"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer 7b1f6f6e-6b7e-4c58-9e2e-2f6a3c1d9b47"));
    headers
}

fn request<'r>(headers: &'r HeaderMap, path: &'r str) -> RequestHead<'r> {
    let source = Source::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
    RequestHead { method: &Method::GET, path, query: None, host: "api.example.test", headers, source }
}

fn reading(c: &mut Criterion) {
    let limits = HeadLimits { head_bytes: 16 * 1024, target_bytes: 8 * 1024, fields: 100 };
    c.bench_function("examine a head", |bencher| {
        bencher.iter(|| {
            let examined = head::examine(black_box(HEAD), 0, &limits);
            assert!(matches!(examined, Ok(Examined::Complete(_))));
        });
    });
    c.bench_function("normalize a path", |bencher| bencher.iter(|| path::normalize(black_box("/services/7/items/4711"))));
    c.bench_function("normalize a path that is spelt oddly", |bencher| {
        bencher.iter(|| path::normalize(black_box("/services/%37/items/%34711")));
    });
}

fn deciding(c: &mut Criterion) {
    let headers = headers();
    for routes in ROUTES {
        // The last route of the file, so that a table that is searched from the front shows it.
        let path = format!("/services/{}/items/4711", routes - 1);
        let head = request(&headers, &path);
        match gateway(routes) {
            Ok(bench) => c.bench_with_input(BenchmarkId::new("match a route of", routes), &head, |bencher, head| {
                bencher
                    .iter(|| black_box(bench.plan.table.find(black_box(head.host), black_box(head.path), head.method, None)));
            }),
            Err(error) => return assert_eq!(error.to_string(), "", "the bench cannot be set up"),
        };
        // Another one: what a service inside says of a token is remembered for 15 seconds, whatever time it is here.
        match gateway(routes) {
            Ok(bench) => c.bench_with_input(BenchmarkId::new("admit with routes", routes), &head, |bencher, head| {
                bencher.iter(|| admit_at_once(&bench, head, START));
            }),
            Err(error) => return assert_eq!(error.to_string(), "", "the bench cannot be set up"),
        };
    }
}

fn remembering(c: &mut Criterion) {
    let bench = match gateway(10) {
        Ok(bench) => bench,
        Err(error) => return assert_eq!(error.to_string(), "", "the bench cannot be set up"),
    };
    let Some(route) = bench.plan.routes.first() else { return };
    let Some(requirements) = route.access.requirements() else { return };
    c.bench_function("recall a token", |bencher| {
        bencher.iter(|| {
            let recalled = bench.verifier.recall(&Credential::new(black_box(TOKEN)), requirements, &route.freshness, START);
            assert!(matches!(recalled, Recall::Known(..)));
        });
    });
    c.bench_function("dress a response", |bencher| {
        let mut response = HeaderMap::with_capacity(32);
        bencher.iter(|| {
            response.clear();
            response.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            route.envelope.dress(None, black_box(&mut response));
        });
    });
}

/// A clock that 50 calls bring a millisecond further, so that what one of them spends is there again for a later one.
#[derive(Default)]
struct Moving {
    clock: ByHand,
    calls: Cell<u32>,
}

impl Moving {
    fn now(&self) -> Now {
        let calls = self.calls.get().wrapping_add(1);
        self.calls.set(calls);
        if calls.is_multiple_of(50) {
            self.clock.pass(1);
        }
        self.clock.now()
    }
}

/// One limit, in memory. Over Valkey it is a round trip more.
fn limiting(c: &mut Criterion) {
    let (quota, naming) = (Quota::new(100_000, Duration::from_secs(1), 100_000, 1), Naming::new(&Zeros));
    let take = |counters: &Counters, caller: CallerKey, now: Now| {
        let taken = counters.take(caller, &quota, now.tick);
        assert!(matches!(taken.verdict, Verdict::Admitted { .. }) && !taken.shared);
    };
    c.bench_function("limit: take from one caller's quota", |bencher| {
        let (counters, moving) = (Counters::new(1_000), Moving::default());
        bencher.iter(|| take(&counters, naming.caller([black_box("user-1")]), moving.now()));
    });
    c.bench_function("limit: take from 100,000 callers' in turn", |bencher| {
        let (counters, moving) = (Counters::new(200_000), Moving::default());
        bencher.iter(|| take(&counters, naming.caller([moving.calls.get() % MANY]), moving.now()));
    });
}

/// One login guard with two counters, in memory: an attempt is reserved and settled. Over Valkey it is two round trips more.
fn guarding(c: &mut Criterion) {
    let source = Source::new(IpAddr::V4(Ipv4Addr::LOCALHOST)).key();
    c.bench_function("login guard: reserve and settle a right password", |bencher| {
        let guard = login_guard(Arc::new(ByHand::default()));
        bencher.iter(|| {
            let attempt = at_once(guard.begin(Who { account: black_box("ada@example.com"), source, client: None }));
            assert!(attempt.is_some_and(|attempt| attempt.map(|attempt| attempt.settle(Ending::Succeeded)).is_ok()));
        });
    });
    c.bench_function("login guard: reserve and settle the failures of 10,000 accounts", |bencher| {
        let clock = Arc::new(ByHand::default());
        let guard = login_guard(Arc::clone(&clock) as Arc<dyn Clock>);
        let names: Vec<String> = (0..10_000).map(|number| format!("user-{number}@example.com")).collect();
        let mut turn = (0..5).flat_map(|round| names.iter().map(move |name| (round, name))).cycle();
        bencher.iter(|| {
            // 10,000 of them are more than a minute, so that no window fills; one in five is right, so that nothing is locked.
            clock.pass(7);
            let Some((round, name)) = turn.next() else { return };
            let attempt = at_once(guard.begin(Who { account: name, source, client: None }));
            let ending = if round == 4 { Ending::Succeeded } else { Ending::Failed };
            assert!(attempt.is_some_and(|attempt| attempt.map(|attempt| attempt.settle(ending)).is_ok()));
        });
    });
}

/// Decides about a request whose token is remembered: at once, or the claim that this costs no suspension is false.
fn admit_at_once(gateway: &Gateway, head: &RequestHead<'_>, now: Now) {
    let mut standing = Standing::default();
    let admitted = at_once(gateway.flow.admit(&gateway.plan, black_box(head), now, &mut standing));
    assert!(matches!(admitted, Some(Ok(Admission::Forward(_)))));
}

criterion_group!(decide, reading, deciding, remembering, limiting, guarding);
criterion_main!(decide);
