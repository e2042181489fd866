//! Logins at a token service that is not ours, behind a guard: nobody guesses for long, and nobody who knows is kept out.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, Gateway, Request, Response, TokenService, Upstream, all_at_once, issuer, until, unused_address, upstream,
};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const BY_EMAIL: &str = "account = { json = \"/email\" }";

/// A login that knows the password of everybody it knows: `right`.
fn login() -> Upstream {
    Upstream::scripted(|request| {
        let body = String::from_utf8_lossy(&request.body);
        let status = match &*body {
            body if body.contains("right") => 200,
            body if body.contains("broken") => 500,
            body if body.contains("unasked") => 400,
            _ => 401,
        };
        Answer::new(status, &[], "from the login")
    })
}

fn config(app: &Upstream, guard: &str, route: &str) -> String {
    upstream("app", &[app.address], "")
        + &format!("[login_guard.login]\n{guard}\n")
        + &format!("[[route]]\npath = \"/login\"\nmethods = [\"POST\"]\nupstream = \"app\"\n{route}\nlogin_guard = \"login\"\n")
}

fn start(app: &Upstream, guard: &str) -> Gateway {
    Gateway::start(&config(app, guard, "access = \"public\""))
}

fn attempt(email: &str, password: &str) -> Request {
    Request::json("/login", &json!({ "email": email, "password": password }))
}

#[track_caller]
fn fail(gateway: &Gateway, email: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(gateway.ask(&attempt(email, "wrong")).status, 401, "{email}");
    }
}

#[track_caller]
fn assert_locked(response: &Response) {
    assert_eq!(response.status, 429, "{response:?}");
    assert_eq!(response.json()["code"], "locked");
    let wait: u64 = response.only("retry-after").parse().unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
}

fn counted(gateway: &Gateway, outcome: &str) -> u64 {
    let page = Request::get("/metrics").to(gateway.admin);
    let line = format!("portcullis_guard_total{{guard=\"login\",outcome=\"{outcome}\"}} ");
    page.text().lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn of_a_hundred_wrong_passwords_at_once_five_reach_the_login() {
    let app = login();
    let gateway = start(&app, BY_EMAIL);
    let statuses = all_at_once(100, |number, start| {
        start.wait();
        gateway.ask(&attempt("ann@example.com", &format!("wrong{number}"))).status
    });
    assert_eq!(app.count(), 5);
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 5);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 95);
    assert_eq!(counted(&gateway, "failed"), 5);
}

#[test]
fn of_twenty_right_passwords_at_once_none_is_refused_and_nothing_is_counted() {
    let app = login();
    let gateway = start(&app, BY_EMAIL);
    let statuses = all_at_once(20, |_, start| {
        start.wait();
        gateway.ask(&attempt("ann@example.com", "right")).status
    });
    assert_eq!(statuses, [200; 20]);
    assert_eq!(app.count(), 20);
    fail(&gateway, "ann@example.com", 5);
}

#[test]
fn after_five_failures_the_right_password_is_refused_too_and_an_unknown_account_looks_the_same() {
    let app = login();
    let gateway = start(&app, BY_EMAIL);
    let mut refusals = Vec::new();
    for email in ["ann@example.com", "nobody@example.com"] {
        fail(&gateway, email, 5);
        let before = app.count();
        let refused = gateway.ask(&attempt(email, "right"));
        assert_locked(&refused);
        assert_eq!(app.count(), before);
        let mut body = refused.json();
        body.as_object_mut().unwrap().retain(|name, _| !matches!(&**name, "instance" | "request_id" | "requestId"));
        refusals.push(body);
    }
    assert_eq!(refusals[0], refusals[1]);
    assert_eq!(gateway.ask(&attempt("bob@example.com", "right")).status, 200, "others go on");
    assert_eq!(counted(&gateway, "locked"), 2);
}

#[test]
fn in_style_session_a_lock_is_423_and_says_for_how_long() {
    let app = login();
    let gateway = Gateway::start(&config(&app, BY_EMAIL, "access = \"public\"\nstyle = \"session\""));
    fail(&gateway, "ann@example.com", 5);
    let refused = gateway.ask(&attempt("ann@example.com", "right"));
    assert_eq!(refused.status, 423);
    assert!(!refused.only("retry-after").is_empty());
}

#[test]
fn a_lock_ends_by_itself_and_tries_meanwhile_do_not_prolong_it() {
    let app = login();
    let gateway = start(&app, &format!("{BY_EMAIL}\nlock_for = \"2s\""));
    fail(&gateway, "ann@example.com", 5);
    let before = app.count();
    until("the lock is over", || gateway.ask(&attempt("ann@example.com", "right")).status == 200);
    assert_eq!(app.count(), before + 1);
}

#[test]
fn spellings_of_an_account_share_its_budget() {
    let app = login();
    let gateway = start(&app, BY_EMAIL);
    for email in ["Ann@Example.com", " ann@example.com ", "ａｎｎ@example.com", "ánn@example.com", "ANN @EXAMPLE.COM"] {
        fail(&gateway, email, 1);
    }
    assert_locked(&gateway.ask(&attempt("ann@example.com", "right")));
    for phone in ["+40711111298", "0040711111298", "+40 711 111 298", "40711111298", "+40-711-111-298"] {
        fail(&gateway, phone, 1);
    }
    assert_locked(&gateway.ask(&attempt("+40 (711) 111298", "right")));
}

#[test]
fn neither_another_source_nor_a_told_one_nor_another_account_nor_another_path_helps() {
    let app = login();
    let gateway = start(&app, BY_EMAIL);
    for number in 0..5 {
        let told = attempt("ann@example.com", "wrong")
            .field("X-Forwarded-For", &format!("203.0.113.{number}"))
            .field("Forwarded", &format!("for=203.0.113.{number}"))
            .field("X-Real-IP", &format!("203.0.113.{number}"));
        assert_eq!(gateway.ask(&told).status, 401);
        assert_eq!(gateway.ask(&attempt("mallory@example.com", "right")).status, 200);
        fail(&gateway, &format!("other{number}@example.com"), 1);
    }
    let told = attempt("ann@example.com", "right").field("X-Forwarded-For", "203.0.113.99");
    assert_locked(&gateway.ask(&told));
    let before = app.count();
    let body = json!({ "email": "ann@example.com", "password": "right" });
    for path in ["/login?x=1", "/%6cogin", "/x/../login", "//login", "/login/", "/LOGIN", "/login;x=1", "/login%2f", "/./login"]
    {
        let status = gateway.ask(&Request::json(path, &body)).status;
        assert!(matches!(status, 400 | 404 | 429), "{path}: {status}");
    }
    assert_eq!(app.count(), before);
}

#[test]
fn a_login_that_may_name_two_accounts_or_names_none_goes_nowhere() {
    let app = login();
    let gateway = start(&app, BY_EMAIL);
    for (label, body, status) in [
        (JSON, r#"{"email":"ann","email":"bob"}"#, 400),
        (JSON, r#"{"email":"ann","Email":"bob"}"#, 400),
        (JSON, r#"{"email":["ann"]}"#, 400),
        (JSON, r#"{"email":7}"#, 400),
        (JSON, r#"{"email":" "}"#, 400),
        (JSON, "{\"email\":\"a\u{200b}nn\"}", 400),
        (JSON, r#"{"password":"right"}"#, 400),
        (JSON, r#"{"email":"ann"}{}"#, 400),
        (JSON, "", 400),
        ("text/plain", r#"{"email":"ann"}"#, 415),
        (FORM, "email=ann", 415),
        (FORM, r#"{"email":"ann","x":"&email=bob&y="}"#, 415),
    ] {
        assert_eq!(gateway.ask(&Request::post("/login", label, body)).status, status, "{label} {body}");
    }
    let zipped = attempt("ann", "right").field("Content-Encoding", "gzip");
    assert_eq!(gateway.ask(&zipped).status, 415);
    let in_query = Request::json("/login?email=bob", &json!({ "email": "ann", "password": "right" }));
    assert_eq!(gateway.ask(&in_query).status, 400);
    assert_eq!(app.count(), 0);
    assert_eq!(counted(&gateway, "unreadable"), 14);
}

#[test]
fn a_form_and_a_header_tell_accounts_too_and_the_body_arrives_as_it_was_sent() {
    let app = login();
    let by_form = start(&app, "account = { form = \"username\" }");
    let body = "username=Ann%20&password=wrong%2B+x";
    for _ in 0..5 {
        assert_eq!(by_form.ask(&Request::post("/login", FORM, body)).status, 401);
        assert_eq!(app.last().body, body.as_bytes());
    }
    assert_locked(&by_form.ask(&Request::form("/login", &[("username", "ann"), ("password", "right")])));
    for bad in ["username=ann&username=bob", "username=ann&username[]=bob", "x=1;username=bob&username=ann", "password=right"] {
        assert_eq!(by_form.ask(&Request::post("/login", FORM, bad)).status, 400, "{bad}");
    }
    let by_header = start(&app, "account = { header = \"X-User\" }");
    let named = |name: &str| Request::new("POST", "/login").field("X-User", name);
    for name in ["ann", "Ann", "ANN", "aNn", "ann"] {
        assert_eq!(by_header.ask(&named(name).body("wrong")).status, 401);
    }
    assert_locked(&by_header.ask(&named("ann").body("right")));
    assert_eq!(by_header.ask(&named("bob").field("X-User", "ann").body("right")).status, 400);
    assert_eq!(app.count(), 10);
}

#[test]
fn what_the_login_did_not_answer_is_not_counted() {
    let app = login();
    let gateway = start(&app, BY_EMAIL);
    for (password, status) in [("broken", 500), ("unasked", 400)] {
        for _ in 0..7 {
            assert_eq!(gateway.ask(&attempt("ann@example.com", password)).status, status);
        }
    }
    let nobody = unused_address();
    let down =
        Gateway::start(&config(&app, BY_EMAIL, "access = \"public\"").replace(&app.address.to_string(), &nobody.to_string()));
    for _ in 0..7 {
        assert_eq!(down.ask(&attempt("ann@example.com", "wrong")).status, 502);
    }
    assert_eq!((counted(&gateway, "given-back"), counted(&down, "given-back")), (14, 7));
}

/// A login that answers 401, but not before the sender is dropped.
fn held_login() -> (mpsc::Sender<()>, Upstream) {
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let app = Upstream::scripted(move |_| {
        let _ = held.lock().unwrap().recv();
        Answer::new(401, &[], "")
    });
    (release, app)
}

#[test]
fn who_leaves_before_the_answer_has_tried_all_the_same() {
    let (release, app) = held_login();
    let gateway = start(&app, BY_EMAIL);
    for number in 1..=5 {
        let mut client = Client::connect(gateway.address);
        client.send(attempt("ann@example.com", "wrong").bytes());
        until("the login has it", || app.count() == number);
    }
    drop(release);
    until("all are counted", || counted(&gateway, "failed") == 5);
    assert_locked(&gateway.ask(&attempt("ann@example.com", "right")));
    assert_eq!(app.count(), 5);
}

#[test]
fn who_resets_the_connection_before_the_answer_has_tried_all_the_same() {
    let (release, app) = held_login();
    let gateway = start(&app, BY_EMAIL);
    for number in 1..=5_u64 {
        let mut client = std::net::TcpStream::connect(gateway.address).unwrap();
        std::io::Write::write_all(&mut client, &attempt("ann@example.com", "wrong").bytes()).unwrap();
        until("the login has it", || app.count() as u64 == number);
        // A reset instead of an end.
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        until("it is counted", || counted(&gateway, "failed") == number);
    }
    drop(release);
    assert_locked(&gateway.ask(&attempt("ann@example.com", "right")));
    assert_eq!(app.count(), 5);
}

#[test]
fn who_breaks_a_login_off_in_whatever_way_has_tried_all_the_same() {
    let (_release, app) = held_login();
    let text = config(&app, "account = { header = \"X-User\" }", "access = \"public\"\nbody_limit = \"1KiB\"")
        .replace("[login_guard", "total_timeout = \"1s\"\n[login_guard");
    let gateway = Gateway::start(&text);
    let head = |framing: &str| format!("POST /login HTTP/1.1\r\nHost: h\r\nX-User: ann\r\n{framing}\r\n\r\n");
    let chunked = head("Transfer-Encoding: chunked") + "5\r\nwrong\r\n";
    let large = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let slow = head("Content-Length: 6") + "wrong";
    for (number, (start, rest, status)) in
        [(&chunked, "no chunk\r\n", 400), (&chunked, &large, 413), (&slow, "", 408)].iter().enumerate()
    {
        let mut client = Client::connect(gateway.address);
        client.send(start);
        until("the login has it", || app.bytes().windows(5).filter(|bytes| bytes == b"wrong").count() > number);
        client.send(rest);
        assert_eq!(client.receive().status, *status);
        until("it is counted", || counted(&gateway, "failed") == number as u64 + 1);
    }
    assert_eq!(counted(&gateway, "given-back"), 0);
}

#[test]
fn a_window_counts_failures_of_a_source_whomever_it_names() {
    let app = login();
    let window = "attempts = 3\nwithin = \"1h\"\nby = [\"source\", \"account\"]";
    let gateway = Gateway::start(
        &("[network]\ntrusted_proxies = [\"127.0.0.1\"]\n".to_owned()
            + &config(&app, &format!("{BY_EMAIL}\n{window}"), "access = \"public\"")),
    );
    let from =
        |source: &str, email: &str, password: &str| gateway.ask(&attempt(email, password).field("X-Forwarded-For", source));
    for email in ["ann", "bob", "cid"] {
        assert_eq!(from("203.0.113.1", email, "wrong").status, 401);
        assert_eq!(from("203.0.113.1", "mallory", "right").status, if email == "cid" { 429 } else { 200 });
    }
    let refused = from("203.0.113.1", "dan", "right");
    assert_eq!((refused.status, &refused.json()["code"]), (429, &Value::from("limit-reached")));
    assert!(refused.only("retry-after").parse::<u64>().unwrap() > 3500);
    assert_eq!(from("203.0.113.2", "dan", "right").status, 200);
    assert_eq!(counted(&gateway, "spent"), 2);
}

/// The value of a line of the metrics; 0 if it is not there.
fn measured(gateway: &Gateway, line: &str) -> u64 {
    let page = Request::get("/metrics").to(gateway.admin);
    let found = page.text().lines().find_map(|text| text.strip_prefix(&format!("{line} ")).map(str::to_owned));
    found.map_or(0, |count| count.parse().unwrap())
}

#[test]
fn who_tries_many_accounts_shows_in_the_metrics_and_is_stopped_by_a_window() {
    let app = login();
    let window = "attempts = 12\nwithin = \"1h\"\nconsecutive = 5\nby = [\"source\", \"account\"]";
    let gateway = Gateway::start(
        &("[network]\ntrusted_proxies = [\"127.0.0.1\"]\n".to_owned()
            + &config(&app, &format!("{BY_EMAIL}\n{window}"), "access = \"public\"")),
    );
    let from = |source: &str, email: &str, password: &str| {
        gateway.ask(&attempt(email, password).field("X-Forwarded-For", source)).status
    };
    // A person who mistypes at home, and a list of stolen passwords from elsewhere.
    assert_eq!(from("203.0.113.1", "ann", "right"), 200);
    assert_eq!((from("203.0.113.1", "ann", "wrong"), from("203.0.113.1", "ann", "wrong")), (401, 401));
    let stuffed: Vec<u16> = (0..20).map(|number| from("203.0.113.2", &format!("person{number}"), "wrong")).collect();
    assert_eq!(stuffed, [[401; 12].as_slice(), &[429; 8]].concat());
    let spraying = "portcullis_guard_spraying_sources{guard=\"login\"}";
    until("the gauge has looked", || measured(&gateway, spraying) == 1);
    let failures =
        |known: &str| measured(&gateway, &format!("portcullis_guard_failures_total{{guard=\"login\",known=\"{known}\"}}"));
    assert_eq!((failures("yes"), failures("no")), (2, 12));
}

#[test]
fn taking_turns_between_accounts_gives_none_of_them_more_guesses_and_a_tag_is_another_account() {
    let app = login();
    let gateway = start(&app, BY_EMAIL);
    for _ in 0..5 {
        for email in ["ann@example.com", "bob@example.com", "ann+tag@example.com"] {
            fail(&gateway, email, 1);
        }
    }
    for email in ["ann@example.com", "bob@example.com", "ann+tag@example.com"] {
        assert_locked(&gateway.ask(&attempt(email, "right")));
    }
    assert_eq!(app.count(), 15);
    assert_eq!(gateway.ask(&attempt("ann+other@example.com", "right")).status, 200);
}

#[test]
fn a_source_that_knew_the_password_lately_is_not_locked_out_from_elsewhere() {
    let app = login();
    let gateway = Gateway::start(
        &("[network]\ntrusted_proxies = [\"127.0.0.1\"]\n".to_owned() + &config(&app, BY_EMAIL, "access = \"public\"")),
    );
    let from =
        |source: &str, password: &str| gateway.ask(&attempt("ann@example.com", password).field("X-Forwarded-For", source));
    assert_eq!(from("203.0.113.1", "right").status, 200);
    for number in 2..7 {
        assert_eq!(from(&format!("203.0.113.{number}"), "wrong").status, 401);
    }
    assert_locked(&from("203.0.113.9", "right"));
    assert_eq!(from("203.0.113.1", "right").status, 200);
}

#[test]
fn a_restart_ends_no_lock_and_gives_back_no_guess_and_a_source_that_knew_the_password_stays_known() {
    let app = login();
    let gateway = Gateway::start(
        &("[network]\ntrusted_proxies = [\"127.0.0.1\"]\n".to_owned()
            + &config(&app, &format!("{BY_EMAIL}\nlock_for = \"1h\""), "access = \"public\"")),
    );
    let from = |gateway: &Gateway, source: &str, email: &str, password: &str| {
        gateway.ask(&attempt(email, password).field("X-Forwarded-For", source)).status
    };
    assert_eq!(from(&gateway, "203.0.113.1", "ann", "right"), 200);
    let wrong = |gateway: &Gateway, email, times: usize| {
        let statuses: Vec<u16> = (0..times).map(|_| from(gateway, "203.0.113.2", email, "wrong")).collect();
        assert_eq!(statuses, vec![401; times], "{email}");
    };
    wrong(&gateway, "bob", 4);
    wrong(&gateway, "ann", 5);
    let gateway = Gateway::start_again(gateway.kill());
    let locked = gateway.ask(&attempt("ann", "right").field("X-Forwarded-For", "203.0.113.3"));
    assert_eq!(locked.status, 429);
    assert!((3500..=3600).contains(&locked.only("retry-after").parse::<u64>().unwrap()), "{locked:?}");
    assert_eq!(from(&gateway, "203.0.113.1", "ann", "right"), 200, "who knew it before is not locked out");
    wrong(&gateway, "bob", 1);
    assert_eq!(from(&gateway, "203.0.113.2", "bob", "right"), 429, "the fifth in a row");
    assert_eq!(from(&gateway, "203.0.113.2", "cid", "right"), 200);
}

#[test]
fn without_a_state_file_a_restart_forgets() {
    let app = login();
    let gateway = Gateway::start(&("[store]\nfile = false\n".to_owned() + &config(&app, BY_EMAIL, "access = \"public\"")));
    fail(&gateway, "ann", 5);
    assert_eq!(gateway.ask(&attempt("ann", "right")).status, 429);
    let gateway = Gateway::start_again(gateway.kill());
    assert_eq!(gateway.ask(&attempt("ann", "right")).status, 200);
}

#[test]
fn a_second_factor_is_guarded_by_the_subject_of_the_token() {
    let (app, service) = (login(), TokenService::start());
    let access = "access = { bearer = { issuers = [\"main\"] } }";
    let gateway = Gateway::start(&(issuer("main", service.address(), "") + &config(&app, "account = \"subject\"", access)));
    for (token, subject) in [("one", "ann"), ("two", "ann"), ("three", "bob")] {
        service.issue(token, &json!({ "sub": subject }));
    }
    service.issue("nobody", &json!({ "client_id": "shop" }));
    let code = |token: &str, code: &str| gateway.ask(&Request::new("POST", "/login").bearer(token).body(code));
    for token in ["one", "two", "one", "two", "one"] {
        assert_eq!(code(token, "wrong").status, 401);
    }
    assert_locked(&code("two", "right"));
    assert_eq!(code("three", "right").status, 200);
    assert_eq!(code("nobody", "right").status, 403);
}
