//! Requests that carry a password to a token service that is not ours: nobody may guess for long.
//!
//! An attempt is reserved before the request is forwarded and settled by the status of its answer, before that goes down.
//! Imports as the parent; the counters are `store::login_guard`.

use std::time::Duration;

use crate::flow::passage::{Asking, unreadable};
use crate::flow::{Flow, Outcome};
use crate::model::{AccountPlace, Denial};
use crate::plan::{LoginGuard, Route};
use crate::rules::access::Permit;
use crate::rules::account_key::{Telling, account_key, fold};
use crate::rules::lockout::Ending;
use crate::rules::login_budget::ending;
use crate::store::login_guard::Attempt;

impl Flow {
    /// Reserves an attempt for the account that a request names.
    pub(super) async fn attempt(&self, guard: &LoginGuard, permit: &Permit, asking: Asking<'_>) -> Result<Attempt, Denial> {
        // Every guard of the plan is there; were one not, nothing passes it.
        let counters = self.login_guards.get(guard.id.0).ok_or(Denial::Overloaded(Duration::from_secs(1)))?;
        let account = account(guard, permit, asking).inspect_err(|_| counters.note_unreadable())?;
        counters.begin(&account, asking.source.key()).await
    }
}

fn account(guard: &LoginGuard, permit: &Permit, asking: Asking<'_>) -> Result<Box<str>, Denial> {
    match &guard.account {
        AccountPlace::Subject => {
            let subject = permit.principal().and_then(|principal| principal.facts().subject.as_deref());
            fold(subject.ok_or(Denial::ClaimMissing)?).ok_or(Denial::ClaimMissing)
        }
        AccountPlace::Told(location) => {
            let Asking { headers, query, body, .. } = asking;
            account_key(location, Telling { headers, query, body }).map_err(unreadable)
        }
    }
}

/// Whether the body must be read to see whose login it is.
pub(super) fn wants_body(route: &Route) -> bool {
    route.login_guard.as_ref().is_some_and(|guard| match &guard.account {
        AccountPlace::Subject => false,
        AccountPlace::Told(location) => location.is_in_body(),
    })
}

/// How an attempt ended. Whoever leaves before the answer may have been told by other ways what it was, so that counts.
pub(super) fn ending_of(guard: &LoginGuard, outcome: Outcome) -> Ending {
    match outcome {
        Outcome::Answered(status) => ending(status, guard.success.as_deref(), &guard.failure),
        Outcome::Unknown => Ending::Abandoned,
        Outcome::Left => Ending::Failed,
    }
}
