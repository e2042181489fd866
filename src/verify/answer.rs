//! From JSON to facts: the members that introspection answers (RFC 7662 section 2.2) and JWTs (RFC 7519, RFC 9068) share.
//!
//! Imports `model`. Strict, because a member that is read wrongly decides who somebody is: a member of the wrong type, or one
//! that is there twice, makes the whole answer unreadable. Deliberately absent: whether the facts are good enough.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::model::{ClaimValue, IssuerId, PrincipalFacts, ScopeSet, Timestamp, TokenKind};

/// A JSON object in which every name occurs once (RFC 7519 section 4 lets duplicates be refused; two readers of such an object
/// may see two different tokens).
#[derive(Debug)]
pub(crate) struct Members(Map<String, Value>);

/// The answer cannot be read; holds what is wrong with it, never what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) &'static str);

/// Reads facts for one issuer.
#[derive(Clone, Debug)]
pub(crate) struct FactsReader {
    pub(crate) issuer: IssuerId,
    /// The claims that some route asks about; the others are not kept.
    pub(crate) claims: Arc<BTreeSet<Box<str>>>,
}

impl Members {
    /// Reads exactly one object.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(bytes).map_err(|_| Unreadable("not one JSON object in which every name occurs once"))
    }

    /// A member, whatever it is.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A member that must be a string of at most [`LONGEST_TEXT`] bytes if it is there.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, Unreadable> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= LONGEST_TEXT => Ok(Some(text)),
            Some(_) => Err(Unreadable(name)),
        }
    }

    /// A member that must be a truth value.
    pub(crate) fn truth(&self, name: &'static str) -> Result<bool, Unreadable> {
        self.0.get(name).and_then(Value::as_bool).ok_or(Unreadable(name))
    }

    /// A member that must be a `NumericDate` (RFC 7519 section 2) if it is there.
    pub(crate) fn instant(&self, name: &'static str) -> Result<Option<Timestamp>, Unreadable> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        if let Some(secs) = value.as_i64() {
            return Ok(Some(Timestamp::from_secs(secs)));
        }
        let secs = value.as_f64().filter(|secs| secs.is_finite()).ok_or(Unreadable(name))?;
        #[expect(clippy::cast_possible_truncation, reason = "a float that is too large becomes the last instant there is")]
        Ok(Some(Timestamp::from_millis((secs * 1000.0).floor() as i64)))
    }

    /// A member that must be a string or an array of strings if it is there.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Box<[Box<str>]>, Unreadable> {
        let text = |value: &Value| {
            let text = value.as_str().filter(|text| text.len() <= LONGEST_TEXT);
            text.map(Box::from).ok_or(Unreadable(name))
        };
        match self.0.get(name) {
            None => Ok(Box::default()),
            Some(Value::Array(values)) if values.len() <= LONGEST_LIST => values.iter().map(text).collect(),
            Some(value) => Ok(Box::new([text(value)?])),
        }
    }
}

impl FactsReader {
    /// The facts; `None` if nobody may act on the token: an ID token, a security event, or one that is bound to a key (`cnf`, RFC 7800) whose
    /// possession nobody here has proven. A refresh token has facts, because whoever revokes or uses it is to be known; what
    /// it is good for is told by its kind.
    pub(crate) fn read(&self, members: &Members) -> Result<Option<PrincipalFacts>, Unreadable> {
        let Some(kind) = kind(members)? else { return Ok(None) };
        let boxed = |name| members.text(name).map(|text| text.map(Box::from));
        let client = if let Some(client) = boxed("client_id")? { Some(client) } else { boxed("azp")? };
        let scope = match members.value("scope") {
            None => "",
            Some(Value::String(text)) if text.len() <= LONGEST_SCOPE => text,
            Some(_) => return Err(Unreadable("scope")),
        };
        Ok(Some(PrincipalFacts {
            issuer: self.issuer,
            subject: boxed("sub")?,
            client,
            session: boxed("sid")?,
            token_id: boxed("jti")?,
            kind,
            scopes: ScopeSet::parse(scope).map_err(|_| Unreadable("scope"))?,
            audience: members.texts("aud")?,
            acr: boxed("acr")?,
            amr: members.texts("amr")?,
            auth_time: members.instant("auth_time")?,
            issued_at: members.instant("iat")?,
            not_before: members.instant("nbf")?,
            expires_at: members.instant("exp")?,
            activity: None,
            claims: self.claims.iter().filter_map(|name| Some((name.clone(), claim(members.value(name)?)?))).collect(),
        }))
    }
}

/// What the token is for. Services have several ways of telling a refresh or ID token from an access token, and each of them
/// answers `active: true` for it: whichever member says so is believed.
fn kind(members: &Members) -> Result<Option<TokenKind>, Unreadable> {
    // A security event is signed by the same issuer and names a subject, but lets nobody in (RFC 8417 section 4.6).
    if members.value("cnf").is_some() || members.value("events").is_some() {
        return Ok(None);
    }
    for name in ["token_use", "token_type", "typ"] {
        let word = members.text(name)?.unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "id" | "id_token" => return Ok(None),
            "refresh" | "refresh_token" | "offline" => return Ok(Some(TokenKind::Refresh)),
            // Whatever else services call an access token.
            _ => {}
        }
    }
    match members.text("token_kind")? {
        None | Some("access") => Ok(Some(TokenKind::Access)),
        Some("auth") => Ok(Some(TokenKind::Auth)),
        Some("temp") => Ok(Some(TokenKind::Temporary)),
        Some("refresh") => Ok(Some(TokenKind::Refresh)),
        Some(_) => Err(Unreadable("token_kind")),
    }
}

/// A claim that routes may ask about; `None` for what they cannot compare, which then counts as absent.
fn claim(value: &Value) -> Option<ClaimValue> {
    match value {
        Value::String(text) if text.len() <= LONGEST_TEXT => Some(ClaimValue::Text(text.as_str().into())),
        Value::Number(number) => number.as_i64().map(ClaimValue::Integer),
        Value::Bool(truth) => Some(ClaimValue::Bool(*truth)),
        Value::Array(values) if values.len() <= LONGEST_LIST => {
            let plain = values.iter().filter(|value| !value.is_array());
            Some(ClaimValue::List(plain.filter_map(claim).collect()))
        }
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = object.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name occurs twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Unique)
    }
}

/// The longest string that is kept of a token, in bytes.
const LONGEST_TEXT: usize = 512;
/// The longest list of scopes, in bytes.
const LONGEST_SCOPE: usize = 8192;
/// The most elements of an array.
const LONGEST_LIST: usize = 64;
