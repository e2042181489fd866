//! The token service's HTTP: one skin per API, and the standard endpoints. Request in, domain step, words out.
//!
//! Imports `model`, `rules`, `plan`, `reply` and `tokens`; names no proxy. Deliberately absent: decisions, and headers that every response of
//! the gateway carries. The router never listens by itself: it stands behind the gateway's routes, limits and locks.

mod back_office;
mod client;
mod oauth;
mod reading;
mod session;
mod standard;
mod words;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::routing::{MethodRouter, get, post};
use http_body_util::BodyExt;
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt, service_fn};

use crate::plan;
use crate::token_api::back_office::BackOfficeSkin;
use crate::token_api::oauth::OAuthSkin;
use crate::token_api::standard::StandardSkin;
use crate::tokens::TokenService;

/// Where introspection is mounted.
pub const INTROSPECT: &str = "/oauth2/introspect";
/// Where the metadata is mounted (RFC 8414 section 3).
pub const METADATA: &str = "/.well-known/oauth-authorization-server";
/// Where the keys are mounted.
pub const JWKS: &str = "/.well-known/jwks.json";

/// The token service as the gateway calls it: in process, whole bodies in and out, never failing.
pub type InProcess = BoxCloneSyncService<axum::http::Request<Bytes>, Response<Bytes>, Infallible>;

/// Paths at which nothing can be mounted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unmountable {
    /// It does not begin with `/`, or holds a brace or `*`.
    #[error("`{0}` is no plain absolute path")]
    Path(Box<str>),
    /// Something else is there.
    #[error("two operations of the token service are mounted at `{0}`")]
    Twice(Box<str>),
}

/// The router over a token service: the APIs that are configured, and the standard endpoints.
///
/// Operations on the caller's own account expect an `Arc<Principal>` in the request's extensions, put there by the gateway
/// once it has verified the token; without one they answer 401.
///
/// # Errors
/// [`Unmountable`].
pub fn router(service: Arc<TokenService>, settings: &plan::TokenService) -> Result<Router, Unmountable> {
    let standard = Arc::new(StandardSkin::new(Arc::clone(&service), settings));
    let mut mounts: Vec<(Cow<'_, str>, MethodRouter)> = vec![
        (INTROSPECT.into(), post(standard::introspect).with_state(Arc::clone(&standard))),
        (METADATA.into(), get(standard::metadata).with_state(Arc::clone(&standard))),
        (JWKS.into(), get(standard::keys).with_state(standard)),
    ];
    if let Some(api) = &settings.oauth {
        let skin = Arc::new(OAuthSkin::new(Arc::clone(&service), api));
        let operations: [(&str, MethodRouter<Arc<OAuthSkin>>); 7] = [
            (&api.paths.password, post(oauth::sign_in)),
            (&api.paths.request_code, post(oauth::request_code)),
            (&api.paths.verify_code, post(oauth::verify_code)),
            (&api.paths.token, post(oauth::token)),
            (&api.paths.revoke, post(oauth::revoke)),
            (&api.paths.account, get(oauth::account)),
            (&api.paths.accounts, get(oauth::accounts)),
        ];
        for (path, operation) in operations {
            mounts.push((plain(path)?.into(), operation.with_state(Arc::clone(&skin))));
        }
    }
    if let Some(api) = &settings.session {
        plain(&api.prefix)?;
        mounts.extend(session::mounts(Arc::clone(&service), api).into_iter().map(|(path, operation)| (path.into(), operation)));
    }
    if let Some(api) = &settings.back_office {
        let skin = Arc::new(BackOfficeSkin::new(service, api));
        let operations: [(&str, MethodRouter<Arc<BackOfficeSkin>>); 4] = [
            (&api.paths.sign_in, post(back_office::sign_in)),
            (&api.paths.confirm, post(back_office::confirm)),
            (&api.paths.refresh, post(back_office::refresh)),
            (&api.paths.sign_out, post(back_office::sign_out)),
        ];
        for (path, operation) in operations {
            mounts.push((plain(path)?.into(), operation.with_state(Arc::clone(&skin))));
        }
    }
    let router = mount(mounts)?;
    let nowhere = || async { words::api_error(StatusCode::NOT_FOUND, "NotFound", "There is nothing here.") };
    let not_so = || async { words::api_error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Not with this method.") };
    Ok(router.fallback(nowhere).method_not_allowed_fallback(not_so).layer(from_fn(to_the_end)))
}

/// The router as the gateway calls it.
#[must_use]
pub fn in_process(router: Router) -> InProcess {
    BoxCloneSyncService::new(service_fn(move |request: axum::http::Request<Bytes>| {
        let router = router.clone();
        async move {
            let Ok(answer) = router.oneshot(request.map(Body::from)).await;
            let (parts, body) = answer.into_parts();
            // Our own bodies are in memory already: collecting one cannot fail.
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Ok(Response::from_parts(parts, body))
        }
    }))
}

/// The router panics on what it cannot mount, so that is found out before.
fn mount(mounts: Vec<(Cow<'_, str>, MethodRouter)>) -> Result<Router, Unmountable> {
    let mut router = Router::new();
    let mut taken: Vec<Cow<'_, str>> = Vec::new();
    for (path, operation) in mounts {
        if taken.contains(&path) {
            return Err(Unmountable::Twice(path.into()));
        }
        router = router.route(&path, operation);
        taken.push(path);
    }
    Ok(router)
}

/// A path of the configuration, at which something can be mounted.
fn plain(path: &str) -> Result<&str, Unmountable> {
    let plain = path.starts_with('/') && !path.contains(['{', '}', '*']) && !path.contains("/:");
    if plain { Ok(path) } else { Err(Unmountable::Path(path.into())) }
}

/// A step that has begun is finished, whether or not its caller waits for the answer: otherwise hanging up at the right
/// moment would leave a failure uncounted, or a revocation committed and the gateway not told.
async fn to_the_end(request: Request, next: Next) -> axum::response::Response {
    tokio::spawn(next.run(request)).await.unwrap_or_else(|_| words::internal())
}
