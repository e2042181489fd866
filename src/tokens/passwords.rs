//! Password hashes: argon2id (RFC 9106), a few at a time, on threads that serve nothing else.
//!
//! Memory is the cost: so many hashes at once take so many times the memory of one, and no more. What waits is bounded too;
//! beyond it the answer is 503 at once. A sign-in for an account that does not exist hashes against a dummy, so that it
//! takes the same time and the same way as a wrong password.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::{Denial, Entropy, Secret};
use crate::plan::Hashing;
use crate::tokens::mint;
use crate::tokens::store::PasswordHash;

/// How long a password waits for its turn. With the time of the hash itself it is less than an attempt may be in flight.
const PATIENCE: Duration = Duration::from_mins(1);

/// The configured cost is not one that argon2id knows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("argon2id does not take this cost: {0}")]
pub struct InvalidCost(String);

/// Hashes passwords and checks them.
#[derive(Debug)]
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    /// Hashes that run or wait.
    admitted: Arc<Semaphore>,
    /// Hashes that run.
    running: Arc<Semaphore>,
    dummy: PasswordHash,
    computed: Arc<AtomicU64>,
}

/// Whether a password is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is not.
    Wrong,
    /// It is.
    Right,
    /// It is, but its hash has another cost than is configured today.
    RightButOutdated,
}

/// The right to hash; held until the hash is done, even if nobody waits for it any more.
pub(in crate::tokens) type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Passwords {
    /// Hashes at this cost.
    ///
    /// # Errors
    /// [`InvalidCost`].
    pub(crate) fn new(hashing: &Hashing, entropy: &dyn Entropy) -> Result<Self, InvalidCost> {
        let invalid = |error: argon2::Error| InvalidCost(error.to_string());
        let params = Params::new(hashing.memory_kib, hashing.passes, 1, None).map_err(invalid)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let secret = Secret::new(mint::uuid(entropy));
        let dummy = hash(&argon2, &secret, &mint::bytes(entropy)).map_err(|error| InvalidCost(error.to_string()))?;
        let parallel = hashing.parallel.max(1);
        Ok(Self {
            argon2,
            admitted: Arc::new(Semaphore::new(parallel.saturating_add(hashing.queue).min(Semaphore::MAX_PERMITS))),
            running: Arc::new(Semaphore::new(parallel.min(Semaphore::MAX_PERMITS))),
            dummy,
            computed: Arc::default(),
        })
    }

    /// Checks a password. Without a hash to check against it does the same work and says `Wrong`.
    ///
    /// # Errors
    /// `Overloaded` if too many wait.
    pub(crate) async fn check(&self, kept: Option<PasswordHash>, password: &Secret) -> Result<Verdict, Denial> {
        let turn = self.turn().await?;
        let known = kept.is_some();
        let kept = kept.unwrap_or_else(|| self.dummy.clone());
        let (argon2, password, computed) = (self.argon2.clone(), password.clone(), Arc::clone(&self.computed));
        let verdict = tokio::task::spawn_blocking(move || {
            computed.fetch_add(1, Ordering::Relaxed);
            let verdict = verify(&argon2, &kept, &password);
            drop(turn);
            verdict
        });
        let verdict = verdict.await.map_err(|_| overloaded())?;
        Ok(if known { verdict } else { Verdict::Wrong })
    }

    /// Hashes a new password at today's cost.
    ///
    /// # Errors
    /// `Overloaded` if too many wait, or there is no memory for a hash.
    pub(crate) async fn hash(&self, password: &Secret, entropy: &dyn Entropy) -> Result<PasswordHash, Denial> {
        let turn = self.turn().await?;
        let (argon2, password, salt) = (self.argon2.clone(), password.clone(), mint::bytes(entropy));
        let hashed = tokio::task::spawn_blocking(move || {
            let hashed = hash(&argon2, &password, &salt);
            drop(turn);
            hashed
        });
        hashed.await.map_err(|_| overloaded())?.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            overloaded()
        })
    }

    /// How many checks were computed since the start.
    pub(crate) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Waits for the right to hash.
    ///
    /// # Errors
    /// `Overloaded` if too many wait, or if the wait is too long.
    pub(in crate::tokens) async fn turn(&self) -> Result<Turn, Denial> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| overloaded())?;
        let running = tokio::time::timeout(PATIENCE, Arc::clone(&self.running).acquire_owned()).await;
        let running = running.map_err(|_| overloaded())?.map_err(|_| overloaded())?;
        Ok((admitted, running))
    }
}

fn overloaded() -> Denial {
    Denial::Overloaded(Duration::from_secs(1))
}

fn hash(argon2: &Argon2<'_>, password: &Secret, salt: &[u8; 16]) -> Result<PasswordHash, argon2::password_hash::Error> {
    let hash: phc::PasswordHash = argon2.hash_password_with_salt(password.expose().as_bytes(), salt)?;
    Ok(PasswordHash(hash.to_string().into()))
}

fn verify(argon2: &Argon2<'_>, kept: &PasswordHash, password: &Secret) -> Verdict {
    let Ok(kept) = phc::PasswordHash::new(&kept.0) else {
        tracing::error!("a password hash in the database is not in PHC form");
        return Verdict::Wrong;
    };
    if argon2.verify_password(password.expose().as_bytes(), &kept).is_err() {
        return Verdict::Wrong;
    }
    let (today, then) = (argon2.params(), Params::try_from(&kept));
    let same = then
        .is_ok_and(|then| (then.m_cost(), then.t_cost(), then.p_cost()) == (today.m_cost(), today.t_cost(), today.p_cost()));
    if same { Verdict::Right } else { Verdict::RightButOutdated }
}
