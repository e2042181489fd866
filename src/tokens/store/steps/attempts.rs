//! Attempts: the lock and what is in flight, read, decided on by `rules::lockout` and written within one step.
//!
//! Instants at rest are of the wall clock, and the rules are applied over it: a tick here is a millisecond since the epoch. What
//! that means where clocks are set or differ is in `docs/operations.md`.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Tick, Timestamp};
use crate::rules::lockout::{Attempts, Beginning, Ending};
use crate::store::sql::{self, Db, Row};
use crate::tokens::keyring::Mac;
use crate::tokens::store::steps::rows::At;
use crate::tokens::store::steps::{StepStore, locks, windows};
use crate::tokens::store::{
    AttemptId, AttemptStore, Barred, BeginStep, Begun, Forgotten, LEASE, LockName, LockRow, LockTerms, SettleStep, Stake,
    StoreFault,
};

/// Identifiers without an account whose failures are remembered. Each stands for a hash that was computed.
pub(super) const NOBODIES: i64 = 65_536;

/// How far the clocks of two processes may be apart, or one be set back, without anything being written for it.
pub(super) const SKEW: Duration = Duration::from_mins(1);

#[async_trait]
impl AttemptStore for StepStore {
    async fn begin_attempt(&self, step: BeginStep) -> Result<Begun, StoreFault> {
        // Looked at first by a reader: a flood against who is locked must cost no commit.
        let asked = step.clone();
        if let Some(refused) = self.readers.read(move |db| look(db, &asked)).await? {
            return Ok(refused);
        }
        self.writer.step(move |db| begin(db, &step)).await
    }

    async fn settle_attempt(&self, step: SettleStep) -> Result<(), StoreFault> {
        self.writer.step(move |db| settle(db, &step)).await
    }

    async fn locks(&self, after: Option<LockName>, limit: u32, now: Timestamp) -> Result<Vec<LockRow>, StoreFault> {
        self.readers.read(move |db| locks::page(db, after, limit, instant(db, now))).await
    }

    async fn locks_of(&self, whom: Barred, now: Timestamp) -> Result<Vec<LockRow>, StoreFault> {
        self.readers.read(move |db| locks::of(db, &whom, instant(db, now))).await
    }

    async fn clear_locks(&self, whom: Barred, now: Timestamp) -> Result<Forgotten, StoreFault> {
        self.writer.step(move |db| locks::clear(db, &whom, instant(db, now))).await
    }
}

/// By whose clock a step decides: its caller's. A database that many machines share has a clock of its own, and this is the place
/// to ask for it.
pub(super) fn instant(_db: &Db<'_>, callers: Timestamp) -> Timestamp {
    callers
}

/// An instant as the rules take it.
pub(super) fn tick(at: Timestamp) -> Tick {
    Tick::from_millis(u64::try_from(at.as_millis()).unwrap_or(0))
}

/// And back.
pub(super) fn timestamp(tick: Tick) -> Timestamp {
    Timestamp::from_millis(i64::try_from(tick.as_millis()).unwrap_or(i64::MAX))
}

/// What is known of a subject.
struct Known {
    attempts: Attempts,
    /// When its failures began, if there are any.
    since: Option<Timestamp>,
    /// The clock was set back since its lock was written, or the rule is another.
    outdated: bool,
}

/// What is said without writing anything; `None` if something has to be written.
fn look(db: &Db<'_>, step: &BeginStep) -> sql::Result<Option<Begun>> {
    let now = instant(db, step.now);
    let (known, beginning) = ask(db, step.stake, now)?;
    if known.is_some_and(|known| known.outdated) {
        return Ok(None);
    }
    if beginning != Beginning::Admitted {
        return Ok(Some(said(beginning)));
    }
    let passed = windows::pass(db, &step.charges, now)?;
    let reserves = matches!(step.stake, Stake::Reserves(..)) && passed.begun == Begun::Admitted;
    Ok((passed.changed.is_empty() && !reserves).then_some(passed.begun))
}

fn begin(db: &Db<'_>, step: &BeginStep) -> sql::Result<Begun> {
    let now = instant(db, step.now);
    let (known, beginning) = ask(db, step.stake, now)?;
    if let (Some(known), Stake::Heeds(terms) | Stake::Reserves(terms, _)) = (known, step.stake)
        && known.outdated
    {
        write(db, &terms, known.attempts, known.since, now)?;
    }
    if beginning != Beginning::Admitted {
        return Ok(said(beginning));
    }
    let passed = windows::pass(db, &step.charges, now)?;
    for window in &passed.changed {
        windows::write(db, window, now)?;
    }
    if let (Begun::Admitted, Stake::Reserves(terms, id)) = (passed.begun, step.stake) {
        reserve(db, terms.subject, id, now)?;
    }
    Ok(passed.begun)
}

fn said(beginning: Beginning) -> Begun {
    match beginning {
        Beginning::Admitted => Begun::Admitted,
        Beginning::Busy => Begun::Busy,
        Beginning::Locked(left) => Begun::Locked(left),
    }
}

/// Asks the lock.
fn ask(db: &Db<'_>, stake: Stake, now: Timestamp) -> sql::Result<(Option<Known>, Beginning)> {
    let (Stake::Heeds(terms) | Stake::Reserves(terms, _)) = stake else { return Ok((None, Beginning::Admitted)) };
    let known = known(db, &terms, now)?;
    let beginning = match stake {
        Stake::Nothing | Stake::Heeds(_) => known.attempts.lock_left(tick(now)).map_or(Beginning::Admitted, Beginning::Locked),
        Stake::Reserves(..) => {
            let mut attempts = known.attempts;
            attempts.begin(&terms.rule, tick(now))
        }
    };
    Ok((Some(known), beginning))
}

fn known(db: &Db<'_>, terms: &LockTerms, now: Timestamp) -> sql::Result<Known> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Option<At>>(1)?, row.get::<_, Option<At>>(2)?));
    let row: Option<(u32, Option<At>, Option<At>)> =
        db.optional("SELECT failed, locked_until, since FROM attempt WHERE subject_mac = ?1", [terms.subject], read)?;
    let (failed, locked_until, since) = row.unwrap_or_default();
    let locked_until = locked_until.map(|at| at.0);
    let in_flight = in_flight(db, terms.subject, now)?;
    let attempts = Attempts::resumed(&terms.rule, failed, in_flight, locked_until.map(tick), tick(now));
    let outdated = locked_until.is_some_and(|until| until > now.after(terms.rule.duration()).after(SKEW));
    Ok(Known { attempts, since: since.map(|at| at.0).filter(|_| attempts.failed() > 0), outdated })
}

/// Leases that end later than any that begins now were given under a clock that has been set back since.
fn latest_lease(now: Timestamp) -> Timestamp {
    now.after(LEASE).after(SKEW)
}

fn in_flight(db: &Db<'_>, subject: Mac, now: Timestamp) -> sql::Result<u32> {
    db.one(
        "SELECT count(*) FROM attempt_in_flight WHERE subject_mac = ?1 AND lease_until > ?2 AND lease_until <= ?3",
        (subject, At(now), At(latest_lease(now))),
        |row| row.get(0),
    )
}

fn reserve(db: &Db<'_>, subject: Mac, id: AttemptId, now: Timestamp) -> sql::Result<()> {
    db.execute(
        "DELETE FROM attempt_in_flight WHERE subject_mac = ?1 AND (lease_until <= ?2 OR lease_until > ?3)",
        (subject, At(now), At(latest_lease(now))),
    )?;
    db.execute(
        "INSERT INTO attempt_in_flight (id, subject_mac, lease_until) VALUES (?1, ?2, ?3)",
        (id.0.as_slice(), subject, At(now.after(LEASE))),
    )?;
    Ok(())
}

fn settle(db: &Db<'_>, step: &SettleStep) -> sql::Result<()> {
    let now = instant(db, step.now);
    let terms = &step.terms;
    let before = known(db, terms, now)?;
    db.execute("DELETE FROM attempt_in_flight WHERE id = ?1", [step.id.0.as_slice()])?;
    conclude(db, terms, &before, step.ending, now)?;
    if step.ending == Ending::Failed {
        windows::count(db, &step.if_failed, now)?;
    }
    Ok(())
}

/// Counts a failure that was never reserved: a wrong code, found to be wrong in this very step.
pub(super) fn count_failure(db: &Db<'_>, terms: &LockTerms, now: Timestamp) -> sql::Result<()> {
    let now = instant(db, now);
    let before = known(db, terms, now)?;
    conclude(db, terms, &before, Ending::Failed, now)
}

fn conclude(db: &Db<'_>, terms: &LockTerms, before: &Known, ending: Ending, now: Timestamp) -> sql::Result<()> {
    let mut after = before.attempts;
    after.settle(&terms.rule, ending, tick(now));
    if after.failed() == before.attempts.failed() && after.locked_until() == before.attempts.locked_until() {
        return Ok(());
    }
    write(db, terms, after, before.since, now)
}

/// A row that says nothing is not kept.
fn write(db: &Db<'_>, terms: &LockTerms, attempts: Attempts, since: Option<Timestamp>, now: Timestamp) -> sql::Result<()> {
    let locked_until = attempts.locked_until().map(timestamp);
    if attempts.failed() == 0 && locked_until.is_none() {
        db.execute("DELETE FROM attempt WHERE subject_mac = ?1", [terms.subject])?;
        return Ok(());
    }
    db.execute(
        "INSERT INTO attempt (subject_mac, account_id, failed, locked_until, since, touched) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (subject_mac) DO UPDATE SET failed = excluded.failed, locked_until = excluded.locked_until,
             since = excluded.since, touched = excluded.touched",
        (terms.subject, terms.account, attempts.failed(), locked_until.map(At), At(since.unwrap_or(now)), At(now)),
    )?;
    // For accounts as well: how long it takes must not tell who has one.
    if is_drawn(terms.subject) {
        forget_oldest_nobodies(db)?;
    }
    Ok(())
}

/// Whether a row that comes is one of the few, picked by a key that nobody can choose, at which is counted how many there are.
/// Counting takes time that grows with the count, and so few more than the bound are never seen by anybody.
pub(super) fn is_drawn(key: Mac) -> bool {
    let [first, ..] = key.0;
    first < 8
}

/// Drops what is more than is remembered, the oldest first.
fn forget_oldest_nobodies(db: &Db<'_>) -> sql::Result<()> {
    let count: i64 = db.one("SELECT count(*) FROM attempt WHERE account_id IS NULL", (), |row| row.get(0))?;
    if count > NOBODIES {
        db.execute(
            "DELETE FROM attempt WHERE subject_mac IN
                 (SELECT subject_mac FROM attempt WHERE account_id IS NULL ORDER BY touched LIMIT ?1)",
            [count - NOBODIES],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;
    use crate::rules::lockout::LockRule;
    use crate::rules::window::{Passage, Window, WindowRule};
    use crate::tokens::account::AccountId;
    use crate::tokens::store::steps::schema;
    use crate::tokens::store::{Charge, Counts, Operation};
    use crate::tokens::tests::world::Directory;

    const START: Timestamp = Timestamp::from_secs(1_773_135_165);

    fn terms(key: [u8; 32], account: Option<AccountId>) -> LockTerms {
        LockTerms { subject: Mac(key), account, rule: LockRule::new(5, Duration::from_mins(30)) }
    }

    /// Whatever an attempt of somebody with this name is asked for with.
    fn asked(terms: LockTerms, id: u32, now: Timestamp) -> BeginStep {
        let mut name = [0; 16];
        name[..4].copy_from_slice(&id.to_be_bytes());
        BeginStep { stake: Stake::Reserves(terms, AttemptId(name)), charges: Box::default(), now }
    }

    fn settled(terms: LockTerms, id: u32, ending: Ending, now: Timestamp) -> SettleStep {
        let mut name = [0; 16];
        name[..4].copy_from_slice(&id.to_be_bytes());
        SettleStep { id: AttemptId(name), terms, ending, if_failed: Box::default(), now }
    }

    /// Its key is one of those at which is counted.
    fn charge(rule: WindowRule) -> Charge {
        Charge {
            caller: Mac([2; 32]),
            operation: Operation::Refresh,
            rule,
            counts: Counts::AtOnce,
            account: None,
            subject: None,
            source: None,
        }
    }

    fn fresh() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        schema::migrate(&Db::Sqlite(&db), "memory", START).unwrap();
        db
    }

    fn count(db: &Connection, table: &str) -> i64 {
        db.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_flood_of_nobodies_takes_bounded_room_pushes_out_the_oldest_and_unlocks_no_account() {
        let db = fresh();
        db.execute_batch(
            "INSERT INTO account (id, kind, status, email, email_key, created, modified)
             VALUES (7, 'person', 'active', 'a@b.c', 'a@b.c', 0, 0)",
        )
        .unwrap();
        let ann = terms([200; 32], Some(AccountId(7)));
        for id in 0..5 {
            assert_eq!(begin(&Db::Sqlite(&db), &asked(ann, id, START)).unwrap(), Begun::Admitted);
            settle(&Db::Sqlite(&db), &settled(ann, id, Ending::Failed, START)).unwrap();
        }
        db.execute(
            "WITH RECURSIVE flood (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM flood WHERE n < ?1)
             INSERT INTO attempt (subject_mac, failed, since, touched) SELECT randomblob(32), 1, ?2 - n, ?2 - n FROM flood",
            (NOBODIES + 100, START.as_millis()),
        )
        .unwrap();
        // Its key is one of those at which is counted.
        let last = terms([1; 32], None);
        settle(&Db::Sqlite(&db), &settled(last, 9, Ending::Failed, START)).unwrap();
        assert_eq!(count(&db, "attempt"), NOBODIES + 1);
        let oldest: i64 = db.query_row("SELECT min(touched) FROM attempt", (), |row| row.get(0)).unwrap();
        assert_eq!(oldest, START.as_millis() - (NOBODIES - 1), "the oldest went, and the one that came stays");
        assert_eq!(begin(&Db::Sqlite(&db), &asked(ann, 10, START)).unwrap(), Begun::Locked(Duration::from_mins(30)));
    }

    #[test]
    fn a_flood_of_windows_takes_bounded_room_and_those_that_are_blank_go_first() {
        let db = fresh();
        db.execute(
            "WITH RECURSIVE flood (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM flood WHERE n < ?1)
             INSERT INTO attempt_window (caller_mac, operation, recent, keep_until)
             SELECT randomblob(32), 'refresh', x'', ?2 - 50 + n FROM flood",
            (windows::NOBODIES + 100, START.as_millis()),
        )
        .unwrap();
        let rule = WindowRule::new(5, Duration::from_mins(1), Duration::from_mins(10));
        let step = BeginStep { stake: Stake::Nothing, charges: Box::new([charge(rule)]), now: START };
        assert_eq!(begin(&Db::Sqlite(&db), &step).unwrap(), Begun::Admitted);
        assert_eq!(count(&db, "attempt_window"), windows::NOBODIES);
        let blank = "SELECT count(*) FROM attempt_window WHERE keep_until <= ?1";
        assert_eq!(db.query_row(blank, [START.as_millis()], |row| row.get::<_, i64>(0)), Ok(0));
    }

    #[test]
    fn a_success_that_comes_during_a_lock_leaves_it_to_be_listed_as_it_is() {
        let connection = fresh();
        let (db, ann) = (Db::Sqlite(&connection), terms([7; 32], None));
        assert_eq!(begin(&db, &asked(ann, 1, START)).unwrap(), Begun::Admitted);
        for _ in 0..5 {
            count_failure(&db, &ann, START).unwrap();
        }
        let late = START.after(Duration::from_mins(1));
        settle(&db, &settled(ann, 1, Ending::Succeeded, late)).unwrap();
        let listed: Vec<_> = locks::page(&db, None, 10, late).unwrap().iter().map(|lock| (lock.failures, lock.until)).collect();
        assert_eq!(listed, [(5, START.after(Duration::from_mins(30)))]);
        let left = Duration::from_mins(29);
        assert_eq!(begin(&db, &asked(ann, 2, late)).unwrap(), Begun::Locked(left));
    }

    #[test]
    fn a_database_of_the_version_before_keeps_its_locks_and_failures() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL) STRICT")
            .unwrap();
        let before = [
            include_str!("../migrations/0001_accounts_sessions_grants.sql"),
            include_str!("../migrations/0002_session_api.sql"),
            include_str!("../migrations/0003_signing_keys_and_email_factors.sql"),
            include_str!("../migrations/0004_former_passwords.sql"),
        ];
        for (version, script) in (1_i64..).zip(before) {
            connection.execute_batch(script).unwrap();
            connection.execute("INSERT INTO schema_version VALUES (?1, 0)", [version]).unwrap();
        }
        let end = START.after(Duration::from_secs(7));
        let db = Db::Sqlite(&connection);
        for (key, failed, end) in [([3; 32], 5_i64, Some(At(end))), ([4; 32], 4, None)] {
            let row = "INSERT INTO attempt (subject_mac, failed, locked_until, revision, touched) VALUES (?1, ?2, ?3, 9, ?4)";
            db.execute(row, (Mac(key), failed, end, At(START))).unwrap();
        }
        schema::migrate(&db, "memory", START).unwrap();
        let three = asked(terms([3; 32], None), 1, START);
        assert_eq!(look(&db, &three).unwrap(), Some(Begun::Locked(Duration::from_secs(7))));
        let four = terms([4; 32], None);
        assert_eq!(begin(&db, &asked(four, 2, START)).unwrap(), Begun::Admitted);
        assert_eq!(look(&db, &asked(four, 3, START)).unwrap(), Some(Begun::Busy), "the fifth is in flight");
        let locks = locks::page(&db, None, 10, START).unwrap();
        assert_eq!(locks.iter().map(|lock| (lock.failures, lock.since, lock.until)).collect::<Vec<_>>(), [(5, START, end)]);
    }

    /// What may happen to the attempts of one account.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Begin,
        /// The oldest attempt in flight that anybody remembers ends.
        Settle(Ending),
        /// The process dies and another starts: nobody remembers what was in flight.
        Restart,
        Wait(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            6 => Just(Event::Begin),
            6 => prop::sample::select(vec![Ending::Failed, Ending::Failed, Ending::Abandoned, Ending::Succeeded])
                .prop_map(Event::Settle),
            1 => Just(Event::Restart),
            2 => (0_u64..400_000).prop_map(Event::Wait),
        ];
        prop::collection::vec(event, 1..80)
    }

    /// The plainest reading of the rule.
    #[derive(Default)]
    struct Model {
        failed: u64,
        locked_until: Option<u64>,
        leases: BTreeMap<u32, u64>,
    }

    impl Model {
        fn at(&mut self, now: u64) {
            self.leases.retain(|_, until| *until > now);
            if self.locked_until.is_some_and(|until| until <= now) {
                (self.failed, self.locked_until) = (0, None);
            }
        }

        fn begin(&mut self, id: u32, now: u64) -> Begun {
            self.at(now);
            if let Some(until) = self.locked_until {
                return Begun::Locked(Duration::from_millis(until - now));
            }
            if self.failed + self.leases.len() as u64 >= 5 {
                return Begun::Busy;
            }
            self.leases.insert(id, now + 300_000);
            Begun::Admitted
        }

        fn settle(&mut self, id: u32, ending: Ending, now: u64) {
            self.at(now);
            self.leases.remove(&id);
            match ending {
                Ending::Failed => self.failed += 1,
                Ending::Succeeded => self.failed = 0,
                Ending::Abandoned => {}
            }
            if self.failed >= 5 && self.locked_until.is_none() {
                self.locked_until = Some(now + 1_800_000);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_window_in_its_row_decides_like_one_in_memory(
            attempts in 1_u32..6, pauses in prop::bool::ANY, waits in prop::collection::vec(0_u64..30_000, 1..80),
        ) {
            let (within, block) = (Duration::from_mins(1), Duration::from_mins(2));
            let rule = if pauses { WindowRule::new(attempts, within, block) } else { WindowRule::sliding(attempts, within) };
            let (db, mut window, mut now) = (fresh(), Window::default(), START);
            for wait in waits {
                now = now.after(Duration::from_millis(wait));
                let step = BeginStep { stake: Stake::Nothing, charges: Box::new([charge(rule)]), now };
                let said = match look(&Db::Sqlite(&db), &step).unwrap() {
                    Some(said) => said,
                    None => begin(&Db::Sqlite(&db), &step).unwrap(),
                };
                let expected = match window.attempt(&rule, tick(now)) {
                    Passage::Admitted => Begun::Admitted,
                    Passage::Blocked(wait) | Passage::StillBlocked(wait) => Begun::Held(Operation::Refresh, wait),
                };
                prop_assert_eq!(said, expected);
            }
        }

        #[test]
        fn no_interleaving_of_attempts_restarts_and_time_differs_from_the_plain_reading_of_the_rule(events in events()) {
            let directory = Directory::new();
            let open = || {
                let db = Connection::open(directory.database()).unwrap();
                db.pragma_update(None, "synchronous", "off").unwrap();
                schema::migrate(&Db::Sqlite(&db), "file", START).unwrap();
                db
            };
            let (mut db, mut model, mut now, mut next) = (open(), Model::default(), 0_u64, 0_u32);
            let mut remembered = std::collections::VecDeque::new();
            let ann = terms([9; 32], None);
            for event in events {
                let wall = START.after(Duration::from_millis(now));
                match event {
                    Event::Wait(millis) => now += millis,
                    Event::Restart => {
                        drop(std::mem::replace(&mut db, open()));
                        remembered.clear();
                    }
                    Event::Begin => {
                        next += 1;
                        let step = asked(ann, next, wall);
                        let said = match look(&Db::Sqlite(&db), &step).unwrap() {
                            Some(said) => said,
                            None => begin(&Db::Sqlite(&db), &step).unwrap(),
                        };
                        prop_assert_eq!(said, model.begin(next, now));
                        if said == Begun::Admitted {
                            remembered.push_back(next);
                        }
                    }
                    Event::Settle(ending) => if let Some(id) = remembered.pop_front() {
                        settle(&Db::Sqlite(&db), &settled(ann, id, ending, wall)).unwrap();
                        model.settle(id, ending, now);
                    }
                }
            }
        }
    }
}
