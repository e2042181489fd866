//! The steps of sessions that live by being used, of step-ups, and of the keys and identities that they need.
//!
//! A part of [`TokenStore`](super::TokenStore), under the same rules: whole steps, one transaction each, conditional writes.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Timestamp, TokenKind};
use crate::store::cuts::Fingerprint;
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::identity::{Identity, NamedIdentity, NewIdentity};
use crate::tokens::keyring::Mac;
use crate::tokens::session::{Authentication, SessionRule};
use crate::tokens::store::{ChallengeId, ChallengeKind, Enrolled, LockTerms, PasswordHash, StoreFault};

/// The state of sessions.
#[async_trait]
pub trait SessionStore {
    /// Remembers an API key.
    async fn add_api_key(&self, name: &str, key: Mac, now: Timestamp) -> Result<(), StoreFault>;
    /// The name of the API key, if it is good.
    async fn api_key(&self, key: Mac) -> Result<Option<Box<str>>, StoreFault>;
    /// Makes every key of this name worthless; how many.
    async fn revoke_api_keys(&self, name: &str, now: Timestamp) -> Result<usize, StoreFault>;

    /// Makes an identity for an account; `None` if there is no such account.
    async fn add_identity(&self, of: AccountId, new: NewIdentity, now: Timestamp) -> Result<Option<Identity>, StoreFault>;
    /// The identities of an account, its own first.
    async fn identities(&self, of: AccountId) -> Result<Vec<Identity>, StoreFault>;

    /// Opens a session; the identity that comes first, `None` if the account cannot be used any more.
    async fn open_session(&self, step: OpenSession) -> Result<Option<Identity>, StoreFault>;
    /// Issues a token that acts as an identity and is as strongly proven as the token it is issued for.
    async fn exchange(&self, step: ExchangeStep) -> Result<Exchange, StoreFault>;
    /// Ends the session of a token; its name, `None` if it is no token of a session that goes on.
    async fn end_session(&self, token: Fingerprint, now: Timestamp) -> Result<Option<Box<str>>, StoreFault>;
    /// The session of a token of any kind, whatever has become of either.
    async fn session_of(&self, token: Fingerprint) -> Result<Option<Box<str>>, StoreFault>;
    /// Remembers when sessions were last used, and ends those that were not for too long.
    async fn note_uses(&self, uses: Vec<(Box<str>, LastSeen)>, now: Timestamp) -> Result<(), StoreFault>;

    /// What changing an account's password needs.
    async fn enrolled_account(&self, id: AccountId) -> Result<Option<Enrolled>, StoreFault>;
    /// Replaces a password, ends every session of the account and opens another. `None`, and nothing done, if the password was
    /// changed meanwhile or the account cannot be used any more.
    async fn change_password(&self, step: PasswordChange) -> Result<Option<Identity>, StoreFault>;
    /// The passwords that an account had before the one it has, as far as they are kept; the newest first.
    async fn former_passwords(&self, account: AccountId) -> Result<Vec<PasswordHash>, StoreFault>;
    /// Lets a password expire at that time; false if the account has none.
    async fn expire_password(&self, of: AccountId, at: Timestamp) -> Result<bool, StoreFault>;

    /// On which channels an account can be asked.
    async fn reachable(&self, account: AccountId) -> Result<Reachable, StoreFault>;
    /// Enrols a channel; false if it is enrolled, or there is no such account.
    async fn enrol(&self, account: AccountId, channel: Channel, now: Timestamp) -> Result<bool, StoreFault>;
    /// The challenge that was last opened for this token, if it was neither answered nor replaced.
    async fn latest_challenge(
        &self,
        kind: ChallengeKind,
        token: Fingerprint,
        channel: Channel,
    ) -> Result<Option<ChallengeId>, StoreFault>;
    /// Counts a try and, if the code is right, does what the challenge was opened for.
    async fn answer_code(&self, answer: CodeAnswer) -> Result<CodeVerdict, StoreFault>;
    /// Closes a challenge on a device and, if it was approved, does what it was opened for.
    async fn answer_push(&self, answer: PushAnswer) -> Result<PushVerdict, StoreFault>;
}

/// When a session was last used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastSeen {
    /// Then.
    At(Timestamp),
    /// For longer than it lives without use.
    TooLongAgo,
}

/// A session to be opened, and its first token.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct OpenSession {
    pub account: AccountId,
    pub rule: SessionRule,
    pub kind: TokenKind,
    pub sid: Box<str>,
    pub client: Box<str>,
    pub token: Fingerprint,
    pub authentication: Authentication,
    pub now: Timestamp,
}

/// A token to be issued for another of the same session.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct ExchangeStep {
    pub held: Fingerprint,
    pub identity: NamedIdentity,
    pub access_ttl: Duration,
    pub token: Fingerprint,
    pub now: Timestamp,
}

/// What became of an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exchange {
    /// The token is issued.
    Issued(Identity),
    /// The account cannot act as this identity.
    NotTheirs,
    /// The token held is not good any more.
    Gone,
}

/// A password to be changed by who knows the old one.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// The hash that was there when the old password was checked.
    pub old: PasswordHash,
    /// The new one.
    pub new: PasswordHash,
    /// Until when the new one is good.
    pub expires: Option<Timestamp>,
    /// How many of the former ones are kept, the old one among them.
    pub former_kept: u32,
    /// What is opened instead of the sessions that end.
    pub session: OpenSession,
}

/// On which channels an account can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reachable {
    /// Its phone number.
    pub phone: Option<Box<str>>,
    /// The channels that are enrolled.
    pub channels: Vec<Channel>,
}

/// A code that is presented for a challenge of this token.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct CodeAnswer {
    pub if_wrong: LockTerms,
    pub challenge: ChallengeId,
    pub token: Fingerprint,
    pub code: Mac,
    pub authentication: Authentication,
    pub now: Timestamp,
}

/// What became of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeVerdict {
    /// It is right, and what it was asked for is done.
    Right,
    /// It is wrong.
    Wrong,
    /// It comes too late.
    Expired,
    /// There were too many wrong ones before.
    Void,
    /// There is nothing to be answered.
    Closed,
}

/// What a device answered.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct PushAnswer {
    pub challenge: ChallengeId,
    pub approval: Approval,
    pub authentication: Authentication,
    pub now: Timestamp,
}

/// Whether the owner of a device approves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Approval {
    /// They do.
    Approved,
    /// They do not.
    Declined,
}

/// What became of a device's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushVerdict {
    /// It is taken. This token's state may have changed.
    Taken(Fingerprint),
    /// There is nothing to be answered, or not any more.
    Closed,
}
