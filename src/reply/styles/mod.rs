//! The words of each style. A style is a pure function of the facts: it cannot invent a status.

mod back_office;
mod oauth;
mod problem;
mod session;

use http::HeaderValue;
use serde_json::Value;

use crate::model::Style;
use crate::reply::Facts;

/// The content type of a style's bodies.
pub(super) fn content_type(style: Style) -> HeaderValue {
    match style {
        Style::Problem => HeaderValue::from_static("application/problem+json"),
        Style::OAuth | Style::Session | Style::BackOffice => HeaderValue::from_static("application/json"),
    }
}

/// The body of a refusal.
pub(super) fn body(style: Style, facts: &Facts, request_id: &str) -> String {
    let body: Value = match style {
        Style::Problem => problem::body(facts, request_id),
        Style::OAuth => oauth::body(facts),
        Style::Session => session::body(facts),
        Style::BackOffice => back_office::body(facts),
    };
    body.to_string()
}
