//! Rate limits, and which of them a route has.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::rules::gcra::Quota;

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
    /// What is decided when the shared store, where callers are counted for all gateways, is away; `None` if they are counted
    /// here and nowhere else.
    pub shared: Option<OnStoreOutage>,
}

/// What a limit that gateways share says while the store is away in which it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnStoreOutage {
    /// Each gateway counts by itself and allows this part of the whole.
    Local(Quota),
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
    /// `RateLimit-Policy`: all that are told; `None` if none is.
    pub policy: Option<HeaderValue>,
    /// The same in the words of contract B, for `x-ratelimit-limit`.
    pub in_force: Box<str>,
}

impl RouteLimits {
    /// The most limits that a route can have: each is looked at for every request.
    pub const MOST: usize = 8;

    /// Of these limits, in this order.
    #[must_use]
    pub fn new(limits: &[Arc<Limit>]) -> Self {
        let told: Vec<_> =
            limits.iter().filter(|limit| limit.told && !limit.dry_run).map(|limit| (limit, limit.quota)).collect();
        let window = |quota: &Quota| quota.window().as_secs() + u64::from(quota.window().subsec_nanos() > 0);
        let policy: Vec<String> =
            told.iter().map(|(limit, quota)| format!("\"{}\";q={};w={}", limit.name, quota.burst(), window(quota))).collect();
        let in_force: Vec<String> = told.iter().map(|(_, quota)| format!("{};w={}", quota.burst(), window(quota))).collect();
        let (of_caller, of_source): (Vec<_>, Vec<_>) = limits.iter().cloned().partition(|limit| limit.needs_caller());
        Self {
            of_source: of_source.into(),
            of_caller: of_caller.into(),
            // Names are plain, so it always fits a header.
            policy: HeaderValue::try_from(policy.join(", ")).ok().filter(|policy| !policy.is_empty()),
            in_force: in_force.join(", ").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limit(name: &str, key: LimitKey, quota: Quota) -> Limit {
        Limit { name: name.into(), index: 0, quota, key: Box::new([key]), keys: 10, told: true, dry_run: false, shared: None }
    }

    #[test]
    fn a_route_tells_its_limits_but_for_those_that_are_silent_or_rehearsed() {
        let per_minute = |units| Quota::new(units, Duration::from_mins(1), units, 1);
        let silent = Limit { told: false, ..limit("silent", LimitKey::Source, per_minute(1)) };
        let rehearsed = Limit { dry_run: true, ..limit("rehearsed", LimitKey::Source, per_minute(1)) };
        let odd = limit("odd", LimitKey::Source, Quota::new(7, Duration::from_secs(1), 10, 1));
        let told = limit("per-subject", LimitKey::Subject, per_minute(100));
        let limits = RouteLimits::new(&[told, silent, rehearsed, odd].map(Arc::new));
        assert_eq!(limits.policy.unwrap(), "\"per-subject\";q=100;w=60, \"odd\";q=10;w=2");
        assert_eq!(&*limits.in_force, "100;w=60, 10;w=2");
        assert_eq!((limits.of_source.len(), limits.of_caller.len()), (3, 1));
        assert!(RouteLimits::new(&[]).policy.is_none());
    }
}
