//! What entering by e-mail address and password needs of the store, and sessions that belong to no client.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::cuts::Fingerprint;
use crate::tokens::account::AccountId;
use crate::tokens::keyring::Mac;
use crate::tokens::session::{Api, Authentication, SessionRule};
use crate::tokens::store::{ChallengeId, ChallengeKind, LockTerms, StoreFault};

/// The state of entries.
#[async_trait]
pub trait EntryStore: Send + Sync + fmt::Debug {
    /// The e-mail address to which an account's second factor is sent, if it has this factor.
    async fn email_factor(&self, account: AccountId) -> Result<Option<Box<str>>, StoreFault>;
    /// Switches that factor. False if there is no such account.
    async fn switch_email_factor(&self, id: AccountId, factor: EmailFactor, now: Timestamp) -> Result<bool, StoreFault>;

    /// Whose challenge this is, whatever has become of it.
    async fn challenged(&self, challenge: ChallengeId, kind: ChallengeKind) -> Result<Option<AccountId>, StoreFault>;

    /// Opens a session with its first tokens. False, and nothing opened, if the account cannot be used or has a factor that
    /// was not asked for.
    async fn open_entry(&self, step: OpenStep) -> Result<bool, StoreFault>;
    /// Counts a try at a challenge and, if the code is right, consumes it and opens a session. False if any of it is wrong.
    async fn confirm_entry(&self, code: Confirmation, step: OpenStep) -> Result<bool, StoreFault>;
    /// Ends a session of this API and its grants.
    async fn end_own_session(&self, sid: &str, api: Api, now: Timestamp) -> Result<SignOut, StoreFault>;

    /// To which session a refresh token of this API leads that is no client's, whatever has become of either.
    async fn descent(&self, token: Fingerprint, api: Api) -> Result<Option<Descent>, StoreFault>;
}

/// Whether an account's sign-in by e-mail address and password needs a code that is sent to that address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EmailFactor {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// A session to be opened, and its first tokens, which belong to no client.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct OpenStep {
    pub account: AccountId,
    pub sid: Box<str>,
    pub rule: SessionRule,
    pub authentication: Authentication,
    pub access: Fingerprint,
    pub refresh: Fingerprint,
    pub refresh_idle: Duration,
    pub now: Timestamp,
}

/// A code that is to finish a sign-in.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct Confirmation {
    pub if_wrong: LockTerms,
    pub challenge: ChallengeId,
    pub code: Mac,
}

/// What became of a sign-out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignOut {
    /// The session has ended.
    Ended,
    /// It had ended before.
    EndedBefore,
    /// There is no such session of this API, or its time is over.
    NoSession,
}

/// Where a refresh token comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descent {
    /// Whose it is.
    pub account: AccountId,
    /// Its session.
    pub sid: Box<str>,
    /// How strongly the account was proven, and when.
    pub acr: Box<str>,
    /// By which methods.
    pub amr: Box<str>,
    /// When.
    pub auth_time: Timestamp,
    /// When its session ends whatever happens.
    pub end: Timestamp,
}

/// The client of grants that belong to none: no client has an empty name.
pub const NO_CLIENT: &str = "";
