//! Contract A against the quick start: the recorded exchanges first, then every rule around them.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{
    Client, Quickstart, Request, Response, Tokens, all_at_once, assert_dressed, assert_unauthenticated, keys, now,
};

const OLD_VERSION: &str = "This functionality is not supported. Please update the app to the latest version.";

fn is_uuid(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let hyphens = [8, 13, 18, 23];
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, b)| if hyphens.contains(&at) { b == b'-' } else { b.is_ascii_digit() || (b'a'..=b'f').contains(&b) })
}

#[track_caller]
fn assert_old_version(response: &Response) {
    assert_eq!(response.status, 400, "{response:#?}");
    let expected = json!({
        "message": OLD_VERSION, "code": "OldAppVersion", "errorMessage": OLD_VERSION, "errorCode": "OldAppVersion",
    });
    assert_eq!(response.json(), expected);
    assert_dressed(response, "password grant");
}

/// An OAuth error: four keys, two of them fixed.
#[track_caller]
fn assert_oauth_error(response: &Response, status: u16, error: &str, description: Option<&str>, what: &str) {
    assert_eq!(response.status, status, "{what}: {response:#?}");
    let body = response.json();
    assert_eq!(keys(&body), BTreeSet::from(["error", "errorMessage", "error_description", "message"]), "{what}");
    assert_eq!(body["error"], error, "{what}");
    assert_eq!((&body["message"], &body["errorMessage"]), (&json!("OAuth failure"), &json!("OAuth failure")), "{what}");
    if let Some(description) = description {
        assert_eq!(body["error_description"], description, "{what}");
    }
    assert_dressed(response, what);
}

#[track_caller]
fn assert_invalid_code(response: &Response, what: &str) {
    assert_oauth_error(response, 400, "invalid_request", Some("InvalidGrantCode"), what);
}

/// An API error: the message and the code, twice each.
#[track_caller]
fn assert_api_error(response: &Response, status: u16, code: &str, what: &str) {
    assert_eq!(response.status, status, "{what}: {response:#?}");
    let body = response.json();
    assert_eq!(keys(&body), BTreeSet::from(["code", "errorCode", "errorMessage", "message"]), "{what}");
    assert_eq!((&body["code"], &body["errorCode"]), (&json!(code), &json!(code)), "{what}");
    assert_eq!(body["message"], body["errorMessage"], "{what}");
    assert_dressed(response, what);
}

#[track_caller]
fn assert_token_answer(response: &Response) {
    assert_eq!(response.status, 200, "{response:#?}");
    let body = response.json();
    let expected = ["access_token", "account_id", "expires_in", "refresh_token", "token_type"];
    assert_eq!(keys(&body), BTreeSet::from(expected));
    assert!(is_uuid(&body["access_token"]) && is_uuid(&body["refresh_token"]), "{body}");
    assert_ne!(body["access_token"], body["refresh_token"]);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(86400)));
    assert!(body["account_id"].is_u64(), "{body}");
    assert_eq!(response.only("Cache-Control"), "no-store");
    assert_eq!(response.only("Pragma"), "no-cache");
    assert_dressed(response, "token answer");
}

#[test]
fn the_password_grant_is_always_told_to_update_whoever_asks_and_however() {
    let quick = Quickstart::start();
    let whole = [
        ("grant_type", "password"),
        ("client_id", quick.value("OAUTH_CLIENT_ID")),
        ("client_secret", quick.value("OAUTH_CLIENT_SECRET")),
        ("username", quick.value("ACCOUNT_PHONE")),
        ("password", quick.value("ACCOUNT_PASSWORD")),
        ("scope", "platform"),
        ("mfa_token", &quick.mfa_token(quick.value("ACCOUNT_PHONE"))),
    ];
    assert_old_version(&quick.token(&whole));
    assert_old_version(&quick.token(&[("grant_type", "password")]));
    assert_old_version(&quick.token(&[("grant_type", "password"), ("client_id", "nobody"), ("client_secret", "wrong")]));
    let new_app = Request::form("/v2/oauth/token", &whole).field("User-Agent", "App/999999");
    assert_old_version(&quick.ask(&new_app));
    for _ in 0..6 {
        let mut wrong = whole;
        wrong[4].1 = "wrong";
        assert_old_version(&quick.token(&wrong));
    }
    assert_eq!(quick.sign_in(&quick.sign_in_body()).status, 200, "what the password grant is told counts as no attempt");
}

#[test]
fn a_password_and_a_second_factor_earn_a_code_that_lives_for_ten_minutes() {
    let quick = Quickstart::start();
    let body = quick.sign_in_body();
    let before = now();
    let response = quick.sign_in(&body);
    let after = now();
    assert_eq!(response.status, 200, "{response:#?}");
    assert_dressed(&response, "A1");
    assert_eq!(response.only("Cache-Control"), "no-store");
    let answer = response.json();
    assert_eq!(keys(&answer), BTreeSet::from(["accountCreated", "accountId", "code", "expiration"]));
    assert!(is_uuid(&answer["code"]) && answer["accountId"].is_u64() && answer["accountCreated"] == false, "{answer}");
    let expiration = answer["expiration"].as_str().unwrap();
    let fraction = expiration.strip_suffix('Z').and_then(|text| text.rsplit_once('.')).expect("a fraction").1;
    assert_eq!(fraction.len(), 9, "{expiration}");
    let expiration: SystemTime = expiration.parse::<jiff::Timestamp>().unwrap().into();
    let (life, tick) = (Duration::from_mins(10), Duration::from_millis(1));
    assert!(expiration + tick >= before + life && expiration <= after + life, "{expiration:?}");
}

#[test]
fn a_code_is_exchanged_once_and_its_second_redemption_kills_what_it_gave() {
    let quick = Quickstart::start();
    let code = quick.code();
    let first = quick.token(&quick.redemption(&code));
    assert_token_answer(&first);
    let tokens = Tokens::of(&first);
    assert_eq!(quick.get_as(&tokens.access, "/v1/accounts").status, 200);
    assert_invalid_code(&quick.token(&quick.redemption(&code)), "second redemption");
    assert_unauthenticated(&quick.get_as(&tokens.access, "/v1/accounts"), "the token of a code that was redeemed twice");
    let renewed = quick.token(&quick.renewal(&tokens.refresh));
    assert_oauth_error(&renewed, 400, "invalid_grant", Some("InvalidRefreshToken"), "its refresh token");
}

#[test]
fn the_account_of_the_sign_in_is_the_account_of_its_tokens() {
    let quick = Quickstart::start();
    let signed_in = quick.sign_in(&quick.sign_in_body()).json();
    let tokens = quick.token(&quick.redemption(signed_in["code"].as_str().unwrap()));
    assert_token_answer(&tokens);
    assert_eq!(tokens.json()["account_id"], signed_in["accountId"]);
    let accounts = quick.get_as(&Tokens::of(&tokens).access, "/v1/accounts").json();
    assert_eq!(accounts[0]["id"], signed_in["accountId"]);
}

#[test]
fn a_refresh_gives_two_new_tokens_and_its_reuse_kills_the_family() {
    let quick = Quickstart::start();
    let first = quick.tokens();
    let renewed = quick.token(&quick.renewal(&first.refresh));
    assert_token_answer(&renewed);
    let second = Tokens::of(&renewed);
    assert_ne!((&first.access, &first.refresh), (&second.access, &second.refresh));
    assert!(first.access != second.access && first.refresh != second.refresh);
    assert_eq!(quick.get_as(&second.access, "/api/x").status, 200);

    let reused = quick.token(&quick.renewal(&first.refresh));
    assert_oauth_error(&reused, 400, "invalid_grant", Some("InvalidRefreshToken"), "reuse");
    assert_unauthenticated(&quick.get_as(&second.access, "/api/x"), "an access token of the family");
    let renewed = quick.token(&quick.renewal(&second.refresh));
    assert_oauth_error(&renewed, 400, "invalid_grant", Some("InvalidRefreshToken"), "the refresh token of the family");
}

#[test]
fn the_accounts_are_read_with_a_bearer_token_and_not_with_the_same_token_elsewhere() {
    let quick = Quickstart::start();
    let token = quick.tokens().access;
    let read = quick.get_as(&token, "/v1/accounts");
    assert_eq!(read.status, 200, "{read:#?}");
    assert_dressed(&read, "accounts");
    let accounts = read.json();
    let account = &accounts.as_array().expect("an array")[0];
    let expected = [
        "dateCreated",
        "dateLastAuthentication",
        "dateModified",
        "email",
        "id",
        "isSupportAccount",
        "isSystemAccount",
        "isSystemIntegration",
        "phone",
        "phoneCountryCode",
        "registered",
    ];
    assert_eq!(keys(account), BTreeSet::from(expected));
    assert_eq!(account["email"], quick.value("ACCOUNT_EMAIL"));
    assert_eq!((&account["phone"], &account["phoneCountryCode"]), (&json!(quick.value("ACCOUNT_PHONE")), &json!("RO")));
    assert_eq!(&quick.get_as(&token, "/v1/account").json(), account);

    let elsewhere = quick.ask(&Request::get("/v1/accounts").field("X-Auth-Token", &token));
    assert_unauthenticated(&elsewhere, "X-Auth-Token");
    assert_unauthenticated(&quick.ask(&Request::get(&format!("/v1/accounts?access_token={token}"))), "in the query");
    assert_unauthenticated(&quick.ask(&Request::get("/v1/accounts")), "nowhere");
}

#[test]
fn a_token_in_two_places_is_refused_unless_the_other_place_does_not_count() {
    let quick = Quickstart::start();
    let token = quick.tokens().access;
    let bearer = Request::get("/api/x").bearer(&token);
    assert_eq!(quick.ask(&bearer.clone().field("X-Auth-Token", "anything")).status, 200, "the Bearer decides");
    let wrong_bearer = Request::get("/api/x").bearer("6f9619ff-8b86-4011-b42d-00c04fc964ff").field("X-Auth-Token", &token);
    assert_unauthenticated(&quick.ask(&wrong_bearer), "the Bearer decides here too");
    let twice = quick.ask(&bearer.clone().bearer(&token));
    assert_eq!(twice.status, 400, "two Authorization fields: {twice:#?}");
    assert_dressed(&twice, "two Authorization fields");
    let in_query = quick.ask(&Request::get(&format!("/api/x?access_token={token}")).bearer(&token));
    assert_eq!(in_query.status, 400, "{in_query:#?}");
}

#[test]
fn of_fifty_parallel_redemptions_of_one_code_exactly_one_succeeds_and_its_token_is_dead() {
    let quick = Quickstart::start();
    let code = quick.code();
    let request = Request::form("/v2/oauth/token", &quick.redemption(&code)).bytes();
    let responses = all_at_once(50, |_, start| {
        let mut client = Client::connect(quick.address);
        start.wait();
        client.send(&request);
        client.receive()
    });
    let (good, bad): (Vec<_>, Vec<_>) = responses.iter().partition(|response| response.status == 200);
    assert_eq!(good.len(), 1, "{responses:#?}");
    for response in bad {
        assert_invalid_code(response, "a redemption that came later");
    }
    let tokens = Tokens::of(good[0]);
    assert_unauthenticated(&quick.get_as(&tokens.access, "/api/x"), "the one token");
}

#[test]
fn of_fifty_parallel_uses_of_one_refresh_token_exactly_one_succeeds_and_the_family_is_dead() {
    let quick = Quickstart::start();
    let refresh = quick.tokens().refresh;
    let request = Request::form("/v2/oauth/token", &quick.renewal(&refresh)).bytes();
    let responses = all_at_once(50, |_, start| {
        let mut client = Client::connect(quick.address);
        start.wait();
        client.send(&request);
        client.receive()
    });
    let (good, bad): (Vec<_>, Vec<_>) = responses.iter().partition(|response| response.status == 200);
    assert_eq!(good.len(), 1, "{responses:#?}");
    for response in bad {
        assert_oauth_error(response, 400, "invalid_grant", Some("InvalidRefreshToken"), "a use that came later");
    }
    assert_unauthenticated(&quick.get_as(&Tokens::of(good[0]).access, "/api/x"), "the one token");
}

#[test]
fn of_twenty_parallel_sign_ins_with_one_second_factor_exactly_one_succeeds() {
    let quick = Quickstart::start();
    let request = Request::json("/v1/authentications/password", &quick.sign_in_body()).bytes();
    let responses = all_at_once(20, |_, start| {
        let mut client = Client::connect(quick.address);
        start.wait();
        client.send(&request);
        client.receive()
    });
    let good = responses.iter().filter(|response| response.status == 200).count();
    assert_eq!(good, 1, "{responses:#?}");
}

#[test]
fn whatever_is_wrong_about_a_sign_in_the_answer_is_the_same() {
    let quick = Quickstart::start();
    let wrong = [
        ("phoneNumber", json!("+40711111299")),
        ("password", json!("not the password")),
        ("clientId", json!("nobody")),
        ("clientSecret", json!("not the secret")),
        ("mfaToken", json!("6f9619ff-8b86-4011-b42d-00c04fc964ff")),
    ];
    for (key, value) in wrong {
        let mut body = quick.sign_in_body();
        body[key] = value;
        assert_unauthenticated(&quick.sign_in(&body), key);
    }
    let body = quick.sign_in_body();
    assert_eq!(quick.sign_in(&body).status, 200);
    assert_unauthenticated(&quick.sign_in(&body), "a second factor used twice");
    let mut body = quick.sign_in_body();
    body["mfaToken"] = json!(quick.mfa_token("+40711111277"));
    assert_unauthenticated(&quick.sign_in(&body), "a second factor of another phone");
}

#[test]
fn a_sign_in_that_is_not_what_it_should_be_is_invalid_input() {
    let quick = Quickstart::start();
    let good = quick.sign_in_body();
    for key in ["mfaToken", "password", "clientId", "clientSecret", "phoneNumber"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(key);
        assert_api_error(&quick.sign_in(&body), 400, "InvalidInput", &format!("without {key}"));
        body[key] = json!(7);
        assert_api_error(&quick.sign_in(&body), 400, "InvalidInput", &format!("{key} as a number"));
    }
    for (key, value) in [
        ("mfaToken", "no-uuid".to_owned()),
        ("phoneNumber", "0711111298".to_owned()),
        ("phoneNumber", "+0711111298".to_owned()),
        ("phoneNumber", "+4071111129812345".to_owned()),
        ("password", String::new()),
        ("password", "x".repeat(1025)),
    ] {
        let mut body = good.clone();
        body[key] = json!(value);
        assert_api_error(&quick.sign_in(&body), 400, "InvalidInput", &format!("{key} = {value:.20}"));
    }
    let text = good.to_string();
    let twice = text.replacen('{', "{\"password\":\"first\",", 1);
    for (body, what) in [
        (twice.into_bytes(), "a key twice"),
        (format!("{text}x").into_bytes(), "something behind it"),
        (format!("[{text}]").into_bytes(), "an array"),
        (b"{".to_vec(), "cut off"),
        (Vec::new(), "nothing"),
        ([b"{\"password\":\"\xff\"}".as_slice(), b""].concat(), "no UTF-8"),
    ] {
        let request = Request::post("/v1/authentications/password", "application/json", body);
        assert_api_error(&quick.ask(&request), 400, "InvalidInput", what);
    }
    assert_eq!(quick.sign_in(&good).status, 200, "none of this used up the second factor or counted as an attempt");
}

#[test]
fn a_sign_in_of_the_wrong_type_or_size_is_refused_before_it_is_read() {
    let quick = Quickstart::start();
    let good = quick.sign_in_body().to_string();
    let path = "/v1/authentications/password";
    let as_form = quick.ask(&Request::post(path, "application/x-www-form-urlencoded", good.clone()));
    assert_api_error(&as_form, 415, "UnsupportedMediaType", "as a form");
    let encoded = quick.ask(&Request::post(path, "application/json", good.clone()).field("Content-Encoding", "gzip"));
    assert_api_error(&encoded, 415, "UnsupportedMediaType", "with a coding");
    let large = quick.ask(&Request::post(path, "application/json", format!("{good}{}", " ".repeat(17 * 1024))));
    assert_api_error(&large, 413, "PayloadTooLarge", "too large");
    let get = quick.ask(&Request::get(path));
    assert_api_error(&get, 405, "MethodNotAllowed", "by GET");
    assert!(get.only("Allow").contains("POST"));
}

#[test]
fn five_wrong_passwords_lock_the_account_even_for_the_right_one() {
    let quick = Quickstart::start();
    let bodies: Vec<_> = (0..7).map(|_| quick.sign_in_body()).collect();
    for (attempt, body) in bodies[..5].iter().enumerate() {
        let mut body = body.clone();
        body["password"] = json!(format!("wrong {attempt}"));
        assert_unauthenticated(&quick.sign_in(&body), &format!("attempt {attempt}"));
    }
    for body in &bodies[5..] {
        let locked = quick.sign_in(body);
        assert_api_error(&locked, 429, "TooManyRequests", "the right password during the lock");
        let wait: u64 = locked.only("Retry-After").parse().unwrap();
        assert!((1..=1800).contains(&wait), "{wait}");
    }
}

#[test]
fn of_forty_parallel_wrong_passwords_five_are_tried() {
    let quick = Quickstart::start();
    let requests: Vec<_> = (0..40)
        .map(|attempt| {
            let mut body = quick.sign_in_body();
            body["password"] = json!(format!("wrong {attempt}"));
            Request::json("/v1/authentications/password", &body).bytes()
        })
        .collect();
    let responses = all_at_once(requests.len(), |index, start| {
        let mut client = Client::connect(quick.address);
        start.wait();
        client.send(&requests[index]);
        client.receive()
    });
    let with = |status: u16| responses.iter().filter(|response| response.status == status).count();
    assert_eq!((with(401), with(429)), (5, 35), "{responses:#?}");
}

#[test]
fn a_success_forgets_the_failures_before_it() {
    let quick = Quickstart::start();
    for _ in 0..2 {
        for attempt in 1..=4 {
            let mut body = quick.sign_in_body();
            body["password"] = json!("wrong");
            assert_unauthenticated(&quick.sign_in(&body), &format!("attempt {attempt}"));
        }
        assert_eq!(quick.sign_in(&quick.sign_in_body()).status, 200);
    }
}

#[test]
fn an_account_that_does_not_exist_is_locked_like_one_that_does() {
    let quick = Quickstart::start();
    let phone = "+40799999999";
    let mut body = quick.sign_in_body();
    body["phoneNumber"] = json!(phone);
    let second_factors: Vec<_> = (0..6).map(|_| quick.mfa_token(phone)).collect();
    let mut attempt = |second_factor: &str| {
        body["mfaToken"] = json!(second_factor);
        quick.sign_in(&body)
    };
    for (number, second_factor) in second_factors[..5].iter().enumerate() {
        assert_unauthenticated(&attempt(second_factor), &format!("attempt {number}"));
    }
    let locked = attempt(&second_factors[5]);
    assert_api_error(&locked, 429, "TooManyRequests", "the sixth attempt");
    locked.only("Retry-After");
}

#[test]
fn a_verification_code_is_void_after_five_wrong_tries() {
    let quick = Quickstart::start();
    let phone = quick.value("ACCOUNT_PHONE");
    assert!(matches!(quick.request_code(phone).status, 200..=204));
    for _ in 0..5 {
        let wrong = quick.verify_code(phone, "000000");
        assert!(matches!(wrong.status, 400 | 401), "{wrong:#?}");
        assert_dressed(&wrong, "a wrong verification code");
    }
    let right = quick.verify_code(phone, "123456");
    assert!(matches!(right.status, 400 | 401), "void now: {right:#?}");
    quick.mfa_token(phone);
}

#[test]
fn a_verification_code_is_used_once() {
    let quick = Quickstart::start();
    let phone = quick.value("ACCOUNT_PHONE");
    quick.mfa_token(phone);
    assert!(matches!(quick.verify_code(phone, "123456").status, 400 | 401));
}

#[test]
fn asking_for_a_code_does_not_tell_who_has_an_account() {
    let quick = Quickstart::start();
    let (known, unknown) = (quick.request_code(quick.value("ACCOUNT_PHONE")), quick.request_code("+40788888888"));
    assert_eq!((known.status, keys(&known.json())), (unknown.status, keys(&unknown.json())));
    assert_eq!(known.body.len(), unknown.body.len());
}

#[test]
fn a_code_is_good_for_its_client_and_redirect_uri_only_and_all_failures_look_alike() {
    let quick = Quickstart::start();
    let code = quick.code();
    let mut elsewhere = quick.redemption(&code);
    elsewhere[2].1 = "https://evil.example";
    assert_invalid_code(&quick.token(&elsewhere), "another redirect URI");
    assert_invalid_code(&quick.token(&quick.redemption("6f9619ff-8b86-4011-b42d-00c04fc964ff")), "an unknown code");
    assert_invalid_code(&quick.token(&quick.redemption("no uuid")), "nonsense");
    assert_token_answer(&quick.token(&quick.redemption(&code)));
}

#[test]
fn a_client_proves_itself_in_the_body_or_by_basic_but_not_by_both() {
    let quick = Quickstart::start();
    let (id, secret) = (quick.value("OAUTH_CLIENT_ID"), quick.value("OAUTH_CLIENT_SECRET"));
    let basic = |secret: &str| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let code = quick.code();
    let form = quick.redemption(&code);

    let mut wrong = form;
    wrong[4].1 = "wrong";
    assert_oauth_error(&quick.token(&wrong), 401, "invalid_client", None, "a wrong secret in the body");
    let by_basic = Request::form("/v2/oauth/token", &form[..3]);
    let refused = quick.ask(&by_basic.clone().field("Authorization", &basic("wrong")));
    assert_oauth_error(&refused, 401, "invalid_client", None, "a wrong secret by Basic");
    assert!(refused.only("WWW-Authenticate").starts_with("Basic"), "{refused:#?}");
    let both = quick.ask(&Request::form("/v2/oauth/token", &form).field("Authorization", &basic(secret)));
    assert!(matches!(both.status, 400 | 401), "{both:#?}");
    assert_oauth_error(&quick.token(&form[..3]), 400, "invalid_request", None, "no client at all");
    assert_token_answer(&quick.ask(&by_basic.field("Authorization", &basic(secret))));
}

#[test]
fn a_token_request_that_is_not_what_it_should_be_says_so_in_the_words_of_oauth() {
    let quick = Quickstart::start();
    let code = quick.code();
    let good = quick.redemption(&code);
    for missing in 1..3 {
        let form: Vec<_> = good.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, field)| *field).collect();
        assert_oauth_error(&quick.token(&form), 400, "invalid_request", None, &format!("without {}", good[missing].0));
    }
    let without_grant = quick.token(&good[1..]);
    assert_oauth_error(&without_grant, 400, "invalid_request", None, "without grant_type");
    for (name, value) in good {
        let twice: Vec<_> = good.iter().copied().chain([(name, value)]).collect();
        assert_oauth_error(&quick.token(&twice), 400, "invalid_request", None, &format!("{name} twice"));
    }
    let mut unknown = good;
    unknown[0].1 = "urn:example:grant";
    assert_oauth_error(&quick.token(&unknown), 400, "unsupported_grant_type", None, "an unknown grant");
    let other_client = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", quick.value("OAUTH_REDIRECT_URI")),
        ("client_id", quick.value("INTROSPECT_CLIENT_ID")),
        ("client_secret", quick.value("INTROSPECT_CLIENT_SECRET")),
    ];
    assert_oauth_error(&quick.token(&other_client), 400, "unauthorized_client", None, "a client without this grant");
    let as_json = quick.ask(&Request::json("/v2/oauth/token", &json!({ "grant_type": "authorization_code" })));
    assert_eq!(as_json.status, 415, "{as_json:#?}");
    assert_dressed(&as_json, "JSON for a form");
    assert_token_answer(&quick.token(&good));
}

#[test]
fn a_revoked_access_token_is_dead_with_the_answer_and_revoking_says_yes_to_anything() {
    let quick = Quickstart::start();
    let tokens = quick.tokens();
    assert_eq!(quick.get_as(&tokens.access, "/api/x").status, 200);
    let revoked = quick.revoke(&tokens.access);
    assert_eq!((revoked.status, revoked.body.len()), (200, 0), "{revoked:#?}");
    assert_dressed(&revoked, "revocation");
    assert_unauthenticated(&quick.get_as(&tokens.access, "/api/x"), "a revoked token");
    for token in [&*tokens.access, "6f9619ff-8b86-4011-b42d-00c04fc964ff", "nonsense"] {
        assert_eq!(quick.revoke(token).status, 200);
    }
    let nobody = [("token", &*tokens.refresh), ("client_id", "nobody"), ("client_secret", "wrong")];
    let refused = quick.ask(&Request::form("/v2/oauth/revoke", &nobody));
    assert_oauth_error(&refused, 401, "invalid_client", None, "revocation by nobody");
    assert_eq!(quick.token(&quick.renewal(&tokens.refresh)).status, 200, "nobody revokes nothing");
}

#[test]
fn a_revoked_refresh_token_takes_its_access_tokens_with_it() {
    let quick = Quickstart::start();
    let tokens = quick.tokens();
    assert_eq!(quick.get_as(&tokens.access, "/api/x").status, 200);
    assert_eq!(quick.revoke(&tokens.refresh).status, 200);
    assert_unauthenticated(&quick.get_as(&tokens.access, "/api/x"), "the access token of a revoked refresh token");
    let renewed = quick.token(&quick.renewal(&tokens.refresh));
    assert_oauth_error(&renewed, 400, "invalid_grant", Some("InvalidRefreshToken"), "a revoked refresh token");
}

#[test]
fn a_refresh_token_is_no_bearer_token() {
    let quick = Quickstart::start();
    assert_unauthenticated(&quick.get_as(&quick.tokens().refresh, "/api/x"), "a refresh token as a Bearer");
}

#[test]
fn introspection_tells_clients_about_good_tokens_and_nobody_anything_about_others() {
    let quick = Quickstart::start();
    let tokens = quick.tokens();
    let response = quick.introspect(&tokens.access);
    assert_eq!(response.status, 200, "{response:#?}");
    assert_dressed(&response, "introspection");
    let answer = response.json();
    assert_eq!(answer["active"], true);
    assert_eq!(answer["client_id"], quick.value("OAUTH_CLIENT_ID"));
    assert_eq!(answer["exp"].as_u64().unwrap() - answer["iat"].as_u64().unwrap(), 86_400);
    assert!(answer["sub"].is_string() && answer["sid"].is_string() && answer["auth_time"].is_u64(), "{answer}");
    for token in ["6f9619ff-8b86-4011-b42d-00c04fc964ff", "nonsense"] {
        assert_eq!(quick.introspect(token).json(), json!({ "active": false }));
    }
    quick.revoke(&tokens.access);
    assert_eq!(quick.introspect(&tokens.access).json(), json!({ "active": false }));
    let anonymous = quick.ask(&Request::form("/oauth2/introspect", &[("token", &tokens.access)]));
    assert_eq!(anonymous.status, 401, "{anonymous:#?}");
    assert_dressed(&anonymous, "introspection by nobody");
}

#[test]
fn what_is_published_about_the_service_is_well_formed_and_true() {
    let quick = Quickstart::start();
    let metadata = quick.ask(&Request::get("/.well-known/oauth-authorization-server"));
    assert_eq!(metadata.status, 200, "{metadata:#?}");
    assert_dressed(&metadata, "metadata");
    let metadata = metadata.json();
    assert_eq!(metadata["issuer"], format!("http://{}", quick.address));
    for (key, path) in [
        ("token_endpoint", "/v2/oauth/token"),
        ("revocation_endpoint", "/v2/oauth/revoke"),
        ("introspection_endpoint", "/oauth2/introspect"),
        ("jwks_uri", "/.well-known/jwks.json"),
    ] {
        assert_eq!(metadata[key], format!("http://{}{path}", quick.address), "{metadata}");
    }
    let jwks = quick.ask(&Request::get("/.well-known/jwks.json"));
    assert_eq!(jwks.status, 200, "{jwks:#?}");
    assert!(jwks.json()["keys"].is_array());
    assert_dressed(&jwks, "JWKS");
}

#[test]
fn the_upstream_learns_who_called_and_never_sees_the_token() {
    let quick = Quickstart::start();
    let signed_in = quick.sign_in(&quick.sign_in_body()).json();
    let tokens = Tokens::of(&quick.token(&quick.redemption(signed_in["code"].as_str().unwrap())));
    let seen = quick.get_as(&tokens.access, "/api/orders?x=1").json();
    assert_eq!((&seen["method"], &seen["path"], &seen["query"]), (&json!("GET"), &json!("/api/orders"), &json!("x=1")));
    let headers = &seen["headers"];
    assert_eq!(headers["x-auth-subject"], json!([signed_in["accountId"].to_string()]));
    assert_eq!(headers["x-auth-client"], json!([quick.value("OAUTH_CLIENT_ID")]));
    assert_eq!(headers.get("authorization"), None);
    assert!(!seen.to_string().contains(&tokens.access));
    assert_eq!(quick.get_as(&tokens.access, "/api").status, 200, "/api/** covers /api");
}

#[test]
fn a_second_factor_opens_the_sensitive_routes_and_nobody_has_the_admin_scope() {
    let quick = Quickstart::start();
    let token = quick.tokens().access;
    assert_eq!(quick.get_as(&token, "/api/sensitive/x").status, 200);
    assert_eq!(quick.get_as(&token, "/api/sensitive").status, 200);
    let admin = quick.get_as(&token, "/api/admin/x");
    assert_eq!(admin.status, 403, "{admin:#?}");
    let challenge = admin.only("WWW-Authenticate");
    assert!(challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"admin\""), "{challenge}");
    assert_dressed(&admin, "a missing scope");
    assert_eq!(quick.ask(&Request::get("/public/x")).status, 200);
}
