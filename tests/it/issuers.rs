//! Several issuers on one gateway: who is asked about which token, how, and what a JWT must be.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{Answer, Gateway, SigningKey, TokenService, Upstream, epoch_seconds, issuer, until, upstream};

const ISSUER: &str = "https://issuer.example";

fn good_claims() -> Value {
    json!({ "iss": ISSUER, "aud": "orders", "sub": "ada", "exp": epoch_seconds() + 600, "iat": epoch_seconds(), "client_id": "shop" })
}

/// A server of a JWKS document that can be changed, or broken.
struct Keys {
    server: Upstream,
    document: Arc<Mutex<Option<Value>>>,
}

impl Keys {
    fn of(keys: &[&SigningKey]) -> Self {
        let document = Arc::new(Mutex::new(Some(set(keys))));
        let shared = Arc::clone(&document);
        let server = Upstream::scripted(move |_| match &*shared.lock().unwrap() {
            Some(document) => Answer::new(200, &[("Content-Type", "application/json")], document.to_string()),
            None => Answer::new(500, &[], "oops"),
        });
        Self { server, document }
    }

    fn publish(&self, keys: &[&SigningKey]) {
        *self.document.lock().unwrap() = Some(set(keys));
    }

    fn fail(&self) {
        *self.document.lock().unwrap() = None;
    }
}

fn set(keys: &[&SigningKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

fn jwt_issuer(name: &str, at: SocketAddr, iss: &str, keys: &str) -> String {
    let known = "audience = [\"orders\"]\nalgorithms = [\"ES256\"]\ncooldown = \"1s\"";
    format!("[issuer.{name}.jwt]\nissuer = \"{iss}\"\njwks_url = \"http://{at}/jwks\"\n{known}\n{keys}\n")
}

fn route(path: &str, issuers: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nupstream = \"app\"\naccess = {{ bearer = {{ issuers = [{issuers}] }} }}\n")
}

fn one_issuer(app: &Upstream, keys: &Keys) -> String {
    upstream("app", &[app.address], "") + &jwt_issuer("jwt", keys.server.address, ISSUER, "") + &route("/**", "\"jwt\"")
}

#[test]
fn the_gateway_says_who_it_is_and_escapes_what_it_asks_about() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let text = upstream("app", &[app.address], "") + &issuer("main", service.address(), "") + &route("/**", "\"main\"");
    let gateway = Gateway::start(&text);
    let token = "a+b/c~d.e-f_g==";
    service.issue(token, &json!({ "sub": "ada" }));
    assert_eq!(gateway.get_as(token, "/x").status, 200);
    let question = service.last();
    assert_eq!((&*question.method, &*question.target), ("POST", "/introspect"));
    assert_eq!(question.only("Content-Type"), "application/x-www-form-urlencoded");
    let credentials = question.only("Authorization").strip_prefix("Basic ").expect("Basic").to_owned();
    let credentials = String::from_utf8(STANDARD.decode(credentials).unwrap()).unwrap();
    // RFC 6749 section 2.3.1: both are form-urlencoded before they are joined by the colon.
    let (id, secret) = credentials.split_once(':').unwrap();
    assert!(matches!(id, "gate+way" | "gate%20way"), "{credentials}");
    assert!(secret.starts_with("s3cret%3A") && secret.contains("%2F") && secret.contains("%26"), "{credentials}");
    assert!(!String::from_utf8_lossy(&question.body).contains("s3cret"), "by Basic and not in the body too");
}

#[test]
fn the_gateway_can_say_who_it_is_in_the_body_or_with_a_token_of_its_own() {
    let ask_as = |client: &str| {
        let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
        service.issue("good", &json!({ "sub": "ada" }));
        let at = service.address();
        let text = upstream("app", &[app.address], "")
            + &format!("[issuer.main.introspection]\nurl = \"http://{at}/introspect\"\nclient = {{ {client} }}\n")
            + &route("/**", "\"main\"");
        assert_eq!(Gateway::start(&text).get_as("good", "/x").status, 200);
        service.last()
    };
    let question = ask_as("post = { id = \"gateway\", secret = { env = \"PORTCULLIS_TEST_SECRET\" } }");
    assert!(question.values("Authorization").is_empty());
    let body = String::from_utf8(question.body).unwrap();
    assert!(body.contains("client_id=gateway") && body.contains("client_secret=s3cret%3A"), "{body}");

    let question = ask_as("bearer = { env = \"PORTCULLIS_TEST_TOKEN\" }");
    assert_eq!(question.only("Authorization"), "Bearer the-gateways-own-token");
    assert!(!String::from_utf8(question.body).unwrap().contains("client"));
}

#[test]
fn an_opaque_token_is_never_shown_to_an_issuer_that_the_route_does_not_name() {
    let (app, ours, theirs) = (Upstream::answering(Answer::ok("fine")), TokenService::start(), TokenService::start());
    let text = upstream("app", &[app.address], "")
        + &issuer("ours", ours.address(), "")
        + &issuer("theirs", theirs.address(), "")
        + &route("/ours/**", "\"ours\"")
        + &route("/theirs/**", "\"theirs\"")
        + &route("/both/**", "\"ours\", \"theirs\"");
    let gateway = Gateway::start(&text);
    ours.issue("of-ours", &json!({ "sub": "ada" }));
    theirs.issue("of-theirs", &json!({ "sub": "eve" }));
    for token in ["of-ours", "of-theirs", "unknown"] {
        let expected = if token == "of-ours" { 200 } else { 401 };
        assert_eq!(gateway.get_as(token, "/ours/x").status, expected, "{token}");
    }
    assert_eq!(theirs.calls(), 0);
    assert_eq!(gateway.get_as("of-theirs", "/theirs/x").status, 200);
    assert_eq!(gateway.get_as("of-ours", "/theirs/x").status, 401, "what one issuer said is no answer of another");
    for (token, subject) in [("of-ours", "ada"), ("of-theirs", "eve")] {
        assert_eq!(gateway.get_as(token, "/both/x").status, 200, "{token}");
        assert_eq!(app.last().only("X-Auth-Subject"), subject);
    }
    assert_eq!(gateway.get_as("unknown", "/both/x").status, 401);
}

#[test]
fn only_tokens_of_its_form_are_shown_to_an_issuer_that_has_one() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let text = upstream("app", &[app.address], "")
        + &issuer("main", service.address(), "token_prefix = \"pc_\"")
        + &route("/**", "\"main\"");
    let gateway = Gateway::start(&text);
    service.issue("pc_good", &json!({ "sub": "ada" }));
    service.issue("good", &json!({ "sub": "ada" }));
    assert_eq!(gateway.get_as("good", "/x").status, 401);
    assert_eq!(service.calls(), 0);
    assert_eq!(gateway.get_as("pc_good", "/x").status, 200);
}

#[test]
fn a_jwt_signed_by_a_published_key_passes_and_nobody_is_asked_again() {
    let (app, key) = (Upstream::answering(Answer::ok("fine")), SigningKey::new("k1"));
    let keys = Keys::of(&[&key]);
    let gateway = Gateway::start(&one_issuer(&app, &keys));
    let token = key.sign(&good_claims());
    for _ in 0..5 {
        assert_eq!(gateway.get_as(&token, "/x").status, 200);
    }
    assert_eq!((app.last().only("X-Auth-Subject"), app.last().only("X-Auth-Client")), ("ada", "shop"));
    assert_eq!(keys.server.count(), 1);
}

/// Tokens of which each has one thing wrong with it.
fn bad_tokens(key: &SigningKey) -> Vec<(&'static str, String)> {
    let with = |name: &str, value: Value| {
        let mut claims = good_claims();
        claims[name] = value;
        key.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(name);
        key.sign(&claims)
    };
    let header = |header: Value| key.sign_with(&header, &good_claims());
    vec![
        ("signed by a stranger", SigningKey::new("k1").sign(&good_claims())),
        ("expired", with("exp", json!(epoch_seconds() - 120))),
        ("exp as text", with("exp", json!("9999999999"))),
        ("no exp", without("exp")),
        ("not yet", with("nbf", json!(epoch_seconds() + 600))),
        ("nbf as text", with("nbf", json!("0"))),
        ("another issuer", with("iss", json!("https://evil.example"))),
        ("no issuer", without("iss")),
        ("another audience", with("aud", json!("invoices"))),
        ("no audience", without("aud")),
        ("an ID token", header(json!({ "typ": "id+jwt", "alg": "ES256", "kid": "k1" }))),
        ("a logout token", header(json!({ "typ": "logout+jwt", "alg": "ES256", "kid": "k1" }))),
        ("something critical", header(json!({ "typ": "at+jwt", "alg": "ES256", "kid": "k1", "crit": ["exp"] }))),
        ("another algorithm in the header", header(json!({ "typ": "at+jwt", "alg": "ES384", "kid": "k1" }))),
        ("HMAC in the header", header(json!({ "typ": "at+jwt", "alg": "HS256", "kid": "k1" }))),
        ("a key of its own", header(json!({ "typ": "at+jwt", "alg": "ES256", "kid": "k9", "jwk": key.jwk() }))),
    ]
}

/// What becomes of a good token when somebody else has been at it.
fn damaged(good: &str) -> Vec<(&'static str, String)> {
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    let promoted = json!({ "iss": ISSUER, "aud": "orders", "sub": "root", "exp": epoch_seconds() + 600 });
    let promoted = URL_SAFE_NO_PAD.encode(promoted.to_string());
    vec![
        ("unsigned", format!("{unsigned}.{claims}.")),
        ("unsigned, with the old signature", format!("{unsigned}.{claims}.{signature}")),
        ("signature cut off", format!("{header}.{claims}.")),
        ("claims exchanged", format!("{header}.{promoted}.{signature}")),
        ("four parts", format!("{good}.x")),
        ("two parts", format!("{header}.{claims}")),
        ("no JSON", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("nonsense"))),
    ]
}

#[test]
fn a_jwt_with_anything_wrong_about_it_is_refused() {
    let (app, key) = (Upstream::answering(Answer::ok("fine")), SigningKey::new("k1"));
    let keys = Keys::of(&[&key]);
    let gateway = Gateway::start(&one_issuer(&app, &keys));
    let good = key.sign(&good_claims());
    for (what, token) in bad_tokens(&key).into_iter().chain(damaged(&good)) {
        let response = gateway.get_as(&token, "/x");
        assert_eq!(response.status, 401, "{what}: {response:#?}");
    }
    assert_eq!(app.count(), 0);
    assert_eq!(gateway.get_as(&good, "/x").status, 200, "and the good one is still good");
    let mut claims = good_claims();
    claims["aud"] = json!(["invoices", "orders"]);
    assert_eq!(gateway.get_as(&key.sign(&claims), "/x").status, 200, "one of several audiences is enough");
}

#[test]
fn a_new_key_is_found_when_its_first_token_comes_and_an_old_one_serves_while_the_issuer_is_down() {
    let (app, old, new) = (Upstream::answering(Answer::ok("fine")), SigningKey::new("k1"), SigningKey::new("k2"));
    let keys = Keys::of(&[&old]);
    let gateway = Gateway::start(&one_issuer(&app, &keys));
    assert_eq!(gateway.get_as(&old.sign(&good_claims()), "/x").status, 200);
    keys.publish(&[&old, &new]);
    // The cooldown of fetches for unknown keys may have begun with the first one.
    until("the new key is found", || {
        // Each signature is another token, so that none is remembered as bad.
        gateway.get_as(&new.sign(&good_claims()), "/x").status == 200
    });
    keys.fail();
    let mut claims = good_claims();
    claims["sub"] = json!("bob");
    for key in [&old, &new] {
        assert_eq!(gateway.get_as(&key.sign(&claims), "/x").status, 200, "known keys do not need the issuer");
    }
}

#[test]
fn unknown_keys_do_not_make_the_gateway_ask_for_each() {
    let (app, key) = (Upstream::answering(Answer::ok("fine")), SigningKey::new("k1"));
    let keys = Keys::of(&[&key]);
    let text = upstream("app", &[app.address], "")
        + &jwt_issuer("jwt", keys.server.address, ISSUER, "").replace("\"1s\"", "\"1h\"")
        + &route("/**", "\"jwt\"");
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.get_as(&key.sign(&good_claims()), "/x").status, 200);
    for number in 0..50 {
        let token = key.sign_with(&json!({ "typ": "at+jwt", "alg": "ES256", "kid": format!("x{number}") }), &good_claims());
        assert_eq!(gateway.get_as(&token, "/x").status, 401);
    }
    assert!(keys.server.count() <= 2, "{} fetches", keys.server.count());
}

#[test]
fn an_issuer_whose_keys_were_never_seen_is_an_outage_and_no_refusal() {
    let (app, key) = (Upstream::answering(Answer::ok("fine")), SigningKey::new("k1"));
    let keys = Keys::of(&[&key]);
    keys.fail();
    let gateway = Gateway::start(&one_issuer(&app, &keys));
    let token = key.sign(&good_claims());
    let response = gateway.get_as(&token, "/x");
    assert_eq!(response.status, 503, "{response:#?}");
    keys.publish(&[&key]);
    until("the token passes", || match gateway.get_as(&token, "/x").status {
        200 => true,
        503 => false,
        other => panic!("{other}"),
    });
}

#[test]
fn a_jwt_goes_to_the_issuer_that_it_names_and_opaque_tokens_to_the_other() {
    let (app, key, service) = (Upstream::answering(Answer::ok("fine")), SigningKey::new("k1"), TokenService::start());
    let keys = Keys::of(&[&key]);
    let text = upstream("app", &[app.address], "")
        + &issuer("opaque", service.address(), "")
        + &jwt_issuer("jwt", keys.server.address, ISSUER, "")
        + &route("/both/**", "\"opaque\", \"jwt\"")
        + &route("/jwt/**", "\"jwt\"")
        + &route("/opaque/**", "\"opaque\"");
    let gateway = Gateway::start(&text);
    service.issue("opaque", &json!({ "sub": "eve" }));
    let token = key.sign(&good_claims());
    assert_eq!(gateway.get_as(&token, "/both/x").status, 200);
    assert_eq!(service.calls(), 0, "a JWT of an issuer whose keys we have is shown to nobody");
    assert_eq!(gateway.get_as("opaque", "/both/x").status, 200);
    assert_eq!(gateway.get_as("opaque", "/jwt/x").status, 401);
    assert_eq!(gateway.get_as(&token, "/opaque/x").status, 401);
}
