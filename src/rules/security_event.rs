//! What a security event means for tokens, and whose they are: event types of CAEP and RISC, subject identifiers (RFC 9493).
//!
//! Imports nothing of ours but the shape of JSON. An identifier that names nobody whom tokens can tell apart is no mistake of
//! who sent it: it maps to nothing. Deliberately absent: signatures, and what is done with what is reached.
//!
//! Every event reaches tokens in one of two ways. The end of a session reaches the session for good, if it is named. Whatever
//! else happened to an account reaches its subject: a token that is asked about is asked about anew, and a JWT is refused if it
//! was issued before, so that the one issued next, with the new claims, passes.

use serde_json::Value;

/// What an event means for tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// A session has ended, or all of a subject's (CAEP 1.0 section 3.1).
    SessionRevoked,
    /// Something happened to the account: tokens that were issued before are worth nothing or say what is not so any more.
    AccountChanged,
    /// About the stream of events itself (SSF 1.0: verification, stream updated).
    Stream,
    /// Nothing that is known here.
    Unknown,
}

/// Whom a subject identifier names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Named {
    /// A subject.
    pub subject: Option<Box<str>>,
    /// A session.
    pub session: Option<Box<str>>,
    /// A subject or a session: an opaque identifier by itself does not say which (CAEP 1.0 has examples of both).
    pub either: Option<Box<str>>,
}

/// What tokens an event reaches.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reached {
    /// Those of a session.
    Session(Box<str>),
    /// Those of a subject.
    Subject(Box<str>),
}

/// A subject identifier is not what its format says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the subject is not what its format says")]
pub struct Malformed;

/// The longest identifier, in bytes; those of tokens are no longer.
const LONGEST: usize = 512;
/// The most identifiers of one subject (format `aliases`).
const MOST_ALIASES: usize = 16;

impl Meaning {
    /// Of an event type.
    #[must_use]
    pub fn of(event_type: &str) -> Self {
        let Some(name) = event_type.strip_prefix("https://schemas.openid.net/secevent/") else { return Self::Unknown };
        match name {
            "caep/event-type/session-revoked" => Self::SessionRevoked,
            "caep/event-type/credential-change"
            | "caep/event-type/token-claims-change"
            | "caep/event-type/assurance-level-change"
            | "risc/event-type/account-disabled"
            | "risc/event-type/account-purged"
            | "risc/event-type/credential-compromise"
            | "risc/event-type/sessions-revoked" => Self::AccountChanged,
            "ssf/event-type/verification" | "ssf/event-type/stream-updated" => Self::Stream,
            _ => Self::Unknown,
        }
    }
}

impl Named {
    /// Whom `subject` names among the tokens whose `iss` is `issuer`; nobody if it names somebody of another issuer.
    ///
    /// # Errors
    /// [`Malformed`] if a member that its format needs is missing, or no text of 1 to 512 bytes.
    pub fn by(subject: &Value, issuer: &str) -> Result<Self, Malformed> {
        match text(subject, "format")? {
            "complex" => complex(subject, issuer),
            "aliases" => aliases(subject, issuer),
            _ => simple(subject, issuer).map(|simple| match simple {
                Simple::Subject(subject) => Self { subject: Some(subject), ..Self::default() },
                Simple::Opaque(either) => Self { either: Some(either), ..Self::default() },
                Simple::Foreign | Simple::Unmapped => Self::default(),
            }),
        }
    }

    /// What an event of this meaning reaches; nothing if nobody is named.
    #[must_use]
    pub fn reached(self, meaning: Meaning) -> Vec<Reached> {
        let Self { subject, session, either } = self;
        let by_session = match meaning {
            Meaning::Stream | Meaning::Unknown => return Vec::new(),
            Meaning::SessionRevoked => true,
            // Nothing milder reaches the tokens of a session of which only the session is known.
            Meaning::AccountChanged => subject.is_none(),
        };
        match (subject, session, either) {
            (_, Some(session), _) if by_session => vec![Reached::Session(session)],
            (Some(subject), _, _) => vec![Reached::Subject(subject)],
            (None, _, Some(either)) if meaning == Meaning::SessionRevoked => {
                vec![Reached::Session(either.clone()), Reached::Subject(either)]
            }
            (None, _, Some(either)) => vec![Reached::Subject(either)],
            (None, _, None) => Vec::new(),
        }
    }
}

/// A subject identifier that is not made of others.
enum Simple {
    Subject(Box<str>),
    Opaque(Box<str>),
    /// Of another issuer than ours.
    Foreign,
    /// Of a format that tokens know nothing of, such as an address.
    Unmapped,
}

fn simple(subject: &Value, issuer: &str) -> Result<Simple, Malformed> {
    match text(subject, "format")? {
        "opaque" => Ok(Simple::Opaque(text(subject, "id")?.into())),
        "iss_sub" => {
            let (of, name) = (text(subject, "iss")?, text(subject, "sub")?);
            Ok(if of == issuer { Simple::Subject(name.into()) } else { Simple::Foreign })
        }
        _ => Ok(Simple::Unmapped),
    }
}

/// A subject of several parts that together name it (SSF 1.0, complex subjects). Who is of another issuer has no session here either.
fn complex(subject: &Value, issuer: &str) -> Result<Named, Malformed> {
    let part = |name: &str| subject.get(name).map(|part| simple(part, issuer)).transpose();
    let user = match part("user")? {
        Some(Simple::Foreign) => return Ok(Named::default()),
        Some(Simple::Subject(name) | Simple::Opaque(name)) => Some(name),
        Some(Simple::Unmapped) | None => None,
    };
    let session = match part("session")? {
        Some(Simple::Foreign) => return Ok(Named::default()),
        Some(Simple::Opaque(id)) => Some(id),
        Some(Simple::Subject(_) | Simple::Unmapped) | None => None,
    };
    Ok(Named { subject: user, session, either: None })
}

/// Several identifiers of one subject (RFC 9493 section 3.2.8): the first that names somebody.
fn aliases(subject: &Value, issuer: &str) -> Result<Named, Malformed> {
    let identifiers = subject.get("identifiers").and_then(Value::as_array).ok_or(Malformed)?;
    if identifiers.is_empty() || identifiers.len() > MOST_ALIASES {
        return Err(Malformed);
    }
    let mut found = Named::default();
    for identifier in identifiers {
        match simple(identifier, issuer)? {
            Simple::Subject(name) => found.subject = found.subject.or(Some(name)),
            Simple::Opaque(id) => found.either = found.either.or(Some(id)),
            Simple::Foreign | Simple::Unmapped => {}
        }
    }
    Ok(found)
}

fn text<'v>(object: &'v Value, name: &str) -> Result<&'v str, Malformed> {
    let text = object.get(name).and_then(Value::as_str);
    text.filter(|text| !text.is_empty() && text.len() <= LONGEST).ok_or(Malformed)
}

#[cfg(test)]
mod tests;
