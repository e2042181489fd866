//! Asking the token service that runs in this process, without a socket.
//!
//! The only file here that knows there may be one, and only by this trait: the service implements it (or `app` does so for
//! it), and publishes a cut for everything that it revokes or changes, after the commit and before its answer.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Now, PrincipalFacts};
use crate::verify::authority::{Authority, Unavailable};

/// The embedded token service, as the verifier sees it.
///
/// A token in use is asked about again after at most 15 s, while requests go on presenting it. A service whose tokens die of
/// inactivity may take each call as a sign of activity, and tells the idle deadline as `expires_at`.
#[async_trait]
pub trait EmbeddedTokens: Send + Sync + fmt::Debug {
    /// What is known of a token; `None` if it is unknown, expired, revoked or of no use as a Bearer token.
    ///
    /// # Errors
    /// [`Unavailable`] if the store behind it cannot answer now; never for a token that is merely bad.
    async fn introspect(&self, token: &str) -> Result<Option<PrincipalFacts>, Unavailable>;
}

/// The embedded service as an authority.
#[derive(Debug)]
pub(crate) struct InProcess {
    pub(crate) service: Arc<dyn EmbeddedTokens>,
    /// The claims that some route asks about; the others are not kept.
    pub(crate) claims: Arc<BTreeSet<Box<str>>>,
}

#[async_trait]
impl Authority for InProcess {
    async fn ask(&self, token: &str, _: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        let answer = tokio::time::timeout(DEADLINE, self.service.introspect(token)).await;
        let mut facts = answer.unwrap_or(Err(Unavailable::TooSlow))?;
        if let Some(facts) = &mut facts {
            facts.claims.retain(|name, _| self.claims.contains(name));
        }
        Ok(facts)
    }
}

/// How long the service may take: long for a look into a local file, so that only a stuck one is given up.
const DEADLINE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    /// A service whose store is stuck.
    #[derive(Debug)]
    struct Stuck;

    #[async_trait]
    impl EmbeddedTokens for Stuck {
        async fn introspect(&self, _: &str) -> Result<Option<PrincipalFacts>, Unavailable> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_stuck_is_given_up() {
        let authority = InProcess { service: Arc::new(Stuck), claims: Arc::default() };
        assert_eq!(authority.ask("token", Now::default()).await, Err(Unavailable::TooSlow));
    }
}
