//! What admin calls are answered with: JSON, and problems (RFC 9457) for what is refused.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::admin::door::Shut;

/// Why a call is refused.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    field: Option<(axum::http::HeaderName, HeaderValue)>,
}

impl Problem {
    /// 415.
    pub(super) const MEDIA_TYPE: Self =
        Self::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "the body is application/json, in no encoding");
    /// 413.
    pub(super) const TOO_LARGE: Self =
        Self::plain(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is larger than 16 KiB");
    /// 408.
    pub(super) const TOO_SLOW: Self = Self::plain(StatusCode::REQUEST_TIMEOUT, "too-slow", "the body took too long");

    /// 404.
    pub(super) const NO_LOCK: Self = Self::plain(StatusCode::NOT_FOUND, "no-lock", "nobody who is meant is locked");
    /// 503.
    pub(super) const UNAVAILABLE: Self =
        Self::plain(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "what keeps the locks does not answer; try again");

    const fn plain(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail: Cow::Borrowed(detail), field: None }
    }

    /// 400.
    pub(super) fn malformed(detail: &str) -> Self {
        Self { detail: Cow::Owned(detail.to_owned()), ..Self::plain(StatusCode::BAD_REQUEST, "malformed", "") }
    }

    /// 503: of these issuers or guards it may not last, or has not happened.
    pub(super) fn not_kept(issuers: &[&str]) -> Self {
        let issuers = issuers.join(", ");
        let detail = format!("could not be written down for: {issuers}. It may hold until a restart only; try again");
        let plain = Self::plain(StatusCode::SERVICE_UNAVAILABLE, "not-kept", "");
        Self { detail: Cow::Owned(detail), field: Some((RETRY_AFTER, HeaderValue::from_static("1"))), ..plain }
    }

    /// 503: at these guards some of what was meant is locked still, or may be.
    pub(super) fn not_all(guards: &[&str]) -> Self {
        let guards = guards.join(", ");
        let detail = format!(
            "what is meant may still be locked at: {guards}. There was more than is cleared in one go, or what keeps the locks does not answer; try again"
        );
        let plain = Self::plain(StatusCode::SERVICE_UNAVAILABLE, "not-all", "");
        Self { detail: Cow::Owned(detail), field: Some((RETRY_AFTER, HeaderValue::from_static("1"))), ..plain }
    }

    /// 503: it holds here and lasts, but for these issuers other gateways do not know of it yet.
    pub(super) fn not_told(issuers: &[&str]) -> Self {
        let issuers = issuers.join(", ");
        let detail =
            format!("holds here, but the other gateways could not be told yet for: {issuers}. They will be; try again");
        let plain = Self::plain(StatusCode::SERVICE_UNAVAILABLE, "not-told", "");
        Self { detail: Cow::Owned(detail), field: Some((RETRY_AFTER, HeaderValue::from_static("1"))), ..plain }
    }

    /// Which it is, in a word.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn into_answer(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        let mut response = answer(self.status, "application/problem+json", &body);
        if let Some((name, value)) = self.field {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Shut> for Problem {
    fn from(shut: Shut) -> Self {
        let challenge = |value| Some((WWW_AUTHENTICATE, HeaderValue::from_static(value)));
        match shut {
            Shut::Off => Self::plain(
                StatusCode::FORBIDDEN,
                "admin-api-off",
                "the admin API is off: [admin] names no token to call it with",
            ),
            Shut::NoToken => Self {
                field: challenge("Bearer realm=\"admin\""),
                ..Self::plain(StatusCode::UNAUTHORIZED, "no-token", "the admin token is missing")
            },
            Shut::WrongToken => Self {
                field: challenge("Bearer realm=\"admin\", error=\"invalid_token\""),
                ..Self::plain(StatusCode::UNAUTHORIZED, "wrong-token", "this is not the admin token")
            },
            Shut::Paused(left) => Self {
                field: Some((RETRY_AFTER, whole_seconds(left).into())),
                ..Self::plain(StatusCode::TOO_MANY_REQUESTS, "paused", "too many wrong tokens came from there")
            },
        }
    }
}

/// Rounded up: who comes back then finds the pause over.
fn whole_seconds(left: Duration) -> u64 {
    u64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// A JSON answer that nobody keeps.
pub(super) fn answer(status: StatusCode, media_type: &'static str, body: &Value) -> Response {
    let mut response = Response::new(Body::from(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
