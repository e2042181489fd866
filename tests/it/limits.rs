//! Rate limits: who shares a quota, what is told of it, and what a refused request does not reach.
//!
//! Quotas here take hours to come back, so that how fast the machine is does not matter.

use std::fmt::Write as _;

use serde_json::json;

use crate::support::{
    Answer, Gateway, Request, Response, TokenService, Upstream, all_at_once, assert_dressed, issuer, seconds_to_wait, upstream,
};

/// An upstream with limits of its own, of which nobody should hear.
fn app() -> Upstream {
    Upstream::answering(Answer::new(
        200,
        &[("RateLimit", "\"theirs\";r=1;t=1"), ("ratelimit-policy", "\"theirs\";q=1")],
        "fine",
    ))
}

fn limit(name: &str, rate: &str, key: &str, keys: &str) -> String {
    format!("[limit.{name}]\nrate = \"{rate}\"\nkey = {key}\n{keys}\n")
}

fn public(path: &str, limits: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nupstream = \"app\"\naccess = \"public\"\n{limits}\n")
}

fn bearer(path: &str, limits: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nupstream = \"app\"\naccess = {{ bearer = {{ issuers = [\"main\"] }} }}\n{limits}\n")
}

/// How many of these requests pass, one after the other; all others must be refused for a limit.
#[track_caller]
fn passing(gateway: &Gateway, requests: impl IntoIterator<Item = Request>) -> usize {
    let statuses: Vec<u16> = requests.into_iter().map(|request| gateway.ask(&request).status).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    statuses.into_iter().filter(|status| *status == 200).count()
}

#[track_caller]
fn assert_untold(response: &Response) {
    assert!(response.fields.iter().all(|(name, _)| !name.to_ascii_lowercase().contains("ratelimit")), "{response:#?}");
}

#[track_caller]
fn metric(gateway: &Gateway, limit: &str, outcome: &str) -> u64 {
    let page = Request::get("/metrics").to(gateway.admin);
    let name = format!("portcullis_limit_total{{limit=\"{limit}\",outcome=\"{outcome}\"}} ");
    page.text().lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn a_burst_passes_and_then_it_is_told_when_there_is_room_again() {
    let app = app();
    let gateway = Gateway::start(
        &(upstream("app", &[app.address], "")
            + &limit("per-source", "3/1h", "\"source\"", "")
            + &public("/public/**", "limits = [\"per-source\"]")),
    );
    for left in [2, 1, 0] {
        let response = gateway.ask(&Request::get("/public/x"));
        assert_eq!((response.status, response.text()), (200, "fine"));
        assert_eq!(response.only("RateLimit-Policy"), "\"per-source\";q=3;w=3600");
        let told = response.only("RateLimit");
        let whole_after: u64 = told.strip_prefix(&format!("\"per-source\";r={left};t=")).expect(told).parse().unwrap();
        assert!(whole_after <= (3 - left) * 1200 && whole_after > (2 - left) * 1200, "{told}");
    }
    let refused = gateway.ask(&Request::get("/public/x"));
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("limit-reached")));
    let wait = seconds_to_wait(&refused);
    assert!(wait <= 1200, "{wait}");
    assert_eq!(refused.only("RateLimit"), format!("\"per-source\";r=0;t={wait}"));
    assert_eq!(refused.only("RateLimit-Policy"), "\"per-source\";q=3;w=3600");
    assert!(refused.values("x-ratelimit-limit").is_empty(), "that is for another style");
    assert_dressed(&refused, "429");
    assert_eq!(app.count(), 3, "what is refused goes nowhere");
    assert_eq!(metric(&gateway, "per-source", "refused"), 1);
}

#[test]
fn a_hundred_requests_at_once_pass_no_more_often_than_the_burst() {
    let app = app();
    let gateway = Gateway::start(
        &(upstream("app", &[app.address], "")
            + &limit("per-source", "5/1h", "\"source\"", "")
            + &limit("by-route", "50/1h", "[\"route\", \"source\"]", "")
            + &public("/public/**", "limits = [\"by-route\", \"per-source\"]")),
    );
    let passed: usize = all_at_once(10, |_, start| {
        start.wait();
        passing(&gateway, (0..10).map(|_| Request::get("/public/x")))
    })
    .into_iter()
    .sum();
    assert_eq!((passed, app.count()), (5, 5));
}

#[test]
fn the_source_is_what_the_connection_says_and_not_what_the_client_says() {
    let app = app();
    let config = upstream("app", &[app.address], "")
        + &limit("per-source", "2/1h", "\"source\"", "")
        + &public("/public/**", "limits = [\"per-source\"]");
    let from = |n: u8| {
        let address = format!("10.0.0.{n}");
        let request = Request::get("/public/x").field("X-Forwarded-For", &address).field("X-Real-IP", &address);
        request.field("Forwarded", &format!("for={address}"))
    };
    assert_eq!(passing(&Gateway::start(&config), (0..10).map(from)), 2);
    // Behind a proxy that is believed, each of its clients is a source of its own, and an IPv6 client one with its /64.
    let gateway = Gateway::start(&(config + "[network]\ntrusted_proxies = [\"127.0.0.1\"]\n"));
    let behind = |address: &str| Request::get("/public/x").field("X-Forwarded-For", address);
    assert_eq!(passing(&gateway, (0..3).map(|_| behind("192.0.2.1"))), 2);
    assert_eq!(passing(&gateway, (0..3).map(|n| behind(&format!("10.9.9.{n}, 192.0.2.2")))), 2);
    assert_eq!(passing(&gateway, (1..9).map(|n| behind(&format!("2001:db8::{n}:1")))), 2);
}

#[test]
fn no_spelling_of_a_path_or_a_field_has_a_quota_of_its_own() {
    let app = app();
    let gateway = Gateway::start(
        &(upstream("app", &[app.address], "")
            + &limit("per-route", "3/1h", "[\"source\", \"route\"]", "")
            + &limit("per-tenant", "3/1h", "{ header = \"X-Tenant\" }", "")
            + &public("/public/**", "limits = [\"per-route\"]")
            + &public("/other/**", "limits = [\"per-route\"]")
            + &public("/tenants/**", "limits = [\"per-tenant\"]")),
    );
    let targets = ["/public/x", "/public/%78", "/public/x?a=1", "/public/y", "/public/x?", "/public", "/%70ublic/x"];
    assert_eq!(passing(&gateway, targets.map(Request::get)), 3);
    assert_eq!(passing(&gateway, (0..5).map(|_| Request::get("/other/x"))), 3, "another route has one of its own");
    let spelt = |name: &str| Request::get("/tenants/x").field(name, "a");
    let spellings = ["X-Tenant", "x-tenant", "X-TENANT", "x-TENANT", "X-Tenant"];
    assert_eq!(passing(&gateway, spellings.map(spelt)), 3);
    assert_eq!(passing(&gateway, (0..5).map(|_| Request::get("/tenants/x").field("X-Tenant", "b"))), 3);
    let nameless = ["a", "b", "c"].map(|other| spelt("X-Tenant").field("X-Tenant", other));
    let absent = (0..3).map(|_| Request::get("/tenants/x"));
    let empty = [Request::get("/tenants/x").field("X-Tenant", "")];
    assert_eq!(passing(&gateway, nameless.into_iter().chain(absent).chain(empty)), 3, "whoever says nothing, or two things");
}

#[test]
fn each_subject_has_a_quota_whichever_token_it_shows() {
    let (app, service) = (app(), TokenService::start());
    for (token, subject) in [("ada-1", "ada"), ("ada-2", "ada"), ("bob-1", "bob")] {
        service.issue(token, &json!({ "sub": subject, "client_id": "shop" }));
    }
    let gateway = Gateway::start(
        &(upstream("app", &[app.address], "")
            + &issuer("main", service.address(), "")
            + &limit("per-subject", "3/1h", "\"subject\"", "")
            + &bearer("/api/**", "limits = [\"per-subject\"]")
            + &bearer("/also/**", "limits = [\"per-subject\"]")
            + &public("/public/**", "limits = [\"per-subject\"]")),
    );
    let of = |token: &str, path: &str| Request::get(path).bearer(token);
    let asked = [("ada-1", "/api/x"), ("ada-2", "/api/x"), ("ada-1", "/also/x"), ("ada-2", "/also/x"), ("ada-1", "/api/y")];
    assert_eq!(passing(&gateway, asked.map(|(token, path)| of(token, path))), 3);
    assert_eq!(gateway.get_as("ada-1", "/api/x").only("RateLimit-Policy"), "\"per-subject\";q=3;w=3600");
    assert_eq!(passing(&gateway, (0..5).map(|_| of("bob-1", "/api/x"))), 3);
    assert_eq!(passing(&gateway, (0..5).map(|_| Request::get("/public/x"))), 3, "nobody in particular is counted by source");
    // Who is refused for another reason has spent nothing of a subject's.
    let unauthenticated = gateway.get_as("unknown", "/api/x");
    assert_eq!(unauthenticated.status, 401);
    assert_untold(&unauthenticated);
}

#[test]
fn what_a_source_may_not_is_refused_before_a_token_service_is_asked_and_preflights_are_free() {
    let (app, service) = (app(), TokenService::start());
    let gateway = Gateway::start(
        &(upstream("app", &[app.address], "")
            + &issuer("main", service.address(), "")
            + &limit("per-source", "2/1h", "\"source\"", "")
            + &bearer("/api/**", "limits = [\"per-source\"]")),
    );
    for _ in 0..5 {
        let preflight = Request::new("OPTIONS", "/api/x").field("Origin", "https://app.example");
        let preflight = gateway.ask(&preflight.field("Access-Control-Request-Method", "GET"));
        assert_eq!(preflight.status, 204);
        assert_untold(&preflight);
    }
    for (token, left) in [("unknown-1", 1), ("unknown-2", 0)] {
        let response = gateway.get_as(token, "/api/x");
        assert_eq!(response.status, 401);
        assert!(response.only("RateLimit").starts_with(&format!("\"per-source\";r={left};")), "{response:#?}");
    }
    service.issue("good", &json!({ "sub": "ada" }));
    for token in ["unknown-3", "good", "not a token"] {
        assert_eq!(gateway.get_as(token, "/api/x").status, 429, "{token}");
    }
    assert_eq!(gateway.ask(&Request::get("/api/x")).status, 429);
    assert_eq!((service.calls(), app.count()), (2, 0));
}

#[test]
fn a_dry_run_counts_and_lets_pass() {
    let app = app();
    let gateway = Gateway::start(
        &(upstream("app", &[app.address], "")
            + &limit("tried-out", "2/1h", "\"source\"", "dry_run = true")
            + &public("/public/**", "limits = [\"tried-out\"]")),
    );
    for _ in 0..5 {
        let response = gateway.ask(&Request::get("/public/x"));
        assert_eq!(response.status, 200);
        assert!(!response.only("RateLimit").contains("tried-out"), "{response:#?}");
    }
    assert_eq!((metric(&gateway, "tried-out", "dry-run"), metric(&gateway, "tried-out", "refused")), (3, 0));
    assert_eq!(app.count(), 5);
}

#[test]
fn of_several_limits_the_strictest_speaks_and_a_refusal_spends_none() {
    let app = app();
    let limits = "limits = [\"wide\", \"hourly\", \"daily\", \"hidden\"]\nstyle = \"session\"";
    let gateway = Gateway::start(
        &(upstream("app", &[app.address], "")
            + &limit("wide", "5/10h", "\"source\"", "")
            + &limit("hourly", "1/1h", "\"source\"", "")
            + &limit("daily", "10/10d", "\"source\"", "burst = 1")
            + &limit("hidden", "2/1h", "\"source\"", "headers = false")
            + &public("/public/**", limits)),
    );
    let policy = "\"wide\";q=5;w=36000, \"hourly\";q=1;w=3600, \"daily\";q=1;w=86400";
    let first = gateway.ask(&Request::get("/public/x"));
    assert_eq!((first.status, first.only("RateLimit-Policy")), (200, policy));
    assert_eq!(first.only("RateLimit"), "\"wide\";r=4;t=7200, \"hourly\";r=0;t=3600, \"daily\";r=0;t=86400");
    for _ in 0..4 {
        let refused = gateway.ask(&Request::get("/public/x"));
        let wait = seconds_to_wait(&refused);
        assert_eq!(refused.status, 429);
        assert!(wait > 3600 && wait <= 86_400, "the daily limit waits for longest: {wait}");
        let told = refused.only("RateLimit");
        assert!(told.starts_with("\"wide\";r=4;t=") && told.ends_with(&format!(", \"daily\";r=0;t={wait}")), "{told}");
        assert_eq!(refused.only("RateLimit-Policy"), policy);
        assert_eq!(refused.only("x-ratelimit-limit"), "1, 5;w=36000, 1;w=3600, 1;w=86400");
        assert_eq!(refused.only("x-ratelimit-reset"), wait.to_string());
        assert_eq!(refused.json()["code"], "LIMIT_REACHED");
    }
    assert_eq!((metric(&gateway, "daily", "refused"), metric(&gateway, "wide", "refused")), (4, 0));
}

#[test]
fn a_full_table_is_no_way_around_a_limit() {
    let app = app();
    let gateway = Gateway::start(
        &(upstream("app", &[app.address], "")
            + &limit("per-tenant", "2/1h", "{ header = \"X-Tenant\" }", "keys = 3")
            + &public("/public/**", "limits = [\"per-tenant\"]")),
    );
    let of = |tenant: u32| Request::get("/public/x").field("X-Tenant", &tenant.to_string());
    assert_eq!(passing(&gateway, (0..6).map(|n| of(n % 3))), 6, "three have a quota each");
    assert_eq!(passing(&gateway, (3..43).map(of)), 2, "all others share one");
    assert_eq!(passing(&gateway, (0..3).map(of)), 0, "and push nobody out");
    assert_eq!(metric(&gateway, "per-tenant", "full"), 40);
}

#[test]
fn a_route_says_which_limits_it_has_in_place_of_the_defaults() {
    let app = app();
    let mut config = upstream("app", &[app.address], "")
        + "[defaults]\nlimits = [\"usual\"]\n"
        + &limit("usual", "2/1h", "\"source\"", "")
        + &limit("special", "4/1h", "\"source\"", "cost = 2");
    write!(config, "{}{}", public("/usual/**", ""), public("/special/**", "limits = [\"special\"]")).unwrap();
    write!(config, "{}", public("/free/**", "limits = \"none\"")).unwrap();
    let gateway = Gateway::start(&config);
    assert_eq!(passing(&gateway, (0..4).map(|_| Request::get("/usual/x"))), 2);
    assert_eq!(passing(&gateway, (0..4).map(|_| Request::get("/special/x"))), 2, "each costs two of four");
    let free = gateway.ask(&Request::get("/free/x"));
    assert_eq!(free.only("RateLimit"), "\"theirs\";r=1;t=1", "without limits of ours the upstream's are its own");
    assert_eq!(passing(&gateway, (0..10).map(|_| Request::get("/free/x"))), 10);
    let nowhere = gateway.ask(&Request::get("/nowhere"));
    assert_eq!(nowhere.status, 404);
    assert_untold(&nowhere);
}
