//! JWTs (RFC 7519, RFC 9068, RFC 8725): what is checked of them here before their word counts.
//!
//! Imports `model`, `plan` (the issuer). Everything is checked that the signature library does not: `crit`, `typ` (in `seal`),
//! the types of `iss`, `aud`, `exp` and `nbf`, members that occur twice. Deliberately absent: caching, and cuts.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{NonEmpty, Now, PrincipalFacts, TokenKind};
use crate::plan::Jwt;
use crate::verify::answer::{FactsReader, Members};
use crate::verify::authority::{Authority, Unavailable};
use crate::verify::jwks::KeyRing;
use crate::verify::seal::{Opened, Refused, Seal, part};

/// An issuer of JWTs, as its tokens are checked.
#[derive(Debug)]
pub(crate) struct Signer {
    issuer: Box<str>,
    audience: NonEmpty<Box<str>>,
    leeway: Duration,
    max_lifetime: Duration,
    reader: FactsReader,
    seal: Seal,
}

impl Signer {
    pub(crate) fn new(plan: &Jwt, leeway: Duration, reader: FactsReader, keys: KeyRing) -> Self {
        let seal = Seal::over(plan.algorithms.clone(), plan.types.clone(), keys);
        Self {
            issuer: plan.issuer.clone(),
            audience: plan.audience.clone(),
            leeway,
            max_lifetime: plan.max_lifetime,
            reader,
            seal,
        }
    }

    /// Checks everything that costs nothing first; only what could be good has its signature verified.
    fn examine<'t>(&self, token: &'t str, now: Now) -> Result<(Opened<'t>, PrincipalFacts), Refused> {
        let opened = self.seal.open(token)?;
        let facts = self.claims(&opened.claims, now)?;
        Ok((opened, facts))
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
        // What outlives the memory of its revocation would be good again. Without `iat` its life began now at the latest.
        let begin = facts.issued_at.unwrap_or(now.wall);
        if facts.expires_at.is_none_or(|end| end.since(begin) > self.max_lifetime) {
            return Err(Refused("lives longer than max_lifetime"));
        }
        Ok(facts)
    }
}

#[async_trait]
impl Authority for Signer {
    async fn ask(&self, token: &str, now: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        let (opened, facts) = match self.examine(token, now) {
            Ok(examined) => examined,
            Err(Refused(what)) => {
                tracing::debug!(issuer = &*self.issuer, what, "a JWT is refused");
                return Ok(None);
            }
        };
        let signed = self.seal.holds(&opened).await?;
        Ok(signed.then_some(facts))
    }
}

/// The `iss` that a token claims, to find who can check it. Proves nothing.
pub(crate) fn claimed_issuer(token: &str) -> Option<Box<str>> {
    let claims = part(token.split('.').nth(1)?).ok()?;
    claims.text("iss").ok().flatten().map(Box::from)
}

#[cfg(test)]
mod tests;
