//! Guards on logins at token services that are not ours.
//!
//! Imports `model` and the rule. Deliberately absent: the counters, which are `store::login_guard`'s.

use std::sync::Arc;

use crate::model::{AccountPlace, CountedBy, NonEmpty, WithoutStore};
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
}
