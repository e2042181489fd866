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

#[test]
fn a_route_says_what_its_requests_cost_and_all_of_its_routes_draw_on_one_quota() {
    let app = app();
    let gateway = Gateway::start(
        &(upstream("app", &[app.address], "")
            + &limit("per-source", "10/10h", "\"source\"", "")
            + &public("/cheap/**", "limits = [\"per-source\"]")
            + &public("/dear/**", "limits = [{ name = \"per-source\", cost = 4 }]")),
    );
    let ask = |path: &str| gateway.ask(&Request::get(path));
    for (path, left) in [("/dear/x", 6), ("/cheap/x", 5), ("/dear/x", 1)] {
        let response = ask(path);
        assert_eq!((response.status, response.only("RateLimit-Policy")), (200, "\"per-source\";q=10;w=36000"));
        assert!(response.only("RateLimit").starts_with(&format!("\"per-source\";r={left};t=")), "{response:#?}");
    }
    let refused = ask("/dear/x");
    assert_eq!(refused.status, 429);
    let wait = seconds_to_wait(&refused);
    assert!(wait > 2 * 3600 && wait <= 3 * 3600, "three more than there are: {wait}");
    assert_eq!(refused.only("RateLimit"), format!("\"per-source\";r=1;t={wait}"));
    assert_eq!([ask("/cheap/x").status, ask("/cheap/x").status], [200, 429], "what is left is enough for less");
}

#[test]
fn a_limit_that_holds_everywhere_is_spent_on_every_route_once() {
    let app = app();
    let config = upstream("app", &[app.address], "")
        + &limit("all", "6/1h", "\"source\"", "everywhere = true")
        + &limit("some", "9/1h", "\"source\"", "")
        + &public("/none/**", "limits = \"none\"")
        + &public("/some/**", "limits = [\"some\"]")
        + &public("/named/**", "limits = [\"some\", { name = \"all\", cost = 2 }]")
        + &public("/silent/**", "");
    let gateway = Gateway::start(&config);
    let ask = |path: &str| gateway.ask(&Request::get(path));
    for (path, told) in [
        ("/none/x", "\"all\";r=5;t="),
        ("/some/x", "\"all\";r=4;t="),
        ("/named/x", "\"some\";r=7;t="),
        ("/silent/x", "\"all\";r=1;t="),
        ("/none/x", "\"all\";r=0;t="),
    ] {
        let response = ask(path);
        assert_eq!(response.status, 200, "{path}");
        assert!(response.only("RateLimit").starts_with(told), "{path}: {response:#?}");
    }
    for path in ["/none/x", "/some/x", "/named/x", "/silent/x"] {
        assert_eq!(ask(path).status, 429, "{path}");
    }
    assert_eq!(ask("/nowhere").status, 404, "what no route takes spends nothing");
}

#[test]
fn who_is_exempt_is_neither_counted_nor_told_of_that_limit() {
    let app = app();
    let config = upstream("app", &[app.address], "")
        + "[network]\ntrusted_proxies = [\"127.0.0.1\"]\n"
        + &limit("wide", "9/1h", "\"source\"", "")
        + &limit("narrow", "2/1h", "\"source\"", "exempt = [\"192.0.2.0/24\", \"2001:db8::7\"]")
        + &public("/both/**", "limits = [\"narrow\", \"wide\"]")
        + &public("/one/**", "limits = [\"narrow\"]");
    let gateway = Gateway::start(&config);
    let from = |address: &str, path: &str| Request::get(path).field("X-Forwarded-For", address);
    for address in ["192.0.2.1", "192.0.2.255", "2001:db8::7"] {
        let probe = gateway.ask(&from(address, "/both/x"));
        assert_eq!((probe.status, probe.only("RateLimit-Policy")), (200, "\"wide\";q=9;w=3600"));
        assert!(probe.only("RateLimit").starts_with("\"wide\";r=8;t="), "{probe:#?}");
        let uncounted = gateway.ask(&from(address, "/one/x"));
        assert_eq!(uncounted.only("RateLimit"), "\"theirs\";r=1;t=1", "no limit of ours says anything");
        assert_eq!(passing(&gateway, (0..5).map(|_| from(address, "/one/x"))), 5);
    }
    for address in ["192.0.3.0", "2001:db8::8", "::ffff:192.0.3.7"] {
        assert_eq!(passing(&gateway, (0..5).map(|_| from(address, "/one/x"))), 2, "{address}");
    }
    // Who is not believed to be a proxy cannot say that it is exempt.
    let gateway = Gateway::start(&config.replace("trusted_proxies = [\"127.0.0.1\"]", ""));
    assert_eq!(passing(&gateway, (0..5).map(|_| from("192.0.2.1", "/one/x"))), 2);
}

#[test]
fn sources_are_as_wide_as_the_configuration_says() {
    let app = app();
    let config = upstream("app", &[app.address], "")
        + "[network]\ntrusted_proxies = [\"127.0.0.1\"]\nsource_prefix = { ipv4 = 24, ipv6 = 56 }\n"
        + &limit("per-source", "2/1h", "\"source\"", "")
        + &public("/public/**", "limits = [\"per-source\"]");
    let gateway = Gateway::start(&config);
    let from = |address: String| Request::get("/public/x").field("X-Forwarded-For", &address);
    assert_eq!(passing(&gateway, (1..9).map(|n| from(format!("192.0.2.{n}")))), 2);
    assert_eq!(passing(&gateway, (1..9).map(|n| from(format!("192.0.3.{n}")))), 2);
    assert_eq!(passing(&gateway, (1..9).map(|n| from(format!("2001:db8:0:{n}::1")))), 2, "a /56 holds 256 of these");
    assert_eq!(passing(&gateway, (1..9).map(|n| from(format!("2001:db8:0:1{n:02}::1")))), 2);
}

#[test]
fn who_comes_from_where_nobody_is_served_gets_403_before_anything_is_asked_or_spent() {
    let (app, service) = (app(), TokenService::start());
    service.issue("good", &json!({ "sub": "ada" }));
    let sources = "sources = { allow = [\"10.0.0.0/8\", \"2001:db8::/32\"], deny = [\"10.1.0.0/16\"] }";
    let config = upstream("app", &[app.address], "")
        + &issuer("main", service.address(), "")
        + "[network]\ntrusted_proxies = [\"127.0.0.1\"]\nsources = { deny = [\"192.0.2.0/24\", \"10.2.0.0/16\"] }\n"
        + &limit("all", "5/1h", "\"route\"", "everywhere = true")
        + &bearer("/inside/**", &format!("{sources}\nstyle = \"oauth\""))
        + &public("/public/**", "");
    let gateway = Gateway::start(&config);
    let from = |address: &str, path: &str| Request::get(path).field("X-Forwarded-For", address).bearer("good");
    for address in ["192.0.2.1", "::ffff:192.0.2.1", "10.2.0.1"] {
        for path in ["/inside/x", "/public/x", "/nowhere"] {
            let refused = gateway.ask(&from(address, path));
            assert_eq!(refused.status, 403, "{address} {path}");
            assert_untold(&refused);
            assert_dressed(&refused, "403");
        }
        let preflight = Request::new("OPTIONS", "/public/x").field("X-Forwarded-For", address);
        let preflight = preflight.field("Origin", "https://app.example").field("Access-Control-Request-Method", "GET");
        assert_eq!(gateway.ask(&preflight).status, 403);
    }
    for address in ["10.1.0.1", "11.0.0.1", "127.0.0.1", "2001:db9::1", "not-an-address"] {
        let refused = gateway.ask(&from(address, "/inside/x"));
        assert_eq!(refused.status, 403, "{address}");
        assert!(refused.json()["message"].is_string(), "in the style of its route: {refused:#?}");
    }
    assert_eq!((service.calls(), app.count()), (0, 0));
    for address in ["10.0.0.1", "10.255.0.1", "2001:db8::1", "1.1.1.1, 10.0.0.1"] {
        assert_eq!(gateway.ask(&from(address, "/inside/x")).status, 200, "{address}");
    }
    assert_eq!(gateway.ask(&from("11.0.0.1", "/public/x")).status, 200);
    assert_eq!(gateway.ask(&from("11.0.0.1", "/nowhere")).status, 404);
    assert!(gateway.ask(&from("10.0.0.1", "/inside/x")).only("RateLimit").starts_with("\"all\";r=0;"), "only those were spent");
}
