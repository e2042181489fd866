//! Requests that pass through to a token service that is not ours: what they end there is not remembered here.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, Gateway, Request, Scratch, SigningKey, TokenService, Upstream, epoch_seconds, issuer, until, upstream,
};

const BEARER: &str = "access = { bearer = { issuers = [\"main\"] } }";

/// A route that believes what is remembered for an hour, one that needs a step-up, and these.
fn config(app: &Upstream, service: &TokenService, routes: &[String]) -> String {
    let settings = "max_revocation_lag = \"1h\"\nupstream = \"app\"";
    let stepped_up = "access = { bearer = { issuers = [\"main\"], acr = [\"strong\"] } }";
    upstream("app", &[app.address], "")
        + &issuer("main", service.address(), "cache_ttl = \"1h\"")
        + &format!("[[route]]\npath = \"/api/**\"\n{settings}\n{BEARER}\n")
        + &format!("[[route]]\npath = \"/vault/**\"\n{settings}\n{stepped_up}\n")
        + &routes.iter().flat_map(|route| ["[[route]]\n", settings, "\n", route, "\n"]).collect::<String>()
}

fn passage(path: &str, access: &str, role: &str) -> String {
    format!("path = \"{path}\"\nmethods = [\"POST\"]\n{access}\nrole = {role}")
}

fn revocation() -> String {
    passage("/oauth/revoke", "access = \"public\"", "\"revoke\"")
}

/// Somebody's token in somebody's session.
fn of(subject: &str, session: &str) -> Value {
    json!({ "sub": subject, "client_id": "shop", "sid": session })
}

/// Sees to it that a token is remembered.
#[track_caller]
fn use_token(gateway: &Gateway, token: &str) {
    assert_eq!(gateway.get_as(token, "/api/x").status, 200);
}

/// Whether the next use of a token asks about it again.
#[track_caller]
fn is_asked_about(gateway: &Gateway, service: &TokenService, token: &str) -> bool {
    let before = service.calls();
    gateway.get_as(token, "/api/x");
    service.calls() > before
}

fn revoke(token: &str) -> Request {
    Request::form("/oauth/revoke", &[("token", token), ("client_id", "shop")])
}

#[test]
fn a_refresh_token_that_is_revoked_takes_the_tokens_of_its_session_along() {
    let service = TokenService::start();
    let forget = service.revoker();
    let app = Upstream::scripted(move |request| {
        if request.target == "/oauth/revoke" {
            for token in ["access", "refresh"] {
                forget(token);
            }
        }
        Answer::ok("")
    });
    let gateway = Gateway::start(&config(&app, &service, &[revocation()]));
    service.issue("access", &of("ada", "s1"));
    service.issue("refresh", &of("ada", "s1"));
    service.issue("elsewhere", &of("ada", "s2"));
    use_token(&gateway, "access");
    use_token(&gateway, "elsewhere");
    assert_eq!(gateway.ask(&revoke("refresh")).status, 200);
    assert_eq!(gateway.get_as("access", "/api/x").status, 401);
    assert!(!is_asked_about(&gateway, &service, "elsewhere"), "another session of the same subject goes on");
}

#[test]
fn a_refresh_token_that_says_so_is_known_when_it_is_revoked_and_passes_nowhere() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let gateway = Gateway::start(&config(&app, &service, &[revocation()]));
    let member = |name: &str, value: &str| json!({ "sub": "ada", "sid": value, name: value });
    for (at, refresh) in
        [member("token_use", "refresh_token"), member("typ", "Offline"), member("token_kind", "refresh")].iter().enumerate()
    {
        let (access, token) = (format!("access{at}"), format!("refresh{at}"));
        service.issue(&access, &of("ada", refresh["sid"].as_str().unwrap()));
        service.issue(&token, refresh);
        use_token(&gateway, &access);
        assert_eq!(gateway.get_as(&token, "/api/x").status, 401, "{refresh}");
        assert_eq!(gateway.ask(&revoke(&token)).status, 200);
        assert!(is_asked_about(&gateway, &service, &access), "{refresh}");
    }
}

#[test]
fn without_a_session_everything_of_the_subject_is_asked_about_again() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let gateway = Gateway::start(&config(&app, &service, &[revocation()]));
    for (token, subject) in [("access", "ada"), ("refresh", "ada"), ("another", "bob")] {
        service.issue(token, &json!({ "sub": subject, "client_id": "shop" }));
    }
    use_token(&gateway, "access");
    use_token(&gateway, "another");
    assert_eq!(gateway.ask(&revoke("refresh")).status, 200);
    assert!(is_asked_about(&gateway, &service, "access"));
    assert!(!is_asked_about(&gateway, &service, "another"));
}

#[test]
fn a_sign_out_or_refresh_without_a_session_has_the_tokens_of_the_subject_asked_about_again() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let routes = [passage("/out", BEARER, "\"logout\""), passage("/refresh", "access = \"public\"", "\"refresh\"")];
    let gateway = Gateway::start(&config(&app, &service, &routes));
    for (token, subject) in [("access", "ada"), ("sibling", "ada"), ("another", "bob")] {
        service.issue(token, &json!({ "sub": subject, "client_id": "shop" }));
    }
    service.issue("refresh", &json!({ "sub": "ada", "client_id": "shop", "token_use": "refresh_token" }));
    let refresh = Request::form("/refresh", &[("grant_type", "refresh_token"), ("refresh_token", "refresh")]);
    for request in [Request::new("POST", "/out").bearer("access").body(""), refresh] {
        use_token(&gateway, "sibling");
        use_token(&gateway, "another");
        assert_eq!(gateway.ask(&request).status, 200);
        assert!(is_asked_about(&gateway, &service, "sibling"));
        assert!(!is_asked_about(&gateway, &service, "another"));
    }
}

#[test]
fn what_is_refused_there_ends_nothing_here_and_what_is_not_answered_counts_as_done() {
    let service = TokenService::start();
    let app = Upstream::scripted(|request| match request.target.as_str() {
        "/oauth/revoke" => match std::str::from_utf8(&request.body).unwrap() {
            body if body.contains("refused") => Answer::new(400, &[], ""),
            body if body.contains("failed") => Answer::new(500, &[], ""),
            _ => Answer::raw("").and_close(),
        },
        _ => Answer::ok(""),
    });
    let gateway = Gateway::start(&config(&app, &service, &[revocation()]));
    for (token, status, asked) in [("refused", 400, false), ("failed", 500, true), ("silent", 502, true)] {
        service.issue(token, &of("ada", token));
        use_token(&gateway, token);
        assert_eq!(gateway.ask(&revoke(token)).status, status, "{token}");
        assert_eq!(is_asked_about(&gateway, &service, token), asked, "{token}");
    }
}

#[test]
fn a_logout_that_nobody_waited_for_long_enough_counts_when_it_is_done_at_last() {
    let service = TokenService::start();
    let app = Upstream::scripted(|request| match request.target.as_str() {
        "/out" => Answer::new(500, &[], ""),
        _ => Answer::ok(""),
    });
    let gateway = Gateway::start(&config(&app, &service, &[passage("/out", BEARER, "\"logout\"")]));
    service.issue("token", &of("ada", "s1"));
    use_token(&gateway, "token");
    assert_eq!(gateway.ask(&Request::new("POST", "/out").bearer("token").body("")).status, 500);
    use_token(&gateway, "token");
    // The service goes on with what it was asked for, after it has called the token good once more.
    service.revoke("token");
    assert_eq!(gateway.get_as("token", "/api/x").status, 401);
}

#[test]
fn a_body_that_was_looked_into_reaches_the_upstream_unchanged() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let gateway = Gateway::start(&config(&app, &service, &[revocation()]));
    let body = "client_id=shop&token=a%2Db&x=%20+";
    let head = "POST /oauth/revoke HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let (first, second) = body.split_at(9);
    let chunks = format!("{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
    let whole = [
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}"),
    ];
    let mut client = Client::connect(gateway.address);
    for (at, bytes) in whole.iter().enumerate() {
        client.send(bytes);
        assert_eq!(client.receive().status, 200);
        assert_eq!((app.count(), app.last().body), (at + 1, body.as_bytes().to_vec()));
    }
    client.send(format!("{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n", body.len()));
    assert_eq!(client.receive_head().status, 100);
    client.send(body);
    assert_eq!(client.receive().status, 200);
    assert_eq!(app.last().body, body.as_bytes());
    assert!(app.last().values("expect").is_empty(), "nobody is asked for a word that was given already");
}

#[test]
fn a_body_that_cannot_be_read_in_one_way_goes_nowhere() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let renewal = passage("/refresh", "access = \"public\"", "{ is = \"refresh\", token = { json = \"/refreshToken\" } }");
    let gateway = Gateway::start(&config(&app, &service, &[revocation(), renewal]));
    let form = "application/x-www-form-urlencoded";
    let large = format!("token=a&x={}", "x".repeat(16 * 1024));
    for (path, label, body, status) in [
        ("/oauth/revoke", form, "token=a&token=b", 400),
        ("/oauth/revoke", form, "token=a&%74oken=b", 400),
        ("/oauth/revoke", form, "token=%ff", 400),
        ("/oauth/revoke", form, &large, 413),
        ("/oauth/revoke", "application/json", "{\"token\":\"a\"}", 415),
        ("/refresh", "application/json", "{\"refreshToken\":\"a\",\"refreshToken\":\"b\"}", 400),
        ("/refresh", "application/json", "{\"refreshToken\":[\"a\"]}", 400),
        ("/refresh", "application/json", "{\"refreshToken\":\"a\"}{}", 400),
        ("/refresh", "text/plain", "{\"refreshToken\":\"a\"}", 415),
        ("/refresh", form, "refreshToken=a", 415),
    ] {
        assert_eq!(
            gateway.ask(&Request::post(path, label, body)).status,
            status,
            "{path} {label} {}",
            &body[..body.len().min(60)]
        );
    }
    let zipped = revoke("a").field("Content-Encoding", "gzip");
    assert_eq!(gateway.ask(&zipped).status, 415);
    assert_eq!((app.count(), service.calls()), (0, 0));
}

#[test]
fn a_token_is_not_revoked_blindly_while_nobody_can_say_whose_it_is() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let gateway = Gateway::start(&config(&app, &service, &[revocation()]));
    service.answer_everything(Answer::new(500, &[], ""));
    let refused = gateway.ask(&revoke("refresh"));
    assert_eq!(refused.status, 503);
    assert!(!refused.only("retry-after").is_empty());
    assert_eq!(app.count(), 0);
}

#[test]
fn a_step_up_counts_from_the_next_request_on() {
    let service = TokenService::start();
    let app = Upstream::answering(Answer::new(204, &[], ""));
    let gateway = Gateway::start(&config(&app, &service, &[passage("/verify", BEARER, "\"stepup-verify\"")]));
    service.issue("token", &json!({ "sub": "ada", "acr": "weak" }));
    assert_eq!(gateway.get_as("token", "/vault/x").status, 401);
    service.issue("token", &json!({ "sub": "ada", "acr": "strong" }));
    assert_eq!(gateway.get_as("token", "/vault/x").status, 401, "what is remembered still counts");
    assert_eq!(gateway.ask(&Request::new("POST", "/verify").bearer("token").body("")).status, 204);
    assert_eq!(gateway.get_as("token", "/vault/x").status, 204);
}

#[test]
fn while_a_step_up_is_pending_nothing_about_its_token_is_remembered() {
    let service = TokenService::start();
    let app = Upstream::answering(Answer::ok(""));
    let gateway = Gateway::start(&config(&app, &service, &[passage("/push", BEARER, "\"stepup-start\"")]));
    for token in ["token", "another"] {
        service.issue(token, &json!({ "sub": "ada", "acr": "weak" }));
        use_token(&gateway, token);
    }
    assert_eq!(gateway.ask(&Request::new("POST", "/push").bearer("token").body("")).status, 200);
    assert_eq!(gateway.get_as("token", "/vault/x").status, 401);
    assert!(is_asked_about(&gateway, &service, "token"));
    assert!(!is_asked_about(&gateway, &service, "another"));
    // The device answers by a way that does not lead through here.
    service.issue("token", &json!({ "sub": "ada", "acr": "strong" }));
    assert_eq!(gateway.get_as("token", "/vault/x").status, 200);
}

#[test]
fn a_new_password_ends_what_was_remembered_of_its_subject() {
    let service = TokenService::start();
    let app = Upstream::answering(Answer::ok("{\"token\":\"new\"}"));
    let reset =
        passage("/passwords/reset", "access = \"public\"", "{ is = \"password-update\", subject = { json = \"/user/id\" } }");
    let update = passage("/passwords/update", BEARER, "\"password-update\"");
    let gateway = Gateway::start(&config(&app, &service, &[update, reset]));
    for token in ["here", "there", "unrelated"] {
        service.issue(token, &of(if token == "unrelated" { "bob" } else { "ada" }, token));
        use_token(&gateway, token);
    }
    let changed = gateway.ask(&Request::new("POST", "/passwords/update").bearer("here").body(""));
    assert_eq!((changed.status, changed.only("cache-control"), changed.only("pragma")), (200, "no-store", "no-cache"));
    for (token, asked) in [("here", true), ("there", true), ("unrelated", false)] {
        assert_eq!(is_asked_about(&gateway, &service, token), asked, "{token}");
    }
    let reset = Request::json("/passwords/reset", &json!({ "user": { "id": "bob" } }));
    assert_eq!(gateway.ask(&reset).status, 200);
    assert!(is_asked_about(&gateway, &service, "unrelated"));
}

#[test]
fn a_token_shown_in_a_header_of_its_own_is_signed_out() {
    let service = TokenService::start();
    let app = Upstream::answering(Answer::new(302, &[("Location", "/bye")], ""));
    let role = "{ is = \"logout\", token = { header = \"X-Session\" }, success = [302] }";
    let gateway = Gateway::start(&config(&app, &service, &[passage("/bye", "access = \"public\"", role)]));
    service.issue("token", &of("ada", "s1"));
    assert_eq!(gateway.get_as("token", "/api/x").status, 302);
    let twice = Request::new("POST", "/bye").field("X-Session", "a").field("X-Session", "token").body("");
    assert_eq!(gateway.ask(&twice).status, 400);
    assert!(!is_asked_about(&gateway, &service, "token"));
    assert_eq!(gateway.ask(&Request::new("POST", "/bye").field("X-Session", "token").body("")).status, 302);
    assert!(is_asked_about(&gateway, &service, "token"));
}

#[test]
fn an_upstream_that_refuses_a_token_it_was_shown_has_it_asked_about_again() {
    let service = TokenService::start();
    let app = Upstream::answering(Answer::new(401, &[], ""));
    let shown = format!("path = \"/shown\"\nforward_authorization = true\n{BEARER}");
    let gateway = Gateway::start(&config(&app, &service, &[shown]));
    service.issue("token", &of("ada", "s1"));
    assert_eq!(gateway.get_as("token", "/api/x").status, 401);
    assert!(!is_asked_about(&gateway, &service, "token"), "the upstream was not shown it, so it speaks of something else");
    assert_eq!(gateway.get_as("token", "/shown").status, 401);
    service.revoke("token");
    let before = app.count();
    assert_eq!(gateway.get_as("token", "/api/x").status, 401);
    assert_eq!(app.count(), before, "it was refused here");
}

#[test]
fn what_was_ended_and_what_that_stopped_is_counted() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let gateway = Gateway::start(&config(&app, &service, &[passage("/out", BEARER, "\"logout\"")]));
    service.issue("token", &of("ada", "s1"));
    service.take(Duration::ZERO);
    use_token(&gateway, "token");
    assert_eq!(gateway.ask(&Request::new("POST", "/out").bearer("token").body("")).status, 200);
    assert!(is_asked_about(&gateway, &service, "token"));
    until("the metrics tell", || {
        let page = Request::get("/metrics").to(gateway.admin);
        ["portcullis_cuts_published_total{cause=\"passage\",reach=\"session\"} 1", "portcullis_cache_total{outcome=\"cut\"} 1"]
            .iter()
            .all(|line| page.text().contains(line))
    });
}

/// Two issuers of JWTs, which number their people from 1 each, behind routes that take both.
struct Signers {
    app: Upstream,
    keys: [SigningKey; 2],
    files: Scratch,
}

const SIGNERS: [&str; 2] = ["https://staff.example", "https://customers.example"];

impl Signers {
    fn new() -> Self {
        Self { app: Upstream::answering(Answer::ok("")), keys: ["k1", "k2"].map(SigningKey::new), files: Scratch::new() }
    }

    fn start(&self, routes: &[&str]) -> Gateway {
        let signer = |(at, name): (usize, &str)| {
            let file = self.files.write(&format!("{name}.json"), &json!({ "keys": [self.keys[at].jwk()] }).to_string());
            let iss = SIGNERS[at];
            format!(
                "[issuer.{name}.jwt]\nissuer = \"{iss}\"\naudience = [\"shop\"]\nalgorithms = [\"ES256\"]\nkey_files = [\"{}\"]\n",
                file.display()
            )
        };
        let both = "access = { bearer = { issuers = [\"staff\", \"customers\"] } }";
        let text = upstream("app", &[self.app.address], "")
            + &["staff", "customers"].into_iter().enumerate().map(signer).collect::<String>()
            + &format!("[[route]]\npath = \"/api/**\"\nupstream = \"app\"\n{both}\n");
        let route = |route: &&str| format!("[[route]]\nupstream = \"app\"\n{}\n", route.replace("BOTH", both));
        Gateway::start(&(text + &routes.iter().map(route).collect::<String>()))
    }

    fn token(&self, at: usize, subject: &str, session: &str) -> String {
        let issued = epoch_seconds() - 60;
        self.keys[at].sign(&json!({
            "iss": SIGNERS[at], "aud": "shop", "sub": subject, "sid": session, "iat": issued, "exp": issued + 3600,
        }))
    }
}

#[test]
fn who_signs_out_ends_nothing_of_a_namesake_at_another_issuer() {
    let signers = Signers::new();
    let gateway = signers.start(&[
        "path = \"/out/subject\"\nends = \"subject\"\nBOTH",
        "path = \"/out/session\"\nrole = \"logout\"\nBOTH",
        "path = \"/out/together\"\nrole = { is = \"logout\", issuers = [\"staff\", \"customers\"] }\nBOTH",
    ]);
    for (path, reached) in [("/out/subject", false), ("/out/session", false), ("/out/together", true)] {
        let name = path.replace('/', "1");
        let [own, namesake] = [0, 1].map(|at| signers.token(at, &name, &name));
        assert_eq!(gateway.get_as(&namesake, "/api/x").status, 200);
        assert_eq!(gateway.get_as(&own, path).status, 200);
        assert_eq!(gateway.get_as(&own, "/api/x").status, 401, "{path}");
        let left = if reached { 401 } else { 200 };
        assert_eq!(gateway.get_as(&namesake, "/api/x").status, left, "{path}: together only where they are named together");
    }
}

#[test]
fn what_is_no_token_of_a_signer_is_neither_cut_nor_written_down() {
    let signers = Signers::new();
    let gateway = signers.start(&[
        "path = \"/oauth/revoke\"\naccess = \"public\"\nrole = { is = \"revoke\", issuers = [\"staff\", \"customers\"] }",
    ]);
    let strange =
        SigningKey::new("k1").sign(&json!({ "iss": SIGNERS[0], "aud": "shop", "sub": "1", "exp": epoch_seconds() + 60 }));
    for token in ["anything", "a.b.c", &strange] {
        assert_eq!(gateway.ask(&revoke(token)).status, 200, "that is up to the token service");
    }
    let count = || -> i64 {
        let file = rusqlite::Connection::open(gateway.dir().join("portcullis-state.db")).unwrap();
        file.query_row("SELECT count(*) FROM cut", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(), 0);
    let token = signers.token(0, "1", "s1");
    assert_eq!(gateway.ask(&revoke(&token)).status, 200);
    assert_eq!((gateway.get_as(&token, "/api/x").status, count()), (401, 2), "the token and its session");
}

#[test]
fn a_token_in_the_query_of_a_form_goes_nowhere() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let gateway = Gateway::start(&config(&app, &service, &[revocation()]));
    let form = |query: &str, body: &str| {
        gateway.ask(&Request::post(&format!("/oauth/revoke?{query}"), "application/x-www-form-urlencoded", body)).status
    };
    // Some services read both, and the query first.
    for query in ["token=b", "x=1&token=b", "t%6fken=b", "token", "%zz=1", "x=1;token=b", "Token=b"] {
        assert_eq!(form(query, "token=a"), 400, "{query}");
        assert_eq!(form(query, ""), 400, "{query}");
    }
    assert_eq!((app.count(), service.calls()), (0, 0));
    assert_eq!(form("tokens=b&x=token", "token=a"), 200);
    assert_eq!(app.last().target, "/oauth/revoke?tokens=b&x=token");
}

#[test]
fn a_subject_longer_than_any_is_nobody() {
    let (app, service) = (Upstream::answering(Answer::new(500, &[], "")), TokenService::start());
    let reset = passage("/reset", "access = \"public\"", "{ is = \"password-update\", subject = { json = \"/id\" } }");
    let gateway = Gateway::start(&config(&app, &service, &[reset]));
    let reset = |length: usize| gateway.ask(&Request::json("/reset", &json!({ "id": "x".repeat(length) }))).status;
    assert_eq!((reset(512), reset(513), app.count()), (500, 400, 1));
}

#[test]
fn a_name_that_others_read_as_the_tokens_goes_nowhere() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let renewal = passage("/refresh", "access = \"public\"", "{ is = \"refresh\", token = { json = \"/a/token\" } }");
    let gateway = Gateway::start(&config(&app, &service, &[revocation(), renewal]));
    let form = "application/x-www-form-urlencoded";
    for (path, label, body, status) in [
        ("/oauth/revoke", form, "Token=a", 400),
        ("/oauth/revoke", form, "token=a&TOKEN=b", 400),
        ("/oauth/revoke", form, "x=1;token=b", 400),
        ("/oauth/revoke", form, "token=a;token=b", 400),
        ("/oauth/revoke", form, "\u{feff}token=b", 400),
        ("/oauth/revoke", form, "token=a&x=1;y=2;tokens=3", 200),
        ("/oauth/revoke", form, "", 200),
        ("/refresh", "application/json", "{\"a\":{\"Token\":\"b\"}}", 400),
        ("/refresh", "application/json", "{\"a\":{\"token\":\"a\",\"to\u{212a}en\":\"b\"}}", 400),
        ("/refresh", "application/json", "{\"A\":{\"token\":\"b\"}}", 400),
        ("/refresh", "application/json", "{\"a\":{\"token\":\"a\",\"tokens\":\"b\"},\"Token\":\"c\"}", 200),
    ] {
        let before = app.count();
        assert_eq!(gateway.ask(&Request::post(path, label, body)).status, status, "{body}");
        assert_eq!(app.count() - before, usize::from(status == 200), "{body}");
    }
}
