//! How much of its quota each caller has spent: a table for each limit, bounded, in memory.
//!
//! Imports `model` and `rules`. Callers are named by keyed hashes (SipHash-1-3 under a random key of this process), so that
//! nobody can choose keys that fall together and no subject or address is kept. A look costs one lock of one shard and no
//! allocation but the table's own growth.
//!
//! A table that is full never forgets a caller whose quota is not whole, because whoever could push others out could also push
//! out themselves. Callers at rest are forgotten instead; if there are none, newcomers share one quota for each shard.
//! Deliberately absent: what a caller is (`flow`), and clocks. What gateways count together is in `shared`.

mod shared;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::model::{Entropy, Tick};
use crate::rules::gcra::{Quota, Tat, Verdict};
pub use shared::SharedCounters;

/// Shards of a table at most; a small table has fewer, so that each has room for many.
const SHARDS: usize = 256;
/// Callers for which it is worth while to have one more shard.
const SHARD_ROOM: usize = 512;
/// How often a full shard is searched for callers at rest, at most.
const SEARCH_EVERY: Duration = Duration::from_millis(100);

/// Names callers. A clone goes on from what was hashed so far.
#[derive(Clone)]
pub struct Naming(SipHasher13);

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Naming(…)")
    }
}

impl Naming {
    /// With a random key.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut key = [0; 16];
        entropy.fill(&mut key);
        Self(SipHasher13::new_with_key(&key))
    }

    /// The caller that these parts name. The order counts, and parts do not run into each other.
    #[must_use]
    pub fn caller(&self, parts: impl IntoIterator<Item: Hash>) -> CallerKey {
        let mut hasher = self.0;
        for part in parts {
            part.hash(&mut hasher);
        }
        CallerKey(hasher.finish())
    }
}

/// What a caller is known by in a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallerKey(u64);

impl Hash for CallerKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// The callers of one limit.
#[derive(Debug)]
pub struct Counters {
    shards: Box<[Mutex<Shard>]>,
    /// Callers that a shard holds at most.
    room: usize,
}

#[derive(Default)]
struct Shard {
    callers: HashMap<CallerKey, Tat, BuildHasherDefault<AsItIs>>,
    /// Those for whom there was no room, together.
    shared: Tat,
    /// When it may be searched again for callers at rest.
    search_at: Tick,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({} callers)", self.callers.len())
    }
}

/// What came of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Whether it may go on.
    pub verdict: Verdict,
    /// Whether there was no room for the caller, which was then counted together with others.
    pub shared: bool,
}

impl Counters {
    /// Nobody yet, and room for about `keys` callers: each shard has its share and an eighth more, because hashes do not spread
    /// quite evenly.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        let shards = (keys / SHARD_ROOM).clamp(1, SHARDS);
        let share = keys.div_ceil(shards).max(1);
        let room = if shards == 1 { share } else { share + share / 8 };
        Self { shards: (0..shards).map(|_| Mutex::default()).collect(), room }
    }

    /// Callers that it holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shards.len() * self.room
    }

    /// Spends a caller's quota on one request, if there is enough of it.
    #[must_use]
    pub fn take(&self, caller: CallerKey, quota: &Quota, now: Tick) -> Taken {
        let Some(mut shard) = self.shard(caller) else {
            return Taken { verdict: quota.decide(Tat::default(), now), shared: false };
        };
        let remembered = shard.callers.get(&caller).copied();
        let shared = remembered.is_none() && !shard.has_room(self.room, now);
        let before = if shared { shard.shared } else { remembered.unwrap_or_default() };
        let verdict = quota.decide(before, now);
        if let Verdict::Admitted { tat, .. } = verdict {
            if shared {
                shard.shared = tat;
            } else {
                shard.callers.insert(caller, tat);
            }
        }
        Taken { verdict, shared }
    }

    /// What [`Counters::take`] would say, spending nothing.
    #[must_use]
    pub fn look(&self, caller: CallerKey, quota: &Quota, now: Tick) -> Verdict {
        let Some(mut shard) = self.shard(caller) else { return quota.decide(Tat::default(), now) };
        let remembered = shard.callers.get(&caller).copied();
        let before = match remembered {
            Some(tat) => tat,
            None if shard.has_room(self.room, now) => Tat::default(),
            None => shard.shared,
        };
        quota.decide(before, now)
    }

    /// Gives back what a request took that another limit then refused. `shared` is what [`Counters::take`] said.
    pub fn give_back(&self, caller: CallerKey, quota: &Quota, shared: bool) {
        let Some(mut shard) = self.shard(caller) else { return };
        if shared {
            shard.shared = quota.give_back(shard.shared);
        } else if let Some(tat) = shard.callers.get_mut(&caller) {
            *tat = quota.give_back(*tat);
        }
    }

    /// Callers that are remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).callers.len()).sum()
    }

    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shard of a caller; there always is one. By the middle bits, since the table inside goes by the outer ones.
    fn shard(&self, caller: CallerKey) -> Option<MutexGuard<'_, Shard>> {
        let spread = usize::try_from((caller.0 >> 24) & 0xffff_ffff).unwrap_or_default();
        self.shards.get(spread.checked_rem(self.shards.len())?).map(lock)
    }
}

impl Shard {
    /// Whether one more caller can be remembered, if need be by forgetting those at rest.
    fn has_room(&mut self, room: usize, now: Tick) -> bool {
        if self.callers.len() < room {
            return true;
        }
        if now < self.search_at {
            return false;
        }
        self.search_at = now.after(SEARCH_EVERY);
        self.callers.retain(|_, tat| !tat.is_at_rest(now));
        self.callers.len() < room
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[derive(Debug)]
    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn naming() -> Naming {
        Naming::new(&Fixed(7))
    }

    fn quota() -> Quota {
        Quota::new(2, Duration::from_secs(10), 2, 1)
    }

    fn at(secs: u64) -> Tick {
        Tick::from_millis(secs * 1000)
    }

    fn admitted(taken: Taken) -> bool {
        matches!(taken.verdict, Verdict::Admitted { .. })
    }

    #[test]
    fn callers_have_names_under_a_key_and_parts_do_not_run_together() {
        let (naming, other) = (naming(), Naming::new(&Fixed(8)));
        assert_eq!(naming.caller(["ab", "c"]), naming.caller(["ab", "c"]));
        assert_ne!(naming.caller(["ab", "c"]), naming.caller(["a", "bc"]));
        assert_ne!(naming.caller(["a", "b"]), naming.caller(["b", "a"]));
        assert_ne!(naming.caller(["a"]), other.caller(["a"]));
    }

    #[test]
    fn each_caller_has_its_own_quota() {
        let (counters, naming) = (Counters::new(10), naming());
        let (ada, bob) = (naming.caller(["ada"]), naming.caller(["bob"]));
        assert!(admitted(counters.take(ada, &quota(), at(0))));
        assert!(admitted(counters.take(ada, &quota(), at(0))));
        assert!(!admitted(counters.take(ada, &quota(), at(0))));
        assert!(admitted(counters.take(bob, &quota(), at(0))));
        assert_eq!(counters.len(), 2);
    }

    #[test]
    fn looking_spends_nothing_and_what_is_given_back_is_there_again() {
        let (counters, ada) = (Counters::new(10), naming().caller(["ada"]));
        for _ in 0..10 {
            assert!(matches!(counters.look(ada, &quota(), at(0)), Verdict::Admitted { .. }));
        }
        for _ in 0..10 {
            let taken = counters.take(ada, &quota(), at(0));
            assert!(admitted(taken));
            counters.give_back(ada, &quota(), taken.shared);
        }
    }

    #[test]
    fn a_full_table_forgets_callers_at_rest_and_never_a_live_count() {
        let (counters, naming) = (Counters::new(4), naming());
        let live = naming.caller(["live"]);
        for _ in 0..2 {
            assert!(admitted(counters.take(live, &quota(), at(100))));
        }
        for resting in 0..3 {
            assert!(admitted(counters.take(naming.caller([resting]), &quota(), at(95))));
        }
        assert_eq!(counters.len(), counters.capacity());
        let newcomer = counters.take(naming.caller(["newcomer"]), &quota(), at(101));
        assert!(admitted(newcomer) && !newcomer.shared);
        assert_eq!(counters.len(), 2, "three were at rest");
        assert!(!admitted(counters.take(live, &quota(), at(101))), "who spends is not forgotten");
    }

    #[test]
    fn whoever_finds_no_room_shares_one_quota_and_gets_no_new_one() {
        let (counters, naming) = (Counters::new(4), naming());
        for caller in 0..4 {
            assert!(admitted(counters.take(naming.caller([caller]), &quota(), at(0))));
        }
        let newcomers: Vec<_> = (4..1000).map(|caller| counters.take(naming.caller([caller]), &quota(), at(0))).collect();
        assert!(newcomers.iter().all(|taken| taken.shared));
        assert_eq!(newcomers.into_iter().filter(|taken| admitted(*taken)).count(), 2);
        assert!(matches!(counters.look(naming.caller([7]), &quota(), at(0)), Verdict::Refused { .. }));
        assert_eq!(counters.len(), 4);
    }

    #[test]
    fn a_million_random_callers_leave_no_more_than_there_is_room_for() {
        let (counters, naming) = (Counters::new(100_000), naming());
        let mut passed = 0;
        for caller in 0..1_000_000_u32 {
            passed += usize::from(admitted(counters.take(naming.caller([caller]), &quota(), at(0))));
        }
        assert!(counters.len() <= counters.capacity() && counters.capacity() <= 113_000, "{}", counters.capacity());
        assert!(counters.len() >= 100_000, "the shards are filled evenly: {}", counters.len());
        assert!(passed <= counters.capacity() + counters.shards.len() * 2, "a full table is no way around a limit: {passed}");
    }

    #[test]
    fn requests_at_the_same_moment_pass_no_more_often_than_one_after_the_other() {
        const THREADS: usize = 8;
        let (counters, ada) = (Counters::new(1000), naming().caller(["ada"]));
        let (quota, start) = (Quota::new(100, Duration::from_hours(1), 100, 1), Barrier::new(THREADS));
        let passed: usize = thread::scope(|scope| {
            let work = || {
                start.wait();
                (0..100).filter(|_| admitted(counters.take(ada, &quota, at(0)))).count()
            };
            let running: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }
}
