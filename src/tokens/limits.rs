//! Who may try how often: the windows of every caller, applied under one lock.
//!
//! Imports `model` and `rules::window`. A caller is an account, or a secret that is nobody's, from one source. The callers with
//! an account have tables to themselves, so that a flood of made-up names can push no account's window out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::{Denial, SourceKey, Tick};
use crate::rules::window::{Passage, Window, WindowRule};
use crate::tokens::guard::Subject;
use crate::tokens::keyring::Mac;

/// The callers of one table that are remembered. To push one out takes as many others, each from a source or with a name of
/// its own, within the length of a pause.
const CALLERS: usize = 65_536;

/// What is limited, each for itself: who must pause with one may go on with the others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Operation {
    /// Passwords.
    SignIn,
    /// The codes of second factors.
    Confirm,
    /// Refresh tokens.
    Refresh,
    /// Logins of a source, whoever's they are.
    LogIn,
    /// Logins of an account, wherever they come from.
    LogInOf,
}

/// The windows of everybody.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    tables: Mutex<HashMap<(Operation, Crowd), Table>>,
}

/// Who may be pushed out by whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Crowd {
    Accounts,
    Nobodies,
}

/// The callers of one operation, all by the same rule.
#[derive(Debug, Default)]
struct Table {
    windows: HashMap<Caller, Window>,
    /// The callers, in the order in which they came or were last found to be still of use.
    order: VecDeque<Caller>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Caller {
    subject: [u8; 32],
    /// Any if it is not said.
    source: Option<SourceKey>,
}

impl Limits {
    /// Counts an attempt.
    ///
    /// # Errors
    /// `LimitReached` with what is left of the pause.
    pub(crate) fn charge(
        &self,
        rule: &WindowRule,
        operation: Operation,
        subject: Subject,
        source: SourceKey,
        now: Tick,
    ) -> Result<(), Denial> {
        self.count(rule, operation, subject, Some(source), now).map_err(Denial::LimitReached)
    }

    /// Counts an attempt of a source, whomever it names.
    ///
    /// # Errors
    /// What is left of the pause.
    pub(crate) fn charge_source(
        &self,
        rule: &WindowRule,
        operation: Operation,
        source: SourceKey,
        now: Tick,
    ) -> Result<(), Duration> {
        self.count(rule, operation, Subject { key: Mac([0; 32]), account: None }, Some(source), now)
    }

    /// Counts an attempt of an account, or of an identifier that is nobody's, wherever it comes from.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn charge_subject(
        &self,
        rule: &WindowRule,
        operation: Operation,
        subject: Subject,
        now: Tick,
    ) -> Result<(), Duration> {
        self.count(rule, operation, subject, None, now)
    }

    fn count(
        &self,
        rule: &WindowRule,
        operation: Operation,
        subject: Subject,
        source: Option<SourceKey>,
        now: Tick,
    ) -> Result<(), Duration> {
        let caller = Caller { subject: subject.key.0, source };
        let crowd = if subject.account.is_some() { Crowd::Accounts } else { Crowd::Nobodies };
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        match tables.entry((operation, crowd)).or_default().window(caller, rule, now).attempt(rule, now) {
            Passage::Admitted => Ok(()),
            Passage::Blocked(wait) | Passage::StillBlocked(wait) => Err(wait),
        }
    }
}

impl Table {
    fn window(&mut self, caller: Caller, rule: &WindowRule, now: Tick) -> &mut Window {
        if !self.windows.contains_key(&caller) {
            self.make_room(rule, now);
            self.order.push_back(caller);
        }
        self.windows.entry(caller).or_default()
    }

    /// Looks at the two oldest for each that comes, so the table shrinks faster than it grows once a flood is over.
    fn make_room(&mut self, rule: &WindowRule, now: Tick) {
        for _ in 0..2 {
            let Some(oldest) = self.order.pop_front() else { return };
            let blank = self.windows.get(&oldest).is_none_or(|window| window.is_blank(rule, now));
            if blank || self.windows.len() >= CALLERS {
                self.windows.remove(&oldest);
            } else {
                self.order.push_back(oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::model::Source;
    use crate::tokens::account::AccountId;

    const RULE: fn() -> WindowRule = || WindowRule::new(2, Duration::from_mins(1), Duration::from_mins(10));

    fn source(number: u32) -> SourceKey {
        Source::new(Ipv4Addr::from(number).into()).key()
    }

    fn account(id: u8) -> Subject {
        Subject { key: Mac([id; 32]), account: Some(AccountId(id.into())) }
    }

    fn nobody(number: usize) -> Subject {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        Subject { key: Mac(key), account: None }
    }

    fn charge(limits: &Limits, operation: Operation, subject: Subject, from: u32, secs: u64) -> Result<(), Denial> {
        limits.charge(&RULE(), operation, subject, source(from), Tick::from_millis(secs * 1000))
    }

    /// How many windows there are, and how many callers in order.
    fn nobodies(limits: &Limits, operation: Operation) -> (usize, usize) {
        let tables = limits.tables.lock().unwrap();
        let table = &tables[&(operation, Crowd::Nobodies)];
        (table.windows.len(), table.order.len())
    }

    #[test]
    fn each_operation_account_and_source_has_a_window_of_its_own() {
        let limits = Limits::default();
        let refused = Err(Denial::LimitReached(Duration::from_mins(10)));
        for _ in 0..2 {
            assert_eq!(charge(&limits, Operation::SignIn, account(1), 1, 0), Ok(()));
        }
        assert_eq!(charge(&limits, Operation::SignIn, account(1), 1, 0), refused);
        assert_eq!(charge(&limits, Operation::Refresh, account(1), 1, 0), Ok(()));
        assert_eq!(charge(&limits, Operation::SignIn, account(2), 1, 0), Ok(()));
        assert_eq!(charge(&limits, Operation::SignIn, account(1), 2, 0), Ok(()));
        assert_eq!(charge(&limits, Operation::SignIn, account(1), 1, 1), Err(Denial::LimitReached(Duration::from_secs(599))));
    }

    #[test]
    fn a_flood_of_nobodies_takes_bounded_room_and_ends_no_pause_of_an_account() {
        let limits = Limits::default();
        for _ in 0..3 {
            drop(charge(&limits, Operation::Confirm, account(1), 1, 0));
        }
        for number in 0..CALLERS + 10 {
            assert_eq!(charge(&limits, Operation::Confirm, nobody(number), 1, 0), Ok(()));
        }
        assert_eq!(nobodies(&limits, Operation::Confirm), (CALLERS, CALLERS));
        assert!(charge(&limits, Operation::Confirm, account(1), 1, 0).is_err());
    }

    #[test]
    fn what_is_blank_makes_room_for_what_comes() {
        let limits = Limits::default();
        for number in 0..100 {
            assert_eq!(charge(&limits, Operation::Confirm, nobody(number), 1, 0), Ok(()));
        }
        for number in 100..150 {
            assert_eq!(charge(&limits, Operation::Confirm, nobody(number), 1, 60), Ok(()));
        }
        assert_eq!(nobodies(&limits, Operation::Confirm), (50, 50));
    }
}
