//! Spending quotas: who pays, what several limits say together, and what the answer tells of it.
//!
//! The arithmetic is `rules::gcra`, the tables are `store::counters`. Imports as the parent. Deliberately absent: which limits a
//! route has (`plan`), and the status of a refusal (`reply`). Limits that gateways share are in `shared`.

mod shared;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::model::{Denial, Entropy, IssuerId, Principal, RequestHead, SourceKey, Style, Tick};
use crate::plan::{Issuer, Limit, LimitKey, Policy, Route, RouteLimits};
use crate::rules::envelope::{Field, Fields};
use crate::rules::gcra::{Quota, Verdict};
use crate::store::counters::{CallerKey, Counters, Naming, SharedCounters};

/// What a limit did to a request, beside letting it pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LimitOutcome {
    /// It was refused by this limit, perhaps among others.
    Refused,
    /// It would have been.
    DryRun,
    /// It was counted together with others, because the limit's table is full.
    Full,
    /// The shared store was away, and it was counted by this gateway alone, under its part of the quota.
    OutageLocal,
    /// The shared store was away, and it was refused for that.
    OutageDenied,
    /// The shared store was away, and it passed uncounted.
    OutageAllowed,
}

impl LimitOutcome {
    /// The label of the metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::DryRun => "dry-run",
            Self::Full => "full",
            Self::OutageLocal => "outage-local",
            Self::OutageDenied => "outage-denied",
            Self::OutageAllowed => "outage-allowed",
        }
    }
}

/// Counts what limits do.
pub trait LimitTally: Send + Sync + fmt::Debug {
    /// This limit did this.
    fn limited(&self, limit: &str, outcome: LimitOutcome);
}

/// Every limit's table.
#[derive(Debug)]
pub struct Limits {
    tables: Box<[Counters]>,
    naming: Naming,
    tally: Arc<dyn LimitTally>,
    /// Where what gateways share is counted, and the issuers' names; their numbers are this gateway's own.
    shared: Option<(SharedCounters, Box<[Arc<str>]>)>,
}

/// How a request stands with the limits of its route: what its answer tells. Empty where there are none.
#[derive(Debug, Default)]
pub struct Standing {
    /// The members of `RateLimit` so far.
    told: String,
    /// The limit that refuses for longest.
    refused: Option<(Arc<Limit>, Duration)>,
    /// The limits that do not count it, by their index.
    exempt: Vec<usize>,
}

/// Who pays for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payer<'a> {
    pub(super) route: &'a Route,
    pub(super) head: &'a RequestHead<'a>,
    pub(super) principal: Option<&'a Principal>,
}

/// A part of a caller's name.
#[derive(Clone, Copy, Hash)]
enum Part<'a> {
    Source(SourceKey),
    Subject(IssuerId, &'a str),
    Client(IssuerId, &'a str),
    Session(IssuerId, &'a str),
    Route(usize),
    Header(&'a HeaderName, &'a [u8]),
    /// What the key asks for is not there, or not there exactly once.
    Nameless(SourceKey),
}

/// What one limit says of a request.
#[derive(Clone, Copy)]
struct Said {
    caller: CallerKey,
    verdict: Verdict,
    /// Whether it is spent, and whether that was together with others.
    spent: Option<bool>,
}

impl Limits {
    /// Nothing spent yet.
    #[must_use]
    pub fn new(limits: &[Arc<Limit>], entropy: &dyn Entropy, tally: Arc<dyn LimitTally>) -> Self {
        let tables = limits.iter().map(|limit| Counters::new(limit.keys)).collect();
        Self { tables, naming: Naming::new(entropy), tally, shared: None }
    }

    /// The same, with what gateways share counted here.
    #[must_use]
    pub fn sharing(self, counters: SharedCounters, issuers: &[Issuer]) -> Self {
        let issuers = issuers.iter().map(|issuer| Arc::clone(&issuer.name)).collect();
        Self { shared: Some((counters, issuers)), ..self }
    }

    /// Spends what a request costs under each of these limits, or, if one of them has not enough, under none. Suspends only
    /// where the shared store is asked.
    ///
    /// # Errors
    /// `LimitReached` with the longest of the waits. `StoreUnavailable` if a limit wants to be asked of the shared store and
    /// cannot be.
    pub(super) async fn spend(
        &self,
        limits: &[Arc<Limit>],
        payer: Payer<'_>,
        now: Tick,
        standing: &mut Standing,
    ) -> Result<(), Denial> {
        match &self.shared {
            Some((counters, issuers)) if limits.iter().any(|limit| limit.shared.is_some()) => {
                // Boxed, so that the way of all other requests is no larger for it.
                Box::pin(self.spend_together(&shared::Together { counters, issuers }, limits, payer, now, standing)).await
            }
            Some(_) | None => self.spend_here(limits, payer, now, standing),
        }
    }

    /// The same for limits of this gateway alone.
    ///
    /// Limits are taken one after the other, and given back if a later one refuses. So two requests at the same moment may
    /// refuse each other where one of them would have passed; more than a limit allows never pass, and no two locks are held.
    ///
    /// # Errors
    /// `LimitReached` with the longest of the waits.
    fn spend_here(&self, limits: &[Arc<Limit>], payer: Payer<'_>, now: Tick, standing: &mut Standing) -> Result<(), Denial> {
        if limits.is_empty() {
            return Ok(());
        }
        let mut all = [None; RouteLimits::MOST];
        let mut refused: Option<(&Arc<Limit>, Duration)> = None;
        for (limit, said) in limits.iter().zip(&mut all) {
            if limit.exempts(payer.head.source) {
                standing.exempt.push(limit.index);
                continue;
            }
            let Some(table) = self.tables.get(limit.index) else { continue };
            let one = self.ask(limit, table, payer, now, refused.is_some());
            *said = Some(one);
            if let (Verdict::Refused { wait, .. }, false) = (one.verdict, limit.dry_run) {
                self.tally.limited(&limit.name, LimitOutcome::Refused);
                refused = refused.filter(|(_, longest)| *longest >= wait).or(Some((limit, wait)));
            }
        }
        for (limit, said) in limits.iter().zip(all) {
            let Some(said) = said else { continue };
            if refused.is_some() {
                self.give_back(limit, said);
            }
            standing.note(limit, &limit.quota, said.verdict, refused.is_some());
        }
        let Some((limit, wait)) = refused else { return Ok(()) };
        standing.refused = Some((Arc::clone(limit), wait));
        Err(Denial::LimitReached(wait))
    }

    /// What one limit says; nothing is spent any more once another has refused.
    fn ask(&self, limit: &Limit, table: &Counters, payer: Payer<'_>, now: Tick, only_look: bool) -> Said {
        let caller = self.naming.caller(limit.key.iter().map(|part| named(part, payer)));
        if only_look {
            return Said { caller, verdict: table.look(caller, &limit.quota, now), spent: None };
        }
        let taken = table.take(caller, &limit.quota, now);
        if taken.shared {
            self.tally.limited(&limit.name, LimitOutcome::Full);
        }
        let admitted = matches!(taken.verdict, Verdict::Admitted { .. });
        if !admitted && limit.dry_run {
            self.note_dry_run(limit, payer);
        }
        Said { caller, verdict: taken.verdict, spent: admitted.then_some(taken.shared) }
    }

    fn note_dry_run(&self, limit: &Limit, payer: Payer<'_>) {
        self.tally.limited(&limit.name, LimitOutcome::DryRun);
        tracing::info!(limit = &*limit.name, route = &*payer.route.name, "would be refused, but is a dry run");
    }

    fn give_back(&self, limit: &Limit, said: Said) {
        if let (Some(table), Some(shared)) = (self.tables.get(limit.index), said.spent) {
            table.give_back(said.caller, &limit.quota, shared);
        }
    }
}

/// A part of the name of whoever pays. What is missing is replaced by the source, so that leaving something out leads to one
/// more quota for each source, not for each request.
fn named<'a>(part: &'a LimitKey, payer: Payer<'a>) -> Part<'a> {
    let source = payer.head.source.key();
    let facts = payer.principal.map(Principal::facts);
    let known = match part {
        LimitKey::Source => Some(Part::Source(source)),
        LimitKey::Route => Some(Part::Route(payer.route.index)),
        LimitKey::Subject => facts.and_then(|facts| Some(Part::Subject(facts.issuer, facts.subject.as_deref()?))),
        LimitKey::Client => facts.and_then(|facts| Some(Part::Client(facts.issuer, facts.client.as_deref()?))),
        LimitKey::Session => facts.and_then(|facts| Some(Part::Session(facts.issuer, facts.session.as_deref()?))),
        LimitKey::Header(name) => {
            let mut values = payer.head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
            let only = values.next().filter(|value| !value.is_empty() && values.next().is_none());
            only.map(|value| Part::Header(name, value))
        }
    };
    known.unwrap_or(Part::Nameless(source))
}

impl Standing {
    /// The limit that refused the request, if one did.
    #[must_use]
    pub fn refused_by(&self) -> Option<&str> {
        self.refused.as_ref().map(|(limit, _)| &*limit.name)
    }

    /// Notes what a limit said of this quota; `unspent` if the request was not counted in the end.
    fn note(&mut self, limit: &Limit, quota: &Quota, verdict: Verdict, unspent: bool) {
        if !limit.told || limit.dry_run {
            return;
        }
        let (left, time) = match verdict {
            Verdict::Admitted { left, whole_after, .. } if unspent => {
                (left.saturating_add(quota.cost()), whole_after.saturating_sub(quota.price()))
            }
            Verdict::Admitted { left, whole_after, .. } => (left, whole_after),
            Verdict::Refused { left, wait } => (left, wait),
        };
        let separator = if self.told.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(self.told, "{separator}\"{}\";r={left};t={}", limit.name, whole_seconds(time));
    }

    /// Tells it in an answer of a route with these limits: `RateLimit` and `RateLimit-Policy`
    /// (draft-ietf-httpapi-ratelimit-headers-10), and on refusals in style `session` what contract B calls them.
    pub fn tell(&self, limits: &RouteLimits, style: Style, fields: &mut dyn Fields) {
        if self.told.is_empty() {
            return;
        }
        let mut set = |name: &'static str, wire, value| {
            fields.set(&Field { name: HeaderName::from_static(name), wire, value });
        };
        let policy = self.policy(limits);
        if let Some(field) = &policy.field {
            set("ratelimit-policy", "RateLimit-Policy", field.clone());
        }
        // Names and numbers, so it always fits a header; should it not, it is left out.
        if let Ok(value) = HeaderValue::try_from(self.told.as_str()) {
            set("ratelimit", "RateLimit", value);
        }
        let Some((limit, wait)) = self.refused.as_ref().filter(|(limit, _)| style == Style::Session && limit.told) else {
            return;
        };
        if let Ok(value) = HeaderValue::try_from(format!("{}, {}", limit.quota.burst(), policy.in_force)) {
            set("x-ratelimit-limit", "x-ratelimit-limit", value);
        }
        set("x-ratelimit-reset", "x-ratelimit-reset", HeaderValue::from(whole_seconds(*wait).max(1)));
    }

    /// What is told of the limits of a route: of those that count this request.
    fn policy<'l>(&self, limits: &'l RouteLimits) -> Cow<'l, Policy> {
        if self.exempt.is_empty() {
            return Cow::Borrowed(&limits.policy);
        }
        Cow::Owned(Policy::of(limits.told.iter().filter(|limit| !self.exempt.contains(&limit.index))))
    }
}

/// Seconds, rounded up.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests;
