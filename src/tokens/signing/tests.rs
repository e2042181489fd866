use std::sync::LazyLock;

use aws_lc_rs::rand;
use serde_json::{Value, json};

use super::*;

/// An RSA key takes long to make: all tests of the process share these two.
static KEYS: LazyLock<[Arc<SigningKey>; 2]> =
    LazyLock::new(|| [SigningKey::generate(), SigningKey::generate()].map(|key| Arc::new(key.unwrap())));

/// A key that was made before.
pub(crate) fn key(index: usize) -> Arc<SigningKey> {
    Arc::clone(&KEYS[index])
}

/// Such a key as it is kept.
pub(crate) fn row(index: usize, keyring: &Keyring, signs_from: Timestamp) -> SigningKeyRow {
    let key = key(index);
    let sealed = keyring.seal_signing_key(key.id(), &key.to_pkcs8().unwrap(), &Random).unwrap();
    SigningKeyRow { kid: key.id().into(), sealed, created: signs_from, signs_from }
}

#[derive(Debug)]
struct Random;

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes).unwrap();
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const LIFE: Duration = Duration::from_hours(10);

fn signing() -> (Signing, Keyring) {
    let settings = SigningSettings {
        issuer: "https://gateway.example".into(),
        audience: "back-office".into(),
        token_type: "JWT",
        published_for: Duration::from_mins(10),
        longest_life: LIFE,
    };
    (Signing::new(settings), Keyring::new(&[7; 32]))
}

fn with_one_key() -> Signing {
    let (signing, keyring) = signing();
    signing.adopt(vec![row(0, &keyring, NOW)], &keyring).unwrap();
    signing
}

fn statement() -> Statement<'static> {
    Statement {
        account: AccountId(50),
        sid: "s-1",
        acr: "second-factor",
        amr: "pwd otp",
        auth_time: NOW,
        issued: NOW,
        expires: NOW.after(LIFE),
    }
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

/// A token with this header and these claims, signed by a key of ours.
fn forged(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = key(0).sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn a_token_says_what_the_contract_shows_and_what_its_revocation_needs() {
    let token = with_one_key().sign(&statement(), &Random).unwrap();
    assert_eq!(part(token.expose(), 0), json!({"typ": "JWT", "alg": "RS256", "kid": key(0).id()}));
    let claims = part(token.expose(), 1);
    let jti = claims["jti"].as_str().unwrap().to_owned();
    let expected = json!({
        "sub": "50", "iat": 1_000_000, "exp": 1_036_000, "iss": "https://gateway.example", "aud": "back-office",
        "jti": jti, "sid": "s-1", "auth_time": 1_000_000, "acr": "second-factor", "amr": ["pwd", "otp"],
    });
    assert_eq!(claims, expected);
    assert_eq!(URL_SAFE_NO_PAD.decode(token.expose().rsplit('.').next().unwrap()).unwrap().len(), 256, "RSA-2048");
}

#[test]
fn a_token_is_good_until_its_end_and_not_at_it() {
    let signing = with_one_key();
    let token = signing.sign(&statement(), &Random).unwrap();
    let signed = signing.verify(token.expose(), NOW.after(LIFE).before(Duration::from_millis(1))).unwrap();
    assert_eq!((&*signed.sid, &*signed.audience, signed.expires), ("s-1", "back-office", NOW.after(LIFE)));
    assert_eq!(signing.verify(token.expose(), NOW.after(LIFE)), None);
}

#[test]
fn a_changed_byte_anywhere_makes_a_token_nothing() {
    let signing = with_one_key();
    let token = signing.sign(&statement(), &Random).unwrap();
    let token = token.expose();
    for at in (0..token.len()).step_by(7) {
        let mut changed = token.to_owned().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(signing.verify(std::str::from_utf8(&changed).unwrap(), NOW), None, "byte {at}");
    }
    for broken in ["", ".", "..", "a.b", &token[1..], &format!("{token}A"), &format!("{token}.")] {
        assert_eq!(signing.verify(broken, NOW), None, "{broken}");
    }
}

#[test]
fn a_good_signature_does_not_carry_another_header_issuer_or_audience() {
    let signing = with_one_key();
    let kid = key(0).id().to_owned();
    let claims = |iss: &str, aud: &str| json!({"iss": iss, "aud": aud, "exp": 2_000_000, "jti": "j", "sid": "s"}).to_string();
    let (iss, aud) = ("https://gateway.example", "back-office");
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": kid}).to_string();
    assert!(signing.verify(&forged(&header, &claims(iss, aud)), NOW).is_some());
    for (iss, aud) in [("https://other.example", aud), (iss, "other")] {
        assert_eq!(signing.verify(&forged(&header, &claims(iss, aud)), NOW), None);
    }
    for header in [
        json!({"typ": "JWT", "alg": "none", "kid": kid}),
        json!({"typ": "JWT", "alg": "HS256", "kid": kid}),
        json!({"typ": "JWT", "alg": "RS256", "kid": "other"}),
        json!({"typ": "JWT", "alg": "RS256"}),
        json!({"typ": "refresh+jwt", "alg": "RS256", "kid": kid}),
        json!({"typ": "JWT", "alg": "RS256", "kid": kid, "crit": ["x"]}),
        json!({"typ": "JWT", "alg": "RS256", "kid": kid, "jwk": {}}),
    ] {
        assert_eq!(signing.verify(&forged(&header.to_string(), &claims(iss, aud)), NOW), None, "{header}");
    }
}

#[test]
fn the_key_that_is_active_signs_and_those_before_it_are_still_known() {
    let (signing, keyring) = signing();
    let change = NOW.after(Duration::from_mins(10));
    signing.adopt(vec![row(1, &keyring, change), row(0, &keyring, NOW)], &keyring).unwrap();
    let kid = |issued| {
        let token = signing.sign(&Statement { issued, ..statement() }, &Random).unwrap();
        (part(token.expose(), 0)["kid"].as_str().unwrap().to_owned(), token)
    };
    let (before, old) = kid(change.before(Duration::from_millis(1)));
    let (after, new) = kid(change);
    assert_eq!((&*before, &*after), (key(0).id(), key(1).id()));
    assert!(signing.verify(old.expose(), change).is_some());
    assert!(signing.verify(new.expose(), change).is_some());
}

#[test]
fn a_key_cannot_be_opened_under_another_name_or_server_key() {
    let (signing, keyring) = signing();
    let mut renamed = row(0, &keyring, NOW);
    renamed.kid = "other".into();
    assert_eq!(signing.adopt(vec![renamed], &keyring), Err(SealedKeyFault("other".into())));
    let foreign = row(0, &Keyring::new(&[8; 32]), NOW);
    assert!(signing.adopt(vec![foreign], &keyring).is_err());
    assert_eq!(signing.sign(&statement(), &Random), None, "and without a key nothing is signed");
}

#[test]
fn nothing_of_a_key_is_printed_but_its_name() {
    assert_eq!(format!("{:?}", key(0)), format!("SigningKey({})", key(0).id()));
}
