//! Locks and pauses as an operator sees and clears them.
//!
//! Imports `model` and the store's rows. Deliberately absent: who may ask, and the line that says who did; the command line and the
//! admin listener have those.

use crate::model::{Denial, SourceKey, Timestamp};
use crate::tokens::TokenService;
use crate::tokens::account::AccountId;
use crate::tokens::identifier::Identifier;
use crate::tokens::keyring::Mac;
use crate::tokens::store::{Barred, Forgotten, LockName, LockRow, Operation};

/// Who is kept from trying.
#[derive(Clone, Copy, Debug)]
pub enum Whom<'a> {
    /// An account, by its number.
    Account(AccountId),
    /// Whoever has this e-mail address or phone number, or nobody.
    Identifier(Identifier<'a>),
    /// A source.
    Source(SourceKey),
    /// Whoever the lock of this name keeps out.
    Named(LockId),
}

/// The name of a lock or pause. Stable as long as it is in force; tells nothing to whoever has not the server key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockId(pub(in crate::tokens) LockName);

/// What sort of a thing keeps somebody from trying.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// The lock of an account after too many consecutive failures.
    Lock,
    /// The pause of a caller who tried this too often, right or wrong.
    Pause(Operation),
}

/// A lock or a pause that is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lock {
    /// Its name.
    pub id: LockId,
    /// What sort it is.
    pub kind: LockKind,
    /// Whose it is, if it is an account's.
    pub account: Option<AccountId>,
    /// The e-mail address of that account, with most of its name left out. Who has no account is known by a key only.
    pub identifier: Option<Box<str>>,
    /// For which source it is, if it is for one: an address, or the first of a range.
    pub source: Option<Box<str>>,
    /// The consecutive failures behind it; 0 for a pause.
    pub failures: u32,
    /// Of a lock, when the failures began; of a pause, when it did.
    pub since: Timestamp,
    /// When it is over.
    pub until: Timestamp,
}

/// What was ended and forgotten of somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cleared {
    /// What the lock of an account is called, whether or not there was one; `None` of a source.
    pub whose: Option<LockId>,
    /// What was in force: at most one lock, and 1,000 pauses of it.
    pub locks: Vec<Lock>,
    /// The counters that were forgotten, whether or not they had led to any of those.
    pub counters: usize,
}

impl LockId {
    const LOCK: &'static str = "lock-";
    const PAUSE: &'static str = "pause-";

    /// From its text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (make, digits): (fn(Mac) -> LockName, _) = match (text.strip_prefix(Self::LOCK), text.strip_prefix(Self::PAUSE)) {
            (Some(digits), _) => (LockName::Lock, digits),
            (None, Some(digits)) => (LockName::Pause, digits),
            (None, None) => return None,
        };
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() != 64 || !digits.bytes().all(lower) {
            return None;
        }
        let mut key = [0; 32];
        for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(make(Mac(key))))
    }
}

impl std::fmt::Display for LockId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (prefix, key) = match self.0 {
            LockName::Lock(key) => (Self::LOCK, key),
            LockName::Pause(key) => (Self::PAUSE, key),
        };
        f.write_str(prefix)?;
        key.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<LockRow> for Lock {
    fn from(row: LockRow) -> Self {
        Self {
            id: LockId(row.name),
            kind: row.operation.map_or(LockKind::Lock, LockKind::Pause),
            account: row.account,
            identifier: row.email.map(|email| masked(&email)),
            source: row.source,
            failures: row.failures,
            since: row.since,
            until: row.until,
        }
    }
}

impl TokenService {
    /// The locks that are in force, and after them the pauses: at most `limit`, those that come after `after`.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn locks(&self, after: Option<LockId>, limit: u32) -> Result<Vec<Lock>, Denial> {
        let rows = self.store.locks(after.map(|id| id.0), limit, self.now().wall).await?;
        Ok(rows.into_iter().map(Lock::from).collect())
    }

    /// What keeps somebody out now: at most one lock and 1,000 pauses.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn lock_of(&self, whom: Whom<'_>) -> Result<Vec<Lock>, Denial> {
        let rows = self.store.locks_of(self.barred(whom).await?, self.now().wall).await?;
        Ok(rows.into_iter().map(Lock::from).collect())
    }

    /// Ends what keeps somebody out, and forgets their failures and attempts so far, whether or not these had led to a lock.
    ///
    /// # Errors
    /// `StoreUnavailable`: nothing has ended, unless the answer was lost.
    pub async fn clear_lock(&self, whom: Whom<'_>) -> Result<Cleared, Denial> {
        let barred = self.barred(whom).await?;
        let whose = match &barred {
            Barred::Subject(subject) => Some(LockId(LockName::Lock(*subject))),
            Barred::Named(name) => Some(LockId(*name)),
            Barred::Source(_) => None,
        };
        let Forgotten { locks, counters } = self.store.clear_locks(barred, self.now().wall).await?;
        Ok(Cleared { whose, locks: locks.into_iter().map(Lock::from).collect(), counters })
    }

    async fn barred(&self, whom: Whom<'_>) -> Result<Barred, Denial> {
        Ok(match whom {
            Whom::Account(account) => Barred::Subject(self.keyring.attempts_of_account(account)),
            Whom::Identifier(identifier) => {
                let account = self.store.enrolled(identifier).await?;
                Barred::Subject(self.keyring.attempts_of(account.map(|account| account.id), identifier))
            }
            Whom::Source(source) => Barred::Source(source.address().to_string().into()),
            Whom::Named(LockId(name)) => Barred::Named(name),
        })
    }
}

/// An address with the first character of its name and its host: enough to know it again, not enough to write to it.
fn masked(email: &str) -> Box<str> {
    let (name, host) = email.rsplit_once('@').unwrap_or((email, ""));
    let first = name.chars().next().map(String::from).unwrap_or_default();
    format!("{first}…@{host}").into()
}
