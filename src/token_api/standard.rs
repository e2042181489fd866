//! The standard endpoints beside the APIs: introspection (RFC 7662), metadata (RFC 8414) and keys (RFC 7517).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;

use crate::model::{PrincipalFacts, Secret, Timestamp, TokenKind};
use crate::plan;
use crate::token_api::words::{InJson, InOAuth};
use crate::token_api::{INTROSPECT, JWKS, client, reading, words};
use crate::tokens::refusal::Refusal;
use crate::tokens::{Hint, PublicKey, TokenService};

/// The standard endpoints over a token service.
#[derive(Debug)]
pub(crate) struct StandardSkin {
    service: Arc<TokenService>,
    public_url: Box<str>,
    metadata: Metadata,
}

impl StandardSkin {
    pub(crate) fn new(service: Arc<TokenService>, settings: &plan::TokenService) -> Self {
        Self { service, public_url: settings.public_url.clone(), metadata: Metadata::of(settings) }
    }
}

type Skin = State<Arc<StandardSkin>>;

/// `POST /oauth2/introspect` (RFC 7662). Any doubt about the token is `{"active":false}` and nothing else.
pub(crate) async fn introspect(State(skin): Skin, request: Request) -> Result<Response, InOAuth> {
    let (parts, form) = reading::form(request).await?;
    let client = client::authenticate(&skin.service, &parts, &form, Refusal::ClientUnknown.into()).await?;
    let hint = match form.value("token_type_hint").map(Secret::expose) {
        Some("refresh_token") => Hint::RefreshToken,
        Some(_) | None => Hint::AccessToken,
    };
    Ok(match &skin.service.introspect_for(&client, reading::parameter(&form, "token")?, hint).await? {
        Some(facts) => words::success(&GoodToken::of(facts, &skin.public_url)),
        None => words::success(&BTreeMap::from([("active", false)])),
    })
}

#[derive(Serialize)]
struct GoodToken<'a> {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    token_type: &'static str,
    token_kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    amr: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    iss: &'a str,
}

impl<'a> GoodToken<'a> {
    fn of(facts: &'a PrincipalFacts, issuer: &'a str) -> Self {
        Self {
            active: true,
            sub: facts.subject.as_deref(),
            client_id: facts.client.as_deref(),
            scope: (!facts.scopes.is_empty()).then(|| facts.scopes.to_string()),
            token_type: "Bearer",
            token_kind: match facts.kind {
                TokenKind::Access => "access",
                TokenKind::Auth => "auth",
                TokenKind::Temporary => "temporary",
                TokenKind::Refresh => "refresh",
            },
            exp: facts.expires_at.map(Timestamp::as_secs),
            iat: facts.issued_at.map(Timestamp::as_secs),
            jti: facts.token_id.as_deref(),
            sid: facts.session.as_deref(),
            acr: facts.acr.as_deref(),
            amr: &facts.amr,
            auth_time: facts.auth_time.map(Timestamp::as_secs),
            iss: issuer,
        }
    }
}

/// `GET /.well-known/oauth-authorization-server` (RFC 8414).
pub(crate) async fn metadata(State(skin): Skin) -> Response {
    Json(&skin.metadata).into_response()
}

#[derive(Debug, Serialize)]
struct Metadata {
    issuer: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<String>,
    introspection_endpoint: String,
    jwks_uri: String,
    /// None: there is no authorization endpoint. The member itself is required (RFC 8414 section 2).
    response_types_supported: [&'static str; 0],
    grant_types_supported: &'static [&'static str],
    token_endpoint_auth_methods_supported: [&'static str; 2],
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    acr_values_supported: [&'static str; 1],
}

impl Metadata {
    fn of(settings: &plan::TokenService) -> Self {
        let at = |path: &str| format!("{}{path}", settings.public_url);
        let paths = settings.oauth.as_ref().map(|api| &api.paths);
        let methods = ["client_secret_basic", "client_secret_post"];
        Self {
            issuer: settings.public_url.clone(),
            token_endpoint: paths.map(|paths| at(&paths.token)),
            revocation_endpoint: paths.map(|paths| at(&paths.revoke)),
            introspection_endpoint: at(INTROSPECT),
            jwks_uri: at(JWKS),
            response_types_supported: [],
            grant_types_supported: if paths.is_some() { &["authorization_code", "refresh_token"] } else { &[] },
            token_endpoint_auth_methods_supported: methods,
            revocation_endpoint_auth_methods_supported: methods,
            introspection_endpoint_auth_methods_supported: methods,
            acr_values_supported: ["second-factor"],
        }
    }
}

/// `GET /.well-known/jwks.json` (RFC 7517 section 5): the keys that tokens are signed with, and those that are next.
pub(crate) async fn keys(State(skin): Skin) -> Result<Response, InJson> {
    #[derive(Serialize)]
    struct KeySet {
        keys: Vec<PublicKey>,
    }
    let published = skin.service.published_keys().await?;
    let remembered = HeaderValue::from_str(&format!("public, max-age={}", published.max_age.as_secs()));
    let remembered = remembered.unwrap_or(HeaderValue::from_static("no-cache"));
    Ok(words::with(Json(KeySet { keys: published.keys }).into_response(), CACHE_CONTROL, remembered))
}
