//! What the tests are made of: the running binary, a raw client, scripted upstreams and token services.

mod client;
mod gateway;
mod jwt;
mod mail;
mod process;
mod provider;
mod quickstart;
mod scratch;
mod servers;
mod shared_store;
mod token_service;
mod upstream;

pub(crate) use client::{Client, Request, Response, Silence};
pub(crate) use gateway::{Gateway, issuer, upstream};
pub(crate) use jwt::SigningKey;
pub(crate) use mail::{Encryption, MailServer};
pub(crate) use process::{ADMIN_TOKEN, SECRET, TOKEN, run};
pub(crate) use provider::{Provider, SignedIn, as_client};
pub(crate) use quickstart::{Quickstart, Tokens};
pub(crate) use scratch::Scratch;
pub(crate) use servers::{PostgreSql, Valkey, ValkeyCluster, ValkeyWithSentinel, unused_address};
pub(crate) use shared_store::{UNHURRIED, random, shared_store, two, until_store_is};
pub(crate) use token_service::TokenService;
pub(crate) use upstream::{Answer, Received, Upstream};

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// How long anything may take before the test gives up. A guard against hanging, never a measure.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The headers that every response carries in the default profile, in this spelling, each exactly once.
pub(crate) const THE_TWELVE: [(&str, &str); 12] = [
    ("Access-Control-Expose-Headers", "authorization, content-type"),
    ("Access-Control-Allow-Headers", "authorization, content-type"),
    ("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS, PUT"),
    ("Access-Control-Allow-Origin", "*"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-XSS-Protection", "1; mode=block"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Feature-Policy", "self"),
    ("Permissions-policy", "interest-cohort=()"),
];

/// What style `oauth` says on every 401.
pub(crate) const UNAUTHENTICATED: &str = "Authentication is possible but has failed or not yet been provided.";

/// What time it is for everybody on this machine.
#[expect(clippy::disallowed_methods, reason = "the binary under test reads this clock, and nothing can be passed in to it")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// The same in whole seconds since 1970, as claims have it.
pub(crate) fn epoch_seconds() -> u64 {
    now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, so: impl FnMut() -> bool) {
    assert!(comes_to_be(PATIENCE, so), "never happened: {what}");
}

/// Waits until something is so, but no longer than this; whether it came to be.
pub(crate) fn comes_to_be(patience: Duration, mut so: impl FnMut() -> bool) -> bool {
    let pause = Duration::from_millis(5);
    (0..patience.as_millis() / pause.as_millis()).any(|_| {
        let is_so = so();
        if !is_so {
            thread::sleep(pause);
        }
        is_so
    })
}

/// Runs `work` on so many threads, which the barrier lets go together once each has come to it.
pub(crate) fn all_at_once<T: Send>(threads: usize, work: impl Fn(usize, &Barrier) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|index| {
                scope.spawn({
                    let (work, start) = (&work, &start);
                    move || work(index, start)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("a thread of the test failed")).collect()
    })
}

/// The keys of a JSON object, sorted.
pub(crate) fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

/// Checks that a response carries the twelve headers, in their spelling, once each, and tells nothing of who made it.
#[track_caller]
pub(crate) fn assert_dressed(response: &Response, what: &str) {
    for (name, value) in THE_TWELVE {
        let sent: Vec<_> = response.fields.iter().filter(|(sent, _)| sent.eq_ignore_ascii_case(name)).collect();
        assert_eq!(sent, [&(name.to_owned(), value.to_owned())], "{what}: {name} of\n{response:#?}");
    }
    for name in ["Server", "X-Powered-By", "Access-Control-Allow-Credentials"] {
        assert!(response.values(name).is_empty(), "{what}: {name} of\n{response:#?}");
    }
}

/// Checks that an answer of the token service is dressed, is kept by nobody, and has the fields that its status demands:
/// a challenge on 401 (RFC 9110 section 15.5.2), the methods on 405, and when to come back on 423, 429 and 503.
#[track_caller]
pub(crate) fn assert_complete(response: &Response, what: &str) {
    assert_dressed(response, what);
    let due = |name: &str| assert!(!response.only(name).is_empty(), "{what}: {name} of\n{response:#?}");
    match response.status {
        401 => due("WWW-Authenticate"),
        405 => due("Allow"),
        423 | 429 | 503 => assert!(seconds_to_wait(response) > 0, "{what}: {response:#?}"),
        _ => {}
    }
    assert_eq!(response.only("Cache-Control"), "no-store", "{what}: {response:#?}");
}

/// After how many seconds to come back.
#[track_caller]
pub(crate) fn seconds_to_wait(response: &Response) -> u64 {
    response.only("Retry-After").parse().unwrap_or_else(|error| panic!("{error}: {response:#?}"))
}

/// Checks the 401 of style `oauth`: its two keys, a Bearer challenge, and the twelve headers.
#[track_caller]
pub(crate) fn assert_unauthenticated(response: &Response, what: &str) {
    assert_eq!(response.status, 401, "{what}: {response:#?}");
    let expected = serde_json::json!({ "message": UNAUTHENTICATED, "errorMessage": UNAUTHENTICATED });
    assert_eq!(response.json(), expected, "{what}");
    assert!(response.only("WWW-Authenticate").starts_with("Bearer"), "{what}: {response:#?}");
    assert_dressed(response, what);
}
