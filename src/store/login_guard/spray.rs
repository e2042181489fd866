//! Which sources fail on many accounts, as credential stuffing does: a sketch for a gauge, on which nothing is decided.
//!
//! Imports `model`. Of a source it holds the marks of the first accounts that it failed on within an hour, and of sources a
//! bounded number, so it never counts too many. Deliberately absent: clocks, and refusing anybody (a window by source does).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::model::{SourceKey, Tick};
use crate::store::login_guard::locks::AccountMark;

/// A source is counted once it has failed on more accounts than this within an hour.
pub const FEW_ACCOUNTS: usize = 10;

/// For how long a source's failures are looked at together.
const STRETCH: Duration = Duration::from_hours(1);

/// Sources that are looked at.
const SOURCES: usize = 4_096;

/// How many of the oldest are looked at to make room for one that comes.
const LOOKED_AT: usize = 16;

/// What is known of the sources of one guard; `order` holds each once, oldest first.
#[derive(Debug, Default)]
pub(super) struct Spray {
    sources: HashMap<SourceKey, Sketch>,
    order: VecDeque<SourceKey>,
}

#[derive(Debug)]
struct Sketch {
    began: Tick,
    /// At most one more than a few.
    accounts: Vec<AccountMark>,
}

impl Sketch {
    fn is_over(&self, now: Tick) -> bool {
        now.since(self.began) >= STRETCH
    }
}

impl Spray {
    /// Notes a failure. A newcomer takes the place of one whose hour is over or that failed on one account only; if there is
    /// none such it is not looked at.
    pub(super) fn note(&mut self, source: SourceKey, account: AccountMark, now: Tick) {
        if let Some(sketch) = self.sources.get_mut(&source) {
            if sketch.is_over(now) {
                *sketch = Sketch { began: now, accounts: vec![account] };
            } else if sketch.accounts.len() <= FEW_ACCOUNTS && !sketch.accounts.contains(&account) {
                sketch.accounts.push(account);
            }
            return;
        }
        for _ in 0..LOOKED_AT {
            let full = self.sources.len() >= SOURCES;
            let Some(oldest) = self.order.pop_front() else { break };
            let dispensable = |sketch: &Sketch| sketch.is_over(now) || (full && sketch.accounts.len() < 2);
            if self.sources.get(&oldest).is_none_or(dispensable) {
                self.sources.remove(&oldest);
            } else {
                self.order.push_back(oldest);
            }
        }
        if self.sources.len() < SOURCES {
            self.order.push_back(source);
            self.sources.insert(source, Sketch { began: now, accounts: vec![account] });
        }
    }

    /// How many sources have failed on more than a few accounts.
    pub(super) fn sources(&self, now: Tick) -> usize {
        let sprays = |sketch: &&Sketch| !sketch.is_over(now) && sketch.accounts.len() > FEW_ACCOUNTS;
        self.sources.values().filter(sprays).count()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::Source;

    fn source(number: u32) -> SourceKey {
        Source::new(Ipv4Addr::from_bits(number).into()).key()
    }

    fn account(number: u32) -> AccountMark {
        AccountMark::parse(&format!("{number:08x}")).unwrap()
    }

    fn at(secs: u64) -> Tick {
        Tick::from_millis(secs * 1000)
    }

    #[test]
    fn a_source_that_failed_on_eleven_accounts_within_an_hour_is_counted_for_that_hour() {
        let mut spray = Spray::default();
        for number in 0..10 {
            spray.note(source(1), account(number), at(0));
            spray.note(source(2), account(7), at(0));
        }
        assert_eq!(spray.sources(at(0)), 0);
        spray.note(source(1), account(10), at(1800));
        assert_eq!((spray.sources(at(1800)), spray.sources(at(3600))), (1, 0));
    }

    #[test]
    fn sources_are_bounded_and_one_that_sprays_is_not_pushed_out() {
        let mut spray = Spray::default();
        for number in 0..11 {
            spray.note(source(1), account(number), at(0));
        }
        for number in 2..20_000 {
            spray.note(source(number), account(1), at(1));
        }
        assert_eq!((spray.sources(at(2)), spray.sources.len(), spray.order.len()), (1, SOURCES, SOURCES));
    }
}
