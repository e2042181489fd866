//! What a guard has closed, as something to be listed, looked at and cleared.
//!
//! Imports as the parent. An account is shown by the beginning of its keyed hash: its name is not known here. Deliberately
//! absent: who may ask (`admin`).

use std::fmt;
use std::time::Duration;

use crate::model::{Now, SourceKey, Timestamp};
use crate::rules::account_key::fold;
use crate::rules::login_budget::{Closed, ClosedBy};
use crate::store::login_guard::LoginGuard;
use crate::store::login_guard::memory::CounterName;
use crate::store::login_guard::table::AccountHash;
use crate::store::revocations::NotKept;
use crate::store::valkey::Outage;

/// The first bytes of an account's keyed hash: what it is called in lists and log lines. Written as eight hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccountMark(u32);

impl fmt::Display for AccountMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl AccountMark {
    pub(super) fn of(account: &AccountHash) -> Self {
        let [a, b, c, d, ..] = *account;
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// Reads eight hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(text, 16).ok().filter(|_| digits).map(Self)
    }
}

/// Whose locks are meant.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// An account's, as a login would write it.
    Account(&'a str),
    /// An account's, as lists show it. Two accounts may share one.
    Mark(AccountMark),
    /// Those of a source, whatever account they are about.
    Source(SourceKey),
    /// Those of a client, as a login would write it.
    Client(&'a str),
}

/// A counter that admits nobody for now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lock {
    /// The account, if it counts one.
    pub account: Option<AccountMark>,
    /// The source, if it counts one.
    pub source: Option<SourceKey>,
    /// The client, if it counts one.
    pub client: Option<AccountMark>,
    /// What closed it.
    pub by: ClosedBy,
    /// How many failures that took.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Its place in the list, which is in the order of these.
    pub position: String,
}

/// What was cleared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cleared {
    /// As it stood before.
    pub locks: Vec<Lock>,
    /// Whether a restart will know of it.
    pub kept: Result<(), NotKept>,
    /// What was meant and may be locked still.
    pub remainder: Remainder,
}

/// What may be left of what was to be cleared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remainder {
    /// Nothing.
    Nothing,
    /// There was more than is cleared in one go.
    More,
    /// Nobody knows: what the locks are kept in was away before the end.
    Unknown,
}

impl Lock {
    fn new((name, closed): &(CounterName, Closed), now: Now) -> Self {
        Self {
            account: name.account.as_ref().map(AccountMark::of),
            source: name.source,
            client: name.client.as_ref().map(AccountMark::of),
            by: closed.by,
            failures: closed.failures,
            since: now.wall.before(closed.ago),
            until: now.wall.after(whole_millis(closed.left)),
            position: position(name),
        }
    }
}

/// Rounded up, so that an end is never told too early.
fn whole_millis(left: Duration) -> Duration {
    Duration::from_millis(u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

pub(super) fn position(name: &CounterName) -> String {
    let digits = |hash: Option<AccountHash>| {
        let beginning = hash.map(|hash| hash.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte)));
        beginning.map(|number| format!("{number:032x}")).unwrap_or_default()
    };
    let source = name.source.map(|source| source.address().to_string()).unwrap_or_default();
    format!("{}~{source}~{}~{}", digits(name.account), digits(name.client), u8::from(name.acquainted))
}

impl LoginGuard {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.terms.name
    }

    /// At most `limit` locks, in the order of their positions, of those after a position.
    ///
    /// # Errors
    /// [`Outage`]: the counters are shared, and the store is away.
    pub async fn locks(&self, after: Option<&str>, limit: usize) -> Result<Vec<Lock>, Outage> {
        self.list(|_| true, after, limit).await
    }

    /// At most `limit` locks of somebody.
    ///
    /// # Errors
    /// As [`LoginGuard::locks`].
    pub async fn locks_of(&self, whose: Whose<'_>, limit: usize) -> Result<Vec<Lock>, Outage> {
        match self.means(whose) {
            Some(means) => self.list(means, None, limit).await,
            None => Ok(Vec::new()),
        }
    }

    /// Ends somebody's locks, and forgets the failures that led to them. Holds at once; a restart knows of it when this returns.
    /// Where counters are shared, other gateways may refuse those callers for another second to whom they have just told of it, and at most 10,000 are cleared.
    pub async fn clear(&self, whose: Whose<'_>) -> Cleared {
        let nothing = Cleared { locks: Vec::new(), kept: Ok(()), remainder: Remainder::Nothing };
        let Some(means) = self.means(whose) else { return nothing };
        let shared = match &self.team {
            Some(team) => Some(team.clear(&means).await),
            None => None,
        };
        let now = self.clock.now();
        // While the store is away, what this gateway knows of its locks is all that holds them.
        let here = match shared {
            Some((_, Remainder::Unknown)) => Vec::new(),
            Some((_, Remainder::Nothing | Remainder::More)) | None => self.counters.clear(&self.terms, means, now),
        };
        let (cleared, remainder) = shared.unwrap_or((here, Remainder::Nothing));
        if cleared.is_empty() {
            return Cleared { remainder, ..nothing };
        }
        self.settled.notify_waiters();
        let kept = self.counters.written().await.inspect_err(|NotKept| self.witness.not_kept());
        Cleared { locks: cleared.iter().map(|found| Lock::new(found, now)).collect(), kept, remainder }
    }

    /// What an account or client is called in lists and log lines.
    #[must_use]
    pub fn mark_of(&self, whose: Whose<'_>) -> Option<AccountMark> {
        match whose {
            Whose::Account(name) | Whose::Client(name) => fold(name).map(|name| AccountMark::of(&self.hash(&name))),
            Whose::Mark(mark) => Some(mark),
            Whose::Source(_) => None,
        }
    }

    async fn list(&self, means: impl Fn(&CounterName) -> bool, after: Option<&str>, limit: usize) -> Result<Vec<Lock>, Outage> {
        let comes = |name: &CounterName| means(name) && after.is_none_or(|after| *position(name) > *after);
        let now = self.clock.now();
        let found = match &self.team {
            Some(team) => team.closed(comes, limit).await?,
            None => self.counters.closed(&self.terms, comes, now),
        };
        let mut locks: Vec<Lock> = found.iter().map(|found| Lock::new(found, now)).collect();
        locks.sort_unstable_by(|one, other| one.position.cmp(&other.position));
        locks.truncate(limit);
        Ok(locks)
    }

    /// Which counters are somebody's; `None` if it cannot be anybody.
    fn means(&self, whose: Whose<'_>) -> Option<impl Fn(&CounterName) -> bool + use<>> {
        let (mut account, mut mark, mut source, mut client) = (None, None, None, None);
        match whose {
            Whose::Account(name) => account = Some(self.hash(&fold(name)?)),
            Whose::Mark(wanted) => mark = Some(wanted),
            Whose::Source(wanted) => source = Some(wanted),
            Whose::Client(name) => client = Some(self.hash(&fold(name)?)),
        }
        Some(move |name: &CounterName| {
            account.is_none_or(|account| name.account == Some(account))
                && mark.is_none_or(|mark| name.account.as_ref().map(AccountMark::of) == Some(mark))
                && source.is_none_or(|source| name.source == Some(source))
                && client.is_none_or(|client| name.client == Some(client))
        })
    }
}
