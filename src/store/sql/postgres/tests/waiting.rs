//! Who waits for a thread, for how long, and what becomes of a step whose caller was refused.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{ByHand, by, contents, fixture, insert, open, until};
use crate::store::sql::postgres::queue::{Done, Work, Works};
use crate::store::sql::{Db, Result};
use crate::store::sqlite::StoreFault;

/// More than fit into one group, fewer than fit into the queue.
const MANY: i64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_while_the_lock_cannot_be_had_is_refused_with_the_first_who_asked_for_it() {
    let Some(database) = fixture::database() else { return };
    let terms = by(&database, Arc::new(ByHand::default()));
    let (readers, writer) = open(&terms);
    let (holder, watcher) = (fixture::client(&database).await, fixture::client(&database).await);
    holder.batch_execute(&format!("SELECT pg_advisory_lock({})", terms.lock())).await.unwrap();
    // Its `lock_timeout` is ten seconds, which nobody here waits for: the one wait for the lock ends when it is told to.
    let give_up = async {
        let query = format!(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%({})%'",
            terms.lock()
        );
        until(async || watcher.query(&query, &[]).await.unwrap().len() == 1).await;
    };
    let asked = async { tokio::join!(biased; join_all((0..MANY).map(|x| writer.step(insert(x)))), give_up) };
    let (answers, ()) = tokio::time::timeout(Duration::from_secs(30), asked).await.expect("one after another");
    assert!(answers.iter().all(|answer| *answer == Err(StoreFault::Failed)), "the lock is held");
    holder.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    // Nothing is left to recover from, and nothing of what was refused is done later.
    assert_eq!(writer.step(insert(MANY)).await, Ok(()));
    assert_eq!(contents(&readers).await, [MANY]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_waited_for_too_long_is_refused_and_never_done() {
    let Some(database) = fixture::database() else { return };
    let clock = Arc::new(ByHand::default());
    let terms = by(&database, Arc::clone(&clock) as _);
    let (readers, writer) = open(&terms);
    let writer = Arc::new(writer);
    let (started, start) = tokio::sync::oneshot::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let slow = move |db: &Db<'_>| {
        let _ = started.send(());
        assert!(wait.recv().is_err());
        insert(1)(db)
    };
    let first = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move { writer.step(slow).await }
    });
    start.await.unwrap();
    let (late, in_time, ()) = tokio::join!(
        biased;
        writer.step(insert(2)),
        async {
            clock.forward(terms.statement);
            writer.step(insert(3)).await
        },
        async { drop(go) }
    );
    assert_eq!((first.await.unwrap(), late, in_time), (Ok(()), Err(StoreFault::Failed), Ok(())));
    assert_eq!(contents(&readers).await, [1, 3]);
}

/// The number of the transaction it is in.
fn transaction(db: &Db<'_>) -> Result<i64> {
    db.one("SELECT txid_current()", (), |row| row.get(0))
}

#[tokio::test]
async fn a_group_takes_no_more_steps_after_half_of_the_time_for_a_statement() {
    let Some(database) = fixture::database() else { return };
    let clock = Arc::new(ByHand::default());
    let terms = by(&database, Arc::clone(&clock) as _);
    let (_readers, writer) = open(&terms);
    let holder = fixture::client(&database).await;
    for (takes, same) in [(terms.statement / 3, true), (terms.statement / 2, false)] {
        // Held until all three wait.
        holder.batch_execute(&format!("SELECT pg_advisory_lock({})", terms.lock())).await.unwrap();
        let clock = Arc::clone(&clock);
        let slow = move |db: &Db<'_>| {
            clock.forward(takes);
            transaction(db)
        };
        let (first, second, third, ()) = tokio::join!(biased; writer.step(slow), writer.step(transaction), writer.step(transaction), async {
            holder.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
        });
        assert_eq!((first == second, second), (same, third), "{takes:?}");
        assert!(first.is_ok());
    }
}

fn works() -> Works {
    Works::new(Arc::new(ByHand::default()), Duration::from_secs(1))
}

fn nothing() -> Work {
    Box::new(|_| Done { well: true, answer: Box::new(|| ()) })
}

#[test]
fn nobody_waits_while_no_thread_has_a_session_and_nobody_is_refused_while_one_has() {
    let works = works();
    assert_eq!(works.put(nothing()), Err(StoreFault::Failed));
    works.up();
    works.up();
    assert_eq!(works.put(nothing()), Ok(()));
    works.down();
    assert_eq!(works.put(nothing()), Ok(()), "the other has one");
    works.down();
    assert!(works.waiting().is_none(), "what waited was refused");
    assert_eq!(works.put(nothing()), Err(StoreFault::Failed));
    works.up();
    assert_eq!(works.put(nothing()), Ok(()));
    assert!(works.waiting().is_some(), "whoever comes after the recovery is served");
}

#[tokio::test]
async fn what_waits_is_bounded_and_nothing_comes_after_the_end() {
    let works = works();
    works.up();
    while works.put(nothing()).is_ok() {}
    assert_eq!(works.put(nothing()), Err(StoreFault::Full));
    works.close();
    assert_eq!(works.put(nothing()), Err(StoreFault::Failed));
    let mut left = 0;
    while works.next().await.is_some() {
        left += 1;
    }
    assert_eq!(left, 512, "what was let in before is done");
}
