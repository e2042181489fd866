//! Writers, readers and listeners against a real server.

mod deaf;
mod fail_over;
pub(crate) mod fixture;
mod waiting;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::{Clock, Now, Tick};
use crate::store::cuts::Hearing;
use crate::store::sql::postgres::{Ear, Encryption, Listener, Server, Terms, open_server};
use crate::store::sql::{Db, OpenFault, Readers, Result, Writer};
use crate::store::sqlite::StoreFault;

fn terms() -> Option<Arc<Terms>> {
    fixture::database().map(|database| of(&database))
}

fn of(database: &crate::plan::Postgres) -> Arc<Terms> {
    by(database, Arc::new(Still))
}

fn by(database: &crate::plan::Postgres, clock: Arc<dyn Clock>) -> Arc<Terms> {
    let server = Server {
        host: &database.host,
        port: database.port,
        database: &database.database,
        user: &database.user,
        password: None,
        schema: &database.schema,
        encryption: Encryption::None,
        readers: database.readers,
        connect_timeout: database.connect_timeout,
        statement_timeout: database.statement_timeout,
        silence: database.max_silence,
    };
    Arc::new(Terms::new(&server, clock).unwrap())
}

fn tables(db: &Db<'_>) {
    db.script("CREATE TABLE IF NOT EXISTS t (x INTEGER UNIQUE) STRICT; CREATE TABLE IF NOT EXISTS n (n INTEGER) STRICT")
        .unwrap();
}

fn open(terms: &Arc<Terms>) -> (Readers, Writer) {
    let prepare = |db: &Db<'_>| {
        tables(db);
        Ok(())
    };
    open_server::<OpenFault>(terms, "test", prepare).unwrap()
}

fn insert(x: i64) -> impl FnOnce(&Db<'_>) -> Result<()> {
    move |db| db.execute("INSERT INTO t VALUES (?1)", [x]).map(|_| ())
}

async fn contents(readers: &Readers) -> Vec<i64> {
    readers.read(|db| db.rows("SELECT x FROM t ORDER BY x", (), |row| row.get(0))).await.unwrap()
}

/// The number of the server's process for a session.
fn backend(db: &Db<'_>) -> Result<i64> {
    db.one("SELECT pg_backend_pid()", (), |row| row.get(0))
}

/// Waits for something that comes to be.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_leaves_nothing_and_harms_none_that_is_committed_with_it() {
    let Some(terms) = terms() else { return };
    let (readers, writer) = open(&terms);
    // Held here, the lock keeps the group together.
    let other = open(&terms).1;
    let (free, wait) = std::sync::mpsc::channel::<()>();
    let (started, start) = tokio::sync::oneshot::channel();
    let holding = tokio::spawn(async move {
        let hold = move |_: &Db<'_>| {
            let _ = started.send(());
            assert!(wait.recv().is_err());
            Ok(())
        };
        other.step(hold).await
    });
    start.await.unwrap();
    let fails = |db: &Db<'_>| {
        db.execute("INSERT INTO t VALUES (2)", ())?;
        db.execute("INSERT INTO t VALUES (1)", ()).map(|_| ())
    };
    let (first, second, third, last) = tokio::join!(biased; writer.step(insert(1)), writer.step(fails), writer.step(insert(3)), async {
        drop(free);
        holding.await.unwrap()
    });
    assert_eq!((first, second, third, last), (Ok(()), Err(StoreFault::Failed), Ok(()), Ok(())));
    assert_eq!(contents(&readers).await, [1, 3]);
}

#[tokio::test]
async fn a_step_that_goes_on_after_a_statement_failed_is_not_kept() {
    let Some(terms) = terms() else { return };
    let (readers, writer) = open(&terms);
    let careless = |db: &Db<'_>| {
        db.execute("INSERT INTO t VALUES (1)", ())?;
        assert!(db.execute("INSERT INTO nowhere VALUES (1)", ()).is_err());
        Ok(())
    };
    assert_eq!(writer.step(careless).await, Err(StoreFault::Failed));
    assert_eq!(contents(&readers).await, [0_i64; 0]);
    assert_eq!(writer.step(insert(2)).await, Ok(()));
    assert_eq!(contents(&readers).await, [2]);
}

#[tokio::test]
async fn readers_cannot_write() {
    let Some(terms) = terms() else { return };
    let (readers, _writer) = open(&terms);
    assert_eq!(readers.read(insert(1)).await, Err(StoreFault::Failed));
    assert_eq!(contents(&readers).await, [0_i64; 0]);
}

/// Reads, thinks, and writes: a step that is only right if nobody writes in between.
fn count_one(db: &Db<'_>) -> Result<()> {
    let n: i64 = db.one("SELECT coalesce(max(n), 0) FROM n", (), |row| row.get(0))?;
    std::thread::sleep(Duration::from_micros(200));
    db.execute("INSERT INTO n VALUES (?1)", [n + 1]).map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_steps_of_two_gateways_come_one_after_another() {
    let Some(terms) = terms() else { return };
    let (one, two) = (Arc::new(open(&terms)), Arc::new(open(&terms)));
    let mut counting = Vec::new();
    for gateway in [&one, &two] {
        for _ in 0..8 {
            let gateway = Arc::clone(gateway);
            counting.push(tokio::spawn(async move {
                for _ in 0..10 {
                    gateway.1.step(count_one).await.unwrap();
                }
            }));
        }
    }
    for counted in counting {
        counted.await.unwrap();
    }
    let query = |db: &Db<'_>| db.one("SELECT count(DISTINCT n), count(*) FROM n", (), |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(one.0.read(query).await, Ok((160_i64, 160_i64)));
}

#[tokio::test]
async fn a_session_that_the_server_ends_is_opened_anew() {
    let Some(terms) = terms() else { return };
    let (readers, writer) = open(&terms);
    let suicide = |db: &Db<'_>| {
        db.execute("INSERT INTO t VALUES (1)", ())?;
        db.execute("SELECT pg_terminate_backend(pg_backend_pid())", ()).map(|_| ())
    };
    assert_eq!(writer.step(suicide).await, Err(StoreFault::Failed));
    until(async || writer.step(insert(2)).await.is_ok()).await;
    assert_eq!(contents(&readers).await, [2]);
    // One that is idle is noticed before it is needed again.
    let before = writer.step(backend).await.unwrap();
    let end = move |db: &Db<'_>| db.execute("SELECT pg_terminate_backend(?1)", [before]).map(|_| ());
    let _ = readers.read(end).await;
    until(async || writer.step(backend).await.is_ok_and(|now| now != before)).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_so_and_waited_for_no_longer_than_told() {
    let Some(database) = fixture::database() else { return };
    let nowhere = of(&crate::plan::Postgres { host: "/nowhere".into(), ..database });
    let fault = open_server::<OpenFault>(&nowhere, "test", |_| Ok(())).unwrap_err();
    assert!(matches!(fault, OpenFault::Database { .. }), "{fault}");
    assert!(fault.to_string().contains("/nowhere"), "{fault}");
}

/// A clock that stands still.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now::default()
    }
}

/// A clock that is set by hand.
#[derive(Debug, Default)]
struct ByHand(AtomicU64);

impl ByHand {
    fn forward(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ByHand {
    fn now(&self) -> Now {
        Now { tick: Tick::from_millis(self.0.load(Ordering::SeqCst)), ..Now::default() }
    }
}

/// Remembers what it is told.
#[derive(Clone, Debug, Default)]
struct Heard {
    looks: Arc<Mutex<Vec<(bool, i64)>>>,
    /// The number of the server's process for its session.
    backend: Arc<AtomicI64>,
    hearing: Arc<Hearing>,
}

impl Ear for Heard {
    fn look(&mut self, db: &Db<'_>, anew: bool) -> Result<()> {
        let rows: i64 = db.one("SELECT count(*) FROM t", (), |row| row.get(0))?;
        self.backend.store(backend(db)?, Ordering::SeqCst);
        self.looks.lock().unwrap().push((anew, rows));
        Ok(())
    }

    fn heard(&mut self, until: Tick) {
        self.hearing.heard(until);
    }
}

impl Heard {
    fn last(&self) -> (bool, i64) {
        *self.looks.lock().unwrap().last().unwrap()
    }

    /// How often it looked over a new session.
    fn sessions(&self) -> usize {
        self.looks.lock().unwrap().iter().filter(|(anew, _)| *anew).count()
    }

    fn backend(&self) -> i64 {
        self.backend.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn who_listens_is_woken_by_a_commit_and_looks_anew_over_a_new_session() {
    let Some(terms) = terms() else { return };
    let (readers, writer) = open(&terms);
    let heard = Heard::default();
    let _listener = Listener::start(&terms, "test-listener", heard.clone()).unwrap();
    assert_eq!(heard.last(), (true, 0));
    let tell = |db: &Db<'_>| {
        insert(1)(db)?;
        db.execute("SELECT pg_notify('portcullis_' || current_schema(), '')", ()).map(|_| ())
    };
    writer.step(tell).await.unwrap();
    until(async || heard.last() == (false, 1)).await;
    let listening = heard.backend();
    let end = move |db: &Db<'_>| db.execute("SELECT pg_terminate_backend(?1)", [listening]).map(|_| ());
    readers.read(end).await.unwrap();
    writer.step(insert(2)).await.ok();
    until(async || heard.sessions() == 2).await;
}

/// How many steps a second one gateway and two get through, with a server that waits for its disk:
/// `PORTCULLIS_FSYNC=1 cargo test --release --lib steps_a_second -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement")]
async fn steps_a_second() {
    use std::time::Instant;

    let Some(database) = fixture::database() else { return };
    let terms = of(&database);
    let gateways: Vec<_> = (0..2).map(|_| Arc::new(open(&terms))).collect();
    for (count, at_once) in [(1, 1), (1, 16), (1, 64), (2, 1), (2, 16), (2, 64)] {
        let began = Instant::now();
        let mut asking = Vec::new();
        for gateway in gateways.iter().take(count) {
            for _ in 0..at_once {
                let gateway = Arc::clone(gateway);
                asking.push(tokio::spawn(async move {
                    let mut slowest = Duration::ZERO;
                    let mut done = 0_u32;
                    while began.elapsed() < Duration::from_secs(3) {
                        let asked = Instant::now();
                        gateway
                            .1
                            .step(|db| {
                                insert_next(db)?;
                                insert_next(db)?;
                                count_next(db)
                            })
                            .await
                            .unwrap();
                        slowest = slowest.max(asked.elapsed());
                        done += 1;
                    }
                    (done, slowest)
                }));
            }
        }
        let (mut done, mut slowest) = (0, Duration::ZERO);
        for asked in asking {
            let (some, slow) = asked.await.unwrap();
            (done, slowest) = (done + some, slowest.max(slow));
        }
        let rate = f64::from(done) / began.elapsed().as_secs_f64();
        println!("{count} gateway(s), {at_once} at once each: {rate:.0} steps a second, the slowest {slowest:?}");
    }
}

fn insert_next(db: &Db<'_>) -> Result<()> {
    db.execute("INSERT INTO t SELECT coalesce(max(x), 0) + 1 FROM t", ()).map(|_| ())
}

fn count_next(db: &Db<'_>) -> Result<()> {
    db.exists("SELECT EXISTS (SELECT 1 FROM n)", ()).map(|_| ())
}
