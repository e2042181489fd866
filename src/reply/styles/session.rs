//! API B's words (contract section 2): `code` and `message`; a missing step-up is an `errorCode` alone.

use serde_json::{Value, json};

use crate::reply::Facts;

pub(super) fn body(facts: &Facts) -> Value {
    if facts.code == "step-up-required" {
        return json!({ "errorCode": "STEP_UP_REQUIRED" });
    }
    json!({ "code": facts.code.to_ascii_uppercase().replace('-', "_"), "message": facts.title })
}
