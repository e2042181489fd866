//! The embedded token service without HTTP: accounts, clients, challenges, sessions, grants and their tokens.
//!
//! Imports `model`, `rules`, `plan` and the cuts of `store`; names no HTTP library, and no database but through `store::sql`.
//! Deliberately absent: everything in which the APIs differ. That is data (`session`) and words (`token_api`).
//!
//! Order of every change: commit, then cut at the gateway, then answer. Never the reverse.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Clock, Denial, Entropy, IssuerId, Now};
use crate::plan::{Database, Environment, Hashing, LockSettings, TokenType};
use crate::rules::lockout::LockRule;
use crate::rules::window::WindowRule;
use crate::store::cuts::Reach;
use crate::store::revocations::{Cause, Revocations};
use crate::tokens::activities::Activities;
use crate::tokens::guard::Guard;
use crate::tokens::keyring::{KeyFault, Keyring};
use crate::tokens::notifier::Notifier;
use crate::tokens::passwords::{InvalidCost, Passwords};
use crate::tokens::signing::Signing;
use crate::tokens::store::steps::OpenFault;
use crate::tokens::store::{StoreFault, TokenStore};

pub mod account;
mod activities;
mod api_keys;
pub mod client;
mod database;
mod endings;
mod enrolment;
mod entry;
pub mod factor;
mod factors;
mod grants;
mod guard;
mod holder;
pub mod identifier;
pub mod identity;
mod introspection;
pub mod keyring;
mod keys;
mod limits;
mod locks;
mod log_in;
mod mint;
mod new_password;
pub mod notifier;
mod passwords;
mod push;
pub mod refusal;
pub mod session;
mod sign_in;
pub(crate) mod signing;
mod step_up;
pub mod store;
mod verification;

#[cfg(test)]
pub(crate) mod tests;

/// The same suite once more, on the other database.
#[cfg(test)]
#[expect(clippy::duplicate_mod, dead_code, reason = "the same suite, whose world is made on the database that its place names")]
#[path = "tests.rs"]
mod tests_on_postgres;

pub use enrolment::{AccountRefused, ClientRefused, PASSWORD_MAX};
pub use entry::{Entered, Entry, SecondFactor};
pub use grants::TokenPair;
pub use guard::Outcome;
pub use holder::Holder;
pub use introspection::Hint;
pub use keys::{KnownKey, PublishedKeys, RotationRefused};
pub use locks::{Cleared, Lock, LockId, LockKind, Whom};
pub use log_in::{LogIn, LogInLimits, LogInRefused, LoggedIn};
pub use new_password::{NewPassword, PasswordChanged};
pub use push::CarrierKey;
pub use sign_in::{IssuedCode, SignIn};
pub use signing::{KeyState, PublicKey, SealedKeyFault, SigningSettings};
pub use step_up::{Purpose, Question};
pub use store::{Approval, ChallengeId, Operation};
pub use verification::{Verification, is_one_time_code, is_proof};

/// What the token service is told once, when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its issuer.
    pub issuer: IssuerId,
    /// Where it runs.
    pub environment: Environment,
    /// How passwords are hashed.
    pub hashing: Hashing,
    /// When an account is locked.
    pub lock: LockSettings,
    /// Wrong passwords from one source within 10 minutes; one more, and it pauses for as long.
    pub failures_per_source: Option<u32>,
    /// What signed tokens say; `None` if no API signs its tokens.
    pub signing: Option<SigningSettings>,
    /// Whether it goes on, and hears of what other gateways end; else it does one thing and is gone.
    pub serves: bool,
}

impl Settings {
    /// From the plan.
    #[must_use]
    pub fn from_plan(service: &crate::plan::TokenService, environment: Environment) -> Self {
        let signing = service.back_office.as_ref().map(|api| SigningSettings {
            issuer: service.public_url.clone(),
            audience: api.audience.clone(),
            token_type: match api.token_type {
                TokenType::Jwt => "JWT",
                TokenType::AccessToken => "at+jwt",
            },
            published_for: service.keys_published_for,
            longest_life: api.access_ttl,
        });
        let (hashing, lock, failures_per_source) = (service.hashing.clone(), service.lock, service.failures_per_source);
        Self { issuer: service.issuer, environment, hashing, lock, failures_per_source, signing, serves: true }
    }

    /// For a command that does one thing and remembers nothing.
    #[must_use]
    pub fn for_a_command(self) -> Self {
        Self { serves: false, ..self }
    }
}

/// The world outside, as far as the token service touches it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where the gateway hears of what was revoked.
    pub revocations: Revocations,
    /// Who carries one-time codes.
    pub notifier: Arc<dyn Notifier>,
}

/// The token service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] OpenFault),
    /// The database was opened and then failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The server key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// The key file is not the one with which this database was written: no secret in it would ever match again.
    #[error("the database was written under another server key than the one in its key file")]
    ForeignKey,
    /// A key that tokens are signed with cannot be opened.
    #[error(transparent)]
    SigningKey(#[from] SealedKeyFault),
    /// The primitive that makes keys failed.
    #[error("a key to sign tokens with cannot be made")]
    NoSigningKey,
    /// Password hashing cannot work as configured.
    #[error(transparent)]
    Cost(#[from] InvalidCost),
    /// Codes that everybody knows are for the sandbox only.
    #[error("a notifier with a fixed code is for the sandbox environment only")]
    FixedCode,
}

/// Within which time the wrong passwords of a source are counted, and for how long it pauses after too many.
const FAILURES: Duration = Duration::from_mins(10);

/// The embedded token service.
#[derive(Debug)]
pub struct TokenService {
    issuer: IssuerId,
    store: Arc<dyn TokenStore>,
    keyring: Keyring,
    guard: Guard,
    activities: Activities,
    passwords: Passwords,
    signing: Option<Signing>,
    readings: keys::Readings,
    surroundings: Surroundings,
}

impl TokenService {
    /// Starts on a database, with the server key in `key_file`; either is made if it is not there. Blocks until the database
    /// answers.
    ///
    /// # Errors
    /// [`StartFault`].
    pub async fn open(
        database: &Database,
        key_file: &std::path::Path,
        settings: &Settings,
        surroundings: Surroundings,
    ) -> Result<Self, StartFault> {
        let store = database::open(database, settings, &surroundings)?;
        let keyring = Keyring::open(key_file, surroundings.entropy.as_ref())?;
        Self::start(Arc::new(store), keyring, settings, surroundings).await
    }

    async fn start(
        store: Arc<dyn TokenStore>,
        keyring: Keyring,
        settings: &Settings,
        surroundings: Surroundings,
    ) -> Result<Self, StartFault> {
        if settings.environment != Environment::Sandbox && surroundings.notifier.fixed_code().is_some() {
            return Err(StartFault::FixedCode);
        }
        if !store.adopt_key(keyring.check()).await? {
            return Err(StartFault::ForeignKey);
        }
        let signing = match settings.signing.clone() {
            Some(settings) => Some(keys::open(store.as_ref(), &keyring, Signing::new(settings), &surroundings).await?),
            None => None,
        };
        let rule = LockRule::new(settings.lock.attempts, settings.lock.duration);
        Ok(Self {
            issuer: settings.issuer,
            guard: Guard::new(rule, settings.failures_per_source.map(|most| WindowRule::new(most, FAILURES, FAILURES))),
            activities: Activities::new(store.is_shared()),
            passwords: Passwords::new(&settings.hashing, surroundings.entropy.as_ref())?,
            store,
            keyring,
            signing,
            readings: keys::Readings::default(),
            surroundings,
        })
    }

    /// Its issuer: what the principals of its tokens carry.
    #[must_use]
    pub fn issuer(&self) -> IssuerId {
        self.issuer
    }

    /// Password checks computed since the start.
    #[must_use]
    pub fn password_checks(&self) -> u64 {
        self.passwords.computed()
    }

    /// Forgets what has expired, at most 200 rows of each sort in a transaction, until nothing is left or `ROUNDS` are
    /// done, and notices what another process did to the signing keys. To be called about once a minute. How many rows were
    /// deleted.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn clean_up(&self, now: Now) -> Result<usize, Denial> {
        const ROUNDS: usize = 50;
        const BATCH: u32 = 200;
        let mut total = self.tend_keys(now).await?;
        for _ in 0..ROUNDS {
            let deleted = self.store.clean_up(now.wall, BATCH).await?;
            total += deleted;
            if deleted == 0 {
                break;
            }
        }
        Ok(total)
    }

    fn now(&self) -> Now {
        self.surroundings.clock.now()
    }

    fn entropy(&self) -> &dyn Entropy {
        self.surroundings.entropy.as_ref()
    }

    /// Tells this gateway, and others that remember its tokens, that what they remember is no longer so. Those that cannot be
    /// told now hear of it as soon as they can: what has been committed is true whoever knows of it.
    async fn cut(&self, reach: Reach) {
        let told = self.surroundings.revocations.announce(self.issuer, reach, Cause::Embedded, self.now()).await;
        if let Err(fault) = told {
            tracing::warn!(%fault, "a change of a session or token");
        }
    }
}
