mod login_guards;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::model::{PrincipalFacts, Tick};
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::revocations::{Cause, Revocations, Unwitnessed};

const STAFF: IssuerId = IssuerId(0);
const ASKED: IssuerId = IssuerId(1);
const KEY: GuardKey = GuardKey([1; 32]);
const HOUR: Duration = Duration::from_hours(1);

/// A folder that is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("portcullis-journal-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn terms() -> Terms {
    Terms { issuers: HashMap::from([(STAFF, "staff".into())]), retention: HOUR, capacity: Cuts::CAPACITY, fresh_key: KEY }
}

/// A process that has just begun: its monotonic clock is at nothing.
fn began(wall: i64) -> Now {
    Now { wall: Timestamp::from_secs(wall), tick: Tick::from_millis(0) }
}

fn open(path: &Path, now: Now) -> (Journal, Cuts) {
    let cuts = Cuts::new(HOUR);
    (Journal::open(path, terms(), &cuts, now).unwrap().0, cuts)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn keep(journal: &Journal, reach: Reach, secs: i64) {
    journal.keep(Revocation { issuer: STAFF, reach, at: Timestamp::from_secs(secs) }).await.unwrap();
}

fn facts(issued: i64) -> PrincipalFacts {
    let text = |text: &str| Some(text.into());
    PrincipalFacts {
        subject: text("ann"),
        client: text("shop"),
        session: text("s1"),
        issued_at: Some(Timestamp::from_secs(issued)),
        ..PrincipalFacts::of_issuer(STAFF)
    }
}

const TOKEN: Fingerprint = Fingerprint([7; 32]);

fn every_reach() -> [Reach; 4] {
    [Reach::Token(TOKEN), Reach::Session("s1".into()), Reach::Subject("ann".into()), Reach::Client("shop".into())]
}

#[tokio::test]
async fn a_cut_that_was_kept_denies_after_a_restart_whatever_it_reaches() {
    for reach in every_reach() {
        let folder = Folder::new();
        let (journal, _) = open(&folder.file(), began(1000));
        keep(&journal, reach.clone(), 1000).await;
        drop(journal);
        let (_journal, cuts) = open(&folder.file(), began(1010));
        assert!(cuts.denies(&facts(1000), TOKEN), "{reach:?}");
        let lasting = matches!(reach, Reach::Token(_) | Reach::Session(_));
        assert_eq!(cuts.denies(&facts(1001), TOKEN), lasting, "{reach:?}");
    }
}

#[tokio::test]
async fn a_cut_is_on_the_disk_when_keep_returns() {
    let (folder, after) = (Folder::new(), Folder::new());
    let (journal, _) = open(&folder.file(), began(1000));
    keep(&journal, Reach::Session("s1".into()), 1000).await;
    // What a process that is killed here leaves: the files as they are, with nobody to close them.
    copy(&folder, &after);
    let (_journal, cuts) = open(&after.file(), began(1001));
    assert!(cuts.denies(&facts(1000), TOKEN));
}

fn copy(from: &Folder, to: &Folder) {
    for entry in fs::read_dir(&from.0).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_str().unwrap().ends_with("-shm") {
            fs::copy(entry.path(), to.0.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_torn_log_loses_no_cut_that_was_whole_in_it() {
    let folder = Folder::new();
    let (journal, _) = open(&folder.file(), began(1000));
    let log = folder.0.join("state.db-wal");
    let mut whole = Vec::new();
    for number in 0..8 {
        keep(&journal, Reach::Session(format!("s{number}").into()), 1000).await;
        whole.push(fs::metadata(&log).unwrap().len());
    }
    let (start, end) = (*whole.first().unwrap(), *whole.last().unwrap());
    for length in (start..=end).step_by(509).chain([end]) {
        let torn = Folder::new();
        copy(&folder, &torn);
        fs::OpenOptions::new().write(true).open(torn.0.join("state.db-wal")).unwrap().set_len(length).unwrap();
        let (_journal, cuts) = open(&torn.file(), began(1001));
        assert!(cuts.len() >= whole.iter().filter(|written| **written <= length).count(), "of {length} bytes");
    }
}

#[tokio::test]
async fn only_self_contained_issuers_need_a_memory() {
    let folder = Folder::new();
    let (journal, _) = open(&folder.file(), began(1000));
    let asked = Revocation { issuer: ASKED, reach: Reach::Token(TOKEN), at: Timestamp::from_secs(1000) };
    assert_eq!(journal.keep(asked).await, Ok(()));
    drop(journal);
    assert!(open(&folder.file(), began(1001)).1.is_empty());
}

#[tokio::test]
async fn a_cut_follows_the_name_of_its_issuer_and_waits_while_that_is_not_configured() {
    let folder = Folder::new();
    let (journal, _) = open(&folder.file(), began(1000));
    keep(&journal, Reach::Token(TOKEN), 1000).await;
    drop(journal);
    let open_as = |issuers: &[(IssuerId, &str)]| {
        let cuts = Cuts::new(HOUR);
        let issuers = issuers.iter().map(|(id, name)| (*id, Arc::from(*name))).collect();
        Journal::open(&folder.file(), Terms { issuers, ..terms() }, &cuts, began(1001)).unwrap();
        cuts
    };
    assert!(open_as(&[(STAFF, "partners")]).is_empty());
    let moved = open_as(&[(STAFF, "partners"), (IssuerId(7), "staff")]);
    assert!(moved.denies(&PrincipalFacts { issuer: IssuerId(7), ..facts(900) }, TOKEN));
    assert!(!moved.denies(&facts(900), TOKEN));
}

#[tokio::test]
async fn what_is_older_than_the_retention_is_neither_restored_nor_kept() {
    let folder = Folder::new();
    let (journal, _) = open(&folder.file(), began(1000));
    let journal = Arc::new(journal);
    for hundred in 0..12 {
        let mut keeping = tokio::task::JoinSet::new();
        for number in 0..100 {
            let journal = Arc::clone(&journal);
            keeping.spawn(async move { keep_many(&journal, hundred * 100 + number).await });
        }
        keeping.join_all().await;
    }
    keep(&journal, Reach::Session("young".into()), 2000).await;
    drop(journal);
    let (journal, cuts) = open(&folder.file(), began(1000 + 3600));
    assert_eq!(cuts.len(), 1);
    assert_eq!(journal.forget_old(began(1000 + 3599)).await, Ok(0));
    assert_eq!(journal.forget_old(began(1000 + 3600)).await, Ok(1200), "in batches");
    drop(journal);
    assert_eq!(open(&folder.file(), began(1000)).1.len(), 1);
}

async fn keep_many(journal: &Journal, number: u32) {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    keep(journal, Reach::Token(Fingerprint(bytes)), 1000).await;
}

#[tokio::test]
async fn a_wall_clock_that_jumps_ahead_deletes_nothing() {
    let folder = Folder::new();
    let (journal, _) = open(&folder.file(), began(1000));
    keep(&journal, Reach::Token(TOKEN), 1000).await;
    let jumped = Now { wall: Timestamp::from_secs(900_000), tick: Tick::from_millis(60_000) };
    assert_eq!(journal.forget_old(jumped).await, Ok(0));
    let passed = Now { wall: Timestamp::from_secs(900_000), tick: Tick::from_millis(3_600_000) };
    assert_eq!(journal.forget_old(passed).await, Ok(1));
}

#[tokio::test]
async fn a_second_cut_by_a_clock_that_was_set_back_does_not_soften_the_first() {
    let folder = Folder::new();
    let (journal, _) = open(&folder.file(), began(1000));
    keep(&journal, Reach::Subject("ann".into()), 1000).await;
    keep(&journal, Reach::Subject("ann".into()), 500).await;
    drop(journal);
    assert!(open(&folder.file(), began(600)).1.denies(&facts(1000), TOKEN));
}

#[tokio::test]
async fn cuts_beyond_the_capacity_are_folded_into_one_that_reaches_everything_until_then() {
    let folder = Folder::new();
    let few = Terms { capacity: 3, ..terms() };
    let (journal, _) = Journal::open(&folder.file(), few, &Cuts::new(HOUR), began(1000)).unwrap();
    for (name, secs) in [("a", 1000), ("b", 1001), ("b", 1002), ("c", 900), ("d", 950)] {
        keep(&journal, Reach::Session(name.into()), secs).await;
    }
    drop(journal);
    let (_journal, cuts) = open(&folder.file(), began(1010));
    assert_eq!(cuts.len(), 2, "everything, and the one after it");
    assert!(cuts.denies(&facts(1002), TOKEN), "as late as the latest of them");
    assert!(!cuts.denies(&facts(1003), TOKEN));
}

#[test]
fn the_file_is_its_owners_alone() {
    let folder = Folder::new();
    let _open = open(&folder.file(), began(1000));
    for entry in fs::read_dir(&folder.0).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

fn refused(path: &Path) -> JournalFault {
    let fault = Journal::open(path, terms(), &Cuts::new(HOUR), began(1000)).unwrap_err();
    assert!(fault.to_string().contains(path.to_str().unwrap()), "{fault}");
    fault
}

#[tokio::test]
async fn a_file_that_cannot_be_believed_is_refused_by_name() {
    let folder = Folder::new();
    fs::write(folder.file(), "this was never a database, however long it is".repeat(100)).unwrap();
    assert!(matches!(refused(&folder.file()), JournalFault::Database { .. }));

    let folder = Folder::new();
    Connection::open(folder.file()).unwrap().execute_batch("CREATE TABLE account (id INTEGER)").unwrap();
    assert!(matches!(refused(&folder.file()), JournalFault::Foreign { .. }));

    let folder = Folder::new();
    drop(open(&folder.file(), began(1000)));
    Connection::open(folder.file()).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(refused(&folder.file()), JournalFault::TooNew { found: 99, .. }));

    let folder = Folder::new();
    let (journal, _) = open(&folder.file(), began(1000));
    keep(&journal, Reach::Token(TOKEN), 1000).await;
    drop(journal);
    Connection::open(folder.file()).unwrap().execute_batch("UPDATE cut SET value = x'00'").unwrap();
    assert!(matches!(refused(&folder.file()), JournalFault::Damaged { .. }));

    let missing = folder.0.join("no such folder").join("state.db");
    assert!(matches!(refused(&missing), JournalFault::File { .. }));
}

#[tokio::test]
async fn a_file_of_which_a_part_is_missing_or_overwritten_is_refused() {
    let folder = Folder::new();
    let (journal, _) = open(&folder.file(), began(1000));
    for number in 0..300 {
        keep_many(&journal, number).await;
    }
    drop(journal);
    let whole = fs::read(folder.file()).unwrap();
    assert!(whole.len() > 4 * 4096, "{} bytes", whole.len());
    for page in 1..whole.len() / 4096 {
        fs::write(folder.file(), &whole[..page * 4096]).unwrap();
        assert!(
            matches!(refused(&folder.file()), JournalFault::Damaged { .. } | JournalFault::Database { .. }),
            "{page} pages"
        );
        let mut overwritten = whole.clone();
        overwritten[page * 4096..(page + 1) * 4096].fill(0xa5);
        fs::write(folder.file(), overwritten).unwrap();
        assert!(matches!(refused(&folder.file()), JournalFault::Damaged { .. } | JournalFault::Database { .. }), "page {page}");
    }
    fs::write(folder.file(), &whole).unwrap();
    assert_eq!(open(&folder.file(), began(1001)).1.len(), 300);
}

#[tokio::test]
async fn a_cut_that_cannot_be_written_down_holds_all_the_same_and_is_said_not_to_be_kept() {
    let folder = Folder::new();
    let (journal, cuts) = open(&folder.file(), began(1000));
    Connection::open(folder.file()).unwrap().execute_batch("DROP TABLE cut").unwrap();
    let cuts = Arc::new(cuts);
    let revocations = Revocations::new(Arc::clone(&cuts), Some(Arc::new(journal)), Arc::new(Unwitnessed));
    let published = revocations.publish(STAFF, Reach::Session("s1".into()), Cause::Passage, began(1000)).await;
    assert_eq!(published, Err(NotKept.into()));
    assert!(cuts.denies(&facts(1000), TOKEN));
}

/// What may happen to a gateway.
#[derive(Clone, Debug)]
enum Event {
    Publish(usize),
    Pass(u32),
    SetBack(u32),
    CleanUp,
    Restart(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..8_usize).prop_map(Event::Publish),
        2 => (1..4000_u32).prop_map(Event::Pass),
        1 => (1..4000_u32).prop_map(Event::SetBack),
        1 => Just(Event::CleanUp),
        2 => (0..2000_u32).prop_map(Event::Restart),
    ]
}

struct Process {
    now: Now,
    cuts: Arc<Cuts>,
    journal: Arc<Journal>,
}

impl Process {
    fn start(path: &Path, now: Now) -> Self {
        let (journal, cuts) = open(path, now);
        Self { now, cuts: Arc::new(cuts), journal: Arc::new(journal) }
    }

    fn pass(&mut self, secs: u32) {
        let by = Duration::from_secs(u64::from(secs));
        self.now = Now { wall: self.now.wall.after(by), tick: self.now.tick.after(by) };
    }

    /// Every question that the tests' names allow, and its answer.
    fn answers(&self) -> Vec<bool> {
        let mut answers = Vec::new();
        for (token, names) in [(TOKEN, ["ann", "shop", "s1"]), (Fingerprint([8; 32]), ["bob", "web", "s2"])] {
            for only in 0..4 {
                for issued in (0..60_000).step_by(500).map(Some).chain([None]) {
                    let name = |index: usize| (only == index).then(|| names[index].into());
                    let facts = PrincipalFacts {
                        subject: name(0),
                        client: name(1),
                        session: name(2),
                        issued_at: issued.map(Timestamp::from_secs),
                        ..PrincipalFacts::of_issuer(STAFF)
                    };
                    let fingerprint = if only == 3 { token } else { Fingerprint([9; 32]) };
                    answers.push(self.cuts.denies(&facts, fingerprint));
                }
            }
        }
        answers
    }
}

fn reach_of(number: usize) -> Reach {
    match number {
        0 => Reach::Token(TOKEN),
        1 => Reach::Session("s1".into()),
        2 => Reach::Subject("ann".into()),
        3 => Reach::Client("shop".into()),
        4 => Reach::Token(Fingerprint([8; 32])),
        5 => Reach::Session("s2".into()),
        6 => Reach::Subject("bob".into()),
        _ => Reach::Client("web".into()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is published, however time passes and the wall clock is set back: a restart lets nobody in who was out.
    #[test]
    fn a_restart_never_makes_a_cut_milder(events in proptest::collection::vec(event(), 1..24)) {
        let (folder, runtime) = (Folder::new(), runtime());
        let mut process = Process::start(&folder.file(), began(20_000));
        for event in events {
            match event {
                Event::Publish(number) => {
                    let journal: Arc<dyn Ledger> = Arc::<Journal>::clone(&process.journal);
                    let revocations = Revocations::new(Arc::clone(&process.cuts), Some(journal), Arc::new(Unwitnessed));
                    let published = revocations.publish(STAFF, reach_of(number), Cause::Passage, process.now);
                    prop_assert_eq!(runtime.block_on(published), Ok(()));
                }
                Event::Pass(secs) => process.pass(secs),
                Event::SetBack(secs) => process.now.wall = process.now.wall.before(Duration::from_secs(secs.into())),
                Event::CleanUp => {
                    process.cuts.forget_old(process.now.tick);
                    prop_assert!(runtime.block_on(process.journal.forget_old(process.now)).is_ok());
                }
                Event::Restart(down) => {
                    process.pass(down);
                    process.cuts.forget_old(process.now.tick);
                    let (before, wall) = (process.answers(), process.now.wall);
                    drop(process);
                    process = Process::start(&folder.file(), Now { wall, tick: Tick::from_millis(0) });
                    let after = process.answers();
                    prop_assert!(before.iter().zip(&after).all(|(before, after)| *after || !*before));
                }
            }
        }
    }
}
