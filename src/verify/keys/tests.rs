//! Which keys are taken into a set, and for what they are used.

use serde_json::json;

use super::*;
use crate::verify::fixture::signing::{SigningKey, jwks};

const RS256: JwtAlgorithm = JwtAlgorithm::Rs256;

fn accepts(set: &KeySet, kid: Option<&str>, algorithm: JwtAlgorithm, token: &str) -> bool {
    let (message, signature) = token.rsplit_once('.').unwrap();
    set.verifies(kid, algorithm, message, signature)
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk.as_object_mut().unwrap().insert(name.to_owned(), value);
    jwk
}

#[test]
fn keys_of_every_kind_are_read_from_jwks_and_from_pem() {
    let kinds = [
        (SigningKey::rsa(), RS256, "RS256"),
        (SigningKey::p256(), JwtAlgorithm::Es256, "ES256"),
        (SigningKey::p384(), JwtAlgorithm::Es384, "ES384"),
        (SigningKey::ed25519(), JwtAlgorithm::EdDsa, "EdDSA"),
    ];
    for (key, algorithm, name) in &kinds {
        let token = key.sign(name, "{}", "{}");
        let document = KeySet::from_jwks(jwks(&[key.jwk("a")]).as_bytes()).unwrap();
        assert!(accepts(&document, Some("a"), *algorithm, &token), "{name}");
        assert!(document.names("a") && !document.names("b"));
        let pem = KeySet::from_pem(key.pem().as_bytes()).unwrap();
        assert!(accepts(&pem, Some("whatever"), *algorithm, &token), "{name}");
        assert!(!accepts(&pem, None, *algorithm, &token.replacen("e30", "e31", 1)), "{name}");
    }
    let all: String = kinds.iter().map(|(key, ..)| key.pem()).collect();
    let all = KeySet::from_pem(all.as_bytes()).unwrap();
    for (key, algorithm, name) in &kinds {
        assert!(accepts(&all, None, *algorithm, &key.sign(name, "{}", "{}")), "{name}");
    }
}

#[test]
fn a_key_that_must_not_check_signatures_is_left_out() {
    let (rsa, ed) = (SigningKey::rsa().jwk("a"), SigningKey::ed25519().jwk("a"));
    let short = with(rsa.clone(), "n", json!(URL_SAFE_NO_PAD.encode([0xff; 128])));
    for unusable in [
        json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0", "alg": "HS256"}),
        with(rsa.clone(), "use", json!("enc")),
        with(rsa.clone(), "use", json!(7)),
        with(rsa.clone(), "key_ops", json!(["encrypt"])),
        with(rsa.clone(), "d", json!("AQAB")),
        with(rsa.clone(), "alg", json!("RSA-OAEP")),
        with(rsa.clone(), "alg", json!("HS256")),
        with(rsa.clone(), "kid", json!(7)),
        with(rsa.clone(), "e", json!("Ag")),
        with(rsa.clone(), "e", json!("AQ")),
        with(rsa.clone(), "n", json!("not base64url!")),
        short,
        with(ed.clone(), "x", json!("AQAB")),
        with(ed, "crv", json!("Ed448")),
        json!({"kty": "EC", "crv": "P-521", "kid": "a", "x": "AQAB", "y": "AQAB"}),
        json!({"kty": "unheard of"}),
        json!("no key"),
    ] {
        let alone = KeySet::from_jwks(jwks(std::slice::from_ref(&unusable)).as_bytes());
        assert_eq!(alone.unwrap_err(), Unreadable("no usable key"), "{unusable}");
        let beside = KeySet::from_jwks(jwks(&[unusable, rsa.clone()]).as_bytes()).unwrap();
        assert_eq!(beside.0.len(), 1);
    }
}

#[test]
fn a_key_is_used_with_its_own_algorithm_and_under_its_own_name_only() {
    let key = SigningKey::rsa();
    let token = key.sign("RS256", "{}", "{}");
    let document = |jwk: Value| KeySet::from_jwks(jwks(&[jwk]).as_bytes()).unwrap();
    assert!(accepts(&document(key.jwk("a")), None, RS256, &token));
    assert!(!accepts(&document(key.jwk("a")), Some("b"), RS256, &token));
    assert!(!accepts(&document(key.jwk("a")), Some("a"), JwtAlgorithm::Ps256, &token));
    assert!(!accepts(&document(key.jwk("a")), Some("a"), JwtAlgorithm::EdDsa, &token));
    assert!(accepts(&document(with(key.jwk("a"), "alg", json!("RS256"))), Some("a"), RS256, &token));
    assert!(!accepts(&document(with(key.jwk("a"), "alg", json!("PS256"))), Some("a"), RS256, &token));
}

#[test]
fn a_token_without_a_key_name_is_tried_with_a_few_keys_only() {
    let right = SigningKey::ed25519();
    let token = right.sign("EdDSA", "{}", "{}");
    let mut keys: Vec<Value> = (0..7).map(|_| SigningKey::ed25519().jwk("a")).collect();
    keys.push(right.jwk("b"));
    let accepts = |keys: &[Value]| {
        let set = KeySet::from_jwks(jwks(keys).as_bytes()).unwrap();
        accepts(&set, None, JwtAlgorithm::EdDsa, &token)
    };
    assert!(accepts(&keys));
    keys.splice(0..0, (0..8).map(|_| SigningKey::p256().jwk("a")));
    assert!(accepts(&keys), "keys of another kind are not tried at all");
    keys.insert(0, SigningKey::ed25519().jwk("a"));
    assert!(!accepts(&keys));
}

#[test]
fn what_is_no_document_of_keys_is_unreadable() {
    for text in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(KeySet::from_jwks(text.as_bytes()).is_err(), "{text}");
    }
    for text in ["", "nothing", "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"] {
        assert!(KeySet::from_pem(text.as_bytes()).is_err(), "{text}");
    }
}
