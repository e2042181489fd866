//! What the parts of a decision cost, without sockets: `cargo bench --bench decide`.
//!
//! Only public parts of the library, over a plan compiled from configuration text as at start-up. Everything is warm: the
//! token is remembered, and `admit` must then complete without being suspended, which is asserted on every call. What gateways
//! share is asked of a real server on loopback, which is started for it where there is one.

#[path = "../tests/it/support/servers/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the servers of the tests, of which only one is needed here"
)]
mod servers;

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{fmt, io};

use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, header};
use portcullis::flow::{Admission, Flow, LimitOutcome, LimitTally, Limits, Standing};
use portcullis::model::{
    Clock, CountedBy, Credential, Entropy, IssuerId, NonEmpty, Now, PrincipalFacts, RequestHead, ScopeSet, Secret, Source,
    Tick, Timestamp, WithoutStore,
};
use portcullis::plan::compile::{self, Machine, SecretSource};
use portcullis::plan::{Issuer, IssuerKind, Plan};
use portcullis::rules::head::{self, Examined, HeadLimits};
use portcullis::rules::lockout::{Ending, LockRule};
use portcullis::rules::login_budget::BudgetRule;
use portcullis::rules::path;
use portcullis::store::cuts::Cuts;
use portcullis::store::login_guard::{GuardKey, GuardTerms, GuardWitness, Happening, LoginGuard, SharedTerms};
use portcullis::store::revocations::{Revocations, Unwitnessed};
use portcullis::store::valkey::{Login, Terms, Topology, Valkey, Watcher};
use portcullis::verify::in_process::EmbeddedTokens;
use portcullis::verify::observe::Unobserved;
use portcullis::verify::setup::{Needs, Setup};
use portcullis::verify::{Recall, Unavailable, Verifier};

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

/// An instant that does not pass.
const NOW: Now = Now { wall: Timestamp::from_secs(1_800_000_000), tick: Tick::from_millis(1_000) };

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        NOW
    }
}

/// Nothing here needs to be unpredictable.
#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[derive(Debug)]
struct OneSecret;

impl SecretSource for OneSecret {
    fn variable(&self, _: &str) -> Option<String> {
        Some("secret".into())
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A token service that vouches for every token.
#[derive(Debug)]
struct Vouching;

#[async_trait]
impl EmbeddedTokens for Vouching {
    async fn introspect(&self, _: &str) -> Result<Option<PrincipalFacts>, Unavailable> {
        let scopes = ScopeSet::parse("items:read items:write").unwrap_or_default();
        let subject = Some("user-1".into());
        Ok(Some(PrincipalFacts { subject, scopes, ..PrincipalFacts::of_issuer(IssuerId(0)) }))
    }
}

#[derive(Debug)]
struct Uncounted;

impl LimitTally for Uncounted {
    fn limited(&self, _: &str, _: LimitOutcome) {}
}

/// A gateway without sockets in which `TOKEN` is remembered.
struct Bench {
    plan: Plan,
    verifier: Arc<Verifier>,
    flow: Flow,
}

impl Bench {
    fn with(routes: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let plan =
            compile::load("bench.toml", &configuration(routes)?, &OneSecret, Machine { cores: 1, folder: Path::new(".") });
        let (plan, _) = plan.map_err(|report| report.render(portcullis::config::Colour::Plain))?;
        let cuts = Arc::new(Cuts::new(Duration::from_mins(1)));
        // The plan names a remote service. In its place one in this process vouches, so that no socket is needed.
        let issuers = [Issuer { name: "bench".into(), id: IssuerId(0), kind: IssuerKind::Embedded }];
        let verifier = Arc::new(Verifier::new(Setup {
            issuers: &issuers,
            limits: &plan.cache,
            needs: Needs::of(&plan.routes),
            cuts: Arc::clone(&cuts),
            clock: Arc::new(Still),
            entropy: &Zeros,
            embedded: Some(Arc::new(Vouching)),
            observer: Arc::new(Unobserved),
        })?);
        let limits = Limits::new(&plan.limits, &Zeros, Arc::new(Uncounted));
        let flow = Flow::new(Arc::clone(&verifier), Revocations::new(cuts, None, Arc::new(Unwitnessed)), limits);
        let bench = Self { plan, verifier, flow };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let headers = headers();
        let (first, mut standing) = (request(&headers, "/services/7/items/4711"), Standing::default());
        let first = runtime.block_on(bench.flow.admit(&bench.plan, &first, NOW, &mut standing));
        first.map_err(|refusal| format!("the first request is refused: {:?}", refusal.denial))?;
        Ok(bench)
    }
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
    // The instant does not pass, so nothing comes back: a dry run passes all the same, and is otherwise spent like any other.
    text += r#"
            [limit.per-source]
            rate = "100000/1s"
            key = "source"
            dry_run = true
            [limit.per-subject]
            rate = "100000/1s"
            key = "subject"
            dry_run = true
            [[route]]
            path = "/limited/items/**"
            upstream = "items"
            limits = ["per-source", "per-subject"]
            access = { bearer = { issuers = ["bench"], scopes = ["items:read"] } }
            "#;
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
        let bench = match Bench::with(routes) {
            Ok(bench) => bench,
            Err(error) => return assert_eq!(error.to_string(), "", "the bench cannot be set up"),
        };
        // The last route of the file, so that a table that is searched from the front shows it.
        let path = format!("/services/{}/items/4711", routes - 1);
        let head = request(&headers, &path);
        c.bench_with_input(BenchmarkId::new("match a route of", routes), &head, |bencher, head| {
            bencher.iter(|| black_box(bench.plan.table.find(black_box(head.host), black_box(head.path), head.method, None)));
        });
        c.bench_with_input(BenchmarkId::new("admit with routes", routes), &head, |bencher, head| {
            bencher.iter(|| admit_at_once(&bench, head));
        });
    }
}

fn remembering(c: &mut Criterion) {
    let bench = match Bench::with(10) {
        Ok(bench) => bench,
        Err(error) => return assert_eq!(error.to_string(), "", "the bench cannot be set up"),
    };
    let (headers, path) = (headers(), "/limited/items/4711");
    c.bench_function("admit with two limits", |bencher| {
        let head = request(&headers, path);
        bencher.iter(|| admit_at_once(&bench, &head));
    });
    let Some(route) = bench.plan.routes.first() else { return };
    let Some(requirements) = route.access.requirements() else { return };
    c.bench_function("recall a token", |bencher| {
        bencher.iter(|| {
            let recalled = bench.verifier.recall(&Credential::new(black_box(TOKEN)), requirements, &route.freshness, NOW);
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

/// Decides about a request whose token is remembered: at once, or the claim that this costs no suspension is false.
fn admit_at_once(bench: &Bench, head: &RequestHead<'_>) {
    let mut standing = Standing::default();
    let decision = pin!(bench.flow.admit(&bench.plan, black_box(head), NOW, &mut standing));
    let polled = decision.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(Admission::Forward(_)))));
}

#[derive(Debug)]
struct Unwatched;

impl Watcher for Unwatched {
    fn is_up(&self, _: bool) {}

    fn failed(&self, _: &'static str) {}
}

impl GuardWitness for Unwatched {
    fn happened(&self, _: &str, _: Happening) {}

    fn not_kept(&self) {}
}

/// A guard that counts by account, here or in a store.
fn guard(shared: Option<Valkey>) -> Result<Arc<LoginGuard>, portcullis::model::EmptyList> {
    let rule = BudgetRule { lock: Some(LockRule::new(5, Duration::from_mins(30))), window: None };
    let terms = GuardTerms { name: "login".into(), by: NonEmpty::new(vec![CountedBy::Account])?, rule };
    let key = shared.as_ref().map_or_else(|| GuardKey::random(&Zeros), |valkey| GuardKey::shared(valkey.names()));
    let guard = LoginGuard::new(terms, &key, Arc::new(Still), Arc::new(Unwatched));
    Ok(Arc::new(match shared {
        Some(valkey) => {
            let sharing = SharedTerms { valkey, lease: Duration::from_mins(1), gateways: 2, without: WithoutStore::Local };
            guard.sharing(sharing, &Zeros)
        }
        None => guard,
    }))
}

async fn connect(server: &servers::Valkey) -> Option<Valkey> {
    let terms = Terms {
        servers: NonEmpty::new(vec![(server.address.ip().to_string().into(), server.address.port())]).ok()?,
        topology: Topology::Standalone,
        login: Login::default(),
        database: 0,
        tls: None,
        prefix: "bench".into(),
        secret: Secret::new("a secret of thirty-two bytes or so".to_owned()),
        deadline: Duration::from_secs(2),
    };
    let valkey = Valkey::start(&terms, Arc::new(Unwatched)).ok()?;
    valkey.ready(Duration::from_mins(1)).await.then_some(valkey)
}

/// A login from its reservation to its settlement.
fn guarding(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() else { return };
    let server = servers::Valkey::start();
    let shared = server.as_ref().and_then(|server| runtime.block_on(connect(server)));
    for (name, shared) in [("here", Some(None)), ("in Valkey", shared.map(Some))] {
        let Some(Ok(guard)) = shared.map(|shared| runtime.block_on(async { guard(shared) })) else { continue };
        let source = Source::new(IpAddr::V4(Ipv4Addr::LOCALHOST)).key();
        c.bench_function(&format!("reserve and settle a login {name}"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let begun = guard.begin(black_box("ann@example.com"), source).await;
                    assert!(begun.is_ok());
                    if let Ok(attempt) = begun {
                        attempt.settle(Ending::Succeeded).written().await;
                    }
                });
            });
        });
    }
}

criterion_group!(decide, reading, deciding, remembering, guarding);
criterion_main!(decide);
