//! The header matrix: every response, whoever makes it, carries the twelve headers once each, to the byte.

use std::io::Read;

use serde_json::json;

use crate::support::{
    Answer, Client, Gateway, Quickstart, Request, Response, THE_TWELVE, TokenService, Upstream, assert_dressed, issuer,
    unused_address, upstream,
};

/// An answer that says something else under each of the names, some of them twice.
fn stubborn(status: u16, body: &str) -> Answer {
    let mut fields = vec![
        ("Server", "secret/1.0"),
        ("X-Powered-By", "secret"),
        ("Access-Control-Allow-Credentials", "true"),
        ("access-control-allow-origin", "https://evil.example"),
        ("ACCESS-CONTROL-ALLOW-ORIGIN", "null"),
        ("Access-Control-Max-Age", "86400"),
        ("x-frame-options", "ALLOWALL"),
        ("strict-transport-security", "max-age=0"),
        ("permissions-policy", "geolocation=*"),
        ("content-security-policy", "default-src *"),
    ];
    fields.extend(THE_TWELVE.map(|(name, _)| (name, "the upstream's own")));
    if status == 401 {
        fields.push(("WWW-Authenticate", "Basic"));
    }
    Answer::new(status, &fields, body)
}

/// An upstream that answers with the status that the path names.
fn app() -> Upstream {
    Upstream::scripted(|request| {
        let status = request.target.rsplit('/').next().and_then(|status| status.parse().ok()).unwrap_or(200);
        stubborn(status, if matches!(status, 204 | 304) { "" } else { "body" })
    })
}

/// An upstream that takes requests and never answers.
fn silent() -> Upstream {
    Upstream::by_hand(|mut stream, _| {
        let mut bytes = [0; 1024];
        while matches!(stream.read(&mut bytes), Ok(1..)) {}
    })
}

fn config(app: &Upstream, silent: &Upstream, service: &TokenService) -> String {
    let route = |path: &str, upstream: &str, access: &str, keys: &str| {
        format!("[[route]]\npath = \"{path}\"\nupstream = \"{upstream}\"\naccess = {access}\n{keys}\n")
    };
    let strong = "{ bearer = { issuers = [\"main\"], acr = [\"second-factor\"] } }";
    upstream("app", &[app.address], "")
        + &upstream("silent", &[silent.address], "read_timeout = \"200ms\"\ntotal_timeout = \"200ms\"\nretries = 0")
        + &upstream("gone", &[unused_address()], "retries = 0")
        + &issuer("main", service.address(), "")
        + &issuer("down", unused_address(), "")
        + &route("/public/**", "app", "\"public\"", "body_limit = \"1KiB\"")
        + &route("/read-only", "app", "\"public\"", "methods = [\"GET\"]")
        + &route("/guarded/**", "app", "{ bearer = { issuers = [\"main\"] } }", "")
        + &route("/admin", "app", "{ bearer = { issuers = [\"main\"], scopes = [\"admin\"] } }", "")
        + &route("/strong", "app", strong, "style = \"session\"")
        + &route("/outage", "app", "{ bearer = { issuers = [\"down\"] } }", "style = \"oauth\"")
        + &route("/silent", "silent", "\"public\"", "")
        + &route("/gone", "gone", "\"public\"", "style = \"back-office\"")
}

#[track_caller]
fn assert_answer(response: &Response, status: u16, what: &str) {
    assert_eq!(response.status, status, "{what}: {response:#?}");
    assert_dressed(response, what);
}

#[test]
fn whatever_the_upstream_answers_its_own_copies_are_gone() {
    let (app, silent, service) = (app(), silent(), TokenService::start());
    let gateway = Gateway::start(&config(&app, &silent, &service));
    for status in
        [200, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 409, 413, 415, 422, 423, 429, 431, 500, 502, 503, 504]
    {
        let response = gateway.ask(&Request::get(&format!("/public/{status}")));
        assert_answer(&response, status, &format!("upstream's {status}"));
        assert!(response.values("Access-Control-Max-Age").is_empty());
    }
    service.issue("good", &json!({ "sub": "ada" }));
    assert_answer(&gateway.get_as("good", "/guarded/200"), 200, "guarded");
}

#[test]
fn whatever_the_gateway_answers_itself_is_dressed_alike() {
    let (app, silent, service) = (app(), silent(), TokenService::start());
    let gateway = Gateway::start(&config(&app, &silent, &service));
    service.issue("good", &json!({ "sub": "ada" }));
    let get = |path: &str| gateway.ask(&Request::get(path));
    assert_answer(&get("/guarded/x"), 401, "no token");
    assert_answer(&gateway.get_as("unknown", "/guarded/x"), 401, "an unknown token");
    assert_answer(&gateway.get_as("good", "/admin"), 403, "a missing scope");
    assert_answer(&gateway.get_as("good", "/strong"), 403, "a missing step-up in style session");
    assert_answer(&get("/nowhere"), 404, "no route");
    assert_answer(&gateway.ask(&Request::new("POST", "/read-only").body("")), 405, "no such method");
    assert_answer(&gateway.ask(&Request::post("/public/x", "text/plain", "x".repeat(2000))), 413, "too large");
    assert_answer(&gateway.get_as("any", "/outage"), 503, "no token service");
    assert_answer(&get("/silent"), 504, "an upstream that takes too long");
    assert_answer(&get("/gone"), 502, "an upstream that is not there");
    assert_answer(&get("/public/../x"), 400, "a path with two readings");
    assert_answer(&gateway.get_as("good", "/guarded/x?access_token=good"), 400, "two credentials");
    let long = "x".repeat(9 * 1024);
    assert_answer(&get(&format!("/public/{long}")), 414, "a long target");
    assert_answer(&gateway.ask(&Request::get("/public/x").field("X-Long", &"x".repeat(17 * 1024))), 431, "a long head");
    let crowded = (0..200).fold(Request::get("/public/x"), |request, number| request.field(&format!("X-{number}"), "x"));
    assert_answer(&gateway.ask(&crowded), 431, "too many fields");
}

#[test]
fn what_is_no_http_is_answered_dressed_all_the_same() {
    let (app, silent, service) = (app(), silent(), TokenService::start());
    let gateway = Gateway::start(&config(&app, &silent, &service));
    for (bytes, what) in [
        ("GET / HTTP/1.1\r\n\r\n", "no Host"),
        ("GET / HTTP/1.1\nHost: h\n\n", "bare LF"),
        ("hello\r\n\r\n", "no request line"),
        ("GET / HTTP/9.9\r\nHost: h\r\n\r\n", "an unknown version"),
        ("GET / HTTP/1.1\r\nHost: h\r\nBroken\r\n\r\n", "a field without a colon"),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "two spaces"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 without asking"),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}", "TLS"),
    ] {
        let mut client = Client::connect(gateway.address);
        client.send(bytes);
        let response = client.receive();
        assert_answer(&response, 400, what);
        assert!(response.closes() && client.closed_in_silence(), "{what}: nobody knows where the next request begins");
    }
    let impatient = "[guard]\nhead_deadline = \"300ms\"\n".to_owned() + &config(&app, &silent, &service);
    let gateway = Gateway::start(&impatient);
    let mut client = Client::connect(gateway.address);
    client.send("GET /public/x HTTP/1.1\r\nHo");
    assert_answer(&client.receive(), 408, "a head that never ends");
}

#[test]
fn a_preflight_is_answered_without_a_token_and_without_the_upstream() {
    let (app, silent, service) = (app(), silent(), TokenService::start());
    let gateway = Gateway::start(&config(&app, &silent, &service));
    for path in ["/public/x", "/guarded/x", "/admin", "/strong", "/outage", "/silent", "/gone"] {
        let preflight = Request::new("OPTIONS", path)
            .field("Origin", "https://app.example")
            .field("Access-Control-Request-Method", "GET")
            .field("Access-Control-Request-Headers", "authorization");
        let response = gateway.ask(&preflight);
        assert_answer(&response, 204, path);
        assert!(response.body.is_empty());
    }
    for (path, statuses) in [("/guarded/x", [200, 204]), ("/nowhere", [404, 404]), ("*", [200, 204])] {
        let response = gateway.ask(&Request::new("OPTIONS", path));
        assert!(statuses.contains(&response.status), "{path}: {response:#?}");
        assert_dressed(&response, path);
    }
    assert_eq!((app.count(), service.calls()), (0, 0));
}

#[test]
fn the_token_api_and_its_refusals_are_dressed_alike() {
    let quick = Quickstart::start();
    let json = |path: &str, body: &str| quick.ask(&Request::post(path, "application/json", body));
    assert_answer(&json("/v1/authentications/password", "{not json"), 400, "bad JSON");
    assert_answer(&json("/v2/oauth/token", "{}"), 415, "JSON to the token endpoint");
    assert_answer(&quick.ask(&Request::get("/v2/oauth/token")), 405, "GET to the token endpoint");
    assert_answer(&json("/v1/authentications/password", &" ".repeat(17 * 1024)), 413, "too large for the token API");
    assert_answer(&quick.ask(&Request::get("/v1/accounts")), 401, "no token");
    let preflight = Request::new("OPTIONS", "/v2/oauth/token")
        .field("Origin", "https://app.example")
        .field("Access-Control-Request-Method", "POST");
    assert_answer(&quick.ask(&preflight), 204, "preflight of the token endpoint");
    for status in [200, 204, 404, 429, 500, 503] {
        assert_answer(&quick.ask(&Request::get(&format!("/public/status/{status}"))), status, "the echo upstream");
    }
    for path in ["/readyz", "/livez", "/metrics"] {
        let response = Request::get(path).to(quick.admin);
        assert_eq!(response.status, 200, "{path}: {response:#?}");
        for (name, value) in THE_TWELVE {
            assert_eq!(response.only(name), value, "{path}");
        }
    }
}

#[test]
fn the_modern_profile_says_what_is_advised_today() {
    let app = app();
    let text = upstream("app", &[app.address], "")
        + "[defaults]\nheaders = \"modern\"\n[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    let gateway = Gateway::start(&text);
    let modern = [
        ("Strict-Transport-Security", "max-age=63072000; includeSubDomains"),
        ("X-Frame-Options", "DENY"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-XSS-Protection", "0"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        ("Referrer-Policy", "no-referrer"),
        ("Access-Control-Allow-Origin", "*"),
    ];
    for (path, status) in [("/public/200", 200), ("/nowhere", 404), ("/public//x", 400)] {
        let response = gateway.ask(&Request::get(path));
        assert_eq!(response.status, status, "{response:#?}");
        for (name, value) in modern {
            assert_eq!(response.only(name), value, "{path}");
        }
        for absent in
            ["Feature-Policy", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Server", "X-Powered-By"]
        {
            assert!(response.values(absent).is_empty(), "{path}: {absent} of {response:#?}");
        }
    }
    let preflight =
        Request::new("OPTIONS", "/public/x").field("Origin", "https://a.example").field("Access-Control-Request-Method", "GET");
    let response = gateway.ask(&preflight);
    assert_eq!(response.status, 204);
    assert!(response.only("Access-Control-Allow-Methods").contains("GET"));
}

#[test]
fn a_list_of_origins_lets_those_read_and_tells_caches() {
    let app =
        Upstream::answering(Answer::new(200, &[("Vary", "Accept-Encoding"), ("Access-Control-Allow-Origin", "*")], "body"));
    let text = upstream("app", &[app.address], "")
        + "[cors.pages]\norigins = [\"https://app.example\", \"https://b.example:8443\"]\nmethods = [\"GET\"]\nmax_age = \"10m\"\n"
        + "[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\ncors = \"pages\"\n";
    let gateway = Gateway::start(&text);
    let from =
        |origins: &[&str]| origins.iter().fold(Request::get("/public/x"), |request, origin| request.field("Origin", origin));
    for origin in ["https://app.example", "https://b.example:8443"] {
        let response = gateway.ask(&from(&[origin]));
        assert_eq!(response.values("Access-Control-Allow-Origin"), [origin]);
        let vary = response.values("Vary").join(", ").to_lowercase();
        assert!(vary.contains("origin") && vary.contains("accept-encoding"), "{vary}");
    }
    for origins in [
        &[][..],
        &["null"],
        &["https://app.example.evil.test"],
        &["https://APP.example"],
        &["http://app.example"],
        &["https://app.example:444"],
        &["https://app.example", "https://app.example"],
        &["https://app.example", "https://evil.example"],
    ] {
        let response = gateway.ask(&from(origins));
        assert!(response.values("Access-Control-Allow-Origin").is_empty(), "{origins:?}: {response:#?}");
        assert!(response.values("Vary").join(", ").to_lowercase().contains("origin"), "{origins:?}");
        assert!(response.values("Access-Control-Allow-Credentials").is_empty());
    }
    let preflight = Request::new("OPTIONS", "/public/x").field("Access-Control-Request-Method", "GET");
    let response = gateway.ask(&preflight.field("Origin", "https://app.example"));
    assert_eq!((response.status, response.only("Access-Control-Max-Age")), (204, "600"));
    assert_eq!(response.only("Access-Control-Allow-Methods"), "GET");
}
