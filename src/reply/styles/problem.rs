//! RFC 9457 problem details, with the reason as `code` and the request's id.

use serde_json::{Map, Value};

use crate::reply::Facts;

pub(super) fn body(facts: &Facts, request_id: &str) -> Value {
    let mut body = Map::new();
    body.insert("type".into(), format!("urn:portcullis:denial:{}", facts.code).into());
    body.insert("title".into(), facts.title.into());
    body.insert("status".into(), facts.status.as_u16().into());
    body.insert("code".into(), facts.code.into());
    if let Some(detail) = facts.detail {
        body.insert("detail".into(), detail.into());
    }
    if !request_id.is_empty() {
        body.insert("request_id".into(), request_id.into());
    }
    if let Some(id) = facts.error_id {
        body.insert("error_id".into(), format!("{:016x}", id.0).into());
    }
    Value::Object(body)
}
