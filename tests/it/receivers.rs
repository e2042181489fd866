//! Revocations that others push: logout tokens of an OpenID provider, security events of a transmitter.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{
    Answer, Gateway, Request, Response, Scratch, SigningKey, TokenService, Upstream, assert_dressed, epoch_seconds, issuer,
    upstream,
};

const IDP: &str = "https://idp.example";
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type";
/// The value of the variable that the configuration names, see `support::process`.
const TRANSMITTER: &str = "the-gateways-own-token";

/// A gateway with a route for opaque tokens, one for JWTs, and receivers for both.
struct World {
    gateway: Gateway,
    service: TokenService,
    key: SigningKey,
    /// The public key as it lies in the file.
    document: String,
    _app: Upstream,
    _dir: Scratch,
}

impl World {
    fn new() -> Self {
        let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
        let (key, dir) = (SigningKey::new("k1"), Scratch::new());
        let document = json!({ "keys": [key.jwk()] }).to_string();
        let keys = dir.write("keys.json", &document).display().to_string();
        let text = upstream("app", &[app.address], "")
            + &issuer("opaque", service.address(), "cache_ttl = \"1h\"")
            + &format!(
                "[issuer.jwt.jwt]\nissuer = \"{IDP}\"\naudience = [\"orders\"]\nalgorithms = [\"ES256\"]\nkey_files = [\"{keys}\"]\n"
            )
            + &route("/opaque/**", "opaque")
            + &route("/jwt/**", "jwt")
            + &format!(
                "[receiver.logout-opaque]\nkind = \"backchannel-logout\"\npath = \"/events/logout/opaque\"\nissuer = \"opaque\"\n\
                 iss = \"{IDP}\"\naudience = [\"portal\"]\nkeys = {{ key_files = [\"{keys}\"] }}\n"
            )
            + "[receiver.logout]\nkind = \"backchannel-logout\"\npath = \"/events/logout\"\nissuer = \"jwt\"\naudience = [\"portal\"]\n"
            + &format!(
                "[receiver.signals-opaque]\nkind = \"security-events\"\npath = \"/events/signals/opaque\"\nissuer = \"opaque\"\n\
                 iss = \"{IDP}\"\naudience = [\"orders\"]\nkeys = {{ key_files = [\"{keys}\"] }}\n"
            )
            + "[receiver.signals]\nkind = \"security-events\"\npath = \"/events/signals\"\nissuer = \"jwt\"\n\
               authorization = { env = \"PORTCULLIS_TEST_TOKEN\" }\n";
        Self { gateway: Gateway::start(&text), service, key, document, _app: app, _dir: dir }
    }

    /// A logout token with these claims beside good ones; null takes one away.
    fn logout_claims(members: &Value) -> Value {
        let now = epoch_seconds();
        with(
            json!({ "iss": IDP, "aud": "portal", "iat": now, "exp": now + 120, "jti": id(), "events": { LOGOUT: {} } }),
            members,
        )
    }

    fn logout_header() -> Value {
        json!({ "typ": "logout+jwt", "alg": "ES256", "kid": "k1" })
    }

    fn push_logout(&self, path: &str, members: &Value) -> Response {
        let token = self.key.sign_with(&Self::logout_header(), &Self::logout_claims(members));
        self.push_form(path, &token)
    }

    fn push_form(&self, path: &str, token: &str) -> Response {
        self.gateway.ask(&Request::form(path, &[("logout_token", token)]))
    }

    fn event(&self, name: &str, subject: &Value) -> String {
        let claims = json!({
            "iss": IDP, "aud": "orders", "iat": epoch_seconds(), "jti": id(), "sub_id": subject,
            "events": { name: { "event_timestamp": epoch_seconds() * 1000 } },
        });
        self.key.sign_with(&json!({ "typ": "secevent+jwt", "alg": "ES256", "kid": "k1" }), &claims)
    }

    fn push_event(&self, path: &str, token: &str) -> Response {
        self.gateway.ask(&Request::post(path, "application/secevent+jwt", token).bearer(TRANSMITTER))
    }

    /// An access token of this subject and session, issued a while ago.
    fn jwt(&self, subject: &str, session: &str) -> String {
        self.jwt_of(subject, session, epoch_seconds() - 60)
    }

    fn jwt_of(&self, subject: &str, session: &str, issued: u64) -> String {
        let claims =
            json!({ "iss": IDP, "aud": "orders", "sub": subject, "sid": session, "iat": issued, "exp": epoch_seconds() + 600 });
        self.key.sign(&claims)
    }

    fn status(&self, path: &str, token: &str) -> u16 {
        self.gateway.get_as(token, path).status
    }

    fn metric(&self, line: &str) -> bool {
        Request::get("/metrics").to(self.gateway.admin).text().lines().any(|found| found == line)
    }
}

fn route(path: &str, issuer: &str) -> String {
    format!(
        "[[route]]\npath = \"{path}\"\nupstream = \"app\"\nmax_revocation_lag = \"1h\"\n\
         access = {{ bearer = {{ issuers = [\"{issuer}\"] }} }}\n"
    )
}

fn with(mut claims: Value, members: &Value) -> Value {
    let object = claims.as_object_mut().unwrap();
    object.extend(members.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
    claims
}

/// A `jti` that nothing else has.
fn id() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("id-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn ada() -> Value {
    json!({ "format": "iss_sub", "iss": IDP, "sub": "ada" })
}

fn session_of_ada(session: &str) -> Value {
    json!({ "format": "complex", "user": ada(), "session": { "format": "opaque", "id": session } })
}

#[test]
fn a_logout_at_the_provider_ends_the_session_here_and_no_other() {
    let world = World::new();
    for (token, session) in [("t1", "s1"), ("t2", "s2")] {
        world.service.issue(token, &json!({ "sub": "ada", "sid": session }));
        assert_eq!(world.status("/opaque/x", token), 200);
    }
    world.service.revoke("t1");
    world.service.revoke("t2");
    assert_eq!(world.status("/opaque/x", "t1"), 200, "nobody has told the gateway yet");
    let answer = world.push_logout("/events/logout/opaque", &json!({ "sid": "s1" }));
    assert_eq!((answer.status, answer.only("Cache-Control")), (200, "no-store"));
    assert_dressed(&answer, "a logout");
    assert_eq!(world.status("/opaque/x", "t1"), 401);
    assert_eq!(world.status("/opaque/x", "t2"), 200, "it is not asked about: its session goes on");
    assert_eq!(world.service.calls(), 3);

    let (first, second) = (world.jwt("ada", "s1"), world.jwt("ada", "s2"));
    assert_eq!((world.status("/jwt/x", &first), world.status("/jwt/x", &second)), (200, 200), "of another issuer");
    assert_eq!(world.push_logout("/events/logout", &json!({ "sid": "s1", "sub": "ada" })).status, 200);
    assert_eq!((world.status("/jwt/x", &first), world.status("/jwt/x", &second)), (401, 200));
    assert_eq!(world.status("/jwt/x", &world.jwt_of("ada", "s1", epoch_seconds())), 401, "an ended session has no new tokens");
    assert_eq!(world.push_logout("/events/logout", &json!({ "sub": "ada" })).status, 200);
    assert_eq!(world.status("/jwt/x", &second), 401);
    assert_eq!(world.status("/jwt/x", &world.jwt("bob", "s3")), 200);
    assert!(world.metric("portcullis_events_total{outcome=\"cut\",receiver=\"logout\"} 2"));
    assert!(world.metric("portcullis_cuts_published_total{cause=\"logout\",reach=\"session\"} 2"));
}

/// Logout tokens of which each has one thing wrong with it.
fn bad_logout_tokens(world: &World) -> Vec<(&'static str, String)> {
    let now = epoch_seconds();
    let good = json!({ "sid": "s1" });
    let header = World::logout_header();
    let changed = |members: Value| {
        let mut all = good.clone();
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        world.key.sign_with(&header, &World::logout_claims(&all))
    };
    let header_with = |members: Value| world.key.sign_with(&with(header.clone(), &members), &World::logout_claims(&good));
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned =
        format!("{}.{}", encode(&json!({ "typ": "logout+jwt", "alg": "none" })), encode(&World::logout_claims(&good)));
    let hmac_header = json!({ "typ": "logout+jwt", "alg": "HS256", "kid": "k1" });
    let hmac_message = format!("{}.{}", encode(&hmac_header), encode(&World::logout_claims(&good)));
    let public = hmac::Key::new(hmac::HMAC_SHA256, world.document.as_bytes());
    let hmac_signature = URL_SAFE_NO_PAD.encode(hmac::sign(&public, hmac_message.as_bytes()));
    vec![
        ("another audience", changed(json!({ "aud": "orders" }))),
        ("another issuer", changed(json!({ "iss": "https://evil.example" }))),
        ("an access token's type", header_with(json!({ "typ": "at+jwt" }))),
        ("a nonce", changed(json!({ "nonce": "n" }))),
        ("expired", changed(json!({ "exp": now - 60 }))),
        ("no end", changed(json!({ "exp": null }))),
        ("too old", changed(json!({ "iat": now - 400 }))),
        ("from the future", changed(json!({ "iat": now + 600 }))),
        ("no id", changed(json!({ "jti": null }))),
        ("nobody", changed(json!({ "sid": null }))),
        ("no event", changed(json!({ "events": {} }))),
        ("signed by a stranger", SigningKey::new("k1").sign_with(&header, &World::logout_claims(&good))),
        ("unsigned", format!("{unsigned}.")),
        ("HMAC with the public key", format!("{hmac_message}.{hmac_signature}")),
        ("a key of its own", header_with(json!({ "kid": "k9", "jwk": SigningKey::new("k9").jwk(), "alg": "ES384" }))),
        ("something critical", header_with(json!({ "crit": ["exp"] }))),
    ]
}

#[test]
fn a_logout_token_with_anything_wrong_about_it_is_refused_and_cuts_nothing() {
    let world = World::new();
    let token = world.jwt("ada", "s1");
    assert_eq!(world.status("/jwt/x", &token), 200);
    for (what, bad) in bad_logout_tokens(&world) {
        let answer = world.push_form("/events/logout", &bad);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{what}: {answer:#?}");
        assert_eq!(answer.only("Cache-Control"), "no-store", "{what}");
        assert_dressed(&answer, what);
        assert_eq!(world.status("/jwt/x", &token), 200, "{what}");
    }
    let other = world.jwt("bob", "s2");
    let logout = world.key.sign_with(&World::logout_header(), &World::logout_claims(&json!({ "sid": "s2" })));
    assert_eq!(world.push_form("/events/logout", &logout).status, 200);
    assert_eq!(world.push_form("/events/logout", &logout).status, 400, "it is good once");
    assert_eq!((world.status("/jwt/x", &other), world.status("/jwt/x", &token)), (401, 200));
    let twice = Request::form("/events/logout", &[("logout_token", &logout), ("logout_token", &logout)]);
    assert_eq!(world.gateway.ask(&twice).status, 400);
    assert_eq!(world.gateway.ask(&Request::json("/events/logout", &json!({ "logout_token": logout }))).status, 415);
    assert_eq!(world.gateway.ask(&Request::get("/events/logout")).status, 405);
    let large = Request::post("/events/logout", "application/x-www-form-urlencoded", "x".repeat(64 * 1024 + 1));
    assert_eq!(world.gateway.ask(&large).status, 413);
}

#[test]
fn a_revoked_session_that_a_transmitter_tells_of_is_over_and_a_change_lets_new_tokens_pass() {
    let world = World::new();
    let (first, second) = (world.jwt("ada", "s1"), world.jwt("ada", "s2"));
    let revoked = world.event(&format!("{CAEP}/session-revoked"), &session_of_ada("s1"));
    for time in ["the first time", "again"] {
        let answer = world.push_event("/events/signals", &revoked);
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{time}: {answer:#?}");
    }
    assert_eq!((world.status("/jwt/x", &first), world.status("/jwt/x", &second)), (401, 200));

    let changed = world.event(&format!("{CAEP}/credential-change"), &session_of_ada("s2"));
    assert_eq!(world.push_event("/events/signals", &changed).status, 202);
    assert_eq!(world.status("/jwt/x", &second), 401);
    let renewed = world.jwt_of("ada", "s2", epoch_seconds() + 2);
    assert_eq!(world.status("/jwt/x", &renewed), 200, "what is issued after the change has it");
    assert_eq!(world.status("/jwt/x", &world.jwt("bob", "s3")), 200);
    assert!(world.metric("portcullis_events_total{outcome=\"cut\",receiver=\"signals\"} 2"));
    assert!(world.metric("portcullis_events_total{outcome=\"replayed\",receiver=\"signals\"} 1"));
}

#[test]
fn an_opaque_token_is_asked_about_anew_when_something_changed() {
    let world = World::new();
    world.service.issue("t1", &json!({ "sub": "ada", "sid": "s1" }));
    world.service.issue("t2", &json!({ "sub": "bob", "sid": "s2" }));
    for token in ["t1", "t2"] {
        assert_eq!(world.status("/opaque/x", token), 200);
    }
    let event = world.event(&format!("{CAEP}/token-claims-change"), &ada());
    assert_eq!(world.push_event("/events/signals/opaque", &event).status, 202);
    for token in ["t1", "t2"] {
        assert_eq!(world.status("/opaque/x", token), 200);
    }
    assert_eq!(world.service.calls(), 3, "of the one whose claims changed");
}

#[test]
fn what_concerns_nobody_here_is_taken_and_only_counted() {
    let world = World::new();
    let token = world.jwt("ada", "s1");
    let email = json!({ "format": "email", "email": "ada@example.com" });
    let elsewhere = json!({ "format": "iss_sub", "iss": "https://elsewhere.example", "sub": "ada" });
    let ssf = "https://schemas.openid.net/secevent/ssf/event-type";
    let stream = json!({ "format": "opaque", "id": "stream-1" });
    for event in [
        world.event(&format!("{ssf}/verification"), &stream),
        world.event(&format!("{CAEP}/session-revoked"), &email),
        world.event(&format!("{CAEP}/session-revoked"), &elsewhere),
        world.event(&format!("{CAEP}/device-compliance-change"), &ada()),
    ] {
        assert_eq!(world.push_event("/events/signals", &event).status, 202);
    }
    assert_eq!(world.status("/jwt/x", &token), 200);
    for (outcome, count) in [("stream", 1), ("unmapped", 2), ("ignored", 1)] {
        let line = format!("portcullis_events_total{{outcome=\"{outcome}\",receiver=\"signals\"}} {count}");
        assert!(world.metric(&line), "{line}");
    }
}

#[test]
fn a_transmitter_is_told_what_is_wrong_in_the_words_of_rfc_8935() {
    let world = World::new();
    let token = world.jwt("ada", "s1");
    let event = world.event(&format!("{CAEP}/session-revoked"), &ada());
    let bare = Request::post("/events/signals", "application/secevent+jwt", &*event);
    for request in [bare.clone(), bare.clone().bearer("another")] {
        let answer = world.gateway.ask(&request);
        assert_eq!((answer.status, &answer.json()["err"]), (401, &json!("authentication_failed")), "{answer:#?}");
        assert!(answer.only("WWW-Authenticate").starts_with("Bearer"));
        assert_dressed(&answer, "without the transmitter's token");
    }
    let claims = json!({ "iss": IDP, "aud": "orders", "iat": epoch_seconds(), "jti": id(), "sub_id": ada(),
                         "events": { format!("{CAEP}/session-revoked"): {} } });
    let header = json!({ "typ": "secevent+jwt", "alg": "ES256", "kid": "k1" });
    let changed = |members: Value| world.key.sign_with(&header, &with(claims.clone(), &members));
    let cases = [
        ("invalid_issuer", changed(json!({ "iss": "https://evil.example" }))),
        ("invalid_audience", changed(json!({ "aud": "portal" }))),
        ("invalid_request", changed(json!({ "sub_id": null }))),
        ("invalid_request", changed(json!({ "events": "x" }))),
        ("invalid_request", world.key.sign_with(&json!({ "typ": "at+jwt", "alg": "ES256", "kid": "k1" }), &claims)),
        ("invalid_request", "nonsense".to_owned()),
        ("invalid_key", SigningKey::new("k1").sign_with(&header, &claims)),
        ("invalid_key", world.key.sign_with(&json!({ "typ": "secevent+jwt", "alg": "HS256", "kid": "k1" }), &claims)),
    ];
    for (code, bad) in cases {
        let answer = world.push_event("/events/signals", &bad);
        assert_eq!((answer.status, &answer.json()["err"]), (400, &json!(code)), "{answer:#?}");
        assert!(answer.json()["description"].is_string());
    }
    let unlabelled = Request::post("/events/signals", "application/jwt", &*event).bearer(TRANSMITTER);
    assert_eq!(world.gateway.ask(&unlabelled).status, 415);
    assert_eq!(world.status("/jwt/x", &token), 200, "nothing was cut");
    assert_eq!(world.push_event("/events/signals", &event).status, 202);
    assert_eq!(world.status("/jwt/x", &token), 401);
}

#[test]
fn a_pushed_token_lets_nobody_in() {
    let world = World::new();
    let claims = |more: &Value| {
        let claims = json!({ "iss": IDP, "aud": "orders", "sub": "ada", "iat": epoch_seconds(), "exp": epoch_seconds() + 120 });
        with(claims, more)
    };
    assert_eq!(world.status("/jwt/x", &world.key.sign(&claims(&json!({})))), 200);
    for events in [json!({ LOGOUT: {} }), json!({}), json!("x")] {
        let token = world.key.sign(&claims(&json!({ "events": events })));
        assert_eq!(world.status("/jwt/x", &token), 401, "{events}");
    }
}
