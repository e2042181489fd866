//! How many unknown tokens one source may present: each of them costs a question to a token service.
//!
//! Imports `model`, `plan` (limits). Sources are folded into 65,536 buckets, so that the memory is bounded whatever addresses
//! a flood comes from; two sources that share a bucket share its budget. Only misses draw on it, never a token that is known.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::model::{Clock, Denial, Source};
use crate::plan::CacheLimits;

/// The budgets of all sources.
pub(crate) struct MissBudget {
    limiter: RateLimiter<u16, DashMapStateStore<u16>, Ticks, NoOpMiddleware<Duration>>,
    hash: RandomState,
}

impl fmt::Debug for MissBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MissBudget(…)")
    }
}

impl MissBudget {
    /// Full budgets.
    pub(crate) fn new(limits: &CacheLimits, clock: Arc<dyn Clock>) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limits.misses_per_second)).allow_burst(at_least_one(limits.miss_burst));
        Self { limiter: RateLimiter::dashmap_with_clock(quota, Ticks(clock)), hash: RandomState::new() }
    }

    /// What a request of this source has to pay for asking; nothing if it presents a token that is known.
    pub(crate) fn toll(&self, source: Source, known: bool) -> Toll<'_> {
        Toll { budget: self, source, paid: known }
    }

    fn spend(&self, source: Source) -> Result<(), Denial> {
        self.take(source).map_err(Denial::LimitReached)
    }

    /// Spends one piece of the source's budget, or says how long it is until there is one.
    pub(crate) fn take(&self, source: Source) -> Result<(), Duration> {
        let [low, high, ..] = self.hash.hash_one(source.key()).to_le_bytes();
        let spent = self.limiter.check_key(&u16::from_le_bytes([low, high]));
        spent.map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }
}

/// What one request pays, once, as soon as it asks: whoever only waits for what others asked pays nothing.
#[derive(Debug)]
pub(crate) struct Toll<'a> {
    budget: &'a MissBudget,
    source: Source,
    paid: bool,
}

impl Toll<'_> {
    /// Spends one miss of the source's budget, or says `LimitReached` with the wait until there is one.
    pub(crate) fn pay(&mut self) -> Result<(), Denial> {
        if !self.paid {
            self.budget.spend(self.source)?;
            self.paid = true;
        }
        Ok(())
    }
}

/// Our clock, for governor.
struct Ticks(Arc<dyn Clock>);

impl GovernorClock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now().tick.as_millis())
    }
}
