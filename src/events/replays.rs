//! Which pushed tokens have been taken: each has its effect once.
//!
//! Bounded in time, because a token is refused for its age after a while, and in number: what cannot be remembered is not taken.
//! A token is remembered only once its signature has been found good, so nobody but the signer can fill this. Deliberately
//! absent: what lasts beyond the process. After a restart a token that is still young enough cuts once more.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;

use crate::model::Timestamp;

/// SHA-256 of a `jti`: as long however long that is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TokenId([u8; 32]);

impl TokenId {
    pub(super) fn of(jti: &str) -> Self {
        let mut bytes = [0; 32];
        for (into, from) in bytes.iter_mut().zip(digest::digest(&digest::SHA256, jti.as_bytes()).as_ref()) {
            *into = *from;
        }
        Self(bytes)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenId(…)")
    }
}

/// What one receiver has taken.
#[derive(Debug)]
pub(super) struct Replays {
    taken: Mutex<Taken>,
    most: usize,
}

#[derive(Debug, Default)]
struct Taken {
    states: HashMap<TokenId, State>,
    /// By when they are forgotten.
    ends: BTreeSet<(Timestamp, TokenId)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Somebody is taking it now.
    Begun,
    Done,
}

/// Whose turn it is with a token.
#[derive(Debug)]
pub(super) enum Turn<'r> {
    /// Nobody has taken it yet.
    First(Begun<'r>),
    /// It has had its effect.
    Again,
    /// It is being taken at this moment, or no more can be remembered: it may be pushed again later.
    Busy,
}

/// A token that is being taken; unless that succeeds, it was not taken.
#[derive(Debug)]
pub(super) struct Begun<'r> {
    replays: &'r Replays,
    id: TokenId,
    until: Timestamp,
    kept: bool,
}

impl Replays {
    /// The most tokens that one receiver remembers; with both tables some 16 MiB.
    pub(super) const MOST: usize = 100_000;

    pub(super) fn new(most: usize) -> Self {
        Self { taken: Mutex::default(), most }
    }

    /// Begins to take a token that is good until `until`.
    pub(super) fn begin(&self, id: TokenId, until: Timestamp, now: Timestamp) -> Turn<'_> {
        let mut taken = self.lock();
        taken.forget(now);
        match taken.states.get(&id) {
            Some(State::Done) => return Turn::Again,
            Some(State::Begun) => return Turn::Busy,
            None if taken.states.len() >= self.most => {
                tracing::warn!(most = self.most, "too many pushed tokens to remember: the next ones must wait");
                return Turn::Busy;
            }
            None => {}
        }
        taken.states.insert(id, State::Begun);
        taken.ends.insert((until, id));
        Turn::First(Begun { replays: self, id, until, kept: false })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn forget(&mut self, now: Timestamp) {
        while let Some(&(until, id)) = self.ends.first() {
            if until >= now {
                return;
            }
            self.ends.pop_first();
            self.states.remove(&id);
        }
    }
}

impl Begun<'_> {
    /// It has had its effect.
    pub(super) fn keep(mut self) {
        self.kept = true;
        if let Some(state) = self.replays.lock().states.get_mut(&self.id) {
            *state = State::Done;
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let mut taken = self.replays.lock();
            taken.states.remove(&self.id);
            taken.ends.remove(&(self.until, self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn take(replays: &Replays, jti: &str, until: i64, now: i64) -> &'static str {
        match replays.begin(TokenId::of(jti), at(until), at(now)) {
            Turn::First(turn) => {
                turn.keep();
                "first"
            }
            Turn::Again => "again",
            Turn::Busy => "busy",
        }
    }

    #[test]
    fn a_token_is_taken_once_until_it_is_too_old_to_be_taken_at_all() {
        let replays = Replays::new(10);
        assert_eq!(take(&replays, "a", 100, 0), "first");
        assert_eq!(take(&replays, "a", 100, 0), "again");
        assert_eq!(take(&replays, "a", 100, 100), "again", "it is still good at its last instant");
        assert_eq!(take(&replays, "b", 300, 101), "first");
        let taken = replays.lock();
        assert_eq!((taken.states.len(), taken.ends.len()), (1, 1), "what is too old is forgotten");
    }

    #[test]
    fn a_token_that_could_not_be_taken_may_come_again_but_not_meanwhile() {
        let replays = Replays::new(10);
        let Turn::First(turn) = replays.begin(TokenId::of("a"), at(100), at(0)) else { panic!("it is new") };
        assert_eq!(take(&replays, "a", 100, 0), "busy");
        drop(turn);
        assert_eq!(take(&replays, "a", 100, 0), "first");
    }

    #[test]
    fn what_cannot_be_remembered_is_not_taken() {
        let replays = Replays::new(2);
        assert_eq!(take(&replays, "a", 100, 0), "first");
        assert_eq!(take(&replays, "b", 200, 0), "first");
        assert_eq!(take(&replays, "c", 300, 0), "busy");
        assert_eq!(take(&replays, "a", 100, 0), "again", "and what is known stays known");
        assert_eq!(take(&replays, "c", 300, 101), "first", "there is room once one is too old");
    }
}
