//! The counters of one guard that several gateways share: one script call begins an attempt in all of them or in none, another
//! settles it.
//!
//! Imports `store::valkey`. What the script decides is in `budget.lua`, which is equal to the table. Deliberately absent: waiting,
//! what is done while the store is away, and the counters of this gateway.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::{Script, ScriptInvocation};

use crate::model::Entropy;
use crate::rules::lockout::Ending;
use crate::rules::login_budget::{Answer, Kept};
use crate::store::login_guard::GuardTerms;
use crate::store::login_guard::memory::CounterName;
use crate::store::login_guard::places::{Places, named};
use crate::store::login_guard::table::{ACQUAINTED, Caller, KNOWS, Refusal};
use crate::store::valkey::{Outage, Valkey};

/// Counters of one guard in the store; about 350 bytes each. To fill them somebody must fail under as many names within the time
/// for which failures count.
pub(super) const SHARED_COUNTERS: u32 = 1_048_576;

/// Locks that are listed in one go.
pub(super) const PAGE: usize = 1_000;

/// What a guard asks the store.
#[derive(Debug)]
pub(super) struct Shared {
    valkey: Valkey,
    asking: Asking,
    node: [u8; 8],
    attempts: AtomicU32,
}

/// The script with the bounds that it keeps.
#[derive(Debug)]
struct Asking {
    script: Script,
    lease: Duration,
    room: u32,
}

/// The id of an attempt, which no other has.
pub(super) type AttemptId = [u8; 12];

/// What the store says of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Said {
    outcome: i64,
    left: i64,
    /// Whether the account knows the source.
    pub(super) acquainted: bool,
    /// How each counter stands, in the order in which the guard names what it counts by.
    pub(super) counters: Vec<Kept>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Question {
    Begin,
    Consult,
    Settle { ending: Ending, acquainted: bool },
    Show,
    Pardon,
}

impl Shared {
    pub(super) fn new(valkey: Valkey, lease: Duration, entropy: &dyn Entropy) -> Self {
        let mut node = [0; 8];
        entropy.fill(&mut node);
        Self { valkey, asking: Asking::new(lease, SHARED_COUNTERS), node, attempts: AtomicU32::new(0) }
    }

    /// Whether there is any use in asking.
    pub(super) fn is_up(&self) -> bool {
        self.valkey.is_up()
    }

    pub(super) fn places(&self, terms: &GuardTerms, caller: Caller) -> Places {
        Places::of_attempt(self.valkey.names(), terms, caller)
    }

    pub(super) fn next_id(&self) -> AttemptId {
        let number = self.attempts.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut id = [0; 12];
        id.iter_mut().zip(self.node.iter().chain(&number)).for_each(|(to, from)| *to = *from);
        id
    }

    /// Begins an attempt. Where the store is away, it may have begun all the same.
    pub(super) async fn begin(&self, terms: &GuardTerms, places: &Places, id: AttemptId) -> Result<Said, Outage> {
        self.ask("login-begin", &self.asking.invocation(terms, places, id, None, Question::Begin)).await
    }

    /// Whether an attempt might begin, but for those in flight, without beginning it.
    pub(super) async fn consult(&self, terms: &GuardTerms, places: &Places) -> Result<Said, Outage> {
        self.ask("login-consult", &self.asking.invocation(terms, places, [0; 12], None, Question::Consult)).await
    }

    /// Settles an attempt. What is told twice counts once.
    pub(super) async fn settle(
        &self,
        terms: &GuardTerms,
        places: &Places,
        id: AttemptId,
        ending: Ending,
        acquainted: bool,
    ) -> Result<Said, Outage> {
        let question = Question::Settle { ending, acquainted };
        self.ask("login-settle", &self.asking.invocation(terms, places, id, None, question)).await
    }

    /// Locks and full windows with what is left of them, from a place in their list on; at most [`PAGE`].
    pub(super) async fn locks(&self, terms: &GuardTerms, from: usize) -> Result<Vec<(CounterName, Duration)>, Outage> {
        let names = self.valkey.names();
        let (seconds, micros): (u64, u64) = self.valkey.command("login-locks", &redis::cmd("TIME")).await?;
        let now = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(Places::of(names, terms, &[]).locks()).arg(now.saturating_add(1)).arg("+inf").arg("WITHSCORES");
        command.arg("LIMIT").arg(from).arg(PAGE);
        let found: Vec<(Vec<u8>, u64)> = self.valkey.command("login-locks", &command).await?;
        let left = |end: u64| Duration::from_millis(end.saturating_sub(now));
        Ok(found.iter().filter_map(|(tag, end)| Some((named(names, tag)?, left(*end)))).collect())
    }

    /// How counters stand.
    pub(super) async fn show(&self, terms: &GuardTerms, counters: &[CounterName]) -> Result<Said, Outage> {
        let places = Places::of(self.valkey.names(), terms, counters);
        self.ask("login-locks", &self.asking.invocation(terms, &places, [0; 12], None, Question::Show)).await
    }

    /// Has counters forget what they have counted; how they stood.
    pub(super) async fn pardon(&self, terms: &GuardTerms, counters: &[CounterName]) -> Result<Said, Outage> {
        let places = Places::of(self.valkey.names(), terms, counters);
        self.ask("login-clear", &self.asking.invocation(terms, &places, [0; 12], None, Question::Pardon)).await
    }

    async fn ask(&self, operation: &'static str, invocation: &ScriptInvocation<'_>) -> Result<Said, Outage> {
        let numbers: Vec<i64> = self.valkey.run(operation, invocation).await?;
        Said::read(&numbers).ok_or(Outage)
    }
}

impl Asking {
    fn new(lease: Duration, room: u32) -> Self {
        Self { script: Script::new(include_str!("budget.lua")), lease, room }
    }

    /// `now`, in milliseconds since 1970, is the server's own clock unless it is given.
    fn invocation<'a>(
        &'a self,
        terms: &GuardTerms,
        places: &Places,
        id: AttemptId,
        now: Option<u64>,
        question: Question,
    ) -> ScriptInvocation<'a> {
        let (operation, ending, acquainted) = match question {
            Question::Begin => ("begin", "", false),
            Question::Consult => ("consult", "", false),
            Question::Show => ("show", "", false),
            Question::Pardon => ("pardon", "", false),
            Question::Settle { ending: Ending::Failed, acquainted } => ("settle", "failed", acquainted),
            Question::Settle { ending: Ending::Succeeded, acquainted } => ("settle", "succeeded", acquainted),
            Question::Settle { ending: Ending::Abandoned, acquainted } => ("settle", "abandoned", acquainted),
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (lock, window) = (terms.rule.lock, terms.rule.window);
        let mut invocation = self.script.prepare_invoke();
        for key in &places.keys {
            invocation.key(key);
        }
        invocation.arg(operation).arg(&id[..]).arg(now.map_or_else(String::new, |now| now.to_string()));
        invocation.arg(lock.map_or(0, |lock| lock.attempts())).arg(lock.map_or(0, |lock| millis(lock.duration())));
        invocation.arg(millis(terms.rule.memory()));
        invocation.arg(window.map_or(0, |window| window.attempts)).arg(window.map_or(0, |window| millis(window.within)));
        invocation.arg(u8::from(window.is_some_and(|window| window.count_success)));
        invocation.arg(millis(self.lease)).arg(millis(ACQUAINTED)).arg(KNOWS).arg(self.room);
        invocation.arg(ending).arg(u8::from(acquainted));
        for word in &places.words {
            invocation.arg(&word[..]);
        }
        invocation
    }
}

impl Said {
    fn read(numbers: &[i64]) -> Option<Self> {
        let (&[outcome, left, acquainted], counters) = numbers.split_first_chunk()?;
        let millis = |number: i64| Duration::from_millis(u64::try_from(number).unwrap_or(0));
        let count = |number: i64| u32::try_from(number).unwrap_or(0);
        let (counters, []) = counters.as_chunks() else { return None };
        let kept = |&[failed, failed_ago, lock_left, recent, recent_ago]: &[i64; 5]| Kept {
            failed: count(failed),
            failed_ago: millis(failed_ago),
            lock_left: Some(millis(lock_left)).filter(|left| !left.is_zero()),
            recent: count(recent),
            recent_ago: millis(recent_ago),
        };
        Some(Self { outcome, left, acquainted: acquainted == 1, counters: counters.iter().map(kept).collect() })
    }

    /// Why an attempt may not begin; `None` if it may.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let left = Duration::from_millis(u64::try_from(self.left).unwrap_or(0));
        match self.outcome {
            0 => None,
            1 => Some(Refusal::Answer(Answer::Busy)),
            2 => Some(Refusal::Answer(Answer::Spent(left))),
            3 => Some(Refusal::Answer(Answer::Locked(left))),
            _ => Some(Refusal::Full),
        }
    }

    /// Whether a settlement left a lock.
    pub(super) fn locks(&self) -> bool {
        self.left == 1
    }
}

#[cfg(test)]
mod tests;
