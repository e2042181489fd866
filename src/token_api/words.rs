//! The bodies of API A, key by key as its clients read them, and which refusal is said in which of them.
//!
//! Three shapes and nothing added to them: the API error, the OAuth error and the two-key 401. Every answer with a token,
//! and every refusal, is marked as not to be stored (RFC 6749 section 5.1).

use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;

use crate::model::Denial;
use crate::token_api::reading::Unreadable;
use crate::tokens::refusal::Refusal;

const NOT_AUTHENTICATED: &str = "Authentication is possible but has failed or not yet been provided.";

/// An answer that says what was asked for.
pub(crate) fn success(body: &impl Serialize) -> Response {
    not_stored((StatusCode::OK, Json(body)).into_response())
}

/// An answer that says nothing but that it is done.
pub(crate) fn done() -> Response {
    not_stored(StatusCode::OK.into_response())
}

/// The API error.
pub(crate) fn api_error(status: StatusCode, code: &str, message: &str) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        message: &'a str,
        code: &'a str,
        error_message: &'a str,
        error_code: &'a str,
    }
    let body = Body { message, code, error_message: message, error_code: code };
    not_stored((status, Json(body)).into_response())
}

/// The OAuth error.
pub(crate) fn oauth_error(status: StatusCode, error: &str, description: &str) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
        error_description: &'a str,
        message: &'a str,
        #[serde(rename = "errorMessage")]
        error_message: &'a str,
    }
    let failure = "OAuth failure";
    let body = Body { error, error_description: description, message: failure, error_message: failure };
    not_stored((status, Json(body)).into_response())
}

/// The 401 that does not tell what was wrong.
pub(crate) fn not_authenticated() -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        message: &'static str,
        error_message: &'static str,
    }
    let body = Body { message: NOT_AUTHENTICATED, error_message: NOT_AUTHENTICATED };
    let answer = not_stored((StatusCode::UNAUTHORIZED, Json(body)).into_response());
    with(answer, WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"portcullis\""))
}

/// 400 of a JSON operation whose input is not valid. The message names the member, never its value.
pub(crate) fn invalid_input(message: &str) -> Response {
    api_error(StatusCode::BAD_REQUEST, "InvalidInput", message)
}

/// A refusal of an operation that speaks JSON.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::ClientUnknown
        | Refusal::ClientNotAllowed
        | Refusal::ProofWrong
        | Refusal::CodeInvalid
        | Refusal::RefreshInvalid => not_authenticated(),
        Refusal::Denied(denial) => denied(denial),
    }
}

/// A refusal of an operation that speaks OAuth.
pub(crate) fn refused_by_oauth(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::ClientUnknown => invalid_client(),
        Refusal::ClientNotAllowed => oauth_error(StatusCode::BAD_REQUEST, "unauthorized_client", "UnauthorizedClient"),
        Refusal::ProofWrong => oauth_error(StatusCode::BAD_REQUEST, "invalid_grant", "InvalidGrant"),
        Refusal::CodeInvalid => oauth_error(StatusCode::BAD_REQUEST, "invalid_request", "InvalidGrantCode"),
        Refusal::RefreshInvalid => oauth_error(StatusCode::BAD_REQUEST, "invalid_grant", "InvalidRefreshToken"),
        Refusal::Denied(denial) => denied(denial),
    }
}

/// 401 `invalid_client`.
pub(crate) fn invalid_client() -> Response {
    let answer = oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", "InvalidClient");
    with(answer, WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"portcullis\", charset=\"UTF-8\""))
}

/// A body that an operation that speaks JSON cannot read.
pub(crate) fn unreadable(why: Unreadable) -> Response {
    match why {
        Unreadable::MediaType => api_error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "The body must be uncompressed JSON in UTF-8.",
        ),
        Unreadable::TooLarge => api_error(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge", "The body is too large."),
        Unreadable::Malformed => invalid_input("The body must be one JSON object without repeated members."),
    }
}

/// A body that an operation that speaks OAuth cannot read.
pub(crate) fn unreadable_by_oauth(why: Unreadable) -> Response {
    let (status, description) = match why {
        Unreadable::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType"),
        Unreadable::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge"),
        Unreadable::Malformed => (StatusCode::BAD_REQUEST, "MalformedRequest"),
    };
    oauth_error(status, "invalid_request", description)
}

/// What the token service cannot do now, or for this caller.
pub(crate) fn denied(denial: &Denial) -> Response {
    match denial {
        Denial::Locked(wait) | Denial::LimitReached(wait) => {
            let message = "There were too many requests. Please try again later.";
            retry_after(api_error(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message), *wait)
        }
        Denial::StoreUnavailable(wait) | Denial::Overloaded(wait) | Denial::AuthorityUnavailable(wait) => {
            let message = "The service is unavailable for the moment. Please try again.";
            retry_after(api_error(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message), *wait)
        }
        // Refusals of the gateway, none of which the token service makes.
        Denial::BadRequest(_)
        | Denial::RequestTimeout
        | Denial::BodyTooLarge
        | Denial::TargetTooLong
        | Denial::UnsupportedMediaType
        | Denial::HeadTooLarge
        | Denial::NoRoute
        | Denial::MethodNotAllowed(_)
        | Denial::CredentialMissing
        | Denial::CredentialMisplaced(_)
        | Denial::CredentialInvalid
        | Denial::CredentialKind
        | Denial::ScopeMissing(_)
        | Denial::ClaimMissing
        | Denial::StepUpRequired(_)
        | Denial::UpstreamUnavailable
        | Denial::UpstreamTimeout
        | Denial::Internal(_) => internal(),
    }
}

/// 500: our own fault.
pub(crate) fn internal() -> Response {
    api_error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "Something went wrong on our side.")
}

/// Whole seconds, rounded up: who comes back then is not too early.
fn retry_after(answer: Response, wait: Duration) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    with(answer, RETRY_AFTER, seconds.max(1).into())
}

fn not_stored(answer: Response) -> Response {
    let answer = with(answer, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    with(answer, PRAGMA, HeaderValue::from_static("no-cache"))
}

fn with(mut answer: Response, name: axum::http::HeaderName, value: HeaderValue) -> Response {
    answer.headers_mut().insert(name, value);
    answer
}
