//! Rate limits of two gateways that share a store: what passes at both together, and what does while the store is away.
//!
//! Quotas here take hours to come back, so that how fast the machine is does not matter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::support::{
    Answer, Gateway, Request, Response, TokenService, UNHURRIED, Upstream, Valkey, ValkeyCluster, all_at_once, assert_dressed,
    issuer, random, seconds_to_wait, shared_store, two, until, until_store_is, upstream,
};

fn app() -> Upstream {
    Upstream::answering(Answer::new(200, &[], "fine"))
}

fn limit(name: &str, rate: &str, key: &str, keys: &str) -> String {
    format!("[limit.{name}]\nrate = \"{rate}\"\nkey = {key}\n{keys}\n")
}

fn public(path: &str, limits: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nupstream = \"app\"\naccess = \"public\"\nlimits = {limits}\n")
}

fn bearer(path: &str, limits: &str) -> String {
    format!(
        "[[route]]\npath = \"{path}\"\nupstream = \"app\"\naccess = {{ bearer = {{ issuers = [\"main\"] }} }}\nlimits = {limits}\n"
    )
}

fn outcome(limit: &str, outcome: &str) -> String {
    format!("portcullis_limit_total{{limit=\"{limit}\",outcome=\"{outcome}\"}}")
}

/// How many of these requests pass, one after the other; all others must be refused for a limit.
#[track_caller]
fn passing(gateway: &Gateway, path: &str, requests: usize) -> usize {
    let statuses: Vec<u16> = (0..requests).map(|_| gateway.ask(&Request::get(path)).status).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    statuses.into_iter().filter(|status| *status == 200).count()
}

/// How many of so many requests pass, spread at random over two gateways, at once.
fn passing_at_both(gateways: &[Gateway; 2], request: impl Fn() -> Request + Sync) -> usize {
    let passed = all_at_once(8, |index, start| {
        let ways = random(index + 1).take(25);
        start.wait();
        ways.filter(|way| {
            let status = gateways[way % 2].ask(&request()).status;
            assert!(matches!(status, 200 | 429), "{status}");
            status == 200
        })
        .count()
    });
    passed.into_iter().sum()
}

#[test]
fn a_limit_by_source_is_one_for_both_gateways_whichever_is_asked() {
    let Some(valkey) = Valkey::start() else { return };
    let app = app();
    let config = upstream("app", &[app.address], "")
        + &shared_store(&[valkey.address], UNHURRIED)
        + &limit("per-source", "60/10h", "\"source\"", "")
        + &limit("per-tenant", "25/10h", "[{ header = \"X-Tenant\" }, \"route\"]", "")
        + &public("/all/**", "[\"per-source\"]")
        + &public("/tenants/**", "[\"per-tenant\"]");
    let gateways = two(&config);
    assert_eq!(passing_at_both(&gateways, || Request::get("/all/x")), 60);
    assert_eq!(passing_at_both(&gateways, || Request::get("/tenants/x").field("X-Tenant", "a")), 25);
    assert_eq!(passing_at_both(&gateways, || Request::get("/tenants/x").field("X-Tenant", "b")), 25);
    assert_eq!(app.count(), 110);
    let refused = gateways[1].ask(&Request::get("/all/x"));
    assert_eq!((refused.status, refused.json()["code"].clone()), (429, json!("limit-reached")));
    let wait = seconds_to_wait(&refused);
    assert!((1..=600).contains(&wait), "{wait}");
    assert_eq!(refused.only("RateLimit"), format!("\"per-source\";r=0;t={wait}"));
    assert_eq!(refused.only("RateLimit-Policy"), "\"per-source\";q=60;w=36000");
    assert_dressed(&refused, "429");
    assert_eq!(gateways.iter().map(|gateway| gateway.metric::<u64>(&outcome("per-source", "refused"))).sum::<u64>(), 141);
}

#[test]
fn a_limit_by_subject_is_one_for_gateways_that_number_their_issuers_otherwise() {
    let Some(valkey) = Valkey::start() else { return };
    let (app, service, other) = (app(), TokenService::start(), TokenService::start());
    for (token, subject) in [("ada-1", "ada"), ("ada-2", "ada"), ("bob", "bob")] {
        service.issue(token, &json!({ "sub": subject, "client_id": "shop" }));
    }
    let rest = upstream("app", &[app.address], "")
        + &shared_store(&[valkey.address], UNHURRIED)
        + &limit("per-subject", "30/10h", "\"subject\"", "")
        + &bearer("/api/**", "[\"per-subject\"]");
    let main = issuer("main", service.address(), "");
    let first = issuer("another", other.address(), "") + &main;
    let of_another = "[[route]]\npath = \"/another\"\nupstream = \"app\"\naccess = { bearer = { issuers = [\"another\"] } }\n";
    let gateways = [Gateway::start(&(main.clone() + &rest)), Gateway::start(&(first + &rest + of_another))];
    let tokens = AtomicBool::new(false);
    let of_ada = || {
        let token = if tokens.fetch_xor(true, Ordering::Relaxed) { "ada-1" } else { "ada-2" };
        Request::get("/api/x").bearer(token)
    };
    assert_eq!(passing_at_both(&gateways, of_ada), 30);
    assert_eq!(passing_at_both(&gateways, || Request::get("/api/x").bearer("bob")), 30);
}

#[test]
fn of_several_shared_limits_a_refusal_spends_none() {
    let Some(valkey) = Valkey::start() else { return };
    let app = app();
    let config = upstream("app", &[app.address], "")
        + &shared_store(&[valkey.address], UNHURRIED)
        + &limit("wide", "5/10h", "\"source\"", "")
        + &limit("here", "9/10h", "\"source\"", "shared = false")
        + &limit("narrow", "2/10h", "\"source\"", "")
        + &public("/x/**", "[\"wide\", \"here\", \"narrow\"]");
    let gateways = two(&config);
    let told = |response: &Response| response.only("RateLimit").to_owned();
    let first = gateways[0].ask(&Request::get("/x/y"));
    assert_eq!(told(&first), "\"wide\";r=4;t=7200, \"here\";r=8;t=4000, \"narrow\";r=1;t=18000");
    assert!(told(&gateways[1].ask(&Request::get("/x/y"))).starts_with("\"wide\";r=3;"));
    for gateway in gateways.iter().cycle().take(6) {
        let refused = gateway.ask(&Request::get("/x/y"));
        assert_eq!(refused.status, 429);
        let told = told(&refused);
        assert!(
            told.starts_with("\"wide\";r=3;") && told.contains("\"here\";r=8;") && told.contains("\"narrow\";r=0;"),
            "{told}"
        );
    }
    assert_eq!(app.count(), 2);
}

#[test]
fn a_limit_that_is_not_shared_is_counted_by_each_gateway_and_keeps_a_flood_from_the_store() {
    let Some(valkey) = Valkey::start() else { return };
    let app = app();
    let config = upstream("app", &[app.address], "")
        + &shared_store(&[valkey.address], UNHURRIED)
        + &limit("here", "3/10h", "\"source\"", "shared = false")
        + &limit("everywhere", "100/10h", "\"source\"", "")
        + &public("/here/**", "[\"here\"]")
        + &public("/both/**", "[\"everywhere\", \"here\"]");
    let gateways = two(&config);
    assert_eq!(gateways.each_ref().map(|gateway| passing(gateway, "/here/x", 5)), [3, 3]);
    let calls = || valkey.ask::<String>(&["INFO", "commandstats"]).lines().find_map(calls_of_scripts).unwrap_or_default();
    let before = calls();
    let refused = gateways[0].ask(&Request::get("/both/x"));
    assert_eq!((refused.status, calls()), (429, before), "the store is not asked about what is refused here");
    assert!(refused.only("RateLimit").starts_with("\"here\";r=0;"), "{refused:#?}");
}

/// How often scripts were called, if the line tells of them.
fn calls_of_scripts(line: &str) -> Option<u64> {
    line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok()
}

#[test]
fn while_the_store_is_away_each_limit_does_as_it_says_and_afterwards_all_is_as_before() {
    let Some(mut valkey) = Valkey::start() else { return };
    let app = app();
    let config = upstream("app", &[app.address], "")
        + &shared_store(&[valkey.address], "deadline = \"2s\"\nnodes = 2")
        + &limit("local", "11/10h", "\"source\"", "")
        + &limit("scarce", "1/10h", "\"source\"", "")
        + &limit("strict", "10/10h", "\"source\"", "on_store_outage = \"deny\"")
        + &limit("lenient", "1/10h", "\"source\"", "on_store_outage = \"allow\"")
        + &public("/local/**", "[\"local\"]")
        + &public("/scarce/**", "[\"scarce\"]")
        + &public("/strict/**", "[\"local\", \"strict\"]")
        + &public("/lenient/**", "[\"lenient\"]");
    let gateways = two(&config);
    assert_eq!(passing(&gateways[0], "/local/x", 4), 4);
    valkey.kill();
    until_store_is(false, &gateways);
    for path in ["/strict/x", "/scarce/x"] {
        let denied = gateways[0].ask(&Request::get(path));
        assert_eq!((denied.status, denied.json()["code"].clone()), (503, json!("store-unavailable")), "{path}");
        assert_eq!(seconds_to_wait(&denied), 1);
        assert_dressed(&denied, path);
    }
    assert_eq!(gateways.each_ref().map(|gateway| passing(gateway, "/local/x", 20)), [5, 5], "a part each; a refusal took none");
    assert_eq!(gateways.each_ref().map(|gateway| passing(gateway, "/lenient/x", 20)), [20, 20]);
    let told = |word| {
        gateways[0].metric::<u64>(&outcome(word, &format!("outage-{}", if word == "lenient" { "allowed" } else { "denied" })))
    };
    assert_eq!((told("lenient"), told("strict"), told("scarce")), (20, 1, 1));
    assert_eq!(gateways[1].metric::<u64>(&outcome("local", "outage-local")), 20);
    valkey.start_again();
    until_store_is(true, &gateways);
    assert_eq!(passing(&gateways[1], "/local/x", 20), 7, "what was counted before counts again");
    assert_eq!(gateways[0].ask(&Request::get("/strict/x")).status, 429);
    assert_eq!(gateways.iter().map(|gateway| passing(gateway, "/lenient/x", 3)).sum::<usize>(), 1);
}

#[test]
fn a_gateway_starts_without_the_store_and_uses_it_once_it_is_there() {
    let Some(mut valkey) = Valkey::start() else { return };
    let app = app();
    valkey.kill();
    let config = upstream("app", &[app.address], "")
        + &shared_store(&[valkey.address], UNHURRIED)
        + &limit("all", "10/10h", "\"source\"", "")
        + &public("/x/**", "[\"all\"]");
    let gateways = two(&config);
    assert_eq!(passing(&gateways[0], "/x/y", 10), 5);
    valkey.start_again();
    until_store_is(true, &gateways);
    assert_eq!(passing_at_both(&gateways, || Request::get("/x/y")), 10);
}

#[test]
fn a_cluster_and_a_store_with_tls_and_a_password_count_as_exactly() {
    let Some(cluster) = ValkeyCluster::start() else { return };
    let Some(secured) = Valkey::start_with_tls() else { return };
    let app = app();
    let rest = upstream("app", &[app.address], "")
        + &limit("one", "40/10h", "\"source\"", "")
        + &limit("two", "40/10h", "[\"source\", \"route\"]", "")
        + &limit("three", "30/10h", "\"route\"", "")
        + &public("/x/**", "[\"one\", \"two\", \"three\"]");
    let gateways = two(&(shared_store(&[cluster.nodes[0].address], "topology = \"cluster\"\ndeadline = \"2s\"") + &rest));
    assert!(passes_at_most(&gateways, 30));
    let file = gateways[0].dir().join("ca.pem");
    std::fs::write(&file, &secured.ca).unwrap();
    let password = Valkey::PASSWORD;
    let dir = gateways[0].dir().join("password");
    std::fs::write(&dir, password).unwrap();
    let keys = format!(
        "tls = true\nca_file = \"{}\"\nusername = \"{}\"\npassword = {{ file = \"{}\" }}\n{UNHURRIED}",
        file.display(),
        Valkey::USER,
        dir.display()
    );
    let secure = two(&(shared_store(&[secured.address], &keys) + &rest));
    assert!(passes_at_most(&secure, 30));
    assert!(gateways.iter().chain(&secure).all(|gateway| gateway.metric::<u64>(&outcome("three", "outage-local")) == 0));
}

/// Whether so many pass and no more, of requests at once that may refuse each other, and of others that may not.
fn passes_at_most(gateways: &[Gateway; 2], most: usize) -> bool {
    let at_once = passing_at_both(gateways, || Request::get("/x/y"));
    at_once + passing(&gateways[0], "/x/y", most) == most
}

/// What clients saw in one stretch of the test below.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    passed: usize,
    refused: usize,
}

#[test]
fn a_store_that_dies_and_comes_back_under_load_leaves_nobody_without_an_answer() {
    const BURST: usize = 1_000;
    let Some(mut valkey) = Valkey::start() else { return };
    let app = app();
    let config = upstream("app", &[app.address], "")
        + &shared_store(&[valkey.address], "nodes = 2")
        + &limit("all", &format!("{BURST}/700h"), "\"source\"", "")
        + &public("/x/**", "[\"all\"]");
    let gateways = two(&config);
    let over = AtomicBool::new(false);
    let seen: Vec<Seen> = thread::scope(|scope| {
        let client = |index: usize| {
            let (gateways, over) = (&gateways, &over);
            scope.spawn(move || {
                let mut seen = Seen::default();
                for way in random(index + 1).take_while(|_| !over.load(Ordering::Relaxed)) {
                    // No answer at all fails in the client.
                    match gateways[way % 2].ask(&Request::get("/x/y")).status {
                        200 => seen.passed += 1,
                        429 => seen.refused += 1,
                        status => panic!("{status}"),
                    }
                }
                seen
            })
        };
        let clients: Vec<_> = (0..4).map(client).collect();
        let passed = |count: usize| until(&format!("{count} requests"), || app.count() >= count);
        passed(150);
        valkey.kill();
        until_store_is(false, &gateways);
        passed(app.count() + 150);
        valkey.start_again();
        until_store_is(true, &gateways);
        passed(app.count() + 150);
        valkey.freeze();
        until_store_is(false, &gateways);
        passed(app.count() + 150);
        valkey.thaw();
        until_store_is(true, &gateways);
        until("an end of the quota", || gateways.iter().all(|gateway| gateway.metric::<u64>(&outcome("all", "refused")) > 0));
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client was left without an answer")).collect()
    });
    let passed: usize = seen.iter().map(|seen| seen.passed).sum();
    let refused: usize = seen.iter().map(|seen| seen.refused).sum();
    let alone: u64 = gateways.iter().map(|gateway| gateway.metric::<u64>(&outcome("all", "outage-local"))).sum();
    #[expect(clippy::print_stderr, reason = "the figures are for docs/operations.md")]
    {
        eprintln!(
            "{passed} passed, {refused} refused, {alone} decided without the store; {} over",
            passed.saturating_sub(BURST)
        );
    }
    assert!((BURST - 100..=2 * BURST + 100).contains(&passed), "at most a part each beyond the whole: {passed}");
    assert!(alone > 0);
}

#[test]
fn a_dearer_route_spends_more_of_the_same_shared_quota_and_who_is_exempt_spends_nothing() {
    let Some(mut valkey) = Valkey::start() else { return };
    let app = app();
    let config = upstream("app", &[app.address], "")
        + &shared_store(&[valkey.address], "deadline = \"2s\"\nnodes = 2")
        + &limit("all", "8/10h", "{ header = \"X-Tenant\" }", "exempt = [\"192.0.2.0/24\"]")
        + "[network]\ntrusted_proxies = [\"127.0.0.1\"]\n"
        + &public("/plain/**", "[\"all\"]")
        + &public("/dear/**", "[{ name = \"all\", cost = 5 }]");
    let gateways = two(&config);
    assert_eq!(gateways[0].ask(&Request::get("/dear/x")).status, 200);
    assert_eq!(gateways[1].ask(&Request::get("/dear/x")).status, 429);
    assert_eq!(passing(&gateways[1], "/plain/x", 6), 3);
    let probe = gateways[0].ask(&Request::get("/dear/x").field("X-Forwarded-For", "192.0.2.7"));
    assert_eq!(probe.status, 200);
    assert!(probe.values("RateLimit").is_empty() && probe.values("RateLimit-Policy").is_empty(), "{probe:#?}");
    valkey.kill();
    until_store_is(false, &gateways);
    assert_eq!(gateways[0].ask(&Request::get("/dear/x")).status, 503, "half of eight does not pay five");
    assert_eq!(passing(&gateways[0], "/plain/x", 6), 4);
}
