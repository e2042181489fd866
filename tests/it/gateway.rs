//! What reaches the upstream, and what comes back: identity, forwarding fields, bodies, retries, routes.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Answer, Client, Gateway, Received, Request, TokenService, Upstream, assert_dressed, epoch_seconds, issuer, unused_address,
    upstream,
};

const TOKEN: &str = "a-good-token";

/// A token service that knows [`TOKEN`] with every fact that can be told upstream.
fn service() -> TokenService {
    let service = TokenService::start();
    service.issue(TOKEN, &json!({ "sub": "ada", "client_id": "shop", "scope": "read write", "sid": "s-1", "role": "ops" }));
    service
}

fn bearer(keys: &str) -> String {
    format!("upstream = \"app\"\naccess = {{ bearer = {{ issuers = [\"main\"] }} }}\n{keys}\n")
}

fn public(keys: &str) -> String {
    format!("upstream = \"app\"\naccess = \"public\"\n{keys}\n")
}

fn config(app: &Upstream, service: &TokenService) -> String {
    upstream("app", &[app.address], "")
        + &issuer("main", service.address(), "")
        + &format!("[[route]]\npath = \"/api/**\"\n{}", bearer(""))
        + &format!("[[route]]\npath = \"/public/**\"\n{}", public(""))
}

fn only_public(app: &Upstream, keys: &str) -> String {
    upstream("app", &[app.address], "") + &format!("[[route]]\npath = \"/**\"\n{}", public(keys))
}

fn identity(request: &Received) -> Vec<(&str, &str)> {
    let folded =
        |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-").starts_with("x-auth-");
    let mut fields: Vec<_> = request.fields.iter().filter(|(name, _)| folded(name)).collect();
    fields.sort();
    fields.into_iter().map(|(name, value)| (&**name, &**value)).collect()
}

#[test]
fn the_upstream_is_told_who_calls_once_each_in_our_words() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let gateway = Gateway::start(&config(&app, &service));
    assert_eq!(gateway.get_as(TOKEN, "/api/x").status, 200);
    let seen = app.last();
    for (name, value) in
        [("X-Auth-Subject", "ada"), ("X-Auth-Client", "shop"), ("X-Auth-Scope", "read write"), ("X-Auth-Session", "s-1")]
    {
        assert_eq!(seen.only(name), value);
    }
    assert_eq!(identity(&seen).len(), 4, "{seen:#?}");
    service.issue("bare", &json!({ "sub": "bob" }));
    assert_eq!(gateway.get_as("bare", "/api/x").status, 200);
    let seen = app.last();
    assert_eq!(seen.only("X-Auth-Subject"), "bob");
    assert_eq!(identity(&seen).len(), 1, "an absent fact is an absent field: {seen:#?}");
}

#[test]
fn whatever_a_client_says_about_who_calls_is_gone_in_every_spelling() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let gateway = Gateway::start(&config(&app, &service));
    let spellings = [
        "X-Auth-Subject",
        "x-auth-subject",
        "X-AUTH-SUBJECT",
        "X_Auth_Subject",
        "x_auth_subject",
        "X-Auth_Subject",
        "X.Auth.Subject",
        "X-Auth.Client",
        "X~Auth~Scope",
        "X-Auth-Session",
        "X-Auth-Roles",
        "X-Forwarded-User",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Middleware-Subrequest",
        "Client-Cert",
        "X-SSL-Client-Verify",
        "X-Forwarded-Client-Cert",
        "Proxy",
        "True-Client-IP",
        "X-Real-IP",
    ];
    for spelling in spellings {
        for (path, expected) in [("/api/x", 4), ("/public/x", 0)] {
            let before = app.count();
            let request = Request::get(path).bearer(TOKEN).field(spelling, "mallory").field(spelling, "mallory");
            let response = gateway.ask(&request);
            if response.status == 400 {
                assert_eq!(app.count(), before, "{spelling}");
                continue;
            }
            assert_eq!(response.status, 200, "{spelling}: {response:#?}");
            let seen = app.last();
            assert!(!format!("{seen:?}").contains("mallory"), "{spelling} reached the upstream: {seen:#?}");
            assert_eq!(identity(&seen).len(), expected, "{spelling}: {seen:#?}");
        }
    }
}

#[test]
fn a_connection_field_cannot_take_away_what_we_set() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let gateway = Gateway::start(&config(&app, &service));
    for named in
        ["X-Auth-Subject", "x-auth-client", "close, X-Auth-Subject", "X-Forwarded-For", "Forwarded", "X-Request-Id", "Host"]
    {
        let before = app.count();
        let response = gateway.ask(&Request::get("/api/x").bearer(TOKEN).field("Connection", named));
        if response.status == 400 {
            assert_eq!(app.count(), before, "{named}");
            assert_dressed(&response, named);
            continue;
        }
        let seen = app.last();
        for ours in ["X-Auth-Subject", "X-Auth-Client", "X-Forwarded-For", "Forwarded", "X-Request-Id", "Host"] {
            seen.only(ours);
        }
    }
    let response =
        gateway.ask(&Request::get("/api/x").bearer(TOKEN).field("Connection", "keep-alive, X-Hop").field("X-Hop", "one"));
    assert_eq!(response.status, 200);
    assert!(app.last().values("X-Hop").is_empty(), "what is for one hop only goes no further");
}

#[test]
fn a_subject_that_does_not_fit_a_header_is_nobody() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let gateway = Gateway::start(&config(&app, &service));
    for (number, subject) in ["ada\r\nX-Auth-Scope: admin", "ada\n", "ad\u{0}a", "adä", "\u{7f}"].into_iter().enumerate() {
        let token = format!("odd-{number}");
        service.issue(&token, &json!({ "sub": subject }));
        let status = gateway.get_as(&token, "/api/x").status;
        assert!(matches!(status, 401 | 403 | 503), "{subject:?}: {status}");
    }
    assert_eq!(app.count(), 0);
}

#[test]
fn the_token_goes_upstream_only_where_the_route_says_so() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let text = config(&app, &service) + &format!("[[route]]\npath = \"/with/**\"\n{}", bearer("forward_authorization = true"));
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.get_as(TOKEN, "/api/x").status, 200);
    assert!(app.last().values("Authorization").is_empty());
    assert_eq!(gateway.get_as(TOKEN, "/with/x").status, 200);
    assert_eq!(app.last().only("Authorization"), format!("Bearer {TOKEN}"));
}

#[test]
fn identity_headers_can_have_other_names() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let names = "identity = { subject = \"X-User\", client = \"X-Caller\" }";
    let text = config(&app, &service) + &format!("[[route]]\npath = \"/other/**\"\n{}", bearer(names));
    let gateway = Gateway::start(&text);
    let request = Request::get("/other/x").bearer(TOKEN).field("X-User", "mallory").field("x_user", "mallory");
    assert_eq!(gateway.ask(&request).status, 200);
    let seen = app.last();
    assert_eq!((seen.only("X-User"), seen.only("X-Caller")), ("ada", "shop"));
    assert!(!format!("{seen:?}").contains("mallory"), "{seen:#?}");
}

#[test]
fn nobody_is_believed_about_where_a_request_comes_from_unless_we_trust_them() {
    let claims = [
        ("X-Forwarded-For", "10.9.9.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Prefix", "/admin"),
        ("Forwarded", "for=10.9.9.9;proto=https;host=evil.example"),
    ];
    let request = claims.iter().fold(Request::get("/x"), |request, (name, value)| request.field(name, value));

    let app = Upstream::answering(Answer::ok("fine"));
    let gateway = Gateway::start(&only_public(&app, ""));
    assert_eq!(gateway.ask(&request).status, 200);
    let seen = app.last();
    assert_eq!((seen.only("X-Forwarded-For"), seen.only("X-Forwarded-Proto")), ("127.0.0.1", "http"));
    assert_eq!(seen.only("X-Forwarded-Host"), "gateway.test");
    let forwarded = seen.only("Forwarded");
    assert!(
        forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=http") && !forwarded.contains("10.9.9.9"),
        "{forwarded}"
    );
    assert!(seen.values("X-Forwarded-Port").is_empty() && seen.values("X-Forwarded-Prefix").is_empty());
    assert!(!format!("{seen:?}").contains("evil.example"), "{seen:#?}");

    let trusted = only_public(&app, "") + "[network]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    let gateway = Gateway::start(&trusted);
    assert_eq!(
        gateway.ask(&Request::get("/x").field("X-Forwarded-For", "10.9.9.9").field("X-Forwarded-Proto", "https")).status,
        200
    );
    let seen = app.last();
    assert_eq!(seen.only("X-Forwarded-For"), "10.9.9.9, 127.0.0.1", "appended to what a trusted proxy says");
    assert_eq!(seen.only("X-Forwarded-Proto"), "https");
}

#[test]
fn a_request_has_one_name_in_the_answer_and_upstream_and_a_good_one_is_kept() {
    let app = Upstream::answering(Answer::new(200, &[("X-Request-Id", "the upstream's own")], "fine"));
    let gateway = Gateway::start(&only_public(&app, ""));
    let response = gateway.ask(&Request::get("/x"));
    assert_eq!(response.only("X-Request-Id"), app.last().only("X-Request-Id"));
    let trace = app.last().only("traceparent").to_owned();
    assert!(trace.len() == 55 && trace.starts_with("00-"), "{trace}");

    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let response = gateway.ask(&Request::get("/x").field("X-Request-Id", "order-17").field("traceparent", trace));
    assert_eq!((response.only("X-Request-Id"), app.last().only("X-Request-Id")), ("order-17", "order-17"));
    assert_eq!(app.last().only("traceparent"), trace);
    let response = gateway.ask(&Request::get("/x").field("X-Request-Id", "a\"b c"));
    assert!(!response.only("X-Request-Id").contains(' '), "a name that would break a log line is replaced");
}

#[test]
fn a_body_goes_up_while_it_is_still_coming() {
    let (seen, arrived) = mpsc::channel();
    let seen = Mutex::new(seen);
    let app = Upstream::by_hand(move |mut stream, _| {
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        let mut told = false;
        while !text.ends_with("0\r\n\r\n") {
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the gateway closed after {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if !told && text.contains("first") {
                told = true;
                seen.lock().unwrap().send(()).unwrap();
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").unwrap();
        let _ = stream.read(&mut bytes);
    });
    let gateway = Gateway::start(&only_public(&app, ""));
    let mut client = Client::connect(gateway.address);
    client.send("POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    arrived.recv_timeout(crate::support::PATIENCE).expect("the first chunk goes up before the second is sent");
    client.send("6\r\nsecond\r\n0\r\n\r\n");
    assert_eq!(client.receive().text(), "fine");
}

#[test]
fn a_body_comes_down_while_it_is_still_being_made() {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let app = Upstream::by_hand(move |mut stream, _| {
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
        gate.lock().unwrap().recv().unwrap();
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
        let _ = stream.read(&mut bytes);
    });
    let gateway = Gateway::start(&only_public(&app, ""));
    let mut client = Client::connect(gateway.address);
    client.send(Request::get("/x").bytes());
    assert_dressed(&client.receive_head(), "streamed");
    let mut body = Vec::new();
    while !String::from_utf8_lossy(&body).contains("first") {
        body.extend(client.receive_some().expect("the first part, before the second is made"));
    }
    go.send(()).unwrap();
    while !body.ends_with(b"0\r\n\r\n") {
        body.extend(client.receive_some().expect("the rest"));
    }
    assert!(String::from_utf8_lossy(&body).contains("second"));
}

#[test]
fn large_bodies_pass_unchanged_both_ways() {
    let app = Upstream::scripted(|request| Answer::ok(&request.body));
    let gateway = Gateway::start(&only_public(&app, ""));
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let response = gateway.ask(&Request::post("/x", "application/octet-stream", body.clone()));
    assert_eq!((response.status, response.body == body), (200, true));
}

#[test]
fn a_body_above_the_routes_limit_is_refused_by_its_length_or_as_it_comes() {
    let app = Upstream::answering(Answer::ok("fine"));
    let gateway = Gateway::start(&only_public(&app, "body_limit = \"1KiB\""));
    assert_eq!(gateway.ask(&Request::post("/x", "text/plain", "x".repeat(1024))).status, 200);
    let before = app.count();
    let declared = gateway.ask(&Request::post("/x", "text/plain", "x".repeat(1025)));
    assert_eq!(declared.status, 413);
    assert_dressed(&declared, "413 by Content-Length");
    assert!(!String::from_utf8_lossy(&app.bytes()).contains(&"x".repeat(1025)));

    let mut client = Client::connect(gateway.address);
    client.send("POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        client.offer(format!("200\r\n{}\r\n", "x".repeat(512)));
    }
    client.offer("0\r\n\r\n");
    let chunked = client.receive();
    assert_eq!(chunked.status, 413, "{chunked:#?}");
    assert_dressed(&chunked, "413 by counting");
    assert_eq!(app.count(), before, "no whole request reached the upstream");
}

#[test]
fn a_client_that_waits_for_a_word_before_its_body_gets_it_or_the_refusal() {
    let (app, service) = (Upstream::scripted(|request| Answer::ok(&request.body)), service());
    let gateway = Gateway::start(&config(&app, &service));
    let head = |token: &str| {
        Request::new("POST", "/api/x").bearer(token).field("Expect", "100-continue").field("Content-Length", "5").bytes()
    };
    let mut refused = Client::connect(gateway.address);
    refused.send(head("unknown"));
    let response = refused.receive();
    assert_eq!((response.status, response.interim.len()), (401, 0), "{response:#?}");

    let mut welcome = Client::connect(gateway.address);
    welcome.send(head(TOKEN));
    assert_eq!(welcome.receive_head().status, 100);
    welcome.send("hello");
    assert_eq!(welcome.receive().text(), "hello");
}

/// Answers once, then says nothing more on a connection: the request that follows is read and the connection closed on it.
fn forgetful() -> Upstream {
    let seen = Arc::new(Mutex::new(Vec::<usize>::new()));
    Upstream::scripted(move |request| {
        let mut seen = seen.lock().unwrap();
        let answered = seen.contains(&request.connection);
        seen.push(request.connection);
        if answered && request.target == "/dies" { Answer::raw("").and_close() } else { Answer::ok("fine") }
    })
}

#[test]
fn a_request_that_is_safe_to_repeat_survives_a_kept_connection_that_dies() {
    let app = forgetful();
    let gateway = Gateway::start(&(only_public(&app, "") + "[server]\nthreads = 1\n"));
    assert_eq!(gateway.ask(&Request::get("/x")).status, 200);
    let response = gateway.ask(&Request::get("/dies"));
    assert_eq!((response.status, response.text()), (200, "fine"));
    assert_eq!((app.count(), app.connections()), (3, 2), "asked again on a new connection");
}

#[test]
fn a_request_that_may_have_done_something_is_never_repeated() {
    for request in
        [Request::post("/dies", "text/plain", "pay"), Request::new("POST", "/dies"), Request::new("PATCH", "/dies").body("x")]
    {
        let app = forgetful();
        let gateway = Gateway::start(&(only_public(&app, "") + "[server]\nthreads = 1\n"));
        assert_eq!(gateway.ask(&Request::get("/x")).status, 200);
        let response = gateway.ask(&request);
        assert_eq!(response.status, 502, "{response:#?}");
        assert_dressed(&response, "502");
        assert_eq!(app.count(), 2, "once and not twice: {request:?}");
    }
}

#[test]
fn servers_take_turns_and_one_that_is_not_there_is_passed_over() {
    let servers = [Upstream::answering(Answer::ok("one")), Upstream::answering(Answer::ok("two"))];
    let route = format!("[[route]]\npath = \"/**\"\n{}", public(""));
    let both = upstream("app", &[servers[0].address, servers[1].address], "") + &route;
    let gateway = Gateway::start(&both);
    for _ in 0..10 {
        assert_eq!(gateway.ask(&Request::get("/x")).status, 200);
    }
    assert_eq!((servers[0].count(), servers[1].count()), (5, 5));

    let one = upstream("app", &[unused_address(), servers[1].address], "retries = 1") + &route;
    let gateway = Gateway::start(&one);
    for _ in 0..10 {
        assert_eq!(
            gateway.ask(&Request::post("/x", "text/plain", "pay")).status,
            200,
            "nothing was sent, so even this may be tried again"
        );
    }
    assert_eq!(servers[1].count(), 15);
}

#[test]
fn the_most_specific_route_decides_by_host_path_and_method() {
    let names = ["any", "host", "suffix", "exact", "one", "below"];
    let apps = names.map(|name| Upstream::answering(Answer::ok(name)));
    let mut text: String = names.iter().zip(&apps).map(|(name, app)| upstream(name, &[app.address], "")).collect();
    for (upstream, rest) in [
        ("any", "path = \"/**\""),
        ("host", "path = \"/**\"\nhost = \"a.example\""),
        ("suffix", "path = \"/**\"\nhost = \"*.example\""),
        ("exact", "path = \"/orders/new\"\nmethods = [\"GET\"]"),
        ("one", "path = \"/orders/{id}\""),
        ("below", "path = \"/orders/**\""),
    ] {
        let route = format!("[[route]]\n{rest}\nname = \"{upstream}\"\nupstream = \"{upstream}\"\naccess = \"public\"\n");
        text.push_str(&route);
    }
    let gateway = Gateway::start(&text);
    let ask = |host: &str, method: &str, path: &str| {
        let mut client = Client::connect(gateway.address);
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.receive()
    };
    for (host, path, expected) in [
        ("gateway.test", "/x", "any"),
        ("gateway.test:8080", "/", "any"),
        ("a.example", "/x", "host"),
        ("A.EXAMPLE:443", "/orders/new", "host"),
        ("a.example.", "/x", "host"),
        ("b.example", "/x", "suffix"),
        ("c.b.example", "/x", "suffix"),
        ("example", "/x", "any"),
        ("gateway.test", "/orders/new", "exact"),
        ("gateway.test", "/orders/7", "one"),
        ("gateway.test", "/orders", "below"),
        ("gateway.test", "/orders/7/lines", "below"),
        ("gateway.test", "/ordersx", "any"),
        ("gateway.test", "/%6Frders/%37", "one"),
    ] {
        assert_eq!(ask(host, "GET", path).text(), expected, "{host}{path}");
    }
    assert_eq!(apps[4].last().target, "/orders/7", "what is decided on is what is forwarded");
    let wrong = ask("gateway.test", "POST", "/orders/new");
    assert_eq!(wrong.status, 405, "not what a less specific route would allow");
    assert!(wrong.only("Allow").contains("GET") && !wrong.only("Allow").contains("POST"), "{wrong:#?}");
}

#[test]
fn what_no_route_names_is_not_forwarded() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let gateway = Gateway::start(&config(&app, &service));
    for path in ["/", "/apix", "/ap", "/PUBLIC/x", "/publicx", "/favicon.ico", "/livez", "/readyz", "/metrics"] {
        assert_eq!(gateway.get_as(TOKEN, path).status, 404, "{path}");
    }
    assert_eq!(app.count(), 0);
}

#[test]
fn what_a_route_demands_of_a_token_is_checked_on_every_use() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let demand = |path: &str, what: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nupstream = \"app\"\naccess = {{ bearer = {{ issuers = [\"main\"], {what} }} }}\n"
        )
    };
    let text = config(&app, &service)
        + &demand("/read", "scopes = [\"read\"]")
        + &demand("/admin", "scopes = [\"read\", \"admin\"]")
        + &demand("/ops", "claims = { role = [\"ops\", \"root\"] }")
        + &demand("/root", "claims = { role = [\"root\"] }")
        + &demand("/audience", "audience = [\"orders\"]")
        + &demand("/access", "accept = [\"access\"]")
        + &demand("/strong", "acr = [\"second-factor\"], max_age = \"15m\"");
    let gateway = Gateway::start(&text);
    for (path, expected) in [("/read", 200), ("/admin", 403), ("/ops", 200), ("/root", 403), ("/access", 200), ("/strong", 401)]
    {
        for round in ["first", "cached"] {
            let response = gateway.get_as(TOKEN, path);
            assert_eq!(response.status, expected, "{path} {round}: {response:#?}");
        }
    }
    let audience = gateway.get_as(TOKEN, "/audience").status;
    assert!(matches!(audience, 401 | 403), "a token without an audience is not meant for this one: {audience}");
    let challenge = gateway.get_as(TOKEN, "/strong").only("WWW-Authenticate").to_owned();
    for part in ["error=\"insufficient_user_authentication\"", "acr_values=\"second-factor\"", "max_age=900"] {
        assert!(challenge.contains(part), "{challenge}");
    }
    let challenge = gateway.get_as(TOKEN, "/admin").only("WWW-Authenticate").to_owned();
    assert!(challenge.contains("error=\"insufficient_scope\"") && challenge.contains("admin"), "{challenge}");

    service.issue("login", &json!({ "sub": "ada", "token_kind": "auth" }));
    assert_eq!((gateway.get_as("login", "/access").status, gateway.get_as("login", "/api/x").status), (403, 200));
    service.issue("renewal", &json!({ "sub": "ada", "token_kind": "refresh" }));
    assert_eq!(gateway.get_as("renewal", "/api/x").status, 401, "a refresh token is no Bearer token");
}

#[test]
fn a_token_is_not_good_before_or_after_its_time() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let gateway = Gateway::start(&config(&app, &service));
    let now = epoch_seconds();
    service.issue("over", &json!({ "sub": "ada", "exp": now - 1 }));
    service.issue("not-yet", &json!({ "sub": "ada", "nbf": now + 3600 }));
    for token in ["over", "not-yet"] {
        assert_eq!(gateway.get_as(token, "/api/x").status, 401, "{token}");
    }
    assert_eq!(app.count(), 0);
}

#[test]
fn a_route_with_optional_access_takes_nobody_and_good_tokens_but_no_bad_ones() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), service());
    let text = config(&app, &service)
        + "[[route]]\npath = \"/maybe\"\nupstream = \"app\"\naccess = { optional = { issuers = [\"main\"] } }\n";
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.ask(&Request::get("/maybe")).status, 200);
    assert!(identity(&app.last()).is_empty());
    assert_eq!(gateway.get_as(TOKEN, "/maybe").status, 200);
    assert_eq!(app.last().only("X-Auth-Subject"), "ada");
    assert_eq!(gateway.get_as("unknown", "/maybe").status, 401);
}

#[test]
fn a_head_request_gets_a_head_and_a_connection_serves_one_request_after_the_other() {
    let app = Upstream::scripted(|request| match &*request.method {
        "HEAD" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        _ => Answer::ok(&request.target),
    });
    let gateway = Gateway::start(&only_public(&app, ""));
    let mut client = Client::connect(gateway.address);
    for round in 0..20 {
        client.send(format!("HEAD /head/{round} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = client.try_receive("HEAD").unwrap();
        assert_eq!((head.status, head.only("Content-Length")), (200, "10"));
        assert_dressed(&head, "HEAD");
        client.send(format!("GET /get/{round} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(client.receive().text(), format!("/get/{round}"));
    }
    assert_eq!(app.count(), 40);
}

#[test]
fn a_connection_that_changes_its_protocol_by_agreement_is_a_tunnel() {
    let service = service();
    let app = Upstream::by_hand(|mut stream, _| {
        let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
        while !text.ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut bytes).unwrap_or(0);
            if count == 0 {
                return;
            }
            text.extend(&bytes[..count]);
        }
        assert!(String::from_utf8_lossy(&text).to_lowercase().contains("x-auth-subject: ada"));
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").unwrap();
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            let loud = bytes[..count].to_ascii_uppercase();
            stream.write_all(&loud).unwrap();
        }
    });
    let gateway = Gateway::start(&config(&app, &service));
    let upgrade = |token: &str| {
        let request = Request::get("/api/x").bearer(token).field("Connection", "Upgrade").field("Upgrade", "websocket");
        request.field("Sec-WebSocket-Version", "13").field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").bytes()
    };
    let mut stranger = Client::connect(gateway.address);
    stranger.send(upgrade("unknown"));
    assert_eq!(stranger.receive().status, 401);
    assert_eq!(app.connections(), 0, "who may comes before how");

    let mut client = Client::connect(gateway.address);
    client.send(upgrade(TOKEN));
    let head = client.receive_head();
    assert_eq!(head.status, 101, "{head:#?}");
    for text in ["hello", "world"] {
        client.send(text);
        let mut back = Vec::new();
        while back.len() < text.len() {
            back.extend(client.receive_some().expect("an echo"));
        }
        assert_eq!(String::from_utf8(back).unwrap(), text.to_ascii_uppercase());
    }
}

#[test]
fn a_tunnel_lasts_longer_than_an_answer_may_take_to_begin() {
    let app = Upstream::by_hand(|mut stream, _| {
        let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
        while !text.ends_with(b"\r\n\r\n") {
            match stream.read(&mut bytes) {
                Ok(count @ 1..) => text.extend(&bytes[..count]),
                Ok(0) | Err(_) => return,
            }
        }
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").unwrap();
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            stream.write_all(&bytes[..count]).unwrap();
        }
    });
    let route = "[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    let gateway = Gateway::start(&(upstream("app", &[app.address], "total_timeout = \"400ms\"") + route));
    let mut client = Client::connect(gateway.address);
    let upgrade = Request::get("/x").field("Connection", "Upgrade").field("Upgrade", "websocket");
    client.send(upgrade.field("Sec-WebSocket-Version", "13").field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").bytes());
    assert_eq!(client.receive_head().status, 101);
    // The pace of the client, and nothing that is waited for: three times as long as an answer may take to begin.
    for echo in 0..60 {
        client.send("ping");
        let mut back = Vec::new();
        while back.len() < 4 {
            back.extend(client.receive_some().unwrap_or_else(|| panic!("cut after {echo} echoes")));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
