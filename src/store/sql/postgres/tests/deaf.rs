//! A listener that reads nothing, for whatever reason: nobody has to notice it.

use std::sync::Arc;
use std::time::Duration;

use super::{ByHand, Heard, by, fixture, open, until};
use crate::model::Clock;
use crate::plan::Postgres;
use crate::store::sql::postgres::{Ear, Listener};
use crate::store::sql::{Db, Result};

const MOMENT: Duration = Duration::from_millis(1);
const ALMOST: Duration = Duration::from_millis(1999);
const SILENCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_heard_runs_out_by_itself_while_a_look_hangs_and_counts_again_once_one_has_been_made() {
    let Some(database) = fixture::database() else { return };
    let database = Postgres { max_silence: SILENCE, ..database };
    let clock = Arc::new(ByHand::default());
    let terms = by(&database, Arc::clone(&clock) as _);
    let _threads = open(&terms);
    let heard = Heard::default();
    heard.hearing.listen();
    assert!(heard.hearing.is_deaf(clock.now().tick), "nothing has been heard yet");
    let _listener = Listener::start(&terms, "test-listener", heard.clone()).unwrap();
    assert!(!heard.hearing.is_deaf(clock.now().tick), "it has looked when it has started");

    let holder = fixture::client(&database).await;
    holder.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    clock.forward(ALMOST);
    assert!(!heard.hearing.is_deaf(clock.now().tick));
    clock.forward(MOMENT);
    assert!(heard.hearing.is_deaf(clock.now().tick), "whatever its thread is doing");
    holder.batch_execute("ROLLBACK").await.unwrap();
    until(async || !heard.hearing.is_deaf(clock.now().tick)).await;
}

/// Each statement of its look takes as long as it may not all together.
struct Slow(Heard);

impl Ear for Slow {
    fn look(&mut self, db: &Db<'_>, anew: bool) -> Result<()> {
        self.0.look(db, anew)?;
        if !anew {
            for _ in 0..1000 {
                db.execute("SELECT pg_sleep(0.05)", ())?;
            }
        }
        Ok(())
    }

    fn heard(&mut self, _: crate::model::Tick) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_has_one_deadline_for_all_that_it_reads() {
    let Some(database) = fixture::database() else { return };
    let database = Postgres { max_silence: Duration::from_millis(500), ..database };
    let terms = by(&database, Arc::new(ByHand::default()));
    let _threads = open(&terms);
    let heard = Heard::default();
    let listener = Listener::start(&terms, "test-listener", Slow(heard.clone())).unwrap();
    // A look that was given up ends its session, which takes much less time than the look would.
    until(async || heard.sessions() == 2).await;
    drop(listener);
}

/// Its first look takes longer than nothing may be heard; those after it take no time.
struct SlowAtFirst(Heard);

impl Ear for SlowAtFirst {
    fn look(&mut self, db: &Db<'_>, anew: bool) -> Result<()> {
        if anew {
            db.execute("SELECT pg_sleep(0.7)", ())?;
        }
        self.0.look(db, anew)
    }

    fn heard(&mut self, until: crate::model::Tick) {
        self.0.heard(until);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_though_the_first_look_takes_longer_than_nothing_may_be_heard() {
    let Some(database) = fixture::database() else { return };
    let database = Postgres { max_silence: Duration::from_millis(500), ..database };
    let terms = by(&database, Arc::new(ByHand::default()));
    let _threads = open(&terms);
    let heard = Heard::default();
    let _listener = Listener::start(&terms, "test-listener", SlowAtFirst(heard.clone())).unwrap();
    assert_eq!(heard.last(), (true, 0));
}
