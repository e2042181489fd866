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
use crate::rules::body::Unreadable;
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
fn oauth_error(status: StatusCode, error: &str, description: &str) -> Response {
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
fn not_authenticated() -> Response {
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

/// Why an operation has no success to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Complaint {
    /// The body was not read.
    Unreadable(Unreadable),
    /// A member of a JSON body is not what it must be. Named, but its value never repeated.
    Member(&'static str, &'static str),
    /// A parameter that the operation needs is absent.
    ParameterMissing,
    /// A client presents itself in two ways.
    ClientTwice,
    /// There is no such grant.
    GrantUnknown,
    /// There was such a grant once: the password grant (RFC 9700 section 2.4).
    GrantRetired,
    /// Nobody whom this operation is for is calling.
    NotAuthenticated,
    /// The token service says no.
    Refused(Refusal),
}

impl From<Unreadable> for Complaint {
    fn from(why: Unreadable) -> Self {
        Self::Unreadable(why)
    }
}

impl From<Refusal> for Complaint {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Denial> for Complaint {
    fn from(denial: Denial) -> Self {
        Self::Refused(Refusal::Denied(denial))
    }
}

/// A complaint in the words of the operations that speak JSON.
#[derive(Debug)]
pub(crate) struct InJson(Complaint);

/// A complaint in the words of the operations that speak OAuth.
#[derive(Debug)]
pub(crate) struct InOAuth(Complaint);

impl<T: Into<Complaint>> From<T> for InJson {
    fn from(complaint: T) -> Self {
        Self(complaint.into())
    }
}

impl<T: Into<Complaint>> From<T> for InOAuth {
    fn from(complaint: T) -> Self {
        Self(complaint.into())
    }
}

impl IntoResponse for InJson {
    fn into_response(self) -> Response {
        match self.0 {
            Complaint::Unreadable(Unreadable::MediaType) => {
                let message = "The body must be uncompressed JSON in UTF-8.";
                api_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
            }
            Complaint::Unreadable(Unreadable::TooLarge) => {
                api_error(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", "The body is too large.")
            }
            Complaint::Unreadable(Unreadable::Malformed) => {
                invalid_input("The body must be one JSON object without repeated members.")
            }
            Complaint::Member(name, need) => invalid_input(&format!("{name} must be {need}.")),
            Complaint::ParameterMissing | Complaint::ClientTwice | Complaint::GrantUnknown | Complaint::GrantRetired => {
                invalid_input("The input is not valid.")
            }
            // Which of the proofs was wrong is nobody's business.
            Complaint::NotAuthenticated
            | Complaint::Refused(
                Refusal::ClientUnknown
                | Refusal::ClientNotAllowed
                | Refusal::ProofWrong
                | Refusal::CodeInvalid
                | Refusal::RefreshInvalid
                | Refusal::KeyUnknown
                | Refusal::TokenInvalid
                | Refusal::TokenKind
                | Refusal::IdentityForeign
                | Refusal::Conflict(_),
            ) => not_authenticated(),
            Complaint::Refused(Refusal::Denied(denial)) => denied(&denial),
        }
    }
}

impl IntoResponse for InOAuth {
    fn into_response(self) -> Response {
        let invalid_request = |status, description| oauth_error(status, "invalid_request", description);
        let bad = StatusCode::BAD_REQUEST;
        match self.0 {
            Complaint::Unreadable(Unreadable::MediaType) => {
                invalid_request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType")
            }
            Complaint::Unreadable(Unreadable::TooLarge) => invalid_request(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge"),
            Complaint::Unreadable(Unreadable::Malformed) => invalid_request(bad, "MalformedRequest"),
            Complaint::Member(..) => invalid_request(bad, "InvalidInput"),
            Complaint::ParameterMissing => invalid_request(bad, "MissingParameter"),
            Complaint::ClientTwice => invalid_request(bad, "RepeatedClientAuthentication"),
            Complaint::GrantUnknown => oauth_error(bad, "unsupported_grant_type", "UnsupportedGrantType"),
            Complaint::GrantRetired => {
                let message = "This functionality is not supported. Please update the app to the latest version.";
                api_error(bad, "OldAppVersion", message)
            }
            Complaint::NotAuthenticated
            | Complaint::Refused(
                Refusal::KeyUnknown
                | Refusal::TokenInvalid
                | Refusal::TokenKind
                | Refusal::IdentityForeign
                | Refusal::Conflict(_),
            ) => not_authenticated(),
            Complaint::Refused(Refusal::ClientUnknown) => {
                let answer = oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", "InvalidClient");
                with(answer, WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"portcullis\", charset=\"UTF-8\""))
            }
            Complaint::Refused(Refusal::ClientNotAllowed) => oauth_error(bad, "unauthorized_client", "UnauthorizedClient"),
            Complaint::Refused(Refusal::ProofWrong) => oauth_error(bad, "invalid_grant", "InvalidGrant"),
            // RFC 6749 section 5.2 would say invalid_grant; the clients of API A know it as this.
            Complaint::Refused(Refusal::CodeInvalid) => invalid_request(bad, "InvalidGrantCode"),
            Complaint::Refused(Refusal::RefreshInvalid) => oauth_error(bad, "invalid_grant", "InvalidRefreshToken"),
            Complaint::Refused(Refusal::Denied(denial)) => denied(&denial),
        }
    }
}

fn invalid_input(message: &str) -> Response {
    api_error(StatusCode::BAD_REQUEST, "InvalidInput", message)
}

/// What the token service cannot do now, or for this caller.
fn denied(denial: &Denial) -> Response {
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
        | Denial::SourceDenied
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
pub(crate) fn retry_after(answer: Response, wait: Duration) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    with(answer, RETRY_AFTER, seconds.max(1).into())
}

pub(crate) fn not_stored(answer: Response) -> Response {
    let answer = with(answer, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    with(answer, PRAGMA, HeaderValue::from_static("no-cache"))
}

pub(crate) fn with(mut answer: Response, name: axum::http::HeaderName, value: HeaderValue) -> Response {
    answer.headers_mut().insert(name, value);
    answer
}
