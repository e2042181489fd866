//! How much of its quota each caller has spent at all gateways together: one number for each caller and limit, in the shared
//! store.
//!
//! The rule is `rules::gcra`, said once more in Lua, since whoever reads a number and writes it back lets others do the same in
//! between. A script is one round trip, and its clock is the server's, so that gateways whose clocks differ agree. The test
//! holds the two rules equal. A key is gone once its caller is at rest, so the store needs no more room than there are callers.
//! Imports `model`, `rules` and `store::valkey`. Deliberately absent: what holds while the store is away (`flow`).

use std::fmt;

use redis::Script;

use crate::rules::gcra::{Quota, Verdict};
use crate::store::valkey::{Names, Outage, Valkey};

/// Microseconds since 1970 at the server, and milliseconds that a key is kept beyond its caller's rest: expiry counts from when
/// the script began and in whole milliseconds.
const CLOCK: &str = "
    local time = redis.call('TIME')
    local now, slack = time[1] * 1000000 + time[2], 2
";

/// `Quota::decide`, and `Quota::at_most` for who is refused: or what a clock that was set back has left would be the whole
/// quota whenever it is looked at, until the clock is where it was. Every number is whole and below 2^53; they are written out
/// because Lua would say 1.8e+15.
const TAKE: &str = "
    local tolerance, toll = tonumber(ARGV[1]), tonumber(ARGV[2])
    local function keep(spent)
        local rest = string.format('%.0f', math.ceil(spent / 1000) + slack)
        redis.call('SET', KEYS[1], string.format('%.0f', now + spent), 'PX', rest)
    end
    local ahead = tonumber(redis.call('GET', KEYS[1]) or 0) - now
    local after = math.min(math.max(ahead, 0), tolerance) + toll
    if after > tolerance then
        if ahead > tolerance then keep(tolerance) end
        return {tolerance - after, now}
    end
    keep(after)
    return {after, now}
";

/// `Quota::give_back`.
const GIVE_BACK: &str = "
    local after = tonumber(redis.call('GET', KEYS[1]) or 0) - tonumber(ARGV[1]) - now
    if after <= 0 then return redis.call('DEL', KEYS[1]) end
    local rest = string.format('%.0f', math.ceil(after / 1000) + slack)
    redis.call('SET', KEYS[1], string.format('%.0f', now + after), 'PX', rest)
    return 0
";

/// The callers of every shared limit.
#[derive(Clone)]
pub struct SharedCounters {
    valkey: Valkey,
    take: Script,
    give_back: Script,
}

impl fmt::Debug for SharedCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedCounters").field(&self.valkey).finish()
    }
}

impl SharedCounters {
    /// In this store.
    #[must_use]
    pub fn new(valkey: Valkey) -> Self {
        Self::by(CLOCK, valkey)
    }

    fn by(clock: &str, valkey: Valkey) -> Self {
        let script = |rule: &str| Script::new(&format!("{clock}{rule}"));
        Self { valkey, take: script(TAKE), give_back: script(GIVE_BACK) }
    }

    /// What things are called there.
    #[must_use]
    pub fn names(&self) -> &Names {
        self.valkey.names()
    }

    /// Spends a caller's quota on one request, if there is enough of it.
    ///
    /// # Errors
    /// [`Outage`], within the store's deadline. It may be spent all the same.
    pub async fn take(&self, caller: &str, quota: &Quota) -> Result<Verdict, Outage> {
        let mut call = self.take.key(caller);
        call.arg(micros(quota.window())).arg(micros(quota.price()));
        let (outcome, now) = self.valkey.run("take", &call).await?;
        Ok(quota.decided(outcome, now))
    }

    /// Gives back what a request took that another limit then refused.
    ///
    /// # Errors
    /// [`Outage`]. It may not be given back then, and the caller has less until it comes back by itself.
    pub async fn give_back(&self, caller: &str, quota: &Quota) -> Result<(), Outage> {
        let mut call = self.give_back.key(caller);
        call.arg(micros(quota.price()));
        self.valkey.run("give-back", &call).await
    }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
