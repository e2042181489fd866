//! Rate limits, and which of them a route has.

use std::fmt::Write as _;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::model::Source;
use crate::rules::gcra::Quota;
use crate::rules::networks::Networks;

/// A rate limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Its name: label of its metric, name of its policy in answers.
    pub name: Arc<str>,
    /// Its place in `Plan::limits`.
    pub index: usize,
    /// How much there is of it.
    pub quota: Quota,
    /// Who has a quota each; never empty.
    pub key: Box<[LimitKey]>,
    /// How many callers are counted apart.
    pub keys: usize,
    /// Whether answers tell how much is left.
    pub told: bool,
    /// Whether what it would refuse passes all the same.
    pub dry_run: bool,
    /// Where requests come from that it does not count.
    pub exempt: Option<Networks>,
    /// What is decided when the shared store, where callers are counted for all gateways, is away; `None` if they are counted
    /// here and nowhere else.
    pub shared: Option<OnStoreOutage>,
}

/// What a limit that gateways share says while the store is away in which it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnStoreOutage {
    /// Each of so many gateways counts by itself and allows its part of the whole; no, if its part is less than a request costs.
    Local(u32),
    /// No.
    Deny,
    /// Yes, uncounted.
    Allow,
}

/// A part of what a limit counts by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LimitKey {
    /// Where the request comes from.
    Source,
    /// Whose token it shows.
    Subject,
    /// The client that token was issued to.
    Client,
    /// The session that token belongs to.
    Session,
    /// The route that it takes.
    Route,
    /// What this field says.
    Header(HeaderName),
}

impl Limit {
    /// The same limit for requests that cost so many units, at least 1. Callers have one quota for both.
    #[must_use]
    pub fn costing(&self, cost: u32) -> Self {
        Self { quota: self.quota.costing(cost), ..self.clone() }
    }

    /// Whether it does not count requests from this address.
    #[must_use]
    pub fn exempts(&self, source: Source) -> bool {
        self.exempt.as_ref().is_some_and(|networks| networks.contains(source.address()))
    }

    /// Whether it can be spent only when it is known who calls.
    #[must_use]
    pub fn needs_caller(&self) -> bool {
        self.key.iter().any(|part| match part {
            LimitKey::Subject | LimitKey::Client | LimitKey::Session => true,
            LimitKey::Source | LimitKey::Route | LimitKey::Header(_) => false,
        })
    }
}

/// The limits of a route; all of them must have room.
#[derive(Clone, Debug, Default)]
pub struct RouteLimits {
    /// Those that are spent before anything is asked about the caller.
    pub of_source: Box<[Arc<Limit>]>,
    /// Those that are spent once it is known who calls, and that they may.
    pub of_caller: Box<[Arc<Limit>]>,
    /// Those that are told, in the order in which they were written.
    pub told: Box<[Arc<Limit>]>,
    /// What is told of all of them.
    pub policy: Policy,
}

/// Which limits there are, in the words of answers.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `RateLimit-Policy`; `None` if nothing is told.
    pub field: Option<HeaderValue>,
    /// The same in the words of contract B, for `x-ratelimit-limit`.
    pub in_force: Box<str>,
}

impl RouteLimits {
    /// The most limits that a route can have: each is looked at for every request.
    pub const MOST: usize = 8;

    /// Of these limits, in this order.
    #[must_use]
    pub fn new(limits: &[Arc<Limit>]) -> Self {
        let told: Box<[_]> = limits.iter().filter(|limit| limit.told && !limit.dry_run).cloned().collect();
        let policy = Policy::of(told.iter());
        let (of_caller, of_source): (Vec<_>, Vec<_>) = limits.iter().cloned().partition(|limit| limit.needs_caller());
        Self { of_source: of_source.into(), of_caller: of_caller.into(), told, policy }
    }
}

impl Policy {
    /// What is told of these limits.
    #[must_use]
    pub fn of<'l>(told: impl Iterator<Item = &'l Arc<Limit>>) -> Self {
        let (mut field, mut in_force) = (String::new(), String::new());
        for limit in told {
            let (burst, window) = (limit.quota.burst(), limit.quota.window());
            let window = window.as_secs() + u64::from(window.subsec_nanos() > 0);
            let separator = if field.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(field, "{separator}\"{}\";q={burst};w={window}", limit.name);
            let _ = write!(in_force, "{separator}{burst};w={window}");
        }
        // Names are plain, so it always fits a header.
        let field = HeaderValue::try_from(field).ok().filter(|field| !field.is_empty());
        Self { field, in_force: in_force.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limit(name: &str, key: LimitKey, quota: Quota) -> Limit {
        Limit {
            name: name.into(),
            index: 0,
            quota,
            key: Box::new([key]),
            keys: 10,
            told: true,
            dry_run: false,
            exempt: None,
            shared: None,
        }
    }

    #[test]
    fn a_route_tells_its_limits_but_for_those_that_are_silent_or_rehearsed() {
        let per_minute = |units| Quota::new(units, Duration::from_mins(1), units, 1);
        let silent = Limit { told: false, ..limit("silent", LimitKey::Source, per_minute(1)) };
        let rehearsed = Limit { dry_run: true, ..limit("rehearsed", LimitKey::Source, per_minute(1)) };
        let odd = limit("odd", LimitKey::Source, Quota::new(7, Duration::from_secs(1), 10, 1));
        let told = limit("per-subject", LimitKey::Subject, per_minute(100));
        let limits = RouteLimits::new(&[told, silent, rehearsed, odd].map(Arc::new));
        assert_eq!(limits.policy.field.unwrap(), "\"per-subject\";q=100;w=60, \"odd\";q=10;w=2");
        assert_eq!(&*limits.policy.in_force, "100;w=60, 10;w=2");
        assert_eq!((limits.of_source.len(), limits.of_caller.len()), (3, 1));
        assert!(RouteLimits::new(&[]).policy.field.is_none());
    }
}
