//! API A's words (contract section 1): two keys on every 401, four on everything else, and nothing added to either.

use http::StatusCode;
use serde_json::{Value, json};

use crate::reply::Facts;

/// What API A says on every 401, whatever the reason.
const UNAUTHENTICATED: &str = "Authentication is possible but has failed or not yet been provided.";

pub(super) fn body(facts: &Facts) -> Value {
    if facts.status == StatusCode::UNAUTHORIZED {
        return json!({ "message": UNAUTHENTICATED, "errorMessage": UNAUTHENTICATED });
    }
    let code = code(facts.status);
    json!({ "message": facts.title, "code": code, "errorMessage": facts.title, "errorCode": code })
}

fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "InvalidInput",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::REQUEST_TIMEOUT => "RequestTimeout",
        StatusCode::PAYLOAD_TOO_LARGE => "PayloadTooLarge",
        StatusCode::URI_TOO_LONG => "TargetTooLong",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "UnsupportedMediaType",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "HeadTooLarge",
        StatusCode::BAD_GATEWAY => "BadGateway",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        StatusCode::GATEWAY_TIMEOUT => "GatewayTimeout",
        _ => "InternalError",
    }
}
