//! What the store that gateways share could not be told yet of attempts that have ended.
//!
//! What counts waits by account, in the order in which it ended, so that an account is not asked about before it is told; one
//! teller at a time takes its turn. What is only given back waits apart, because nobody's budget is too large without it.
//! Deliberately absent: telling.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::rules::lockout::Ending;
use crate::store::login_guard::places::Places;
use crate::store::login_guard::shared::AttemptId;
use crate::store::login_guard::table::{AccountHash, Caller};
use crate::store::login_guard::team::lock;

/// How many settlements wait for the store at most. Beyond that what is only given back goes first, the oldest of it, which its
/// lease ends as well; then the oldest that counts.
pub(super) const UNTOLD: usize = 4_096;

/// What the store is to be told of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Settlement {
    pub(super) caller: Caller,
    pub(super) places: Arc<Places>,
    pub(super) id: AttemptId,
    pub(super) acquainted: bool,
    pub(super) ending: Ending,
}

/// What the store does not know.
#[derive(Debug, Default)]
pub(super) struct Untold(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    counting: HashMap<AccountHash, Line>,
    /// Whose everything is that counts, the oldest first.
    ages: BTreeMap<u64, AccountHash>,
    given_back: VecDeque<Entry>,
    next: u64,
}

/// What waits of one account; never empty.
#[derive(Debug, Default)]
struct Line {
    entries: VecDeque<Entry>,
    turn: Turn,
}

/// Who holds its lock tells what is in the line that it belongs to.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

/// Something that waits.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) settlement: Arc<Settlement>,
    number: u64,
}

impl Untold {
    /// Takes one more; whether something that counts had to be given up for it.
    pub(super) fn add(&self, settlement: Settlement) -> bool {
        let mut waiting = lock(&self.0);
        let (account, counts) = (settlement.caller.account, settlement.ending != Ending::Abandoned);
        let entry = Entry { settlement: Arc::new(settlement), number: waiting.next };
        waiting.next += 1;
        if counts {
            waiting.ages.insert(entry.number, account);
            waiting.counting.entry(account).or_default().entries.push_back(entry);
        } else {
            waiting.given_back.push_back(entry);
        }
        waiting.count() > UNTOLD && waiting.give_up()
    }

    /// The turn to tell what counts of an account; `None` if nothing waits.
    pub(super) fn turn(&self, account: AccountHash) -> Option<Turn> {
        lock(&self.0).counting.get(&account).map(|line| Arc::clone(&line.turn))
    }

    /// What is to be told next in the line that the turn belongs to. It waits on until it is [`told`](Self::told), so that nobody
    /// goes before it.
    pub(super) fn first(&self, account: AccountHash, turn: &Turn) -> Option<Entry> {
        let waiting = lock(&self.0);
        let line = waiting.counting.get(&account).filter(|line| Arc::ptr_eq(&line.turn, turn))?;
        line.entries.front().cloned()
    }

    /// The account of which something has waited longest.
    pub(super) fn oldest(&self) -> Option<AccountHash> {
        lock(&self.0).ages.first_key_value().map(|(_, account)| *account)
    }

    /// The oldest of what is only given back.
    pub(super) fn oldest_given_back(&self) -> Option<Entry> {
        lock(&self.0).given_back.front().cloned()
    }

    /// The store knows this now.
    pub(super) fn told(&self, entry: &Entry) {
        let mut waiting = lock(&self.0);
        if waiting.given_back.front().is_some_and(|first| first.number == entry.number) {
            waiting.given_back.pop_front();
        }
        waiting.forget(entry.number);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.0).count()
    }
}

impl Waiting {
    fn count(&self) -> usize {
        self.ages.len() + self.given_back.len()
    }

    /// Gives something up; whether it counted.
    fn give_up(&mut self) -> bool {
        if self.given_back.pop_front().is_some() {
            return false;
        }
        let oldest = self.ages.first_key_value().map(|(number, _)| *number);
        oldest.is_some_and(|number| self.forget(number))
    }

    /// Whether something that counts had this number. It was the first in its line: an account's are told, and given up, in order.
    fn forget(&mut self, number: u64) -> bool {
        let Some(account) = self.ages.remove(&number) else { return false };
        if let Some(line) = self.counting.get_mut(&account) {
            line.entries.pop_front();
            if line.entries.is_empty() {
                self.counting.remove(&account);
            }
        }
        true
    }
}
