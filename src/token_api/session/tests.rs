//! The contract of the session API, exchange by exchange, through the router and a real database.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::model::{Secret, TokenKind};
use crate::plan;
use crate::store::cuts::{Fingerprint, Watermark};
use crate::token_api::tests::{Answer, Api};
use crate::tokens::CarrierKey;
use crate::tokens::account::AccountStatus;
use crate::tokens::client::ClientRight;
use crate::tokens::factor::Channel;
use crate::tokens::identity::{IdentityKind, NewIdentity, Role};
use crate::tokens::tests::world::{PASSWORD, World, new_account, new_client, secret, settings};

const EMAIL: &str = "ann@example.com";
const WRONG: &str =
    r#"{"code":"CREDENTIALS_INCORRECT","message":"The authentication credentials are not found or are incorrect."}"#;
const BAD_KEY: &str = r#"{"code":"API_KEY_INVALID","message":"The API key is missing or incorrect."}"#;
const BAD_TOKEN: &str = r#"{"code":"CREDENTIAL_INVALID","message":"The token is not valid."}"#;
const BAD_KIND: &str = r#"{"code":"CREDENTIAL_KIND","message":"This kind of token may not be used here."}"#;
const FORBIDDEN: &str = r#"{"code":"FORBIDDEN","message":"The auth token is not specified or is incorrect."}"#;

/// A program that calls the API.
struct Program {
    api: Api,
    key: Secret,
}

impl Program {
    async fn new() -> Self {
        Self::with(settings()).await
    }

    async fn with(plan: plan::TokenService) -> Self {
        let api = Api::over(World::with(plan).await);
        let key = api.world.service.add_api_key("program").await.unwrap();
        for channel in Channel::ALL {
            assert!(api.world.service.enrol_channel(api.world.account.id, channel).await.unwrap());
        }
        Self { api, key }
    }

    async fn call(&self, method: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/multi{path}")).header("api-key", self.key.expose());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.api.send(request.body(Bytes::from(body)).unwrap()).await
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(token), Some(body)).await
    }

    /// A call without a body.
    async fn ask(&self, path: &str, token: &str) -> Answer {
        self.call(Method::POST, path, Some(token), None).await
    }

    async fn log_in_as(&self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": { "value": password } });
        self.call(Method::POST, "/login_with_password", None, Some(&body)).await
    }

    async fn log_in(&self) -> String {
        self.log_in_as(EMAIL, PASSWORD).await.member("token")
    }

    async fn identities(&self, token: &str) -> Answer {
        self.call(Method::GET, "/identities", Some(token), None).await
    }

    /// A token for the account's own identity.
    async fn access_token(&self, token: &str) -> String {
        self.exchange(token, &self.own_identity().await).await.member("token")
    }

    async fn exchange(&self, token: &str, identity: &Value) -> Answer {
        self.post("/access_token", token, &json!({ "identity": identity })).await
    }

    async fn own_identity(&self) -> Value {
        let all = self.api.world.service.identities(self.api.world.account.id).await.unwrap();
        json!({ "type": "CONSUMER", "id": all[0].id.0.to_string() })
    }

    async fn verify(&self, token: &str, code: &str) -> Answer {
        self.post("/stepup/challenges/otp/SMS/verify", token, &json!({ "verificationCode": code })).await
    }

    /// How strongly the holder of a token is proven, as the gateway would be told.
    async fn acr(&self, token: &str) -> Option<String> {
        self.api.world.service.introspect(token).await.unwrap().and_then(|facts| facts.acr).map(String::from)
    }

    async fn is_good(&self, token: &str) -> bool {
        self.api.world.is_good(token).await
    }

    fn wait(&self, seconds: u64) {
        self.api.world.clock.advance(Duration::from_secs(seconds));
    }

    /// What a carrier tells a device answered.
    async fn device_answers(&self, id: &str, status: &str) -> Answer {
        let body = json!({ "id": id, "status": status }).to_string();
        self.callback(&body, "shared with the carrier", &body).await
    }

    async fn callback(&self, body: &str, key: &str, signed: &str) -> Answer {
        let at = crate::model::Clock::now(&*self.api.world.clock).wall;
        let request = Request::post("/multi/callbacks/push")
            .header("content-type", "application/json")
            .header("published-timestamp", at.as_millis())
            .header("signature", CarrierKey::new(&secret(key)).sign(at, signed.as_bytes()));
        self.api.send(request.body(Bytes::from(body.to_owned())).unwrap()).await
    }
}

#[tokio::test]
async fn a_login_gives_a_token_an_identity_and_credentials_key_by_key() {
    let program = Program::new().await;
    let answer = program.log_in_as(EMAIL, PASSWORD).await;
    let (token, account) = (answer.member("token"), program.api.world.account.id);
    let identity = program.own_identity().await;
    answer.is(
        200,
        &format!(
            r#"{{"token":"{token}","tokenType":"AUTH","identity":{{"type":"CONSUMER","id":{}}},"credentials":{{"type":"ROOT","id":"{account}"}}}}"#,
            identity["id"]
        ),
    );
    assert_eq!(answer.header("pragma"), "no-cache");
    assert_eq!(token.len(), 43);
    let facts = program.api.world.service.introspect(&token).await.unwrap().unwrap();
    assert_eq!((facts.kind, facts.client.as_deref()), (TokenKind::Auth, Some("program")));
    assert_eq!(facts.acr.as_deref(), Some("password"));
}

#[tokio::test]
async fn a_login_body_is_refused_with_every_member_that_is_wrong() {
    let program = Program::new().await;
    let refused =
        |fields: &str| format!(r#"{{"message":"The request is not valid.","syntaxErrors":{{"invalidFields":[{fields}]}}}}"#);
    let field =
        |name: &str, error: &str, params: &str| format!(r#"{{"params":[{params}],"fieldName":"{name}","error":"{error}"}}"#);
    let cases = [
        (json!({}), format!("{},{}", field("email", "REQUIRED", ""), field("password.value", "REQUIRED", ""))),
        (json!({ "email": EMAIL }), field("password.value", "REQUIRED", "")),
        (json!({ "email": EMAIL, "password": PASSWORD }), field("password.value", "REQUIRED", "")),
        (json!({ "email": EMAIL, "password": { "value": null } }), field("password.value", "REQUIRED", "")),
        (json!({ "email": EMAIL, "password": { "value": "" } }), field("password.value", "HAS_TEXT", "")),
        (json!({ "email": EMAIL, "password": { "value": 7 } }), field("password.value", "HAS_TEXT", "")),
        (json!({ "email": EMAIL, "password": { "value": "x".repeat(101) } }), field("password.value", "SIZE", r#""0","100""#)),
        (json!({ "email": "ann", "password": { "value": PASSWORD } }), field("email", "REGEX", "")),
    ];
    for (body, fields) in cases {
        let answer = program.call(Method::POST, "/login_with_password", None, Some(&body)).await;
        answer.is(400, &refused(&fields));
    }
    assert_eq!(program.api.world.service.password_checks(), 0, "nothing was counted or hashed");
}

#[tokio::test]
async fn a_body_that_can_be_read_in_two_ways_is_not_read() {
    let program = Program::new().await;
    let send = async |media_type: &str, body: String| {
        let request = Request::post("/multi/login_with_password").header("api-key", program.key.expose());
        program.api.send(request.header("content-type", media_type).body(Bytes::from(body)).unwrap()).await
    };
    let twice = format!(r#"{{"email":"{EMAIL}","email":"bob@example.com","password":{{"value":"{PASSWORD}"}}}}"#);
    let message = "The body must be one JSON object without repeated members.";
    let answer = send("application/json", twice).await;
    answer.is(400, &format!(r#"{{"message":"{message}","syntaxErrors":{{"invalidFields":[]}}}}"#));
    assert_eq!(send("text/plain", "{}".into()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(send("application/json", "x".repeat(20_000)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn every_call_needs_an_api_key_that_is_good() {
    let mut program = Program::new().await;
    let token = program.log_in().await;
    let good = std::mem::replace(&mut program.key, secret("wrong"));
    let answer = program.log_in_as(EMAIL, PASSWORD).await;
    answer.is(401, BAD_KEY);
    assert!(!answer.header("www-authenticate").is_empty());
    program.identities(&token).await.is(401, BAD_KEY);
    program.exchange(&token, &program.own_identity().await).await.is(401, BAD_KEY);
    let keyless = Request::post("/multi/login_with_password").header("content-type", "application/json");
    program.api.send(keyless.body(Bytes::from_static(b"{}")).unwrap()).await.is(401, BAD_KEY);
    program.key = good;
    assert_eq!(program.api.world.service.revoke_api_keys("program").await, Ok(1));
    program.log_in_as(EMAIL, PASSWORD).await.is(401, BAD_KEY);
    assert_eq!(program.api.world.service.password_checks(), 1, "only the first login");
}

#[tokio::test]
async fn a_token_is_good_for_the_program_through_which_it_was_issued_and_for_its_other_keys() {
    let mut program = Program::new().await;
    let token = program.log_in().await;
    program.key = program.api.world.service.add_api_key("another").await.unwrap();
    program.identities(&token).await.is(401, BAD_TOKEN);
    program.key = program.api.world.service.add_api_key("program").await.unwrap();
    assert_eq!(program.identities(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_password_an_unknown_address_and_a_disabled_account_are_answered_alike() {
    let program = Program::new().await;
    let service = &program.api.world.service;
    let bob = service.add_account(new_account("bob@example.com", "+40711111299")).await.unwrap();
    service.switch_account(bob.id, AccountStatus::Disabled).await.unwrap();
    program.log_in_as(EMAIL, "wrong").await.is(403, WRONG);
    program.log_in_as("nobody@example.com", PASSWORD).await.is(403, WRONG);
    program.log_in_as("bob@example.com", PASSWORD).await.is(403, WRONG);
    assert_eq!(service.password_checks(), 3, "each costs a hash");
}

#[tokio::test]
async fn five_failures_lock_for_half_an_hour_and_nobody_can_tell_whether_the_account_exists() {
    let program = Program::new().await;
    for email in [EMAIL, "nobody@example.com"] {
        for _ in 0..5 {
            program.log_in_as(email, "wrong").await.is(403, WRONG);
        }
        let locked = program.log_in_as(email, PASSWORD).await;
        assert_eq!((locked.status.as_u16(), locked.header("retry-after")), (423, "1800"), "{email}");
    }
    program.wait(1_799);
    let locked = program.log_in_as(EMAIL, PASSWORD).await;
    assert_eq!((locked.status.as_u16(), locked.header("retry-after")), (423, "1"), "tries do not extend it");
    program.wait(1);
    assert_eq!(program.log_in_as(EMAIL, PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_source_with_too_many_logins_pauses_for_a_minute_and_a_lock_speaks_before_that() {
    let mut plan = settings();
    plan.session.as_mut().unwrap().logins_per_source = 7;
    let program = Program::with(plan).await;
    for _ in 0..5 {
        program.log_in_as(EMAIL, "wrong").await.is(403, WRONG);
    }
    for _ in 0..10 {
        assert_eq!(program.log_in_as(EMAIL, PASSWORD).await.status, StatusCode::LOCKED);
    }
    for _ in 0..2 {
        program.log_in_as("nobody@example.com", "wrong").await.is(403, WRONG);
    }
    let answer = program.log_in_as("somebody@example.com", "wrong").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "60"));
    assert_eq!((answer.header("x-ratelimit-reset"), answer.header("x-ratelimit-limit")), ("60", "7, 7;w=60, 100;w=3600"));
    program.wait(60);
    program.log_in_as("somebody@example.com", "wrong").await.is(403, WRONG);
}

#[tokio::test]
async fn an_account_has_so_many_logins_in_any_hour_whoever_it_is_and_a_lock_speaks_before_that() {
    let mut plan = settings();
    plan.session.as_mut().unwrap().logins = 6;
    let program = Program::with(plan).await;
    let nobody = "nobody@example.com";
    for email in [EMAIL, nobody] {
        for _ in 0..3 {
            program.log_in_as(email, "wrong").await.is(403, WRONG);
        }
    }
    program.wait(60);
    for _ in 0..2 {
        program.log_in().await;
        program.log_in_as(nobody, "wrong").await.is(403, WRONG);
    }
    for _ in 0..4 {
        let locked = program.log_in_as(nobody, "wrong").await;
        assert_eq!((locked.status.as_u16(), locked.header("retry-after")), (423, "1800"));
    }
    program.log_in().await;
    program.wait(10);
    for wait in ["3530", "3530"] {
        let answer = program.log_in_as(EMAIL, PASSWORD).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, wait));
        assert_eq!((answer.header("x-ratelimit-reset"), answer.header("x-ratelimit-limit")), (wait, "6, 100;w=60, 6;w=3600"));
    }
    program.log_in_as("somebody@example.com", "wrong").await.is(403, WRONG);

    program.wait(3529);
    assert_eq!(program.log_in_as(EMAIL, PASSWORD).await.header("retry-after"), "1", "the window slides");
    program.wait(1);
    for _ in 0..3 {
        program.log_in().await;
    }
    assert_eq!(program.log_in_as(EMAIL, PASSWORD).await.header("retry-after"), "60", "three were a minute later");
    // The lock took its failures with it, but the hour's window has those that were admitted: five, of which three are over.
    for _ in 0..4 {
        program.log_in_as(nobody, "wrong").await.is(403, WRONG);
    }
    assert_eq!(program.log_in_as(nobody, "wrong").await.header("retry-after"), "60");
}

#[tokio::test]
async fn a_token_for_the_exchange_only_is_forbidden_everywhere_else() {
    let mut plan = settings();
    plan.session.as_mut().unwrap().auth_token = plan::AuthTokenUse::ExchangeOnly;
    let program = Program::with(plan).await;
    let auth = program.log_in().await;
    assert_eq!(program.identities(&auth).await.status, StatusCode::OK);
    let access = program.access_token(&auth).await;
    for path in ["/stepup/challenges/otp/SMS", "/stepup/challenges/push/AUTHY", "/authentication_factors/otp/SMS"] {
        program.ask(path, &auth).await.is(403, BAD_KIND);
    }
    program.verify(&auth, "123456").await.is(403, BAD_KIND);
    let passwords = json!({ "oldPassword": { "value": PASSWORD }, "newPassword": { "value": "correct horse" } });
    program.post("/passwords/update", &auth, &passwords).await.is(403, BAD_KIND);
    assert_eq!(program.ask("/stepup/challenges/otp/SMS", &access).await.status, StatusCode::NO_CONTENT);
    assert_eq!(program.verify(&access, "123456").await.status, StatusCode::NO_CONTENT);
    let changed = program.post("/passwords/update", &access, &passwords).await.member("token");
    program.ask("/stepup/challenges/otp/SMS", &changed).await.is(403, BAD_KIND);
    assert_eq!(program.ask("/logout", &changed).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_policy_of_composition_wants_every_kind_of_character_and_none_of_the_last_five_passwords() {
    let mut plan = settings();
    plan.session.as_mut().unwrap().password_policy = plan::PasswordPolicy::Composition;
    let program = Program::with(plan).await;
    let mut token = program.log_in().await;
    let change = async |token: &str, old: &str, new: &str| {
        let body = json!({ "oldPassword": { "value": old }, "newPassword": { "value": new } });
        program.post("/passwords/update", token, &body).await
    };
    let long = format!("Aa1!{}", "x".repeat(27));
    for (new, code) in [
        ("Aa1!xxx", "PASSWORD_TOO_SHORT"),
        (&*long, "PASSWORD_TOO_LONG"),
        ("aa1!xxxx", "PASSWORD_TOO_SIMPLE"),
        ("AA1!XXXX", "PASSWORD_TOO_SIMPLE"),
        ("Aaa!xxxx", "PASSWORD_TOO_SIMPLE"),
        ("Aa11 xxx", "PASSWORD_TOO_SIMPLE"),
    ] {
        change(&token, PASSWORD, new).await.is(409, &format!(r#"{{"errorCode":"{code}"}}"#));
    }
    let passwords: Vec<String> = (0..6).map(|number| format!("Aa{number}!xxxx")).collect();
    let mut present = PASSWORD;
    for new in &passwords {
        token = change(&token, present, new).await.member("token");
        present = new;
    }
    let used = r#"{"errorCode":"PASSWORD_ALREADY_USED"}"#;
    for last in &passwords[1..] {
        change(&token, present, last).await.is(409, used);
    }
    token = change(&token, present, &passwords[0]).await.member("token");
    change(&token, &passwords[0], &passwords[1]).await.member("token");
    assert_eq!(program.api.world.former_passwords(), 4, "with the present one they are five");
}

#[tokio::test]
async fn without_such_a_policy_former_passwords_may_come_back_and_are_not_kept() {
    let program = Program::new().await;
    let token = program.log_in().await;
    let change = async |token: &str, old: &str, new: &str| {
        let body = json!({ "oldPassword": { "value": old }, "newPassword": { "value": new } });
        program.post("/passwords/update", token, &body).await.member("token")
    };
    let token = change(&token, PASSWORD, "correct horse").await;
    change(&token, "correct horse", PASSWORD).await;
    assert_eq!(program.api.world.former_passwords(), 0);
}

#[tokio::test]
async fn a_challenge_is_begun_once_under_each_reference() {
    let program = Program::new().await;
    let token = program.log_in().await;
    let ask = async |path: &str, token: &str, references: &[&str]| {
        let mut request = Request::post(format!("/multi{path}")).header("api-key", program.key.expose());
        for reference in references {
            request = request.header("idempotency-ref", *reference);
        }
        program.api.send(request.header("authorization", format!("Bearer {token}")).body(Bytes::new()).unwrap()).await
    };
    let (code, push) = ("/stepup/challenges/otp/SMS", "/stepup/challenges/push/AUTHY");
    let begun = || program.api.world.challenges();
    assert_eq!((ask(code, &token, &["a"]).await.status, begun()), (StatusCode::NO_CONTENT, 1));
    assert_eq!((ask(code, &token, &["a"]).await.status, begun()), (StatusCode::NO_CONTENT, 1));
    ask(code, &token, &["b"]).await.is(409, r#"{"errorCode":"RETRY_IN_15SEC"}"#);
    program.wait(15);
    assert_eq!(
        (ask(code, &token, &["b"]).await.status, begun()),
        (StatusCode::NO_CONTENT, 2),
        "what was refused was not begun"
    );
    assert_eq!((ask(code, &token, &["a"]).await.status, begun()), (StatusCode::NO_CONTENT, 2), "and does not come back");
    let other = program.log_in().await;
    assert_eq!((ask(code, &other, &["a"]).await.status, begun()), (StatusCode::NO_CONTENT, 3), "another token");

    let first = ask(push, &token, &["a"]).await.member("id");
    assert_eq!(ask(push, &token, &["a"]).await.member("id"), first);
    ask(push, &token, &["b"]).await.is(409, r#"{"errorCode":"STATE_INVALID"}"#);
    assert_eq!(program.device_answers(&first, "DECLINED").await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(push, &token, &["a"]).await.member("id"), first, "nothing is asked anew");
    assert_ne!(ask(push, &token, &["b"]).await.member("id"), first);
    let long = "x".repeat(256);
    for bad in [&["a", "a"][..], &[""], &["two words"], &[&long]] {
        let invalid = r#"[{"params":["^[!-~]{1,255}$"],"fieldName":"idempotency-ref","error":"REGEX"}]"#;
        let told = r#"{"message":"The request is not valid.","syntaxErrors":{"invalidFields":"#;
        ask(code, &token, bad).await.is(400, &format!("{told}{invalid}}}}}"));
    }
}

#[tokio::test]
async fn a_reference_is_remembered_for_a_day_whatever_becomes_of_the_challenge() {
    let mut plan = settings();
    plan.session.as_mut().unwrap().idle = Duration::from_hours(48);
    plan.session.as_mut().unwrap().absolute = Duration::from_hours(48);
    let program = Program::with(plan).await;
    let token = program.log_in().await;
    let ask = async || {
        let request = Request::post("/multi/stepup/challenges/otp/SMS").header("api-key", program.key.expose());
        let request = request.header("idempotency-ref", "a").header("authorization", format!("Bearer {token}"));
        program.api.send(request.body(Bytes::new()).unwrap()).await.status
    };
    let tend = async || {
        let now = crate::model::Clock::now(&*program.api.world.clock);
        program.api.world.service.clean_up(now).await.unwrap();
    };
    assert_eq!(ask().await, StatusCode::NO_CONTENT);
    program.wait(86_399);
    tend().await;
    assert_eq!((ask().await, program.api.world.challenges()), (StatusCode::NO_CONTENT, 1));
    program.wait(1);
    tend().await;
    assert_eq!(program.api.world.challenges(), 0, "forgotten");
    assert_eq!((ask().await, program.api.world.challenges()), (StatusCode::NO_CONTENT, 1));
}

#[tokio::test]
async fn while_an_account_is_locked_its_sessions_go_on_but_give_no_other_tokens() {
    let program = Program::new().await;
    let token = program.log_in().await;
    for _ in 0..5 {
        program.log_in_as(EMAIL, "wrong").await.is(403, WRONG);
    }
    let locked = program.exchange(&token, &program.own_identity().await).await;
    assert_eq!((locked.status.as_u16(), locked.header("retry-after")), (423, "1800"));
    assert_eq!(program.identities(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_expired_password_gives_a_token_that_is_good_for_a_new_one_and_for_nothing_else() {
    let program = Program::new().await;
    assert!(program.api.world.service.expire_password(program.api.world.account.id).await.unwrap());
    program.log_in_as(EMAIL, "wrong").await.is(403, WRONG);
    let answer = program.log_in_as(EMAIL, PASSWORD).await;
    let token = answer.member("token");
    answer.is(409, &format!(r#"{{"token":"{token}"}}"#));
    let others = [
        "/logout",
        "/stepup/challenges/otp/SMS",
        "/stepup/challenges/push/AUTHY",
        "/authentication_factors/otp/SMS",
        "/authentication_factors/push/AUTHY",
    ];
    for path in others {
        program.ask(path, &token).await.is(403, BAD_KIND);
    }
    program.identities(&token).await.is(403, BAD_KIND);
    program.verify(&token, "123456").await.is(403, BAD_KIND);
    program.exchange(&token, &program.own_identity().await).await.is(403, FORBIDDEN);

    let answer = program.update_password(&token, PASSWORD, "five other plain words").await;
    let renewed = answer.member("token");
    let identity = program.own_identity().await;
    answer.is(
        200,
        &format!(
            r#"{{"passwordInfo":{{"identityId":{{"type":"CONSUMER","id":{}}},"expiryDate":0}},"token":"{renewed}"}}"#,
            identity["id"]
        ),
    );
    assert!(!program.is_good(&token).await, "it dies with the update");
    assert_eq!(program.identities(&renewed).await.status, StatusCode::OK, "what follows it is a token like any other");
    program.log_in_as(EMAIL, PASSWORD).await.is(403, WRONG);
    assert_eq!(program.log_in_as(EMAIL, "five other plain words").await.status, StatusCode::OK);
}

impl Program {
    async fn update_password(&self, token: &str, old: &str, new: &str) -> Answer {
        let body = json!({ "oldPassword": { "value": old }, "newPassword": { "value": new } });
        self.post("/passwords/update", token, &body).await
    }
}

#[tokio::test]
async fn a_new_password_must_be_new_and_of_a_good_length_and_the_old_one_right() {
    let program = Program::new().await;
    let token = program.log_in().await;
    let cases = [
        (PASSWORD, "short", "PASSWORD_TOO_SHORT"),
        (PASSWORD, &"x".repeat(101), "PASSWORD_TOO_LONG"),
        (PASSWORD, PASSWORD, "PASSWORD_ALREADY_USED"),
        ("wrong", "five other plain words", "PASSWORD_INCORRECT"),
    ];
    for (old, new, code) in cases {
        program.update_password(&token, old, new).await.is(409, &format!(r#"{{"errorCode":"{code}"}}"#));
    }
    let answer = program.post("/passwords/update", &token, &json!({ "oldPassword": { "value": "" } })).await;
    assert_eq!(answer.json()["syntaxErrors"]["invalidFields"].as_array().map(Vec::len), Some(2));
    assert!(program.is_good(&token).await, "nothing was changed");
}

#[tokio::test]
async fn guesses_at_the_old_password_count_like_failed_logins() {
    let program = Program::new().await;
    let token = program.log_in().await;
    for _ in 0..5 {
        program.update_password(&token, "wrong", "five other plain words").await.has(409, "errorCode", "PASSWORD_INCORRECT");
    }
    assert_eq!(program.update_password(&token, PASSWORD, "five other plain words").await.status, StatusCode::LOCKED);
    assert_eq!(program.log_in_as(EMAIL, PASSWORD).await.status, StatusCode::LOCKED);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_at_the_gateway_too() {
    let program = Program::new().await;
    let (here, elsewhere) = (program.log_in().await, program.log_in().await);
    let world = &program.api.world;
    let before = world.cuts.sequence();
    let remembered = world.service.introspect(&elsewhere).await.unwrap().unwrap();
    let renewed = program.update_password(&here, PASSWORD, "five other plain words").await.member("token");
    assert!(!program.is_good(&elsewhere).await && !program.is_good(&here).await);
    assert!(!world.cuts.spare(&remembered, Fingerprint::of(&elsewhere), &Watermark::at(before)));
    assert!(program.is_good(&renewed).await);
}

#[tokio::test]
async fn a_password_with_a_life_tells_when_it_ends_and_then_it_has() {
    let mut plan = settings();
    plan.session.as_mut().unwrap().password_life = Some(Duration::from_hours(1));
    let program = Program::with(plan).await;
    let answer = program.update_password(&program.log_in().await, PASSWORD, "five other plain words").await;
    assert_eq!(answer.json()["passwordInfo"]["expiryDate"], json!(1_773_138_765_000_i64));
    program.wait(3_599);
    assert_eq!(program.log_in_as(EMAIL, "five other plain words").await.status, StatusCode::OK);
    program.wait(1);
    assert_eq!(program.log_in_as(EMAIL, "five other plain words").await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn identities_are_listed_and_exchanged_for_tokens_that_act_as_them() {
    let program = Program::new().await;
    let service = &program.api.world.service;
    let new = NewIdentity { kind: IdentityKind::Corporate, name: "Works Ltd".into(), role: Role::User };
    let works = service.add_identity(program.api.world.account.id, new).await.unwrap().id.0;
    let auth = program.log_in().await;
    let own = program.own_identity().await;
    let listed = program.identities(&auth).await;
    listed.is(
        200,
        &format!(
            r#"[{{"id":{{"type":"CONSUMER","id":{}}},"name":"{EMAIL}"}},{{"id":{{"type":"CORPORATE","id":"{works}"}},"name":"Works Ltd"}}]"#,
            own["id"]
        ),
    );
    let answer = program.exchange(&auth, &json!({ "type": "CORPORATE", "id": works.to_string() })).await;
    let (access, account) = (answer.member("token"), program.api.world.account.id);
    answer.is(
        200,
        &format!(
            r#"{{"token":"{access}","identity":{{"type":"CORPORATE","id":"{works}"}},"credentials":{{"type":"USER","id":"{account}"}}}}"#
        ),
    );
    let facts = service.introspect(&access).await.unwrap().unwrap();
    assert_eq!(facts.kind, TokenKind::Access);
    assert!(program.is_good(&auth).await, "the token from the login lives on");
    assert_eq!(program.identities(&access).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_exchange_names_an_identity_that_the_account_has() {
    let program = Program::new().await;
    let auth = program.log_in().await;
    let bob = program.api.world.service.add_account(new_account("bob@example.com", "+40711111299")).await.unwrap();
    let foreign = program.api.world.service.identities(bob.id).await.unwrap()[0].id.0.to_string();
    let own = program.own_identity().await;
    for identity in [
        json!({ "type": "CONSUMER", "id": foreign }),
        json!({ "type": "CONSUMER", "id": "99999999999999999999" }),
        json!({ "type": "CORPORATE", "id": own["id"] }),
    ] {
        assert_eq!(program.exchange(&auth, &identity).await.status, StatusCode::FORBIDDEN, "{identity}");
    }
    let wrong = [
        (json!({}), json!([{ "params": [], "fieldName": "identity", "error": "REQUIRED" }])),
        (
            json!({ "identity": { "type": "ROBOT", "id": "x" } }),
            json!([
                { "params": ["CONSUMER", "CORPORATE"], "fieldName": "identity.type", "error": "IN" },
                { "params": ["^[0-9]+$"], "fieldName": "identity.id", "error": "REGEX" },
            ]),
        ),
    ];
    for (body, fields) in wrong {
        let answer = program.post("/access_token", &auth, &body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["syntaxErrors"]["invalidFields"]), (400, &fields));
    }
}

#[tokio::test]
async fn an_exchange_without_a_good_token_is_forbidden_not_unauthorised() {
    let program = Program::new().await;
    let identity = program.own_identity().await;
    let body = json!({ "identity": identity });
    program.call(Method::POST, "/access_token", None, Some(&body)).await.is(403, FORBIDDEN);
    program.exchange("unknown", &identity).await.is(403, FORBIDDEN);
    let auth = program.log_in().await;
    assert_eq!(program.ask("/logout", &auth).await.status, StatusCode::NO_CONTENT);
    program.exchange(&auth, &identity).await.is(403, FORBIDDEN);
    let misplaced = Request::post("/multi/access_token")
        .header("api-key", program.key.expose())
        .header("content-type", "application/json")
        .header("authorization", format!("Basic {auth}"));
    program.api.send(misplaced.body(Bytes::from(body.to_string())).unwrap()).await.is(403, FORBIDDEN);
}

#[tokio::test]
async fn other_operations_without_a_good_token_are_unauthorised() {
    let program = Program::new().await;
    program.identities("unknown").await.is(401, BAD_TOKEN);
    let answer = program.call(Method::GET, "/identities", None, None).await;
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, "Bearer realm=\"portcullis\""));
}

#[tokio::test]
async fn a_session_ends_300_seconds_after_its_last_use_and_every_use_counts() {
    let program = Program::new().await;
    let idle = program.log_in().await;
    program.wait(299);
    assert!(program.is_good(&idle).await, "to be looked at is no use");
    program.wait(1);
    program.identities(&idle).await.is(401, BAD_TOKEN);

    let used = program.log_in().await;
    let access = program.access_token(&used).await;
    for _ in 0..10 {
        program.wait(290);
        assert_eq!(program.identities(&access).await.status, StatusCode::OK);
    }
    program.wait(299);
    assert_eq!(program.identities(&used).await.status, StatusCode::OK, "the session is one, whichever token is used");
    program.wait(300);
    program.identities(&used).await.is(401, BAD_TOKEN);
    program.identities(&access).await.is(401, BAD_TOKEN);
}

#[tokio::test]
async fn what_the_gateway_lets_through_counts_as_use_without_asking_the_service() {
    let program = Program::new().await;
    let token = program.log_in().await;
    let facts = program.api.world.service.introspect(&token).await.unwrap().unwrap();
    let principal = crate::model::Principal::new(facts).unwrap();
    program.wait(290);
    let now = crate::model::Clock::now(&*program.api.world.clock);
    assert!(principal.is_current(now, Duration::ZERO));
    principal.note_use(now.tick);
    program.wait(299);
    let now = crate::model::Clock::now(&*program.api.world.clock);
    assert!(principal.is_current(now, Duration::ZERO));
    assert_eq!(program.identities(&token).await.status, StatusCode::OK, "the service has the same clock");
    program.wait(300);
    assert!(!principal.is_current(crate::model::Clock::now(&*program.api.world.clock), Duration::ZERO));
    program.identities(&token).await.is(401, BAD_TOKEN);
}

#[tokio::test]
async fn a_question_of_another_gateway_is_a_use_and_is_told_the_end_as_things_stand() {
    let program = Program::new().await;
    let client = new_client("gateway", &[ClientRight::Introspection]);
    let client_secret = program.api.world.service.add_client(client).await.unwrap();
    let token = program.log_in().await;
    let ask = async || {
        let body = format!("token={token}&client_id=gateway&client_secret={}", client_secret.expose());
        let request = Request::post("/oauth2/introspect").header("content-type", "application/x-www-form-urlencoded");
        program.api.send(request.body(Bytes::from(body)).unwrap()).await.json()
    };
    for _ in 0..3 {
        program.wait(299);
        let now = crate::model::Clock::now(&*program.api.world.clock).wall.as_secs();
        let told = ask().await;
        assert_eq!((&told["active"], &told["token_kind"]), (&json!(true), &json!("auth")));
        assert_eq!(told["exp"], json!(now + 300));
    }
    program.wait(300);
    assert_eq!(ask().await, json!({ "active": false }));
}

#[tokio::test]
async fn a_session_ends_after_twelve_hours_however_much_it_is_used() {
    let program = Program::new().await;
    let token = program.log_in().await;
    for _ in 0..(12 * 3_600 / 240 - 1) {
        program.wait(240);
        assert_eq!(program.identities(&token).await.status, StatusCode::OK);
    }
    program.wait(239);
    let access = program.access_token(&token).await;
    program.wait(1);
    program.identities(&token).await.is(401, BAD_TOKEN);
    program.identities(&access).await.is(401, BAD_TOKEN);
}

#[tokio::test]
async fn uses_that_were_written_down_survive_a_restart_and_a_logout_does_too() {
    let mut program = Program::new().await;
    let (used, unwritten, ended) = (program.log_in().await, program.log_in().await, program.log_in().await);
    program.wait(200);
    assert_eq!(program.identities(&used).await.status, StatusCode::OK);
    program.api.world.service.write_uses().await.unwrap();
    assert_eq!(program.identities(&unwritten).await.status, StatusCode::OK);
    assert_eq!(program.ask("/logout", &ended).await.status, StatusCode::NO_CONTENT);
    let Api { world, service } = program.api;
    drop(service);
    program.api = Api::over(world.restart().await);
    assert!(!program.is_good(&ended).await);
    program.wait(100);
    assert!(program.is_good(&used).await);
    assert!(!program.is_good(&unwritten).await, "a use that is lost makes a session older, never younger");
}

#[tokio::test]
async fn a_use_is_written_down_at_most_every_15_seconds_and_after_a_crash_a_session_is_older_never_younger() {
    for (crash, end) in [(true, 310), (false, 320)] {
        let mut program = Program::new().await;
        let token = program.log_in().await;
        for _ in 0..2 {
            program.wait(10);
            assert_eq!(program.identities(&token).await.status, StatusCode::OK);
            program.api.world.service.write_uses().await.unwrap();
        }
        if !crash {
            program.api.world.service.write_all_uses().await.unwrap();
        }
        let Api { world, service } = program.api;
        drop(service);
        program.api = Api::over(world.restart().await);
        program.wait(end - 20 - 1);
        assert!(program.is_good(&token).await, "crash: {crash}");
        program.wait(1);
        assert!(!program.is_good(&token).await, "crash: {crash}");
    }
}

#[tokio::test]
async fn setting_the_wall_clock_neither_ends_a_session_of_disuse_nor_lengthens_it_nor_brings_it_back() {
    let mut program = Program::new().await;
    let start = crate::model::Clock::now(&*program.api.world.clock).wall;
    let hour = Duration::from_hours(1);
    for wall in [start.before(hour), start.after(hour), start] {
        let token = program.log_in().await;
        program.wait(200);
        program.api.world.clock.set_wall(wall);
        program.wait(99);
        assert!(program.is_good(&token).await);
        program.wait(1);
        program.identities(&token).await.is(401, BAD_TOKEN);
        program.api.world.clock.set_wall(wall.before(hour));
        program.identities(&token).await.is(401, BAD_TOKEN);

        program.api.world.service.write_uses().await.unwrap();
        let Api { world, service } = program.api;
        drop(service);
        program.api = Api::over(world.restart().await);
        program.identities(&token).await.is(401, BAD_TOKEN);
    }
}

#[tokio::test]
async fn a_logout_ends_the_session_with_every_token_of_it_and_no_other() {
    let program = Program::new().await;
    let (auth, other) = (program.log_in().await, program.log_in().await);
    let access = program.access_token(&auth).await;
    let world = &program.api.world;
    let before = world.cuts.sequence();
    let remembered = world.service.introspect(&access).await.unwrap().unwrap();
    let answer = program.ask("/logout", &access).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    assert!(!world.cuts.spare(&remembered, Fingerprint::of(&access), &Watermark::at(before)), "the gateway knows at once");
    program.ask("/logout", &auth).await.is(401, BAD_TOKEN);
    program.ask("/logout", &access).await.is(401, BAD_TOKEN);
    program.identities(&auth).await.is(401, BAD_TOKEN);
    assert_eq!(program.identities(&other).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_code_steps_up_the_token_for_which_it_was_sent_and_those_that_follow_from_it() {
    let program = Program::new().await;
    let token = program.log_in().await;
    let sibling = program.access_token(&token).await;
    let answer = program.ask("/stepup/challenges/otp/SMS", &token).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    assert_eq!(program.acr(&token).await.as_deref(), Some("password"), "to ask is not to prove");
    program.wait(10);
    let world = &program.api.world;
    let before = world.cuts.sequence();
    let remembered = world.service.introspect(&token).await.unwrap().unwrap();
    let answer = program.verify(&token, "123456").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    assert!(!world.cuts.spare(&remembered, Fingerprint::of(&token), &Watermark::at(before)), "the gateway asks again");
    let facts = world.service.introspect(&token).await.unwrap().unwrap();
    assert_eq!(facts.acr.as_deref(), Some("second-factor"));
    assert_eq!(facts.amr.iter().map(|method| &**method).collect::<Vec<_>>(), ["pwd", "otp"]);
    assert_eq!(facts.auth_time, Some(crate::model::Clock::now(&*world.clock).wall), "it was proven just now");
    assert_eq!(program.acr(&sibling).await.as_deref(), Some("password"), "an earlier sibling stays as it was");
    let heir = program.access_token(&token).await;
    assert_eq!(program.acr(&heir).await.as_deref(), Some("second-factor"), "a later one inherits");
    assert_eq!(program.acr(&program.log_in().await).await.as_deref(), Some("password"), "another session knows nothing of it");
    program.verify(&token, "123456").await.has(409, "errorCode", "STATE_INVALID");
}

#[tokio::test]
async fn a_code_is_wrong_five_times_and_void_after() {
    let program = Program::new().await;
    let token = program.log_in().await;
    program.verify(&token, "123456").await.has(409, "errorCode", "STATE_INVALID");
    program.ask("/stepup/challenges/otp/SMS", &token).await;
    for _ in 0..5 {
        program.verify(&token, "654321").await.has(409, "errorCode", "VERIFICATION_CODE_INVALID");
    }
    program.verify(&token, "123456").await.has(409, "errorCode", "CHALLENGE_LIMIT_EXCEEDED");
    program.wait(15);
    assert_eq!(program.ask("/stepup/challenges/otp/SMS", &token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(program.verify(&token, "123456").await.status, StatusCode::NO_CONTENT, "a new one has its own tries");
}

#[tokio::test]
async fn a_code_can_be_answered_for_five_minutes() {
    let program = Program::new().await;
    let token = program.log_in().await;
    program.ask("/stepup/challenges/otp/SMS", &token).await;
    program.wait(299);
    program.identities(&token).await;
    program.wait(1);
    program.verify(&token, "123456").await.has(409, "errorCode", "VERIFICATION_CODE_EXPIRED");
    program.ask("/stepup/challenges/otp/SMS", &token).await;
    program.wait(299);
    assert_eq!(program.verify(&token, "123456").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_code_answers_for_no_other_token_channel_or_purpose() {
    let program = Program::new().await;
    let (token, other) = (program.log_in().await, program.log_in().await);
    let access = program.access_token(&token).await;
    program.ask("/stepup/challenges/otp/SMS", &token).await;
    for bystander in [&other, &access] {
        program.verify(bystander, "123456").await.has(409, "errorCode", "STATE_INVALID");
    }
    let body = json!({ "verificationCode": "123456" });
    let enrolment = program.post("/authentication_factors/otp/SMS/verify", &token, &body).await;
    enrolment.has(409, "errorCode", "CHANNEL_ALREADY_REGISTERED");
    let push = program.post("/stepup/challenges/otp/AUTHY/verify", &token, &body).await;
    push.has(409, "errorCode", "CHANNEL_NOT_SUPPORTED");
    assert_eq!(program.verify(&token, "123456").await.status, StatusCode::NO_CONTENT, "its own is untouched");
}

#[tokio::test]
async fn codes_for_one_token_come_15_seconds_apart_and_a_new_one_voids_the_old() {
    let program = Program::new().await;
    let (token, other) = (program.log_in().await, program.log_in().await);
    program.ask("/stepup/challenges/otp/SMS", &token).await;
    let early = program.ask("/stepup/challenges/otp/SMS", &token).await;
    early.has(409, "errorCode", "RETRY_IN_15SEC");
    assert_eq!(early.header("retry-after"), "15");
    assert_eq!(program.ask("/stepup/challenges/otp/SMS", &other).await.status, StatusCode::NO_CONTENT, "each its own");
    for _ in 0..5 {
        program.verify(&token, "654321").await;
    }
    program.wait(15);
    assert_eq!(program.ask("/stepup/challenges/otp/SMS", &token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(program.verify(&token, "123456").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_account_is_sent_ten_codes_in_ten_minutes_however_many_tokens_ask() {
    let program = Program::new().await;
    for _ in 0..10 {
        let token = program.log_in().await;
        assert_eq!(program.ask("/stepup/challenges/otp/SMS", &token).await.status, StatusCode::NO_CONTENT);
    }
    let token = program.log_in().await;
    program.ask("/stepup/challenges/otp/SMS", &token).await.has(409, "errorCode", "CHALLENGE_LIMIT_EXCEEDED");
    let pushed = program.ask("/stepup/challenges/push/AUTHY", &token).await;
    assert_eq!(pushed.status, StatusCode::OK, "another channel has its own budget");
}

#[tokio::test]
async fn a_channel_must_exist_ask_in_this_way_and_be_enrolled() {
    let program = Program::new().await;
    let token = program.log_in().await;
    for path in ["otp/EMAIL", "otp/AUTHY", "otp/sms", "push/SMS", "push/X"] {
        let answer = program.ask(&format!("/stepup/challenges/{path}"), &token).await;
        answer.is(409, r#"{"errorCode":"CHANNEL_NOT_SUPPORTED"}"#);
    }
    program.api.world.service.add_account(new_account("bob@example.com", "+40711111299")).await.unwrap();
    let bob = program.log_in_as("bob@example.com", PASSWORD).await.member("token");
    for path in ["otp/SMS", "push/AUTHY", "push/BIOMETRIC"] {
        let answer = program.ask(&format!("/stepup/challenges/{path}"), &bob).await;
        answer.is(409, r#"{"errorCode":"CHANNEL_NOT_REGISTERED"}"#);
    }
}

#[tokio::test]
async fn a_device_that_approves_steps_its_token_up() {
    let program = Program::new().await;
    let token = program.log_in().await;
    let answer = program.ask("/stepup/challenges/push/BIOMETRIC", &token).await;
    let id = answer.member("id");
    answer.is(200, &format!(r#"{{"id":"{id}"}}"#));
    assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
    program.ask("/stepup/challenges/push/BIOMETRIC", &token).await.has(409, "errorCode", "STATE_INVALID");
    assert_eq!(program.acr(&token).await.as_deref(), Some("password"));
    assert_eq!(program.device_answers(&id, "APPROVED").await.status, StatusCode::NO_CONTENT);
    let facts = program.api.world.service.introspect(&token).await.unwrap().unwrap();
    assert_eq!(facts.acr.as_deref(), Some("second-factor"));
    assert_eq!(facts.amr.iter().map(|method| &**method).collect::<Vec<_>>(), ["pwd", "hwk"]);
    program.device_answers(&id, "APPROVED").await.has(409, "errorCode", "STATE_INVALID");
    assert_eq!(program.ask("/stepup/challenges/push/BIOMETRIC", &token).await.status, StatusCode::OK, "none is in flight");
}

#[tokio::test]
async fn a_device_that_declines_or_answers_too_late_changes_nothing() {
    let program = Program::new().await;
    let token = program.log_in().await;
    let declined = program.ask("/stepup/challenges/push/AUTHY", &token).await.member("id");
    assert_eq!(program.device_answers(&declined, "DECLINED").await.status, StatusCode::NO_CONTENT);
    program.device_answers(&declined, "APPROVED").await.has(409, "errorCode", "STATE_INVALID");
    let late = program.ask("/stepup/challenges/push/AUTHY", &token).await.member("id");
    program.wait(299);
    program.identities(&token).await;
    program.wait(1);
    program.device_answers(&late, "APPROVED").await.has(409, "errorCode", "STATE_INVALID");
    assert_eq!(program.acr(&token).await.as_deref(), Some("password"));
    assert_eq!(program.ask("/stepup/challenges/push/AUTHY", &token).await.status, StatusCode::OK, "time ends a question too");
}

#[tokio::test]
async fn what_a_device_answered_is_believed_only_if_it_is_signed() {
    let program = Program::new().await;
    let token = program.log_in().await;
    let id = program.ask("/stepup/challenges/push/AUTHY", &token).await.member("id");
    let body = json!({ "id": id, "status": "APPROVED" }).to_string();
    assert_eq!(program.callback(&body, "another key", &body).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(program.callback(&body, "shared with the carrier", "{}").await.status, StatusCode::UNAUTHORIZED);
    let unsigned = Request::post("/multi/callbacks/push").header("content-type", "application/json");
    assert_eq!(program.api.send(unsigned.body(Bytes::from(body)).unwrap()).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(program.acr(&token).await.as_deref(), Some("password"));
    program.device_answers(&id, "PERHAPS").await.has(400, "message", "The request is not valid.");
    program.device_answers("12", "APPROVED").await.has(409, "errorCode", "STATE_INVALID");
}

#[tokio::test]
async fn without_a_key_for_callbacks_nothing_is_pushed() {
    let mut plan = settings();
    plan.session.as_mut().unwrap().callback_secret = None;
    let program = Program::with(plan).await;
    let token = program.log_in().await;
    program.ask("/stepup/challenges/push/AUTHY", &token).await.has(409, "errorCode", "CHANNEL_NOT_SUPPORTED");
    assert_eq!(program.device_answers("12", "APPROVED").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn channels_are_enrolled_by_answering_on_them() {
    let program = Program::new().await;
    program.api.world.service.add_account(new_account("bob@example.com", "+40711111299")).await.unwrap();
    let token = program.log_in_as("bob@example.com", PASSWORD).await.member("token");
    assert_eq!(program.ask("/authentication_factors/otp/SMS", &token).await.status, StatusCode::NO_CONTENT);
    let answer = |code: &str| json!({ "verificationCode": code });
    let path = "/authentication_factors/otp/SMS/verify";
    program.post(path, &token, &answer("654321")).await.has(409, "errorCode", "VERIFICATION_CODE_INVALID");
    assert_eq!(program.post(path, &token, &answer("123456")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(program.acr(&token).await.as_deref(), Some("password"), "enrolling is no step-up");
    program.ask("/authentication_factors/otp/SMS", &token).await.has(409, "errorCode", "CHANNEL_ALREADY_REGISTERED");
    assert_eq!(program.ask("/stepup/challenges/otp/SMS", &token).await.status, StatusCode::NO_CONTENT);

    let id = program.ask("/authentication_factors/push/AUTHY", &token).await.member("id");
    program.ask("/stepup/challenges/push/AUTHY", &token).await.has(409, "errorCode", "CHANNEL_NOT_REGISTERED");
    assert_eq!(program.device_answers(&id, "APPROVED").await.status, StatusCode::NO_CONTENT);
    assert_eq!(program.ask("/stepup/challenges/push/AUTHY", &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_account_without_a_phone_number_cannot_enrol_text_messages() {
    let program = Program::new().await;
    let mut new = new_account("bob@example.com", "+40711111299");
    new.phone = None;
    program.api.world.service.add_account(new).await.unwrap();
    let token = program.log_in_as("bob@example.com", PASSWORD).await.member("token");
    program.ask("/authentication_factors/otp/SMS", &token).await.has(409, "errorCode", "MOBILE_NUMBER_NOT_REGISTERED");
}

#[tokio::test]
async fn a_code_has_at_most_50_characters_and_is_required() {
    let program = Program::new().await;
    let token = program.log_in().await;
    for (code, error) in [(json!(null), "REQUIRED"), (json!(""), "HAS_TEXT"), (json!("1".repeat(51)), "SIZE")] {
        let body = json!({ "verificationCode": code });
        let answer = program.post("/stepup/challenges/otp/SMS/verify", &token, &body).await;
        let field = &answer.json()["syntaxErrors"]["invalidFields"][0];
        assert_eq!(
            (answer.status.as_u16(), &field["fieldName"], &field["error"]),
            (400, &json!("verificationCode"), &json!(error))
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_is_told_with_its_method() {
    let program = Program::new().await;
    for path in ["", "/", "/unknown", "/stepup", "/stepup/challenges/otp", "/stepup/challenges/otp/SMS/x", "/identities/1"] {
        let answer = program.call(Method::GET, path, None, None).await;
        answer.is(404, r#"{"code":"NO_ROUTE","message":"There is nothing at this address."}"#);
    }
    let answer = program.call(Method::GET, "/login_with_password", None, None).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
    let answer = program.call(Method::POST, "/identities", None, None).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET"));
}
