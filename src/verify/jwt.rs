//! JWTs (RFC 7519, RFC 9068, RFC 8725): what is checked of them here before their word counts.
//!
//! Imports `model`, `plan` (the issuer). Everything is checked that the signature library does not: `crit`, `typ`, the types of
//! `iss`, `aud`, `exp` and `nbf`, members that occur twice. The key comes from the issuer's own keys; whatever the header says
//! about keys but `kid` is not read. Deliberately absent: caching, and cuts.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::{NonEmpty, Now, PrincipalFacts, TokenKind};
use crate::plan::{Jwt, JwtAlgorithm};
use crate::verify::answer::{FactsReader, Members, Unreadable};
use crate::verify::authority::{Authority, Unavailable};
use crate::verify::jwks::KeyRing;
use crate::verify::keys;

/// An issuer of JWTs, as its tokens are checked.
#[derive(Debug)]
pub(crate) struct Signer {
    issuer: Box<str>,
    audience: NonEmpty<Box<str>>,
    algorithms: NonEmpty<JwtAlgorithm>,
    types: Box<[Box<str>]>,
    leeway: Duration,
    reader: FactsReader,
    keys: KeyRing,
}

/// Why a token is refused: for the log of somebody who wonders, never for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

/// A token that has passed every check but that of its signature.
struct Unproven<'t> {
    message: &'t str,
    signature: &'t str,
    algorithm: JwtAlgorithm,
    key: Option<Box<str>>,
    facts: PrincipalFacts,
}

impl Signer {
    pub(crate) fn new(plan: &Jwt, leeway: Duration, reader: FactsReader, keys: KeyRing) -> Self {
        Self {
            issuer: plan.issuer.clone(),
            audience: plan.audience.clone(),
            algorithms: plan.algorithms.clone(),
            types: plan.types.clone(),
            leeway,
            reader,
            keys,
        }
    }

    /// Checks everything that costs nothing first; only what could be good has its signature verified.
    fn examine<'t>(&self, token: &'t str, now: Now) -> Result<Unproven<'t>, Refused> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refused("not three parts"))?;
        let (header, claims) = message.split_once('.').ok_or(Refused("not three parts"))?;
        let (algorithm, key) = self.header(&part(header)?)?;
        let facts = self.claims(&part(claims)?, now)?;
        Ok(Unproven { message, signature, algorithm, key, facts })
    }

    fn header(&self, header: &Members) -> Result<(JwtAlgorithm, Option<Box<str>>), Refused> {
        // RFC 7515 section 4.1.11: what must be understood and is not makes the token invalid. Nothing is understood here.
        if header.value("crit").is_some() || header.value("b64").is_some() {
            return Err(Refused("crit"));
        }
        let algorithm = header.text("alg")?.and_then(keys::algorithm).ok_or(Refused("alg"))?;
        if !self.algorithms.contains(&algorithm) {
            return Err(Refused("alg"));
        }
        // RFC 8725 section 3.11, RFC 9068 section 4: a token of another type is none of ours, whoever signed it.
        let kind = header.text("typ")?.unwrap_or_default().to_ascii_lowercase();
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        if !self.types.iter().any(|taken| **taken == *kind) {
            return Err(Refused("typ"));
        }
        Ok((algorithm, header.text("kid")?.map(Box::from)))
    }

    fn claims(&self, claims: &Members, now: Now) -> Result<PrincipalFacts, Refused> {
        if claims.text("iss")? != Some(&*self.issuer) {
            return Err(Refused("iss"));
        }
        let facts = self.reader.read(claims)?.filter(|facts| facts.kind != TokenKind::Refresh);
        let facts = facts.ok_or(Refused("not an access token"))?;
        if !facts.audience.iter().any(|meant| self.audience.contains(meant)) {
            return Err(Refused("aud"));
        }
        let latest = now.wall.after(self.leeway);
        if facts.expires_at.is_none_or(|end| now.wall >= end.after(self.leeway)) {
            return Err(Refused("exp"));
        }
        if facts.not_before.is_some_and(|start| start > latest) {
            return Err(Refused("nbf"));
        }
        // A token from the future would be younger than a cut that is made today.
        if facts.issued_at.is_some_and(|issued| issued > latest) {
            return Err(Refused("iat"));
        }
        Ok(facts)
    }

    /// Whether a key of the issuer signed it. A token that names a key which is not known, or names none, may have been signed
    /// after the keys were fetched.
    async fn is_signed(&self, token: &Unproven<'_>) -> Result<bool, Unavailable> {
        let id = token.key.as_deref();
        let keys = self.keys.current().await?;
        if keys.verifies(id, token.algorithm, token.message, token.signature) {
            return Ok(true);
        }
        if id.is_some_and(|id| keys.names(id)) {
            return Ok(false);
        }
        let newer = self.keys.newer(&keys).await?;
        Ok(newer.is_some_and(|keys| keys.verifies(id, token.algorithm, token.message, token.signature)))
    }
}

#[async_trait]
impl Authority for Signer {
    async fn ask(&self, token: &str, now: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        let unproven = match self.examine(token, now) {
            Ok(unproven) => unproven,
            Err(Refused(what)) => {
                tracing::debug!(issuer = &*self.issuer, what, "a JWT is refused");
                return Ok(None);
            }
        };
        let signed = self.is_signed(&unproven).await?;
        Ok(signed.then_some(unproven.facts))
    }
}

/// The `iss` that a token claims, to find who can check it. Proves nothing.
pub(crate) fn claimed_issuer(token: &str) -> Option<Box<str>> {
    let claims = part(token.split('.').nth(1)?).ok()?;
    claims.text("iss").ok().flatten().map(Box::from)
}

fn part(text: &str) -> Result<Members, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refused("base64url"))?;
    Ok(Members::parse(&bytes)?)
}

impl From<Unreadable> for Refused {
    fn from(Unreadable(what): Unreadable) -> Self {
        Self(what)
    }
}

#[cfg(test)]
mod tests;
