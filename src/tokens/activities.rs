//! When sessions were last used: exact in memory, written down a little later.
//!
//! The gateway notes every use on a clock that it shares with this table, so nobody has to be asked. What is not written down
//! when the process dies is lost, which makes a session older than it was, never younger. A clock is kept until its session is
//! over and that is written down too: while the process lives, no step of the wall clock ends a session or brings one back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{Activity, Denial, Now, Tick, Timestamp, Use};
use crate::tokens::TokenService;
use crate::tokens::session::SessionRule;
use crate::tokens::store::LastSeen;

/// Sessions that are written down in one transaction: few enough that no revocation waits long behind them.
const BATCH: usize = 50;

/// One session's use is written down at most this often.
const APART: Duration = Duration::from_secs(15);

/// Clocks that are kept though nobody holds them. Beyond that those that are written down are forgotten, and what the store
/// and the wall clock say counts again.
const MOST_UNHELD: usize = 100_000;

/// The clocks of the sessions that were used or asked about and are not over yet.
#[derive(Debug, Default)]
pub(crate) struct Activities {
    /// Other gateways write down uses of the same sessions.
    shared: bool,
    clocks: Mutex<HashMap<Box<str>, Clock>>,
}

#[derive(Debug)]
struct Clock {
    activity: Arc<Activity>,
    /// The use that is written down.
    written: Use,
    /// When it was, if that was in the life of this process.
    at: Option<Tick>,
}

/// What is to be written down of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    /// Its last use.
    Used(Use),
    /// That it is over.
    Over,
}

impl Clock {
    /// Takes over what the store says, where another gateway may have seen the session later than this one. What is over
    /// here may go on there: then it goes on here with a clock of its own, which whoever asks again is given.
    fn hear(&mut self, stored: Activity, now: Tick) {
        let Some(last) = stored.last_use() else { return };
        self.activity.note_use(last);
        self.written = self.written.max(last);
        if self.activity.is_over(now) && !stored.is_over(now) {
            self.activity = Arc::new(stored);
        }
    }

    fn is_written(&self) -> bool {
        self.activity.last_use().is_some_and(|last| last <= self.written)
    }

    /// What is to be written down, if the latest writing was so long ago. An end is written down at once.
    fn news(&self, now: Tick, apart: Duration) -> Option<News> {
        if self.activity.is_over(now) {
            return Some(News::Over);
        }
        let due = self.at.is_none_or(|at| now.since(at) >= apart);
        self.activity.last_use().filter(|last| due && *last > self.written).map(News::Used)
    }
}

impl Activities {
    /// Of a store that is `shared` with other gateways, or is not.
    pub(crate) fn new(shared: bool) -> Self {
        Self { shared, clocks: Mutex::default() }
    }

    /// The clock of a session that was last used at `last`, as far as is written down. That it was used in the future means
    /// that the wall clock was set back meanwhile: how long ago it was nobody knows, and it counts as now.
    pub(crate) fn of(&self, sid: &str, last: Timestamp, idle: Duration, now: Now) -> Arc<Activity> {
        match self.clocks().entry(sid.into()) {
            Entry::Occupied(mut known) if self.shared => {
                known.get_mut().hear(Activity::new(idle, now.wall.since(last), now.tick), now.tick);
                Arc::clone(&known.get().activity)
            }
            Entry::Occupied(known) => Arc::clone(&known.get().activity),
            Entry::Vacant(place) => {
                let activity = Arc::new(Activity::new(idle, now.wall.since(last), now.tick));
                if let Some(written) = activity.last_use() {
                    place.insert(Clock { activity: Arc::clone(&activity), written, at: None });
                }
                activity
            }
        }
    }

    /// What is to be written down, of sessions whose latest writing was so long ago.
    fn news(&self, now: Tick, apart: Duration) -> Vec<(Box<str>, News)> {
        self.clocks().iter().filter_map(|(sid, clock)| Some((sid.clone(), clock.news(now, apart)?))).collect()
    }

    /// This has been written down.
    fn wrote(&self, news: &[(Box<str>, News)], now: Tick) {
        let mut clocks = self.clocks();
        for (sid, news) in news {
            match (news, clocks.get_mut(sid)) {
                (News::Used(last), Some(clock)) => (clock.written, clock.at) = (clock.written.max(*last), Some(now)),
                (News::Over, Some(_)) => drop(clocks.remove(sid)),
                (News::Used(_) | News::Over, None) => {}
            }
        }
    }

    /// If there are too many, drops the clocks that nobody else holds and that are written down. Others take hold of one only
    /// under this lock.
    fn forget_beyond(&self, most: usize) {
        let mut clocks = self.clocks();
        if clocks.len() > most {
            clocks.retain(|_, clock| Arc::strong_count(&clock.activity) > 1 || !clock.is_written());
        }
    }

    fn clocks(&self) -> MutexGuard<'_, HashMap<Box<str>, Clock>> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenService {
    /// Starts the clock of a session that was opened a moment ago, if it has one.
    pub(in crate::tokens) fn begin_activity(&self, rule: &SessionRule, sid: &str) {
        let now = self.now();
        if let Some(idle) = rule.idle {
            drop(self.activities.of(sid, now.wall, idle, now));
        }
    }

    /// Writes down when sessions were last used, each at most every 15 seconds, and which are over. To be called every few
    /// seconds.
    ///
    /// # Errors
    /// `StoreUnavailable`: some is not written down, and will be the next time.
    pub async fn write_uses(&self) -> Result<(), Denial> {
        self.write_news(APART).await?;
        self.activities.forget_beyond(MOST_UNHELD);
        Ok(())
    }

    /// The same without waiting for anything. To be called before the process ends.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn write_all_uses(&self) -> Result<(), Denial> {
        self.write_news(Duration::ZERO).await
    }

    async fn write_news(&self, apart: Duration) -> Result<(), Denial> {
        let now = self.now();
        let seen = |news: News| match news {
            News::Used(last) => LastSeen::At(now.wall.before(last.age(now.tick))),
            News::Over => LastSeen::TooLongAgo,
        };
        for batch in self.activities.news(now.tick, apart).chunks(BATCH) {
            let rows = batch.iter().map(|(sid, news)| (sid.clone(), seen(*news))).collect();
            self.store.note_uses(rows, now.wall).await?;
            self.activities.wrote(batch, now.tick);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_mins(5);

    fn at(seconds: u64) -> Now {
        let tick = Tick::from_millis(seconds * 1000);
        Now { wall: Timestamp::from_secs(1_000_000).after(Duration::from_millis(tick.as_millis())), tick }
    }

    fn of(activities: &Activities, sid: &str, now: Now) -> Arc<Activity> {
        activities.of(sid, at(1).wall, IDLE, now)
    }

    /// What is written down now, and when it says that each session was last used.
    fn written(activities: &Activities, seconds: u64, apart: Duration) -> Vec<Option<u64>> {
        let now = at(seconds).tick;
        let news = activities.news(now, apart);
        activities.wrote(&news, now);
        let used = |news: &(Box<str>, News)| match news.1 {
            News::Used(last) => Some(seconds - last.age(now).as_secs()),
            News::Over => None,
        };
        news.iter().map(used).collect()
    }

    #[test]
    fn everybody_who_asks_about_a_session_shares_its_clock() {
        let activities = Activities::default();
        let one = of(&activities, "a", at(1));
        one.note(at(50).tick);
        assert_eq!(of(&activities, "a", at(60)).left(at(60).tick), Duration::from_secs(290));
        assert_eq!(of(&activities, "b", at(60)).left(at(60).tick), Duration::from_secs(241));
    }

    #[test]
    fn a_use_is_written_down_at_most_every_fifteen_seconds_and_all_of_them_at_the_end() {
        let activities = Activities::default();
        let clock = of(&activities, "a", at(1));
        assert_eq!(written(&activities, 1, APART), [], "it is known already");
        for (use_at, flush_at, expected) in
            [(2, 5, vec![Some(2)]), (6, 10, vec![]), (14, 19, vec![]), (19, 20, vec![Some(19)]), (21, 34, vec![])]
        {
            clock.note(at(use_at).tick);
            assert_eq!(written(&activities, flush_at, APART), expected, "at {flush_at}");
        }
        assert_eq!(written(&activities, 34, Duration::ZERO), [Some(21)]);
        assert_eq!(written(&activities, 34, Duration::ZERO), []);
    }

    #[test]
    fn a_clock_is_kept_until_its_session_is_over_and_that_is_written_down() {
        let activities = Activities::default();
        of(&activities, "a", at(1)).note(at(50).tick);
        assert_eq!(written(&activities, 349, APART), [Some(50)]);
        assert_eq!(activities.clocks().len(), 1);
        assert_eq!(activities.news(at(350).tick, APART).len(), 1, "not written down yet");
        assert_eq!(activities.clocks().len(), 1);
        assert_eq!(written(&activities, 350, APART), [None]);
        assert!(activities.clocks().is_empty());
    }

    #[test]
    fn what_is_over_when_it_is_looked_up_takes_no_place() {
        let activities = Activities::default();
        let over = of(&activities, "a", at(301));
        assert!(over.is_over(at(301).tick));
        assert_eq!(written(&activities, 301, APART), [None]);
        assert!(activities.clocks().is_empty());
    }

    #[test]
    fn a_crowd_of_clocks_is_thinned_by_those_that_nobody_needs() {
        let activities = Activities::default();
        let held = of(&activities, "held", at(1));
        of(&activities, "unwritten", at(1)).note(at(50).tick);
        drop(of(&activities, "idle", at(1)));
        activities.forget_beyond(3);
        assert_eq!(activities.clocks().len(), 3);
        activities.forget_beyond(2);
        assert_eq!(activities.clocks().len(), 2);
        drop(held);
        assert_eq!(written(&activities, 60, APART), [Some(50)]);
        activities.forget_beyond(1);
        assert!(activities.clocks().is_empty());
    }

    #[test]
    fn a_session_that_is_used_at_another_gateway_lives_on_at_this_one() {
        let activities = Activities::new(true);
        let here = of(&activities, "a", at(1));
        let heard = activities.of("a", at(200).wall, IDLE, at(290));
        assert!(Arc::ptr_eq(&here, &heard));
        assert_eq!(here.left(at(290).tick), Duration::from_secs(210));
        assert!(here.is_over(at(500).tick));
        // Its end was told here before that use was written down there.
        let again = activities.of("a", at(490).wall, IDLE, at(501));
        assert_eq!((again.left(at(501).tick), here.is_over(at(501).tick)), (Duration::from_secs(289), true));
        // And what is written down is never older than what is known.
        assert_eq!(activities.of("a", at(100).wall, IDLE, at(502)).left(at(502).tick), Duration::from_secs(288));
    }

    #[test]
    fn a_step_of_the_wall_clock_changes_nothing_about_a_session_that_is_known() {
        let activities = Activities::default();
        let clock = of(&activities, "a", at(1));
        for wall in [Timestamp::from_secs(0), Timestamp::from_secs(2_000_000)] {
            let stepped = Now { wall, ..at(100) };
            assert!(Arc::ptr_eq(&clock, &of(&activities, "a", stepped)));
            assert_eq!(clock.left(stepped.tick), Duration::from_secs(201));
        }
    }
}
