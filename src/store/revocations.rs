//! Publishing a revocation: cut it here at once, and see to it that it lasts.
//!
//! Imports `model` and the cuts. What is cut is cut for this process the moment it is published; a [`Ledger`] makes it survive
//! the process, for tokens that nobody can be asked about again. Deliberately absent: which tokens a request ends (`flow`), and
//! where a ledger writes (`store::journal`).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{IssuerId, Now, Timestamp};
use crate::store::cuts::{Cuts, Reach};

/// How this process came to know of a revocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The embedded token service ended or changed something.
    Embedded,
    /// A request passed through that ends or changes something at a remote token service.
    Passage,
    /// An upstream refused a token that we held to be active.
    Upstream,
    /// An operator asked for it.
    Operator,
    /// An OpenID provider told of a logout (OpenID Connect Back-Channel Logout 1.0).
    Logout,
    /// A transmitter told of a security event (RFC 8417).
    Event,
    /// A gateway on the same database ended or changed something: another one, or this one.
    Outbox,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 7] =
        [Self::Embedded, Self::Passage, Self::Upstream, Self::Operator, Self::Logout, Self::Event, Self::Outbox];

    /// The label of the metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Passage => "passage",
            Self::Upstream => "upstream",
            Self::Operator => "operator",
            Self::Logout => "logout",
            Self::Event => "event",
            Self::Outbox => "outbox",
        }
    }
}

/// A revocation that is to be remembered beyond this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// Whose tokens.
    pub issuer: IssuerId,
    /// Which of them.
    pub reach: Reach,
    /// When it was published: of a subject or client it reaches what was issued until then.
    pub at: Timestamp,
}

/// A revocation holds in this process, but could not be written down: it will not survive a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the revocation could not be written down")]
pub struct NotKept;

/// Remembers revocations beyond the process.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Writes a revocation down, or finds that it need not be because its issuer can be asked again. Durable when this returns.
    ///
    /// # Errors
    /// [`NotKept`].
    async fn keep(&self, revocation: Revocation) -> Result<(), NotKept>;
}

/// Counts what is published, and what of it will not last.
pub trait Witness: Send + Sync + fmt::Debug {
    /// A revocation was published.
    fn published(&self, cause: Cause, reach: &Reach);
    /// One could not be written down.
    fn not_kept(&self);
}

/// Where revocations are published.
#[derive(Clone, Debug)]
pub struct Revocations {
    cuts: Arc<Cuts>,
    ledger: Option<Arc<dyn Ledger>>,
    witness: Arc<dyn Witness>,
}

impl Revocations {
    /// Over the cuts of this process. Without a `ledger` what is published ends with the process.
    #[must_use]
    pub fn new(cuts: Arc<Cuts>, ledger: Option<Arc<dyn Ledger>>, witness: Arc<dyn Witness>) -> Self {
        Self { cuts, ledger, witness }
    }

    /// Cuts, then writes down. The cut holds from the moment of the call, whatever comes of the writing; when this returns
    /// `Ok`, it survives a restart too.
    ///
    /// # Errors
    /// [`NotKept`].
    pub async fn publish(&self, issuer: IssuerId, reach: Reach, cause: Cause, now: Now) -> Result<(), NotKept> {
        self.announce(issuer, reach.clone(), cause, now);
        match &self.ledger {
            Some(ledger) => {
                let kept = ledger.keep(Revocation { issuer, reach, at: now.wall }).await;
                kept.inspect_err(|NotKept| self.witness.not_kept())
            }
            None => Ok(()),
        }
    }

    /// Cuts what its issuer has written down itself.
    pub fn announce(&self, issuer: IssuerId, reach: Reach, cause: Cause, now: Now) {
        self.witness.published(cause, &reach);
        self.cuts.publish(issuer, reach, now);
    }

    /// Cuts everything that was loaded, because nobody knows what was ended meanwhile.
    pub fn announce_everything(&self) {
        self.cuts.publish_everything();
    }
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwitnessed;

impl Witness for Unwitnessed {
    fn published(&self, _: Cause, _: &Reach) {}
    fn not_kept(&self) {}
}
