//! Cuts: how a token dies at the gateway the moment its owner logs out.
//!
//! One counter gives every cut a number. Whatever is remembered of a token carries the number that was read *before* it was
//! loaded, and is good only while no cut that applies to it has a higher one. So an introspection that began before a logout
//! can finish after it and be stored: it is recognised as stale at its first use, because the cut came later than its number.
//! A load that begins after the cut is good again, which makes the same tool serve changed state (step-up, a new scope).
//!
//! The commit comes first, then the cut, then the answer to who asked for it; never the reverse.
//!
//! Self-contained tokens (JWTs) are not loaded from anywhere, so for them a cut must go on denying: see [`Cuts::denies`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::model::{IssuerId, Now, PrincipalFacts, Tick, Timestamp};

/// SHA-256 of a token: what a cut names a single token by, so that no token is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Fingerprint({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// What a cut reaches.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reach {
    /// One token.
    Token(Fingerprint),
    /// Every token of a session.
    Session(Box<str>),
    /// Every token of a subject.
    Subject(Box<str>),
    /// Every token that a client holds.
    Client(Box<str>),
}

/// A point in the order of cuts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Sequence(u64);

/// The revocations that this process knows of. Bounded by forgetting each cut after `retention`, when nothing that was
/// loaded before it can be remembered any more.
#[derive(Debug)]
pub struct Cuts {
    latest: AtomicU64,
    everything: AtomicU64,
    table: RwLock<HashMap<(IssuerId, Reach), Made>>,
    retention: Duration,
}

/// When a cut was made.
#[derive(Clone, Copy, Debug)]
struct Made {
    sequence: Sequence,
    tick: Tick,
    wall: Timestamp,
}

impl Cuts {
    /// An empty set. `retention` is at least the longest life of anything remembered plus the longest load: the largest cache
    /// lifetime with its grace, and the largest lifetime of a JWT that must stay denied.
    #[must_use]
    pub fn new(retention: Duration) -> Self {
        Self { latest: AtomicU64::new(0), everything: AtomicU64::new(0), table: RwLock::new(HashMap::new()), retention }
    }

    /// The number to read before a load begins, and to keep with what it brings.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        Sequence(self.latest.load(Ordering::Acquire))
    }

    /// Cuts whatever of `issuer` is reached. When this returns, no request that begins later is served from anything loaded
    /// before.
    pub fn publish(&self, issuer: IssuerId, reach: Reach, now: Now) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let sequence = Sequence(self.latest.load(Ordering::Acquire) + 1);
        table.insert((issuer, reach), Made { sequence, tick: now.tick, wall: now.wall });
        // The table first, the number after it: who reads the new number finds the cut in the table.
        self.latest.store(sequence.0, Ordering::Release);
    }

    /// Cuts everything, after a gap in which cuts may have been missed.
    pub fn publish_everything(&self) {
        let _table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.latest.load(Ordering::Acquire) + 1;
        self.everything.store(sequence, Ordering::Release);
        self.latest.store(sequence, Ordering::Release);
    }

    /// Whether what was loaded at `loaded` is still good. `Some` holds the point up to which that has now been checked, so
    /// that the caller can remember it and the next check costs one atomic read; `None` means that it was cut.
    #[must_use]
    pub fn spares(&self, facts: &PrincipalFacts, token: Fingerprint, loaded: Sequence) -> Option<Sequence> {
        let latest = self.sequence();
        if loaded == latest {
            return Some(latest);
        }
        if self.everything.load(Ordering::Acquire) > loaded.0 {
            return None;
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let later = |reach: Reach| table.get(&(facts.issuer, reach)).is_some_and(|made| made.sequence > loaded);
        (!reaches(facts, token).any(later)).then_some(latest)
    }

    /// Whether a self-contained token was cut: by its fingerprint, its session, or its subject or client if it was issued
    /// before that. `iat` is in whole seconds, so a token issued in the very second of the cut is denied too.
    #[must_use]
    pub fn denies(&self, facts: &PrincipalFacts, token: Fingerprint) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        reaches(facts, token).any(|reach| {
            let by_time = matches!(reach, Reach::Subject(_) | Reach::Client(_));
            let Some(made) = table.get(&(facts.issuer, reach)) else { return false };
            let issued_later = facts.issued_at.is_some_and(|issued| issued.as_secs() > made.wall.as_secs());
            !(by_time && issued_later)
        })
    }

    /// Forgets the cuts that nothing remembered can be older than. Called about once a minute.
    pub fn forget_old(&self, now: Tick) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, made| now.since(made.tick) < self.retention);
    }

    /// How many cuts are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn reaches(facts: &PrincipalFacts, token: Fingerprint) -> impl Iterator<Item = Reach> + '_ {
    [
        Some(Reach::Token(token)),
        facts.session.clone().map(Reach::Session),
        facts.subject.clone().map(Reach::Subject),
        facts.client.clone().map(Reach::Client),
    ]
    .into_iter()
    .flatten()
}
