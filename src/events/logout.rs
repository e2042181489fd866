//! Logout tokens (OpenID Connect Back-Channel Logout 1.0 section 2.4).

use serde_json::Value;

use crate::events::claims::Pushed;
use crate::events::{Complaint, Message, Outcome};
use crate::rules::security_event::Reached;

/// The event that makes a token a logout token.
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Whose logout it is: a session's if one is named, else all of a subject's.
pub(super) fn read(pushed: &Pushed<'_>) -> Result<Message, Complaint> {
    let claims = pushed.claims;
    // An ID token has one, and must never pass as a logout token.
    if claims.value("nonce").is_some() {
        return Err(Complaint::Malformed("nonce is there"));
    }
    if !claims.value("events").and_then(|events| events.get(LOGOUT)).is_some_and(Value::is_object) {
        return Err(Complaint::Malformed("events has no logout"));
    }
    let reached = match (claims.text("sid")?, claims.text("sub")?) {
        (Some(""), _) | (_, Some("")) => return Err(Complaint::Malformed("sid or sub is empty")),
        (Some(session), _) => Reached::Session(session.into()),
        (None, Some(subject)) => Reached::Subject(subject.into()),
        (None, None) => return Err(Complaint::Malformed("neither sid nor sub")),
    };
    Ok(Message { reached: vec![reached], outcome: Outcome::Cut })
}
