use super::*;
use crate::model::{Misplaced, ScopeSet};

fn text(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}

fn field<'r>(reply: &'r Reply, name: &HeaderName) -> Option<&'r str> {
    reply.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.to_str().unwrap())
}

fn every_denial() -> Vec<Denial> {
    let wait = Duration::from_millis(1500);
    let challenge = Challenge { acr_values: Box::new(["2fa".into()]), max_age: Some(Duration::from_mins(15)) };
    vec![
        Denial::BadRequest(BadRequest::Head),
        Denial::BadRequest(BadRequest::Credential),
        Denial::RequestTimeout,
        Denial::BodyTooLarge,
        Denial::TargetTooLong,
        Denial::UnsupportedMediaType,
        Denial::HeadTooLarge,
        Denial::NoRoute,
        Denial::SourceDenied,
        Denial::MethodNotAllowed(Box::new([Method::GET, Method::HEAD])),
        Denial::CredentialMissing,
        Denial::CredentialMisplaced(Misplaced::AuthTokenHeader),
        Denial::CredentialInvalid,
        Denial::CredentialKind,
        Denial::ScopeMissing(ScopeSet::parse("read write").unwrap()),
        Denial::ClaimMissing,
        Denial::StepUpRequired(challenge),
        Denial::LimitReached(wait),
        Denial::Locked(wait),
        Denial::AuthorityUnavailable(wait),
        Denial::StoreUnavailable(wait),
        Denial::Overloaded(wait),
        Denial::UpstreamUnavailable,
        Denial::UpstreamTimeout,
        Denial::Internal(ErrorId(7)),
    ]
}

#[test]
fn what_the_standards_demand_beside_a_status_is_there_in_every_style() {
    for style in [Style::Problem, Style::OAuth, Style::Session, Style::BackOffice] {
        for denial in every_denial() {
            let reply = Reply::refusal(&denial, style, "r-1");
            let has = |name: &HeaderName| field(&reply, name).is_some();
            match reply.status.as_u16() {
                401 => assert!(has(&WWW_AUTHENTICATE), "RFC 9110 section 15.5.2: {denial:?}"),
                405 => assert!(has(&ALLOW), "RFC 9110 section 15.5.6: {denial:?}"),
                423 | 429 | 503 => assert_eq!(field(&reply, &RETRY_AFTER), Some("2"), "rounded up: {denial:?}"),
                _ => assert!(!has(&RETRY_AFTER) && !has(&ALLOW), "{denial:?}"),
            }
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(body.is_object(), "{denial:?}");
        }
    }
}

#[test]
fn every_401_of_style_oauth_is_the_same_two_keys() {
    let expected = r#"{"message":"Authentication is possible but has failed or not yet been provided.","errorMessage":"Authentication is possible but has failed or not yet been provided."}"#;
    for denial in every_denial() {
        let reply = Reply::refusal(&denial, Style::OAuth, "r-1");
        if reply.status == StatusCode::UNAUTHORIZED {
            assert_eq!(text(&reply), expected, "{denial:?}");
        }
    }
}

#[test]
fn a_request_without_a_token_gets_a_challenge_without_an_error_code() {
    let reply = Reply::refusal(&Denial::CredentialMissing, Style::Problem, "r-1");
    assert_eq!(field(&reply, &WWW_AUTHENTICATE), Some(r#"Bearer realm="portcullis""#));
}

#[test]
fn a_step_up_challenge_names_contexts_and_age_and_is_a_403_in_style_session() {
    let challenge = Challenge { acr_values: Box::new(["2fa".into(), "hw".into()]), max_age: Some(Duration::from_mins(5)) };
    let denial = Denial::StepUpRequired(challenge);
    let expected = r#"Bearer realm="portcullis", error="insufficient_user_authentication", acr_values="2fa hw", max_age=300"#;
    let problem = Reply::refusal(&denial, Style::Problem, "r-1");
    assert_eq!((problem.status.as_u16(), field(&problem, &WWW_AUTHENTICATE)), (401, Some(expected)));
    let session = Reply::refusal(&denial, Style::Session, "r-1");
    assert_eq!((session.status.as_u16(), field(&session, &WWW_AUTHENTICATE)), (403, Some(expected)));
    assert_eq!(text(&session), r#"{"errorCode":"STEP_UP_REQUIRED"}"#);
}

#[test]
fn a_problem_body_names_its_reason_and_the_request() {
    let reply = Reply::refusal(&Denial::NoRoute, Style::Problem, "r-1");
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["type"], "urn:portcullis:denial:no-route");
    assert_eq!((body["status"].as_u64(), body["request_id"].as_str()), (Some(404), Some("r-1")));
    assert_eq!(field(&reply, &CONTENT_TYPE), Some("application/problem+json"));
}
