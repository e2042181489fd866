//! Several guards on one route, and guards that are asked where no password is tried.

use std::sync::{Mutex, mpsc};

use serde_json::json;

use crate::support::{ADMIN_TOKEN, Answer, Client, Gateway, Request, TokenService, Upstream, issuer, until, upstream};

/// A service that knows one secret, `right`, wherever it is asked.
fn service() -> Upstream {
    Upstream::scripted(|request| {
        let right = String::from_utf8_lossy(&request.body).contains("right");
        Answer::new(if right { 200 } else { 401 }, &[], "from the service")
    })
}

fn route(path: &str, keys: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nmethods = [\"POST\"]\nupstream = \"app\"\n{keys}\n")
}

const GUARDS: &str = "[network]\ntrusted_proxies = [\"127.0.0.1\"]\n\
     [login_guard.people]\naccount = { json = \"/email\" }\nlock_for = \"30m\"\n\
     [login_guard.places]\naccount = { json = \"/email\" }\nby = [\"source\"]\nattempts = 3\nwithin = \"1h\"\n";

fn ask(gateway: &Gateway, path: &str, email: &str, secret: &str, from: &str) -> (u16, String) {
    let request = Request::json(path, &json!({ "email": email, "secret": secret })).field("X-Forwarded-For", from);
    let answer = gateway.ask(&request);
    let code = if answer.status == 429 { answer.json()["code"].as_str().unwrap().to_owned() } else { String::new() };
    (answer.status, code)
}

fn locked() -> (u16, String) {
    (429, "locked".to_owned())
}

fn spent() -> (u16, String) {
    (429, "limit-reached".to_owned())
}

fn answered(status: u16) -> (u16, String) {
    (status, String::new())
}

fn counted(gateway: &Gateway, guard: &str, outcome: &str) -> u64 {
    let page = Request::get("/metrics").to(gateway.admin);
    let line = format!("portcullis_guard_total{{guard=\"{guard}\",outcome=\"{outcome}\"}} ");
    page.text().lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn of_several_guards_all_must_admit_and_the_strictest_speaks() {
    let app = service();
    let login = route("/login", "access = \"public\"\nlogin_guard = [\"places\", \"people\"]");
    let gateway = Gateway::start(&(GUARDS.to_owned() + &upstream("app", &[app.address], "") + &login));
    // The place is full after three, whomever it names; the account is locked after five, wherever they come from.
    for email in ["ann", "bob", "ann"] {
        assert_eq!(ask(&gateway, "/login", email, "wrong", "203.0.113.1"), answered(401));
    }
    assert_eq!(ask(&gateway, "/login", "cid", "right", "203.0.113.1"), spent());
    for from in ["203.0.113.2", "203.0.113.2", "203.0.113.3"] {
        assert_eq!(ask(&gateway, "/login", "ann", "wrong", from), answered(401));
    }
    assert_eq!(ask(&gateway, "/login", "ann", "right", "203.0.113.9"), locked());
    assert_eq!(ask(&gateway, "/login", "ann", "right", "203.0.113.1"), locked(), "the lock before the window");
    // What one guard refused holds nothing of the other's.
    for _ in 0..10 {
        assert_eq!(ask(&gateway, "/login", "dan", "right", "203.0.113.1"), spent());
    }
    for from in ["203.0.113.4", "203.0.113.4", "203.0.113.5", "203.0.113.5", "203.0.113.6"] {
        assert_eq!(ask(&gateway, "/login", "dan", "wrong", from), answered(401));
    }
    assert_eq!(ask(&gateway, "/login", "dan", "right", "203.0.113.6"), locked());
    assert_eq!((counted(&gateway, "people", "given-back"), counted(&gateway, "places", "given-back")), (0, 0));
}

#[test]
fn whom_one_guard_refuses_holds_nothing_of_another_and_waits_for_nobody_there() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let app = Upstream::scripted(move |request| {
        if String::from_utf8_lossy(&request.body).contains("slow") {
            let _ = held.lock().unwrap().recv();
        }
        Answer::new(401, &[], "")
    });
    let guards =
        "[login_guard.people]\naccount = { json = \"/email\" }\n[login_guard.devices]\naccount = { header = \"x-device\" }\n";
    let login = route("/login", "access = \"public\"\nlogin_guard = [\"people\", \"devices\"]");
    let gateway = Gateway::start(&(guards.to_owned() + &upstream("app", &[app.address], "") + &login));
    let login = |email: &str, secret: &str, device: &str| {
        Request::json("/login", &json!({ "email": email, "secret": secret })).field("X-Device", device)
    };
    for number in 0..5 {
        assert_eq!(gateway.ask(&login(&format!("person{number}"), "wrong", "phone")).status, 401);
    }
    // All of what ann may try is under way.
    let clients: Vec<Client> = (6..=10)
        .map(|number| {
            let mut client = Client::connect(gateway.address);
            client.send(login("ann", "slow", &format!("tablet{number}")).bytes());
            until("the login has it", || app.count() == number);
            client
        })
        .collect();
    let refused = gateway.ask(&login("ann", "right", "phone"));
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("locked")));
    assert_eq!((counted(&gateway, "people", "busy"), counted(&gateway, "devices", "locked")), (0, 1));
    drop((release, clients));
}

#[test]
fn a_lock_holds_on_the_routes_that_check_it_and_a_check_counts_nothing() {
    let app = service();
    let routes = route("/login", "access = \"public\"\nlogin_guard = \"people\"")
        + &route("/confirm", "access = \"public\"\ncheck = \"people\"")
        + &route("/redeem", "access = \"public\"\ncheck = [{ guard = \"people\", account = { form = \"username\" } }]");
    let gateway = Gateway::start(&(GUARDS.to_owned() + &upstream("app", &[app.address], "") + &routes).replace(
        "[login_guard.places]\naccount = { json = \"/email\" }\nby = [\"source\"]\nattempts = 3\nwithin = \"1h\"\n",
        "",
    ));
    for _ in 0..10 {
        assert_eq!(ask(&gateway, "/confirm", "ann", "wrong", "203.0.113.1"), answered(401), "wrong codes are not its business");
    }
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "/login", "ann", "wrong", "203.0.113.1"), answered(401));
    }
    let before = app.count();
    assert_eq!(ask(&gateway, "/confirm", " ANN", "right", "203.0.113.2"), locked());
    let redeem = |name: &str| gateway.ask(&Request::form("/redeem", &[("username", name), ("code", "right")]));
    assert_eq!(redeem("Ann").status, 429);
    assert_eq!(app.count(), before);
    assert_eq!(redeem("bob").status, 200);
    assert_eq!(ask(&gateway, "/confirm", "bob", "right", "203.0.113.1"), answered(200));
    // As strictly read as a login.
    for body in [r#"{"email":"bob","email":"ann"}"#, r#"{"secret":"right"}"#, ""] {
        assert_eq!(gateway.ask(&Request::post("/confirm", "application/json", body)).status, 400, "{body}");
    }
    assert_eq!(gateway.ask(&Request::post("/redeem", "application/x-www-form-urlencoded", "code=right")).status, 400);
    assert_eq!(app.count(), before + 2);
}

#[test]
fn a_check_by_the_subject_of_a_token_refuses_what_the_login_has_locked() {
    let (app, tokens) = (service(), TokenService::start());
    tokens.issue("anns", &json!({ "sub": "ann@example.com" }));
    tokens.issue("bobs", &json!({ "sub": "bob@example.com" }));
    let routes = route("/login", "access = \"public\"\nlogin_guard = \"people\"")
        + &route(
            "/access_token",
            "access = { bearer = { issuers = [\"main\"] } }\ncheck = { guard = \"people\", account = \"subject\" }",
        );
    let guards = "[login_guard.people]\naccount = { json = \"/email\" }\n";
    let config = guards.to_owned() + &issuer("main", tokens.address(), "") + &upstream("app", &[app.address], "") + &routes;
    let gateway = Gateway::start(&config);
    let exchange = |token: &str| gateway.ask(&Request::new("POST", "/access_token").bearer(token).body("right")).status;
    assert_eq!(exchange("anns"), 200);
    for _ in 0..5 {
        assert_eq!(gateway.ask(&Request::json("/login", &json!({ "email": "ann@example.com" }))).status, 401);
    }
    assert_eq!((exchange("anns"), exchange("bobs")), (429, 200));
}

#[test]
fn a_client_that_fails_on_many_accounts_is_stopped_wherever_it_asks_from_and_can_be_cleared() {
    let app = service();
    let guard = "[network]\ntrusted_proxies = [\"127.0.0.1\"]\n[login_guard.apps]\naccount = { form = \"username\" }\n\
         client = { form = \"client_id\" }\nby = [\"client\"]\nattempts = 3\nwithin = \"1h\"\n";
    let login = route("/token", "access = \"public\"\nlogin_guard = \"apps\"");
    let gateway = Gateway::start(&(guard.to_owned() + &upstream("app", &[app.address], "") + &login));
    let ask = |client: &str, name: &str, secret: &str, from: &str| {
        let fields = [("client_id", client), ("username", name), ("password", secret)];
        gateway.ask(&Request::form("/token", &fields).field("X-Forwarded-For", from)).status
    };
    for (number, name) in ["ann", "bob", "cid"].into_iter().enumerate() {
        assert_eq!(ask("shop", name, "wrong", &format!("203.0.113.{number}")), 401);
    }
    assert_eq!(ask("Shop", "dan", "right", "203.0.113.9"), 429);
    assert_eq!(ask("till", "dan", "right", "203.0.113.9"), 200);
    let bare = Request::form("/token", &[("username", "ann"), ("password", "right")]);
    assert_eq!(gateway.ask(&bare).status, 400, "which names no client");
    let admin = |method: &'static str| Request::new(method, "/admin/locks?client=shop").bearer(ADMIN_TOKEN).to(gateway.admin);
    let lock = admin("GET").json()["locks"][0].clone();
    assert_eq!((&lock["reason"], &lock["mark"], &lock["source"]), (&json!("window"), &json!(null), &json!(null)));
    assert!(lock["client"].is_string());
    assert_eq!(admin("DELETE").status, 200);
    let gateway = Gateway::start_again(gateway.kill());
    let again = Request::form("/token", &[("client_id", "shop"), ("username", "dan"), ("password", "right")]);
    assert_eq!(gateway.ask(&again).status, 200);
}

#[test]
fn the_client_of_a_token_is_counted_too() {
    let (app, tokens) = (service(), TokenService::start());
    tokens.issue("shops", &json!({ "sub": "ann", "client_id": "shop" }));
    tokens.issue("tills", &json!({ "sub": "ann", "client_id": "till" }));
    tokens.issue("nobodys", &json!({ "sub": "ann" }));
    let guard =
        "[login_guard.apps]\naccount = \"subject\"\nclient = \"token\"\nby = [\"client\"]\nattempts = 3\nwithin = \"1h\"\n";
    let confirm = route("/confirm", "access = { bearer = { issuers = [\"main\"] } }\nlogin_guard = \"apps\"");
    let config = guard.to_owned() + &issuer("main", tokens.address(), "") + &upstream("app", &[app.address], "") + &confirm;
    let gateway = Gateway::start(&config);
    let code = |token: &str, code: &str| gateway.ask(&Request::new("POST", "/confirm").bearer(token).body(code)).status;
    for _ in 0..3 {
        assert_eq!(code("shops", "wrong"), 401);
    }
    assert_eq!((code("shops", "right"), code("tills", "right"), code("nobodys", "right")), (429, 200, 403));
}
