//! The locks and pauses of the embedded token service, in the list of all locks.
//!
//! A mark is the name of a lock there; an account is shown by its e-mail address with most of it left out. Deliberately absent:
//! what a lock is and how it is cleared (`tokens`).

use std::sync::Arc;

use async_trait::async_trait;

use crate::admin::locks::{ClearedLocks, LockKeeper, ShownLock, Unavailable, Wanted};
use crate::model::SourceKey;
use crate::store::login_guard::Remainder;
use crate::tokens::account::AccountId;
use crate::tokens::identifier::{EmailAddress, Identifier, PhoneNumber};
use crate::tokens::{Lock, LockId, LockKind, TokenService, Whom};

/// What the embedded service is called where a login guard is named otherwise: as its issuer is. No guard has that name beside it.
const NAME: &str = "embedded";

/// The embedded token service as somebody who keeps locks.
#[derive(Clone, Debug)]
pub struct EmbeddedLocks(pub Arc<TokenService>);

/// Whom an operator means at this service.
enum Meant {
    Account(AccountId),
    Email(EmailAddress),
    Phone(PhoneNumber),
    Source(SourceKey),
    Named(LockId),
}

impl Meant {
    /// `None` if it is nobody here. Attempts are not counted by client.
    fn by(wanted: &Wanted) -> Option<Self> {
        match wanted {
            Wanted::Account(name) => AccountId::from_subject(name)
                .map(Self::Account)
                .or_else(|| PhoneNumber::parse(name).ok().map(Self::Phone))
                .or_else(|| EmailAddress::parse(name).ok().map(Self::Email)),
            Wanted::Mark(mark) => LockId::parse(mark).map(Self::Named),
            Wanted::Source(source) => Some(Self::Source(*source)),
            Wanted::Client(_) => None,
        }
    }

    fn whom(&self) -> Whom<'_> {
        match self {
            Self::Account(account) => Whom::Account(*account),
            Self::Email(email) => Whom::Identifier(Identifier::Email(email)),
            Self::Phone(phone) => Whom::Identifier(Identifier::Phone(phone)),
            Self::Source(source) => Whom::Source(*source),
            Self::Named(lock) => Whom::Named(*lock),
        }
    }
}

#[async_trait]
impl LockKeeper for EmbeddedLocks {
    fn name(&self) -> &str {
        NAME
    }

    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<ShownLock>, Unavailable> {
        let after = match after.map(LockId::parse) {
            None => None,
            Some(Some(lock)) => Some(lock),
            // Nothing comes after what is no place in this list.
            Some(None) => return Ok(Vec::new()),
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let found = self.0.locks(after, limit).await.map_err(|_| Unavailable)?;
        Ok(found.into_iter().map(ShownLock::from).collect())
    }

    async fn find(&self, whose: &Wanted, limit: usize) -> Result<Vec<ShownLock>, Unavailable> {
        let Some(meant) = Meant::by(whose) else { return Ok(Vec::new()) };
        let found = self.0.lock_of(meant.whom()).await.map_err(|_| Unavailable)?;
        Ok(found.into_iter().take(limit).map(ShownLock::from).collect())
    }

    async fn clear(&self, whose: &Wanted) -> ClearedLocks {
        let Some(meant) = Meant::by(whose) else { return ClearedLocks::NOTHING };
        let Ok(cleared) = self.0.clear_lock(meant.whom()).await else {
            return ClearedLocks { remainder: Remainder::Unknown, ..ClearedLocks::NOTHING };
        };
        let locks: Vec<ShownLock> = cleared.locks.into_iter().map(ShownLock::from).collect();
        // What is cleared is so in the database.
        ClearedLocks {
            whose: cleared.whose.map(|lock| lock.to_string()),
            locks,
            counters: cleared.counters,
            ..ClearedLocks::NOTHING
        }
    }
}

impl From<Lock> for ShownLock {
    fn from(lock: Lock) -> Self {
        let name = lock.id.to_string();
        Self {
            mark: Some(name.clone()),
            identifier: lock.identifier.map(String::from),
            source: lock.source.and_then(|source| source.parse().ok()).map(SourceKey::told),
            client: None,
            reason: match lock.kind {
                LockKind::Lock => "failures",
                LockKind::Pause(_) => "pause",
            },
            failures: lock.failures,
            since: lock.since,
            until: lock.until,
            position: name,
        }
    }
}
