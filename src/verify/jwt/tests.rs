//! What must be true of a JWT: one test for each thing that must not pass.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::model::{Clock, IssuerId, Timestamp};
use crate::plan::{JwtAlgorithm, KeySource};
use crate::verify::fixture::signing::{SigningKey, jwks};
use crate::verify::fixture::{HandClock, START};
use crate::verify::keys::KeySet;

const ALL: [(JwtAlgorithm, &str); 9] = [
    (JwtAlgorithm::Rs256, "RS256"),
    (JwtAlgorithm::Rs384, "RS384"),
    (JwtAlgorithm::Rs512, "RS512"),
    (JwtAlgorithm::Ps256, "PS256"),
    (JwtAlgorithm::Ps384, "PS384"),
    (JwtAlgorithm::Ps512, "PS512"),
    (JwtAlgorithm::Es256, "ES256"),
    (JwtAlgorithm::Es384, "ES384"),
    (JwtAlgorithm::EdDsa, "EdDSA"),
];

fn issuer() -> Jwt {
    Jwt {
        issuer: "https://a".into(),
        audience: NonEmpty::new(vec!["orders".into(), "bills".into()]).unwrap(),
        algorithms: NonEmpty::new(ALL.iter().map(|(algorithm, _)| *algorithm).collect()).unwrap(),
        types: Box::new(["at+jwt".into()]),
        // The keys are handed over below.
        keys: KeySource::Files(NonEmpty::one("unused".into())),
        leeway: Duration::from_secs(30),
        max_lifetime: Duration::from_hours(24),
        cache_ttl: Duration::from_mins(5),
        negative_ttl: Duration::from_secs(5),
    }
}

fn signer(plan: &Jwt, keys: &[Value]) -> Signer {
    let reader = FactsReader { issuer: IssuerId(1), claims: Arc::default() };
    let keys = KeySet::from_jwks(jwks(keys).as_bytes()).unwrap();
    Signer::new(plan, plan.leeway, reader, KeyRing::Fixed(Arc::new(keys)))
}

fn claims() -> Value {
    json!({"iss": "https://a", "aud": "orders", "sub": "ann", "exp": START + 60, "nbf": START, "iat": START, "sid": "s1"})
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), value)
    };
    object
}

async fn verdict(signer: &Signer, token: &str) -> Option<PrincipalFacts> {
    signer.ask(token, HandClock::default().now()).await.unwrap()
}

/// A good key with its signer, to sign what is or is not good.
struct Desk {
    key: SigningKey,
    signer: Signer,
}

impl Desk {
    fn new() -> Self {
        let key = SigningKey::ed25519();
        let signer = signer(&issuer(), &[key.jwk("k1")]);
        Self { key, signer }
    }

    fn header() -> Value {
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"})
    }

    async fn takes(&self, header: &Value, claims: &Value) -> bool {
        self.takes_text(&header.to_string(), &claims.to_string()).await
    }

    async fn takes_text(&self, header: &str, claims: &str) -> bool {
        verdict(&self.signer, &self.key.sign("EdDSA", header, claims)).await.is_some()
    }
}

#[tokio::test]
async fn a_good_token_of_every_algorithm_passes_with_its_facts_and_a_changed_one_does_not() {
    let keys = [SigningKey::rsa(), SigningKey::p256(), SigningKey::p384(), SigningKey::ed25519()];
    let signer = signer(&issuer(), &[keys[0].jwk("0"), keys[1].jwk("1"), keys[2].jwk("2"), keys[3].jwk("3")]);
    for (_, name) in ALL {
        let kid = ["ES256", "ES384", "EdDSA"].iter().position(|other| *other == name).map_or(0, |index| index + 1);
        let header = json!({"alg": name, "typ": "at+jwt", "kid": kid.to_string()}).to_string();
        let token = keys[kid].sign(name, &header, &claims().to_string());
        let facts = verdict(&signer, &token).await.unwrap();
        assert_eq!((facts.issuer, facts.subject.as_deref()), (IssuerId(1), Some("ann")), "{name}");
        assert_eq!(facts.expires_at, Some(Timestamp::from_secs(START + 60)));
        let other = keys[kid].sign(name, &header, &with(claims(), "sub", json!("bob")).to_string());
        let (message, _) = other.rsplit_once('.').unwrap();
        let (_, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(verdict(&signer, &format!("{message}.{signature}")).await, None, "{name}");
        assert_eq!(verdict(&signer, &format!("{message}.")).await, None, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_would_outlive_the_memory_of_its_revocation_is_refused() {
    let desk = Desk::new();
    let day = 24 * 3600;
    assert!(desk.takes(&Desk::header(), &with(claims(), "exp", json!(START + day))).await);
    assert!(!desk.takes(&Desk::header(), &with(claims(), "exp", json!(START + day + 1))).await);
    let old = with(with(claims(), "iat", json!(START - day)), "nbf", json!(START - day));
    assert!(!desk.takes(&Desk::header(), &with(old, "exp", json!(START + 1))).await, "its whole life counts, not the rest");
    let undated = with(claims(), "iat", json!(null));
    assert!(desk.takes(&Desk::header(), &with(undated.clone(), "exp", json!(START + day))).await);
    assert!(!desk.takes(&Desk::header(), &with(undated, "exp", json!(START + day + 1))).await);
}

#[tokio::test]
async fn no_algorithm_but_those_of_the_issuer_is_taken() {
    let desk = Desk::new();
    assert!(desk.takes(&Desk::header(), &claims()).await);
    for alg in ["none", "None", "", "HS256", "HS512", "eddsa", "ES512", "RSA1_5"] {
        assert!(!desk.takes(&with(Desk::header(), "alg", json!(alg)), &claims()).await, "{alg}");
    }
    for alg in [json!(null), json!(7), json!(["EdDSA"])] {
        assert!(!desk.takes(&with(Desk::header(), "alg", alg), &claims()).await);
    }
    let plan = Jwt { algorithms: NonEmpty::one(JwtAlgorithm::Rs256), ..issuer() };
    let strict = Desk { signer: signer(&plan, &[desk.key.jwk("k1")]), ..desk };
    assert!(!strict.takes(&Desk::header(), &claims()).await);
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let key = SigningKey::rsa();
    let signer = signer(&issuer(), &[key.jwk("k1")]);
    let text = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", text(r#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#), text(&claims().to_string()));
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.pem().as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&secret, message.as_bytes()));
    assert_eq!(verdict(&signer, &format!("{message}.{signature}")).await, None);
}

#[tokio::test]
async fn what_must_be_understood_is_not_understood_here() {
    let desk = Desk::new();
    for (name, value) in [("crit", json!(["exp"])), ("crit", json!([])), ("b64", json!(false)), ("b64", json!(true))] {
        assert!(!desk.takes(&with(Desk::header(), name, value), &claims()).await, "{name}");
    }
}

#[tokio::test]
async fn only_the_types_of_the_issuer_are_taken() {
    let desk = Desk::new();
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        assert!(desk.takes(&with(Desk::header(), "typ", json!(typ)), &claims()).await, "{typ}");
    }
    for typ in [json!(null), json!(""), json!("JWT"), json!("logout+jwt"), json!("dpop+jwt"), json!(7)] {
        assert!(!desk.takes(&with(Desk::header(), "typ", typ.clone()), &claims()).await, "{typ}");
    }
    let plan = Jwt { types: Box::new(["jwt".into(), Box::default()]), ..issuer() };
    let lax = Desk { signer: signer(&plan, &[desk.key.jwk("k1")]), ..desk };
    for typ in [json!(null), json!("JWT")] {
        assert!(lax.takes(&with(Desk::header(), "typ", typ), &claims()).await);
    }
    assert!(!lax.takes(&Desk::header(), &claims()).await);
}

#[tokio::test]
async fn every_claim_that_must_be_there_must_be_right() {
    let desk = Desk::new();
    for (name, good) in [
        ("aud", json!("bills")),
        ("aud", json!(["other", "orders"])),
        ("exp", json!(START - 29)),
        ("exp", json!(2_000_000_000.5)),
        ("nbf", json!(START + 30)),
        ("nbf", json!(null)),
        ("iat", json!(START + 30)),
        ("iat", json!(null)),
    ] {
        assert!(desk.takes(&Desk::header(), &with(claims(), name, good.clone())).await, "{name} {good}");
    }
    for (name, bad) in [
        ("iss", json!(null)),
        ("iss", json!("https://b")),
        ("iss", json!("https://a/")),
        ("iss", json!(7)),
        ("iss", json!(["https://a"])),
        ("aud", json!(null)),
        ("aud", json!("Orders")),
        ("aud", json!([])),
        ("aud", json!({"a": "orders"})),
        ("aud", json!(["orders", 7])),
        ("exp", json!(null)),
        ("exp", json!(START - 30)),
        ("exp", json!(-1)),
        ("exp", json!((START + 60).to_string())),
        ("exp", json!([START + 60])),
        ("nbf", json!(START + 31)),
        ("nbf", json!(u64::MAX)),
        ("nbf", json!("now")),
        ("iat", json!(START + 31)),
        ("iat", json!(true)),
        ("sub", json!(7)),
        ("scope", json!(["read"])),
        ("cnf", json!({"jkt": "x"})),
        ("typ", json!("Refresh")),
        ("token_use", json!("id")),
    ] {
        assert!(!desk.takes(&Desk::header(), &with(claims(), name, bad.clone())).await, "{name} {bad}");
    }
}

#[tokio::test]
async fn a_member_that_is_there_twice_spoils_the_token() {
    let desk = Desk::new();
    let (header, good) = (Desk::header().to_string(), claims().to_string());
    assert!(desk.takes_text(&header, &good).await);
    assert!(!desk.takes_text(&header, &good.replacen('{', r#"{"sub":"bob","#, 1)).await);
    assert!(!desk.takes_text(&header.replacen('{', r#"{"alg":"none","#, 1), &good).await);
    assert!(!desk.takes_text(&header, &format!("{good} {good}")).await);
}

#[tokio::test]
async fn what_is_no_compact_jws_of_three_parts_is_refused() {
    let desk = Desk::new();
    let token = desk.key.sign("EdDSA", &Desk::header().to_string(), &claims().to_string());
    assert!(verdict(&desk.signer, &token).await.is_some());
    let part = token.split('.').next().unwrap();
    for bad in [format!("{token}."), format!(".{token}"), format!("{token}="), format!("{part}.{token}"), part.to_owned()] {
        assert_eq!(verdict(&desk.signer, &bad).await, None, "{bad}");
    }
    assert_eq!(verdict(&desk.signer, "..").await, None);
    assert_eq!(verdict(&desk.signer, "").await, None);
}

#[tokio::test]
async fn the_key_comes_from_the_issuer_and_never_from_the_token() {
    let desk = Desk::new();
    let forger = SigningKey::ed25519();
    for (name, value) in [
        ("jwk", forger.jwk("k1")),
        ("jku", json!("http://127.0.0.1:1/")),
        ("x5u", json!("http://127.0.0.1:1/")),
        ("x5c", json!(["AQAB"])),
        ("kid", json!("../../k1")),
        ("kid", json!(null)),
    ] {
        let header = with(Desk::header(), name, value).to_string();
        let token = forger.sign("EdDSA", &header, &claims().to_string());
        assert_eq!(verdict(&desk.signer, &token).await, None, "{name}");
    }
    assert!(desk.takes(&with(Desk::header(), "kid", json!(null)), &claims()).await);
    assert!(!desk.takes(&with(Desk::header(), "kid", json!("k2")), &claims()).await);
    assert!(!desk.takes(&with(Desk::header(), "kid", json!(7)), &claims()).await);
}

#[test]
fn the_issuer_that_a_token_claims_is_found_without_believing_it() {
    let text = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let token = |claims: &str| format!("e30.{}.x", text(claims));
    assert_eq!(claimed_issuer(&token(r#"{"iss":"https://a"}"#)).as_deref(), Some("https://a"));
    for bad in ["", "a", "a.b", "a.!.c"] {
        assert_eq!(claimed_issuer(bad), None, "{bad}");
    }
    for bad in ["", "{}", r#"{"iss":7}"#, r#"{"iss":"https://a","iss":"https://b"}"#] {
        assert_eq!(claimed_issuer(&token(bad)), None, "{bad}");
    }
}
