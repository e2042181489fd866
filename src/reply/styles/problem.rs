//! RFC 9457 problem details, with the reason as `code` and the request's id.

use serde_json::{Value, json};

use crate::reply::Facts;

pub(super) fn body(facts: &Facts, request_id: &str) -> Value {
    let mut body = json!({
        "type": format!("urn:portcullis:denial:{}", facts.code),
        "title": facts.title,
        "status": facts.status.as_u16(),
        "code": facts.code,
    });
    if !request_id.is_empty() {
        body["request_id"] = request_id.into();
    }
    if let Some(detail) = facts.detail {
        body["detail"] = detail.into();
    }
    if let Some(id) = facts.error_id {
        body["error_id"] = format!("{:016x}", id.0).into();
    }
    body
}
