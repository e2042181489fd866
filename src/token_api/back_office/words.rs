//! The refusals of API C: one member `message`, and one text for every 401.

use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;

use crate::model::Denial;
use crate::rules::body::Unreadable;
use crate::token_api::words::{Complaint, not_stored, retry_after, with};
use crate::tokens::refusal::Refusal;

/// A complaint in the words of API C.
#[derive(Debug)]
pub(crate) struct InBackOffice(Complaint);

impl<T: Into<Complaint>> From<T> for InBackOffice {
    fn from(complaint: T) -> Self {
        Self(complaint.into())
    }
}

impl IntoResponse for InBackOffice {
    fn into_response(self) -> Response {
        let bad = StatusCode::BAD_REQUEST;
        match self.0 {
            Complaint::Unreadable(Unreadable::MediaType) => {
                message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be uncompressed JSON in UTF-8.")
            }
            Complaint::Unreadable(Unreadable::TooLarge) => message(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large."),
            Complaint::Unreadable(Unreadable::Malformed) => {
                message(bad, "The body must be one JSON object without repeated members.")
            }
            Complaint::Member(name, need) => message(bad, &format!("{name} must be {need}.")),
            Complaint::ParameterMissing | Complaint::ClientTwice | Complaint::GrantUnknown | Complaint::GrantRetired => {
                message(bad, "The input is not valid.")
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
            ) => unauthenticated(),
            Complaint::Refused(Refusal::Denied(denial)) => denied(&denial),
        }
    }
}

fn unauthenticated() -> Response {
    let answer = message(StatusCode::UNAUTHORIZED, "Unauthenticated.");
    with(answer, WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"portcullis\""))
}

/// What the token service cannot do now, or for this caller.
fn denied(denial: &Denial) -> Response {
    match denial {
        Denial::Locked(wait) | Denial::LimitReached(wait) => {
            retry_after(message(StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Please try again later."), *wait)
        }
        Denial::StoreUnavailable(wait) | Denial::Overloaded(wait) | Denial::AuthorityUnavailable(wait) => {
            let text = "The service is unavailable for the moment. Please try again.";
            retry_after(message(StatusCode::SERVICE_UNAVAILABLE, text), *wait)
        }
        // Our own faults, and refusals of the gateway, none of which the token service makes.
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
        | Denial::Internal(_) => message(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side."),
    }
}

fn message(status: StatusCode, text: &str) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        message: &'a str,
    }
    not_stored((status, Json(Body { message: text })).into_response())
}
