//! Building a verifier from the plan.
//!
//! Imports `model`, `plan`, `rules` (what routes ask about), `store` (cuts). Reads the files of certificates and keys; asks
//! nobody yet. Deliberately absent: what happens on a request.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::fetch::TrustError;
use crate::model::{Clock, Entropy};
use crate::plan::{CacheLimits, Freshness, Introspection, Issuer, IssuerKind, Jwt, OnOutage, Route};
use crate::rules::access::Access;
use crate::store::cuts::Cuts;
use crate::verify::answer::FactsReader;
use crate::verify::authority::{Ageing, Authority, KnownIssuer, Takes, Terms};
use crate::verify::budget::MissBudget;
use crate::verify::cache::{KeyedHash, TokenCache};
use crate::verify::flight::Flights;
use crate::verify::in_process::{EmbeddedTokens, InProcess};
use crate::verify::introspect::Endpoint;
use crate::verify::jwks::KeyRing;
use crate::verify::jwt::Signer;
use crate::verify::observe::Observer;
use crate::verify::{Shared, Verifier, inquire};

/// What a verifier is built from.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The plan's issuers; an `IssuerId` is an index into this.
    pub issuers: &'a [Issuer],
    /// Bounds on remembering.
    pub limits: &'a CacheLimits,
    /// What the routes need remembered.
    pub needs: Needs,
    /// The revocations that this process knows of.
    pub cuts: Arc<Cuts>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Makes the key of the keyed hash.
    pub entropy: &'a dyn Entropy,
    /// The embedded token service, if an issuer is embedded.
    pub embedded: Option<Arc<dyn EmbeddedTokens>>,
    /// Who counts.
    pub observer: Arc<dyn Observer>,
}

/// What routes need to be remembered of tokens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// The longest grace that a route gives in an outage.
    pub longest_grace: Duration,
    /// The names of the claims that some route asks about. Of the others nothing is kept.
    pub claims: BTreeSet<Box<str>>,
}

impl Needs {
    /// Of all routes of a plan.
    #[must_use]
    pub fn of(routes: &[Arc<Route>]) -> Self {
        let mut needs = Self::default();
        for route in routes {
            needs.add(&route.access, &route.freshness);
        }
        needs
    }

    fn add(&mut self, access: &Access, freshness: &Freshness) {
        if let OnOutage::Grace(grace) = freshness.on_outage {
            self.longest_grace = self.longest_grace.max(grace);
        }
        let rules = access.requirements().map(|wanted| &*wanted.claims).unwrap_or_default();
        self.claims.extend(rules.iter().map(|rule| rule.name.clone()));
    }
}

/// A verifier cannot be built from this plan.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An issuer is the embedded token service, and none runs.
    #[error("an issuer is embedded, but no token service runs here")]
    NoEmbeddedService,
    /// Our client id, secret or token for an endpoint cannot be put into a header field.
    #[error("the client credentials for an introspection endpoint do not fit into a header field")]
    ClientCredentials,
    /// The certificates to trust cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A file of keys cannot be read, or has no key in it that can be used.
    #[error("cannot use the keys in {}: {reason}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Verifier {
    /// Builds a verifier with nothing remembered yet.
    ///
    /// # Errors
    /// [`SetupError`] if a file that an issuer names cannot be used, or an embedded issuer has no service.
    pub fn new(setup: Setup<'_>) -> Result<Self, SetupError> {
        let claims = Arc::new(setup.needs.claims.clone());
        let known = |issuer| known_issuer(issuer, &setup, &claims).map(Arc::new);
        let issuers = setup.issuers.iter().map(known).collect::<Result<_, _>>()?;
        Ok(Self::over(issuers, setup))
    }

    /// The same over issuers that are already known.
    pub(crate) fn over(issuers: Box<[Arc<KnownIssuer>]>, setup: Setup<'_>) -> Self {
        Self {
            shared: Arc::new(Shared {
                issuers,
                cache: TokenCache::new(setup.limits),
                budget: MissBudget::new(setup.limits, Arc::clone(&setup.clock)),
                inquiries: tokio::sync::Semaphore::new(inquire::MOST),
                hash: KeyedHash::new(setup.entropy),
                cuts: setup.cuts,
                clock: setup.clock,
                longest_grace: setup.needs.longest_grace,
                observer: setup.observer,
            }),
        }
    }
}

fn known_issuer(issuer: &Issuer, setup: &Setup<'_>, claims: &Arc<BTreeSet<Box<str>>>) -> Result<KnownIssuer, SetupError> {
    let reader = FactsReader { issuer: issuer.id, claims: Arc::clone(claims) };
    let (takes, terms, authority): (_, _, Box<dyn Authority>) = match &issuer.kind {
        IssuerKind::Embedded => {
            let service = setup.embedded.clone().ok_or(SetupError::NoEmbeddedService)?;
            (Takes::Prefixed(Box::default()), EMBEDDED, Box::new(InProcess { service, claims: Arc::clone(claims) }))
        }
        IssuerKind::Introspection(plan) => {
            let endpoint = Endpoint::new(plan, reader, Arc::clone(&setup.clock))?;
            (Takes::Prefixed(plan.token_prefix.clone().unwrap_or_default()), remote(plan), Box::new(endpoint))
        }
        IssuerKind::Jwt(plan) => {
            let keys = KeyRing::new(&plan.keys, Arc::clone(&setup.clock))?;
            let terms = signed(plan);
            let signer = Signer::new(plan, terms.leeway, reader, keys);
            (Takes::JwtsOf(plan.issuer.clone()), terms, Box::new(signer))
        }
    };
    let flights = Flights::new(Flights::MOST);
    Ok(KnownIssuer { id: issuer.id, name: Arc::clone(&issuer.name), takes, terms, authority, flights })
}

fn remote(plan: &Introspection) -> Terms {
    Terms {
        ageing: Ageing::Lagging,
        lifetime: plan.cache_ttl,
        negative_lifetime: plan.negative_ttl,
        leeway: Duration::ZERO,
        idle: plan.idle,
    }
}

fn signed(plan: &Jwt) -> Terms {
    Terms {
        ageing: Ageing::SelfContained,
        lifetime: plan.cache_ttl,
        negative_lifetime: plan.negative_ttl,
        leeway: plan.leeway.min(LONGEST_LEEWAY),
        idle: None,
    }
}

/// However far clocks may differ by configuration, a token is not good for longer than this after its end.
const LONGEST_LEEWAY: Duration = Duration::from_mins(1);

/// Short although revocations are published here: asking costs no socket, and is how the service learns that a token whose
/// life depends on its use is being used.
const EMBEDDED: Terms = Terms {
    ageing: Ageing::Exact,
    lifetime: Duration::from_secs(15),
    negative_lifetime: Duration::from_secs(2),
    leeway: Duration::ZERO,
    idle: None,
};

#[cfg(test)]
mod tests;
