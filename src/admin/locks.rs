//! `/admin/locks`: an operator lists locks, looks one up and clears it.
//!
//! Who keeps locks is a [`LockKeeper`]: login guards, and the embedded token service (`embedded_locks`). An account is shown by a
//! mark, never by its whole name. Every answer is bounded. Deliberately absent: the token that opens the door (`door`), and what a lock is (`rules`).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::admin::audit;
use crate::admin::words::{Problem, answer};
use crate::model::{Source, SourceKey, SourcePrefix, Timestamp};
use crate::rules::body::Form;
use crate::rules::login_budget::ClosedBy;
use crate::store::login_guard::{AccountMark, LoginGuard, Remainder, Whose};
use crate::store::valkey::Outage;

/// How many locks an answer holds unless it is said, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 200;

/// What a query may have.
const KNOWN: [&str; 7] = ["guard", "account", "mark", "source", "client", "after", "limit"];

/// The longest query, in bytes.
const QUERY_MAX: usize = 4 * 1024;

/// A lock, as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownLock {
    /// What the account, or its lock, is called here: of a keyed hash.
    pub mark: Option<String>,
    /// The account's e-mail address with most of it left out, where accounts are known by name.
    pub identifier: Option<String>,
    /// The source, if the lock is about one.
    pub source: Option<SourceKey>,
    /// What the client is called here, if the lock is about one.
    pub client: Option<String>,
    /// Why, in a word: `failures` in a row, a `window` of them, or a `pause` after too many tries.
    pub reason: &'static str,
    /// How many; 0 for a pause.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Its place in its keeper's list, which is in the order of these.
    pub position: String,
}

/// Whose locks are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// An account's, as a login would write it.
    Account(String),
    /// An account's, as lists show it.
    Mark(String),
    /// A source's.
    Source(SourceKey),
    /// A client's, as a login would write it.
    Client(String),
}

/// What was cleared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClearedLocks {
    /// What the account or client that was meant is called here, where it is known.
    pub whose: Option<String>,
    /// As they stood before.
    pub locks: Vec<ShownLock>,
    /// The counters that were forgotten: those of the locks, and where failures are forgotten that led to none, those too.
    pub counters: usize,
    /// Whether a restart will know of it.
    pub lasting: bool,
    /// What may be locked still.
    pub remainder: Remainder,
}

impl ClearedLocks {
    /// There was nothing to clear.
    pub const NOTHING: Self =
        Self { whose: None, locks: Vec::new(), counters: 0, lasting: true, remainder: Remainder::Nothing };

    /// Whether this changed anything, or may have.
    fn has_changed(&self) -> bool {
        !self.locks.is_empty() || self.counters > 0 || self.remainder != Remainder::Nothing
    }
}

/// The keeper cannot say: what it keeps its locks in does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unavailable;

/// Somebody who keeps locks.
#[async_trait]
pub trait LockKeeper: Send + Sync + fmt::Debug {
    /// What it is called: the name of a login guard, or `embedded`. No two keepers share one.
    fn name(&self) -> &str;

    /// At most `limit` locks in the order of their positions, of those after a position.
    ///
    /// # Errors
    /// [`Unavailable`].
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<ShownLock>, Unavailable>;

    /// At most `limit` locks of somebody.
    ///
    /// # Errors
    /// [`Unavailable`].
    async fn find(&self, whose: &Wanted, limit: usize) -> Result<Vec<ShownLock>, Unavailable>;

    /// Ends somebody's locks, and forgets the failures that led to them.
    async fn clear(&self, whose: &Wanted) -> ClearedLocks;
}

#[async_trait]
impl LockKeeper for LoginGuard {
    fn name(&self) -> &str {
        Self::name(self)
    }

    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<ShownLock>, Unavailable> {
        let found = self.locks(after, limit).await.map_err(|Outage| Unavailable)?;
        Ok(found.into_iter().map(ShownLock::from).collect())
    }

    async fn find(&self, whose: &Wanted, limit: usize) -> Result<Vec<ShownLock>, Unavailable> {
        let Some(whose) = whose.at_guard() else { return Ok(Vec::new()) };
        let found = self.locks_of(whose, limit).await.map_err(|Outage| Unavailable)?;
        Ok(found.into_iter().map(ShownLock::from).collect())
    }

    async fn clear(&self, whose: &Wanted) -> ClearedLocks {
        let Some(whose) = whose.at_guard() else { return ClearedLocks::NOTHING };
        let cleared = Self::clear(self, whose).await;
        let locks: Vec<ShownLock> = cleared.locks.into_iter().map(ShownLock::from).collect();
        let whose = self.mark_of(whose).map(|mark| mark.to_string());
        ClearedLocks { whose, counters: locks.len(), locks, lasting: cleared.kept.is_ok(), remainder: cleared.remainder }
    }
}

impl From<crate::store::login_guard::Lock> for ShownLock {
    fn from(lock: crate::store::login_guard::Lock) -> Self {
        Self {
            mark: lock.account.map(|account| account.to_string()),
            identifier: None,
            source: lock.source,
            client: lock.client.map(|client| client.to_string()),
            reason: match lock.by {
                ClosedBy::Lock => "failures",
                ClosedBy::Window => "window",
            },
            failures: lock.failures,
            since: lock.since,
            until: lock.until,
            position: lock.position,
        }
    }
}

impl Wanted {
    /// `None` if it is nobody at a login guard.
    fn at_guard(&self) -> Option<Whose<'_>> {
        match self {
            Self::Account(name) => Some(Whose::Account(name)),
            Self::Mark(mark) => AccountMark::parse(mark).map(Whose::Mark),
            Self::Source(source) => Some(Whose::Source(*source)),
            Self::Client(name) => Some(Whose::Client(name)),
        }
    }
}

impl ShownLock {
    fn shown(&self, guard: &str) -> Value {
        let time = |at: Timestamp| jiff::Timestamp::from_second(at.as_secs()).unwrap_or(jiff::Timestamp::MAX).to_string();
        json!({
            "guard": guard,
            "mark": self.mark,
            "identifier": self.identifier,
            "source": self.source.map(|source| source.address().to_string()),
            "client": self.client,
            "reason": self.reason,
            "failures": self.failures,
            "since": time(self.since),
            // Rounded up: a lock does not go on after its end.
            "until": time(self.until.after(Duration::from_millis(999))),
        })
    }
}

/// Everybody who keeps locks.
#[derive(Debug)]
pub struct Locks {
    keepers: Box<[Arc<dyn LockKeeper>]>,
    prefix: SourcePrefix,
}

/// What a query asks for.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Question {
    guard: Option<String>,
    whose: Option<Wanted>,
    after: Option<(String, String)>,
    limit: usize,
}

impl Locks {
    /// Of these keepers, in whose order they are listed. Sources are told apart by `prefix`, as everywhere in the gateway.
    #[must_use]
    pub fn new(keepers: Box<[Arc<dyn LockKeeper>]>, prefix: SourcePrefix) -> Self {
        Self { keepers, prefix }
    }

    /// Reads a query strictly: nothing twice, and nothing that is not known.
    pub(super) fn read(&self, query: Option<&str>) -> Result<Question, Problem> {
        let query = query.unwrap_or_default();
        if query.len() > QUERY_MAX {
            return Err(Problem::malformed("the query is longer than any that is read"));
        }
        let form = Form::parse(query).map_err(|_| Problem::malformed("the query cannot be read in one way"))?;
        if !form.names().all(|name| KNOWN.contains(&name)) {
            return Err(Problem::malformed(&format!("the query may have: {}", KNOWN.join(", "))));
        }
        let text = |name: &str| form.value(name).map(|value| value.expose().to_owned());
        if form.names().any(|name| text(name).is_none()) {
            return Err(Problem::malformed("a parameter of the query is empty"));
        }
        let guard = text("guard");
        if guard.as_ref().is_some_and(|guard| self.keepers.iter().all(|keeper| keeper.name() != guard)) {
            let known: Vec<&str> = self.keepers.iter().map(|keeper| keeper.name()).collect();
            return Err(Problem::malformed(&format!("there is no such guard; there are: {}", known.join(", "))));
        }
        Ok(Question {
            guard,
            whose: whose([text("account"), text("mark"), text("source"), text("client")], self.prefix)?,
            after: after(text("after"))?,
            limit: limit(text("limit"))?,
        })
    }

    /// A page of locks, or those of somebody.
    pub(super) async fn show(&self, question: Question) -> Result<Response, Problem> {
        let Question { guard, whose, after, limit } = question;
        if let Some(whose) = whose {
            return self.show_whose(guard.as_deref(), &whose, limit).await;
        }
        let mut shown: Vec<(&str, ShownLock)> = Vec::new();
        // One more than asked for tells whether there is another page.
        let wanted = limit + 1;
        let begin = after.as_ref().map(|(guard, _)| guard);
        for keeper in self.asked(guard.as_deref()).skip_while(|keeper| begin.is_some_and(|begin| keeper.name() != begin)) {
            let after = after.as_ref().filter(|(guard, _)| guard == keeper.name()).map(|(_, position)| &**position);
            let found =
                keeper.list(after, wanted.saturating_sub(shown.len())).await.map_err(|Unavailable| Problem::UNAVAILABLE)?;
            shown.extend(found.into_iter().map(|lock| (keeper.name(), lock)));
        }
        let has_more = shown.len() > limit;
        shown.truncate(limit);
        let next = shown.last().filter(|_| has_more).map(|(guard, lock)| format!("{guard}~{}", lock.position));
        let locks: Vec<Value> = shown.iter().map(|(guard, lock)| lock.shown(guard)).collect();
        Ok(answer(StatusCode::OK, "application/json", &json!({ "locks": locks, "next": next })))
    }

    async fn show_whose(&self, guard: Option<&str>, whose: &Wanted, limit: usize) -> Result<Response, Problem> {
        let mut shown = Vec::new();
        for keeper in self.asked(guard) {
            let found =
                keeper.find(whose, limit.saturating_sub(shown.len())).await.map_err(|Unavailable| Problem::UNAVAILABLE)?;
            shown.extend(found.iter().map(|lock| lock.shown(keeper.name())));
        }
        if shown.is_empty() {
            return Err(Problem::NO_LOCK);
        }
        Ok(answer(StatusCode::OK, "application/json", &json!({ "locks": shown, "next": null })))
    }

    /// Clears somebody's locks, and says which once that holds and lasts.
    pub(super) async fn clear(&self, question: Question, from: IpAddr) -> Result<Response, Problem> {
        let Question { guard, whose: Some(whose), after: None, .. } = question else {
            return Err(Problem::malformed("exactly one of account, mark, source and client says whose locks are cleared"));
        };
        let (mut count, mut shown, mut not_all, mut not_kept) = (0, Vec::new(), Vec::new(), Vec::new());
        let mut has_changed = false;
        for keeper in self.asked(guard.as_deref()) {
            let name = keeper.name();
            let cleared = keeper.clear(&whose).await;
            has_changed |= cleared.has_changed();
            audit::cleared(from, name, &whose, &cleared);
            not_all.extend(Some(name).filter(|_| cleared.remainder != Remainder::Nothing));
            not_kept.extend(Some(name).filter(|_| !cleared.lasting));
            count += cleared.locks.len();
            shown.extend(cleared.locks.iter().take(LONGEST_PAGE - shown.len()).map(|lock| lock.shown(name)));
        }
        if !has_changed {
            audit::nothing_cleared(from, guard.as_deref(), &whose);
        }
        match (not_all.is_empty(), not_kept.is_empty(), count) {
            (false, ..) => Err(Problem::not_all(&not_all)),
            (true, false, _) => Err(Problem::not_kept(&not_kept)),
            (true, true, 0) => Err(Problem::NO_LOCK),
            (true, true, _) => Ok(answer(StatusCode::OK, "application/json", &json!({ "cleared": count, "locks": shown }))),
        }
    }

    fn asked(&self, guard: Option<&str>) -> impl Iterator<Item = &Arc<dyn LockKeeper>> {
        self.keepers.iter().filter(move |keeper| guard.is_none_or(|guard| keeper.name() == guard))
    }
}

fn whose(told: [Option<String>; 4], prefix: SourcePrefix) -> Result<Option<Wanted>, Problem> {
    match told {
        [None, None, None, None] => Ok(None),
        [Some(account), None, None, None] => Ok(Some(Wanted::Account(account))),
        [None, Some(mark), None, None] => Ok(Some(Wanted::Mark(mark))),
        [None, None, Some(source), None] => {
            let address: IpAddr = source.parse().map_err(|_| Problem::malformed("the source is an IP address"))?;
            Ok(Some(Wanted::Source(Source::apart_by(address, prefix).key())))
        }
        [None, None, None, Some(client)] => Ok(Some(Wanted::Client(client))),
        [_, _, _, _] => Err(Problem::malformed("at most one of account, mark, source and client")),
    }
}

fn after(text: Option<String>) -> Result<Option<(String, String)>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let halves = text.split_once('~').map(|(guard, position)| (guard.to_owned(), position.to_owned()));
    halves.map(Some).ok_or_else(|| Problem::malformed("`after` is the `next` of the page before"))
}

fn limit(text: Option<String>) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(PAGE) };
    let limit = text.parse().ok().filter(|limit| (1..=LONGEST_PAGE).contains(limit));
    limit.ok_or_else(|| Problem::malformed(&format!("`limit` is a number from 1 to {LONGEST_PAGE}")))
}
