//! Who a request is from, once a token service or a signature has said so.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;

use crate::model::{Activity, Now, ScopeSet, Tick, Timestamp};

/// The place of an issuer in the plan's table of issuers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IssuerId(pub u16);

/// What a token is for. Remote services that do not tell are taken to issue access tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TokenKind {
    /// Good for protected routes.
    #[default]
    Access,
    /// From a session login, to be exchanged for an access token (contract B, AUTH).
    Auth,
    /// Good for changing an expired password and nothing else (contract B, TEMP).
    Temporary,
    /// Good for a refresh and nothing else. Never passes as a Bearer token.
    Refresh,
}

/// A claim's value, as far as routes can ask about it.
#[derive(Clone, PartialEq, Debug)]
pub enum ClaimValue {
    /// A string.
    Text(Box<str>),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Bool(bool),
    /// An array of the above; anything else in it is left out.
    List(Box<[ClaimValue]>),
}

/// What was learnt about a token; the raw material of a [`Principal`].
#[derive(Clone, PartialEq, Debug)]
pub struct PrincipalFacts {
    /// Which issuer vouches for it.
    pub issuer: IssuerId,
    /// Whose token it is (`sub`). Tokens of the client credentials grant may have none.
    pub subject: Option<Box<str>>,
    /// The client it was issued to (`client_id`, `azp`).
    pub client: Option<Box<str>>,
    /// The session it belongs to (`sid`).
    pub session: Option<Box<str>>,
    /// The token's own id (`jti`).
    pub token_id: Option<Box<str>>,
    /// What it is for.
    pub kind: TokenKind,
    /// What it may be used for.
    pub scopes: ScopeSet,
    /// For whom it is meant (`aud`).
    pub audience: Box<[Box<str>]>,
    /// How strongly the subject was proven (`acr`).
    pub acr: Option<Box<str>>,
    /// By which methods (`amr`).
    pub amr: Box<[Box<str>]>,
    /// When (`auth_time`).
    pub auth_time: Option<Timestamp>,
    /// When it was issued (`iat`).
    pub issued_at: Option<Timestamp>,
    /// From when on it is good (`nbf`).
    pub not_before: Option<Timestamp>,
    /// Until when it is good (`exp`); it is not good at that very instant any more.
    pub expires_at: Option<Timestamp>,
    /// When it, or its session, was last used, if that is what it lives by.
    pub activity: Option<Arc<Activity>>,
    /// Every other claim that routes ask about.
    pub claims: BTreeMap<Box<str>, ClaimValue>,
}

impl PrincipalFacts {
    /// Facts that say nothing but who vouches for them.
    #[must_use]
    pub fn of_issuer(issuer: IssuerId) -> Self {
        Self {
            issuer,
            subject: None,
            client: None,
            session: None,
            token_id: None,
            kind: TokenKind::Access,
            scopes: ScopeSet::default(),
            audience: Box::default(),
            acr: None,
            amr: Box::default(),
            auth_time: None,
            issued_at: None,
            not_before: None,
            expires_at: None,
            activity: None,
            claims: BTreeMap::new(),
        }
    }
}

/// Who a request is from. Made once per token and shared by every request that presents it.
#[derive(Clone, PartialEq, Debug)]
pub struct Principal {
    facts: PrincipalFacts,
    identity: Identity,
}

/// The facts in the form in which they go upstream, made once per token. An absent fact is an absent header.
#[derive(Clone, PartialEq, Debug)]
pub struct Identity {
    /// The subject.
    pub subject: Option<HeaderValue>,
    /// The client.
    pub client: Option<HeaderValue>,
    /// The scopes, space-separated.
    pub scope: Option<HeaderValue>,
    /// The session.
    pub session: Option<HeaderValue>,
}

/// A fact that would have to be told upstream is not plain visible ASCII: refused, never cut or re-encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the {0} of the token is not visible ASCII and cannot be told upstream")]
pub struct UnforwardableIdentity(pub &'static str);

impl Principal {
    /// From what was learnt about a token.
    ///
    /// # Errors
    /// [`UnforwardableIdentity`] if the subject, client or session is empty or not visible ASCII.
    pub fn new(facts: PrincipalFacts) -> Result<Self, UnforwardableIdentity> {
        let scope = (!facts.scopes.is_empty()).then(|| facts.scopes.to_string());
        let identity = Identity {
            subject: visible("subject", facts.subject.as_deref())?,
            client: visible("client", facts.client.as_deref())?,
            scope: scope.map(|text| HeaderValue::from_str(&text).map_err(|_| UnforwardableIdentity("scope"))).transpose()?,
            session: visible("session", facts.session.as_deref())?,
        };
        Ok(Self { facts, identity })
    }

    /// What is known of the token.
    #[must_use]
    pub fn facts(&self) -> &PrincipalFacts {
        &self.facts
    }

    /// What goes upstream.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Notes that a request of this principal was let through, for sessions that live by being used.
    pub fn note_use(&self, now: Tick) {
        if let Some(activity) = &self.facts.activity {
            activity.note(now);
        }
    }

    /// Whether the token's own times, and its session's, allow it at `now`: by the wall clock those that it was told, by the
    /// monotonic clock its disuse. `leeway` forgives clocks that differ, for JWTs only.
    #[must_use]
    pub fn is_current(&self, now: Now, leeway: std::time::Duration) -> bool {
        self.facts.expires_at.is_none_or(|end| now.wall < end.after(leeway))
            && self.facts.not_before.is_none_or(|start| start <= now.wall.after(leeway))
            && self.facts.activity.as_ref().is_none_or(|activity| !activity.is_over(now.tick))
    }
}

fn visible(what: &'static str, text: Option<&str>) -> Result<Option<HeaderValue>, UnforwardableIdentity> {
    let Some(text) = text else { return Ok(None) };
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(UnforwardableIdentity(what));
    }
    HeaderValue::from_str(text).map(Some).map_err(|_| UnforwardableIdentity(what))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn facts() -> PrincipalFacts {
        PrincipalFacts::of_issuer(IssuerId(0))
    }

    #[test]
    fn an_absent_fact_is_an_absent_header() {
        let principal = Principal::new(facts()).unwrap();
        assert_eq!(principal.identity(), &Identity { subject: None, client: None, scope: None, session: None });
    }

    #[test]
    fn a_subject_that_is_not_visible_ascii_is_refused_and_never_cut() {
        for bad in ["", "a b", "a\r\nX-Auth-Scope: admin", "é", "a\u{0}"] {
            let facts = PrincipalFacts { subject: Some(bad.into()), ..facts() };
            assert_eq!(Principal::new(facts), Err(UnforwardableIdentity("subject")), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_good_before_its_end_and_not_at_it() {
        let end = Timestamp::from_secs(100);
        let principal = Principal::new(PrincipalFacts { expires_at: Some(end), ..facts() }).unwrap();
        let at = |wall| Now { wall, ..Now::default() };
        assert!(principal.is_current(at(Timestamp::from_millis(99_999)), Duration::ZERO));
        assert!(!principal.is_current(at(end), Duration::ZERO));
        assert!(principal.is_current(at(end), Duration::from_secs(1)));
    }
}
