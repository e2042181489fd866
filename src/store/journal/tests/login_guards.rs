//! What login guards leave in the file for the next process.

use super::*;
use crate::model::{Source, SourceKey};
use crate::store::login_guard::{Counted, CounterName};

const GUARD: &str = "login";

fn source(last: u8) -> SourceKey {
    Source::new(std::net::Ipv4Addr::new(192, 0, 2, last).into()).key()
}

fn name(account: u8) -> CounterName {
    CounterName { account: Some([account; 32]), source: None, client: None, acquainted: false }
}

fn counted(expires: i64) -> Counted {
    Counted {
        failed: 5,
        failed_at: Timestamp::from_secs(1000),
        locked_until: Some(Timestamp::from_secs(expires)),
        recent: 7,
        recent_at: Timestamp::from_secs(1001),
        met: None,
        expires: Timestamp::from_secs(expires),
    }
}

fn recall(folder: &Folder, now: Now) -> (Journal, GuardMemory) {
    Journal::open(&folder.file(), terms(), &Cuts::new(HOUR), now).unwrap()
}

fn note(journal: &Journal, name: CounterName, counted: Option<Counted>) {
    journal.note(&GUARD.into(), vec![(name, counted)]);
}

#[tokio::test]
async fn what_was_written_is_on_the_disk_and_a_counter_is_as_it_stood_last() {
    let (folder, after) = (Folder::new(), Folder::new());
    let (journal, memory) = recall(&folder, began(1000));
    assert_eq!((memory.key, memory.counters.len()), (KEY, 0));
    let by_source = CounterName { account: None, source: Some(source(1)), client: None, acquainted: false };
    let acquaintance = CounterName { account: Some([2; 32]), source: Some(source(1)), client: None, acquainted: true };
    let met = Counted { met: Some(Timestamp::from_secs(900)), locked_until: None, ..counted(5000) };
    note(&journal, name(1), Some(counted(3000)));
    note(&journal, name(1), Some(counted(4000)));
    note(&journal, name(9), Some(counted(4000)));
    note(&journal, by_source, Some(counted(4500)));
    note(&journal, acquaintance, Some(met));
    note(&journal, name(9), None);
    assert_eq!(journal.written().await, Ok(()));
    copy(&folder, &after);
    let other = Terms { fresh_key: GuardKey([9; 32]), ..terms() };
    let (_journal, memory) = Journal::open(&after.file(), other, &Cuts::new(HOUR), began(1001)).unwrap();
    assert_eq!(memory.key, KEY, "the key is made once");
    let expected = [(acquaintance, met), (by_source, counted(4500)), (name(1), counted(4000))];
    assert_eq!(memory.counters[GUARD], expected);
}

#[tokio::test]
async fn what_could_not_be_written_is_said_not_to_be_kept_and_is_written_with_the_next() {
    let folder = Folder::new();
    let (journal, _) = recall(&folder, began(1000));
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("ALTER TABLE login_counter RENAME TO gone").unwrap();
    note(&journal, name(1), Some(counted(4000)));
    assert_eq!(journal.written().await, Err(NotKept));
    other.execute_batch("ALTER TABLE gone RENAME TO login_counter").unwrap();
    assert_eq!(journal.written().await, Ok(()));
    drop(journal);
    assert_eq!(recall(&folder, began(1001)).1.counters[GUARD], [(name(1), counted(4000))]);
}

#[tokio::test]
async fn counters_that_mean_nothing_any_more_are_deleted() {
    let folder = Folder::new();
    let (journal, _) = recall(&folder, began(1000));
    for account in 0..20 {
        note(&journal, name(account), Some(counted(if account == 0 { 1060 } else { 1050 })));
    }
    assert_eq!(journal.written().await, Ok(()));
    let passed = |secs: u64| Now { wall: Timestamp::from_secs(2000), tick: Tick::from_millis(secs * 1000) };
    assert_eq!(journal.forget_old(passed(49)).await, Ok(0), "by a clock that jumped ahead");
    assert_eq!(journal.forget_old(passed(50)).await, Ok(19));
    drop(journal);
    assert_eq!(recall(&folder, began(1051)).1.counters[GUARD].len(), 1);
}

#[tokio::test]
async fn a_file_of_the_version_before_keeps_its_cuts_and_takes_counters() {
    let folder = Folder::new();
    let (journal, _) = open(&folder.file(), began(1000));
    keep(&journal, Reach::Token(TOKEN), 1000).await;
    drop(journal);
    let old = Connection::open(folder.file()).unwrap();
    old.execute_batch("DROP TABLE secret; DROP TABLE login_counter; PRAGMA user_version = 1").unwrap();
    drop(old);
    let (journal, cuts) = open(&folder.file(), began(1001));
    assert!(cuts.denies(&facts(1000), TOKEN));
    note(&journal, name(1), Some(counted(4000)));
    assert_eq!(journal.written().await, Ok(()));
    drop(journal);
    assert_eq!(recall(&folder, began(1002)).1.counters[GUARD].len(), 1);
}

#[test]
fn a_counter_or_key_that_cannot_be_read_makes_the_file_a_damaged_one() {
    for damage in
        ["UPDATE secret SET value = x'00'", "UPDATE login_counter SET account = x'00'", "UPDATE login_counter SET source = 'x'"]
    {
        let folder = Folder::new();
        let (journal, _) = recall(&folder, began(1000));
        note(&journal, name(1), Some(counted(4000)));
        runtime().block_on(journal.written()).unwrap();
        drop(journal);
        Connection::open(folder.file()).unwrap().execute_batch(damage).unwrap();
        assert!(matches!(refused(&folder.file()), JournalFault::Damaged { .. }), "{damage}");
    }
}
