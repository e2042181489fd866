//! Guards on logins at token services that are not ours.
//!
//! Imports `model` and the rule. Deliberately absent: the counters, which are `store::login_guard`'s.

use std::sync::Arc;

use crate::model::{AccountPlace, CountedBy, NonEmpty, WithoutStore};
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
    /// The statuses that mean that a login is right; `None` for all of 2xx.
    pub success: Option<Box<[u16]>>,
    /// The statuses that mean that it is wrong.
    pub failure: Box<[u16]>,
    /// What attempts are counted by.
    pub by: NonEmpty<CountedBy>,
    /// What each counter takes.
    pub rule: BudgetRule,
    /// What is done while the store that gateways share is away.
    pub without_store: WithoutStore,
}
