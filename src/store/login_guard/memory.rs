//! What a restart must not forget of a guard: the key that names are hashed under, and what each counter has counted.
//!
//! Imports `model` and `rules::login_budget`. Instants are of the wall clock, because a restart changes the other. Deliberately
//! absent: where it is written down (`store::journal`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{Entropy, Now, SourceKey, Timestamp};
use crate::rules::login_budget::{BudgetRule, Kept};
use crate::store::login_guard::table::{ACQUAINTED, AccountHash, CounterKey};
use crate::store::revocations::NotKept;

/// The key that the names of accounts are hashed under, for every guard of a gateway. It prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct GuardKey(pub(in crate::store) [u8; 32]);

impl fmt::Debug for GuardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardKey(…)")
    }
}

impl GuardKey {
    /// A key that nobody knows yet.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        Self(key)
    }
}

/// Which counter of a guard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CounterName {
    /// The account's hash, if it counts one.
    pub account: Option<AccountHash>,
    /// The source, if it counts one.
    pub source: Option<SourceKey>,
    /// The client's hash, if it counts one.
    pub client: Option<AccountHash>,
    /// Whether it is that of a source from which the account succeeded lately.
    pub acquainted: bool,
}

/// What a counter has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// Consecutive failures.
    pub failed: u32,
    /// When the last of them was.
    pub failed_at: Timestamp,
    /// When its lock ends.
    pub locked_until: Option<Timestamp>,
    /// What its window counts.
    pub recent: u32,
    /// When the last of that was.
    pub recent_at: Timestamp,
    /// When the account last succeeded there, if it is an acquaintance.
    pub met: Option<Timestamp>,
    /// From when on all of this means nothing any more.
    pub expires: Timestamp,
}

/// One counter, as it is written down; `None` if nothing of it need be.
pub type Noted = (CounterName, Option<Counted>);

/// What a process knew of every guard, by its name.
#[derive(Debug)]
pub struct GuardMemory {
    /// The key.
    pub key: GuardKey,
    /// What was counted.
    pub counters: HashMap<String, Vec<(CounterName, Counted)>>,
}

impl GuardMemory {
    /// Nothing, under a key that nobody knows yet.
    #[must_use]
    pub fn none(entropy: &dyn Entropy) -> Self {
        Self { key: GuardKey::random(entropy), counters: HashMap::new() }
    }
}

/// Remembers beyond the process what guards have counted.
#[async_trait]
pub trait GuardLedger: Send + Sync + fmt::Debug {
    /// Takes down how counters stand now; written in the order of the calls, sometime soon.
    fn note(&self, guard: &Arc<str>, counters: Vec<Noted>);

    /// Waits until all that was noted before is on the disk.
    ///
    /// # Errors
    /// [`NotKept`].
    async fn written(&self) -> Result<(), NotKept>;
}

impl CounterName {
    pub(super) fn of(key: CounterKey, acquainted: bool) -> Self {
        Self { account: key.account, source: key.source, client: key.client, acquainted }
    }

    pub(super) fn key(&self) -> CounterKey {
        CounterKey { account: self.account, source: self.source, client: self.client }
    }
}

impl Counted {
    /// How a counter stands, `met` so long ago if it is an acquaintance; `None` if nothing of it need be written down.
    pub(super) fn of(kept: &Kept, met: Option<std::time::Duration>, rule: &BudgetRule, now: Now) -> Option<Self> {
        let ago = |ago| now.wall.before(ago);
        let acquainted = met.map_or(std::time::Duration::ZERO, |met| ACQUAINTED.saturating_sub(met));
        let lasts = kept.lasts(rule).max(acquainted);
        (!kept.is_blank() || !acquainted.is_zero()).then(|| Self {
            failed: kept.failed,
            failed_at: ago(kept.failed_ago),
            locked_until: kept.lock_left.map(|left| now.wall.after(left)),
            recent: kept.recent,
            recent_at: ago(kept.recent_ago),
            met: met.map(ago),
            expires: now.wall.after(lasts),
        })
    }

    /// The same as ages. What seems to lie in the future has just been.
    pub(super) fn kept(&self, now: Now) -> Kept {
        Kept {
            failed: self.failed,
            failed_ago: now.wall.since(self.failed_at),
            lock_left: self.locked_until.map(|until| until.since(now.wall)).filter(|left| !left.is_zero()),
            recent: self.recent,
            recent_ago: now.wall.since(self.recent_at),
        }
    }
}
