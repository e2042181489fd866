//! The contract, exchange by exchange, through the router and a real database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
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

struct Api {
    world: World,
    service: InProcess,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.text)).to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status.as_u16(), self.text.as_str()), (status, text));
        assert_eq!(self.header("cache-control"), "no-store");
    }

    #[track_caller]
    fn has(&self, status: u16, member: &str, value: &str) {
        assert_eq!((self.status.as_u16(), self.json()[member].as_str()), (status, Some(value)), "{}", self.text);
    }
}

impl Api {
    async fn new() -> Self {
        Self::over(World::new().await)
    }

    fn over(world: World) -> Self {
        let service = in_process(router(Arc::clone(&world.service), &world.plan).unwrap());
        Self { world, service }
    }

    async fn send(&self, request: Request<Bytes>) -> Answer {
        let answer = self.service.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        Answer { status: head.status, headers: head.headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", &body.to_string()).await
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post(path, "application/x-www-form-urlencoded", &encode(fields)).await
    }

    async fn post(&self, path: &str, media_type: &str, body: &str) -> Answer {
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

    async fn tokens(&self) -> (String, String) {
        let answer = self.redeem(&self.sign_in().await.member("code")).await;
        (answer.member("access_token"), answer.member("refresh_token"))
    }
}

fn encode(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    fields.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

#[track_caller]
fn is_uuid_v4(text: &str) {
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
