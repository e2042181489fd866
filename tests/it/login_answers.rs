//! Logins whose service says in the body of its answer how they ended: what is said there counts, read or not.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::json;

use crate::support::{Answer, Client, Gateway, Request, Upstream, all_at_once, until, upstream};

const ANSWERS: &str = "failure = [403, { status = 200, pointer = \"/ok\", equals = false }]\n\
     success = [{ status = 200, pointer = \"/second\", equals = \"wanted\" }, { status = 200, pointer = \"/token\", exists = true }, 204]";

fn start(app: &Upstream, answers: &str) -> Gateway {
    Gateway::start(
        &(upstream("app", &[app.address], "")
            + &format!("[login_guard.login]\naccount = {{ json = \"/email\" }}\n{answers}\n")
            + "[[route]]\npath = \"/login\"\nmethods = [\"POST\"]\nupstream = \"app\"\naccess = \"public\"\nlogin_guard = \"login\"\n"),
    )
}

fn attempt(email: &str, password: &str) -> Request {
    Request::json("/login", &json!({ "email": email, "password": password }))
}

fn counted(gateway: &Gateway, outcome: &str) -> u64 {
    let page = Request::get("/metrics").to(gateway.admin);
    let line = format!("portcullis_guard_total{{guard=\"login\",outcome=\"{outcome}\"}} ");
    page.text().lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

/// Answers with 200 and what the password stands for.
fn login() -> Upstream {
    Upstream::scripted(|request| {
        let body = String::from_utf8_lossy(&request.body);
        let says = |word: &str| body.contains(word);
        if says("second") {
            Answer::ok(r#"{"ok":true,"second":"wanted"}"#)
        } else if says("right") {
            Answer::raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"token\r\n5\r\n\":\"x\"\r\n1\r\n}\r\n0\r\n\r\n",
            )
        } else if says("neither") {
            Answer::ok(r#"{"ok":true}"#)
        } else if says("empty") {
            Answer::new(204, &[], "")
        } else if says("forbidden") {
            Answer::new(403, &[], "{}")
        } else {
            Answer::ok(r#"{"ok":false}"#)
        }
    })
}

#[test]
fn the_body_of_an_answer_tells_and_arrives_as_it_was_sent() {
    let app = login();
    let gateway = start(&app, ANSWERS);
    for (password, outcome) in [
        ("second", "succeeded"),
        ("right", "succeeded"),
        ("empty", "succeeded"),
        ("neither", "given-back"),
        ("forbidden", "failed"),
        ("wrong", "failed"),
    ] {
        let before = counted(&gateway, outcome);
        let answer = gateway.ask(
            &attempt(&format!("{password}@example.com"), password)
                .field("Accept-Encoding", "gzip, br")
                .field("Range", "bytes=0-1"),
        );
        assert!(matches!(answer.status, 200 | 204 | 403), "{answer:?}");
        assert_eq!(counted(&gateway, outcome), before + 1, "{password}");
        assert_eq!(app.last().only("Accept-Encoding"), "identity");
        assert_eq!(app.last().values("Range"), [""; 0]);
    }
    assert_eq!(gateway.ask(&attempt("ann", "right")).json(), json!({ "token": "x" }));
}

#[test]
fn wrong_passwords_that_are_answered_with_200_lock_and_of_a_hundred_at_once_five_get_there() {
    let app = login();
    let gateway = start(&app, ANSWERS);
    let statuses = all_at_once(100, |number, start| {
        start.wait();
        gateway.ask(&attempt("ann", &format!("wrong{number}"))).status
    });
    assert_eq!(app.count(), 5);
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5);
    assert_eq!(gateway.ask(&attempt("ann", "right")).status, 429);
    assert_eq!(gateway.ask(&attempt("bob", "right")).status, 200);
}

#[test]
fn a_lock_that_a_body_tells_of_outlives_the_gateway() {
    let app = login();
    let gateway = start(&app, ANSWERS);
    for _ in 0..5 {
        assert_eq!(gateway.ask(&attempt("ann", "wrong")).status, 200);
    }
    assert_eq!(gateway.ask(&attempt("ann", "right")).status, 429);
    // The next lock waits for the disk after the one before, so that is on it.
    for _ in 0..5 {
        assert_eq!(gateway.ask(&attempt("bob", "forbidden")).status, 403);
    }
    let gateway = Gateway::start_again(gateway.kill());
    assert_eq!(gateway.ask(&attempt("ann", "right")).status, 429);
}

#[test]
fn an_answer_that_cannot_be_judged_has_failed_and_goes_down_all_the_same() {
    let long = format!("{{\"token\":\"{}\"}}", "x".repeat(20_000));
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let answers = [
        Answer::new(200, &[("Content-Encoding", "gzip")], r#"{"token":"x"}"#),
        Answer::ok(&long),
        Answer::raw(chunked),
        Answer::ok("<html>welcome</html>"),
        Answer::ok(r#"{"token":"x","token":"y"}"#),
        Answer::ok(""),
        Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"token\":\"x\"}").and_close(),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let app = Upstream::answering(answer);
        let gateway = start(&app, ANSWERS);
        for _ in 0..5 {
            let mut client = Client::connect(gateway.address);
            client.send(attempt("ann", "right").bytes());
            assert_eq!(client.receive_head().status, 200, "{number}");
            drop(client);
        }
        until("all are counted", || counted(&gateway, "failed") == 5);
        assert_eq!(gateway.ask(&attempt("ann", "right")).status, 429, "{number}");
    }
}

#[test]
fn who_leaves_between_the_head_and_the_end_of_an_answer_has_tried() {
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let app = Upstream::by_hand(move |mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"ok\":");
        let _ = held.lock().unwrap().recv();
        let _ = stream.write_all(b"false}");
    });
    let gateway = start(&app, ANSWERS);
    for number in 1..=5 {
        let mut client = Client::connect(gateway.address);
        client.send(attempt("ann", "wrong").bytes());
        let seen = format!("portcullis_upstream_duration_seconds_count{{upstream=\"app\"}} {number}\n");
        until("the gateway has the head", || Request::get("/metrics").to(gateway.admin).text().contains(&seen));
    }
    drop(release);
    until("all are counted", || counted(&gateway, "failed") == 5);
    assert_eq!(gateway.ask(&attempt("ann", "right")).status, 429);
    assert_eq!((counted(&gateway, "given-back"), counted(&gateway, "succeeded")), (0, 0));
}
