//! What is remembered of tokens: active ones and, apart from them, inactive ones.
//!
//! Imports `model`, `store` (cuts). Both caches are bounded and separate, so that a flood of random tokens pushes no good one
//! out. No token is kept: keys are keyed hashes, entries hold facts. An entry is a memory, never a verdict: its times and the
//! cuts are checked at every use, and moka's own expiry only gives the memory back. When a token that dies of disuse was last
//! used is kept apart from both, because it outlives every answer about the token.
//! Deliberately absent: routes, and every clock but the one that is passed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::model::{Activity, Entropy, IssuerId, Now, Principal, Tick};
use crate::plan::CacheLimits;
use crate::store::cuts::{Cuts, Fingerprint, Sequence, Watermark};

/// A token's keyed hash: names it in memory, and tells nothing to who reads the memory without the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl Digest {
    /// A share from 0 to 255 that is the token's own, to spread what would otherwise happen to all tokens at once.
    pub(crate) fn share(&self) -> u8 {
        let [share, ..] = self.0;
        share
    }
}

/// HMAC-SHA-256 under a key that lives and dies with the process.
pub(crate) struct KeyedHash(hmac::Key);

impl std::fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedHash(…)")
    }
}

impl KeyedHash {
    /// With a fresh key.
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        entropy.fill(&mut *key);
        Self(hmac::Key::new(hmac::HMAC_SHA256, &*key))
    }

    /// Of any bytes.
    pub(crate) fn digest(&self, bytes: &[u8]) -> Digest {
        let mut digest = [0; 32];
        for (into, from) in digest.iter_mut().zip(hmac::sign(&self.0, bytes).as_ref()) {
            *into = *from;
        }
        Digest(digest)
    }
}

/// The issuer is a part of the key, so that one issuer's answer never speaks for another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct EntryKey {
    pub(crate) issuer: IssuerId,
    pub(crate) digest: Digest,
}

/// An active token.
#[derive(Debug)]
pub(crate) struct Entry {
    principal: Arc<Principal>,
    fingerprint: Fingerprint,
    mark: Watermark,
    asked: Tick,
    renewing: AtomicBool,
}

/// When a load began: on both scales, since both are needed to judge what it brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    pub(crate) sequence: Sequence,
    pub(crate) tick: Tick,
}

/// What an entry is worth at an instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worth {
    /// It holds.
    Good,
    /// It was cut: what is known of the token is out of date.
    Cut,
    /// The token has ended, or has not begun.
    Over,
}

impl Entry {
    pub(crate) fn new(principal: Principal, fingerprint: Fingerprint, began: Began) -> Self {
        let mark = Watermark::at(began.sequence);
        Self { principal: Arc::new(principal), fingerprint, mark, asked: began.tick, renewing: AtomicBool::new(false) }
    }

    pub(crate) fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Counted from when the question was asked: what was true then may have changed while the answer was on its way.
    pub(crate) fn age(&self, now: Tick) -> Duration {
        now.since(self.asked)
    }

    pub(crate) fn worth(&self, cuts: &Cuts, now: Now, leeway: Duration) -> Worth {
        if !self.principal.is_current(now, leeway) {
            Worth::Over
        } else if cuts.spare(self.principal.facts(), self.fingerprint, &self.mark) {
            Worth::Good
        } else {
            Worth::Cut
        }
    }

    /// True for the one caller that is to ask again in the background.
    pub(crate) fn claim_renewal(&self) -> bool {
        !self.renewing.load(Ordering::Relaxed) && !self.renewing.swap(true, Ordering::AcqRel)
    }

    /// The renewal failed: somebody else may try.
    pub(crate) fn release_renewal(&self) {
        self.renewing.store(false, Ordering::Release);
    }
}

/// An inactive token.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    asked: Tick,
    until: Tick,
}

/// All memories.
#[derive(Debug)]
pub(crate) struct TokenCache {
    active: Cache<EntryKey, Kept, foldhash::quality::RandomState>,
    inactive: Cache<EntryKey, Refusal, foldhash::quality::RandomState>,
    unsettled: Cache<EntryKey, Tick, foldhash::quality::RandomState>,
    clocks: Cache<EntryKey, Arc<Activity>, foldhash::quality::RandomState>,
}

#[derive(Clone, Debug)]
struct Kept {
    entry: Arc<Entry>,
    lifetime: Duration,
}

impl TokenCache {
    /// The longest time for which an inactive answer is remembered, whatever is configured.
    pub(crate) const LONGEST_REFUSAL: Duration = Duration::from_secs(10);

    /// The longest time for which nothing is remembered of a token that may change unheard.
    pub(crate) const LONGEST_UNREST: Duration = Duration::from_mins(30);

    /// How long the clock of a token that died of disuse is remembered after its end, at least: until a service that was
    /// last asked about it before that must have ended it too.
    pub(crate) const REMEMBERED_END: Duration = Duration::from_mins(2);

    pub(crate) fn new(limits: &CacheLimits) -> Self {
        let hasher = foldhash::quality::RandomState::default;
        let active = Cache::builder().max_capacity(limits.tokens).expire_after(PerEntry).build_with_hasher(hasher());
        let inactive =
            Cache::builder().max_capacity(limits.inactive).time_to_live(Self::LONGEST_REFUSAL).build_with_hasher(hasher());
        let unsettled =
            Cache::builder().max_capacity(limits.inactive).time_to_live(Self::LONGEST_UNREST).build_with_hasher(hasher());
        let clocks = Cache::builder().max_capacity(limits.tokens).expire_after(PerClock).build_with_hasher(hasher());
        Self { active, inactive, unsettled, clocks }
    }

    pub(crate) fn active(&self, key: &EntryKey) -> Option<Arc<Entry>> {
        self.active.get(key).map(|kept| kept.entry)
    }

    pub(crate) fn is_inactive(&self, key: &EntryKey, now: Tick) -> bool {
        self.inactive.get(key).is_some_and(|refusal| now < refusal.until)
    }

    /// Remembers an active token for `lifetime`, unless something younger is known.
    pub(crate) fn remember_active(&self, key: EntryKey, entry: &Arc<Entry>, lifetime: Duration) {
        if self.inactive.get(&key).is_some_and(|refusal| refusal.asked > entry.asked) {
            return;
        }
        self.inactive.invalidate(&key);
        let kept = Kept { entry: Arc::clone(entry), lifetime };
        self.active.entry(key).and_compute_with(|held| match held {
            Some(held) if held.value().entry.asked > entry.asked => Op::Nop,
            Some(_) | None => Op::Put(kept),
        });
    }

    /// Remembers an inactive token for `lifetime` and forgets that it was active, unless something younger is known.
    pub(crate) fn remember_inactive(&self, key: EntryKey, asked: Tick, now: Now, lifetime: Duration) {
        let mut younger_is_active = false;
        self.active.entry(key).and_compute_with(|held| {
            younger_is_active = held.as_ref().is_some_and(|held| held.value().entry.asked > asked);
            if held.is_none() || younger_is_active { Op::Nop } else { Op::Remove }
        });
        if !younger_is_active && lifetime > Duration::ZERO {
            let until = now.tick.after(lifetime.min(Self::LONGEST_REFUSAL));
            self.inactive.insert(key, Refusal { asked, until });
        }
    }

    /// Of this token nothing is to be remembered until then.
    pub(crate) fn unsettle(&self, key: EntryKey, until: Tick) {
        self.unsettled.insert(key, until);
    }

    pub(crate) fn is_unsettled(&self, key: &EntryKey, now: Tick) -> bool {
        self.unsettled.get(key).is_some_and(|until| now < until)
    }

    /// The clock of a token that is active by an answer that was asked for at `asked`; it begins then, unless it has begun
    /// before. Whatever happens to answers about the token, its clock goes on.
    pub(crate) fn clock(&self, key: EntryKey, idle: Duration, asked: Tick) -> Arc<Activity> {
        let mut clock = None;
        self.clocks.entry(key).and_compute_with(|held| {
            let held = held.map(moka::Entry::into_value);
            let known = Arc::clone(clock.insert(held.unwrap_or_else(|| Arc::new(Activity::new(idle, Duration::ZERO, asked)))));
            // One that is over is not kept for longer by being asked about.
            if known.last_use().is_some() { Op::Put(known) } else { Op::Nop }
        });
        clock.unwrap_or_else(|| Arc::new(Activity::new(idle, Duration::ZERO, asked)))
    }

    /// Whether a token is known to have died of disuse.
    pub(crate) fn is_unused(&self, key: &EntryKey, now: Tick) -> bool {
        self.clocks.get(key).is_some_and(|clock| clock.is_over(now))
    }

    /// Lets moka do now what it otherwise does by and by.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        self.active.run_pending_tasks();
        self.inactive.run_pending_tasks();
        self.clocks.run_pending_tasks();
    }

    /// How many active and inactive tokens are remembered, about.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.active.entry_count(), self.inactive.entry_count())
    }
}

/// Gives the memory of an entry back once nothing can use it any more.
struct PerEntry;

impl moka::Expiry<EntryKey, Kept> for PerEntry {
    fn expire_after_create(&self, _: &EntryKey, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.lifetime)
    }

    fn expire_after_update(&self, _: &EntryKey, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.lifetime)
    }
}

/// Each clock is kept until the token must be over, counted from the last answer about it, and a while longer.
struct PerClock;

impl PerClock {
    /// A tenth more, because a token may be used for that long after the answer.
    fn kept(idle: Duration) -> Duration {
        idle + idle / 10 + TokenCache::REMEMBERED_END
    }
}

impl moka::Expiry<EntryKey, Arc<Activity>> for PerClock {
    fn expire_after_create(&self, _: &EntryKey, clock: &Arc<Activity>, _: Instant) -> Option<Duration> {
        Some(Self::kept(clock.idle()))
    }

    fn expire_after_update(&self, _: &EntryKey, clock: &Arc<Activity>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(Self::kept(clock.idle()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixture::{Counting, LIMITS, facts};

    const LONG: Duration = Duration::from_mins(10);

    fn at(millis: u64) -> Now {
        Now { wall: crate::model::Timestamp::default(), tick: Tick::from_millis(millis) }
    }

    fn key(token: &str) -> EntryKey {
        EntryKey { issuer: IssuerId(0), digest: KeyedHash::new(&Counting).digest(token.as_bytes()) }
    }

    fn entry(asked: u64) -> Arc<Entry> {
        let began = Began { sequence: Sequence::default(), tick: Tick::from_millis(asked) };
        Arc::new(Entry::new(Principal::new(facts()).unwrap(), Fingerprint([0; 32]), began))
    }

    fn known(cache: &TokenCache) -> (Option<Duration>, bool) {
        let active = cache.active(&key("a")).map(|entry| entry.age(Tick::from_millis(100)));
        (active, cache.is_inactive(&key("a"), Tick::from_millis(100)))
    }

    #[test]
    fn of_two_answers_the_one_that_was_asked_for_later_counts_whichever_lands_first() {
        let young = Some(Duration::from_millis(10));
        let cache = TokenCache::new(&LIMITS);
        cache.remember_active(key("a"), &entry(90), LONG);
        cache.remember_active(key("a"), &entry(50), LONG);
        assert_eq!(known(&cache), (young, false));
        cache.remember_inactive(key("a"), Tick::from_millis(60), at(100), LONG);
        assert_eq!(known(&cache), (young, false));
        cache.remember_inactive(key("a"), Tick::from_millis(95), at(100), LONG);
        assert_eq!(known(&cache), (None, true));
        cache.remember_active(key("a"), &entry(94), LONG);
        assert_eq!(known(&cache), (None, true));
        cache.remember_active(key("a"), &entry(96), LONG);
        assert_eq!(known(&cache), (Some(Duration::from_millis(4)), false));
    }

    #[test]
    fn an_inactive_answer_is_kept_for_ten_seconds_at_most_and_not_at_all_if_so_configured() {
        let cache = TokenCache::new(&LIMITS);
        cache.remember_inactive(key("a"), Tick::from_millis(0), at(0), LONG);
        assert!(cache.is_inactive(&key("a"), Tick::from_millis(9_999)));
        assert!(!cache.is_inactive(&key("a"), Tick::from_millis(10_000)));
        cache.remember_inactive(key("b"), Tick::from_millis(0), at(0), Duration::ZERO);
        assert!(!cache.is_inactive(&key("b"), Tick::from_millis(0)));
    }

    #[test]
    fn a_token_has_one_clock_which_is_kept_until_after_its_end_and_of_which_there_are_as_many_as_tokens() {
        let cache = TokenCache::new(&LIMITS);
        let clock = cache.clock(key("a"), LONG, at(0).tick);
        assert!(Arc::ptr_eq(&clock, &cache.clock(key("a"), LONG, at(5_000).tick)));
        assert!(!cache.is_unused(&key("a"), at(599_999).tick));
        assert!(cache.is_unused(&key("a"), at(600_000).tick));
        assert!(!cache.is_unused(&key("b"), at(600_000).tick), "nothing is known of it");
        assert_eq!(PerClock::kept(LONG), Duration::from_mins(13));
        for index in 0..3 * LIMITS.tokens {
            cache.clock(key(&index.to_string()), LONG, at(0).tick);
        }
        cache.settle();
        assert!(cache.clocks.entry_count() <= LIMITS.tokens);
    }

    #[test]
    fn one_caller_renews_until_it_gives_up() {
        let entry = entry(0);
        assert!(entry.claim_renewal());
        assert!(!entry.claim_renewal());
        entry.release_renewal();
        assert!(entry.claim_renewal());
    }
}
