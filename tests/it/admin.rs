//! The admin API and `portcullis revoke`: who may, what they can end, and that it stays ended.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{
    ADMIN_TOKEN, Answer, Gateway, Quickstart, Request, Response, Scratch, SigningKey, THE_TWELVE, TokenService, Tokens,
    Upstream, epoch_seconds, issuer, run, upstream,
};

const ISSUER: &str = "https://issuer.example";

/// Checks that an answer of the admin listener carries the twelve headers, once each; their spelling is nobody's business there.
#[track_caller]
fn dressed(response: &Response, what: &str) {
    for (name, value) in THE_TWELVE {
        assert_eq!(response.values(name), [value], "{what}: {response:#?}");
    }
}

fn revoke(admin: SocketAddr, token: &str, body: &Value) -> Response {
    Request::new("POST", "/admin/revoke")
        .bearer(token)
        .field("Content-Type", "application/json")
        .body(body.to_string())
        .to(admin)
}

#[track_caller]
fn revoked(quick: &Quickstart, body: &Value) {
    let answer = revoke(quick.admin, quick.value("ADMIN_TOKEN"), body);
    assert_eq!(answer.status, 200, "{answer:#?}");
    let reach = body.as_object().unwrap().keys().find(|key| *key != "issuer").unwrap();
    assert_eq!(answer.json(), json!({ "revoked": { "issuers": ["embedded"], "reach": reach } }));
    dressed(&answer, "the admin API");
}

/// An issuer that is asked and one that signs, behind routes that believe what they remember.
fn remote(service: &TokenService, app: &Upstream, keys: &std::path::Path) -> String {
    let route = |name: &str| {
        let access = format!("access = {{ bearer = {{ issuers = [\"{name}\"] }} }}");
        format!("[[route]]\npath = \"/{name}/**\"\nupstream = \"app\"\nmax_revocation_lag = \"1h\"\n{access}\n")
    };
    upstream("app", &[app.address], "")
        + &issuer("asked", service.address(), "cache_ttl = \"1h\"")
        + &format!(
            "[issuer.signed.jwt]\nissuer = \"{ISSUER}\"\naudience = [\"orders\"]\nalgorithms = [\"ES256\"]\nkey_files = [\"{}\"]\n",
            keys.display()
        )
        + &route("asked")
        + &route("signed")
}

struct Remote {
    service: TokenService,
    _app: Upstream,
    key: SigningKey,
    _keys: Scratch,
    gateway: Gateway,
}

impl Remote {
    fn start() -> Self {
        let (service, app, key) = (TokenService::start(), Upstream::answering(Answer::ok("fine")), SigningKey::new("k1"));
        let keys = Scratch::new();
        let file = keys.write("keys.json", &json!({ "keys": [key.jwk()] }).to_string());
        let gateway = Gateway::start(&remote(&service, &app, &file));
        Self { service, _app: app, key, _keys: keys, gateway }
    }

    fn sign(&self, subject: &str, session: &str) -> String {
        let now = epoch_seconds();
        let claims = json!({
            "iss": ISSUER, "aud": "orders", "sub": subject, "sid": session, "client_id": "shop", "iat": now, "exp": now + 3600
        });
        self.key.sign(&claims)
    }
}

#[test]
fn whoever_does_not_show_the_admin_token_is_refused_and_revokes_nothing() {
    let remote = Remote::start();
    let (token, admin) = (remote.sign("ann", "s1"), remote.gateway.admin);
    let body = json!({ "subject": "ann" });
    let unsigned = Request::json("/admin/revoke", &body).to(admin);
    for (what, refused) in
        [("none", unsigned), ("wrong", revoke(admin, "guess", &body)), ("a user's", revoke(admin, &token, &body))]
    {
        assert_eq!(refused.status, 401, "{what}: {refused:#?}");
        assert!(refused.only("WWW-Authenticate").starts_with("Bearer"), "{what}");
        dressed(&refused, what);
    }
    assert_eq!(remote.gateway.get_as(&token, "/signed/x").status, 200);
    // Three wrong ones so far; beyond ten in a minute nothing is looked at for a minute.
    let guesses: Vec<u16> = (0..10).map(|_| revoke(admin, "guess", &body).status).collect();
    assert_eq!(guesses.iter().filter(|status| **status == 429).count(), 2, "{guesses:?}");
    let paused = revoke(admin, ADMIN_TOKEN, &body);
    assert_eq!(paused.status, 429, "{paused:#?}");
    assert!(paused.only("Retry-After").parse::<u32>().is_ok_and(|wait| wait <= 60));
    assert_eq!(remote.gateway.get_as(&token, "/signed/x").status, 200);
    assert_eq!(Request::get("/readyz").to(admin).status, 200, "health needs no token");
}

#[test]
fn without_a_configured_token_there_is_no_admin_api() {
    let dir = Scratch::new();
    let file = dir.write(
        "gateway.toml",
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream.app]\nbuiltin = \"echo\"\n[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n",
    );
    let command = run(["revoke".as_ref(), "--subject".as_ref(), "1".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(command.code, Some(2), "{command:#?}");
    assert!(command.errors.contains("admin API is off"), "{command:#?}");
    let gateway = Gateway::start_again(dir);
    for refused in
        [Request::json("/admin/revoke", &json!({})).to(gateway.admin), revoke(gateway.admin, ADMIN_TOKEN, &json!({}))]
    {
        assert_eq!(refused.status, 403, "{refused:#?}");
        assert_eq!(refused.json()["code"], "admin-api-off");
        dressed(&refused, "off");
    }
}

#[test]
fn what_cannot_be_written_down_holds_is_counted_and_is_not_called_done() {
    let remote = Remote::start();
    let (token, admin) = (remote.sign("ann", "s1"), remote.gateway.admin);
    let file = rusqlite::Connection::open(remote.gateway.dir().join("portcullis-state.db")).unwrap();
    file.execute_batch("ALTER TABLE cut RENAME TO gone").unwrap();
    let failed = revoke(admin, ADMIN_TOKEN, &json!({ "session": "s1" }));
    assert_eq!(failed.status, 503, "{failed:#?}");
    assert!(failed.text().contains("signed") && !failed.values("Retry-After").is_empty(), "{failed:#?}");
    dressed(&failed, "not kept");
    assert_eq!(remote.gateway.get_as(&token, "/signed/x").status, 401, "it is cut all the same");
    let metrics = Request::get("/metrics").to(admin);
    assert!(metrics.text().contains("portcullis_store_failures_total{what=\"cut\"} 1"), "{}", metrics.text());
    file.execute_batch("ALTER TABLE gone RENAME TO cut").unwrap();
    assert_eq!(revoke(admin, ADMIN_TOKEN, &json!({ "session": "s1" })).status, 200, "the file is good again");
}

#[test]
fn a_body_that_says_anything_but_one_thing_is_refused() {
    let remote = Remote::start();
    let token = remote.sign("ann", "s1");
    let long = format!("{{\"subject\":\"{}\"}}", "x".repeat(17_000));
    let bad = [
        ("", 400),
        ("{}", 400),
        ("[]", 400),
        ("[\"x\",\"ann\"]", 400),
        ("{\"issuer\":\"signed\"}", 400),
        ("{\"subject\":\"ann\",\"session\":\"s1\"}", 400),
        ("{\"subject\":\"bob\",\"subject\":\"ann\"}", 400),
        ("{\"subject\":\"ann\",\"reason\":\"x\"}", 400),
        ("{\"subject\":null}", 400),
        ("{\"subject\":7}", 400),
        ("{\"subject\":\"\"}", 400),
        ("{\"subject\":\"ann\"} x", 400),
        ("{\"subject\":\"ann\",\"issuer\":\"nobody\"}", 400),
        (&long, 413),
    ];
    for (body, status) in bad {
        let refused = Request::new("POST", "/admin/revoke")
            .bearer(ADMIN_TOKEN)
            .field("Content-Type", "application/json")
            .body(body)
            .to(remote.gateway.admin);
        assert_eq!(refused.status, status, "{body}: {refused:#?}");
        dressed(&refused, body);
    }
    let unknown = revoke(remote.gateway.admin, ADMIN_TOKEN, &json!({ "subject": "ann", "issuer": "nobody" }));
    assert!(unknown.text().contains("asked, signed"), "{unknown:#?}");
    let unlabelled = Request::new("POST", "/admin/revoke").bearer(ADMIN_TOKEN).body("{\"subject\":\"ann\"}");
    assert_eq!(unlabelled.to(remote.gateway.admin).status, 415);
    let get = Request::get("/admin/revoke").bearer(ADMIN_TOKEN).to(remote.gateway.admin);
    assert_eq!(get.status, 405);
    dressed(&get, "405");
    assert_eq!(remote.gateway.get_as(&token, "/signed/x").status, 200, "nothing was revoked");
}

#[test]
fn every_call_is_in_the_audit_log_and_no_token_is() {
    let remote = Remote::start();
    let admin = remote.gateway.admin;
    let secret = "a-token-that-nobody-may-read";
    assert_eq!(revoke(admin, ADMIN_TOKEN, &json!({ "token": secret })).status, 200);
    assert_eq!(revoke(admin, ADMIN_TOKEN, &json!({ "token": secret, "issuer": "nobody" })).status, 400);
    assert_eq!(revoke(admin, secret, &json!({ "subject": "ann\nforged" })).status, 401);
    assert_eq!(revoke(admin, ADMIN_TOKEN, &json!({ "subject": "ann\nforged" })).status, 200);
    remote.gateway.terminate();
    let Remote { _app: _upstream, _keys: _beside, gateway, .. } = remote;
    let log = gateway.finish().errors;
    let audited: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let audited: Vec<&Value> = audited.iter().filter(|line| line["target"] == "portcullis::audit").collect();
    let said: Vec<&str> = audited.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(said, ["revoked", "an admin call was refused", "an admin call was not let in", "revoked"], "{log}");
    assert_eq!(
        (&audited[0]["actor"], &audited[0]["from"], &audited[1]["why"]),
        (&json!("admin"), &json!("127.0.0.1"), &json!("malformed"))
    );
    assert!(!log.contains(secret) && !log.contains(ADMIN_TOKEN), "{log}");
}

#[test]
fn what_remote_issuers_issued_is_refused_at_once_and_a_jwt_after_a_kill_too() {
    for reach in ["token", "session", "subject", "client"] {
        let remote = Remote::start();
        let (signed, stranger) = (remote.sign("ann", "s1"), remote.sign("bob", "s2"));
        remote.service.issue("opaque", &json!({ "sub": "ann", "sid": "s1", "client_id": "shop" }));
        let gateway = &remote.gateway;
        assert_eq!(gateway.get_as(&signed, "/signed/x").status, 200);
        assert_eq!(gateway.get_as(&stranger, "/signed/x").status, 200);
        assert_eq!(gateway.get_as("opaque", "/asked/x").status, 200);
        // Revoked at its own service as well, which the gateway would not notice for an hour.
        remote.service.revoke("opaque");
        let named = |token: &str| match reach {
            "token" => json!({ "token": token }),
            "session" => json!({ "session": "s1" }),
            "subject" => json!({ "subject": "ann" }),
            _ => json!({ "client": "shop" }),
        };
        let answer = revoke(gateway.admin, ADMIN_TOKEN, &named(&signed));
        assert_eq!(answer.status, 200, "{answer:#?}");
        assert_eq!(answer.json(), json!({ "revoked": { "issuers": ["asked", "signed"], "reach": reach } }));
        assert_eq!(revoke(gateway.admin, ADMIN_TOKEN, &named("opaque")).status, 200);
        assert_eq!(gateway.get_as(&signed, "/signed/x").status, 401, "{reach}");
        assert_eq!(gateway.get_as("opaque", "/asked/x").status, 401, "{reach}");
        let spared = if reach == "client" { 401 } else { 200 };
        assert_eq!(gateway.get_as(&stranger, "/signed/x").status, spared, "{reach}");
        // The upstream and the keys stay: both are needed once more.
        let Remote { _app: _upstream, _keys: _beside, gateway, .. } = remote;
        let gateway = Gateway::start_again(gateway.kill());
        assert_eq!(gateway.get_as(&signed, "/signed/x").status, 401, "{reach}, after a restart");
        assert_eq!(gateway.get_as(&stranger, "/signed/x").status, spared, "{reach}, after a restart");
    }
}

#[test]
fn an_issuer_that_is_named_is_the_only_one() {
    let remote = Remote::start();
    let token = remote.sign("ann", "s1");
    let revoke = |issuer: &str| revoke(remote.gateway.admin, ADMIN_TOKEN, &json!({ "subject": "ann", "issuer": issuer }));
    assert_eq!(revoke("asked").json(), json!({ "revoked": { "issuers": ["asked"], "reach": "subject" } }));
    assert_eq!(remote.gateway.get_as(&token, "/signed/x").status, 200);
    assert_eq!(revoke("signed").json(), json!({ "revoked": { "issuers": ["signed"], "reach": "subject" } }));
    assert_eq!(remote.gateway.get_as(&token, "/signed/x").status, 401);
}

/// A token of each API of the quick start, and how each refreshes.
struct Everything {
    oauth: Tokens,
    session: String,
    office: Tokens,
}

fn everything(quick: &Quickstart) -> Everything {
    let (email, password) = (quick.value("ACCOUNT_EMAIL"), quick.value("ACCOUNT_PASSWORD"));
    let login = json!({ "email": email, "password": { "value": password } });
    let login = Request::json("/multi/login_with_password", &login).field("api-key", quick.value("SESSION_API_KEY"));
    let login = quick.ask(&login);
    assert_eq!(login.status, 200, "{login:#?}");
    let session = login.json()["token"].as_str().expect("a token").to_owned();
    let office = quick.ask(&Request::json("/api/v2/signin", &json!({ "email": email, "password": password })));
    assert_eq!(office.status, 200, "{office:#?}");
    let office = office.json();
    let text = |which: &str| office[which]["token"].as_str().unwrap_or_else(|| panic!("{which} of {office}")).to_owned();
    let office = Tokens { access: text("accessToken"), refresh: text("refreshToken") };
    Everything { oauth: quick.tokens(), session, office }
}

/// The statuses of using the three access tokens, then of using the two refresh tokens.
fn uses(quick: &Quickstart, all: &Everything) -> [u16; 5] {
    let get = |token: &str| quick.get_as(token, "/api/x").status;
    let office = json!({ "refreshToken": all.office.refresh });
    [
        get(&all.oauth.access),
        get(&all.session),
        get(&all.office.access),
        quick.token(&quick.renewal(&all.oauth.refresh)).status,
        quick.ask(&Request::json("/api/v2/refresh", &office)).status,
    ]
}

const DEAD: [u16; 5] = [401, 401, 401, 400, 401];

/// The claim of a JWT.
fn claim(token: &str, name: &str) -> String {
    use base64::Engine;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()[name].as_str().unwrap().to_owned()
}

#[test]
fn a_subject_of_the_embedded_service_loses_every_token_of_every_api_for_good() {
    let quick = Quickstart::start();
    let all = everything(&quick);
    assert_eq!(
        [&all.oauth.access, &all.session, &all.office.access].map(|token| quick.get_as(token, "/api/x").status),
        [200; 3]
    );
    revoked(&quick, &json!({ "subject": claim(&all.office.access, "sub") }));
    assert_eq!(uses(&quick, &all), DEAD);
    let quick = Quickstart::start_in(quick.kill());
    assert_eq!(uses(&quick, &all), DEAD, "after a kill and a restart");
    let again = everything(&quick);
    assert_eq!(uses(&quick, &again), [200; 5], "who signs in again is in again");
}

#[test]
fn a_token_of_the_embedded_service_takes_its_session_along_and_no_other() {
    let quick = Quickstart::start();
    let (gone, stays) = (everything(&quick), everything(&quick));
    assert_eq!(quick.get_as(&gone.oauth.access, "/api/x").status, 200);
    // Of the one by its refresh token, which no request ever shows the gateway.
    for token in [&gone.oauth.refresh, &gone.session, &gone.office.access] {
        revoked(&quick, &json!({ "token": token, "issuer": "embedded" }));
    }
    assert_eq!(uses(&quick, &gone), DEAD);
    assert_eq!(quick.get_as(&stays.office.access, "/api/x").status, 200);
    let quick = Quickstart::start_in(quick.kill());
    assert_eq!(uses(&quick, &gone), DEAD, "after a kill and a restart");
    // The quick start has another port now, which is another `iss` than that of the signed token.
    assert_eq!(uses(&quick, &stays), [200, 200, 401, 200, 200]);
}

#[test]
fn a_session_or_a_client_of_the_embedded_service_ends_with_its_tokens() {
    let quick = Quickstart::start();
    let all = everything(&quick);
    revoked(&quick, &json!({ "session": claim(&all.office.access, "sid") }));
    revoked(&quick, &json!({ "client": quick.value("OAUTH_CLIENT_ID") }));
    assert_eq!(uses(&quick, &all), [401, 200, 401, 400, 401]);
    let quick = Quickstart::start_in(quick.kill());
    revoked(&quick, &json!({ "client": "quickstart-program" }));
    assert_eq!(uses(&quick, &all), DEAD);
}

#[test]
fn the_command_revokes_at_the_gateway_that_runs() {
    let quick = Quickstart::start();
    let all = everything(&quick);
    let config = quick.dir().join("gateway.toml");
    let token = quick.dir().join("token");
    std::fs::write(&token, format!("{}\n", all.oauth.access)).unwrap();
    let command = |arguments: &[&std::ffi::OsStr]| {
        run(["revoke".as_ref(), "--config".as_ref(), config.as_os_str()].into_iter().chain(arguments.iter().copied()))
    };
    let done = command(&["--token-file".as_ref(), token.as_os_str()]);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert!(done.output.contains("embedded"), "{done:#?}");
    assert_eq!(quick.get_as(&all.oauth.access, "/api/x").status, 401);
    let done = command(&["--subject".as_ref(), claim(&all.office.access, "sub").as_ref()]);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert_eq!(uses(&quick, &all), DEAD);
    let unknown = command(&["--session".as_ref(), "x".as_ref(), "--issuer".as_ref(), "nobody".as_ref()]);
    assert_eq!(unknown.code, Some(2), "{unknown:#?}");
    assert!(unknown.errors.contains("there are: embedded"), "{unknown:#?}");
    let two = command(&["--session".as_ref(), "x".as_ref(), "--subject".as_ref(), "1".as_ref()]);
    assert_eq!(two.code, Some(2), "{two:#?}");
    let (_, dir) = quick.stop();
    let silence = run([
        "revoke".as_ref(),
        "--config".as_ref(),
        dir.path().join("gateway.toml").as_os_str(),
        "--subject".as_ref(),
        "1".as_ref(),
    ]);
    assert_eq!(silence.code, Some(1), "{silence:#?}");
    assert!(silence.errors.contains("cannot call http://"), "{silence:#?}");
}
