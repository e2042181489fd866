//! One test for each thing that must not be taken, and that what is taken cuts what it names.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};

use super::*;
use crate::model::{NonEmpty, PrincipalFacts, Timestamp};
use crate::plan::{JwtAlgorithm, KeySource};
use crate::store::cuts::{Cuts, Fingerprint};
use crate::store::revocations::{Ledger, NotKept, Revocation, Unwitnessed};
use crate::verify::fixture::signing::{SigningKey, jwks};
use crate::verify::fixture::{HandClock, LIMITS, START, Served};

const ISSUER: IssuerId = IssuerId(2);
const IDP: &str = "https://idp";
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type";
const TOKEN: Fingerprint = Fingerprint([0; 32]);

/// Writes down unless it is broken.
#[derive(Debug, Default)]
struct Book {
    broken: AtomicBool,
    kept: Mutex<Vec<Reach>>,
}

#[async_trait]
impl Ledger for Book {
    async fn keep(&self, revocation: Revocation) -> Result<(), NotKept> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(NotKept);
        }
        self.kept.lock().unwrap().push(revocation.reach);
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Counted(Mutex<Vec<Outcome>>);

impl Tally for Counted {
    fn pushed(&self, receiver: &str, outcome: Outcome) {
        assert_eq!(receiver, "r");
        self.0.lock().unwrap().push(outcome);
    }
}

/// A receiver, the key of who pushes to it, and what it works with.
struct World {
    receiver: Receiver,
    key: SigningKey,
    clock: Arc<HandClock>,
    cuts: Arc<Cuts>,
    book: Arc<Book>,
    counted: Arc<Counted>,
    protocol: PushProtocol,
    next: Mutex<u32>,
    _dir: Option<Dir>,
}

/// A file of keys that is gone with the test.
struct Dir(std::path::PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn key_file(key: &SigningKey) -> Dir {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = format!("events-{}-{}.json", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, jwks(&[key.jwk("k1")])).unwrap();
    Dir(path)
}

fn settings(protocol: PushProtocol, keys: KeySource) -> plan::Receiver {
    let (types, max_age): (&[&str], _) = match protocol {
        PushProtocol::Logout => (&["logout+jwt", ""], Duration::from_mins(5)),
        PushProtocol::Events { .. } => (&["secevent+jwt"], Duration::from_hours(24)),
    };
    plan::Receiver {
        name: "r".into(),
        protocol,
        issuer: ISSUER,
        subjects_of: "https://tokens".into(),
        signer: IDP.into(),
        audience: NonEmpty::one("portal".into()),
        algorithms: NonEmpty::one(JwtAlgorithm::EdDsa),
        types: types.iter().map(|name| (*name).into()).collect(),
        keys,
        max_age,
        leeway: Duration::from_secs(5),
    }
}

impl World {
    fn new(protocol: PushProtocol) -> Self {
        Self::with_limits(protocol, LIMITS)
    }

    fn logout() -> Self {
        Self::new(PushProtocol::Logout)
    }

    fn events() -> Self {
        Self::new(PushProtocol::Events { authorization: None })
    }

    fn with_limits(protocol: PushProtocol, limits: CacheLimits) -> Self {
        let key = SigningKey::ed25519();
        let dir = key_file(&key);
        let keys = KeySource::Files(NonEmpty::one(dir.0.clone()));
        Self { _dir: Some(dir), ..Self::over(protocol, limits, key, keys) }
    }

    fn over(protocol: PushProtocol, limits: CacheLimits, key: SigningKey, keys: KeySource) -> Self {
        let settings = settings(protocol.clone(), keys);
        let (clock, cuts) = (Arc::new(HandClock::default()), Arc::new(Cuts::new(Duration::from_hours(24))));
        let (book, counted) = (Arc::new(Book::default()), Arc::new(Counted::default()));
        let ledger: Arc<dyn Ledger> = Arc::clone(&book) as _;
        let revocations = Revocations::new(Arc::clone(&cuts), Some(ledger), Arc::new(Unwitnessed));
        let surroundings =
            Surroundings { revocations, clock: Arc::clone(&clock) as _, limits, tally: Arc::clone(&counted) as _ };
        let receiver = Receiver::new(&settings, surroundings).unwrap();
        Self { receiver, key, clock, cuts, book, counted, protocol, next: Mutex::new(0), _dir: None }
    }

    fn header(&self) -> Value {
        let typ = match self.protocol {
            PushProtocol::Logout => "logout+jwt",
            PushProtocol::Events { .. } => "secevent+jwt",
        };
        json!({"alg": "EdDSA", "typ": typ, "kid": "k1"})
    }

    /// Claims that are good, under an id of their own, with these members beside them; null takes one away.
    fn claims(&self, members: &Value) -> Value {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        let now = START + i64::try_from(self.clock.now().tick.as_millis() / 1000).unwrap();
        let mut claims = json!({"iss": IDP, "aud": "portal", "iat": now, "jti": format!("j{next}")});
        if matches!(self.protocol, PushProtocol::Logout) {
            claims["exp"] = json!(now + 120);
            claims["events"] = json!({LOGOUT: {}});
        }
        for (name, value) in members.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.key.sign("EdDSA", &header.to_string(), &claims.to_string())
    }

    fn request(&self, token: &str) -> Request<Bytes> {
        let (media_type, body) = match self.protocol {
            PushProtocol::Logout => (FORM, format!("logout_token={token}")),
            PushProtocol::Events { .. } => (security::TYPE, token.to_owned()),
        };
        let request = Request::post("/events").header(CONTENT_TYPE, media_type);
        request.extension(Source::new(IpAddr::V4(Ipv4Addr::LOCALHOST))).body(body.into()).unwrap()
    }

    async fn push(&self, token: &str) -> Response<Bytes> {
        self.receiver.receive(self.request(token)).await
    }

    async fn push_claims(&self, members: &Value) -> Response<Bytes> {
        self.push(&self.sign(&self.header(), &self.claims(members))).await
    }

    /// Whether a JWT of this subject and session, issued at the start, is still good.
    fn passes(&self, subject: &str, session: &str) -> bool {
        let text = |text: &str| Some(text.into());
        let issued_at = Some(Timestamp::from_secs(START));
        let issuer = PrincipalFacts::of_issuer(ISSUER);
        let facts = PrincipalFacts { subject: text(subject), session: text(session), issued_at, ..issuer };
        !self.cuts.denies(&facts, TOKEN)
    }

    /// Checks that a push was refused like this, and that nothing came of it.
    #[track_caller]
    fn assert_refused(&self, response: &Response<Bytes>, status: u16, code: &str, what: &str) {
        assert_eq!(response.status(), status, "{what}: {response:?}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{what}");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let (key, text) = match self.protocol {
            PushProtocol::Logout => ("error", "error_description"),
            PushProtocol::Events { .. } => ("err", "description"),
        };
        assert_eq!(body[key], code, "{what}: {body}");
        assert!(body[text].is_string(), "{what}: {body}");
        assert!(self.cuts.is_empty(), "{what}");
    }

    fn outcomes(&self) -> Vec<Outcome> {
        std::mem::take(&mut self.counted.0.lock().unwrap())
    }
}

fn ada() -> Value {
    json!({"format": "iss_sub", "iss": "https://tokens", "sub": "ada"})
}

fn session_of_ada() -> Value {
    json!({"format": "complex", "user": ada(), "session": {"format": "opaque", "id": "s1"}})
}

fn event(name: &str) -> Value {
    json!({format!("{CAEP}/{name}"): {"event_timestamp": START}})
}

#[tokio::test]
async fn a_logout_ends_the_session_that_it_names_and_no_other() {
    let world = World::logout();
    let response = world.push_claims(&json!({"sid": "s1", "sub": "ada"})).await;
    assert_eq!((response.status().as_u16(), response.body().len()), (200, 0));
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!world.passes("ada", "s1") && world.passes("ada", "s2"));
    assert_eq!(*world.book.kept.lock().unwrap(), [Reach::Session("s1".into())]);
    assert_eq!(world.outcomes(), [Outcome::Cut]);
}

#[tokio::test]
async fn a_logout_of_a_subject_alone_ends_all_of_its_sessions() {
    let world = World::logout();
    assert_eq!(world.push_claims(&json!({"sub": "ada"})).await.status(), 200);
    assert!(!world.passes("ada", "s1") && !world.passes("ada", "s2") && world.passes("bob", "s3"));
}

#[tokio::test]
async fn a_logout_token_without_a_type_is_taken_and_one_of_another_is_not() {
    let world = World::logout();
    for typ in ["JWT", "at+jwt", "secevent+jwt", "id+jwt"] {
        let header = json!({"alg": "EdDSA", "typ": typ, "kid": "k1"});
        let response = world.push(&world.sign(&header, &world.claims(&json!({"sid": "s1"})))).await;
        world.assert_refused(&response, 400, "invalid_request", typ);
    }
    for header in [json!({"alg": "EdDSA", "kid": "k1"}), json!({"alg": "EdDSA", "typ": "application/LOGOUT+jwt"})] {
        assert_eq!(world.push(&world.sign(&header, &world.claims(&json!({"sid": "s1"})))).await.status(), 200, "{header}");
    }
}

#[tokio::test]
async fn a_logout_token_with_anything_wrong_about_it_is_refused_and_nothing_is_cut() {
    let world = World::logout();
    let wrong = [
        json!({"iss": "https://evil"}),
        json!({"iss": null}),
        json!({"aud": "another"}),
        json!({"aud": null}),
        json!({"aud": 7}),
        json!({"iat": null}),
        json!({"iat": "now"}),
        json!({"iat": START - 306}),
        json!({"iat": START + 6}),
        json!({"exp": null}),
        json!({"exp": START - 5}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"jti": 7}),
        json!({"events": null}),
        json!({"events": []}),
        json!({"events": {}}),
        json!({"events": {LOGOUT: true}}),
        json!({"events": {format!("{CAEP}/session-revoked"): {}}}),
        json!({"nonce": "n"}),
        json!({"nonce": 1}),
        json!({"sid": null}),
        json!({"sid": ""}),
        json!({"sid": 7}),
        json!({"sub": ""}),
    ];
    for members in &wrong {
        let mut members = members.clone();
        if members.get("sid").is_none() {
            members["sid"] = json!("s1");
        }
        let response = world.push_claims(&members).await;
        world.assert_refused(&response, 400, "invalid_request", &members.to_string());
    }
    assert!(world.outcomes().iter().all(|outcome| *outcome == Outcome::Refused));
    for good in [json!({"iat": START - 305}), json!({"iat": START + 5}), json!({"exp": START - 4})] {
        let mut members = good.clone();
        members["sid"] = json!("s1");
        assert_eq!(world.push_claims(&members).await.status(), 200, "{good}");
    }
}

#[tokio::test]
async fn a_signature_that_proves_nothing_is_refused() {
    for world in [World::logout(), World::events()] {
        let code = if matches!(world.protocol, PushProtocol::Logout) { "invalid_request" } else { "invalid_key" };
        let members = json!({"sid": "s1", "sub_id": ada(), "events": {LOGOUT: {}, format!("{CAEP}/session-revoked"): {}}});
        let claims = world.claims(&members);
        let header = |alg: &str| {
            let mut header = world.header();
            header["alg"] = json!(alg);
            header
        };
        for alg in ["none", "None", "HS256", "RS256", "ES256", ""] {
            let response = world.push(&world.sign(&header(alg), &claims)).await;
            world.assert_refused(&response, 400, code, alg);
        }
        let stranger = SigningKey::ed25519().sign("EdDSA", &world.header().to_string(), &claims.to_string());
        world.assert_refused(&world.push(&stranger).await, 400, code, "a stranger");
        let good = world.sign(&world.header(), &claims);
        let (message, _) = good.rsplit_once('.').unwrap();
        for bad in [format!("{message}."), message.to_owned(), format!("{good}A"), format!("{good}.x"), "x".to_owned()] {
            let response = world.push(&bad).await;
            assert_eq!(response.status(), 400, "{bad}");
            assert!(world.cuts.is_empty(), "{bad}");
        }
        assert!(world.push(&good).await.status().is_success());
    }
}

#[tokio::test]
async fn a_logout_token_is_good_once_and_an_event_has_its_effect_once() {
    let world = World::logout();
    let token = world.sign(&world.header(), &world.claims(&json!({"sid": "s1"})));
    assert_eq!(world.push(&token).await.status(), 200);
    assert_eq!(world.push(&token).await.status(), 400);
    assert_eq!(world.book.kept.lock().unwrap().len(), 1);
    assert_eq!(world.outcomes(), [Outcome::Cut, Outcome::Replayed]);

    let world = World::events();
    let claims = world.claims(&json!({"sub_id": ada(), "events": event("session-revoked")}));
    let token = world.sign(&world.header(), &claims);
    assert_eq!(world.push(&token).await.status(), 202);
    assert_eq!(world.push(&token).await.status(), 202);
    assert_eq!(world.book.kept.lock().unwrap().len(), 1);
    assert_eq!(world.outcomes(), [Outcome::Cut, Outcome::Replayed]);
}

#[tokio::test]
async fn what_could_not_be_written_down_is_cut_all_the_same_and_may_be_pushed_again() {
    let world = World::logout();
    let token = world.sign(&world.header(), &world.claims(&json!({"sid": "s1"})));
    world.book.broken.store(true, Ordering::SeqCst);
    let response = world.push(&token).await;
    assert_eq!((response.status().as_u16(), &response.headers()[RETRY_AFTER]), (503, &"1".parse().unwrap()));
    assert!(!world.passes("ada", "s1"));
    world.book.broken.store(false, Ordering::SeqCst);
    assert_eq!(world.push(&token).await.status(), 200);
    assert_eq!(world.outcomes(), [Outcome::Unavailable, Outcome::Cut]);
}

#[tokio::test]
async fn an_event_cuts_whom_it_names() {
    let elsewhere = json!({"format": "iss_sub", "iss": "https://elsewhere", "sub": "ada"});
    let cases = [
        (session_of_ada(), "session-revoked", (false, true), Outcome::Cut),
        (ada(), "session-revoked", (false, false), Outcome::Cut),
        (json!({"format": "opaque", "id": "s1"}), "session-revoked", (false, true), Outcome::Cut),
        (json!({"format": "opaque", "id": "ada"}), "session-revoked", (false, false), Outcome::Cut),
        (session_of_ada(), "credential-change", (false, false), Outcome::Cut),
        (ada(), "token-claims-change", (false, false), Outcome::Cut),
        (ada(), "assurance-level-change", (false, false), Outcome::Cut),
        (elsewhere, "session-revoked", (true, true), Outcome::Unmapped),
        (json!({"format": "email", "email": "ada@example.com"}), "session-revoked", (true, true), Outcome::Unmapped),
        (ada(), "device-compliance-change", (true, true), Outcome::Ignored),
    ];
    for (subject, name, (first, second), outcome) in cases {
        let world = World::events();
        let response = world.push_claims(&json!({"sub_id": subject, "events": event(name)})).await;
        assert_eq!((response.status().as_u16(), response.body().len()), (202, 0), "{name} {subject}");
        assert_eq!((world.passes("ada", "s1"), world.passes("ada", "s2")), (first, second), "{name} {subject}");
        assert!(world.passes("bob", "s3"));
        assert_eq!(world.outcomes(), [outcome], "{name} {subject}");
    }
}

#[tokio::test]
async fn a_jwt_that_is_issued_after_a_change_passes() {
    let world = World::events();
    world.push_claims(&json!({"sub_id": session_of_ada(), "events": event("token-claims-change")})).await;
    let issued = |secs| PrincipalFacts {
        subject: Some("ada".into()),
        session: Some("s1".into()),
        issued_at: Some(Timestamp::from_secs(secs)),
        ..PrincipalFacts::of_issuer(ISSUER)
    };
    assert!(world.cuts.denies(&issued(START), TOKEN));
    assert!(!world.cuts.denies(&issued(START + 1), TOKEN), "the new claims are in it");
}

#[tokio::test]
async fn the_subject_may_stand_in_the_event_as_it_used_to() {
    let world = World::events();
    let events = json!({format!("{CAEP}/session-revoked"): {"subject": session_of_ada()}});
    assert_eq!(world.push_claims(&json!({"events": events})).await.status(), 202);
    assert!(!world.passes("ada", "s1") && world.passes("ada", "s2"));
}

#[tokio::test]
async fn what_is_about_the_stream_is_taken_and_cuts_nothing() {
    let world = World::events();
    let stream = json!({"format": "opaque", "id": "stream"});
    let verification = json!({"https://schemas.openid.net/secevent/ssf/event-type/verification": {"state": "x"}});
    assert_eq!(world.push_claims(&json!({"sub_id": stream, "events": verification})).await.status(), 202);
    assert!(world.cuts.is_empty());
    assert_eq!(world.outcomes(), [Outcome::Stream]);
}

#[tokio::test]
async fn an_event_with_anything_wrong_about_it_is_refused_in_the_words_of_rfc_8935() {
    let world = World::events();
    let many: serde_json::Map<_, _> = (0..17).map(|number| (number.to_string(), json!({}))).collect();
    let wrong = [
        (json!({"iss": "https://evil"}), "invalid_issuer"),
        (json!({"aud": ["another"]}), "invalid_audience"),
        (json!({"iat": null}), "invalid_request"),
        (json!({"iat": START - 86_406}), "invalid_request"),
        (json!({"iat": START + 6}), "invalid_request"),
        (json!({"exp": START - 5}), "invalid_request"),
        (json!({"jti": null}), "invalid_request"),
        (json!({"events": null}), "invalid_request"),
        (json!({"events": {}}), "invalid_request"),
        (json!({"events": many}), "invalid_request"),
        (json!({"events": {format!("{CAEP}/session-revoked"): true}}), "invalid_request"),
        (json!({"sub_id": null}), "invalid_request"),
        (json!({"sub_id": {"format": "iss_sub", "sub": "ada"}}), "invalid_request"),
    ];
    for (members, code) in &wrong {
        let mut all = json!({"sub_id": ada(), "events": event("session-revoked")});
        members.as_object().unwrap().iter().for_each(|(name, value)| all[name] = value.clone());
        world.assert_refused(&world.push_claims(&all).await, 400, code, &members.to_string());
    }
    for typ in [json!("JWT"), json!("logout+jwt"), Value::Null] {
        let mut header = world.header();
        header["typ"] = typ;
        header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let claims = world.claims(&json!({"sub_id": ada(), "events": event("session-revoked")}));
        world.assert_refused(&world.push(&world.sign(&header, &claims)).await, 400, "invalid_request", "typ");
    }
}

#[tokio::test]
async fn another_media_type_or_a_compressed_body_is_not_read() {
    for world in [World::logout(), World::events()] {
        let members = json!({"sid": "s1", "sub_id": ada(), "events": {LOGOUT: {}, format!("{CAEP}/session-revoked"): {}}});
        let token = world.sign(&world.header(), &world.claims(&members));
        let good = world.request(&token);
        let with = |name: &'static str, value: &'static str, append: bool| {
            let mut request = world.request(&token);
            if append {
                request.headers_mut().append(name, value.parse().unwrap());
            } else {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            request
        };
        for bad in [
            with("content-type", "application/json", false),
            with("content-type", "application/jwt", false),
            with("content-type", "text/plain", true),
            with("content-encoding", "gzip", false),
        ] {
            world.assert_refused(&world.receiver.receive(bad).await, 415, "invalid_request", "media type");
        }
        assert!(world.receiver.receive(good).await.status().is_success());
    }
}

#[tokio::test]
async fn a_form_with_two_logout_tokens_or_none_is_refused() {
    let world = World::logout();
    let token = world.sign(&world.header(), &world.claims(&json!({"sid": "s1"})));
    for body in [String::new(), format!("token={token}"), format!("logout_token={token}&logout_token={token}")] {
        let mut request = world.request("");
        *request.body_mut() = Bytes::from(body);
        world.assert_refused(&world.receiver.receive(request).await, 400, "invalid_request", "form");
    }
}

#[tokio::test]
async fn a_transmitter_that_must_authenticate_is_refused_unless_it_does() {
    let world = World::new(PushProtocol::Events { authorization: Some(Secret::new("open-sesame".to_owned())) });
    let token = world.sign(&world.header(), &world.claims(&json!({"sub_id": ada(), "events": event("session-revoked")})));
    let with = |fields: &[&'static str]| {
        let mut request = world.request(&token);
        for field in fields {
            request.headers_mut().append(AUTHORIZATION, field.parse().unwrap());
        }
        request
    };
    let wrong: [&[&str]; 6] = [
        &[],
        &["Bearer open-sesam"],
        &["Bearer open-sesame2"],
        &["Basic open-sesame"],
        &["open-sesame"],
        &["Bearer open-sesame", "Bearer open-sesame"],
    ];
    for fields in wrong {
        let response = world.receiver.receive(with(fields)).await;
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        world.assert_refused(&response, 401, "authentication_failed", &format!("{fields:?}"));
    }
    assert!(world.outcomes().iter().all(|outcome| *outcome == Outcome::Unauthenticated));
    assert_eq!(world.receiver.receive(with(&["bearer open-sesame"])).await.status(), 202);
}

#[tokio::test]
async fn a_source_that_has_signatures_checked_without_end_must_pause() {
    let world = World::with_limits(PushProtocol::Logout, CacheLimits { misses_per_second: 1, miss_burst: 3, ..LIMITS });
    let stranger = SigningKey::ed25519();
    let forged = |world: &World| {
        let claims = world.claims(&json!({"sid": "s1"}));
        stranger.sign("EdDSA", &world.header().to_string(), &claims.to_string())
    };
    for _ in 0..3 {
        assert_eq!(world.push(&forged(&world)).await.status(), 400);
    }
    let response = world.push(&forged(&world)).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    let mut elsewhere = world.request(&world.sign(&world.header(), &world.claims(&json!({"sid": "s1"}))));
    elsewhere.extensions_mut().insert(Source::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
    assert_eq!(world.receiver.receive(elsewhere).await.status(), 200, "others are not kept out");
    world.clock.forward(Duration::from_secs(1));
    assert_eq!(world.push_claims(&json!({"sid": "s2"})).await.status(), 200);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_an_outage_and_unknown_ones_cost_one_fetch_for_each_cooldown() {
    let server = Served::saying(500, "oops").await;
    let key = SigningKey::ed25519();
    let keys = KeySource::Url {
        url: format!("http://{}/jwks", server.address).parse().unwrap(),
        deadline: Duration::from_secs(30),
        refresh: Duration::from_hours(1),
        cooldown: Duration::from_mins(1),
        ca_file: None,
    };
    let document = jwks(&[key.jwk("k1")]);
    let world = World::over(PushProtocol::Logout, LIMITS, key, keys);
    let token = world.sign(&world.header(), &world.claims(&json!({"sid": "s1"})));
    let response = world.push(&token).await;
    world.assert_refused(&response, 503, "temporarily_unavailable", "no keys");
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    server.says(200, &document);
    world.clock.forward(Duration::from_secs(1));
    assert_eq!(world.push(&token).await.status(), 200, "the same token, once the keys are there");
    let fetches = server.heard().len();
    for number in 0..20 {
        let header = json!({"alg": "EdDSA", "typ": "logout+jwt", "kid": format!("x{number}")});
        let response = world.push(&world.sign(&header, &world.claims(&json!({"sid": "s2"})))).await;
        assert_eq!(response.status(), 400, "a key of that name is not known");
    }
    assert!(server.heard().len() <= fetches + 1, "{} fetches", server.heard().len());
    assert!(world.passes("ada", "s2"));
}
