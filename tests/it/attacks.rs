//! What an attacker tries besides framing: paths, credentials, protocols, slowness, crowds, and an upstream that lies.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Answer, Client, Gateway, Quickstart, Request, Silence, TokenService, Upstream, all_at_once, assert_dressed,
    assert_unauthenticated, issuer, until, upstream,
};

/// A public door beside a guarded one; the upstream says whom it was told about.
fn scene(keys: &str) -> (Upstream, TokenService, Gateway) {
    let app = Upstream::scripted(|request| {
        let subject = request.values("X-Auth-Subject").join("+");
        Answer::ok(format!("{subject}@{}", request.target))
    });
    let service = TokenService::start();
    for (token, subject) in [("token-of-ada", "ada"), ("token-of-bob", "bob")] {
        service.issue(token, &json!({ "sub": subject }));
    }
    let text = keys.to_owned()
        + &upstream("app", &[app.address], "")
        + &issuer("main", service.address(), "")
        + "[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n"
        + "[[route]]\npath = \"/admin/**\"\nupstream = \"app\"\naccess = { bearer = { issuers = [\"main\"] } }\n";
    let gateway = Gateway::start(&text);
    (app, service, gateway)
}

/// Paths that are not what they seem, or that nobody may have.
const CROOKED_PATHS: &[&str] = &[
    "/public/../admin/x",
    "/public/./../admin/x",
    "/public/..",
    "/public/.",
    "/./admin/x",
    "/../admin/x",
    "//admin/x",
    "/public//admin/x",
    "///admin/x",
    "/public/%2e%2e/admin/x",
    "/public/%2E%2E/admin/x",
    "/public/.%2e/admin/x",
    "/public/%2e./admin/x",
    "/public/%2e",
    "/public/..%2fadmin/x",
    "/public/..%2Fadmin/x",
    "/public%2f..%2fadmin/x",
    "/public/%2fadmin/x",
    "/admin%2fx",
    "/public/..\\admin\\x",
    "/public/..%5cadmin%5cx",
    "/public\\..\\admin",
    "/public/%5c../admin",
    "/public/..;/admin/x",
    "/public/;/../admin/x",
    "/public/;x=y/admin",
    "/public/..%3b/admin/x",
    "/public/%3b/admin",
    "/public/%252e%252e/admin/x",
    "/public/%252fadmin",
    "/public/%25%32%65",
    "/public/%c0%ae%c0%ae/admin/x",
    "/public/%e0%80%ae%e0%80%ae/admin",
    "/public/%u002e%u002e/admin",
    "/public/%uff0e%uff0e/admin",
    "/public/%00/../admin",
    "/public/x%00",
    "/public/x%0a",
    "/public/x%0d%0aX-Auth-Subject:%20root",
    "/public/%7f",
    "/public/%",
    "/public/%2",
    "/public/%zz",
    "/public/%ff",
    "/public/.../admin",
    "/public/..%20/admin",
    "/public/.%20./admin",
    "/public/%3f/../admin",
    "/public/%23/../admin",
    "/public/x#/../../admin",
    "/public/<x>",
    "/public/\"x\"",
    "/public/^x",
    "/public/`x`",
    "/public/{x}",
    "/public/|x",
    "/ADMIN/x",
    "/Admin/x",
    "/admin",
    "/%61dmin/x",
    "/a%64min/x",
    "/%41dmin/x",
    "/admin/x?access_token=token-of-ada",
    "/admin/../admin/x",
    "/adminx",
    "http://gateway.test/admin/x",
    "http://h/public/x",
];

#[test]
fn no_spelling_of_a_path_leads_past_its_route() {
    let (app, _service, gateway) = scene("");
    let mut wrong = Vec::new();
    for path in CROOKED_PATHS {
        let response = gateway.ask(&Request::get(path));
        if !matches!(response.status, 400 | 401 | 404) || !response.values("Server").is_empty() {
            wrong.push((path, response.status));
        }
    }
    assert_eq!(wrong, [], "these were let through, or not answered in our own words");
    assert_eq!(app.count(), 0, "{:#?}", app.requests());
    assert_eq!(gateway.ask(&Request::get("/public")).status, 200, "a straight one, so that the test can fail");
}

#[test]
fn headers_that_name_another_path_or_method_change_nothing() {
    let (app, _service, gateway) = scene("");
    for (name, value) in [
        ("X-Original-URL", "/admin/x"),
        ("X-Rewrite-URL", "/admin/x"),
        ("X-Original-URI", "/admin/x"),
        ("X-Forwarded-Uri", "/admin/x"),
        ("X-Forwarded-Prefix", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method-Override", "DELETE"),
        ("X-Middleware-Subrequest", "x"),
        ("X-Host", "evil.example"),
        ("X-Forwarded-Server", "evil.example"),
    ] {
        let public = gateway.ask(&Request::get("/public/x").field(name, value));
        assert_eq!((public.status, public.text()), (200, "@/public/x"), "{name}");
        assert!(app.last().values(name).iter().all(|seen| *seen != value), "{name} reached the upstream");
        assert_eq!(gateway.ask(&Request::get("/admin/x").field(name, "/public/x")).status, 401, "{name}");
    }
}

/// Values of Authorization that are no Bearer token.
const BAD_CREDENTIALS: &[&str] = &[
    "token-of-ada",
    "Basic dG9rZW46b2YtYWRh",
    "Token token-of-ada",
    "Bearer",
    "Bearer ",
    "Bearer,token-of-ada",
    "Bearer token-of-ada, Bearer token-of-bob",
    "Bearer token-of-ada token-of-bob",
    "Bearer \"token-of-ada\"",
    "Bearer token-of-ada\u{e4}",
    "Bearer token of ada",
    "Bearer =token-of-ada",
    "Bearer token%2Dof%2Dada",
    "Bearer token-of-ada&token=token-of-bob",
    "Digest username=\"ada\"",
    "Negotiate token-of-ada",
];

#[test]
fn a_credential_is_one_bearer_token() {
    let (app, service, gateway) = scene("[defaults]\nstyle = \"oauth\"\n");
    let ask = |fields: &[(&str, &str)]| {
        gateway.ask(&fields.iter().fold(Request::get("/admin/x"), |request, (name, value)| request.field(name, value)))
    };
    for good in ["Bearer token-of-ada", "bearer token-of-ada", "BEARER token-of-ada"] {
        assert_eq!(ask(&[("Authorization", good)]).text(), "ada@/admin/x", "{good}");
    }
    let before = (app.count(), service.calls());
    for bad in BAD_CREDENTIALS {
        let response = ask(&[("Authorization", bad)]);
        assert!(matches!(response.status, 400 | 401), "{bad}: {response:#?}");
        assert_dressed(&response, bad);
    }
    let long = format!("Bearer {}", "x".repeat(5000));
    assert_unauthenticated(&ask(&[("Authorization", &long)]), "longer than any token");
    for pair in [
        [("Authorization", "Bearer token-of-ada"), ("Authorization", "Bearer token-of-bob")],
        [("Authorization", "Bearer token-of-ada"), ("authorization", "Bearer token-of-ada")],
        [("Authorization", "Basic eDp5"), ("Authorization", "Bearer token-of-ada")],
        [("Authorization", ""), ("Authorization", "Bearer token-of-ada")],
    ] {
        assert_eq!(ask(&pair).status, 400, "{pair:?}");
    }
    assert_eq!((app.count(), service.calls()), before, "none got through, and what is no token costs no question");
}

#[test]
fn a_token_anywhere_else_is_no_credential() {
    let (app, service, gateway) = scene("[defaults]\nstyle = \"oauth\"\n");
    for (name, value) in [
        ("X-Auth-Token", "token-of-ada"),
        ("Cookie", "access_token=token-of-ada"),
        ("Proxy-Authorization", "Bearer token-of-ada"),
        ("X-Authorization", "Bearer token-of-ada"),
        ("Authorization_", "Bearer token-of-ada"),
        ("X-Access-Token", "token-of-ada"),
    ] {
        assert_unauthenticated(&gateway.ask(&Request::get("/admin/x").field(name, value)), name);
    }
    for query in [
        "access_token=token-of-ada",
        "x=1&access_token=token-of-ada",
        "%61ccess_token=token-of-ada",
        "access%5Ftoken=token-of-ada",
    ] {
        let target = format!("/admin/x?{query}");
        assert_unauthenticated(&gateway.ask(&Request::get(&target)), query);
        assert_eq!(gateway.ask(&Request::get(&target).bearer("token-of-ada")).status, 400, "{query} beside a Bearer");
    }
    let form = Request::form("/admin/x", &[("access_token", "token-of-ada")]);
    assert_unauthenticated(&gateway.ask(&form), "in a form");
    assert_eq!((app.count(), service.calls()), (0, 0));
}

#[test]
fn an_upgrade_opens_no_door_that_is_closed() {
    let (app, _service, gateway) = scene("");
    for upgrade in ["websocket", "h2c", "TLS/1.2", "x"] {
        let mut client = Client::connect(gateway.address);
        let request = Request::get("/admin/x").field("Connection", "Upgrade, HTTP2-Settings").field("Upgrade", upgrade);
        client.send(request.field("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA").bytes());
        // What comes behind an upgrade must not reach anybody before the protocol has been changed.
        client.offer("GET /admin/prefix HTTP/1.1\r\nHost: h\r\n\r\n");
        let response = client.receive();
        assert!(matches!(response.status, 400 | 401), "{upgrade}: {response:#?}");
        assert_dressed(&response, upgrade);
    }
    assert_eq!(app.connections(), 0);
    for method in ["CONNECT", "TRACE", "TRACK"] {
        let mut client = Client::connect(gateway.address);
        client.send(format!("{method} /public/x HTTP/1.1\r\nHost: h\r\n\r\n"));
        let response = client.try_receive(method).unwrap();
        assert!(matches!(response.status, 400 | 405), "{method}: {response:#?}");
        assert_dressed(&response, method);
    }
    let mut client = Client::connect(gateway.address);
    client.send("CONNECT internal.example:22 HTTP/1.1\r\nHost: internal.example:22\r\n\r\n");
    assert!(matches!(client.receive().status, 400 | 405));
    assert_eq!(app.connections(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order_each_as_who_it_is() {
    let (app, _service, gateway) = scene("");
    let request = |token: &str, number: usize| Request::get(&format!("/admin/{number}")).bearer(token).bytes();
    let mut client = Client::connect(gateway.address);
    let mut all = Vec::new();
    for number in 0..12 {
        all.extend(request(["token-of-ada", "token-of-bob", "unknown"][number % 3], number));
    }
    all.extend(Request::get("/public/last").bytes());
    client.send(&all);
    for number in 0..12 {
        let response = client.receive();
        match ["ada", "bob", ""][number % 3] {
            "" => assert_eq!(response.status, 401, "{number}"),
            subject => assert_eq!(response.text(), format!("{subject}@/admin/{number}")),
        }
    }
    assert_eq!(client.receive().text(), "@/public/last", "nobody's identity sticks to the connection");
    assert_eq!(app.count(), 9);
}

#[test]
fn a_body_that_nobody_reads_never_becomes_a_request() {
    let (app, _service, gateway) = scene("");
    let hidden = "GET /public/hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let large = hidden.repeat(4000);
    let chunked = |body: &str| format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let sized = |body: &str| format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let expecting = |body: &str| format!("Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for (what, target, rest) in [
        ("401, sized", "/admin/x", sized(hidden)),
        ("401, chunked", "/admin/x", chunked(hidden)),
        ("401, large", "/admin/x", sized(&large)),
        ("401, large in chunks", "/admin/x", chunked(&large)),
        ("401, expecting", "/admin/x", expecting(hidden)),
        ("404, sized", "/nowhere", sized(hidden)),
        ("404, chunked", "/nowhere", chunked(hidden)),
    ] {
        let mut client = Client::connect(gateway.address);
        client.offer(format!("POST {target} HTTP/1.1\r\nHost: h\r\n{rest}"));
        client.offer(Request::get("/public/after").bytes());
        let response = client.receive();
        assert!(matches!(response.status, 401 | 404), "{what}: {response:#?}");
        match client.try_receive("GET") {
            Ok(next) => assert_eq!(next.text(), "@/public/after", "{what}"),
            Err(silence) => assert_eq!(silence, Silence::Closed, "{what}"),
        }
    }
    assert!(app.requests().iter().all(|request| request.target == "/public/after"), "{:#?}", app.requests());
}

#[test]
fn a_head_that_drips_has_one_deadline_however_many_drops_come() {
    let (app, _service, gateway) = scene("[guard]\nhead_deadline = \"500ms\"\n");
    let mut client = Client::connect(gateway.address);
    client.send("GET /public/x HTTP/1.1\r\nHost: h\r\nX-Drip: ");
    let address = gateway.address;
    thread::scope(|scope| {
        let healthy = scope.spawn(move || Request::get("/public/y").to(address).status);
        // The pace of the attacker, and nothing that is waited for: it drips for as long as it is let.
        let mut drops = 0;
        while client.offer("x") && drops < 600 {
            drops += 1;
            thread::sleep(Duration::from_millis(20));
        }
        assert!(drops < 600, "still taking drops");
        assert_eq!(healthy.join().unwrap(), 200);
    });
    match client.try_receive("GET") {
        Ok(response) => {
            assert_eq!(response.status, 408, "{response:#?}");
            assert_dressed(&response, "408");
        }
        Err(silence) => assert_eq!(silence, Silence::Closed),
    }
    assert!(app.requests().iter().all(|request| request.target == "/public/y"));
}

#[test]
fn a_body_that_stops_coming_is_given_up() {
    let (app, _service, gateway) = scene("[guard]\nbody_idle = \"300ms\"\n");
    let mut client = Client::connect(gateway.address);
    client.send("POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhel");
    let response = client.receive();
    assert_eq!(response.status, 408, "{response:#?}");
    assert_dressed(&response, "a body that stops");
    assert_eq!(app.count(), 0);
}

#[test]
fn one_source_has_its_share_of_connections_and_gets_it_back() {
    let (_app, _service, gateway) = scene("[guard]\nconnections_per_source = 8\n");
    let mut held: Vec<Client> = (0..8).map(|_| Client::connect(gateway.address)).collect();
    for client in &mut held {
        client.send(Request::get("/public/x").bytes());
        assert_eq!(client.receive().status, 200);
    }
    let mut ninth = Client::connect(gateway.address);
    ninth.offer(Request::get("/public/x").bytes());
    match ninth.try_receive("GET") {
        Ok(response) => {
            assert_eq!(response.status, 503, "{response:#?}");
            assert_dressed(&response, "no room");
            response.only("Retry-After");
        }
        Err(silence) => assert_eq!(silence, Silence::Closed),
    }
    assert_eq!(Request::get("/readyz").to(gateway.admin).status, 200, "whoever watches the gateway is not crowded out");
    drop(held);
    until("there is room again", || {
        let mut client = Client::connect(gateway.address);
        client.offer(Request::get("/public/x").bytes());
        client.try_receive("GET").is_ok_and(|response| response.status == 200)
    });
}

/// Answers that are none, or more than one.
fn poisoned() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (
            "a change of protocol that nobody asked for",
            text("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw"),
        ),
        ("two lengths", text("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")),
        ("a length that is none", text("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello")),
        ("a signed length", text("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello")),
        ("garbage", text("garbage\r\n\r\n")),
        ("nothing", Vec::new()),
        ("half a head", text("HTTP/1.1 200 OK\r\nContent-Le")),
        ("a status of words", text("HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n")),
        ("a field without a colon", text("HTTP/1.1 200 OK\r\nbroken\r\nContent-Length: 0\r\n\r\n")),
        ("a NUL in a value", text("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n")),
    ]
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_none_and_its_connection_is_not_used_again() {
    let mut wrong = Vec::new();
    for (what, bytes) in poisoned() {
        let closes = bytes.is_empty() || what == "half a head";
        let app = Upstream::scripted(move |request| match &*request.target {
            "/public/poison" if closes => Answer::raw(bytes.clone()).and_close(),
            "/public/poison" => Answer::raw(bytes.clone()),
            _ => Answer::ok("fine"),
        });
        let text = upstream("app", &[app.address], "retries = 0")
            + "[server]\nthreads = 1\n[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n";
        let gateway = Gateway::start(&text);
        let response = gateway.ask(&Request::get("/public/poison"));
        assert_dressed(&response, what);
        if response.status != 502 {
            wrong.push((what, response.status));
        }
        let next = gateway.ask(&Request::get("/public/next"));
        assert_eq!((next.status, next.text()), (200, "fine"), "{what}");
        if app.last().connection == 0 {
            wrong.push((what, 0));
        }
    }
    assert_eq!(wrong, [], "these were passed on, or (0) the poisoned connection was used again");
}

/// RFC 9112 section 6.3: chunks override the length, and whoever passes such an answer on must take the length out first.
#[test]
fn an_answer_that_tells_its_end_twice_is_passed_on_telling_it_once() {
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let app = Upstream::scripted(move |request| match &*request.target {
        "/public/twice" => Answer::raw(twice),
        _ => Answer::ok("fine"),
    });
    let text = upstream("app", &[app.address], "")
        + "[server]\nthreads = 1\n[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    let gateway = Gateway::start(&text);
    let response = gateway.ask(&Request::get("/public/twice"));
    assert_dressed(&response, "an answer that tells its end twice");
    assert_eq!((response.status, response.text(), response.values("content-length").len()), (200, "hello", 0));
    assert_eq!(gateway.ask(&Request::get("/public/next")).text(), "fine");
}

#[test]
fn bytes_behind_an_answer_are_nobodys_answer() {
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    let app = Upstream::scripted(move |request| match &*request.target {
        "/public/poison" => Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal{forged}")),
        "/public/bodiless" => Answer::raw(format!("HTTP/1.1 204 No Content\r\n\r\n{forged}")),
        "/public/head" => Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{forged}", forged.len())),
        _ => Answer::ok("fine"),
    });
    let text = upstream("app", &[app.address], "")
        + "[server]\nthreads = 1\n[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    let gateway = Gateway::start(&text);
    for (method, path) in [("GET", "/public/poison"), ("GET", "/public/bodiless"), ("HEAD", "/public/head")] {
        let mut client = Client::connect(gateway.address);
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let first = client.try_receive(method);
        assert!(first.is_ok_and(|response| matches!(response.status, 200 | 204 | 502)), "{path}");
        for _ in 0..3 {
            let next = gateway.ask(&Request::get("/public/next"));
            assert_eq!((next.status, next.text()), (200, "fine"), "after {path}");
        }
    }
}

#[test]
fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let app = Upstream::scripted(|request| match &*request.target {
        "/public/sized" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").and_close(),
        _ => Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf").and_close(),
    });
    let route = "[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    let gateway = Gateway::start(&(upstream("app", &[app.address], "retries = 0") + route));
    for path in ["/public/sized", "/public/chunked"] {
        let mut client = Client::connect(gateway.address);
        client.send(Request::get(path).bytes());
        match client.try_receive("GET") {
            Ok(response) => assert_eq!(response.status, 502, "{path}: {response:#?}"),
            Err(silence) => assert!(matches!(silence, Silence::Broken(_)), "{path}: {silence:?}"),
        }
    }
}

#[test]
fn an_upstream_that_stops_in_its_answer_holds_up_nobody_else() {
    let stuck = Upstream::by_hand(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx");
        let mut bytes = [0; 4096];
        while matches!(stream.read(&mut bytes), Ok(1..)) {}
    });
    let app = Upstream::answering(Answer::ok("fine"));
    let text = upstream("app", &[app.address], "")
        + &upstream("stuck", &[stuck.address], "read_timeout = \"300ms\"\nretries = 0")
        + "[server]\nthreads = 1\n[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n"
        + "[[route]]\npath = \"/stuck\"\nupstream = \"stuck\"\naccess = \"public\"\n";
    let gateway = Gateway::start(&text);
    let mut client = Client::connect(gateway.address);
    client.send(Request::get("/stuck").bytes());
    assert_eq!(client.receive_head().status, 200);
    for _ in 0..5 {
        assert_eq!(gateway.ask(&Request::get("/public/x")).text(), "fine");
    }
    while client.receive_some().is_some() {}
}

#[test]
fn five_thousand_unknown_tokens_are_told_no_and_the_good_one_still_passes() {
    let quick = Quickstart::start();
    let good = quick.tokens().access;
    assert_eq!(quick.get_as(&good, "/api/x").status, 200);
    let answers = all_at_once(10, |thread, start| {
        let mut client = Client::connect(quick.address);
        start.wait();
        (0..500)
            .map(|number| {
                let token = format!("{thread:08x}-0000-4000-8000-{number:012x}");
                client.send(Request::get("/api/x").bearer(&token).bytes());
                client.receive().status
            })
            .collect::<Vec<_>>()
    });
    assert!(answers.iter().flatten().all(|status| *status == 401), "{answers:?}");
    assert_eq!(quick.get_as(&good, "/api/x").status, 200);
}

#[test]
fn no_secret_is_printed_whatever_happens() {
    let (_app, service, gateway) = scene("[defaults]\nstyle = \"problem\"\n");
    assert_eq!(gateway.ask(&Request::get("/public/x?token=secret-token-7")).status, 200);
    service.answer_everything(Answer::new(500, &[], "oops"));
    let requests = [
        Request::get("/admin/x").bearer("secret-token-1"),
        Request::get("/admin/x?access_token=secret-token-2"),
        Request::get("/admin/x").field("X-Auth-Token", "secret-token-3"),
        Request::get("/admin/x").bearer("secret-token-4").bearer("secret-token-5"),
        Request::get("/public/../x").bearer("secret-token-6"),
    ];
    let answers = format!("{:?}", requests.map(|request| gateway.ask(&request)));
    service.recover();
    assert_eq!(gateway.get_as("token-of-ada", "/public/x").status, 200);
    let metrics = Request::get("/metrics").to(gateway.admin);
    gateway.terminate();
    let finished = gateway.finish();
    for text in [&answers, &metrics.text().to_owned(), &finished.output, &finished.errors] {
        for secret in ["secret-token", "token-of-ada", "s3cret"] {
            assert!(!text.contains(secret), "{secret} in\n{text}");
        }
    }
}
