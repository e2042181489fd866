//! The endpoint against real servers on a local port: what is sent, and what every kind of answer amounts to.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::model::{ClaimValue, IssuerId, Timestamp, TokenKind};
use crate::verify::fixture::{HandClock, Heard, Served};

const SECOND: Duration = Duration::from_secs(1);

fn plan(url: Uri) -> Introspection {
    Introspection {
        url,
        authentication: ClientAuthentication::Bearer(Secret::new("our-own".to_owned())),
        deadline: Duration::from_secs(20),
        answer_bytes: 64 * 1024,
        idle: None,
        cache_ttl: Duration::from_mins(1),
        negative_ttl: SECOND,
        pool: 2,
        issuer: None,
        token_type: None,
        token_prefix: None,
        ca_file: None,
    }
}

fn endpoint(plan: &Introspection, clock: &Arc<HandClock>) -> Endpoint {
    let claims = BTreeSet::from(["plan".into()]);
    let reader = FactsReader { issuer: IssuerId(2), claims: Arc::new(claims) };
    Endpoint::new(plan, reader, Arc::<HandClock>::clone(clock)).unwrap()
}

/// What an endpoint that answers so says of a token.
async fn answer(status: u16, body: &str) -> Result<Option<PrincipalFacts>, Unavailable> {
    let served = Served::saying(status, body).await;
    let clock = Arc::new(HandClock::default());
    endpoint(&plan(served.url()), &clock).ask("token", clock.now()).await
}

/// What it is sent by a gateway that authenticates so.
async fn heard(authentication: ClientAuthentication, token: &str) -> Heard {
    let served = Served::saying(200, r#"{"active":false}"#).await;
    let clock = Arc::new(HandClock::default());
    let plan = Introspection { authentication, ..plan(served.url()) };
    assert_eq!(endpoint(&plan, &clock).ask(token, clock.now()).await, Ok(None));
    served.heard().pop().unwrap()
}

#[tokio::test]
async fn a_token_cannot_smuggle_a_parameter_into_the_form() {
    let heard = heard(ClientAuthentication::Bearer(Secret::new("our-own".to_owned())), "x&token=good +%/=~é").await;
    assert_eq!(heard.body, "token=x%26token%3Dgood+%2B%25%2F%3D%7E%C3%A9&token_type_hint=access_token");
    assert_eq!(heard.authorization.as_deref(), Some("Bearer our-own"));
}

#[tokio::test]
async fn basic_credentials_are_form_urlencoded_before_they_are_joined() {
    let secret = Secret::new("p:ss wörd".to_owned());
    let heard = heard(ClientAuthentication::Basic { id: "gate:way".into(), secret }, "t").await;
    let pair = STANDARD.encode("gate%3Away:p%3Ass+w%C3%B6rd");
    assert_eq!(heard.authorization, Some(format!("Basic {pair}")));
    assert_eq!(heard.body, "token=t&token_type_hint=access_token");
}

#[tokio::test]
async fn posted_credentials_go_into_the_form_alone() {
    let secret = Secret::new("a&b".to_owned());
    let heard = heard(ClientAuthentication::Post { id: "gateway".into(), secret }, "t").await;
    assert_eq!(heard.body, "token=t&token_type_hint=access_token&client_id=gateway&client_secret=a%26b");
    assert_eq!(heard.authorization, None);
}

#[tokio::test]
async fn an_active_answer_is_read_whole() {
    let body = r#"{"active":true,"sub":"ann","client_id":"shop","scope":"read write","aud":["orders","bills"],
        "exp":2000003600,"nbf":1999999999,"iat":2000000000.5,"jti":"t1","sid":"s1","acr":"2fa","amr":["pwd","otp"],
        "auth_time":1999999990,"token_kind":"auth","token_type":"Bearer","username":"a","plan":["gold",7,true,null],"x":1}"#;
    let facts = answer(200, body).await.unwrap().unwrap();
    let text = |text: &str| Some(Box::from(text));
    let gold = [ClaimValue::Text("gold".into()), ClaimValue::Integer(7), ClaimValue::Bool(true)];
    let expected = PrincipalFacts {
        issuer: IssuerId(2),
        subject: text("ann"),
        client: text("shop"),
        session: text("s1"),
        token_id: text("t1"),
        kind: TokenKind::Auth,
        scopes: crate::model::ScopeSet::parse("read write").unwrap(),
        audience: Box::new(["orders".into(), "bills".into()]),
        acr: text("2fa"),
        amr: Box::new(["pwd".into(), "otp".into()]),
        auth_time: Some(Timestamp::from_secs(1_999_999_990)),
        issued_at: Some(Timestamp::from_millis(2_000_000_000_500)),
        not_before: Some(Timestamp::from_secs(1_999_999_999)),
        expires_at: Some(Timestamp::from_secs(2_000_003_600)),
        activity: None,
        claims: [("plan".into(), ClaimValue::List(Box::new(gold)))].into(),
    };
    assert_eq!(facts, expected);
}

#[tokio::test]
async fn an_answer_without_a_subject_is_that_of_a_client() {
    let facts = answer(200, r#"{"active":true,"client_id":"robot","aud":"orders"}"#).await.unwrap().unwrap();
    assert_eq!((facts.subject, facts.client), (None, Some("robot".into())));
    assert_eq!(facts.audience, ["orders".into()].into());
}

#[tokio::test]
async fn an_inactive_answer_needs_nothing_else() {
    assert_eq!(answer(200, r#"{"active":false}"#).await, Ok(None));
    assert_eq!(answer(200, r#"{"active":false,"exp":"rubbish"}"#).await, Ok(None));
}

#[tokio::test]
async fn rubbish_is_an_outage_and_never_a_verdict() {
    for body in [
        "",
        "<html>active: true</html>",
        "[]",
        "true",
        "{}",
        r#"{"active":"yes"}"#,
        r#"{"active":"true"}"#,
        r#"{"active":1}"#,
        r#"{"active":null}"#,
        r#"{"active":true} {"active":true}"#,
        r#"{"active":false,"active":true}"#,
        r#"{"active":true,"exp":"2000000000"}"#,
        r#"{"active":true,"exp":null}"#,
        r#"{"active":true,"nbf":[]}"#,
        r#"{"active":true,"iat":{}}"#,
        r#"{"active":true,"scope":["read"]}"#,
        r#"{"active":true,"scope":"re\"ad"}"#,
        r#"{"active":true,"sub":7}"#,
        r#"{"active":true,"client_id":{}}"#,
        r#"{"active":true,"aud":7}"#,
        r#"{"active":true,"aud":["a",7]}"#,
        r#"{"active":true,"token_kind":"unheard of"}"#,
        r#"{"active":true,"iss":7}"#,
    ] {
        assert!(matches!(answer(200, body).await, Err(Unavailable::Unreadable(_))), "{body}");
    }
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_not_read() {
    let body = format!(r#"{{"active":true,"sub":"ann","padding":"{}"}}"#, "x".repeat(10 * 1024 * 1024));
    assert_eq!(answer(200, &body).await, Err(Unavailable::TooLarge));
}

#[tokio::test]
async fn every_status_is_either_about_the_token_or_about_the_service() {
    let active = r#"{"active":true,"sub":"ann"}"#;
    assert_eq!(answer(400, r#"{"error":"unsupported_token_type"}"#).await, Ok(None));
    assert_eq!(answer(400, active).await, Ok(None));
    assert_eq!(answer(400, r#"{"error":"invalid_client"}"#).await, Err(Unavailable::Unauthorized(400)));
    for status in [401, 403] {
        assert_eq!(answer(status, active).await, Err(Unavailable::Unauthorized(status)));
    }
    for status in [201, 204, 302, 404, 405, 408, 429, 500, 502, 503, 504] {
        assert_eq!(answer(status, active).await, Err(Unavailable::Failing(status)));
    }
}

#[tokio::test]
async fn tokens_that_are_active_but_no_access_tokens_are_of_no_use() {
    for member in [r#""typ":"ID""#, r#""token_use":"id_token""#, r#""cnf":{"jkt":"x"}"#] {
        assert_eq!(answer(200, &format!(r#"{{"active":true,"sub":"ann",{member}}}"#)).await, Ok(None), "{member}");
    }
}

#[tokio::test]
async fn whose_a_refresh_token_is_can_be_told_and_that_it_is_one() {
    for member in [
        r#""token_kind":"refresh""#,
        r#""token_use":"refresh_token""#,
        r#""token_type":"refresh_token""#,
        r#""typ":"Refresh""#,
        r#""typ":"Offline""#,
    ] {
        let facts = answer(200, &format!(r#"{{"active":true,"sub":"ann","sid":"s1",{member}}}"#)).await.unwrap().unwrap();
        assert_eq!((facts.kind, facts.subject.as_deref()), (TokenKind::Refresh, Some("ann")), "{member}");
    }
}

#[tokio::test]
async fn of_a_service_that_names_the_type_of_access_tokens_a_token_without_it_is_none() {
    for (member, kind) in [
        (r#","token_type":"Bearer""#, TokenKind::Access),
        (r#","token_type":"bearer""#, TokenKind::Access),
        (r#","token_type":"Bearer","token_use":"refresh_token""#, TokenKind::Refresh),
        (r#","token_type":"mac""#, TokenKind::Refresh),
        ("", TokenKind::Refresh),
    ] {
        let served = Served::saying(200, &format!(r#"{{"active":true,"sub":"ann"{member}}}"#)).await;
        let clock = Arc::new(HandClock::default());
        let plan = Introspection { token_type: Some("Bearer".into()), ..plan(served.url()) };
        let facts = endpoint(&plan, &clock).ask("token", clock.now()).await.unwrap().unwrap();
        assert_eq!(facts.kind, kind, "{member}");
    }
}

#[tokio::test]
async fn an_answer_in_another_issuers_name_does_not_count() {
    for (iss, good) in [(r#""iss":"https://a","#, true), ("", true), (r#""iss":"https://b","#, false)] {
        let served = Served::saying(200, &format!(r#"{{{iss}"active":true}}"#)).await;
        let clock = Arc::new(HandClock::default());
        let plan = Introspection { issuer: Some("https://a".into()), ..plan(served.url()) };
        let answer = endpoint(&plan, &clock).ask("token", clock.now()).await.unwrap();
        assert_eq!(answer.is_some(), good, "{iss}");
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_in_time_is_given_up() {
    let served = Served::saying(200, r#"{"active":true}"#).await;
    served.takes(Duration::from_mins(10));
    let clock = Arc::new(HandClock::default());
    let plan = Introspection { deadline: Duration::from_millis(50), ..plan(served.url()) };
    assert_eq!(endpoint(&plan, &clock).ask("token", clock.now()).await, Err(Unavailable::TooSlow));
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"active\"";
        tokio::io::AsyncWriteExt::write_all(&mut stream, head).await.unwrap();
        std::future::pending::<()>().await;
    });
    let clock = Arc::new(HandClock::default());
    let plan = Introspection { deadline: Duration::from_millis(50), ..plan(url) };
    assert_eq!(endpoint(&plan, &clock).ask("token", clock.now()).await, Err(Unavailable::TooSlow));
}

#[tokio::test]
async fn a_service_that_fails_five_times_is_left_alone_and_then_tried_once() {
    let served = Served::saying(500, "").await;
    let clock = Arc::new(HandClock::default());
    let endpoint = endpoint(&plan(served.url()), &clock);
    for _ in 0..5 {
        assert_eq!(endpoint.ask("token", clock.now()).await, Err(Unavailable::Failing(500)));
    }
    assert_eq!(endpoint.ask("token", clock.now()).await, Err(Unavailable::LeftAlone(SECOND)));
    assert_eq!(served.heard().len(), 5);
    served.says(200, r#"{"active":false}"#);
    clock.forward(SECOND);
    assert_eq!(endpoint.ask("token", clock.now()).await, Ok(None));
    assert_eq!(endpoint.ask("token", clock.now()).await, Ok(None));
}

#[tokio::test]
async fn a_service_that_refuses_connections_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let clock = Arc::new(HandClock::default());
    assert_eq!(endpoint(&plan(url), &clock).ask("token", clock.now()).await, Err(Unavailable::Unreachable));
}

#[tokio::test]
async fn a_connection_that_the_service_has_closed_meanwhile_is_not_an_outage() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        // Each connection answers once as if it would go on, and is closed when the next request has arrived on it.
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"active\":false}";
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await;
            });
        }
    });
    let clock = Arc::new(HandClock::default());
    let endpoint = endpoint(&plan(url), &clock);
    for _ in 0..5 {
        assert_eq!(endpoint.ask("token", clock.now()).await, Ok(None));
    }
}

/// A file that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn holding(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An HTTPS server for one connection after the other, with its own certificate in PEM.
fn https() -> (Uri, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    std::thread::spawn(move || {
        while let Ok((tcp, _)) = listener.accept() {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), tcp);
            let mut buffer = [0; 4096];
            if tls.read(&mut buffer).is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"active\":true}";
                let _ = tls.write_all(answer);
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    (url, cert.pem())
}

#[tokio::test]
async fn over_https_the_configured_authority_is_trusted_and_no_other() {
    let (url, certificate) = https();
    let (_, other) = https();
    let clock = Arc::new(HandClock::default());
    let (right, wrong) = (Scratch::holding("right.pem", &certificate), Scratch::holding("wrong.pem", &other));
    let trusting = |file: &Scratch| Introspection { ca_file: Some(file.0.clone()), ..plan(url.clone()) };
    let answer = endpoint(&trusting(&right), &clock).ask("token", clock.now()).await;
    assert!(answer.unwrap().is_some());
    let answer = endpoint(&trusting(&wrong), &clock).ask("token", clock.now()).await;
    assert_eq!(answer, Err(Unavailable::Unreachable));
}

#[test]
fn a_file_without_certificates_is_refused_at_start() {
    let empty = Scratch::holding("empty.pem", "nothing");
    let plan = Introspection { ca_file: Some(empty.0.clone()), ..plan("https://localhost/".parse().unwrap()) };
    let reader = FactsReader { issuer: IssuerId(2), claims: Arc::default() };
    let refused = Endpoint::new(&plan, reader, Arc::new(HandClock::default())).unwrap_err();
    assert!(matches!(refused, SetupError::Trust(_)), "{refused}");
}

#[test]
fn nothing_that_is_printed_of_an_endpoint_has_its_secret_in_it() {
    let clock = Arc::new(HandClock::default());
    let secret = || Secret::new("sesame".to_owned());
    let url: Uri = "http://localhost/".parse().unwrap();
    for authentication in [
        ClientAuthentication::Bearer(secret()),
        ClientAuthentication::Basic { id: "a".into(), secret: secret() },
        ClientAuthentication::Post { id: "a".into(), secret: secret() },
    ] {
        let printed = format!("{:?}", endpoint(&Introspection { authentication, ..plan(url.clone()) }, &clock));
        assert!(!printed.contains("sesame") && !printed.contains(&STANDARD.encode("a:sesame")), "{printed}");
    }
}
