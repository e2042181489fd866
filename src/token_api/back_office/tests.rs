//! Contract C, exchange by exchange, through the router and a real database.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use crate::model::{Principal, Source, Timestamp};
use crate::store::cuts::Watermark;
use crate::token_api::tests::{Answer, Api, SECOND, is_uuid_v4};
use crate::tokens::account::AccountStatus;
use crate::tokens::keyring::fingerprint;
use crate::tokens::store::EmailFactor;
use crate::tokens::tests::world::{PASSWORD, World, back_office, settings};

const EMAIL: &str = "ann@example.com";
const UNAUTHENTICATED: &str = r#"{"message":"Unauthenticated."}"#;
const SIGN_IN: &str = "/api/v2/signin";
const CONFIRM: &str = "/api/v2/2fa/confirm";
const REFRESH: &str = "/api/v2/refresh";
const SIGN_OUT: &str = "/api/v2/signout";
const CODE: &str = "123456";

/// API C with one account; `change` changes the plan.
async fn api(change: impl FnOnce(&mut crate::plan::TokenService)) -> Api {
    let mut plan = settings();
    plan.back_office = Some(back_office());
    change(&mut plan);
    Api::over(World::with(plan).await)
}

async fn plain() -> Api {
    api(|_| ()).await
}

/// The same with the account's second factor on.
async fn with_second_factor() -> Api {
    let api = plain().await;
    assert!(api.world.service.switch_email_factor(api.world.account.id, EmailFactor::On).await.unwrap());
    api
}

impl Api {
    async fn post_from(&self, from: &str, path: &str, body: &Value) -> Answer {
        let request = Request::post(path).header("content-type", "application/json");
        let mut request = request.body(Bytes::from(body.to_string())).unwrap();
        request.extensions_mut().insert(Source::new(from.parse::<IpAddr>().unwrap()));
        self.send(request).await
    }

    async fn enter(&self, password: &str) -> Answer {
        self.post_from("192.0.2.1", SIGN_IN, &json!({ "email": EMAIL, "password": password })).await
    }

    async fn confirm(&self, token: &str, code: &str) -> Answer {
        self.post_from("192.0.2.1", CONFIRM, &json!({ "token": token, "code": code })).await
    }

    async fn renew(&self, token: &str) -> Answer {
        self.post_from("192.0.2.1", REFRESH, &json!({ "refreshToken": token })).await
    }

    /// As the gateway does it: the token is verified first, and whoever has none that is good never gets here.
    async fn sign_out(&self, access: &str) -> Answer {
        let facts = self.world.service.introspect(access).await.unwrap();
        let mut request = Request::post(SIGN_OUT).body(Bytes::new()).unwrap();
        if let Some(facts) = facts {
            request.extensions_mut().insert(Arc::new(Principal::new(facts).unwrap()));
        }
        self.send(request).await
    }

    async fn second_factor_token(&self) -> String {
        self.enter(PASSWORD).await.json()["2faDetails"]["token"].as_str().unwrap().to_owned()
    }
}

/// Access and refresh token of an answer.
fn pair(answer: &Answer) -> (String, String) {
    let body = answer.json();
    let token = |name: &str| body[name]["token"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned();
    (token("accessToken"), token("refreshToken"))
}

#[track_caller]
fn is_paused(answer: &Answer, seconds: &str) {
    answer.is(429, r#"{"message":"Too many attempts. Please try again later."}"#);
    assert_eq!(answer.header("retry-after"), seconds);
}

/// Checks a token as anybody can who knows where the keys are published; its claims.
async fn verified(api: &Api, token: &str) -> (jsonwebtoken::Header, BTreeMap<String, Value>) {
    let answer = api.send(Request::get("/.well-known/jwks.json").body(Bytes::new()).unwrap()).await;
    assert_eq!(answer.header("cache-control"), "public, max-age=600");
    let keys: JwkSet = serde_json::from_str(&answer.text).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = DecodingKey::from_jwk(keys.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&["https://gateway.example"]);
    rules.set_issuer(&["https://gateway.example"]);
    // The clock of the test is not that of the machine.
    rules.validate_exp = false;
    (header, decode(token, &key, &rules).unwrap().claims)
}

#[tokio::test]
async fn without_a_second_factor_the_password_gives_both_tokens_key_by_key() {
    let api = plain().await;
    let answer = api.enter(PASSWORD).await;
    let (access, refresh) = pair(&answer);
    let expected = format!(
        concat!(
            r#"{{"2faRequired":false,"#,
            r#""accessToken":{{"token":"{}","createdAt":"2026-03-10T09:32:45+00:00","expiresAt":"2026-03-10T19:32:45+00:00"}},"#,
            r#""refreshToken":{{"token":"{}","createdAt":"2026-03-10T09:32:45+00:00","expiresAt":"2026-03-24T09:32:45+00:00"}}}}"#,
        ),
        access, refresh
    );
    answer.is(200, &expected);
    assert_eq!(answer.header("pragma"), "no-cache");
}

#[tokio::test]
async fn the_access_token_is_verified_with_the_published_keys_and_lives_ten_hours() {
    let api = plain().await;
    let (access, _) = pair(&api.enter(PASSWORD).await);
    let (header, claims) = verified(&api, &access).await;
    assert_eq!((header.typ.as_deref(), header.alg), (Some("JWT"), Algorithm::RS256));
    let start = 1_773_135_165;
    let text = |name: &str| claims[name].as_str().unwrap().to_owned();
    assert_eq!((text("sub"), text("acr")), (api.world.account.id.to_string(), "password".to_owned()));
    assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(start), Some(start + 36_000)));
    is_uuid_v4(&text("jti"));
    is_uuid_v4(&text("sid"));

    let facts = api.world.service.introspect(&access).await.unwrap().unwrap();
    assert_eq!((facts.session.as_deref(), facts.token_id.as_deref()), (Some(&*text("sid")), Some(&*text("jti"))));
    assert_eq!((facts.client, facts.acr.as_deref()), (None, Some("password")));
    assert_eq!((&*facts.amr, &*facts.audience), (&["pwd".into()][..], &["https://gateway.example".into()][..]));
    assert_eq!(facts.expires_at, Some(Timestamp::from_secs(start + 36_000)));

    api.world.clock.advance(35_999 * SECOND);
    assert!(api.world.is_good(&access).await);
    api.world.clock.advance(SECOND);
    assert!(!api.world.is_good(&access).await);
}

#[tokio::test]
async fn with_a_second_factor_the_password_gives_a_token_for_a_code_and_the_code_gives_both() {
    let api = with_second_factor().await;
    let answer = api.enter(PASSWORD).await;
    let token = answer.json()["2faDetails"]["token"].as_str().unwrap().to_owned();
    is_uuid_v4(&token);
    let expected = format!(
        r#"{{"2faRequired":true,"2faDetails":{{"token":"{token}","provider":"email","expiresAt":"2026-03-10T09:42:45+00:00"}}}}"#
    );
    answer.is(200, &expected);

    let answer = api.confirm(&token, CODE).await;
    let (access, _) = pair(&answer);
    let members: Vec<String> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!((answer.status, &*members), (StatusCode::OK, &["accessToken".to_owned(), "refreshToken".to_owned()][..]));
    let (_, claims) = verified(&api, &access).await;
    assert_eq!((&claims["acr"], &claims["amr"]), (&json!("second-factor"), &json!(["pwd", "otp"])));
    let facts = api.world.service.introspect(&access).await.unwrap().unwrap();
    assert_eq!((facts.acr.as_deref(), facts.amr.len()), (Some("second-factor"), 2));
}

#[tokio::test]
async fn a_factor_that_is_switched_off_is_not_asked_for() {
    let api = with_second_factor().await;
    assert!(api.world.service.switch_email_factor(api.world.account.id, EmailFactor::Off).await.unwrap());
    assert_eq!(api.enter(PASSWORD).await.json()["2faRequired"], json!(false));
    assert!(!api.world.service.switch_email_factor(crate::tokens::account::AccountId(999), EmailFactor::On).await.unwrap());
}

#[tokio::test]
async fn whatever_is_wrong_with_who_somebody_is_the_answer_is_the_same() {
    let api = with_second_factor().await;
    api.enter("wrong").await.is(401, UNAUTHENTICATED);
    let nobody = json!({ "email": "nobody@example.com", "password": PASSWORD });
    let answer = api.post_from("192.0.2.1", SIGN_IN, &nobody).await;
    answer.is(401, UNAUTHENTICATED);
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"portcullis\"");
    api.confirm("b2fcf999-2b0b-451d-9888-094a79117aa5", CODE).await.is(401, UNAUTHENTICATED);
    api.confirm("no uuid", CODE).await.is(401, UNAUTHENTICATED);
    api.renew("unknown").await.is(401, UNAUTHENTICATED);
    api.sign_out("unknown").await.is(401, UNAUTHENTICATED);
    assert_eq!(api.world.service.password_checks(), 2, "the same work is done for nobody");
}

#[tokio::test]
async fn input_that_is_not_valid_is_told_and_counts_for_nothing() {
    let api = plain().await;
    let inputs = [
        (SIGN_IN, json!({ "password": PASSWORD }), "email"),
        (SIGN_IN, json!({ "email": EMAIL }), "password"),
        (SIGN_IN, json!({ "email": EMAIL, "password": "" }), "password"),
        (SIGN_IN, json!({ "email": EMAIL, "password": 7 }), "password"),
        (SIGN_IN, json!({ "email": EMAIL, "password": null }), "password"),
        (SIGN_IN, json!({ "email": EMAIL, "password": "x".repeat(1025) }), "password"),
        (SIGN_IN, json!({ "email": "ann", "password": PASSWORD }), "email"),
        (CONFIRM, json!({ "token": "b2fcf999-2b0b-451d-9888-094a79117aa5" }), "code"),
        (CONFIRM, json!({ "code": CODE }), "token"),
        (REFRESH, json!({}), "refreshToken"),
        (REFRESH, json!({ "refreshToken": ["x"] }), "refreshToken"),
    ];
    for (path, body, member) in inputs {
        let answer = api.post_from("192.0.2.1", path, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.member("message").starts_with(member), "{}", answer.text);
        assert_eq!(answer.json().as_object().unwrap().len(), 1, "{}", answer.text);
    }
    let twice = r#"{"email":"ann@example.com","email":"bob@example.com","password":"x"}"#;
    assert_eq!(api.post(SIGN_IN, "application/json", twice).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(api.world.service.password_checks(), 0);
    assert_eq!(api.enter(PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn json_is_read_under_its_own_label_under_none_and_under_that_of_a_form() {
    let api = plain().await;
    let body = json!({ "email": EMAIL, "password": PASSWORD }).to_string();
    for label in ["application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"] {
        assert_eq!(api.post(SIGN_IN, label, &body).await.status, StatusCode::OK, "{label}");
    }
    let unlabelled = Request::post(SIGN_IN).body(Bytes::from(body.clone())).unwrap();
    assert_eq!(api.send(unlabelled).await.status, StatusCode::OK);
    let form = "email=ann%40example.com&password=x";
    let answer = api.post(SIGN_IN, "application/x-www-form-urlencoded", form).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(api.post(SIGN_IN, "text/plain", &body).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let compressed = Request::post(SIGN_IN).header("content-encoding", "gzip").body(Bytes::from(body)).unwrap();
    assert_eq!(api.send(compressed).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let large = format!(r#"{{"email":"{}"}}"#, "x".repeat(17_000));
    assert_eq!(api.post(SIGN_IN, "application/json", &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_refresh_gives_new_tokens_and_the_old_access_token_dies_within_a_minute() {
    let api = plain().await;
    let (access, refresh) = pair(&api.enter(PASSWORD).await);
    api.world.clock.advance(10 * SECOND);
    let answer = api.renew(&refresh).await;
    assert_eq!(answer.json()["accessToken"]["createdAt"], json!("2026-03-10T09:32:55+00:00"));
    let (newer_access, newer_refresh) = pair(&answer);
    assert_eq!(HashSet::from([&access, &refresh, &newer_access, &newer_refresh]).len(), 4);
    let (of, then) = (verified(&api, &access).await.1, verified(&api, &newer_access).await.1);
    assert_eq!((&of["sid"], &of["auth_time"]), (&then["sid"], &then["auth_time"]), "the session is the same");
    assert!(api.world.is_good(&access).await);
    api.world.clock.advance(60 * SECOND);
    assert!(!api.world.is_good(&access).await);
    assert!(api.world.is_good(&newer_access).await);
}

#[tokio::test]
async fn a_refresh_token_that_is_used_again_ends_its_family() {
    let api = plain().await;
    let (_, refresh) = pair(&api.enter(PASSWORD).await);
    let (newer_access, newer_refresh) = pair(&api.renew(&refresh).await);
    api.renew(&refresh).await.is(401, UNAUTHENTICATED);
    assert!(!api.world.is_good(&newer_access).await);
    api.renew(&newer_refresh).await.is(401, UNAUTHENTICATED);
}

#[tokio::test]
async fn within_a_grace_a_retried_refresh_gets_the_very_same_answer() {
    let api = api(|plan| plan.back_office.as_mut().unwrap().refresh_grace = 10 * SECOND).await;
    let (_, refresh) = pair(&api.enter(PASSWORD).await);
    let first = api.renew(&refresh).await;
    api.world.clock.advance(9 * SECOND);
    api.renew(&refresh).await.is(200, &first.text);
    api.world.clock.advance(SECOND);
    api.renew(&refresh).await.is(401, UNAUTHENTICATED);
    assert!(!api.world.is_good(&pair(&first).0).await);
}

#[tokio::test]
async fn a_session_ends_after_thirty_days_whatever_its_use_and_after_fourteen_without() {
    let api = plain().await;
    let day = Duration::from_hours(24);
    let (_, mut refresh) = pair(&api.enter(PASSWORD).await);
    for _ in 0..2 {
        api.world.clock.advance(Duration::from_hours(14 * 24 - 1));
        refresh = pair(&api.renew(&refresh).await).1;
    }
    api.world.clock.advance(2 * day);
    assert_eq!(pair(&api.renew(&refresh).await).1.len(), 43);
    let (_, unused) = pair(&api.enter(PASSWORD).await);
    api.world.clock.advance(14 * day);
    api.renew(&unused).await.is(401, UNAUTHENTICATED);
}

#[tokio::test]
async fn a_refresh_token_never_passes_for_an_access_token_nor_one_for_the_other() {
    let api = plain().await;
    let (access, refresh) = pair(&api.enter(PASSWORD).await);
    assert!(!api.world.is_good(&refresh).await);
    api.renew(&access).await.is(401, UNAUTHENTICATED);
    assert!(api.world.is_good(&access).await);
}

#[tokio::test]
async fn refresh_tokens_of_one_api_are_nothing_to_another() {
    let api = plain().await;
    let (_, foreign) = api.tokens().await;
    api.renew(&foreign).await.is(401, UNAUTHENTICATED);
    let (_, own) = pair(&api.enter(PASSWORD).await);
    let fields = format!("grant_type=refresh_token&refresh_token={own}&client_id=app&client_secret=");
    let fields = fields + api.world.client_secret.expose();
    assert_eq!(api.post("/v2/oauth/token", "application/x-www-form-urlencoded", &fields).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(api.renew(&own).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_sign_out_ends_both_tokens_at_once_although_the_signature_still_verifies() {
    let api = plain().await;
    let (access, refresh) = pair(&api.enter(PASSWORD).await);
    let (before, facts) = (api.world.cuts.sequence(), api.world.service.introspect(&access).await.unwrap().unwrap());
    let answer = api.sign_out(&access).await;
    answer.is(200, "");
    assert!(!api.world.cuts.spare(&facts, fingerprint(&access), &Watermark::at(before)), "the gateway knows");
    assert!(!api.world.is_good(&access).await);
    verified(&api, &access).await;
    api.sign_out(&access).await.is(401, UNAUTHENTICATED);
    api.renew(&refresh).await.is(401, UNAUTHENTICATED);

    let api = api.restart().await;
    assert!(!api.world.is_good(&access).await, "nor does a restart bring it back");
}

#[tokio::test]
async fn a_sign_out_ends_no_other_session() {
    let api = plain().await;
    let (first, _) = pair(&api.enter(PASSWORD).await);
    let (second, _) = pair(&api.enter(PASSWORD).await);
    let (foreign, _) = api.tokens().await;
    api.sign_out(&first).await.is(200, "");
    assert!(api.world.is_good(&second).await);
    api.sign_out(&foreign).await.is(401, UNAUTHENTICATED);
    assert!(api.world.is_good(&foreign).await);
}

#[tokio::test]
async fn an_expired_token_cannot_sign_out() {
    let api = plain().await;
    let (access, _) = pair(&api.enter(PASSWORD).await);
    api.world.clock.advance(36_000 * SECOND);
    api.sign_out(&access).await.is(401, UNAUTHENTICATED);
}

#[tokio::test]
async fn a_disabled_account_cannot_sign_in_confirm_refresh_or_use_a_token() {
    let api = plain().await;
    let (access, refresh) = pair(&api.enter(PASSWORD).await);
    let id = api.world.account.id;
    assert!(api.world.service.switch_email_factor(id, EmailFactor::On).await.unwrap());
    let token = api.second_factor_token().await;
    assert!(api.world.service.switch_account(id, AccountStatus::Disabled).await.unwrap());
    assert!(!api.world.is_good(&access).await);
    api.renew(&refresh).await.is(401, UNAUTHENTICATED);
    api.confirm(&token, CODE).await.is(401, UNAUTHENTICATED);
    api.enter(PASSWORD).await.is(401, UNAUTHENTICATED);
    assert!(api.world.service.switch_email_factor(id, EmailFactor::Off).await.unwrap());
    api.enter(PASSWORD).await.is(401, UNAUTHENTICATED);
}

#[tokio::test]
async fn a_code_lives_ten_minutes_is_used_once_and_is_tried_five_times() {
    let api = with_second_factor().await;
    let token = api.second_factor_token().await;
    api.world.clock.advance(599 * SECOND);
    assert_eq!(api.confirm(&token, CODE).await.status, StatusCode::OK);
    api.confirm(&token, CODE).await.is(401, UNAUTHENTICATED);

    let token = api.second_factor_token().await;
    api.world.clock.advance(Duration::from_mins(10));
    api.confirm(&token, CODE).await.is(401, UNAUTHENTICATED);

    let token = api.second_factor_token().await;
    for _ in 0..5 {
        api.world.clock.advance(30 * SECOND);
        api.confirm(&token, "000000").await.is(401, UNAUTHENTICATED);
    }
    api.world.clock.advance(30 * SECOND);
    api.confirm(&token, CODE).await.is(401, UNAUTHENTICATED);
}

#[tokio::test]
async fn two_sign_ins_at_once_do_not_void_each_others_codes() {
    let api = with_second_factor().await;
    let (first, second) = (api.second_factor_token().await, api.second_factor_token().await);
    assert_eq!(api.confirm(&first, CODE).await.status, StatusCode::OK);
    assert_eq!(api.confirm(&second, CODE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_account_gets_no_more_codes_than_its_budget() {
    let api = api(|plan| plan.back_office.as_mut().unwrap().codes_per_account = 2).await;
    assert!(api.world.service.switch_email_factor(api.world.account.id, EmailFactor::On).await.unwrap());
    for _ in 0..2 {
        assert_eq!(api.enter(PASSWORD).await.status, StatusCode::OK);
    }
    is_paused(&api.enter(PASSWORD).await, "600");
    api.world.clock.advance(Duration::from_mins(10));
    assert_eq!(api.enter(PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_sixth_sign_in_within_a_minute_begins_a_pause_of_ten_minutes() {
    let api = plain().await;
    for _ in 0..5 {
        assert_eq!(api.enter(PASSWORD).await.status, StatusCode::OK);
        api.world.clock.advance(10 * SECOND);
    }
    is_paused(&api.enter(PASSWORD).await, "600");
    api.world.clock.advance(599 * SECOND);
    is_paused(&api.enter(PASSWORD).await, "1");
    let elsewhere = json!({ "email": EMAIL, "password": PASSWORD });
    assert_eq!(api.post_from("192.0.2.2", SIGN_IN, &elsewhere).await.status, StatusCode::OK, "from another source");
    api.world.clock.advance(SECOND);
    assert_eq!(api.enter(PASSWORD).await.status, StatusCode::OK);
    assert_eq!(api.world.service.password_checks(), 7, "whoever pauses costs no hash");
}

#[tokio::test]
async fn a_source_with_too_many_sign_ins_pauses_whomever_it_names() {
    let api = api(|plan| plan.back_office.as_mut().unwrap().logins_per_source = Some(7)).await;
    for number in 0..7 {
        let body = json!({ "email": format!("nobody{number}@example.com"), "password": "wrong" });
        api.post_from("2001:db8::1", SIGN_IN, &body).await.is(401, UNAUTHENTICATED);
    }
    let body = json!({ "email": EMAIL, "password": PASSWORD });
    is_paused(&api.post_from("2001:db8::ffff", SIGN_IN, &body).await, "60");
    assert_eq!(api.post_from("2001:db8:0:1::1", SIGN_IN, &body).await.status, StatusCode::OK, "another /64");
    assert_eq!(api.world.service.password_checks(), 8);
}

#[tokio::test]
async fn spellings_of_an_address_share_one_window() {
    let api = plain().await;
    for email in ["ann@example.com", "ANN@example.com", " ann@example.com", "Ann@Example.com", "ａnn@example.com"] {
        let body = json!({ "email": email, "password": PASSWORD });
        assert_eq!(api.post_from("192.0.2.1", SIGN_IN, &body).await.status, StatusCode::OK, "{email}");
    }
    is_paused(&api.enter(PASSWORD).await, "600");
}

#[tokio::test]
async fn the_fourth_confirmation_within_a_minute_begins_a_pause_even_if_it_is_right() {
    let api = with_second_factor().await;
    let token = api.second_factor_token().await;
    for _ in 0..3 {
        api.confirm(&token, "000000").await.is(401, UNAUTHENTICATED);
    }
    is_paused(&api.confirm(&token, CODE).await, "600");
    assert_eq!(api.enter(PASSWORD).await.status, StatusCode::OK, "the other operations go on");
    api.world.clock.advance(600 * SECOND);
    let token = api.second_factor_token().await;
    assert_eq!(api.confirm(&token, CODE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_sixth_refresh_within_a_minute_begins_a_pause_and_loses_no_token() {
    let api = plain().await;
    let (_, mut refresh) = pair(&api.enter(PASSWORD).await);
    for _ in 0..5 {
        refresh = pair(&api.renew(&refresh).await).1;
    }
    is_paused(&api.renew(&refresh).await, "600");
    api.world.clock.advance(600 * SECOND);
    assert_eq!(api.renew(&refresh).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_that_leads_to_nobody_is_counted_too() {
    let api = plain().await;
    for _ in 0..5 {
        api.renew("unknown").await.is(401, UNAUTHENTICATED);
    }
    is_paused(&api.renew("unknown").await, "600");
    for _ in 0..3 {
        api.confirm("b2fcf999-2b0b-451d-9888-094a79117aa5", CODE).await.is(401, UNAUTHENTICATED);
    }
    is_paused(&api.confirm("b2fcf999-2b0b-451d-9888-094a79117aa5", CODE).await, "600");
}

#[tokio::test]
async fn the_lock_speaks_before_the_limit_and_spares_what_is_open() {
    let api = with_second_factor().await;
    let token = api.second_factor_token().await;
    api.world.clock.advance(60 * SECOND);
    for _ in 0..5 {
        api.enter("wrong").await.is(401, UNAUTHENTICATED);
    }
    is_paused(&api.enter(PASSWORD).await, "1800");
    api.world.clock.advance(10 * SECOND);
    is_paused(&api.enter(PASSWORD).await, "1790");
    is_paused(&api.confirm(&token, CODE).await, "1790");
    api.world.clock.advance(1790 * SECOND);
    assert_eq!(api.enter(PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn five_wrong_passwords_in_another_api_lock_this_one_and_sessions_go_on() {
    let api = plain().await;
    let (access, refresh) = pair(&api.enter(PASSWORD).await);
    let proof = api.world.proof().await;
    for _ in 0..5 {
        let body = json!({
            "mfaToken": proof.expose(), "password": "wrong", "clientId": "app",
            "clientSecret": api.world.client_secret.expose(), "phoneNumber": crate::tokens::tests::world::PHONE,
        });
        assert_eq!(api.json("/v1/authentications/password", &body).await.status, StatusCode::UNAUTHORIZED);
    }
    is_paused(&api.enter(PASSWORD).await, "1800");
    assert!(api.world.is_good(&access).await);
    assert_eq!(api.renew(&refresh).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_refreshes_at_once_one_succeeds() {
    let api = api(|plan| plan.back_office.as_mut().unwrap().limits.refresh = 1000).await;
    let (_, refresh) = pair(&api.enter(PASSWORD).await);
    let answers = at_once(api, move |api| {
        let refresh = refresh.clone();
        async move { api.renew(&refresh).await.status }
    });
    let answers = answers.await;
    assert_eq!(answers.iter().filter(|status| **status == StatusCode::OK).count(), 1);
    assert_eq!(answers.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(), 49);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_confirmations_at_once_one_succeeds() {
    let api = api(|plan| plan.back_office.as_mut().unwrap().limits.confirm = 1000).await;
    assert!(api.world.service.switch_email_factor(api.world.account.id, EmailFactor::On).await.unwrap());
    let token = api.second_factor_token().await;
    let answers = at_once(api, move |api| {
        let token = token.clone();
        async move { api.confirm(&token, CODE).await.status }
    });
    let answers = answers.await;
    assert_eq!(answers.iter().filter(|status| **status == StatusCode::OK).count(), 1);
    assert_eq!(answers.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(), 49);
}

async fn at_once<F: Future<Output = StatusCode> + Send + 'static>(api: Api, call: impl Fn(Arc<Api>) -> F) -> Vec<StatusCode> {
    let api = Arc::new(api);
    let calls: Vec<_> = (0..50).map(|_| tokio::spawn(call(Arc::clone(&api)))).collect();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.unwrap());
    }
    statuses
}

#[tokio::test]
async fn a_rotated_key_is_published_at_once_signs_after_the_max_age_and_stays_while_its_tokens_live() {
    let api = plain().await;
    let (old, _) = pair(&api.enter(PASSWORD).await);
    let next = api.world.service.rotate_keys().await.unwrap();
    assert!(api.world.service.rotate_keys().await.is_err(), "one next key is enough");
    let published = async || api.world.service.published_keys().await.unwrap().keys.len();
    assert_eq!(published().await, 2);
    let signs_with = async || verified(&api, &pair(&api.enter(PASSWORD).await).0).await.0.kid.unwrap();
    assert_ne!(signs_with().await, *next.id);
    api.world.clock.advance(Duration::from_mins(10));
    assert_eq!(signs_with().await, *next.id);
    assert!(api.world.is_good(&old).await);
    // The longest life of a token, and the five minutes in which another process may not have noticed.
    api.world.clock.advance((10 * 3600 + 5 * 60 - 1) * SECOND);
    assert_eq!(published().await, 2);
    api.world.clock.advance(SECOND);
    assert_eq!(published().await, 1);
    let now = crate::model::Clock::now(api.world.clock.as_ref());
    assert!(api.world.service.clean_up(now).await.unwrap() > 0);
    assert_eq!(api.world.service.signing_keys().await.unwrap().len(), 1);
    assert_eq!(signs_with().await, *next.id);
}

#[tokio::test]
async fn neither_tokens_nor_keys_can_be_taken_from_the_files() {
    let api = with_second_factor().await;
    let waiting = api.second_factor_token().await;
    let (access, refresh) = pair(&api.confirm(&waiting, CODE).await);
    let key = crate::tokens::signing::tests::key(0).to_pkcs8().unwrap();
    let files = std::fs::read_dir(&api.world.directory.0).unwrap();
    for file in files.map(|entry| entry.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
        let signature = access.rsplit('.').next().unwrap();
        // A stretch from the middle of the key, so that no difference in wrapping hides it.
        for (name, what) in [("token", signature.as_bytes()), ("refresh", refresh.as_bytes()), ("key", &key[400..440])] {
            assert!(!holds(what), "{} holds the {name}", file.display());
        }
        assert!(!holds(waiting.as_bytes()), "{} holds the token that waits for a code", file.display());
    }
}

#[tokio::test]
async fn without_an_api_that_signs_there_are_no_keys() {
    let world = World::new().await;
    assert_eq!(world.service.signing_keys().await.unwrap(), []);
    assert!(world.service.rotate_keys().await.is_err());
    let api = Api::over(world);
    let answer = api.send(Request::get("/.well-known/jwks.json").body(Bytes::new()).unwrap()).await;
    assert_eq!((answer.status, &*answer.text), (StatusCode::OK, r#"{"keys":[]}"#));
}
