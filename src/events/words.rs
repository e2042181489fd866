//! What is answered to a push: the one mapping from complaints to statuses and bodies, for both protocols.
//!
//! Back-Channel Logout 1.0 section 2.8 has 200 and 400 with the errors of OAuth; RFC 8935 sections 2.2 to 2.4 has 202, 400 and
//! its own codes. Whatever passes by itself is 503, so that it is pushed again. Nothing of what was pushed is repeated.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::events::Complaint;
use crate::plan::PushProtocol;

/// The answer to what was taken.
pub(super) fn taken(protocol: &PushProtocol) -> Response<Bytes> {
    answer(match protocol {
        PushProtocol::Logout => StatusCode::OK,
        PushProtocol::Events { .. } => StatusCode::ACCEPTED,
    })
}

/// The answer to what was not.
pub(super) fn refused(protocol: &PushProtocol, complaint: Complaint) -> Response<Bytes> {
    let (status, code) = match complaint {
        Complaint::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request"),
        Complaint::Malformed(_) | Complaint::Replayed => (StatusCode::BAD_REQUEST, "invalid_request"),
        Complaint::Key => (StatusCode::BAD_REQUEST, "invalid_key"),
        Complaint::Issuer => (StatusCode::BAD_REQUEST, "invalid_issuer"),
        Complaint::Audience => (StatusCode::BAD_REQUEST, "invalid_audience"),
        Complaint::Unauthenticated => (StatusCode::UNAUTHORIZED, "authentication_failed"),
        Complaint::Limited(_) => (StatusCode::TOO_MANY_REQUESTS, "access_denied"),
        Complaint::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
    };
    let what = description(complaint);
    let body = match protocol {
        PushProtocol::Events { .. } => json!({ "err": code, "description": what }),
        PushProtocol::Logout if status == StatusCode::SERVICE_UNAVAILABLE => {
            json!({ "error": code, "error_description": what })
        }
        PushProtocol::Logout => json!({ "error": "invalid_request", "error_description": what }),
    };
    let mut response = answer(status);
    *response.body_mut() = Bytes::from(body.to_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    match complaint {
        Complaint::Limited(wait) | Complaint::Unavailable(wait) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        Complaint::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="portcullis""#));
        }
        Complaint::MediaType
        | Complaint::Malformed(_)
        | Complaint::Key
        | Complaint::Issuer
        | Complaint::Audience
        | Complaint::Replayed => {}
    }
    response
}

fn description(complaint: Complaint) -> &'static str {
    match complaint {
        Complaint::MediaType => "the body has another type, or is compressed",
        Complaint::Malformed(what) => what,
        Complaint::Key => "it is not signed by a key and an algorithm that are taken",
        Complaint::Issuer => "iss is somebody else",
        Complaint::Audience => "aud is somebody else",
        Complaint::Unauthenticated => "the transmitter's token is missing or wrong",
        Complaint::Replayed => "it was taken before",
        Complaint::Limited(_) => "too much was pushed from here",
        Complaint::Unavailable(_) => "it cannot be checked or written down at the moment",
    }
}

fn answer(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Rounded up, at least 1: `Retry-After` is never too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}
