//! When a signing key is what: a pure function of when the keys begin to sign.
//!
//! Imports nothing but instants. No state is ever written down, so none can be wrong: a key is *next* until it signs, *active*
//! until another one does, and *retired* until nothing that it signed is good any more.

use std::time::Duration;

use crate::model::Timestamp;

/// What a key is at some instant. In each of these states it is published, and what it signed is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// Published, so that everybody knows it by the time that it signs.
    Next,
    /// Signs.
    Active,
    /// Signs nothing more, but what it signed may still be good.
    Retired,
}

/// How long keys wait and stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    /// How long others may remember the published keys.
    pub(crate) published_for: Duration,
    /// The longest life of a token.
    pub(crate) longest_life: Duration,
}

impl Schedule {
    /// From when on a key signs that is published at `now`: when nobody can still be remembering the keys without it.
    pub(crate) fn signs_from(&self, now: Timestamp) -> Timestamp {
        now.after(self.published_for)
    }

    /// What each key is, by the instants from which they sign, in ascending order; `None` for one that can be forgotten.
    pub(crate) fn states(&self, signs_from: &[Timestamp], now: Timestamp) -> Vec<Option<KeyState>> {
        // If the clock was set back behind all of them, the oldest goes on signing.
        let active = signs_from.iter().rposition(|from| *from <= now).unwrap_or(0);
        let successors = signs_from.iter().skip(1).map(Some).chain([None]);
        let state = |(index, successor): (usize, Option<&Timestamp>)| match index.cmp(&active) {
            std::cmp::Ordering::Greater => Some(KeyState::Next),
            std::cmp::Ordering::Equal => Some(KeyState::Active),
            std::cmp::Ordering::Less => {
                let until = successor?.after(self.longest_life).after(SLACK);
                (now < until).then_some(KeyState::Retired)
            }
        };
        successors.enumerate().map(state).take(signs_from.len()).collect()
    }
}

/// Another process may go on signing with the key before for as long as it takes to notice the new one.
const SLACK: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { published_for: Duration::from_mins(10), longest_life: Duration::from_hours(10) };

    fn states(signs_from: &[i64], now: i64) -> Vec<Option<KeyState>> {
        let signs_from: Vec<_> = signs_from.iter().map(|secs| Timestamp::from_secs(*secs)).collect();
        SCHEDULE.states(&signs_from, Timestamp::from_secs(now))
    }

    #[test]
    fn a_key_is_next_until_it_signs_active_until_another_does_and_retired_while_its_tokens_may_live() {
        let (next, active, retired) = (Some(KeyState::Next), Some(KeyState::Active), Some(KeyState::Retired));
        assert_eq!(states(&[0], 0), [active]);
        assert_eq!(states(&[0, 600], 599), [active, next]);
        assert_eq!(states(&[0, 600], 600), [retired, active]);
        let end = 600 + 36_000 + 300;
        assert_eq!(states(&[0, 600], end - 1), [retired, active]);
        assert_eq!(states(&[0, 600], end), [None, active]);
        assert_eq!(states(&[0, 600, 1_200], 1_200), [retired, retired, active]);
    }

    #[test]
    fn there_is_always_a_key_that_signs() {
        assert_eq!(states(&[600, 700], 0), [Some(KeyState::Active), Some(KeyState::Next)]);
        assert_eq!(states(&[], 0), []);
    }

    #[test]
    fn a_new_key_signs_when_nobody_can_remember_the_keys_without_it() {
        assert_eq!(SCHEDULE.signs_from(Timestamp::from_secs(5)), Timestamp::from_secs(605));
    }
}
