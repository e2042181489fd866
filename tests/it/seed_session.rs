//! Contract B against the quick start: every operation, every kind of token, and what each refusal says to the key.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Quickstart, Request, Response, all_at_once, assert_complete, assert_dressed, keys, now, seconds_to_wait};

const LOGIN: &str = "/login_with_password";
const CODE: &str = "/stepup/challenges/otp/SMS";
const VERIFY: &str = "/stepup/challenges/otp/SMS/verify";

/// The operations for which a user is meant, apart from the exchange: method, path, and a body that is good.
const FOR_USERS: [(&str, &str, &str); 9] = [
    ("GET", "/identities", ""),
    ("POST", CODE, ""),
    ("POST", VERIFY, r#"{"verificationCode":"000000"}"#),
    ("POST", "/stepup/challenges/push/AUTHY", ""),
    ("POST", "/authentication_factors/otp/SMS", ""),
    ("POST", "/authentication_factors/otp/SMS/verify", r#"{"verificationCode":"000000"}"#),
    ("POST", "/authentication_factors/push/BIOMETRIC", ""),
    ("POST", "/passwords/update", r#"{"oldPassword":{"value":"wrong one"},"newPassword":{"value":"long enough"}}"#),
    ("POST", "/logout", ""),
];

/// A program that calls the quick start.
struct Program {
    quick: Quickstart,
}

impl Program {
    #[track_caller]
    fn start() -> Self {
        Self { quick: Quickstart::start() }
    }

    /// The quick start with keys of the session API's section changed: each line takes the place of the one for its key.
    #[track_caller]
    fn with(lines: &[&str]) -> Self {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let change = |config: String| {
            let kept = config.lines().filter(|line| lines.iter().all(|new| key(new) != key(line)));
            let kept = kept.collect::<Vec<_>>().join("\n");
            kept.replace("[token_service.session]", &format!("[token_service.session]\n{}", lines.join("\n")))
        };
        Self { quick: Quickstart::start().reconfigured(change) }
    }

    /// A request with the API key.
    fn request(&self, method: &str, path: &str, body: &str) -> Request {
        let request = keyless(method, path, body);
        request.field("api-key", self.quick.value("SESSION_API_KEY"))
    }

    /// Sends it, and checks what every answer of this API has in common.
    #[track_caller]
    fn send(&self, request: &Request) -> Response {
        let response = self.quick.ask(request);
        assert_is_of_the_api(&response);
        response
    }

    #[track_caller]
    fn call(&self, (method, path, body): (&str, &str, &str), token: &str) -> Response {
        self.send(&self.request(method, path, body).bearer(token))
    }

    /// A POST without a body.
    #[track_caller]
    fn ask(&self, path: &str, token: &str) -> Response {
        self.call(("POST", path, ""), token)
    }

    #[track_caller]
    fn post(&self, path: &str, token: &str, body: &Value) -> Response {
        self.call(("POST", path, &body.to_string()), token)
    }

    #[track_caller]
    fn log_in_with(&self, email: &str, password: &str) -> Response {
        self.send(&self.request("POST", LOGIN, &json!({ "email": email, "password": { "value": password } }).to_string()))
    }

    #[track_caller]
    fn log_in_wrongly(&self, email: &str) -> Response {
        self.log_in_with(email, "not the password")
    }

    /// What a login of the ordinary account answers.
    #[track_caller]
    fn logged_in(&self) -> Value {
        let response = self.log_in_with(self.quick.value("ACCOUNT_EMAIL"), self.quick.value("ACCOUNT_PASSWORD"));
        assert_eq!(response.status, 200, "{response:#?}");
        response.json()
    }

    /// An AUTH token of the ordinary account.
    #[track_caller]
    fn token(&self) -> String {
        text(&self.logged_in()["token"])
    }

    /// A TEMP token.
    #[track_caller]
    fn temporary(&self) -> String {
        let response = self.log_in_with(self.quick.value("EXPIRED_EMAIL"), self.quick.value("EXPIRED_PASSWORD"));
        assert_eq!(response.status, 409, "{response:#?}");
        text(&response.json()["token"])
    }

    #[track_caller]
    fn exchange(&self, token: &str, identity: &Value) -> Response {
        self.post("/access_token", token, &json!({ "identity": identity }))
    }

    /// An ACCESS token of the session of this token.
    #[track_caller]
    fn access(&self, token: &str) -> String {
        let identity = self.call(("GET", "/identities", ""), token).json()[0]["id"].clone();
        let response = self.exchange(token, &identity);
        assert_eq!(response.status, 200, "{response:#?}");
        text(&response.json()["token"])
    }

    #[track_caller]
    fn verify(&self, token: &str, code: &str) -> Response {
        self.post(VERIFY, token, &json!({ "verificationCode": code }))
    }

    #[track_caller]
    fn step_up(&self, token: &str) {
        assert_done(&self.ask(CODE, token));
        assert_done(&self.verify(token, "123456"));
    }

    #[track_caller]
    fn update_password(&self, token: &str, old: &str, new: &str) -> Response {
        self.post("/passwords/update", token, &json!({ "oldPassword": { "value": old }, "newPassword": { "value": new } }))
    }

    /// The status of the route that needs a second factor.
    #[track_caller]
    fn sensitive(&self, token: &str) -> u16 {
        self.quick.get_as(token, "/api/sensitive").status
    }

    /// Whether a token passes on an ordinary route.
    #[track_caller]
    fn passes(&self, token: &str) -> bool {
        self.quick.get_as(token, "/api/x").status == 200
    }

    /// What a carrier says a device answered.
    #[track_caller]
    fn device_answers(&self, id: &str, status: &str) -> Response {
        self.callback(&json!({ "id": id, "status": status }).to_string(), self.quick.value("SESSION_CALLBACK_SECRET"), now())
    }

    #[track_caller]
    fn callback(&self, body: &str, secret: &str, at: SystemTime) -> Response {
        let at = at.duration_since(UNIX_EPOCH).unwrap().as_millis().to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, format!("{at}.{body}").as_bytes()));
        let request = keyless("POST", "/callbacks/push", body);
        self.send(&request.field("published-timestamp", &at).field("signature", &signature))
    }

    /// Starts a push and gives its id.
    #[track_caller]
    fn push(&self, path: &str, token: &str) -> String {
        let response = self.ask(path, token);
        assert_eq!(response.status, 200, "{response:#?}");
        let body = response.json();
        assert_eq!(keys(&body), BTreeSet::from(["id"]));
        assert!(is_number(&body["id"]), "{body}");
        text(&body["id"])
    }
}

fn keyless(method: &str, path: &str, body: &str) -> Request {
    let request = Request::new(method, &format!("/multi{path}"));
    if body.is_empty() { request } else { request.field("Content-Type", "application/json").body(body) }
}

/// What every answer below the mount has: the twelve headers, its reference, and what its status demands.
#[track_caller]
fn assert_is_of_the_api(response: &Response) {
    assert_complete(response, "API B");
    assert!(!response.only("request-ref").is_empty(), "{response:#?}");
    assert_eq!(response.only("request-ref"), response.only("X-Request-Id"));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn is_number(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[track_caller]
fn assert_done(response: &Response) {
    assert_eq!((response.status, response.body.len()), (204, 0), "{response:#?}");
}

/// A refusal with `code` and `message`.
#[track_caller]
fn assert_refused(response: &Response, status: u16, code: &str, what: &str) {
    assert_eq!(response.status, status, "{what}: {response:#?}");
    let body = response.json();
    assert_eq!(keys(&body), BTreeSet::from(["code", "message"]), "{what}");
    assert_eq!(body["code"], code, "{what}");
    assert!(body["message"].as_str().is_some_and(|message| (1..=255).contains(&message.len())), "{what}: {body}");
}

/// A conflict: its code and nothing else.
#[track_caller]
fn assert_conflict(response: &Response, code: &str) {
    assert_eq!((response.status, response.json()), (409, json!({ "errorCode": code })), "{response:#?}");
}

/// A body that is not as it should be: these members, for these reasons.
#[track_caller]
fn assert_invalid(response: &Response, fields: &[(&str, &str)], what: &str) {
    assert_eq!(response.status, 400, "{what}: {response:#?}");
    let body = response.json();
    assert_eq!(keys(&body), BTreeSet::from(["message", "syntaxErrors"]), "{what}");
    assert!(body["message"].as_str().is_some_and(|message| (1..=255).contains(&message.len())), "{what}: {body}");
    assert_eq!(keys(&body["syntaxErrors"]), BTreeSet::from(["invalidFields"]), "{what}");
    let invalid = body["syntaxErrors"]["invalidFields"].as_array().expect("a list");
    for field in invalid {
        assert_eq!(keys(field), BTreeSet::from(["error", "fieldName", "params"]), "{what}");
        assert!(field["params"].as_array().is_some_and(|params| params.iter().all(Value::is_string)), "{what}: {field}");
    }
    let told: Vec<_> = invalid.iter().map(|field| (text(&field["fieldName"]), text(&field["error"]))).collect();
    let told: Vec<_> = told.iter().map(|(field, error)| (&**field, &**error)).collect();
    assert_eq!(told, fields, "{what}");
}

#[track_caller]
fn assert_ids(body: &Value) {
    assert_eq!(keys(&body["identity"]), BTreeSet::from(["id", "type"]));
    assert_eq!(keys(&body["credentials"]), BTreeSet::from(["id", "type"]));
    assert_eq!((&body["identity"]["type"], &body["credentials"]["type"]), (&json!("CONSUMER"), &json!("ROOT")));
    assert!(is_number(&body["identity"]["id"]) && is_number(&body["credentials"]["id"]), "{body}");
}

#[test]
fn a_login_gives_a_token_an_identity_and_credentials() {
    let program = Program::start();
    let body = program.logged_in();
    assert_eq!(keys(&body), BTreeSet::from(["credentials", "identity", "token", "tokenType"]));
    assert_eq!(body["tokenType"], "AUTH");
    assert_ids(&body);
    assert!(program.passes(&text(&body["token"])), "it authorises other secured operations");
    assert_ne!(program.token(), text(&body["token"]), "each login has a token of its own");
}

#[test]
fn a_login_that_is_not_what_it_should_be_is_told_member_by_member_and_counts_for_nothing() {
    let program = Program::start();
    let (required, has_text) = ("REQUIRED", "HAS_TEXT");
    let long = "x".repeat(101);
    for (body, wrong) in [
        (json!({}), vec![("email", required), ("password.value", required)]),
        (json!({ "email": "ada@example.com" }), vec![("password.value", required)]),
        (json!({ "email": null, "password": { "value": null } }), vec![("email", required), ("password.value", required)]),
        (json!({ "email": "", "password": { "value": 7 } }), vec![("email", has_text), ("password.value", has_text)]),
        (json!({ "email": "ada", "password": { "value": "x" } }), vec![("email", "REGEX")]),
        (json!({ "email": "ada@example.com", "password": { "value": long } }), vec![("password.value", "SIZE")]),
        (json!({ "email": "ada@example.com", "password": "x" }), vec![("password.value", required)]),
    ] {
        let response = program.send(&program.request("POST", LOGIN, &body.to_string()));
        assert_invalid(&response, &wrong, &body.to_string());
    }
    let (email, password) = (program.quick.value("ACCOUNT_EMAIL"), program.quick.value("ACCOUNT_PASSWORD"));
    let good = json!({ "email": email, "password": { "value": password } }).to_string();
    let twice = good.replacen('{', r#"{"email":"other@example.com","#, 1);
    for (body, what) in
        [(&*twice, "a member twice"), (&format!("{good}x"), "more behind it"), ("[]", "no object"), ("{", "cut off")]
    {
        assert_invalid(&program.send(&program.request("POST", LOGIN, body)), &[], what);
    }
    program.token();
}

#[test]
fn every_operation_needs_one_api_key_that_is_known() {
    let program = Program::start();
    let (token, key) = (program.token(), program.quick.value("SESSION_API_KEY"));
    let all = FOR_USERS.into_iter().chain([("POST", LOGIN, "{}"), ("POST", "/access_token", "{}")]);
    for (method, path, body) in all {
        let request = || keyless(method, path, body).bearer(&token);
        for (request, what) in [
            (request(), "without"),
            (request().field("api-key", "unknown"), "unknown"),
            (request().field("api-key", key).field("api-key", key), "twice"),
        ] {
            assert_refused(&program.send(&request), 401, "API_KEY_INVALID", &format!("{what}: {path}"));
        }
    }
    assert!(program.passes(&token), "nothing of it was done");
}

#[test]
fn whoever_is_not_who_they_say_is_told_the_same() {
    let program = Program::start();
    let wrong = program.log_in_wrongly(program.quick.value("ACCOUNT_EMAIL"));
    assert_refused(&wrong, 403, "CREDENTIALS_INCORRECT", "a wrong password");
    let unknown = program.log_in_wrongly("nobody@example.com");
    assert_eq!((unknown.status, unknown.body), (wrong.status, wrong.body));
    let expired = program.log_in_wrongly(program.quick.value("EXPIRED_EMAIL"));
    assert_refused(&expired, 403, "CREDENTIALS_INCORRECT", "a wrong password that has expired");
}

#[test]
fn an_expired_password_gives_a_token_for_a_new_one_and_nothing_else() {
    let program = Program::start();
    let (email, old) = (program.quick.value("EXPIRED_EMAIL"), program.quick.value("EXPIRED_PASSWORD"));
    let response = program.log_in_with(email, old);
    assert_eq!(response.status, 409, "{response:#?}");
    assert_eq!(keys(&response.json()), BTreeSet::from(["token"]));
    let temporary = program.temporary();
    let others = FOR_USERS.into_iter().filter(|(_, path, _)| *path != "/passwords/update");
    for operation in others {
        assert_refused(&program.call(operation, &temporary), 403, "CREDENTIAL_KIND", operation.1);
    }
    assert_refused(&program.exchange(&temporary, &json!({ "type": "CONSUMER", "id": "1" })), 403, "FORBIDDEN", "/access_token");
    for path in ["/api/x", "/api/sensitive/x", "/v1/accounts"] {
        assert_eq!(program.quick.get_as(&temporary, path).status, 403, "{path}");
    }
    assert_conflict(&program.update_password(&temporary, old, old), "PASSWORD_ALREADY_USED");

    let changed = program.update_password(&temporary, old, "correct horse battery");
    assert_eq!(changed.status, 200, "{changed:#?}");
    let body = changed.json();
    assert_eq!(keys(&body), BTreeSet::from(["passwordInfo", "token"]));
    assert_eq!(keys(&body["passwordInfo"]), BTreeSet::from(["expiryDate", "identityId"]));
    assert_eq!(body["passwordInfo"]["expiryDate"], 0);
    assert_eq!(keys(&body["passwordInfo"]["identityId"]), BTreeSet::from(["id", "type"]));
    assert_refused(&program.update_password(&temporary, old, "another one"), 401, "CREDENTIAL_INVALID", "TEMP is dead");
    let token = text(&body["token"]);
    assert!(program.passes(&token), "the new token is an AUTH token");
    program.access(&token);
    assert_eq!(program.log_in_with(email, "correct horse battery").status, 200);
    assert_refused(&program.log_in_with(email, old), 403, "CREDENTIALS_INCORRECT", "the old password");
}

#[test]
fn five_failures_lock_an_account_for_half_an_hour_and_an_address_of_nobody_alike() {
    let program = Program::start();
    let (email, password) = (program.quick.value("ACCOUNT_EMAIL"), program.quick.value("ACCOUNT_PASSWORD"));
    let (token, elsewhere) = (program.token(), program.quick.sign_in_body());
    for address in [email, "nobody@example.com"] {
        for attempt in 1..=5 {
            assert_refused(&program.log_in_wrongly(address), 403, "CREDENTIALS_INCORRECT", &format!("attempt {attempt}"));
        }
        for _ in 0..2 {
            let locked = program.log_in_with(address, password);
            assert_refused(&locked, 423, "LOCKED", address);
            assert!((1..=1800).contains(&seconds_to_wait(&locked)), "{locked:#?}");
        }
    }
    let identity = program.call(("GET", "/identities", ""), &token).json()[0]["id"].clone();
    let exchanged = program.exchange(&token, &identity);
    assert_refused(&exchanged, 423, "LOCKED", "the exchange");
    assert!((1..=1800).contains(&seconds_to_wait(&exchanged)), "{exchanged:#?}");
    assert!(program.passes(&token), "a session that is open goes on");
    assert_eq!(program.quick.sign_in(&elsewhere).status, 429, "the lock is the account's, in every API");
    let elsewhere = json!({ "email": email, "password": password });
    assert_eq!(program.quick.ask(&Request::json("/api/v2/signin", &elsewhere)).status, 429);
}

#[test]
fn of_thirty_parallel_wrong_logins_five_are_tried_and_a_success_forgets_failures() {
    let program = Program::start();
    let email = program.quick.value("ACCOUNT_EMAIL");
    for _ in 0..2 {
        for _ in 0..4 {
            assert_eq!(program.log_in_wrongly(email).status, 403);
        }
        program.token();
    }
    let statuses = all_at_once(30, |_, start| {
        start.wait();
        program.log_in_wrongly(email).status
    });
    let with = |status| statuses.iter().filter(|held| **held == status).count();
    assert_eq!((with(403), with(423)), (5, 25), "{statuses:?}");
}

#[test]
fn the_identities_of_the_holder_are_listed_for_both_kinds_of_tokens() {
    let program = Program::start();
    let token = program.token();
    for token in [&token, &program.access(&token)] {
        let response = program.call(("GET", "/identities", ""), token);
        assert_eq!(response.status, 200, "{response:#?}");
        let body = response.json();
        let [identity] = body.as_array().expect("an array").as_slice() else { panic!("one identity: {body}") };
        assert_eq!(keys(identity), BTreeSet::from(["id", "name"]));
        assert_eq!(keys(&identity["id"]), BTreeSet::from(["id", "type"]));
        assert_eq!(
            (&identity["id"]["type"], &identity["name"]),
            (&json!("CONSUMER"), &json!(program.quick.value("ACCOUNT_EMAIL")))
        );
        assert!(is_number(&identity["id"]["id"]), "{body}");
    }
}

#[test]
fn an_access_token_is_given_for_an_identity_of_the_holder_and_the_auth_token_lives_on() {
    let program = Program::start();
    let login = program.logged_in();
    let token = text(&login["token"]);
    let response = program.exchange(&token, &login["identity"]);
    assert_eq!(response.status, 200, "{response:#?}");
    let body = response.json();
    assert_eq!(keys(&body), BTreeSet::from(["credentials", "identity", "token"]));
    assert_ids(&body);
    assert_eq!((&body["identity"], &body["credentials"]), (&login["identity"], &login["credentials"]));
    let access = text(&body["token"]);
    assert_ne!(access, token);
    assert!(program.passes(&access) && program.passes(&token));
    let id = |r#type: &str, id: &str| json!({ "type": r#type, "id": id });
    for foreign in
        [id("CONSUMER", "999999"), id("CONSUMER", "99999999999999999999999"), id("CORPORATE", &text(&login["identity"]["id"]))]
    {
        assert_refused(&program.exchange(&token, &foreign), 403, "FORBIDDEN", &foreign.to_string());
    }
}

#[test]
fn an_exchange_without_a_good_token_is_forbidden_and_a_bad_body_is_told() {
    let program = Program::start();
    let login = program.logged_in();
    let token = text(&login["token"]);
    let body = json!({ "identity": login["identity"] }).to_string();
    let request = || program.request("POST", "/access_token", &body);
    for (request, what) in [
        (request(), "no token"),
        (request().bearer("unknown"), "an unknown token"),
        (request().bearer(&program.quick.tokens().access), "a token of another API"),
        (request().field("Authorization", "Basic dXNlcjpwYXNz"), "another scheme"),
        (request().field("X-Auth-Token", &token), "a token elsewhere"),
        (request().bearer(&token).bearer(&token), "two tokens"),
    ] {
        assert_refused(&program.send(&request), 403, "FORBIDDEN", what);
    }
    for (body, wrong) in [
        (json!({}), vec![("identity", "REQUIRED")]),
        (json!({ "identity": {} }), vec![("identity.type", "REQUIRED"), ("identity.id", "REQUIRED")]),
        (json!({ "identity": { "type": "ROBOT", "id": "x" } }), vec![("identity.type", "IN"), ("identity.id", "REGEX")]),
    ] {
        assert_invalid(&program.post("/access_token", &token, &body), &wrong, &body.to_string());
    }
}

#[test]
fn a_token_that_is_missing_unknown_or_of_another_api_is_unauthorised_elsewhere() {
    let program = Program::start();
    let (foreign, token) = (program.quick.tokens().access, program.token());
    for (method, path, body) in FOR_USERS {
        let request = || program.request(method, path, body);
        assert_refused(&program.send(&request()), 401, "CREDENTIAL_MISSING", path);
        assert_refused(&program.send(&request().bearer("unknown")), 401, "CREDENTIAL_INVALID", path);
        let misplaced = program.send(&request().field("X-Auth-Token", &token));
        assert_eq!(misplaced.status, 401, "{path}: {misplaced:#?}");
        let of_another = program.send(&request().bearer(&foreign));
        assert_eq!(of_another.status, 401, "{path}: {of_another:#?}");
        let twice = program.send(&request().bearer(&token).bearer(&token));
        assert_eq!(twice.status, 400, "{path}: {twice:#?}");
    }
    assert!(program.passes(&token));
}

#[test]
fn a_token_is_good_with_its_programs_key_only() {
    let program = Program::start();
    let token = program.token();
    let config = program.quick.dir().join("gateway.toml");
    let config = config.to_str().unwrap();
    let added = crate::support::run(["api-key", "add", "another-program", "--config", config]);
    assert_eq!(added.code, Some(0), "{added:#?}");
    let other = added.output.split_whitespace().max_by_key(|word| word.len()).expect("a key");
    let request = keyless("GET", "/identities", "").field("api-key", other).bearer(&token);
    assert_refused(&program.send(&request), 401, "CREDENTIAL_INVALID", "another program's key");
}

#[test]
fn auth_and_access_tokens_pass_every_operation_for_users() {
    let program = Program::start();
    let auth = program.token();
    let access = program.access(&auth);
    for token in [&auth, &access] {
        for operation in FOR_USERS.into_iter().filter(|(_, path, _)| *path != "/logout") {
            let response = program.call(operation, token);
            assert!(matches!(response.status, 200 | 204 | 409), "{operation:?}: {response:#?}");
        }
        assert!(program.passes(token));
    }
    assert_done(&program.ask("/logout", &access));
    assert!(!program.passes(&auth), "the session has ended");
}

#[test]
fn a_one_time_code_steps_up_the_token_that_asked_for_it() {
    let program = Program::start();
    let (token, other) = (program.token(), program.token());
    let before = program.access(&token);
    let refused = program.quick.get_as(&token, "/api/sensitive");
    assert_eq!(refused.status, 401, "{refused:#?}");
    let challenge = refused.only("WWW-Authenticate");
    assert!(challenge.contains(r#"error="insufficient_user_authentication""#), "{challenge}");
    assert!(challenge.contains(r#"acr_values="second-factor""#) && challenge.contains("max_age=900"), "{challenge}");
    assert_dressed(&refused, "a missing step-up");

    let since = now() - Duration::from_secs(1);
    program.step_up(&token);
    assert_eq!((program.sensitive(&token), program.sensitive(&before), program.sensitive(&other)), (200, 401, 401));
    let after = program.access(&token);
    assert_eq!(program.sensitive(&after), 200, "what it is exchanged for afterwards inherits it");
    for token in [&token, &after] {
        let told = program.quick.introspect(token).json();
        assert_eq!((&told["acr"], &told["amr"]), (&json!("second-factor"), &json!(["pwd", "otp"])), "{told}");
        let at = UNIX_EPOCH + Duration::from_secs(told["auth_time"].as_u64().unwrap());
        assert!(at >= since && at <= now(), "{told}");
    }
    assert_eq!(program.quick.introspect(&other).json()["acr"], "password");
}

#[test]
fn a_wrong_code_is_told_and_after_five_the_right_one_is_too_late() {
    let program = Program::start();
    let token = program.token();
    assert_conflict(&program.verify(&token, "123456"), "STATE_INVALID");
    assert_done(&program.ask(CODE, &token));
    assert_conflict(&program.verify(&program.token(), "123456"), "STATE_INVALID");
    for _ in 0..4 {
        assert_conflict(&program.verify(&token, "000000"), "VERIFICATION_CODE_INVALID");
    }
    let fifth = program.verify(&token, "000000");
    assert_eq!(fifth.status, 409, "{fifth:#?}");
    assert_conflict(&program.verify(&token, "123456"), "CHALLENGE_LIMIT_EXCEEDED");
    assert_eq!(program.sensitive(&token), 401);

    let token = program.token();
    program.step_up(&token);
    assert_conflict(&program.verify(&token, "123456"), "STATE_INVALID");
    for (body, wrong) in [
        (json!({}), "REQUIRED"),
        (json!({ "verificationCode": "" }), "HAS_TEXT"),
        (json!({ "verificationCode": "1".repeat(51) }), "SIZE"),
    ] {
        assert_invalid(&program.post(VERIFY, &token, &body), &[("verificationCode", wrong)], &body.to_string());
    }
}

#[test]
fn a_second_code_for_a_token_has_to_wait_a_quarter_of_a_minute() {
    let program = Program::start();
    let token = program.token();
    assert_done(&program.ask(CODE, &token));
    let again = program.ask(CODE, &token);
    assert_conflict(&again, "RETRY_IN_15SEC");
    assert!((1..=15).contains(&seconds_to_wait(&again)), "{again:#?}");
    assert_done(&program.ask(CODE, &program.token()));
    assert_done(&program.verify(&token, "123456"));
}

#[test]
fn a_challenge_is_begun_once_under_one_reference() {
    let program = Program::start();
    let token = program.token();
    let ask = |path: &str, reference: &str| {
        program.send(&program.request("POST", path, "").bearer(&token).field("idempotency-ref", reference))
    };
    for _ in 0..3 {
        assert_done(&ask(CODE, "first"));
    }
    assert_conflict(&ask(CODE, "second"), "RETRY_IN_15SEC");
    assert_done(&program.verify(&token, "123456"));
    assert_done(&ask(CODE, "first"));
    assert_conflict(&program.verify(&token, "123456"), "STATE_INVALID");
    let push = "/stepup/challenges/push/AUTHY";
    let ids = [(); 2].map(|()| text(&ask(push, "first").json()["id"]));
    assert_eq!(ids[0], ids[1]);
    assert_conflict(&ask(push, "second"), "STATE_INVALID");
    assert_invalid(&ask(push, "two words"), &[("idempotency-ref", "REGEX")], "two words");
}

#[test]
fn a_channel_has_to_exist_and_to_be_enrolled() {
    let program = Program::start();
    let token = program.token();
    for path in [
        "/stepup/challenges/otp/EMAIL",
        "/stepup/challenges/otp/AUTHY",
        "/stepup/challenges/otp/sms",
        "/stepup/challenges/push/SMS",
        "/stepup/challenges/push/PIGEON",
        "/authentication_factors/otp/BIOMETRIC",
        "/authentication_factors/push/SMS",
    ] {
        assert_conflict(&program.ask(path, &token), "CHANNEL_NOT_SUPPORTED");
    }
    let code = json!({ "verificationCode": "123456" });
    assert_conflict(&program.post("/stepup/challenges/otp/EMAIL/verify", &token, &code), "CHANNEL_NOT_SUPPORTED");
    for path in
        ["/authentication_factors/otp/SMS", "/authentication_factors/push/AUTHY", "/authentication_factors/push/BIOMETRIC"]
    {
        assert_conflict(&program.ask(path, &token), "CHANNEL_ALREADY_REGISTERED");
    }
}

#[test]
fn a_device_that_approves_steps_up_the_token_that_asked() {
    let program = Program::start();
    let other = program.token();
    for channel in ["AUTHY", "BIOMETRIC"] {
        let (path, token) = (format!("/stepup/challenges/push/{channel}"), program.token());
        let id = program.push(&path, &token);
        assert_conflict(&program.ask(&path, &token), "STATE_INVALID");
        assert_eq!(program.sensitive(&token), 401, "not answered yet");
        assert_done(&program.device_answers(&id, "APPROVED"));
        assert_eq!((program.sensitive(&token), program.sensitive(&other)), (200, 401));
        assert_eq!(program.quick.introspect(&token).json()["amr"], json!(["pwd", "hwk"]));
        assert_conflict(&program.device_answers(&id, "APPROVED"), "STATE_INVALID");
    }
    let path = "/stepup/challenges/push/AUTHY";
    let id = program.push(path, &other);
    assert_done(&program.device_answers(&id, "DECLINED"));
    assert_conflict(&program.device_answers(&id, "APPROVED"), "STATE_INVALID");
    assert_eq!(program.sensitive(&other), 401, "declined");
    program.push(path, &other);
}

#[test]
fn what_a_device_answered_is_believed_only_of_who_signs_it_now() {
    let program = Program::start();
    let token = program.token();
    let id = program.push("/stepup/challenges/push/AUTHY", &token);
    let secret = program.quick.value("SESSION_CALLBACK_SECRET");
    let body = json!({ "id": id, "status": "APPROVED" }).to_string();
    let wrong = "SIGNATURE_INVALID";
    assert_refused(&program.callback(&body, "another secret", now()), 401, wrong, "another secret");
    for apart in [now() - Duration::from_secs(310), now() + Duration::from_secs(310)] {
        assert_refused(&program.callback(&body, secret, apart), 401, wrong, "another time");
    }
    assert_refused(&program.send(&program.request("POST", "/callbacks/push", &body)), 401, wrong, "no signature");
    assert_invalid(&program.callback("{}", secret, now()), &[("id", "REQUIRED"), ("status", "REQUIRED")], "{}");
    let maybe = json!({ "id": id, "status": "MAYBE" }).to_string();
    assert_invalid(&program.callback(&maybe, secret, now()), &[("status", "IN")], "MAYBE");
    assert_conflict(&program.device_answers("1", "APPROVED"), "STATE_INVALID");
    assert_eq!(program.sensitive(&token), 401);
    assert_done(&program.device_answers(&id, "APPROVED"));
    assert_eq!(program.sensitive(&token), 200);
}

#[test]
fn factors_are_enrolled_by_answering_on_them_and_that_steps_nothing_up() {
    let program = Program::start();
    let changed = program.update_password(&program.temporary(), program.quick.value("EXPIRED_PASSWORD"), "a new password");
    let token = text(&changed.json()["token"]);
    let verify = "/authentication_factors/otp/SMS/verify";
    assert_conflict(&program.ask(CODE, &token), "CHANNEL_NOT_REGISTERED");
    assert_conflict(&program.verify(&token, "123456"), "CHANNEL_NOT_REGISTERED");
    assert_conflict(&program.ask("/stepup/challenges/push/AUTHY", &token), "CHANNEL_NOT_REGISTERED");
    assert_conflict(&program.post(verify, &token, &json!({ "verificationCode": "123456" })), "STATE_INVALID");
    assert_done(&program.ask("/authentication_factors/otp/SMS", &token));
    assert_conflict(&program.post(verify, &token, &json!({ "verificationCode": "000000" })), "VERIFICATION_CODE_INVALID");
    assert_invalid(&program.post(verify, &token, &json!({})), &[("verificationCode", "REQUIRED")], "no code");
    assert_done(&program.post(verify, &token, &json!({ "verificationCode": "123456" })));
    assert_conflict(&program.ask("/authentication_factors/otp/SMS", &token), "CHANNEL_ALREADY_REGISTERED");

    let push = "/authentication_factors/push/AUTHY";
    let id = program.push(push, &token);
    assert_conflict(&program.ask(push, &token), "STATE_INVALID");
    assert_done(&program.device_answers(&id, "APPROVED"));
    assert_conflict(&program.ask(push, &token), "CHANNEL_ALREADY_REGISTERED");
    assert_eq!(program.sensitive(&token), 401, "enrolling is no step-up");
    program.push("/stepup/challenges/push/AUTHY", &token);
    program.step_up(&token);
    assert_eq!(program.sensitive(&token), 200);
}

#[test]
fn a_new_password_ends_every_other_session_in_every_api() {
    let program = Program::start();
    let (email, old) = (program.quick.value("ACCOUNT_EMAIL"), program.quick.value("ACCOUNT_PASSWORD"));
    let (token, other, oauth) = (program.token(), program.token(), program.quick.tokens().access);
    let access = program.access(&other);
    let body = json!({ "email": email, "password": old });
    let signed = text(&program.quick.ask(&Request::json("/api/v2/signin", &body)).json()["accessToken"]["token"]);
    let all = [&token, &other, &access, &oauth, &signed];
    assert!(all.iter().all(|token| program.passes(token)));

    assert_conflict(&program.update_password(&token, "not the password", "correct horse"), "PASSWORD_INCORRECT");
    assert_conflict(&program.update_password(&token, old, "short"), "PASSWORD_TOO_SHORT");
    assert_conflict(&program.update_password(&token, old, &"x".repeat(101)), "PASSWORD_TOO_LONG");
    assert_conflict(&program.update_password(&token, old, old), "PASSWORD_ALREADY_USED");
    let none = program.post("/passwords/update", &token, &json!({}));
    assert_invalid(&none, &[("oldPassword.value", "REQUIRED"), ("newPassword.value", "REQUIRED")], "{}");
    assert!(all.iter().all(|token| program.passes(token)), "a refusal changes nothing");

    let changed = program.update_password(&token, old, "correct horse");
    assert_eq!(changed.status, 200, "{changed:#?}");
    for token in all {
        assert!(!program.passes(token));
    }
    assert!(program.passes(&text(&changed.json()["token"])));
}

#[test]
fn a_logout_ends_the_session_at_once_and_no_other() {
    let program = Program::start();
    let (token, other) = (program.token(), program.token());
    let access = program.access(&token);
    assert!(program.passes(&token) && program.passes(&access));
    assert_done(&program.ask("/logout", &token));
    for token in [&token, &access] {
        assert!(!program.passes(token));
        assert_refused(&program.ask("/logout", token), 401, "CREDENTIAL_INVALID", "a second logout");
        assert_refused(&program.call(("GET", "/identities", ""), token), 401, "CREDENTIAL_INVALID", "identities");
        assert_refused(&program.exchange(token, &json!({ "type": "CONSUMER", "id": "1" })), 403, "FORBIDDEN", "the exchange");
        assert_eq!(program.quick.introspect(token).json(), json!({ "active": false }));
    }
    assert!(program.passes(&other));
}

#[test]
fn what_the_gateway_refuses_below_the_mount_is_said_in_the_same_words() {
    let program = Program::start();
    let token = program.token();
    for path in
        ["", "/", "/nowhere", "/login_with_password/more", "/stepup/challenges/otp", "/stepup/challenges/otp/SMS/verify/x"]
    {
        assert_refused(&program.ask(path, &token), 404, "NO_ROUTE", path);
    }
    for (path, method, allowed) in
        [(LOGIN, "GET", "POST"), ("/identities", "POST", "GET"), ("/logout", "DELETE", "POST"), (CODE, "PUT", "POST")]
    {
        let refused = program.call((method, path, ""), &token);
        assert_refused(&refused, 405, "METHOD_NOT_ALLOWED", path);
        assert!(refused.only("Allow").split(", ").any(|method| method == allowed), "{refused:#?}");
    }
    for path in [LOGIN, "/access_token", VERIFY, "/passwords/update"] {
        let request = |kind: &str| {
            let request = Request::post(&format!("/multi{path}"), kind, "{}").bearer(&token);
            request.field("api-key", program.quick.value("SESSION_API_KEY"))
        };
        for (request, what) in [
            (request("application/x-www-form-urlencoded"), "a form"),
            (request("text/plain"), "text"),
            (request("application/json; charset=latin1"), "another charset"),
            (request("application/json").field("Content-Encoding", "gzip"), "a coding"),
        ] {
            assert_refused(&program.send(&request), 415, "UNSUPPORTED_MEDIA_TYPE", &format!("{what} to {path}"));
        }
        let large = program.call(("POST", path, &format!("{{}}{}", " ".repeat(17 * 1024))), &token);
        assert_refused(&large, 413, "BODY_TOO_LARGE", path);
    }
    assert_refused(&program.send(&program.request("POST", LOGIN, "")), 415, "UNSUPPORTED_MEDIA_TYPE", "no body and no type");
}

#[test]
fn a_preflight_below_the_mount_asks_for_no_key() {
    let program = Program::start();
    for path in [LOGIN, "/logout", "/nowhere"] {
        let preflight =
            keyless("OPTIONS", path, "").field("Origin", "https://app.example").field("Access-Control-Request-Method", "POST");
        let answer = program.quick.ask(&preflight);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}: {answer:#?}");
        assert_dressed(&answer, path);
        assert!(!answer.only("request-ref").is_empty());
    }
}

/// Too many logins: until when, and which of the two limits it is.
#[track_caller]
fn assert_too_many(response: &Response, limit: &str, longest: u64) {
    assert_refused(response, 429, "LIMIT_REACHED", limit);
    assert_eq!(response.only("x-ratelimit-limit"), limit);
    assert_eq!(response.only("x-ratelimit-reset"), response.only("Retry-After"));
    assert!((1..=longest).contains(&seconds_to_wait(response)), "{response:#?}");
}

#[test]
fn an_account_and_an_address_of_nobody_have_so_many_logins_in_an_hour() {
    let program = Program::with(&["logins = 6"]);
    let email = program.quick.value("ACCOUNT_EMAIL");
    for address in [email, "nobody@example.com"] {
        for _ in 0..3 {
            assert_eq!(program.log_in_wrongly(address).status, 403);
        }
    }
    for _ in 0..3 {
        program.token();
    }
    for _ in 0..2 {
        let refused = program.log_in_with(email, program.quick.value("ACCOUNT_PASSWORD"));
        assert_too_many(&refused, "6, 10000;w=60, 6;w=3600", 3600);
    }
    for status in [403, 403, 423, 423] {
        assert_eq!(program.log_in_wrongly("nobody@example.com").status, status, "the lock speaks first");
    }
    assert_eq!(program.log_in_wrongly("somebody@example.com").status, 403, "another one");
    assert_eq!(program.quick.sign_in(&program.quick.sign_in_body()).status, 200, "another API");
}

#[test]
fn an_address_of_nobody_reaches_the_limit_of_an_hour_like_an_account() {
    let program = Program::with(&["logins = 2"]);
    let told = [program.quick.value("ACCOUNT_EMAIL"), "nobody@example.com"].map(|email| {
        let told = (0..4).map(|_| program.log_in_wrongly(email));
        told.map(|response| (response.status, response.body)).collect::<Vec<_>>()
    });
    assert_eq!(told[0].iter().map(|(status, _)| *status).collect::<Vec<_>>(), [403, 403, 429, 429]);
    assert_eq!(told[0], told[1]);
}

#[test]
fn a_source_with_too_many_logins_pauses_whomever_it_names() {
    let program = Program::with(&["logins_per_source = 2"]);
    assert_eq!(program.log_in_wrongly("nobody@example.com").status, 403);
    program.token();
    assert_too_many(&program.log_in_wrongly("somebody@example.com"), "2, 2;w=60, 1000;w=3600", 60);
    let refused = program.log_in_with(program.quick.value("ACCOUNT_EMAIL"), program.quick.value("ACCOUNT_PASSWORD"));
    assert_too_many(&refused, "2, 2;w=60, 1000;w=3600", 60);
}

#[test]
fn an_auth_token_can_be_for_the_exchange_only() {
    let program = Program::with(&["auth_token = \"exchange_only\""]);
    let auth = program.token();
    let access = program.access(&auth);
    let of_any_kind = ["/identities", "/logout"];
    for operation in FOR_USERS.into_iter().filter(|(_, path, _)| !of_any_kind.contains(path)) {
        assert_refused(&program.call(operation, &auth), 403, "CREDENTIAL_KIND", operation.1);
        let response = program.call(operation, &access);
        assert!(matches!(response.status, 200 | 204 | 409), "{operation:?}: {response:#?}");
    }
    for path in ["/api/x", "/api/sensitive"] {
        let refused = program.quick.get_as(&auth, path);
        assert_eq!(refused.status, 403, "{path}: {refused:#?}");
        assert_dressed(&refused, path);
    }
    assert!(program.passes(&access));
    assert_done(&program.ask("/logout", &auth));
    assert!(!program.passes(&access));
}

#[test]
fn new_passwords_can_have_to_be_of_every_kind_and_none_of_the_last_five() {
    let program = Program::with(&["password_policy = \"composition\""]);
    let first = program.quick.value("ACCOUNT_PASSWORD");
    let token = program.token();
    for (new, code) in [
        ("Aa1!xxx", "PASSWORD_TOO_SHORT"),
        ("Aa1!xxxxxxxxxxxxxxxxxxxxxxxxxxx", "PASSWORD_TOO_LONG"),
        ("correct horse", "PASSWORD_TOO_SIMPLE"),
    ] {
        assert_conflict(&program.update_password(&token, first, new), code);
    }
    let changed = program.update_password(&token, first, "Aa1!xxxx");
    let changed = program.update_password(&text(&changed.json()["token"]), "Aa1!xxxx", "Aa2!xxxx");
    let token = text(&changed.json()["token"]);
    for used in ["Aa1!xxxx", "Aa2!xxxx"] {
        assert_conflict(&program.update_password(&token, "Aa2!xxxx", used), "PASSWORD_ALREADY_USED");
    }
    assert!(program.passes(&token));
}
