//! API C's words (contract section 3): one `message`, the same for every 401.

use http::StatusCode;
use serde_json::{Value, json};

use crate::reply::Facts;

pub(super) fn body(facts: &Facts) -> Value {
    let message = if facts.status == StatusCode::UNAUTHORIZED { "Unauthenticated." } else { facts.title };
    json!({ "message": message })
}
