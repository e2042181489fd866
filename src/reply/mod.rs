//! Every response we speak ourselves: a [`Denial`] becomes a status, its fields and a body in the route's style.
//!
//! Imports `model` and `rules` (the envelope). The one place that invents a status; styles only choose words. Deliberately
//! absent: sockets, and the envelope's headers, which the rim puts on every response alike.

mod styles;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::model::{BadRequest, Challenge, Denial, ErrorId, Style};

/// A finished response, not yet dressed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Its own fields; `Content-Length` is the rim's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// What a denial says in every style: all that a style may choose its words from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The status.
    pub status: StatusCode,
    /// The reason in the field's words.
    pub code: &'static str,
    /// One sentence for people; the same for everybody.
    pub title: &'static str,
    /// What further is told, if anything.
    pub detail: Option<&'static str>,
    /// Ties the answer to the log, for our own faults.
    pub error_id: Option<ErrorId>,
}

impl Reply {
    /// The answer to a preflight; the envelope carries all that it says.
    #[must_use]
    pub fn preflight() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: Bytes::new() }
    }

    /// The refusal of a request, in the style of its route.
    #[must_use]
    pub fn refusal(denial: &Denial, style: Style, request_id: &str) -> Self {
        let facts = facts(denial, style);
        let mut headers =
            vec![(CONTENT_TYPE, styles::content_type(style)), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        headers.extend(fields(denial));
        let body = styles::body(style, &facts, request_id);
        Self { status: facts.status, headers, body: Bytes::from(body) }
    }
}

/// The fields that a denial adds: challenges, `Allow`, `Retry-After`.
fn fields(denial: &Denial) -> Vec<(HeaderName, HeaderValue)> {
    match denial {
        Denial::BadRequest(BadRequest::Credential) => vec![challenge(r#"error="invalid_request""#)],
        Denial::CredentialMissing | Denial::CredentialMisplaced(_) => vec![challenge("")],
        Denial::CredentialInvalid => vec![challenge(r#"error="invalid_token""#)],
        Denial::ScopeMissing(scopes) => vec![challenge(&format!(r#"error="insufficient_scope", scope="{scopes}""#))],
        Denial::StepUpRequired(wanted) => vec![challenge(&step_up(wanted))],
        Denial::MethodNotAllowed(methods) => allow(methods).map(|value| (ALLOW, value)).into_iter().collect(),
        Denial::LimitReached(wait)
        | Denial::Locked(wait)
        | Denial::AuthorityUnavailable(wait)
        | Denial::StoreUnavailable(wait)
        | Denial::Overloaded(wait) => vec![(RETRY_AFTER, HeaderValue::from(whole_seconds(*wait)))],
        Denial::BadRequest(_)
        | Denial::RequestTimeout
        | Denial::BodyTooLarge
        | Denial::TargetTooLong
        | Denial::UnsupportedMediaType
        | Denial::HeadTooLarge
        | Denial::NoRoute
        | Denial::SourceDenied
        | Denial::CredentialKind
        | Denial::ClaimMissing
        | Denial::UpstreamUnavailable
        | Denial::UpstreamTimeout
        | Denial::Internal(_) => Vec::new(),
    }
}

/// The one mapping from reasons to statuses. `style` decides two rows only: a lock and a missing step-up.
fn facts(denial: &Denial, style: Style) -> Facts {
    let (status, title, detail) = match denial {
        Denial::BadRequest(what) => {
            (StatusCode::BAD_REQUEST, "The request cannot be read in exactly one way.", Some(which(*what)))
        }
        Denial::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "The request was not complete in time.", None),
        Denial::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than this route takes.", None),
        Denial::TargetTooLong => (StatusCode::URI_TOO_LONG, "The request target is too long.", None),
        Denial::UnsupportedMediaType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body's type or encoding is not supported here.", None)
        }
        Denial::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request head is too large.", None),
        Denial::NoRoute => (StatusCode::NOT_FOUND, "There is nothing at this address.", None),
        Denial::SourceDenied => (StatusCode::FORBIDDEN, "Nobody is served here from your address.", None),
        Denial::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here.", None),
        Denial::CredentialMissing => (StatusCode::UNAUTHORIZED, "Authentication is required.", None),
        Denial::CredentialMisplaced(_) => (
            StatusCode::UNAUTHORIZED,
            "Authentication is required.",
            Some("Tokens are taken from `Authorization: Bearer` only."),
        ),
        Denial::CredentialInvalid => (StatusCode::UNAUTHORIZED, "The token is not valid.", None),
        Denial::CredentialKind => (StatusCode::FORBIDDEN, "This kind of token may not be used here.", None),
        Denial::ScopeMissing(_) => (StatusCode::FORBIDDEN, "The token lacks a scope that is needed here.", None),
        Denial::ClaimMissing => (StatusCode::FORBIDDEN, "The token lacks a claim that is needed here.", None),
        Denial::StepUpRequired(_) => (step_up_status(style), "A stronger or more recent authentication is needed.", None),
        Denial::LimitReached(_) => (StatusCode::TOO_MANY_REQUESTS, "Too many requests.", None),
        Denial::Locked(_) => (locked_status(style), "Too many failed attempts; locked for a while.", None),
        Denial::AuthorityUnavailable(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "The token service cannot be asked at the moment.", None)
        }
        Denial::StoreUnavailable(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "The service cannot remember this at the moment.", None)
        }
        Denial::Overloaded(_) => (StatusCode::SERVICE_UNAVAILABLE, "The service is busy.", None),
        Denial::UpstreamUnavailable => (StatusCode::BAD_GATEWAY, "The upstream did not answer properly.", None),
        Denial::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "The upstream took too long.", None),
        Denial::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here.", None),
    };
    let error_id = if let Denial::Internal(id) = denial { Some(*id) } else { None };
    Facts { status, code: denial.reason(), title, detail, error_id }
}

fn step_up_status(style: Style) -> StatusCode {
    match style {
        Style::Session => StatusCode::FORBIDDEN,
        Style::Problem | Style::OAuth | Style::BackOffice => StatusCode::UNAUTHORIZED,
    }
}

fn locked_status(style: Style) -> StatusCode {
    match style {
        Style::Session => StatusCode::LOCKED,
        Style::Problem | Style::OAuth | Style::BackOffice => StatusCode::TOO_MANY_REQUESTS,
    }
}

fn which(what: BadRequest) -> &'static str {
    match what {
        BadRequest::Head => "The head is not a well-formed HTTP/1.1 message.",
        BadRequest::Path => "The path has no single normal form.",
        BadRequest::Host => "Host is missing, repeated or malformed.",
        BadRequest::Framing => "It is ambiguous where the body ends.",
        BadRequest::Credential => "More than one credential was presented.",
        BadRequest::Body => "The body is not what its type says, or is ambiguous.",
    }
}

/// A Bearer challenge (RFC 6750 section 3). The parameters are made of our own words and of checked scopes, so they always fit
/// a header; should they not, the challenge goes without them.
fn challenge(parameters: &str) -> (HeaderName, HeaderValue) {
    let separator = if parameters.is_empty() { "" } else { ", " };
    let value = HeaderValue::from_str(&format!(r#"Bearer realm="portcullis"{separator}{parameters}"#));
    (WWW_AUTHENTICATE, value.unwrap_or(HeaderValue::from_static(r#"Bearer realm="portcullis""#)))
}

/// RFC 9470 section 3.
fn step_up(wanted: &Challenge) -> String {
    let mut parameters = String::from(r#"error="insufficient_user_authentication""#);
    if !wanted.acr_values.is_empty() {
        parameters += r#", acr_values=""#;
        parameters += &wanted.acr_values.join(" ");
        parameters.push('"');
    }
    if let Some(max_age) = wanted.max_age {
        parameters += ", max_age=";
        parameters += &max_age.as_secs().to_string();
    }
    parameters
}

/// The `Allow` field's value; `None` if a method does not fit a header, which a `Method` always does.
fn allow(methods: &[Method]) -> Option<HeaderValue> {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).ok()
}

/// Seconds until then, rounded up, at least 1: `Retry-After` is never too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests;
