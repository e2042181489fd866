//! Requests that carry a password to a token service that is not ours: nobody may guess for long.
//!
//! An attempt is reserved before the request is forwarded and settled by its answer: by the status before that goes down, or by
//! the JSON in the answer before its end goes down. Imports as the parent; the counters are `store::login_guard`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

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
        let mut asked = Vec::with_capacity(route.checks.len() + accounts.len());
        for check in &route.checks {
            asked.push(self.named(check.guard, &check.account, check.client.as_ref(), permit, asking)?);
        }
        // All are asked before the first is held, so that who is refused anyway waits for nobody's attempt to end, and leaves
        // nothing to be given back. The first is asked by holding it, unless another has refused.
        let asked = asked.iter().chain(accounts.iter().skip(1).map(|(_, named)| named));
        let refused = join_all(asked.map(|(counters, told)| counters.consult(told.who(source)))).await;
        if let Some(denial) = refused.into_iter().filter_map(Result::err).reduce(strictest) {
            let first = match accounts.first() {
                Some((_, (counters, told))) => counters.consult(told.who(source)).await.err(),
                None => None,
            };
            return Err(first.into_iter().fold(denial, strictest));
        }
        let mut held = Vec::with_capacity(accounts.len());
        for (guard, (counters, told)) in accounts {
            match counters.begin(told.who(source)).await {
                Ok(attempt) => held.push(Held { guard: Arc::clone(guard), attempt, status: None }),
                Err(denial) => {
                    for held in held {
                        held.attempt.withdraw();
                    }
                    return Err(denial);
                }
            }
        }
        Ok(held)
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
        settle(&mut forward.attempts, outcome).await;
    }
}

async fn settle(attempts: &mut Vec<Held>, outcome: Outcome) {
    let mut settled = Vec::with_capacity(attempts.len());
    for mut held in std::mem::take(attempts) {
        let ending = match outcome {
            Outcome::Answered(status) => match held.guard.answers.by_status(status) {
                Told::Ending(ending) => ending,
                Told::InBody => {
                    held.status = Some(status);
                    held.attempt.fail_unless_settled();
                    attempts.push(held);
                    continue;
                }
            },
            Outcome::Unknown => Ending::Abandoned,
            // Whoever leaves before the answer may have been told by other ways what it was, so that counts.
            Outcome::Left => Ending::Failed,
        };
        settled.push(held.attempt.settle(ending));
    }
    written(settled).await;
}

/// Waits for all. They are settled already, so that whoever drops this changes nothing about how any of them ended.
async fn written(settled: Unwritten) {
    join_all(settled.into_iter().map(Settled::written)).await;
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
        written(std::mem::take(&mut self.settled)).await;
    }
}

/// What has been settled and may have to be written down still.
pub(super) type Unwritten = Vec<Settled>;

/// A full table, then a store that is away, then the longest lock, then the longest wait.
fn strictest(one: Denial, other: Denial) -> Denial {
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
    if rank(&other) >= rank(&one) { other } else { one }
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

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::Poll;

    use async_trait::async_trait;

    use super::*;
    use crate::model::{Clock, CountedBy, Entropy, NonEmpty, Now, Source, Tick, Timestamp, WithoutStore};
    use crate::rules::lockout::LockRule;
    use crate::rules::login_answer::AnswerRule;
    use crate::rules::login_budget::BudgetRule;
    use crate::store::login_guard::{GuardKey, GuardLedger, GuardTerms, GuardWitness, Happening, Noted};
    use crate::store::revocations::NotKept;

    /// A moment that does not pass, and bytes that are all alike.
    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Now {
            Now { wall: Timestamp::from_secs(1_800_000_000), tick: Tick::from_millis(1) }
        }
    }

    impl Entropy for Still {
        fn fill(&self, _: &mut [u8]) {}
    }

    /// Nothing is ever written down.
    #[async_trait]
    impl GuardLedger for Still {
        fn note(&self, _: &Arc<str>, _: Vec<Noted>) {}

        async fn written(&self) -> Result<(), NotKept> {
            pending().await
        }
    }

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<Happening>>);

    impl GuardWitness for Heard {
        fn happened(&self, _: &str, happening: Happening) {
            self.0.lock().unwrap().push(happening);
        }

        fn failed(&self, _: &str, _: bool) {}

        fn not_kept(&self) {}
    }

    async fn hold(heard: &Arc<Heard>) -> Held {
        let by = NonEmpty::new(vec![CountedBy::Account]).unwrap();
        let rule = BudgetRule { lock: Some(LockRule::new(1, Duration::from_mins(30))), window: None };
        let guard = plan::LoginGuard {
            id: LoginGuardId(0),
            name: "login".into(),
            account: AccountPlace::Subject,
            client: None,
            answers: AnswerRule { success: None, failure: Box::default() },
            by: by.clone(),
            rule,
            without_store: WithoutStore::Local,
        };
        let terms = GuardTerms { name: Arc::clone(&guard.name), by, rule };
        let counters = LoginGuard::new(terms, &GuardKey::random(&Still), Arc::new(Still), Arc::clone(heard) as _);
        let counters = Arc::new(counters.remembering(Vec::new(), Arc::new(Still)));
        let source = Source::new(std::net::Ipv4Addr::LOCALHOST.into()).key();
        let attempt = counters.begin(Who { account: "ann", source, client: None }).await.unwrap();
        Held { guard: Arc::new(guard), attempt, status: None }
    }

    #[tokio::test]
    async fn whoever_is_stopped_while_one_attempt_is_written_down_changes_no_other() {
        let heard = Arc::new(Heard::default());
        let mut attempts = vec![hold(&heard).await, hold(&heard).await];
        {
            let mut settling = pin!(settle(&mut attempts, Outcome::Left));
            assert!(poll_fn(|cx| Poll::Ready(settling.as_mut().poll(cx))).await.is_pending());
        }
        assert_eq!(*heard.0.lock().unwrap(), [Happening::Failed; 2]);
    }
}
