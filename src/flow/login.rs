//! Requests that carry a password to a token service that is not ours: nobody may guess for long.
//!
//! An attempt is reserved before the request is forwarded and settled by its answer: by the status before that goes down, or by
//! the JSON in the answer before its end goes down. Imports as the parent; the counters are `store::login_guard`.

use std::sync::Arc;
use std::time::Duration;

use crate::flow::passage::{Asking, unreadable};
use crate::flow::{Flow, Forward, Outcome};
use crate::model::{AccountPlace, ClientPlace, Denial, Location, SourceKey};
use crate::plan::{self, LoginGuardId, Route};
use crate::rules::access::Permit;
use crate::rules::account_key::{Telling, account_key, fold};
use crate::rules::lockout::Ending;
use crate::rules::login_answer::Told;
use crate::store::login_guard::{Attempt, LoginGuard, Settled, Who};

/// An attempt at one of a route's guards, until it is settled.
#[derive(Debug)]
pub(super) struct Held {
    guard: Arc<plan::LoginGuard>,
    attempt: Attempt,
    /// The status of an answer of which the body tells the rest.
    status: Option<u16>,
}

impl Flow {
    /// Asks the guards that a route checks, and reserves an attempt at each of its own, or at none. Of several refusals the
    /// strictest is told.
    pub(super) async fn attempt(&self, route: &Route, permit: &Permit, asking: Asking<'_>) -> Result<Vec<Held>, Denial> {
        let source = asking.source.key();
        // Every account first, so that what cannot be read reserves nothing.
        let mut accounts = Vec::with_capacity(route.login_guards.len());
        for guard in &route.login_guards {
            accounts.push((guard, self.named(guard.id, &guard.account, guard.client.as_ref(), permit, asking)?));
        }
        let mut refusal: Option<Denial> = None;
        for check in &route.checks {
            let (counters, told) = self.named(check.guard, &check.account, check.client.as_ref(), permit, asking)?;
            refusal = strictest(refusal, counters.consult(told.who(source)).await.err());
        }
        let mut held = Vec::with_capacity(accounts.len());
        for (guard, (counters, told)) in accounts {
            // Who is refused anyway waits for nobody's attempt to end.
            let begun = match &refusal {
                Some(_) => counters.consult(told.who(source)).await.map(|()| None),
                None => counters.begin(told.who(source)).await.map(Some),
            };
            match begun {
                Ok(attempt) => {
                    held.extend(attempt.map(|attempt| Held { guard: Arc::clone(guard), attempt, status: None }));
                }
                Err(denial) => refusal = strictest(refusal, Some(denial)),
            }
        }
        let Some(denial) = refusal else { return Ok(held) };
        for held in held {
            held.attempt.withdraw();
        }
        Err(denial)
    }

    /// The counters of a guard, and whom a request names to it.
    fn named(
        &self,
        guard: LoginGuardId,
        account: &AccountPlace,
        client: Option<&ClientPlace>,
        permit: &Permit,
        asking: Asking<'_>,
    ) -> Result<(&Arc<LoginGuard>, Named), Denial> {
        // Every guard of the plan is there; were one not, nothing passes it.
        let counters = self.login_guards.get(guard.0).ok_or(Denial::Overloaded(Duration::from_secs(1)))?;
        let named = named(account, client, permit, asking).inspect_err(|_| counters.note_unreadable())?;
        Ok((counters, named))
    }

    /// Settles the attempts of a request whose outcome is known; those of which the body of the answer tells it are held on.
    pub(super) async fn settle_attempts(forward: &mut Forward, outcome: Outcome) {
        for mut held in std::mem::take(&mut forward.attempts) {
            let ending = match outcome {
                Outcome::Answered(status) => match held.guard.answers.by_status(status) {
                    Told::Ending(ending) => ending,
                    Told::InBody => {
                        held.status = Some(status);
                        held.attempt.fail_unless_settled();
                        forward.attempts.push(held);
                        continue;
                    }
                },
                Outcome::Unknown => Ending::Abandoned,
                // Whoever leaves before the answer may have been told by other ways what it was, so that counts.
                Outcome::Left => Ending::Failed,
            };
            held.attempt.settle(ending).written().await;
        }
    }
}

impl Forward {
    /// Whether the body of its answer is to be judged ([`judge`](Self::judge)).
    #[must_use]
    pub fn awaits_body(&self) -> bool {
        self.attempts.iter().any(|held| held.status.is_some())
    }

    /// Settles what the body of the answer tells; `None` if it cannot be read: too long, compressed or cut off. What that locks
    /// holds at once; [`conclude`](Self::conclude) waits until it is written down.
    pub fn judge(&mut self, body: Option<&[u8]>) {
        for held in std::mem::take(&mut self.attempts) {
            let told = held.status.zip(body).map(|(status, body)| held.guard.answers.by_body(status, body));
            self.settled.push(held.attempt.settle(told.unwrap_or(Ending::Failed)));
        }
    }

    /// Ends what is left to be done once the answer is gone.
    pub async fn conclude(&mut self) {
        for settled in std::mem::take(&mut self.settled) {
            settled.written().await;
        }
    }
}

/// What has been settled and may have to be written down still.
pub(super) type Unwritten = Vec<Settled>;

/// A full table, then a store that is away, then the longest lock, then the longest wait.
fn strictest(one: Option<Denial>, other: Option<Denial>) -> Option<Denial> {
    let rank = |denial: &Denial| {
        if let Denial::Overloaded(wait) = denial {
            (4, *wait)
        } else if let Denial::StoreUnavailable(wait) = denial {
            (3, *wait)
        } else if let Denial::Locked(left) = denial {
            (2, *left)
        } else if let Denial::LimitReached(wait) = denial {
            (1, *wait)
        } else {
            (0, Duration::ZERO)
        }
    };
    one.into_iter().chain(other).max_by_key(rank)
}

/// Whom a request names.
struct Named {
    account: Box<str>,
    client: Option<Box<str>>,
}

impl Named {
    fn who(&self, source: SourceKey) -> Who<'_> {
        Who { account: &self.account, source, client: self.client.as_deref() }
    }
}

fn named(account: &AccountPlace, client: Option<&ClientPlace>, permit: &Permit, asking: Asking<'_>) -> Result<Named, Denial> {
    let facts = permit.principal().map(|principal| principal.facts());
    let of_token = |fact: Option<&str>| fold(fact.ok_or(Denial::ClaimMissing)?).ok_or(Denial::ClaimMissing);
    let told = |location| {
        let Asking { headers, query, body, .. } = asking;
        account_key(location, Telling { headers, query, body }).map_err(unreadable)
    };
    let account = match account {
        AccountPlace::Subject => of_token(facts.and_then(|facts| facts.subject.as_deref()))?,
        AccountPlace::Told(location) => told(location)?,
    };
    let client = client.map(|client| match client {
        ClientPlace::Token => of_token(facts.and_then(|facts| facts.client.as_deref())),
        ClientPlace::Told(location) => told(location),
    });
    Ok(Named { account, client: client.transpose()? })
}

/// Whether the body must be read to see whose login it is.
pub(super) fn wants_body(route: &Route) -> bool {
    route.guarded_places().any(Location::is_in_body)
}
