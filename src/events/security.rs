//! Security event tokens (RFC 8417) as SSF 1.0 has them.

use serde_json::Value;

use crate::events::claims::Pushed;
use crate::events::{Complaint, Message, Outcome};
use crate::rules::security_event::{Meaning, Named};

/// The media type of a pushed token (RFC 8935 section 2.1).
pub(super) const TYPE: &str = "application/secevent+jwt";

/// The most events of one token. SSF 1.0 has one, under more than one name at most.
const MOST: usize = 16;

/// What the token's events reach, among tokens whose `iss` is `issuer`.
///
/// The subject is `sub_id` of the token (SSF 1.0), or `subject` of the event, as the drafts before it had it.
pub(super) fn read(pushed: &Pushed<'_>, issuer: &str) -> Result<Message, Complaint> {
    let events = pushed.claims.value("events").and_then(Value::as_object).ok_or(Complaint::Malformed("events is missing"))?;
    if events.is_empty() || events.len() > MOST || !events.values().all(Value::is_object) {
        return Err(Complaint::Malformed("events is no list of events"));
    }
    let mut message = Message { reached: Vec::new(), outcome: Outcome::Ignored };
    for (event_type, event) in events {
        let meaning = Meaning::of(event_type);
        match meaning {
            Meaning::Unknown => {}
            Meaning::Stream => message.outcome = Outcome::Stream,
            Meaning::SessionRevoked | Meaning::AccountChanged => {
                let subject = pushed.claims.value("sub_id").or(event.get("subject"));
                let subject = subject.ok_or(Complaint::Malformed("the event has no subject"))?;
                let named = Named::by(subject, issuer).map_err(|_| Complaint::Malformed("the subject is malformed"))?;
                message.reached.extend(named.reached(meaning));
                message.outcome = Outcome::Unmapped;
            }
        }
    }
    if !message.reached.is_empty() {
        message.outcome = Outcome::Cut;
    }
    Ok(message)
}
