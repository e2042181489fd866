//! Asking about tokens that are not presented to be let in: those that a request shows to have them revoked or refreshed.
//!
//! Nothing of it is remembered, since a refresh token must never pass as an access token. Deliberately absent: what follows
//! from it (`rules::passage`).

use crate::model::{Credential, Denial, IssuerId, NonEmpty, Now, PrincipalFacts, Source, Tick};
use crate::rules::passage::Nature;
use crate::verify::authority::{Ageing, candidates};
use crate::verify::cache::{Digest, EntryKey};
use crate::verify::jwt::claimed_issuer;
use crate::verify::{Unavailable, Verifier};

/// Names a token to the verifier that made the mark, and tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenMark(pub(crate) Digest);

/// The most such questions that are open at once.
pub(crate) const MOST: usize = 256;

impl Verifier {
    /// How an issuer's tokens come to be known.
    #[must_use]
    pub fn nature(&self, issuer: IssuerId) -> Nature {
        match self.shared.issuers.get(usize::from(issuer.0)).map(|issuer| issuer.terms.ageing) {
            Some(Ageing::SelfContained) => Nature::Signed,
            Some(Ageing::Lagging | Ageing::Exact) | None => Nature::Asked,
        }
    }

    /// A token's mark.
    #[must_use]
    pub fn mark(&self, token: &str) -> TokenMark {
        TokenMark(self.shared.hash.digest(token.as_bytes()))
    }

    /// What is known of a token of either kind, from memory or by asking those of `issuers` that it may be shown to; `None` if
    /// it is of no use to any of them.
    ///
    /// # Errors
    /// `LimitReached` if the source has asked about too many unknown tokens, `AuthorityUnavailable` if somebody who may know it
    /// cannot be asked.
    pub async fn inquire(
        &self,
        credential: &Credential<'_>,
        issuers: &NonEmpty<IssuerId>,
        source: Source,
        now: Now,
    ) -> Result<Option<PrincipalFacts>, Denial> {
        let shared = &self.shared;
        let digest = shared.hash.digest(credential.token().as_bytes());
        let concerned = issuers.as_slice().iter().filter_map(|id| shared.issuers.get(usize::from(id.0)));
        let asked = candidates(concerned, credential, claimed_issuer);
        if let Some(entry) = asked.iter().find_map(|issuer| shared.held(issuer, digest, now)) {
            return Ok(Some(entry.principal().facts().clone()));
        }
        // Also if there is nobody to ask: what nobody knows may be cut all the same, and cuts take room.
        shared.budget.toll(source, false).pay()?;
        let mut unavailable = None;
        for issuer in asked {
            let Ok(_open) = shared.inquiries.try_acquire() else {
                return Err(Denial::AuthorityUnavailable(Unavailable::Busy.retry_after()));
            };
            match issuer.authority.ask_of_any_kind(credential.token(), now).await {
                Ok(Some(facts)) => return Ok(Some(PrincipalFacts { issuer: issuer.id, ..facts })),
                Ok(None) => {}
                Err(reason) => {
                    tracing::warn!(issuer = &*issuer.name, %reason, "cannot ask about a token");
                    unavailable = Some(reason);
                }
            }
        }
        unavailable.map_or(Ok(None), |reason| Err(Denial::AuthorityUnavailable(reason.retry_after())))
    }

    /// From now until then nothing about the token is remembered: it may change without anybody telling us. What is remembered
    /// already must be cut besides, after this.
    pub fn unsettle(&self, issuer: IssuerId, token: TokenMark, until: Tick) {
        self.shared.cache.unsettle(EntryKey { issuer, digest: token.0 }, until);
    }
}
