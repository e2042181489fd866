//! Contract C against the quick start: pairs of tokens, the second factor, rotation, sign-out, and exact limits.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{
    Quickstart, Request, Response, all_at_once, assert_complete, assert_unauthenticated, epoch_seconds, keys, seconds_to_wait,
};

const SIGN_IN: &str = "/api/v2/signin";
const CONFIRM: &str = "/api/v2/2fa/confirm";
const REFRESH: &str = "/api/v2/refresh";
const SIGN_OUT: &str = "/api/v2/signout";

/// Ten hours and fourteen days, in seconds.
const ACCESS_LIFE: i64 = 36_000;
const REFRESH_LIFE: i64 = 14 * 86_400;

/// The back office of a quick start.
struct BackOffice {
    quick: Quickstart,
}

/// A pair of tokens.
#[derive(Debug)]
struct Pair {
    access: String,
    refresh: String,
}

impl BackOffice {
    #[track_caller]
    fn start() -> Self {
        Self { quick: Quickstart::start() }
    }

    #[track_caller]
    fn send(&self, request: &Request) -> Response {
        let response = self.quick.ask(request);
        assert_complete(&response, "API C");
        response
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Response {
        self.send(&Request::json(path, body))
    }

    #[track_caller]
    fn sign_in_as(&self, email: &str, password: &str) -> Response {
        self.post(SIGN_IN, &json!({ "email": email, "password": password }))
    }

    /// What the ordinary account signs in with.
    fn ordinary(&self) -> Value {
        json!({ "email": self.quick.value("ACCOUNT_EMAIL"), "password": self.quick.value("ACCOUNT_PASSWORD") })
    }

    #[track_caller]
    fn sign_in(&self) -> Response {
        self.post(SIGN_IN, &self.ordinary())
    }

    #[track_caller]
    fn pair(&self) -> Pair {
        Pair::of(&self.sign_in())
    }

    /// The token of a second factor that is asked for.
    #[track_caller]
    fn asked(&self) -> String {
        let response = self.sign_in_as(self.quick.value("TWOFA_EMAIL"), self.quick.value("TWOFA_PASSWORD"));
        assert_eq!(response.status, 200, "{response:#?}");
        text(&response.json()["2faDetails"]["token"])
    }

    #[track_caller]
    fn confirm(&self, token: &str, code: &str) -> Response {
        self.post(CONFIRM, &json!({ "token": token, "code": code }))
    }

    #[track_caller]
    fn refresh(&self, token: &str) -> Response {
        self.post(REFRESH, &json!({ "refreshToken": token }))
    }

    #[track_caller]
    fn sign_out(&self, token: &str) -> Response {
        self.send(&Request::new("POST", SIGN_OUT).bearer(token))
    }

    #[track_caller]
    fn passes(&self, token: &str) -> bool {
        self.quick.get_as(token, "/api/x").status == 200
    }

    /// The claims of a token whose signature verifies under the published keys, as anybody could check it.
    #[track_caller]
    fn verified(&self, token: &str) -> Value {
        let published = self.quick.ask(&Request::get("/.well-known/jwks.json")).json();
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("no JWT: {token}") };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url without padding");
        let read = |part: &str| -> Value { serde_json::from_slice(&decode(part)).expect("JSON") };
        let head = read(header);
        assert_eq!(keys(&head), BTreeSet::from(["alg", "kid", "typ"]));
        assert_eq!((&head["alg"], &head["typ"]), (&json!("RS256"), &json!("JWT")));
        let all = published["keys"].as_array().expect("a list of keys");
        let key = all.iter().find(|key| key["kid"] == head["kid"]).unwrap_or_else(|| panic!("{head} in {published}"));
        assert_eq!((&key["kty"], &key["alg"], &key["use"]), (&json!("RSA"), &json!("RS256"), &json!("sig")));
        let part = |name: &str| decode(key[name].as_str().expect(name));
        let signature = decode(signature);
        assert_eq!((part("n").len(), signature.len()), (256, 256), "RSA of 2048 bits");
        let signed = format!("{header}.{claims}");
        RsaPublicKeyComponents { n: part("n"), e: part("e") }
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .expect("a signature of the published key");
        read(claims)
    }
}

impl Pair {
    /// Out of an answer that has one; nothing else may be in it but whether a second factor is needed.
    #[track_caller]
    fn of(response: &Response) -> Self {
        assert_eq!(response.status, 200, "{response:#?}");
        assert_eq!(response.only("Pragma"), "no-cache");
        let body = response.json();
        let signed_in = body.get("2faRequired").map(|required| assert_eq!(required, false)).is_some();
        let expected: &[&str] =
            if signed_in { &["2faRequired", "accessToken", "refreshToken"] } else { &["accessToken", "refreshToken"] };
        assert_eq!(keys(&body), expected.iter().copied().collect());
        for (name, life) in [("accessToken", ACCESS_LIFE), ("refreshToken", REFRESH_LIFE)] {
            assert_eq!(keys(&body[name]), BTreeSet::from(["createdAt", "expiresAt", "token"]));
            assert_eq!(instant(&body[name]["expiresAt"]) - instant(&body[name]["createdAt"]), life, "{name}");
        }
        let pair = Self { access: text(&body["accessToken"]["token"]), refresh: text(&body["refreshToken"]["token"]) };
        assert_ne!(pair.access, pair.refresh);
        pair
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Seconds since 1970 of an instant in the one form that there is: `2022-01-01T00:00:00+00:00`.
#[track_caller]
fn instant(value: &Value) -> i64 {
    let text = text(value);
    let pattern = text.bytes().map(|byte| if byte.is_ascii_digit() { '0' } else { char::from(byte) });
    assert_eq!(pattern.collect::<String>(), "0000-00-00T00:00:00+00:00", "{text}");
    assert!(text.ends_with("+00:00"), "{text}");
    text.parse::<jiff::Timestamp>().expect("RFC 3339").as_second()
}

#[track_caller]
fn assert_message(response: &Response, status: u16, what: &str) {
    assert_eq!(response.status, status, "{what}: {response:#?}");
    let body = response.json();
    assert_eq!(keys(&body), BTreeSet::from(["message"]), "{what}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {body}");
}

/// The one answer to whoever is not who they say.
#[track_caller]
fn assert_not_authenticated(response: &Response, what: &str) {
    assert_message(response, 401, what);
    assert_eq!(response.json()["message"], "Unauthenticated.", "{what}");
    assert!(response.only("WWW-Authenticate").starts_with("Bearer"), "{what}: {response:#?}");
}

/// The attempt that is one too many: the whole pause is told.
#[track_caller]
fn assert_paused(response: &Response, what: &str) {
    assert_message(response, 429, what);
    assert_eq!(seconds_to_wait(response), 600, "{what}");
}

#[test]
fn a_sign_in_without_a_second_factor_gives_a_pair() {
    let office = BackOffice::start();
    let before = i64::try_from(epoch_seconds()).unwrap();
    let response = office.sign_in();
    let pair = Pair::of(&response);
    let body = response.json();
    assert_eq!(body["2faRequired"], false, "it is said, not left out");
    for name in ["accessToken", "refreshToken"] {
        let created = instant(&body[name]["createdAt"]);
        assert!((before..=i64::try_from(epoch_seconds()).unwrap()).contains(&created), "{body}");
    }
    assert!(office.passes(&pair.access));
    assert_eq!(office.quick.get_as(&pair.access, "/api/sensitive").status, 401, "a password alone is no second factor");
}

#[test]
fn the_access_token_is_a_signed_jwt_that_says_whose_it_is_and_until_when() {
    let office = BackOffice::start();
    let response = office.sign_in();
    let (pair, body) = (Pair::of(&response), response.json());
    let claims = office.verified(&pair.access);
    let expected = ["acr", "amr", "aud", "auth_time", "exp", "iat", "iss", "jti", "sid", "sub"];
    assert_eq!(keys(&claims), BTreeSet::from(expected));
    let url = office.quick.value("URL");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(url), &json!(url)));
    let subject = office.quick.get_as(&office.quick.tokens().access, "/v1/account").json()["id"].clone();
    assert_eq!(claims["sub"], subject.to_string(), "the account's number, as text");
    assert_eq!((&claims["acr"], &claims["amr"]), (&json!("password"), &json!(["pwd"])));
    let number = |name: &str| claims[name].as_i64().unwrap_or_else(|| panic!("{name} of {claims}"));
    assert_eq!(number("exp") - number("iat"), ACCESS_LIFE);
    let token = &body["accessToken"];
    assert_eq!((number("iat"), number("exp")), (instant(&token["createdAt"]), instant(&token["expiresAt"])));

    let other = office.verified(&office.pair().access);
    assert_ne!((&other["jti"], &other["sid"]), (&claims["jti"], &claims["sid"]));
    assert!(other["jti"] != claims["jti"] && other["sid"] != claims["sid"], "each has its own");
    let seen = office.quick.get_as(&pair.access, "/api/x").json();
    assert_eq!(seen["headers"]["x-auth-subject"], json!([claims["sub"]]));
    assert_eq!(seen["headers"]["x-auth-session"], json!([claims["sid"]]));
    let told = office.quick.introspect(&pair.access).json();
    assert_eq!((&told["active"], &told["sid"], &told["exp"]), (&json!(true), &claims["sid"], &claims["exp"]));
}

#[test]
fn a_signed_token_that_was_changed_is_refused() {
    let office = BackOffice::start();
    let pair = office.pair();
    let [header, claims, signature] = pair.access.split('.').collect::<Vec<_>>()[..] else { panic!("no JWT") };
    let mut longer = office.verified(&pair.access);
    longer["exp"] = json!(longer["exp"].as_u64().unwrap() + 1);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for (token, what) in [
        (format!("{header}.{}.{signature}", encode(&longer)), "another claim"),
        (format!("{}.{claims}.", encode(&json!({ "typ": "JWT", "alg": "none" }))), "no signature"),
        (format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([7; 256])), "another signature"),
    ] {
        assert_not_authenticated(&office.sign_out(&token), what);
        assert_unauthenticated(&office.quick.get_as(&token, "/api/x"), what);
    }
    assert!(office.passes(&pair.access));
}

#[test]
fn a_second_factor_is_asked_for_and_its_code_gives_the_pair() {
    let office = BackOffice::start();
    let before = i64::try_from(epoch_seconds()).unwrap();
    let response = office.sign_in_as(office.quick.value("TWOFA_EMAIL"), office.quick.value("TWOFA_PASSWORD"));
    assert_eq!(response.status, 200, "{response:#?}");
    let body = response.json();
    assert_eq!(keys(&body), BTreeSet::from(["2faDetails", "2faRequired"]), "what is absent is absent, not null");
    assert_eq!(body["2faRequired"], true);
    let details = &body["2faDetails"];
    assert_eq!(keys(details), BTreeSet::from(["expiresAt", "provider", "token"]));
    assert_eq!(details["provider"], "email");
    let token = text(&details["token"]);
    let pattern: String = token.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
    assert_eq!(pattern, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "{token}");
    let life = instant(&details["expiresAt"]) - before;
    assert!((600..=600 + i64::try_from(epoch_seconds()).unwrap() - before).contains(&life), "ten minutes: {life}");
    assert!(!office.passes(&token), "it is no access token");

    assert_not_authenticated(&office.confirm(&token, "000000"), "a wrong code");
    let confirmed = office.confirm(&token, "123456");
    assert_eq!(keys(&confirmed.json()), BTreeSet::from(["accessToken", "refreshToken"]));
    let pair = Pair::of(&confirmed);
    let claims = office.verified(&pair.access);
    assert_eq!((&claims["acr"], &claims["amr"]), (&json!("second-factor"), &json!(["pwd", "otp"])));
    assert_eq!(office.quick.get_as(&pair.access, "/api/sensitive").status, 200);
    assert_not_authenticated(&office.confirm(&token, "123456"), "a code that was used");
}

#[test]
fn of_parallel_confirmations_of_one_code_one_succeeds() {
    let office = BackOffice::start();
    let token = office.asked();
    let statuses = all_at_once(12, |_, start| {
        start.wait();
        office.confirm(&token, "123456").status
    });
    let with = |status| statuses.iter().filter(|held| **held == status).count();
    assert_eq!((with(200), with(401), with(429)), (1, 2, 9), "three may try in a minute: {statuses:?}");
}

#[test]
fn a_refresh_gives_a_new_pair_and_its_reuse_kills_the_family() {
    let office = BackOffice::start();
    let first = office.pair();
    let response = office.refresh(&first.refresh);
    let second = Pair::of(&response);
    assert_eq!(keys(&response.json()), BTreeSet::from(["accessToken", "refreshToken"]));
    assert!(first.access != second.access && first.refresh != second.refresh, "both rotate");
    let (old, new) = (office.verified(&first.access), office.verified(&second.access));
    assert_eq!(old["sid"], new["sid"], "of the same session");
    assert_ne!(old["jti"], new["jti"]);
    assert!(office.passes(&second.access));

    let other = office.pair();
    assert_not_authenticated(&office.refresh(&first.refresh), "reuse");
    for token in [&first.access, &second.access] {
        assert_unauthenticated(&office.quick.get_as(token, "/api/x"), "a token of the family");
        assert_not_authenticated(&office.sign_out(token), "a token of the family");
    }
    assert_not_authenticated(&office.refresh(&second.refresh), "the refresh token of the family");
    assert!(office.passes(&other.access), "another session of the account goes on");
}

#[test]
fn a_refresh_token_and_an_access_token_are_not_taken_for_each_other() {
    let office = BackOffice::start();
    let pair = office.pair();
    assert_not_authenticated(&office.refresh(&pair.access), "an access token");
    assert_not_authenticated(&office.refresh("unknown"), "an unknown token");
    assert_not_authenticated(&office.refresh(&office.quick.tokens().refresh), "a refresh token of another API");
    assert_not_authenticated(&office.sign_out(&pair.refresh), "a refresh token");
    assert_unauthenticated(&office.quick.get_as(&pair.refresh, "/api/x"), "a refresh token");
    assert!(office.passes(&pair.access));
    Pair::of(&office.refresh(&pair.refresh));
}

#[test]
fn a_sign_out_ends_the_session_at_once_though_the_signature_still_verifies() {
    let office = BackOffice::start();
    let (pair, other) = (office.pair(), office.pair());
    assert!(office.passes(&pair.access));
    let out = office.sign_out(&pair.access);
    assert_eq!((out.status, out.body.len()), (200, 0), "{out:#?}");
    assert_unauthenticated(&office.quick.get_as(&pair.access, "/api/x"), "a token that was signed out");
    assert_not_authenticated(&office.sign_out(&pair.access), "a second sign-out");
    assert_not_authenticated(&office.refresh(&pair.refresh), "its refresh token");
    assert_eq!(office.quick.introspect(&pair.access).json(), json!({ "active": false }));
    let claims = office.verified(&pair.access);
    assert!(claims["exp"].as_u64().unwrap() > epoch_seconds(), "nothing in the token itself says so");
    assert!(office.passes(&other.access), "another session of the account goes on");
}

#[test]
fn a_sign_out_without_a_good_token_is_refused() {
    let office = BackOffice::start();
    let pair = office.pair();
    let request = || Request::new("POST", SIGN_OUT);
    for (request, what) in [
        (request(), "no token"),
        (request().bearer("unknown"), "an unknown token"),
        (request().field("X-Auth-Token", &pair.access), "a token elsewhere"),
        (request().bearer(&office.quick.tokens().access), "a token of another API"),
    ] {
        assert_not_authenticated(&office.send(&request), what);
    }
    assert!(office.passes(&pair.access));
}

#[test]
fn a_body_is_read_as_json_however_tools_label_it() {
    let office = BackOffice::start();
    let body = office.ordinary().to_string();
    let form = "application/x-www-form-urlencoded";
    for (request, what) in [
        (Request::new("POST", SIGN_IN).body(body.clone()), "no type"),
        (Request::post(SIGN_IN, form, body.clone()), "the type that curl says"),
        (Request::post(SIGN_IN, "application/json; charset=UTF-8", body.clone()), "a charset"),
    ] {
        let response = office.send(&request);
        assert_eq!(response.status, 200, "{what}: {response:#?}");
    }
    let encoded = Request::post(SIGN_IN, "application/json", body.clone()).field("Content-Encoding", "gzip");
    assert_message(&office.send(&encoded), 415, "a coding");
    for (kind, body, what) in [
        ("text/plain", &*body, "text"),
        ("multipart/form-data", &body, "a multipart form"),
        (form, "email=ada%40example.com&password=x", "a form"),
    ] {
        assert_message(&office.send(&Request::post(SIGN_IN, kind, body)), 415, what);
    }
    let large = format!("{body}{}", " ".repeat(17 * 1024));
    assert_message(&office.send(&Request::post(SIGN_IN, "application/json", large)), 413, "too large");
    let get = office.send(&Request::get(SIGN_IN));
    assert_message(&get, 405, "by GET");
    assert!(get.only("Allow").contains("POST"), "{get:#?}");
}

#[test]
fn a_body_that_is_not_what_it_should_be_is_told_and_counts_for_nothing() {
    let office = BackOffice::start();
    for (path, members) in [(SIGN_IN, &["email", "password"][..]), (CONFIRM, &["token", "code"]), (REFRESH, &["refreshToken"])]
    {
        let good: Value = members.iter().map(|name| ((*name).to_owned(), json!("ada@example.com"))).collect();
        for member in members {
            for wrong in [Value::Null, json!(7), json!(""), json!({})] {
                let mut body = good.clone();
                body[member] = wrong;
                assert_message(&office.post(path, &body), 400, &format!("{body} to {path}"));
            }
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(*member);
            assert_message(&office.post(path, &body), 400, &format!("{body} to {path}"));
        }
        let (good, member) = (good.to_string(), members[0]);
        let twice = good.replacen('{', &format!("{{\"{member}\":\"other@example.com\","), 1);
        for body in [&*twice, &format!("{good}x"), "[]", "{", "", "\"text\""] {
            assert_message(&office.send(&Request::post(path, "application/json", body)), 400, &format!("{body} to {path}"));
        }
    }
    assert_message(&office.sign_in_as("no address", "x"), 400, "no e-mail address");
    assert_message(&office.sign_in_as("ada@example.com", &"x".repeat(1025)), 400, "a long password");
    office.pair();
}

#[test]
fn whoever_is_not_who_they_say_is_told_the_same() {
    let office = BackOffice::start();
    let wrong = office.sign_in_as(office.quick.value("ACCOUNT_EMAIL"), "not the password");
    assert_not_authenticated(&wrong, "a wrong password");
    for (email, what) in [("nobody@example.com", "an unknown address"), (office.quick.value("TWOFA_EMAIL"), "with a factor")] {
        let response = office.sign_in_as(email, "not the password");
        assert_eq!((response.status, &response.body), (wrong.status, &wrong.body), "{what}");
    }
    for token in ["6f9619ff-8b86-4011-b42d-00c04fc964ff", "no uuid"] {
        assert_not_authenticated(&office.confirm(token, "123456"), token);
    }
}

#[test]
fn the_sixth_sign_in_within_a_minute_begins_a_pause_of_ten_minutes_for_sign_ins_alone() {
    let office = BackOffice::start();
    let first = office.pair();
    for _ in 0..4 {
        office.pair();
    }
    assert_paused(&office.sign_in(), "the sixth, though all are right");
    let again = office.sign_in();
    assert_message(&again, 429, "the seventh");
    assert!((1..=600).contains(&seconds_to_wait(&again)), "{again:#?}");
    Pair::of(&office.refresh(&first.refresh));
    let other = office.sign_in_as(office.quick.value("TWOFA_EMAIL"), office.quick.value("TWOFA_PASSWORD"));
    assert_eq!(other.status, 200, "another account: {other:#?}");
    assert_eq!(office.quick.sign_in(&office.quick.sign_in_body()).status, 200, "another API");
}

#[test]
fn an_address_of_nobody_is_limited_and_locked_like_an_account() {
    let office = BackOffice::start();
    let (known, unknown) = (office.quick.value("ACCOUNT_EMAIL"), "nobody@example.com");
    let tell = |email: &str| -> Vec<_> {
        let told = (0..7).map(|_| office.sign_in_as(email, "not the password"));
        told.map(|response| (response.status, response.body)).collect()
    };
    let statuses = |told: &[(u16, Vec<u8>)]| told.iter().map(|(status, _)| *status).collect::<Vec<_>>();
    let (of_account, of_nobody) = (tell(known), tell(unknown));
    assert_eq!(statuses(&of_account), [401, 401, 401, 401, 401, 429, 429]);
    assert_eq!(of_account, of_nobody);
    let locked = office.sign_in();
    assert_message(&locked, 429, "the right password");
    assert!((601..=1800).contains(&seconds_to_wait(&locked)), "the lock speaks, not the limit: {locked:#?}");
}

#[test]
fn spellings_of_an_address_share_one_limit() {
    let office = BackOffice::start();
    let (email, password) = (office.quick.value("ACCOUNT_EMAIL"), office.quick.value("ACCOUNT_PASSWORD"));
    let spellings = [email.to_owned(), email.to_uppercase(), format!(" {email} ")];
    for spelling in spellings.iter().cycle().take(5) {
        assert_eq!(office.sign_in_as(spelling, password).status, 200, "{spelling}");
    }
    assert_paused(&office.sign_in_as(&spellings[1], password), "the sixth");
}

#[test]
fn the_fourth_confirmation_within_a_minute_begins_a_pause_for_confirmations_alone() {
    let office = BackOffice::start();
    let token = office.asked();
    for attempt in 1..=3 {
        assert_not_authenticated(&office.confirm(&token, "000000"), &format!("attempt {attempt}"));
    }
    assert_paused(&office.confirm(&token, "123456"), "the fourth, though it is right");
    let next = office.asked();
    assert_message(&office.confirm(&next, "123456"), 429, "the pause is the account's");
    let pair = office.pair();
    Pair::of(&office.refresh(&pair.refresh));
}

#[test]
fn the_sixth_refresh_within_a_minute_begins_a_pause_for_refreshes_alone() {
    let office = BackOffice::start();
    let mut pair = office.pair();
    for _ in 0..5 {
        pair = Pair::of(&office.refresh(&pair.refresh));
    }
    assert_paused(&office.refresh(&pair.refresh), "the sixth");
    assert!(office.passes(&pair.access), "the session goes on");
    let other = office.pair();
    assert_message(&office.refresh(&other.refresh), 429, "the pause is the account's");
    let token = office.asked();
    Pair::of(&office.confirm(&token, "123456"));
}
