//! What a million of something takes in memory, and whether what was there before a flood is there after it:
//! `cargo run --release --example memory`.
//!
//! Prints the resident set of a process in which nothing else happens, before and after: a limit's table that is flooded
//! with random callers, a login guard's with failures of accounts that do not exist, the cache of tokens with good ones. Fails
//! if a flood pushes out somebody's count, or lets more pass than there is room for.

#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use portcullis::flow::{Admission, Standing};
use portcullis::model::{Clock, Credential, Denial, RequestHead, Source};
use portcullis::rules::gcra::{Quota, Verdict};
use portcullis::rules::lockout::Ending;
use portcullis::store::counters::{Counters, Naming};
use portcullis::store::login_guard::{COUNTERS, Who};
use portcullis::verify::Recall;

use support::{ByHand, Gateway, START, Zeros, at_once, login_guard};

// As the binary has it, for the allocator decides about much of the answer.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MILLION: u32 = 1_000_000;

type Outcome = Result<(), Box<dyn Error>>;

/// Each in a process of its own, because what one gives back another would find.
fn main() -> Outcome {
    match std::env::args().nth(1).as_deref() {
        Some("limit") => limit(),
        Some("guard") => guard(),
        Some("tokens") => tokens(),
        Some(other) => Err(format!("no `{other}` here: limit, guard, tokens, or nothing for all").into()),
        None => ["limit", "guard", "tokens"].into_iter().try_for_each(|part| {
            let ended = Command::new(std::env::current_exe()?).arg(part).status()?;
            ensure(ended.success(), part)
        }),
    }
}

/// A limit's table with room for a million.
fn limit() -> Outcome {
    let (quota, naming) = (Quota::new(5, Duration::from_hours(1), 5, 1), Naming::new(&Zeros));
    let clock = ByHand::default();
    let begun = resident()?;
    let counters = Counters::new(usize::try_from(MILLION)?);
    let ada = naming.caller(["ada"]);
    let passes = |caller| matches!(counters.take(caller, &quota, clock.now().tick).verdict, Verdict::Admitted { .. });
    ensure((0..5).all(|_| passes(ada)) && !passes(ada), "a quota is as large as it says")?;
    let flood = |callers: std::ops::Range<u32>| callers.filter(|number| passes(naming.caller([number]))).count();
    let first = flood(0..MILLION);
    tell("limit: a million random callers", begun, resident()?, counters.len())?;
    let further = flood(MILLION..3 * MILLION);
    tell("limit: two million more", begun, resident()?, counters.len())?;
    // Of those without room 256 shards let as many pass as one caller's burst.
    let most = counters.capacity() + 256 * 5;
    ensure(!passes(ada), "who had spent a quota has not got it back by a flood")?;
    ensure(counters.len() <= counters.capacity() && first + further <= most, "a full table is no way around a limit")?;
    clock.pass(3_600_000);
    ensure(flood(0..1000) == 1000 && passes(ada), "an hour later there is room again, and every quota is whole")?;
    let (all, room) = (3 * MILLION, counters.capacity());
    say(&format!("  of {all} first requests {} passed; room for {room}, and no more than {most} can pass", first + further))
}

/// A login guard's table, which has a fixed size.
fn guard() -> Outcome {
    let source = Source::new(Ipv4Addr::LOCALHOST.into()).key();
    let begun = resident()?;
    let guard = login_guard(Arc::new(ByHand::default()));
    let fail = |account: &str| match at_once(guard.begin(Who { account, source, client: None })) {
        // Nothing is written down here, so there is nothing to wait for.
        Some(attempt) => attempt.map(|attempt| drop(attempt.settle(Ending::Failed))),
        None => Err(Denial::NoRoute),
    };
    for _ in 0..5 {
        fail("ada@example.com").map_err(|denial| denial.reason())?;
    }
    let (all, counters) = (MILLION, COUNTERS);
    let failed = (0..all).filter(|number| fail(&format!("{number}@example.com")).is_ok()).count();
    tell("login guard: counters after failures under a million names", begun, resident()?, counters)?;
    ensure(matches!(fail("ada@example.com"), Err(Denial::Locked(_))), "who is locked stays so in a flood")?;
    ensure(failed <= COUNTERS, "beyond its size nothing begins")?;
    say(&format!("  two for each account, so {failed} of {all} went on to the token service; the others got 503"))
}

/// The cache of tokens with a million good ones, each of a subject and a session of its own.
fn tokens() -> Outcome {
    let configuration = r#"
        environment = "sandbox"
        listener = [{ address = "127.0.0.1:8080" }]
        cache = { tokens = 1_200_000, miss_burst = 1_000_000 }
        [issuer.bench.introspection]
        url = "http://127.0.0.1:9000/introspect"
        client = { basic = { id = "bench", secret = { env = "BENCH_SECRET" } } }
        [upstream.items]
        servers = ["http://127.0.0.1:9001"]
        [[route]]
        path = "/**"
        upstream = "items"
        # So that none is forgotten while others still come.
        on_outage = { grace = "1h" }
        access = { bearer = { scopes = ["items:read"] } }
        "#;
    let clock = Arc::new(ByHand::default());
    let gateway = Gateway::with(configuration, Arc::clone(&clock) as Arc<dyn Clock>)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let begun = resident()?;
    for number in 0..MILLION {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", token(number)))?);
        let source = Source::new(Ipv4Addr::from_bits(number).into());
        let (method, path, host, headers) = (&Method::GET, "/x", "api.example.test", &headers);
        let head = RequestHead { method, path, query: None, host, headers, source };
        let admitted = runtime.block_on(gateway.flow.admit(&gateway.plan, &head, START, &mut Standing::default()));
        ensure(matches!(admitted, Ok(Admission::Forward(_))), "a good token is let through")?;
    }
    let route = gateway.plan.routes.first().ok_or("there is a route")?;
    let requirements = route.access.requirements().ok_or("it asks for a token")?;
    let remembered = |number: &u32| {
        let token = token(*number);
        let recalled = gateway.verifier.recall(&Credential::new(&token), requirements, &route.freshness, START);
        matches!(recalled, Recall::Known(..))
    };
    let remembered = (0..MILLION).filter(remembered).count();
    tell("tokens: a million good ones", begun, resident()?, remembered)
}

/// As long as tokens often are.
fn token(number: u32) -> String {
    format!("7b1f6f6e-6b7e-4c58-9e2e-{number:012}")
}

/// The resident set of this process in KiB (proc(5)).
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn tell(what: &str, before: u64, after: u64, count: usize) -> Outcome {
    let grown = after.saturating_sub(before);
    let each = grown.saturating_mul(1024).checked_div(u64::try_from(count)?).unwrap_or_default();
    say(&format!("{what}: {before} KiB before, {after} KiB after; {count} remembered, {each} bytes each"))
}

fn say(line: &str) -> Outcome {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn ensure(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("this does not hold: {what}").into()) }
}
