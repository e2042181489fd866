//! Where accounts, clients, challenges, sessions, grants and tokens are kept: a trait of whole domain steps.
//!
//! Every method is one transaction, every single-use write one conditional statement: get/set pairs lose races. Answers are
//! given after the commit. Tokens come as fingerprints and secrets as MACs: nothing here can be presented to anybody.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Tick, Timestamp, TokenKind};
use crate::store::cuts::{Fingerprint, Reach};
use crate::tokens::account::{Account, AccountId, AccountKind, AccountStatus};
use crate::tokens::client::{Client, NewClient};
use crate::tokens::identifier::Identifier;
use crate::tokens::keyring::Mac;
use crate::tokens::session::{Api, Authentication, RefreshRule, SessionRule};

/// Hears of what other gateways on the same database have ended.
pub trait Hearer: Send + Sync + fmt::Debug {
    /// This.
    fn ended(&self, reach: Reach);
    /// Nobody knows what: it may be anything.
    fn everything(&self);
    /// Whatever they ended until now, or will until then, is heard in time.
    fn heard(&self, until: Tick);
    /// Whether they may have ended something that is not heard in time.
    fn is_deaf(&self) -> bool;
}

mod attempts;
mod challenges;
mod entries;
mod sessions;
mod signing_keys;
pub mod steps;

pub use crate::store::sqlite::StoreFault;
pub use attempts::{
    AttemptId, AttemptStore, Barred, BeginStep, Begun, Charge, Counts, Forgotten, LEASE, LockName, LockRow, LockTerms,
    Operation, SettleStep, Stake,
};
pub use challenges::{Answer, ChallengeId, ChallengeKind, ChallengeRow, IfOpen, Opening};
pub use entries::{Confirmation, Descent, EmailFactor, EntryStore, NO_CLIENT, OpenStep, SignOut};
pub use sessions::{
    Approval, CodeAnswer, CodeVerdict, Exchange, ExchangeStep, LastSeen, OpenSession, PasswordChange, PushAnswer, PushVerdict,
    Reachable, SessionStore,
};
pub use signing_keys::{SigningKeyRow, SigningKeyStore};

/// The state of the token service.
#[async_trait]
pub trait TokenStore: AttemptStore + EntryStore + SessionStore + SigningKeyStore + Send + Sync + fmt::Debug {
    /// Whether other gateways use the same database.
    fn is_shared(&self) -> bool;

    /// Whether the database belongs to the server key with this check value; the first caller decides.
    async fn adopt_key(&self, check: Mac) -> Result<bool, StoreFault>;

    /// Makes an account.
    async fn add_account(&self, account: AccountRow) -> Result<Result<Account, Taken>, StoreFault>;
    /// The account of this number.
    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreFault>;
    /// The account of this identifier, with what its sign-in needs.
    async fn enrolled(&self, identifier: Identifier<'_>) -> Result<Option<Enrolled>, StoreFault>;
    /// At most `limit` accounts with numbers above `after`, in order.
    async fn accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreFault>;
    /// Changes the status; disabling ends every session. False if there is no such account.
    async fn switch_account(&self, id: AccountId, status: AccountStatus, now: Timestamp) -> Result<bool, StoreFault>;
    /// Replaces a password hash, unless it was replaced meanwhile.
    async fn replace_password(&self, replacement: PasswordReplacement) -> Result<(), StoreFault>;

    /// Makes a client; false if there is one of this id.
    async fn add_client(&self, client: NewClient, secret: Mac, now: Timestamp) -> Result<bool, StoreFault>;
    /// The client of this id.
    async fn client(&self, id: &str) -> Result<Option<ClientRow>, StoreFault>;
    /// Every client, by id.
    async fn clients(&self) -> Result<Vec<Client>, StoreFault>;
    /// Gives a client a new secret. The one it had stays good beside it, the one before that does not. False if unknown.
    async fn rotate_client(&self, id: &str, secret: Mac, now: Timestamp) -> Result<bool, StoreFault>;

    /// Opens a challenge and voids the one before it.
    async fn open_challenge(&self, challenge: ChallengeRow) -> Result<Opening, StoreFault>;
    /// The challenge of this kind that a code for this destination would answer.
    async fn open_challenge_of(
        &self,
        kind: ChallengeKind,
        destination: Mac,
        now: Timestamp,
    ) -> Result<Option<ChallengeId>, StoreFault>;
    /// Counts a try and, if the code is right, exchanges the challenge for a proof. False if it is not, or not any more.
    async fn answer_challenge(&self, answer: Answer) -> Result<bool, StoreFault>;

    /// Consumes the proof of a second factor and issues a code for it. False, and nothing consumed, if any of it is wrong.
    async fn sign_in(&self, step: SignInStep) -> Result<bool, StoreFault>;
    /// Consumes a code and issues tokens for it.
    async fn redeem(&self, step: RedeemStep) -> Result<Redemption, StoreFault>;
    /// Consumes a refresh token and issues its successors.
    async fn rotate(&self, step: RotateStep) -> Result<Rotation, StoreFault>;
    /// Revokes a token of this client: an access token alone, a refresh token with its whole grant. What was revoked before is
    /// named as well: whoever asks again may do so because nobody was told the first time.
    async fn revoke(&self, token: Fingerprint, client: &str, now: Timestamp) -> Result<Revocation, StoreFault>;
    /// Ends what an operator names: every session that is reached, with its grants, and the codes that would open another. The
    /// session of a token, whichever of its tokens that is; `None` if it belongs to none, or no token was named.
    async fn end(&self, reach: Reach, now: Timestamp) -> Result<Option<Box<str>>, StoreFault>;
    /// What is known of an access token that is good at `now`.
    async fn live_token(&self, token: Fingerprint, now: Timestamp) -> Result<Option<LiveToken>, StoreFault>;
    /// What is known of a refresh token that is unused and good at `now`.
    async fn live_refresh_token(&self, token: Fingerprint, now: Timestamp) -> Result<Option<LiveToken>, StoreFault>;

    /// Deletes at most `limit` rows of each sort that nothing can refer to any more; how many.
    async fn clean_up(&self, now: Timestamp, limit: u32) -> Result<usize, StoreFault>;
}

/// An account to be kept.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields of `NewAccount`, folded")]
pub struct AccountRow {
    pub kind: AccountKind,
    pub email: Box<str>,
    pub email_key: Box<str>,
    pub phone: Option<Box<str>>,
    pub country: Option<Box<str>>,
    pub password: Option<PasswordHash>,
    pub now: Timestamp,
}

/// A password hash in PHC form. `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub Box<str>);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Which identifier another account has already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// The e-mail address.
    Email,
    /// The phone number.
    Phone,
}

/// What a sign-in needs of an account.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Its number.
    pub id: AccountId,
    /// Whether it can be used.
    pub status: AccountStatus,
    /// Its password.
    pub password: Option<PasswordHash>,
    /// Until when the password is good; for ever if it is not said.
    pub password_expires: Option<Timestamp>,
}

/// A password hash to be replaced by one of today's strength.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct PasswordReplacement {
    pub account: AccountId,
    pub old: PasswordHash,
    pub new: PasswordHash,
}

/// A client with the MACs of its live secrets.
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// The client.
    pub client: Client,
    /// Of its secret.
    pub secret: Mac,
    /// Of the secret it had before.
    pub previous_secret: Option<Mac>,
}

/// The last step of a sign-in that ends in a code. A wrong password takes the same way as a wrong proof, with no account.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct SignInStep {
    pub account: Option<AccountId>,
    pub kind: ChallengeKind,
    pub destination: Mac,
    pub proof: Fingerprint,
    pub client: Box<str>,
    pub code: Fingerprint,
    pub code_expires: Timestamp,
    pub authentication: Authentication,
    pub now: Timestamp,
}

/// A code to be redeemed, and the tokens to be issued for it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct RedeemStep {
    pub code: Fingerprint,
    pub client: Box<str>,
    pub redirect_uri: Box<str>,
    pub sid: Box<str>,
    pub rule: SessionRule,
    pub refresh_idle: Duration,
    pub access: Fingerprint,
    pub refresh: Fingerprint,
    pub now: Timestamp,
}

/// What became of redeeming a code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redemption {
    /// The tokens are issued.
    Issued(Issued),
    /// It is no code that this client could redeem here and now.
    Invalid,
    /// It was redeemed before. The grant of this session, issued then, has been revoked, now or before.
    Reused(Box<str>),
    /// The account is locked until then. The code is untouched.
    Locked(Timestamp),
}

/// Tokens that were issued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Issued {
    /// For whom.
    pub account: AccountId,
    /// When.
    pub at: Timestamp,
    /// Until when the access token is good.
    pub access_expires: Timestamp,
    /// Until when the refresh token is.
    pub refresh_expires: Timestamp,
}

/// A refresh token to be used, and the tokens to follow it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct RotateStep {
    pub used: Fingerprint,
    pub client: Box<str>,
    pub api: Api,
    pub rule: RefreshRule,
    pub access_ttl: Duration,
    pub access: Fingerprint,
    pub refresh: Fingerprint,
    /// The successors, sealed for the holder of the used token; `None` if there is no grace.
    pub sealed: Option<Box<[u8]>>,
    pub now: Timestamp,
}

/// What became of a refresh.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// The successors are issued; the session's older access tokens end early.
    Rotated(Issued, Box<str>),
    /// It was used a moment ago: the successors that were issued then.
    Repeated(Issued, Box<[u8]>),
    /// It is no token that this client could refresh with.
    Invalid,
    /// It was used before. Its grant, of this session, has been revoked.
    Reused(Box<str>),
}

/// What became of a revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// There is no such token of this client.
    Nothing,
    /// The access token is revoked, now or before.
    Token,
    /// The grant is revoked, now or before, and with it every token of this session's grant.
    Grant(Box<str>),
}

/// A token that is good.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct LiveToken {
    pub kind: TokenKind,
    pub account: AccountId,
    pub sid: Box<str>,
    pub client: Option<Box<str>>,
    pub scope: Box<str>,
    pub acr: Box<str>,
    pub amr: Box<str>,
    pub auth_time: Timestamp,
    pub issued: Timestamp,
    pub expires: Timestamp,
    /// When its session was last used, as far as it is written down, and how long it lives after that.
    pub idle: Option<(Timestamp, Duration)>,
}
