//! The contract, exchange by exchange, through the router and a real database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::model::{Principal, PrincipalFacts};
use crate::token_api::{InProcess, in_process, router};
use crate::tokens::account::AccountStatus;
use crate::tokens::client::ClientRight;
use crate::tokens::tests::world::{PASSWORD, PHONE, REDIRECT, World, new_client, settings};

const NOT_AUTHENTICATED: &str = concat!(
    r#"{"message":"Authentication is possible but has failed or not yet been provided.","#,
    r#""errorMessage":"Authentication is possible but has failed or not yet been provided."}"#
);
const INVALID_CODE: &str = concat!(
    r#"{"error":"invalid_request","error_description":"InvalidGrantCode","#,
    r#""message":"OAuth failure","errorMessage":"OAuth failure"}"#
);
const INVALID_REFRESH: &str = concat!(
    r#"{"error":"invalid_grant","error_description":"InvalidRefreshToken","#,
    r#""message":"OAuth failure","errorMessage":"OAuth failure"}"#
);
const OLD_APP_VERSION: &str = concat!(
    r#"{"message":"This functionality is not supported. Please update the app to the latest version.","#,
    r#""code":"OldAppVersion","#,
    r#""errorMessage":"This functionality is not supported. Please update the app to the latest version.","#,
    r#""errorCode":"OldAppVersion"}"#
);

pub(crate) struct Api {
    pub(crate) world: World,
    pub(crate) service: InProcess,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.text)).to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status.as_u16(), self.text.as_str()), (status, text));
        assert_eq!(self.header("cache-control"), "no-store");
    }

    #[track_caller]
    pub(crate) fn has(&self, status: u16, member: &str, value: &str) {
        assert_eq!((self.status.as_u16(), self.json()[member].as_str()), (status, Some(value)), "{}", self.text);
    }
}

impl Api {
    pub(crate) async fn new() -> Self {
        Self::over(World::new().await)
    }

    pub(crate) fn over(world: World) -> Self {
        let service = in_process(router(Arc::clone(&world.service), &world.plan).unwrap());
        Self { world, service }
    }

    /// Stops the service and starts another on the same files.
    pub(crate) async fn restart(self) -> Self {
        let Self { world, service } = self;
        drop(service);
        Self::over(world.restart().await)
    }

    pub(crate) async fn send(&self, request: Request<Bytes>) -> Answer {
        let answer = self.service.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        Answer { status: head.status, headers: head.headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(super) async fn json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", &body.to_string()).await
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post(path, "application/x-www-form-urlencoded", &encode(fields)).await
    }

    pub(super) async fn post(&self, path: &str, media_type: &str, body: &str) -> Answer {
        let request = Request::post(path).header("content-type", media_type);
        self.send(request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()).await
    }

    async fn proof(&self) -> String {
        self.world.proof().await.expose().to_owned()
    }

    fn sign_in_body(&self, proof: &str) -> Value {
        json!({
            "mfaToken": proof, "password": PASSWORD, "clientId": "app",
            "clientSecret": self.world.client_secret.expose(), "phoneNumber": PHONE,
        })
    }

    async fn sign_in(&self) -> Answer {
        let body = self.sign_in_body(&self.proof().await);
        self.json("/v1/authentications/password", &body).await
    }

    async fn redeem(&self, code: &str) -> Answer {
        self.token(&[("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT)]).await
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        self.form("/v2/oauth/token", &self.with_client(fields)).await
    }

    async fn revoke(&self, token: &str) -> Answer {
        self.form("/v2/oauth/revoke", &self.with_client(&[("token", token)])).await
    }

    fn with_client<'a>(&'a self, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let client = [("client_id", "app"), ("client_secret", self.world.client_secret.expose())];
        fields.iter().copied().chain(client).collect()
    }

    pub(super) async fn tokens(&self) -> (String, String) {
        let answer = self.redeem(&self.sign_in().await.member("code")).await;
        (answer.member("access_token"), answer.member("refresh_token"))
    }
}

fn encode(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<Vec<_>>().concat();
    fields.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

#[track_caller]
pub(super) fn is_uuid_v4(text: &str) {
    let uuid = uuid::Uuid::try_parse(text).unwrap();
    assert_eq!((uuid.get_version_num(), text), (4, uuid.hyphenated().to_string().as_str()));
}

#[tokio::test]
async fn signing_in_gives_a_code_and_the_code_gives_tokens_key_by_key() {
    let api = Api::new().await;
    let signed_in = api.sign_in().await;
    let code = signed_in.member("code");
    is_uuid_v4(&code);
    let expected = format!(
        r#"{{"code":"{code}","expiration":"2026-03-10T09:42:45.000000000Z","accountId":{},"accountCreated":false}}"#,
        api.world.account.id
    );
    signed_in.is(200, &expected);

    let redeemed = api.redeem(&code).await;
    let (access, refresh) = (redeemed.member("access_token"), redeemed.member("refresh_token"));
    is_uuid_v4(&access);
    is_uuid_v4(&refresh);
    let body = |access: &str, refresh: &str| {
        format!(
            r#"{{"access_token":"{access}","refresh_token":"{refresh}","token_type":"Bearer","expires_in":86400,"account_id":{}}}"#,
            api.world.account.id
        )
    };
    redeemed.is(200, &body(&access, &refresh));
    assert_eq!(redeemed.header("pragma"), "no-cache");

    let refreshed = api.refresh(&refresh).await;
    let (newer_access, newer_refresh) = (refreshed.member("access_token"), refreshed.member("refresh_token"));
    refreshed.is(200, &body(&newer_access, &newer_refresh));
    assert_eq!(HashSet::from([&access, &refresh, &newer_access, &newer_refresh]).len(), 4, "both tokens are new");
}

pub(super) const SECOND: Duration = Duration::from_secs(1);

async fn wrong_password(api: &Api, proof: &str) -> Answer {
    let mut body = api.sign_in_body(proof);
    body["password"] = "wrong".into();
    api.json("/v1/authentications/password", &body).await
}

#[tokio::test]
async fn a_sign_in_without_valid_input_is_refused_and_counts_for_nothing() {
    let api = Api::new().await;
    let proof = api.proof().await;
    let changes = [
        ("mfaToken", Value::Null),
        ("mfaToken", "no uuid".into()),
        ("mfaToken", proof.replace('-', "").into()),
        ("password", Value::Null),
        ("password", "".into()),
        ("password", "x".repeat(1025).into()),
        ("password", 7.into()),
        ("clientId", Value::Null),
        ("clientSecret", Value::Null),
        ("phoneNumber", Value::Null),
        ("phoneNumber", "0711111298".into()),
        ("phoneNumber", format!(" {PHONE}").into()),
        ("phoneNumber", json!([PHONE])),
    ];
    for (member, value) in changes {
        let mut body = api.sign_in_body(&proof);
        body[member] = value.clone();
        api.json("/v1/authentications/password", &body).await.has(400, "code", "InvalidInput");
        if value.is_null() {
            body.as_object_mut().unwrap().remove(member);
            let answer = api.json("/v1/authentications/password", &body).await;
            answer.has(400, "errorCode", "InvalidInput");
            assert!(answer.member("message").contains(member), "the message names {member}");
        }
    }
    assert_eq!(api.world.service.password_checks(), 0);
    assert_eq!(api.json("/v1/authentications/password", &api.sign_in_body(&proof)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_source_is_limited_in_its_sign_ins_and_in_the_codes_that_it_asks_for() {
    let mut plan = settings();
    let oauth = plan.oauth.as_mut().unwrap();
    (oauth.logins_per_source, oauth.codes_per_source) = (Some(2), Some(3));
    let api = Api::over(World::with(plan).await);
    let request = json!({ "phoneNumber": "+40799999999" });
    let ask = async || api.json("/v2/verification/request-code", &request).await;
    for _ in 0..3 {
        assert_eq!(ask().await.status, StatusCode::OK);
    }
    let refused = ask().await;
    refused.has(429, "code", "TooManyRequests");
    assert_eq!(refused.header("retry-after"), "600");
    // Asked for by somebody else, who is known to the gateway.
    let proof = api.world.proof().await;
    for _ in 0..2 {
        wrong_password(&api, proof.expose()).await.is(401, NOT_AUTHENTICATED);
    }
    let refused = wrong_password(&api, proof.expose()).await;
    refused.has(429, "code", "TooManyRequests");
    assert_eq!((refused.header("retry-after"), api.world.service.password_checks()), ("60", 2));
}

#[tokio::test]
async fn whatever_is_wrong_in_a_sign_in_the_answer_is_the_same() {
    let api = Api::new().await;
    let (fresh, used) = (api.proof().await, api.proof().await);
    // The second code voided the first, but a proof that was already handed out stays good.
    let body = api.sign_in_body(&used);
    assert_eq!(api.json("/v1/authentications/password", &body).await.status, StatusCode::OK);
    api.json("/v1/authentications/password", &body).await.is(401, NOT_AUTHENTICATED);
    let wrongs = [
        ("password", "wrong".to_owned()),
        ("phoneNumber", "+40700000000".to_owned()),
        ("clientId", "nobody".to_owned()),
        ("clientSecret", "wrong".to_owned()),
        ("mfaToken", uuid::Uuid::nil().to_string()),
    ];
    for (member, value) in wrongs {
        let mut body = api.sign_in_body(&fresh);
        body[member] = value.into();
        let answer = api.json("/v1/authentications/password", &body).await;
        answer.is(401, NOT_AUTHENTICATED);
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"portcullis\"", "{member}");
    }
    assert_eq!(api.json("/v1/authentications/password", &api.sign_in_body(&fresh)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_password_leaves_the_verification_token_good_and_time_ends_it() {
    let api = Api::new().await;
    let proof = api.proof().await;
    wrong_password(&api, &proof).await.is(401, NOT_AUTHENTICATED);
    api.world.clock.advance(Duration::from_secs(599));
    assert_eq!(api.json("/v1/authentications/password", &api.sign_in_body(&proof)).await.status, StatusCode::OK);
    let proof = api.proof().await;
    api.world.clock.advance(Duration::from_mins(10));
    api.json("/v1/authentications/password", &api.sign_in_body(&proof)).await.is(401, NOT_AUTHENTICATED);
}

#[tokio::test]
async fn after_five_failures_even_the_right_password_waits_for_half_an_hour() {
    let api = Api::new().await;
    let proof = api.proof().await;
    for _ in 0..5 {
        wrong_password(&api, &proof).await.is(401, NOT_AUTHENTICATED);
    }
    for (passed, left) in [(0, "1800"), (1, "1799"), (1798, "1")] {
        api.world.clock.advance(passed * SECOND);
        let answer = api.json("/v1/authentications/password", &api.sign_in_body(&proof)).await;
        answer.has(429, "code", "TooManyRequests");
        assert_eq!(answer.header("retry-after"), left);
    }
    let verify = json!({ "phoneNumber": PHONE, "verificationCode": "123456" });
    api.json("/v2/verification/verify-code", &verify).await.has(429, "code", "TooManyRequests");
    api.world.clock.advance(SECOND);
    assert_eq!(api.sign_in().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_phone_number_that_is_nobodys_is_answered_like_any_other() {
    let api = Api::new().await;
    let phone = "+40799999999";
    let ask = json!({ "phoneNumber": phone, "language": "en", "destination": "Phone" });
    let known = json!({ "phoneNumber": PHONE, "language": "en", "destination": "Phone" });
    let (ours, theirs) =
        (api.json("/v2/verification/request-code", &ask).await, api.json("/v2/verification/request-code", &known).await);
    assert_eq!((ours.status, &ours.text), (theirs.status, &theirs.text));
    let verify = json!({ "phoneNumber": phone, "verificationCode": "123456" });
    let proof = api.json("/v2/verification/verify-code", &verify).await.member("verificationToken");
    let mut body = api.sign_in_body(&proof);
    body["phoneNumber"] = phone.into();
    for _ in 0..5 {
        api.json("/v1/authentications/password", &body).await.is(401, NOT_AUTHENTICATED);
    }
    let answer = api.json("/v1/authentications/password", &body).await;
    answer.has(429, "code", "TooManyRequests");
    assert_eq!(answer.header("retry-after"), "1800");
    assert_eq!(api.world.service.password_checks(), 5, "the same work is done for nobody");
}

#[tokio::test]
async fn the_password_grant_is_gone_whoever_asks_and_counts_for_nothing() {
    let api = Api::new().await;
    let credentials = [("username", PHONE), ("password", PASSWORD), ("scope", "platform"), ("grant_type", "password")];
    for _ in 0..10 {
        api.token(&credentials).await.is(400, OLD_APP_VERSION);
    }
    api.form("/v2/oauth/token", &credentials).await.is(400, OLD_APP_VERSION);
    api.form("/v2/oauth/token", &credentials[3..]).await.is(400, OLD_APP_VERSION);
    assert_eq!(api.world.service.password_checks(), 0);
    assert_eq!(api.sign_in().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_code_is_redeemed_once_and_its_second_redemption_ends_what_the_first_was_given() {
    let api = Api::new().await;
    let code = api.sign_in().await.member("code");
    let first = api.redeem(&code).await;
    let access = first.member("access_token");
    assert!(api.world.is_good(&access).await);
    api.redeem(&code).await.is(400, INVALID_CODE);
    assert!(!api.world.is_good(&access).await);
    api.refresh(&first.member("refresh_token")).await.is(400, INVALID_REFRESH);
}

#[tokio::test]
async fn who_does_not_know_all_about_a_code_can_neither_use_nor_burn_nor_revoke_it() {
    let api = Api::new().await;
    let other_secret = api.world.service.add_client(new_client("other", &[ClientRight::AuthorizationCode])).await.unwrap();
    let code = api.sign_in().await.member("code");
    let elsewhere = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", "app://elsewhere")];
    let other = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("client_id", "other"),
        ("client_secret", other_secret.expose()),
    ];
    api.token(&elsewhere).await.is(400, INVALID_CODE);
    api.form("/v2/oauth/token", &other).await.is(400, INVALID_CODE);
    api.redeem(&uuid::Uuid::nil().to_string()).await.is(400, INVALID_CODE);
    let access = api.redeem(&code).await.member("access_token");
    api.token(&elsewhere).await.is(400, INVALID_CODE);
    api.form("/v2/oauth/token", &other).await.is(400, INVALID_CODE);
    assert!(api.world.is_good(&access).await);
}

#[tokio::test]
async fn a_code_is_good_for_ten_minutes_and_not_at_their_end() {
    let api = Api::new().await;
    let code = api.sign_in().await.member("code");
    api.world.clock.advance(Duration::from_millis(599_999));
    assert_eq!(api.redeem(&code).await.status, StatusCode::OK);
    let code = api.sign_in().await.member("code");
    api.world.clock.advance(Duration::from_mins(10));
    api.redeem(&code).await.is(400, INVALID_CODE);
}

#[tokio::test]
async fn of_fifty_parallel_redemptions_one_is_answered_with_tokens_and_those_are_dead() {
    let api = Api::new().await;
    let code = api.sign_in().await.member("code");
    let answers = together(50, || api.redeem(&code)).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == StatusCode::OK);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for answer in lost {
        answer.is(400, INVALID_CODE);
    }
    assert!(!api.world.is_good(&won[0].member("access_token")).await);
    api.refresh(&won[0].member("refresh_token")).await.is(400, INVALID_REFRESH);
}

#[tokio::test]
async fn of_fifty_parallel_refreshes_one_is_answered_with_tokens_and_the_family_is_dead() {
    let api = Api::new().await;
    let (access, refresh) = api.tokens().await;
    let answers = together(50, || api.refresh(&refresh)).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == StatusCode::OK);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for answer in lost {
        answer.is(400, INVALID_REFRESH);
    }
    assert!(!api.world.is_good(&access).await);
    assert!(!api.world.is_good(&won[0].member("access_token")).await);
    api.refresh(&won[0].member("refresh_token")).await.is(400, INVALID_REFRESH);
}

#[tokio::test]
async fn of_fifty_parallel_sign_ins_with_one_verification_token_one_gets_a_code() {
    // The lock is not what is tried here.
    let mut plan = settings();
    plan.lock.attempts = 1_000;
    let api = Api::over(World::with(plan).await);
    let body = api.sign_in_body(&api.proof().await);
    let answers = together(50, || api.json("/v1/authentications/password", &body)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.text == NOT_AUTHENTICATED).count(), 49);
}

/// Runs the same request so many times at once.
async fn together<F: Future<Output = Answer>>(times: usize, request: impl Fn() -> F) -> Vec<Answer> {
    let mut running: Vec<_> = (0..times).map(|_| Box::pin(request())).collect();
    let mut answers = Vec::new();
    std::future::poll_fn(|context| {
        running.retain_mut(|request| match request.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_its_reuse_ends_the_family() {
    let api = Api::new().await;
    let (_, first) = api.tokens().await;
    let second = api.refresh(&first).await;
    let third = api.refresh(&second.member("refresh_token")).await;
    api.refresh(&first).await.is(400, INVALID_REFRESH);
    assert!(!api.world.is_good(&third.member("access_token")).await);
    api.refresh(&third.member("refresh_token")).await.is(400, INVALID_REFRESH);
}

#[tokio::test]
async fn after_a_refresh_the_old_access_token_lives_on_for_a_minute() {
    let api = Api::new().await;
    let (access, refresh) = api.tokens().await;
    api.refresh(&refresh).await;
    api.world.clock.advance(Duration::from_secs(59));
    assert!(api.world.is_good(&access).await);
    api.world.clock.advance(SECOND);
    assert!(!api.world.is_good(&access).await);
}

#[tokio::test]
async fn a_refresh_token_is_of_use_to_its_own_client_only_and_survives_the_attempt() {
    let api = Api::new().await;
    let other_secret = api.world.service.add_client(new_client("other", &ClientRight::ALL)).await.unwrap();
    let (access, refresh) = api.tokens().await;
    let other =
        |token| [("refresh_token", token), ("client_id", "other"), ("client_secret", other_secret.expose()), ("token", token)];
    let fields = [&other(&refresh)[..], &[("grant_type", "refresh_token")]].concat();
    api.form("/v2/oauth/token", &fields).await.is(400, INVALID_REFRESH);
    api.form("/v2/oauth/revoke", &other(&refresh)).await.is(200, "");
    api.form("/v2/oauth/revoke", &other(&access)).await.is(200, "");
    assert!(api.world.is_good(&access).await);
    assert_eq!(api.refresh(&refresh).await.status, StatusCode::OK);
    // A used token in another client's hands says nothing about its owner either.
    api.form("/v2/oauth/token", &fields).await.is(400, INVALID_REFRESH);
    assert!(api.world.is_good(&access).await);
}

#[tokio::test]
async fn a_refresh_token_ends_after_thirty_days_without_use_and_the_family_after_ninety() {
    const DAY: Duration = Duration::from_hours(24);
    let api = Api::new().await;
    let (_, refresh) = api.tokens().await;
    api.world.clock.advance(30 * DAY);
    api.refresh(&refresh).await.is(400, INVALID_REFRESH);

    let (_, mut refresh) = api.tokens().await;
    for _ in 0..3 {
        api.world.clock.advance(29 * DAY);
        refresh = api.refresh(&refresh).await.member("refresh_token");
    }
    api.world.clock.advance(Duration::from_hours(71));
    let last = api.refresh(&refresh).await;
    assert_eq!(last.json()["expires_in"], 3600, "no token outlives its family");
    api.world.clock.advance(Duration::from_hours(1));
    assert!(!api.world.is_good(&last.member("access_token")).await);
    api.refresh(&last.member("refresh_token")).await.is(400, INVALID_REFRESH);
}

#[tokio::test]
async fn revoking_an_access_token_ends_it_alone_and_a_refresh_token_takes_its_grant_along() {
    let api = Api::new().await;
    let (access, refresh) = api.tokens().await;
    api.revoke(&access).await.is(200, "");
    assert!(!api.world.is_good(&access).await);
    let second = api.refresh(&refresh).await;
    let (access, refresh) = (second.member("access_token"), second.member("refresh_token"));
    api.revoke(&refresh).await.is(200, "");
    assert!(!api.world.is_good(&access).await);
    api.refresh(&refresh).await.is(400, INVALID_REFRESH);
}

#[tokio::test]
async fn revoking_what_is_unknown_is_done_and_without_a_client_it_is_not() {
    let api = Api::new().await;
    api.revoke("never heard of").await.is(200, "");
    let (access, _) = api.tokens().await;
    for fields in [
        vec![("token", &*access)],
        vec![("token", &*access), ("client_id", "app")],
        vec![("token", &*access), ("client_id", "app"), ("client_secret", "wrong")],
    ] {
        let answer = api.form("/v2/oauth/revoke", &fields).await;
        answer.has(401, "error", "invalid_client");
        assert!(answer.header("www-authenticate").starts_with("Basic realm="));
    }
    assert!(api.world.is_good(&access).await);
    api.form("/v2/oauth/revoke", &api.with_client(&[])).await.has(400, "error", "invalid_request");
}

#[tokio::test]
async fn the_token_endpoint_refuses_by_the_codes_of_rfc_6749() {
    let api = Api::new().await;
    let idle_secret = api.world.service.add_client(new_client("idle", &[ClientRight::Introspection])).await.unwrap();
    let code = [("grant_type", "authorization_code"), ("code", "x"), ("redirect_uri", REDIRECT)];
    let with = |more: &[(&'static str, &'static str)]| [&code[..], more].concat();
    let (url, error) = ("/v2/oauth/token", "error");
    api.token(&[]).await.has(400, error, "invalid_request");
    api.token(&[("grant_type", "client_credentials")]).await.has(400, error, "unsupported_grant_type");
    api.token(&code[..2]).await.has(400, error, "invalid_request");
    api.token(&[("grant_type", "refresh_token")]).await.has(400, error, "invalid_request");
    api.form(url, &code).await.has(400, error, "invalid_request");
    api.form(url, &with(&[("client_id", "app"), ("client_secret", "wrong")])).await.has(401, error, "invalid_client");
    api.form(url, &with(&[("client_id", "nobody"), ("client_secret", "x")])).await.has(401, error, "invalid_client");
    api.token(&with(&[("code", "y")])).await.has(400, "error_description", "MalformedRequest");
    let idle = [&code[..], &[("client_id", "idle"), ("client_secret", idle_secret.expose())]].concat();
    api.form(url, &idle).await.has(400, error, "unauthorized_client");
}

#[tokio::test]
async fn a_client_may_use_basic_but_not_basic_and_body() {
    let api = Api::new().await;
    let code = api.sign_in().await.member("code");
    let basic = |secret: &str| format!("Basic {}", STANDARD.encode(format!("app:{secret}")));
    let good = basic(api.world.client_secret.expose());
    let fields = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", REDIRECT)];
    let post = |authorization: String, fields: &[(&str, &str)]| {
        Request::post("/v2/oauth/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", authorization)
            .body(Bytes::from(encode(fields)))
            .unwrap()
    };
    api.send(post(good.clone(), &api.with_client(&fields))).await.has(400, "error", "invalid_request");
    let wrong = api.send(post(basic("wrong"), &fields)).await;
    wrong.has(401, "error", "invalid_client");
    assert!(wrong.header("www-authenticate").starts_with("Basic realm="));
    assert_eq!(api.send(post(good, &fields)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn bodies_that_can_be_read_in_two_ways_are_not_read() {
    let api = Api::new().await;
    let twice = api.sign_in_body(&api.proof().await).to_string().replacen('{', "{\"phoneNumber\":\"+40700000000\",", 1);
    let path = "/v1/authentications/password";
    api.post(path, "application/json", &twice).await.has(400, "code", "InvalidInput");
    api.post(path, "text/plain", "{}").await.has(415, "code", "UnsupportedMediaType");
    api.post(path, "application/json", &" ".repeat(20_000)).await.has(413, "code", "PayloadTooLarge");
    api.post("/v2/oauth/token", "application/json", "{}").await.has(415, "error", "invalid_request");
    let zipped = Request::post(path).header("content-type", "application/json").header("content-encoding", "gzip");
    api.send(zipped.body(Bytes::from_static(b"{}")).unwrap()).await.has(415, "code", "UnsupportedMediaType");
    assert_eq!(api.world.service.password_checks(), 0);
}

#[tokio::test]
async fn a_refresh_token_is_known_to_whoever_says_that_it_may_be_one_and_only_while_it_is_good() {
    let api = Api::new().await;
    let (access, refresh) = api.tokens().await;
    let secret = api.world.service.add_client(new_client("guard", &[ClientRight::Introspection])).await.unwrap();
    let ask = async |token: &str, hint: &str| {
        let client = [("client_id", "guard"), ("client_secret", secret.expose())];
        api.form("/oauth2/introspect", &[("token", token), ("token_type_hint", hint), client[0], client[1]]).await
    };
    let told = ask(&refresh, "refresh_token").await;
    assert_eq!((&told.json()["active"], &*told.member("token_kind")), (&json!(true), "refresh"));
    assert_eq!(told.member("sid"), ask(&access, "refresh_token").await.member("sid"), "it belongs to the same session");
    ask(&refresh, "access_token").await.is(200, r#"{"active":false}"#);
    let client = [("client_id", "app"), ("client_secret", api.world.client_secret.expose())];
    let revoked = api.form("/v2/oauth/revoke", &[("token", &access), client[0], client[1]]).await;
    assert_eq!(revoked.status, 200);
    assert_eq!(ask(&refresh, "refresh_token").await.json()["active"], true, "an access token ends alone");
    api.form("/v2/oauth/revoke", &[("token", &refresh), client[0], client[1]]).await;
    ask(&refresh, "refresh_token").await.is(200, r#"{"active":false}"#);
}

#[tokio::test]
async fn introspection_tells_all_about_a_good_token_and_nothing_about_any_other() {
    let api = Api::new().await;
    let (access, refresh) = api.tokens().await;
    let guard_secret = api.world.service.add_client(new_client("guard", &[ClientRight::Introspection])).await.unwrap();
    let stranger_secret = api.world.service.add_client(new_client("stranger", &[ClientRight::RefreshToken])).await.unwrap();
    let ask = async |token: &str, id: &str, secret: &str| {
        api.form("/oauth2/introspect", &[("token", token), ("client_id", id), ("client_secret", secret)]).await
    };
    let told = ask(&access, "guard", guard_secret.expose()).await;
    let sid = told.member("sid");
    let expected = json!({
        "active": true, "sub": api.world.account.id.to_string(), "client_id": "app", "token_type": "Bearer",
        "token_kind": "access", "exp": 1_773_135_165 + 86_400, "iat": 1_773_135_165, "sid": sid,
        "acr": "second-factor", "amr": ["pwd", "otp"], "auth_time": 1_773_135_165, "iss": "https://gateway.example",
    });
    assert_eq!(told.json(), expected);
    assert_eq!(told.header("cache-control"), "no-store");
    assert_eq!(ask(&access, "app", api.world.client_secret.expose()).await.json(), expected, "a client sees its own tokens");
    ask(&access, "stranger", stranger_secret.expose()).await.is(200, r#"{"active":false}"#);
    ask(&refresh, "guard", guard_secret.expose()).await.is(200, r#"{"active":false}"#);
    ask("unknown", "guard", guard_secret.expose()).await.is(200, r#"{"active":false}"#);
    ask(&access, "guard", "wrong").await.has(401, "error", "invalid_client");
    api.form("/oauth2/introspect", &[("token", &access)]).await.has(401, "error", "invalid_client");
    api.world.clock.advance(Duration::from_hours(24));
    ask(&access, "guard", guard_secret.expose()).await.is(200, r#"{"active":false}"#);
}

#[tokio::test]
async fn a_caller_sees_its_own_account_key_by_key_and_without_the_gateways_word_nobody_does() {
    let api = Api::new().await;
    let (access, _) = api.tokens().await;
    let facts = api.world.service.introspect(&access).await.unwrap().unwrap();
    let get = |path: &str, facts: Option<PrincipalFacts>| {
        let mut request = Request::get(path).body(Bytes::new()).unwrap();
        if let Some(facts) = facts {
            request.extensions_mut().insert(Arc::new(Principal::new(facts).unwrap()));
        }
        request
    };
    let account = format!(
        concat!(
            r#"{{"id":{},"email":"ann@example.com","phone":"+40711111298","phoneCountryCode":"RO","isSystemAccount":false,"#,
            r#""isSupportAccount":false,"isSystemIntegration":false,"dateCreated":"2026-03-10T09:32:45.000000Z","#,
            r#""dateModified":"2026-03-10T09:32:45.000000Z","dateLastAuthentication":"2026-03-10T09:32:45.000000Z","#,
            r#""registered":true}}"#
        ),
        api.world.account.id
    );
    api.send(get("/v1/account", Some(facts.clone()))).await.is(200, &account);
    api.send(get("/v1/accounts", Some(facts.clone()))).await.is(200, &format!("[{account}]"));
    api.send(get("/v1/accounts", None)).await.is(401, NOT_AUTHENTICATED);
    let foreign = PrincipalFacts { issuer: crate::model::IssuerId(9), ..facts.clone() };
    api.send(get("/v1/accounts", Some(foreign))).await.is(401, NOT_AUTHENTICATED);
    api.world.service.switch_account(api.world.account.id, AccountStatus::Disabled).await.unwrap();
    api.send(get("/v1/accounts", Some(facts))).await.is(401, NOT_AUTHENTICATED);
}

#[tokio::test]
async fn the_metadata_names_what_is_mounted_and_there_are_no_keys_yet() {
    let api = Api::new().await;
    let get = |path: &str| Request::get(path).body(Bytes::new()).unwrap();
    let metadata = api.send(get("/.well-known/oauth-authorization-server")).await.json();
    assert_eq!(metadata["issuer"], "https://gateway.example");
    assert_eq!(metadata["token_endpoint"], "https://gateway.example/v2/oauth/token");
    assert_eq!(metadata["revocation_endpoint"], "https://gateway.example/v2/oauth/revoke");
    assert_eq!(metadata["introspection_endpoint"], "https://gateway.example/oauth2/introspect");
    assert_eq!(metadata["grant_types_supported"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(metadata["response_types_supported"], json!([]));
    assert_eq!(api.send(get("/.well-known/jwks.json")).await.json(), json!({ "keys": [] }));
}

#[tokio::test]
async fn codes_are_sent_no_faster_than_the_interval_and_no_more_than_the_budget_allows() {
    let mut plan = settings();
    let oauth = plan.oauth.as_mut().unwrap();
    (oauth.resend_interval, oauth.codes_per_phone) = (Duration::from_secs(15), 3);
    let api = Api::over(World::with(plan).await);
    let request = json!({ "phoneNumber": PHONE, "language": "en", "destination": "Phone" });
    let ask = async || api.json("/v2/verification/request-code", &request).await;
    assert_eq!(ask().await.status, StatusCode::OK);
    let refused = ask().await;
    refused.has(429, "code", "TooManyRequests");
    assert_eq!(refused.header("retry-after"), "15");
    for _ in 0..2 {
        api.world.clock.advance(15 * SECOND);
        assert_eq!(ask().await.status, StatusCode::OK);
    }
    api.world.clock.advance(15 * SECOND);
    assert_eq!(ask().await.header("retry-after"), "555", "the first of the three was 45 s ago");
    api.world.clock.advance(555 * SECOND);
    assert_eq!(ask().await.status, StatusCode::OK);
    assert_eq!(ask().await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_code_request_with_other_words_is_refused() {
    let api = Api::new().await;
    for body in [
        json!({ "language": "en" }),
        json!({ "phoneNumber": "123" }),
        json!({ "phoneNumber": PHONE, "destination": "Email" }),
        json!({ "phoneNumber": PHONE, "language": "en\r\nX: y" }),
        json!({ "phoneNumber": PHONE, "language": 7 }),
    ] {
        api.json("/v2/verification/request-code", &body).await.has(400, "code", "InvalidInput");
    }
}

#[tokio::test]
async fn a_one_time_code_is_tried_five_times_lives_ten_minutes_and_is_bound_to_its_number() {
    let api = Api::new().await;
    let request = json!({ "phoneNumber": PHONE, "language": "en", "destination": "Phone" });
    let verify = async |phone: &str, code: &str| {
        api.json("/v2/verification/verify-code", &json!({ "phoneNumber": phone, "verificationCode": code })).await
    };
    verify(PHONE, "12345").await.has(400, "code", "InvalidInput");
    verify(PHONE, "123456").await.is(401, NOT_AUTHENTICATED);
    api.json("/v2/verification/request-code", &request).await;
    verify("+40700000000", "123456").await.is(401, NOT_AUTHENTICATED);
    for _ in 0..4 {
        verify(PHONE, "000000").await.is(401, NOT_AUTHENTICATED);
    }
    let right = verify(PHONE, "123456").await;
    is_uuid_v4(&right.member("verificationToken"));
    verify(PHONE, "123456").await.is(401, NOT_AUTHENTICATED);

    api.json("/v2/verification/request-code", &request).await;
    for _ in 0..5 {
        verify(PHONE, "000000").await.is(401, NOT_AUTHENTICATED);
    }
    verify(PHONE, "123456").await.is(401, NOT_AUTHENTICATED);

    api.json("/v2/verification/request-code", &request).await;
    api.world.clock.advance(Duration::from_mins(10));
    verify(PHONE, "123456").await.is(401, NOT_AUTHENTICATED);
}

#[tokio::test]
async fn a_locked_account_keeps_its_sessions_but_opens_no_new_one() {
    let api = Api::new().await;
    let (access, refresh) = api.tokens().await;
    let code = api.sign_in().await.member("code");
    let proof = api.proof().await;
    for _ in 0..5 {
        wrong_password(&api, &proof).await.is(401, NOT_AUTHENTICATED);
    }
    let answer = api.redeem(&code).await;
    answer.has(429, "code", "TooManyRequests");
    assert_eq!(answer.header("retry-after"), "1800");
    assert!(api.world.is_good(&access).await);
    assert_eq!(api.refresh(&refresh).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_mounted_is_refused_rather_than_panicked_on() {
    let world = World::new().await;
    for (path, other) in [("no-slash", "/x"), ("/{id}", "/x"), ("/*rest", "/x"), ("/:id", "/x"), ("/x", "/x")] {
        let mut plan = settings();
        let paths = &mut plan.oauth.as_mut().unwrap().paths;
        (paths.token, paths.revoke) = (path.into(), other.into());
        assert!(router(Arc::clone(&world.service), &plan).is_err(), "{path}");
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_stop_what_it_asked_for() {
    let api = Api::new().await;
    let (access, _) = api.tokens().await;
    let mut revocation = Box::pin(api.revoke(&access));
    tokio::select! { biased; _ = &mut revocation => {}, () = async {} => {} }
    drop(revocation);
    let dead = async {
        while api.world.is_good(&access).await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), dead).await.is_ok());
}

#[tokio::test]
async fn another_method_is_told_which_one_to_use_and_another_path_that_there_is_nothing() {
    let api = Api::new().await;
    let answer = api.send(Request::get("/v2/oauth/token").body(Bytes::new()).unwrap()).await;
    answer.has(405, "code", "MethodNotAllowed");
    assert_eq!(answer.header("allow"), "POST");
    let answer = api.send(Request::post("/v1/accounts").body(Bytes::new()).unwrap()).await;
    answer.has(405, "code", "MethodNotAllowed");
    assert_eq!(answer.header("allow"), "GET,HEAD");
    api.send(Request::get("/v1/nothing").body(Bytes::new()).unwrap()).await.has(404, "code", "NotFound");
}
