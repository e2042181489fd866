//! Guards on logins at token services that are not ours.
//!
//! Imports `model` and the rule. Deliberately absent: the counters, which are `store::login_guard`'s.

use std::sync::Arc;

use crate::model::{AccountPlace, ClientPlace, CountedBy, Location, NonEmpty, WithoutStore};
use crate::rules::login_answer::AnswerRule;
use crate::rules::login_budget::BudgetRule;

/// The place of a guard in the plan's table of guards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginGuardId(pub usize);

/// A guard, shared by every route that names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginGuard {
    /// Its place in the plan.
    pub id: LoginGuardId,
    /// Its name: label of its metrics.
    pub name: Arc<str>,
    /// Where a login names its account.
    pub account: AccountPlace,
    /// Where a login names its client, if that is counted by.
    pub client: Option<ClientPlace>,
    /// What answers say of a login.
    pub answers: AnswerRule,
    /// What attempts are counted by.
    pub by: NonEmpty<CountedBy>,
    /// What each counter takes.
    pub rule: BudgetRule,
    /// What is done while the store that gateways share is away.
    pub without_store: WithoutStore,
}

/// A guard whose locks hold on a route that tries no password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuardCheck {
    /// Which.
    pub guard: LoginGuardId,
    /// Its name.
    pub name: Arc<str>,
    /// Where the route's requests name their account.
    pub account: AccountPlace,
    /// Where they name their client, if the guard counts by that.
    pub client: Option<ClientPlace>,
}

/// The places in a request at which a guard looks.
pub(super) fn places<'a>(account: &'a AccountPlace, client: Option<&'a ClientPlace>) -> impl Iterator<Item = &'a Location> {
    let account = match account {
        AccountPlace::Subject => None,
        AccountPlace::Told(location) => Some(location),
    };
    let client = client.and_then(|client| match client {
        ClientPlace::Token => None,
        ClientPlace::Told(location) => Some(location),
    });
    account.into_iter().chain(client)
}
