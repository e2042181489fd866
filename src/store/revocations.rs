//! Publishing a revocation: cut it here at once, and see to it that it lasts and that others hear of it.
//!
//! Imports `model` and the cuts. What is cut is cut for this process the moment it is published; a [`Ledger`] makes it survive
//! the process, for tokens that nobody can be asked about again; [`Others`] are told of it. Deliberately absent: which tokens a
//! request ends (`flow`), where a ledger writes (`store::journal`), and by what others hear (`store::feed`).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{IssuerId, Now, Timestamp};
use crate::store::cuts::{Cuts, Hearing, Reach, Sequence};

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
    /// Another gateway published it.
    Shared,
    /// A gateway on the same database ended or changed something: another one, or this one.
    Outbox,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 8] =
        [Self::Embedded, Self::Passage, Self::Upstream, Self::Operator, Self::Logout, Self::Event, Self::Shared, Self::Outbox];

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
            Self::Shared => "shared",
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

/// A revocation holds in this process, but the other gateways could not be told yet. They will be, as soon as they can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the other gateways do not know of the revocation yet")]
pub struct NotTold;

/// A revocation holds in this process, and more is not sure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Incomplete {
    /// It will not survive a restart.
    #[error(transparent)]
    NotKept(#[from] NotKept),
    /// It lasts, but here only for now.
    #[error(transparent)]
    NotTold(#[from] NotTold),
}

/// Remembers revocations beyond the process.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Writes a revocation down, or finds that it need not be because its issuer can be asked again. Durable when this returns.
    ///
    /// # Errors
    /// [`NotKept`].
    async fn keep(&self, revocation: Revocation) -> Result<(), NotKept>;
}

/// The other gateways, if there are any.
#[async_trait]
pub trait Others: Send + Sync + fmt::Debug {
    /// Tells them of a revocation that has been cut here, at this place in the order of cuts. Whoever is listening can hear of
    /// it when this returns. It goes on if the caller goes away.
    ///
    /// # Errors
    /// [`NotTold`], soon; they are told later then.
    async fn tell(&self, revocation: Revocation, cut: Sequence) -> Result<(), NotTold>;
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
    others: Option<Arc<dyn Others>>,
    witness: Arc<dyn Witness>,
}

impl Revocations {
    /// Over the cuts of this process. Without a `ledger` what is published ends with the process.
    #[must_use]
    pub fn new(cuts: Arc<Cuts>, ledger: Option<Arc<dyn Ledger>>, witness: Arc<dyn Witness>) -> Self {
        Self { cuts, ledger, others: None, witness }
    }

    /// The same where others are told of everything.
    #[must_use]
    pub fn telling(self, others: Option<Arc<dyn Others>>) -> Self {
        Self { others, ..self }
    }

    /// Cuts, then writes down and tells the others, both at once. The cut holds here from the moment of the call, whatever
    /// comes of the rest; when this returns `Ok`, it survives a restart too, and no gateway that is listening misses it.
    ///
    /// # Errors
    /// [`Incomplete`]: what is missing, and of two things the worse.
    pub async fn publish(&self, issuer: IssuerId, reach: Reach, cause: Cause, now: Now) -> Result<(), Incomplete> {
        let revocation = Revocation { issuer, reach, at: now.wall };
        let cut = self.cut(&revocation, cause, now);
        let keep = async {
            match &self.ledger {
                Some(ledger) => ledger.keep(revocation.clone()).await.inspect_err(|NotKept| self.witness.not_kept()),
                None => Ok(()),
            }
        };
        let (kept, told) = tokio::join!(keep, self.tell(&revocation, cut));
        kept?;
        Ok(told?)
    }

    /// Cuts what its issuer has written down itself, and tells the others. An issuer whose gateways all hear from itself (by an
    /// outbox in a database that they share) has no need of the second half.
    ///
    /// # Errors
    /// [`NotTold`]; the cut holds here all the same.
    pub async fn announce(&self, issuer: IssuerId, reach: Reach, cause: Cause, now: Now) -> Result<(), NotTold> {
        let revocation = Revocation { issuer, reach, at: now.wall };
        let cut = self.cut(&revocation, cause, now);
        self.tell(&revocation, cut).await
    }

    /// Cuts what may have been revoked, so that it is asked about again, here. Neither written down nor told: whoever causes
    /// suspicions has shown no right to, and must not fill what all gateways share; and what a database tells, it tells everybody.
    pub fn suspect(&self, issuer: IssuerId, reach: Reach, cause: Cause, now: Now) {
        self.witness.published(cause, &reach);
        self.cuts.suspect(issuer, reach, now);
    }

    fn cut(&self, revocation: &Revocation, cause: Cause, now: Now) -> Sequence {
        self.witness.published(cause, &revocation.reach);
        self.cuts.publish(revocation.issuer, revocation.reach.clone(), now)
    }

    async fn tell(&self, revocation: &Revocation, cut: Sequence) -> Result<(), NotTold> {
        match &self.others {
            Some(others) => others.tell(revocation.clone(), cut).await,
            None => Ok(()),
        }
    }

    /// Cuts whatever was loaded of an issuer, because nobody knows what of it was ended meanwhile.
    pub fn suspect_all(&self, issuer: IssuerId, now: Now) {
        self.cuts.hear(issuer, None, now.wall, now);
    }

    /// Until when it is heard what ends in the database of the embedded service.
    #[must_use]
    pub fn outbox(&self) -> &Hearing {
        self.cuts.outbox()
    }
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwitnessed;

impl Witness for Unwitnessed {
    fn published(&self, _: Cause, _: &Reach) {}
    fn not_kept(&self) {}
}
