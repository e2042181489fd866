//! When sessions were last used: exact in memory, written down a little later.
//!
//! The gateway notes every use on a clock that it shares with this table, so nobody has to be asked. What is not written down
//! when the process dies is lost, which makes a session older than it was, never younger.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{Activity, Denial, Timestamp};
use crate::tokens::TokenService;

/// Uses that are written down in one step.
const BATCH: usize = 500;

/// The clocks of sessions that somebody remembers, or whose last use is not written down yet; so there are at most as many as
/// the gateway remembers tokens, and those used since the last writing.
#[derive(Debug, Default)]
pub(crate) struct Activities {
    clocks: Mutex<HashMap<Box<str>, Clock>>,
}

#[derive(Debug)]
struct Clock {
    activity: Arc<Activity>,
    written: Timestamp,
}

impl Activities {
    /// The clock of a session that was last used at `last`, as far as is written down.
    pub(crate) fn of(&self, sid: &str, last: Timestamp, idle: Duration) -> Arc<Activity> {
        match self.clocks().entry(sid.into()) {
            Entry::Occupied(known) => Arc::clone(&known.get().activity),
            Entry::Vacant(place) => {
                let activity = Arc::new(Activity::new(idle, last));
                place.insert(Clock { activity: Arc::clone(&activity), written: last });
                activity
            }
        }
    }

    /// The uses that are not written down.
    fn unwritten(&self) -> Vec<(Box<str>, Timestamp)> {
        let used = |clock: &Clock| Some(clock.activity.last()).filter(|last| *last > clock.written);
        self.clocks().iter().filter_map(|(sid, clock)| Some((sid.clone(), used(clock)?))).collect()
    }

    /// These have been written down.
    fn wrote(&self, uses: &[(Box<str>, Timestamp)]) {
        let mut clocks = self.clocks();
        for (sid, at) in uses {
            if let Some(clock) = clocks.get_mut(sid) {
                clock.written = clock.written.max(*at);
            }
        }
    }

    /// Drops the clocks that nobody else holds and that are written down. Others take hold of one only under this lock.
    fn forget_unused(&self) {
        self.clocks().retain(|_, clock| Arc::strong_count(&clock.activity) > 1 || clock.activity.last() > clock.written);
    }

    fn clocks(&self) -> MutexGuard<'_, HashMap<Box<str>, Clock>> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenService {
    /// Writes down when sessions were last used. To be called every few seconds, and before the process ends.
    ///
    /// # Errors
    /// `StoreUnavailable`: some are not written down, and will be the next time.
    pub async fn write_uses(&self) -> Result<(), Denial> {
        for batch in self.activities.unwritten().chunks(BATCH) {
            self.store.note_uses(batch.to_vec()).await?;
            self.activities.wrote(batch);
        }
        self.activities.forget_unused();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_mins(5);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn everybody_who_asks_about_a_session_shares_its_clock() {
        let activities = Activities::default();
        let one = activities.of("a", at(1), IDLE);
        one.note(at(50));
        assert_eq!(activities.of("a", at(1), IDLE).last(), at(50));
        assert_eq!(activities.of("b", at(1), IDLE).last(), at(1));
    }

    #[test]
    fn a_clock_is_kept_until_its_last_use_is_written_down_and_nobody_holds_it() {
        let activities = Activities::default();
        let held = activities.of("a", at(1), IDLE);
        held.note(at(50));
        assert_eq!(activities.unwritten(), [("a".into(), at(50))]);
        drop(held);
        activities.forget_unused();
        assert_eq!(activities.clocks().len(), 1, "not written down yet");
        activities.wrote(&[("a".into(), at(50))]);
        assert!(activities.unwritten().is_empty());
        let held = activities.of("a", at(50), IDLE);
        activities.forget_unused();
        assert_eq!(activities.clocks().len(), 1, "held");
        drop(held);
        activities.forget_unused();
        assert_eq!(activities.clocks().len(), 0);
    }
}
