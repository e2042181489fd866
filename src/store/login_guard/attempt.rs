//! An attempt that was let through, until it is settled and that is kept.
//!
//! Imports as the parent. However an attempt ends, and whoever hangs up in between, what it holds is settled once.

use std::sync::Arc;

use crate::rules::lockout::Ending;
use crate::store::login_guard::LoginGuard;
use crate::store::login_guard::table::Caller;
use crate::store::login_guard::team::{Held, Hold};

/// An attempt that may go on. If it is dropped unsettled, we failed and not the caller: the reservations are given back, unless
/// the service has answered.
#[derive(Debug)]
#[must_use = "an attempt that is dropped is given back"]
pub struct Attempt {
    guard: Arc<LoginGuard>,
    caller: Caller,
    /// Nothing once it is settled.
    hold: Option<Hold>,
    if_dropped: Ending,
}

/// An attempt that is settled.
#[derive(Debug)]
#[must_use = "what nobody waits for may be answered before it is kept"]
pub struct Settled {
    guard: Arc<LoginGuard>,
    caller: Caller,
    ending: Ending,
    /// Whether there is a lock of this gateway to be written down.
    locks: bool,
    telling: Option<Telling>,
}

/// What the store that gateways share is to be told.
#[derive(Debug)]
enum Telling {
    /// How an attempt ended that it has admitted. Nobody else was told yet.
    Ending(Held),
    /// The same of one that began here while it was away, and is settled here.
    Late(Held),
}

impl Attempt {
    pub(super) fn new(guard: Arc<LoginGuard>, caller: Caller, hold: Hold) -> Self {
        Self { guard, caller, hold: Some(hold), if_dropped: Ending::Abandoned }
    }

    /// Settles it, now that its outcome is known. A lock that this begins holds at once at this gateway. Where counters are
    /// shared, it holds for all once [`Settled::written`] returns; until then the attempt fills its place in the budget.
    pub fn settle(mut self, ending: Ending) -> Settled {
        let (guard, caller) = (Arc::clone(&self.guard), self.caller);
        let (locks, telling) = match self.hold.take() {
            None => (false, None),
            Some(Hold::There(held)) => (false, Some(Telling::Ending(held.ended(ending)))),
            Some(hold @ Hold::Here(_)) => {
                let known = hold.acquainted();
                let (locks, held) = settle_here(&guard, caller, hold, ending);
                guard.settled(caller, known, ending, locks);
                (locks, held.map(Telling::Late))
            }
        };
        Settled { guard, caller, ending, locks, telling }
    }

    /// From now on it has failed if it is dropped: the service has answered, whatever becomes of the answer.
    pub fn fail_unless_settled(&mut self) {
        self.if_dropped = Ending::Failed;
    }

    /// Gives it back because the request is not forwarded after all.
    pub fn withdraw(mut self) {
        if let Some(hold) = self.hold.take() {
            let _ = settle_here(&self.guard, self.caller, hold, Ending::Abandoned);
            self.guard.wake(Ending::Abandoned, false);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            let known = hold.acquainted();
            let (locks, _) = settle_here(&self.guard, self.caller, hold, self.if_dropped);
            self.guard.settled(self.caller, known, self.if_dropped, locks);
        }
    }
}

/// Settles what can be settled at once; whether that locks here, and what the store is to be told, which it is when that is
/// dropped at the latest.
fn settle_here(guard: &LoginGuard, caller: Caller, hold: Hold, ending: Ending) -> (bool, Option<Held>) {
    let acquainted = hold.acquainted();
    match hold {
        Hold::There(held) => (false, Some(held.ended(ending))),
        Hold::Here(reservations) => {
            let locks = guard.counters.settle(&guard.terms, caller, reservations, ending, guard.clock.now());
            let team = guard.team.as_ref().filter(|_| ending != Ending::Abandoned);
            (locks, team.map(|team| team.held(caller, acquainted, ending)))
        }
    }
}

impl Settled {
    /// Waits until a lock that it began is written down; where that fails, the lock holds until a restart. Where counters are
    /// shared, waits until the store knows, or is known to be away: then it is told when it is back.
    pub async fn written(self) {
        let Self { guard, caller, ending, locks, telling } = self;
        match telling {
            None => {}
            Some(Telling::Ending(held)) => {
                let known = held.acquainted();
                let locks = held.settle().await;
                guard.settled(caller, known, ending, locks);
            }
            Some(Telling::Late(held)) => held.tell().await,
        }
        if locks {
            guard.keep().await;
        }
    }
}
