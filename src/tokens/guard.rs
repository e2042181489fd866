//! Who may try a password: the table of attempts, applied under one lock, and the wait when all attempts are in flight.
//!
//! Imports `model`, `rules::lockout` and the store's row. Accounts are never evicted. Identifiers that belong to nobody
//! behave just like accounts but sit in a table of fixed size: to push one out takes more hashes than are computed in the
//! length of a lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::model::{Denial, Now};
use crate::rules::lockout::{Attempts, Beginning, Ending, LockRule};
use crate::tokens::account::AccountId;
use crate::tokens::keyring::Mac;
use crate::tokens::store::AttemptRow;

/// Identifiers without an account whose failures are remembered.
pub(crate) const NOBODIES: usize = 65_536;

/// How long an attempt waits for one in flight to settle.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many attempts may wait so.
const WAITING: usize = 1_024;

/// Whose attempts are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subject {
    pub(crate) key: Mac,
    pub(crate) account: Option<AccountId>,
}

/// The attempts of everybody.
#[derive(Debug)]
pub(crate) struct Guard {
    rule: LockRule,
    table: Mutex<Table>,
    settled: Notify,
    waiting: Semaphore,
}

#[derive(Debug, Default)]
struct Table {
    accounts: HashMap<AccountId, Attempts>,
    nobodies: HashMap<[u8; 32], Attempts>,
    /// The keys of `nobodies`, oldest first.
    order: VecDeque<[u8; 32]>,
    revision: i64,
}

/// An attempt that may go on. If it is dropped unsettled, we failed and not the caller: the reservation is given back.
#[derive(Debug)]
#[must_use = "an attempt that is dropped is given back"]
pub(crate) struct Attempt<'a> {
    guard: &'a Guard,
    subject: Subject,
    now: Now,
    open: bool,
}

impl Guard {
    /// A table with what was remembered before a restart.
    pub(crate) fn new(rule: LockRule, remembered: Vec<AttemptRow>, now: Now) -> Self {
        let mut table = Table::default();
        for row in remembered {
            let lock_left = row.locked_until.map(|until| until.since(now.wall)).filter(|left| !left.is_zero());
            // A lock that ended meanwhile took its failures with it.
            let failed = if row.locked_until.is_some() && lock_left.is_none() { 0 } else { row.failed };
            table.revision = table.revision.max(row.revision);
            *table.slot(Subject { key: row.subject, account: row.account }) =
                Attempts::restored(&rule, failed, lock_left, now.tick);
        }
        Self { rule, table: Mutex::new(table), settled: Notify::new(), waiting: Semaphore::new(WAITING) }
    }

    /// Reserves an attempt. If all of them are in flight, waits up to two seconds for one to settle.
    ///
    /// # Errors
    /// `Locked` with what is left of the lock; `LimitReached` if the wait was in vain, which says nothing about a lock.
    pub(crate) async fn begin(&self, subject: Subject, now: Now) -> Result<Attempt<'_>, Denial> {
        let busy = || Denial::LimitReached(Duration::from_secs(1));
        if let Some(outcome) = self.try_begin(subject, now) {
            return outcome;
        }
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let retry = async {
            loop {
                let mut settled = std::pin::pin!(self.settled.notified());
                // Listening begins before looking, so that no settlement falls between the two.
                settled.as_mut().enable();
                if let Some(outcome) = self.try_begin(subject, now) {
                    return outcome;
                }
                settled.await;
            }
        };
        tokio::time::timeout(PATIENCE, retry).await.unwrap_or_else(|_| Err(busy()))
    }

    /// Lets through who is not locked, without reserving anything.
    ///
    /// # Errors
    /// `Locked` with what is left of the lock.
    pub(crate) fn check(&self, subject: Subject, now: Now) -> Result<(), Denial> {
        let table = self.table();
        let attempts = match subject.account {
            Some(account) => table.accounts.get(&account),
            None => table.nobodies.get(&subject.key.0),
        };
        attempts.and_then(|attempts| attempts.lock_left(now.tick)).map_or(Ok(()), |left| Err(self.locked(left)))
    }

    /// Whoever asks may have looked at the clock before the failure that locks had, and is not to be told of more than a lock.
    fn locked(&self, left: Duration) -> Denial {
        Denial::Locked(left.min(self.rule.duration()))
    }

    fn try_begin(&self, subject: Subject, now: Now) -> Option<Result<Attempt<'_>, Denial>> {
        match self.table().slot(subject).begin(&self.rule, now.tick) {
            Beginning::Admitted => Some(Ok(Attempt { guard: self, subject, now, open: true })),
            Beginning::Locked(left) => Some(Err(self.locked(left))),
            Beginning::Busy => None,
        }
    }

    fn settle(&self, subject: Subject, ending: Ending, now: Now) -> Option<AttemptRow> {
        let mut table = self.table();
        let slot = table.slot(subject);
        let before = slot.failed();
        slot.settle(&self.rule, ending, now.tick);
        let after = *slot;
        if after.is_blank() {
            table.forget(subject);
        }
        table.revision += 1;
        let revision = table.revision;
        drop(table);
        self.settled.notify_waiters();
        (after.failed() != before).then(|| AttemptRow {
            subject: subject.key,
            account: subject.account,
            failed: after.failed(),
            locked_until: after.lock_left(now.tick).map(|left| now.wall.after(left)),
            revision,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Settles it; what must be written down, if anything changed. `now` is when its outcome was known, from which a lock
    /// counts.
    pub(crate) fn settle(mut self, ending: Ending, now: Now) -> Option<AttemptRow> {
        self.open = false;
        self.guard.settle(self.subject, ending, now)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.open {
            // An abandoned attempt changes no count, so there is nothing to write down.
            let _unchanged = self.guard.settle(self.subject, Ending::Abandoned, self.now);
        }
    }
}

impl Table {
    fn slot(&mut self, subject: Subject) -> &mut Attempts {
        let Some(account) = subject.account else { return self.slot_of_nobody(subject.key.0) };
        self.accounts.entry(account).or_default()
    }

    fn slot_of_nobody(&mut self, key: [u8; 32]) -> &mut Attempts {
        if !self.nobodies.contains_key(&key) {
            if self.nobodies.len() >= NOBODIES
                && let Some(oldest) = self.order.pop_front()
            {
                self.nobodies.remove(&oldest);
            }
            self.order.push_back(key);
        }
        self.nobodies.entry(key).or_default()
    }

    /// Drops a blank account; a nobody keeps its place, which is bounded anyway.
    fn forget(&mut self, subject: Subject) {
        if let Some(account) = subject.account {
            self.accounts.remove(&account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Tick, Timestamp};

    const NOW: Now = Now { wall: Timestamp::from_secs(1_000), tick: Tick::from_millis(5) };

    fn guard() -> Guard {
        Guard::new(LockRule::new(5, Duration::from_mins(30)), Vec::new(), NOW)
    }

    fn account(id: i64) -> Subject {
        Subject { key: Mac([0; 32]), account: Some(AccountId(id)) }
    }

    fn nobody(number: usize) -> Subject {
        let mut key = [1; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        Subject { key: Mac(key), account: None }
    }

    async fn fail(guard: &Guard, subject: Subject) -> Option<AttemptRow> {
        guard.begin(subject, NOW).await.unwrap().settle(Ending::Failed, NOW)
    }

    #[tokio::test]
    async fn an_attempt_that_is_dropped_is_given_back() {
        let guard = guard();
        for _ in 0..20 {
            drop(guard.begin(account(1), NOW).await.unwrap());
        }
        assert!(guard.table().accounts.is_empty(), "and its account takes no room");
    }

    #[tokio::test]
    async fn when_all_attempts_are_in_flight_the_next_waits_for_one_to_settle() {
        let guard = guard();
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(guard.begin(account(1), NOW).await.unwrap());
        }
        let mut waiting = Box::pin(guard.begin(account(1), NOW));
        tokio::select! { biased; _ = &mut waiting => panic!("there was none left"), () = async {} => {} }
        assert!(held.pop().unwrap().settle(Ending::Succeeded, NOW).is_none());
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn the_failure_that_locks_is_written_down_with_the_end_of_the_lock() {
        let guard = guard();
        for failed in 1..5 {
            let row = fail(&guard, account(1)).await.unwrap();
            assert_eq!((row.failed, row.locked_until), (failed, None));
        }
        let row = fail(&guard, account(1)).await.unwrap();
        assert_eq!((row.failed, row.locked_until), (5, Some(Timestamp::from_secs(1_000 + 1_800))));
        assert_eq!(guard.begin(account(1), NOW).await.unwrap_err(), Denial::Locked(Duration::from_mins(30)));
        assert_eq!(guard.check(account(1), NOW), Err(Denial::Locked(Duration::from_mins(30))));
        assert!(guard.begin(account(2), NOW).await.is_ok());
    }

    #[tokio::test]
    async fn who_came_before_the_failure_that_locks_is_told_of_no_more_than_a_lock() {
        let guard = guard();
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(guard.begin(account(1), NOW).await.unwrap());
        }
        let mut waiting = Box::pin(guard.begin(account(1), NOW));
        tokio::select! { biased; _ = &mut waiting => panic!("there was none left"), () = async {} => {} }
        let later = Now { wall: NOW.wall.after(Duration::from_secs(1)), tick: NOW.tick.after(Duration::from_secs(1)) };
        for attempt in held {
            assert!(attempt.settle(Ending::Failed, later).is_some());
        }
        let locked = Denial::Locked(Duration::from_mins(30));
        assert_eq!(waiting.await.unwrap_err(), locked);
        assert_eq!(guard.check(account(1), NOW), Err(locked));
    }

    #[tokio::test]
    async fn a_flood_of_nobodies_takes_bounded_room_and_unlocks_no_account() {
        let guard = guard();
        for _ in 0..5 {
            assert!(fail(&guard, account(1)).await.is_some());
        }
        for number in 0..NOBODIES + 10 {
            drop(guard.begin(nobody(number), NOW).await.unwrap());
        }
        assert_eq!(guard.table().nobodies.len(), NOBODIES);
        assert_eq!(guard.table().order.len(), NOBODIES);
        assert!(guard.begin(account(1), NOW).await.is_err());
    }
}
