//! What every pushed token must claim, whichever protocol it comes by: who signed it, for whom, when, under which id.
//!
//! Imports `model`, `plan` (the receiver). Deliberately absent: the event itself, which each protocol reads by itself.

use std::time::Duration;

use crate::events::Complaint;
use crate::events::replays::TokenId;
use crate::model::{NonEmpty, Timestamp};
use crate::plan::{self, PushProtocol};
use crate::verify::{Members, Unreadable};

/// What a receiver asks of every token.
#[derive(Debug)]
pub(super) struct Checks {
    signer: Box<str>,
    audience: NonEmpty<Box<str>>,
    max_age: Duration,
    leeway: Duration,
    /// Whether a token must end by itself: logout tokens must, security events need not (RFC 8417 section 2.2).
    must_end: bool,
}

/// A token that claims what it should.
#[derive(Debug)]
pub(super) struct Pushed<'t> {
    /// All its claims.
    pub(super) claims: &'t Members,
    /// What it is known by.
    pub(super) id: TokenId,
    /// After this it is refused for its age, so it need not be remembered any longer.
    pub(super) until: Timestamp,
}

impl Checks {
    pub(super) fn of(plan: &plan::Receiver) -> Self {
        Self {
            signer: plan.signer.clone(),
            audience: plan.audience.clone(),
            max_age: plan.max_age,
            leeway: plan.leeway,
            must_end: matches!(plan.protocol, PushProtocol::Logout),
        }
    }

    /// Checks `iss`, `aud`, `iat`, `exp` and `jti`.
    pub(super) fn check<'t>(&self, claims: &'t Members, now: Timestamp) -> Result<Pushed<'t>, Complaint> {
        if claims.text("iss")? != Some(&*self.signer) {
            return Err(Complaint::Issuer);
        }
        if !claims.texts("aud")?.iter().any(|meant| self.audience.contains(meant)) {
            return Err(Complaint::Audience);
        }
        let issued = claims.instant("iat")?.ok_or(Complaint::Malformed("iat is missing"))?;
        if issued > now.after(self.leeway) {
            return Err(Complaint::Malformed("iat is in the future"));
        }
        let oldest = issued.after(self.max_age).after(self.leeway);
        if now > oldest {
            return Err(Complaint::Malformed("iat is too long ago"));
        }
        let end = claims.instant("exp")?.map(|end| end.after(self.leeway));
        if end.is_none() && self.must_end {
            return Err(Complaint::Malformed("exp is missing"));
        }
        if end.is_some_and(|end| now >= end) {
            return Err(Complaint::Malformed("it has expired"));
        }
        let id = claims.text("jti")?.filter(|id| !id.is_empty()).ok_or(Complaint::Malformed("jti is missing"))?;
        Ok(Pushed { claims, id: TokenId::of(id), until: end.map_or(oldest, |end| end.min(oldest)) })
    }
}

impl From<Unreadable> for Complaint {
    fn from(Unreadable(what): Unreadable) -> Self {
        Self::Malformed(what)
    }
}
