//! A token service that is unwell never looks like a bad token, and never like a good one.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Answer, Gateway, Request, Response, TokenService, Upstream, assert_dressed, epoch_seconds, issuer, until, unused_address,
    upstream,
};

/// One route of each policy. What is refused would be remembered for as long as it may be.
fn config(app: &Upstream, service: SocketAddr) -> String {
    config_with(app, service, "")
}

/// The same with further keys for the issuer.
fn config_with(app: &Upstream, service: SocketAddr, keys: &str) -> String {
    let bearer = "upstream = \"app\"\naccess = { bearer = { issuers = [\"main\"] } }";
    upstream("app", &[app.address], "")
        + &issuer("main", service, &format!("cache_ttl = \"100ms\"\nnegative_ttl = \"10s\"\n{keys}"))
        + &format!("[[route]]\npath = \"/strict/**\"\nstyle = \"oauth\"\n{bearer}\n")
        + &format!("[[route]]\npath = \"/live/**\"\nmax_revocation_lag = \"0s\"\n{bearer}\n")
        + &format!("[[route]]\npath = \"/grace/**\"\nmax_revocation_lag = \"0s\"\non_outage = {{ grace = \"1h\" }}\n{bearer}\n")
        + "[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n"
}

#[track_caller]
fn assert_outage(response: &Response, what: &str) {
    assert_eq!(response.status, 503, "{what}: {response:#?}");
    let wait: u64 = response.only("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&wait), "{what}: {wait}");
    assert!(response.values("WWW-Authenticate").is_empty(), "{what}: nothing is wrong with the token");
    assert_dressed(response, what);
}

/// Every way in which an answer can be no answer.
fn rubbish() -> Vec<(&'static str, Answer)> {
    let json = |body: &str| Answer::new(200, &[("Content-Type", "application/json")], body);
    let huge = format!("{{\"active\":true,\"padding\":\"{}\"}}", "x".repeat(10 * 1024 * 1024));
    vec![
        ("500", Answer::new(500, &[], "oops")),
        ("502", Answer::new(502, &[], "")),
        ("429", Answer::new(429, &[("Retry-After", "7")], "")),
        ("401: our own credentials are refused", Answer::new(401, &[], "{\"active\":false}")),
        ("403", Answer::new(403, &[], "{}")),
        ("HTML", Answer::new(200, &[("Content-Type", "text/html")], "<html>please log in</html>")),
        ("a redirect", Answer::new(302, &[("Location", "/login")], "")),
        ("nothing", json("")),
        ("an array", json("[{\"active\":true}]")),
        ("no object", json("true")),
        ("active as a word", json("{\"active\":\"yes\"}")),
        ("active as a string", json("{\"active\":\"true\",\"sub\":\"ada\"}")),
        ("active as a number", json("{\"active\":1,\"sub\":\"ada\"}")),
        ("active absent", json("{\"sub\":\"ada\"}")),
        ("exp as a word", json("{\"active\":true,\"sub\":\"ada\",\"exp\":\"never\"}")),
        ("sub as an object", json("{\"active\":true,\"sub\":{\"id\":1}}")),
        ("scope as a number", json("{\"active\":true,\"sub\":\"ada\",\"scope\":7}")),
        ("cut off", Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"active\":true").and_close()),
        ("no HTTP", Answer::raw("hello\r\n\r\n").and_close()),
        ("a closed connection", Answer::raw("").and_close()),
        ("ten megabytes", json(&huge)),
        (
            "ten megabytes in chunks",
            Answer::raw(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{huge}\r\n0\r\n\r\n",
                huge.len()
            )),
        ),
    ]
}

#[test]
fn an_answer_that_is_none_is_an_outage_and_neither_a_yes_nor_a_no() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let gateway = Gateway::start(&config(&app, service.address()));
    for (number, (what, answer)) in rubbish().into_iter().enumerate() {
        let token = format!("token-{number}");
        service.issue(&token, &json!({ "sub": "ada" }));
        service.answer_everything(answer);
        assert_outage(&gateway.get_as(&token, "/strict/x"), what);
        assert_eq!(app.count(), number, "{what}: nothing went through");
        service.recover();
        // The gateway may leave the service alone for a moment; it must not have taken the outage for a no.
        until("the token passes again", || match gateway.get_as(&token, "/strict/x").status {
            200 => true,
            503 => false,
            other => panic!("{what}: {other} after the recovery"),
        });
    }
}

#[test]
fn an_outage_is_told_in_the_style_of_the_route() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let gateway = Gateway::start(&config(&app, service.address()));
    service.answer_everything(Answer::new(500, &[], ""));
    let oauth = gateway.get_as("any", "/strict/x");
    assert_outage(&oauth, "style oauth");
    let body = oauth.json();
    assert_eq!((&body["code"], &body["errorCode"]), (&json!("ServiceUnavailable"), &json!("ServiceUnavailable")));
    let problem = gateway.get_as("any", "/live/x");
    assert_outage(&problem, "style problem");
    assert_eq!(problem.only("Content-Type"), "application/problem+json");
    assert_eq!(problem.json()["status"], 503);
}

#[test]
fn a_service_that_is_slow_or_silent_is_an_outage_after_its_deadline_and_nobody_else_waits() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let gateway = Gateway::start(&config_with(&app, service.address(), "deadline = \"500ms\""));
    service.issue("slow", &json!({ "sub": "ada" }));
    service.hold(1);
    assert_outage(&gateway.get_as("slow", "/strict/x"), "silence");
    assert_eq!(gateway.ask(&Request::get("/public/x")).status, 200, "public routes do not notice");
    service.recover();
    service.take(Duration::from_secs(5));
    assert_outage(&gateway.get_as("slow", "/strict/x"), "slowness");
    service.recover();
    until("the token passes again", || gateway.get_as("slow", "/strict/x").status == 200);
}

#[test]
fn a_service_that_is_not_there_is_an_outage_until_it_is() {
    let (app, address) = (Upstream::answering(Answer::ok("fine")), unused_address());
    let gateway = Gateway::start(&config(&app, address));
    for _ in 0..20 {
        assert_outage(&gateway.get_as("late", "/strict/x"), "nobody listens");
    }
    let service = TokenService::start_at(address);
    service.issue("late", &json!({ "sub": "ada" }));
    until("the token passes", || match gateway.get_as("late", "/strict/x").status {
        200 => true,
        503 => false,
        other => panic!("{other} after the recovery"),
    });
}

#[test]
fn a_token_last_seen_good_goes_on_through_an_outage_where_the_route_says_so() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let gateway = Gateway::start(&config(&app, service.address()));
    service.issue("good", &json!({ "sub": "ada" }));
    assert_eq!(gateway.get_as("good", "/grace/x").status, 200);
    for (what, answer) in rubbish() {
        service.answer_everything(answer);
        assert_eq!(gateway.get_as("good", "/grace/x").status, 200, "{what}");
        assert_outage(&gateway.get_as("good", "/live/x"), what);
        assert_outage(&gateway.get_as("never-seen", "/grace/x"), what);
    }
    service.recover();
    service.revoke("good");
    until("the service is asked again", || gateway.get_as("good", "/grace/x").status == 401);
}

#[test]
fn a_token_does_not_outlive_its_expiry_through_an_outage() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let gateway = Gateway::start(&config(&app, service.address()));
    let now = epoch_seconds();
    service.issue("short", &json!({ "sub": "ada", "exp": now + 3 }));
    // A machine that takes three seconds for this has shown nothing; the loop below holds either way.
    let first = gateway.get_as("short", "/grace/x").status;
    assert!(matches!(first, 200 | 401), "{first}");
    service.answer_everything(Answer::new(500, &[], ""));
    until("the token ends at its expiry", || gateway.get_as("short", "/grace/x").status != 200);
}

#[test]
fn a_no_about_one_token_is_no_outage() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let gateway = Gateway::start(&config(&app, service.address()));
    service.answer_everything(Answer::new(
        400,
        &[("Content-Type", "application/json")],
        "{\"error\":\"unsupported_token_type\"}",
    ));
    assert_eq!(gateway.get_as("odd", "/live/x").status, 401);
    service.recover();
    service.issue("good", &json!({ "sub": "ada" }));
    assert_eq!(gateway.get_as("good", "/live/x").status, 200, "and the service is not left alone for it");
}
