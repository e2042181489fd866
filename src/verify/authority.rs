//! What every way of asking about a token has in common: who is asked, on which terms, and what comes back.
//!
//! Imports `model`, `plan` (freshness). Deliberately absent: the cache, and every protocol; those are the neighbours' own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::fetch::NoAnswer;
use crate::model::{Credential, CredentialShape, IssuerId, Now, PrincipalFacts};
use crate::plan::Freshness;
use crate::verify::flight::Flights;

/// Somebody who can say what a token is worth.
#[async_trait]
pub(crate) trait Authority: Send + Sync + fmt::Debug {
    /// Asks. `None` means that the token is of no use here: unknown, expired, revoked, not meant for us.
    /// The call is over within a bounded time.
    async fn ask(&self, token: &str, now: Now) -> Result<Option<PrincipalFacts>, Unavailable>;

    /// Asks about a token that is shown to be revoked or refreshed, which may be a refresh token.
    async fn ask_of_any_kind(&self, token: &str, now: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        self.ask(token, now).await
    }
}

/// Why there is no answer. Never a reason to refuse a token: the token may be good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unavailable {
    /// No connection, or one that broke.
    #[error("it cannot be reached")]
    Unreachable,
    /// The whole answer was not there within the deadline.
    #[error("it took longer than its deadline")]
    TooSlow,
    /// It does not take our own client credentials (401, 403): no token can be asked about.
    #[error("it refuses this gateway's own credentials with {0}")]
    Unauthorized(u16),
    /// A status that is no answer to the question.
    #[error("it answers {0}")]
    Failing(u16),
    /// An answer that is larger than is read.
    #[error("its answer is larger than is read")]
    TooLarge,
    /// An answer that is not what its protocol says.
    #[error("its answer is unreadable: {0}")]
    Unreadable(&'static str),
    /// It failed so often lately that it is left alone for this long.
    #[error("it failed too often and is left alone")]
    LeftAlone(Duration),
    /// As many questions are open as may be at once.
    #[error("too many questions are open")]
    Busy,
    /// The question was lost on our side.
    #[error("the question was lost")]
    Lost,
}

impl Unavailable {
    /// When to come back.
    #[must_use]
    pub fn retry_after(self) -> Duration {
        const SOON: Duration = Duration::from_secs(1);
        if let Self::LeftAlone(wait) = self { wait.max(SOON) } else { SOON }
    }

    /// The reason in a word: the label of the metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TooSlow => "too-slow",
            Self::Unauthorized(_) => "unauthorized",
            Self::Failing(_) => "failing",
            Self::TooLarge => "too-large",
            Self::Unreadable(_) => "unreadable",
            Self::LeftAlone(_) => "left-alone",
            Self::Busy => "busy",
            Self::Lost => "lost",
        }
    }
}

impl From<NoAnswer> for Unavailable {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Unreachable => Self::Unreachable,
            NoAnswer::TooSlow => Self::TooSlow,
            NoAnswer::TooLarge => Self::TooLarge,
        }
    }
}

/// How old what is known of a token may get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ageing {
    /// Revocations elsewhere are not told: the route bounds the age.
    Lagging,
    /// Revocations are published as cuts in this process: the route's bound has nothing to bound.
    Exact,
    /// Nothing about the token ever changes but by a cut.
    SelfContained,
}

/// What is asked of an issuer's tokens before anybody is asked about them.
#[derive(Debug)]
pub(crate) enum Takes {
    /// JWTs with this `iss`.
    JwtsOf(Box<str>),
    /// Any token that begins with this.
    Prefixed(Box<str>),
}

/// On which terms an issuer's answers are remembered.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) ageing: Ageing,
    /// How long an active answer is good.
    pub(crate) lifetime: Duration,
    /// How long an inactive answer is remembered.
    pub(crate) negative_lifetime: Duration,
    /// How far clocks may differ.
    pub(crate) leeway: Duration,
    /// How long a token lives after its last use here; `None` if its use does not matter, or the authority itself says.
    pub(crate) idle: Option<Duration>,
}

impl Terms {
    /// An answer is fresh on a route while its age is less than this.
    pub(crate) fn limit(&self, freshness: &Freshness) -> Duration {
        match self.ageing {
            Ageing::Lagging => self.lifetime.min(freshness.max_revocation_lag),
            Ageing::Exact | Ageing::SelfContained => self.lifetime,
        }
    }

    /// Whether asking again before the answer is too old can bring anything new.
    pub(crate) fn renews(&self) -> bool {
        match self.ageing {
            Ageing::Lagging | Ageing::Exact => true,
            Ageing::SelfContained => false,
        }
    }
}

/// An issuer with everything that is needed to ask it.
#[derive(Debug)]
pub(crate) struct KnownIssuer {
    pub(crate) id: IssuerId,
    pub(crate) name: Arc<str>,
    pub(crate) takes: Takes,
    pub(crate) terms: Terms,
    pub(crate) authority: Box<dyn Authority>,
    pub(crate) flights: Arc<Flights>,
}

impl KnownIssuer {
    /// Whether the credential is one of a JWT issuer's own; `iss` is what it claims, still unproven.
    pub(crate) fn signs(&self, iss: &str) -> bool {
        match &self.takes {
            Takes::JwtsOf(issuer) => **issuer == *iss,
            Takes::Prefixed(_) => false,
        }
    }

    /// Whether the credential may be shown to this issuer to ask about it.
    pub(crate) fn may_be_shown(&self, credential: &Credential<'_>) -> bool {
        match &self.takes {
            Takes::JwtsOf(_) => false,
            Takes::Prefixed(prefix) => credential.token().starts_with(&**prefix),
        }
    }
}

/// Who among `accepted` is asked about a credential, in order: the JWT issuers that it claims to be from, or else those that
/// can be asked about any token. A token is never shown to anybody outside the list.
pub(crate) fn candidates<'k>(
    accepted: impl Iterator<Item = &'k Arc<KnownIssuer>> + Clone,
    credential: &Credential<'_>,
    claimed_issuer: impl FnOnce(&str) -> Option<Box<str>>,
) -> Vec<&'k Arc<KnownIssuer>> {
    if credential.shape() == CredentialShape::Jwt
        && let Some(iss) = claimed_issuer(credential.token())
    {
        let signers: Vec<_> = accepted.clone().filter(|issuer| issuer.signs(&iss)).collect();
        if !signers.is_empty() {
            return signers;
        }
    }
    accepted.filter(|issuer| issuer.may_be_shown(credential)).collect()
}
