//! Nothing that started after a logout's answer passes, however many introspections were on their way when it came.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Answer, Client, Gateway, Quickstart, Request, TokenService, Upstream, all_at_once, issuer, until, upstream,
};

/// Two routes that everybody's token passes: one that believes its cache and one that always asks, and the way out.
fn config(app: &Upstream, service: &TokenService) -> String {
    let bearer = "upstream = \"app\"\naccess = { bearer = { issuers = [\"main\"] } }";
    upstream("app", &[app.address], "")
        + &issuer("main", service.address(), "cache_ttl = \"1h\"")
        + &format!("[[route]]\npath = \"/cached/**\"\nmax_revocation_lag = \"1h\"\n{bearer}\n")
        + &format!("[[route]]\npath = \"/live/**\"\nmax_revocation_lag = \"0s\"\n{bearer}\n")
        + &format!(
            "[[route]]\npath = \"/logout\"\nmethods = [\"POST\"]\nmax_revocation_lag = \"1h\"\nends = \"token\"\n{bearer}\n"
        )
}

/// An upstream whose `/logout` makes the token service forget the token that its query names.
fn app_of(service: &TokenService) -> Upstream {
    let revoke = service.revoker();
    Upstream::scripted(move |request| {
        if let Some(token) = request.target.strip_prefix("/logout?gone=") {
            revoke(token);
        }
        Answer::ok("fine")
    })
}

fn log_out(gateway: &Gateway, token: &str) -> u16 {
    gateway.ask(&Request::new("POST", &format!("/logout?gone={token}")).bearer(token).body("")).status
}

#[test]
fn two_hundred_first_uses_of_a_token_at_once_are_one_question() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let gateway = Gateway::start(&config(&app, &service));
    service.issue("wanted-by-many", &json!({ "sub": "ada" }));
    service.take(Duration::from_millis(100));
    let statuses = all_at_once(200, |_, start| {
        let mut client = Client::connect(gateway.address);
        start.wait();
        client.send(Request::get("/cached/x").bearer("wanted-by-many").bytes());
        client.receive().status
    });
    assert_eq!(statuses, [200; 200]);
    assert_eq!(service.calls(), 1);
    assert_eq!(app.count(), 200);
}

#[test]
fn an_answer_from_before_a_logout_lets_nobody_in_after_it() {
    let service = TokenService::start();
    let app = app_of(&service);
    let gateway = Gateway::start(&config(&app, &service));
    for round in 0..8 {
        let token = format!("token-{round}");
        service.issue(&token, &json!({ "sub": "ada" }));
        assert_eq!(gateway.get_as(&token, "/cached/x").status, 200);
        // An introspection that has seen the token active, and whose answer is on its way for as long as we like.
        service.hold(1);
        thread::scope(|scope| {
            let early = scope.spawn(|| gateway.get_as(&token, "/live/early").status);
            service.await_held(1);
            assert_eq!(log_out(&gateway, &token), 200);
            // Started after the logout's answer, while the old answer is still on its way: it must not be waited for.
            assert_eq!(gateway.get_as(&token, "/live/late").status, 401);
            assert_eq!(gateway.get_as(&token, "/cached/late").status, 401);
            service.release();
            assert!(matches!(early.join().unwrap(), 200 | 401), "it began before the logout, so either answer is true");
        });
        for path in ["/live/later", "/cached/later"] {
            assert_eq!(gateway.get_as(&token, path).status, 401, "an old answer put the token back (round {round})");
        }
        assert!(app.requests().iter().all(|request| !request.target.contains("late")));
    }
}

#[test]
fn a_first_use_that_is_still_being_asked_about_is_not_remembered_past_a_logout() {
    let service = TokenService::start();
    let app = app_of(&service);
    let gateway = Gateway::start(&config(&app, &service));
    for round in 0..8 {
        let token = format!("token-{round}");
        service.issue(&token, &json!({ "sub": "ada" }));
        service.hold(2);
        thread::scope(|scope| {
            // Nobody knows the token yet: its first use and the logout each need an answer that was true when it was made.
            scope.spawn(|| gateway.get_as(&token, "/live/first"));
            service.await_held(1);
            let out = scope.spawn(|| log_out(&gateway, &token));
            service.release();
            until("the logout is answered", || {
                service.release();
                out.is_finished()
            });
            assert_eq!(out.join().unwrap(), 200);
        });
        service.hold(0);
        for path in ["/live/late", "/cached/late"] {
            assert_eq!(gateway.get_as(&token, path).status, 401, "round {round}");
        }
    }
}

#[test]
fn a_logout_that_the_upstream_refuses_ends_nothing() {
    let service = TokenService::start();
    let app = Upstream::answering(Answer::new(409, &[], "not now"));
    let gateway = Gateway::start(&config(&app, &service));
    service.issue("stays", &json!({ "sub": "ada" }));
    assert_eq!(log_out(&gateway, "stays"), 409);
    assert_eq!(gateway.get_as("stays", "/cached/x").status, 409, "it still reaches the upstream");
    assert_eq!(app.count(), 2);
}

#[test]
fn nothing_passes_that_started_after_the_embedded_service_answered_a_revocation() {
    let quick = Quickstart::start();
    for round in 0..6 {
        let tokens = quick.tokens();
        assert_eq!(quick.get_as(&tokens.access, "/api/warm").status, 200);
        let (over, passed, running) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let mut client = Client::connect(quick.address);
                    let request = Request::get("/api/x").bearer(&tokens.access).bytes();
                    loop {
                        let late = over.load(Ordering::SeqCst);
                        client.send(&request);
                        let status = client.receive().status;
                        assert!(!(late && status == 200), "accepted after the revocation was answered (round {round})");
                        passed.fetch_add(usize::from(status == 200), Ordering::SeqCst);
                        running.fetch_add(1, Ordering::SeqCst);
                        if late {
                            return;
                        }
                    }
                });
            }
            until("requests are under way", || running.load(Ordering::SeqCst) > 20);
            // By turns the token itself and the refresh token that takes it along.
            let revoked = quick.revoke(if round % 2 == 0 { &tokens.access } else { &tokens.refresh });
            over.store(true, Ordering::SeqCst);
            assert_eq!(revoked.status, 200);
        });
        assert!(passed.load(Ordering::SeqCst) > 0, "the token was good before");
    }
}
