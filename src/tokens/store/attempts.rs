//! What beginning and ending an attempt needs of the store: failures and the lock, attempts in flight, windows and pauses.
//!
//! A part of [`TokenStore`](super::TokenStore), under the same rules: whole steps, one transaction each. What is kept is decided
//! on by `rules::lockout` and `rules::window`, read and written within one step, so that processes that share a database count
//! together. Waits are told as durations, since whoever asks may have another clock than whoever decided.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::rules::lockout::{Ending, LockRule};
use crate::rules::window::WindowRule;
use crate::tokens::account::AccountId;
use crate::tokens::keyring::Mac;
use crate::tokens::store::StoreFault;

/// The state of attempts.
#[async_trait]
pub trait AttemptStore {
    /// Asks for an attempt. What is refused writes nothing, unless a pause begins with it.
    async fn begin_attempt(&self, step: BeginStep) -> Result<Begun, StoreFault>;
    /// Ends an attempt that was admitted with a reservation.
    async fn settle_attempt(&self, step: SettleStep) -> Result<(), StoreFault>;

    /// The locks that are in force, and after them the pauses; at most `limit` that come after the one of this name.
    async fn locks(&self, after: Option<LockName>, limit: u32, now: Timestamp) -> Result<Vec<LockRow>, StoreFault>;
    /// Those of one caller.
    async fn locks_of(&self, whom: Barred, now: Timestamp) -> Result<Vec<LockRow>, StoreFault>;
    /// Forgets the failures, locks and windows of one caller.
    async fn clear_locks(&self, whom: Barred, now: Timestamp) -> Result<Forgotten, StoreFault>;
}

/// What is tried, each for itself: who must pause with one may go on with the others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Passwords of an account from one source, at API C.
    SignIn,
    /// The codes of second factors, likewise.
    Confirm,
    /// Refresh tokens, likewise.
    Refresh,
    /// Logins from one source at API B, whoever's they are.
    LogIn,
    /// Logins of an account at API B, wherever they come from.
    LogInOf,
    /// Sign-ins from one source at API A, whoever's they are.
    OAuthSignInFrom,
    /// Sign-ins from one source at API C, whoever's they are.
    BackOfficeSignInFrom,
    /// Refresh tokens and tokens of second factors from one source that lead to nobody.
    UnknownFrom,
    /// Codes that one source asks for, whoever is to get them.
    CodeFrom,
    /// Wrong passwords from one source, whoever's, at any API.
    FailureFrom,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 10] = [
        Self::SignIn,
        Self::Confirm,
        Self::Refresh,
        Self::LogIn,
        Self::LogInOf,
        Self::OAuthSignInFrom,
        Self::BackOfficeSignInFrom,
        Self::UnknownFrom,
        Self::CodeFrom,
        Self::FailureFrom,
    ];

    /// Its name in the database, and to operators.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Confirm => "confirm",
            Self::Refresh => "refresh",
            Self::LogIn => "log-in-from",
            Self::LogInOf => "log-in",
            Self::OAuthSignInFrom => "oauth-sign-in-from",
            Self::BackOfficeSignInFrom => "back-office-sign-in-from",
            Self::UnknownFrom => "unknown-from",
            Self::CodeFrom => "code-from",
            Self::FailureFrom => "failure-from",
        }
    }
}

/// The name of an attempt in flight; random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttemptId(pub [u8; 16]);

/// Whose failures count, and when they lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockTerms {
    /// Whose they are.
    pub subject: Mac,
    /// The account, if there is one. Accounts are never forgotten while a failure counts; others are, when they are too many.
    pub account: Option<AccountId>,
    /// When they lock.
    pub rule: LockRule,
}

/// How long an attempt may be in flight: longer than a password waits for its turn and is hashed. After it, the attempt counts as
/// given back, since whoever began it must have died.
pub const LEASE: Duration = Duration::from_mins(5);

/// What an attempt has to do with the lock.
#[derive(Clone, Copy, Debug)]
pub enum Stake {
    /// Nothing.
    Nothing,
    /// It heeds the lock.
    Heeds(LockTerms),
    /// It heeds the lock, and nobody knows yet whether it fails: it is reserved under this name, at the longest for [`LEASE`].
    Reserves(LockTerms, AttemptId),
}

/// A caller's window.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Under which its window is kept: of the operation, the subject and the source.
    pub caller: Mac,
    /// What is tried.
    pub operation: Operation,
    /// How often it may be.
    pub rule: WindowRule,
    /// When it counts.
    pub counts: Counts,
    /// The account, if it is one's window; such are never pushed out.
    pub account: Option<AccountId>,
    /// Whose, if that matters.
    pub subject: Option<Mac>,
    /// From where, if that matters.
    pub source: Option<Box<str>>,
}

/// When an attempt is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counts {
    /// When it begins, however it ends.
    AtOnce,
    /// When it has failed. Before that only a pause is heeded.
    Failed,
}

/// An attempt that is asked for. The lock speaks first, then the windows in their order.
#[derive(Clone, Debug)]
pub struct BeginStep {
    /// What it has to do with the lock.
    pub stake: Stake,
    /// The windows it must pass: all of them, or it is counted in none.
    pub charges: Box<[Charge]>,
    /// When.
    pub now: Timestamp,
}

/// What became of asking for an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// It may go on.
    Admitted,
    /// Attempts in flight fill what the lock leaves, so nobody knows yet. Nothing was counted.
    Busy,
    /// There is a lock for this much longer.
    Locked(Duration),
    /// A window is full: how long to wait.
    Held(Operation, Duration),
}

/// An attempt that has ended.
#[derive(Clone, Debug)]
pub struct SettleStep {
    /// Its name.
    pub id: AttemptId,
    /// Whose it was.
    pub terms: LockTerms,
    /// How.
    pub ending: Ending,
    /// The windows in which it counts if it failed.
    pub if_failed: Box<[Charge]>,
    /// When.
    pub now: Timestamp,
}

/// Whose locks are meant.
#[derive(Clone, Debug)]
pub enum Barred {
    /// An account's, or those of an identifier that is nobody's.
    Subject(Mac),
    /// A source's.
    Source(Box<str>),
    /// The one of this name.
    Named(LockName),
}

/// The name of a lock or pause, in the order in which they are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockName {
    /// Of a lock.
    Lock(Mac),
    /// Of a pause.
    Pause(Mac),
}

/// What was forgotten of one caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// The locks and pauses that were in force.
    pub locks: Vec<LockRow>,
    /// The counters, whether or not they had led to any of those.
    pub counters: usize,
}

/// A lock or a pause that is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct LockRow {
    pub name: LockName,
    pub account: Option<AccountId>,
    /// The e-mail address of that account.
    pub email: Option<Box<str>>,
    pub source: Option<Box<str>>,
    /// What was tried too often; `None` for a lock.
    pub operation: Option<Operation>,
    /// The failures behind a lock; 0 for a pause.
    pub failures: u32,
    pub since: Timestamp,
    pub until: Timestamp,
}
