//! Limits that gateways share: all those of one step are asked at once, and what holds while their store is away.
//!
//! Limits of this gateway alone come first. If one of them refuses, the store is not asked, so such a limit keeps a flood away
//! from it; the answer then tells nothing of the others. Imports as the parent, and the joining of futures.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderName;

use crate::flow::limits::{LimitOutcome, Limits, Part, Payer, Standing, named};
use crate::model::{Denial, IssuerId, Tick};
use crate::plan::{Limit, OnStoreOutage};
use crate::rules::gcra::{Quota, Verdict};
use crate::store::counters::{CallerKey, SharedCounters};

/// After how long it is worth while to come again when the store is away: it is tried at least that often.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// Where gateways count together, and what issuers are called there.
pub(super) struct Together<'a> {
    pub(super) counters: &'a SharedCounters,
    pub(super) issuers: &'a [Arc<str>],
}

/// What one limit says of a request.
struct Heard<'a> {
    limit: &'a Arc<Limit>,
    /// The quota that it was asked for: while the store is away, a part.
    quota: Quota,
    /// `None` if nobody could say.
    verdict: Option<Verdict>,
    spent: Spent,
    /// Whether the request is refused for want of somebody who could say.
    denied: bool,
}

/// Where what a request costs has been taken.
enum Spent {
    Nothing,
    Here(CallerKey, bool),
    There(String),
}

impl Limits {
    /// Spends what a request costs under each of these limits, or under none, where some are shared.
    ///
    /// What was taken is given back if another limit refuses. So requests at the same moment may refuse each other where one
    /// of them would have passed; more than a limit allows never pass.
    pub(super) async fn spend_together(
        &self,
        together: &Together<'_>,
        limits: &[Arc<Limit>],
        payer: Payer<'_>,
        now: Tick,
        standing: &mut Standing,
    ) -> Result<(), Denial> {
        let (exempt, counting): (Vec<_>, Vec<_>) = limits.iter().partition(|limit| limit.exempts(payer.head.source));
        standing.exempt.extend(exempt.iter().map(|limit| limit.index));
        let here = counting.iter().filter(|limit| limit.shared.is_none());
        let mut heard: Vec<Heard<'_>> = here.filter_map(|limit| self.ask_here(limit, limit.quota, payer, now)).collect();
        if !heard.iter().any(Heard::refuses) {
            let there = counting.iter().filter_map(|limit| Some((*limit, limit.shared.as_ref()?)));
            let asked = there.map(|(limit, outage)| self.ask_there(together, limit, outage, payer, now));
            heard.extend(join_all(asked).await);
        }
        // As they are told everywhere: in the order of the configuration.
        heard.sort_by_key(|heard| limits.iter().position(|limit| Arc::ptr_eq(limit, heard.limit)));
        let refused = self.refusal(&heard);
        let unspent = refused.is_some() || heard.iter().any(|heard| heard.denied);
        for heard in &heard {
            if let Some(verdict) = heard.verdict {
                standing.note(heard.limit, &heard.quota, verdict, unspent);
            }
        }
        if !unspent {
            return Ok(());
        }
        join_all(heard.iter().map(|heard| self.take_back(together, heard))).await;
        let Some((limit, wait)) = refused else { return Err(Denial::StoreUnavailable(COME_AGAIN)) };
        standing.refused = Some((limit, wait));
        Err(Denial::LimitReached(wait))
    }

    /// The limit that refuses for longest; each that refuses is counted.
    fn refusal(&self, heard: &[Heard<'_>]) -> Option<(Arc<Limit>, Duration)> {
        let refusing = heard.iter().filter(|heard| heard.refuses()).filter_map(|heard| match heard.verdict? {
            Verdict::Refused { wait, .. } => Some((heard.limit, wait)),
            Verdict::Admitted { .. } => None,
        });
        let counted = refusing.inspect(|(limit, _)| self.tally.limited(&limit.name, LimitOutcome::Refused));
        counted.max_by_key(|(_, wait)| *wait).map(|(limit, wait)| (Arc::clone(limit), wait))
    }

    /// Asks this gateway's own table. `None` cannot happen: every limit has one.
    fn ask_here<'a>(&self, limit: &'a Arc<Limit>, quota: Quota, payer: Payer<'_>, now: Tick) -> Option<Heard<'a>> {
        let table = self.tables.get(limit.index)?;
        let caller = self.naming.caller(limit.key.iter().map(|part| named(part, payer)));
        let taken = table.take(caller, &quota, now);
        if taken.shared {
            self.tally.limited(&limit.name, LimitOutcome::Full);
        }
        let spent = match taken.verdict {
            Verdict::Admitted { .. } => Spent::Here(caller, taken.shared),
            Verdict::Refused { .. } => Spent::Nothing,
        };
        Some(self.hear(Heard { limit, quota, verdict: Some(taken.verdict), spent, denied: false }, payer))
    }

    /// Asks the shared store, and decides as is said for it if that is away.
    async fn ask_there<'a>(
        &self,
        together: &Together<'_>,
        limit: &'a Arc<Limit>,
        outage: &OnStoreOutage,
        payer: Payer<'_>,
        now: Tick,
    ) -> Heard<'a> {
        let caller = together.caller(limit, payer);
        let silent = Heard { limit, quota: limit.quota, verdict: None, spent: Spent::Nothing, denied: false };
        if let Ok(verdict) = together.counters.take(&caller, &limit.quota).await {
            let spent = match verdict {
                Verdict::Admitted { .. } => Spent::There(caller),
                Verdict::Refused { .. } => Spent::Nothing,
            };
            return self.hear(Heard { verdict: Some(verdict), spent, ..silent }, payer);
        }
        let tally = |outcome| self.tally.limited(&limit.name, outcome);
        let part = match outage {
            OnStoreOutage::Local(gateways) => limit.quota.share(*gateways),
            OnStoreOutage::Deny => None,
            OnStoreOutage::Allow => {
                tally(LimitOutcome::OutageAllowed);
                return silent;
            }
        };
        match part {
            Some(part) => {
                tally(LimitOutcome::OutageLocal);
                self.ask_here(limit, part, payer, now).unwrap_or(silent)
            }
            None if limit.dry_run => {
                tally(LimitOutcome::DryRun);
                silent
            }
            None => {
                tally(LimitOutcome::OutageDenied);
                Heard { denied: true, ..silent }
            }
        }
    }

    /// Notes a dry run.
    fn hear<'a>(&self, heard: Heard<'a>, payer: Payer<'_>) -> Heard<'a> {
        if heard.limit.dry_run && matches!(heard.verdict, Some(Verdict::Refused { .. })) {
            self.note_dry_run(heard.limit, payer);
        }
        heard
    }

    async fn take_back(&self, together: &Together<'_>, heard: &Heard<'_>) {
        match &heard.spent {
            Spent::Nothing => {}
            Spent::Here(caller, shared) => {
                if let Some(table) = self.tables.get(heard.limit.index) {
                    table.give_back(*caller, &heard.quota, *shared);
                }
            }
            Spent::There(caller) => {
                if together.counters.give_back(caller, &heard.quota).await.is_err() {
                    tracing::debug!(limit = &*heard.limit.name, "a refused request was counted: the shared store is away");
                }
            }
        }
    }
}

impl Heard<'_> {
    fn refuses(&self) -> bool {
        !self.limit.dry_run && matches!(self.verdict, Some(Verdict::Refused { .. }))
    }
}

impl Together<'_> {
    /// What whoever pays is called in the store, by every gateway alike.
    fn caller(&self, limit: &Limit, payer: Payer<'_>) -> String {
        let words: Vec<Cow<'_, [u8]>> = limit.key.iter().flat_map(|part| self.words(named(part, payer), payer)).collect();
        let names = self.counters.names();
        names.of("limit", &limit.name, &names.hash(words.iter().map(|word| &**word)), false)
    }

    /// A part of a name: what it is, and as many words as that has. Routes and issuers go by their names.
    fn words<'a>(&'a self, part: Part<'a>, payer: Payer<'a>) -> [Cow<'a, [u8]>; 3] {
        let issuer = |id: IssuerId| self.issuers.get(usize::from(id.0)).map_or(&b""[..], |name| name.as_bytes());
        let (kind, first, second): (&str, Cow<'a, [u8]>, &[u8]) = match part {
            Part::Source(source) => ("source", source.octets().to_vec().into(), b""),
            Part::Nameless(source) => ("nameless", source.octets().to_vec().into(), b""),
            Part::Subject(id, subject) => ("subject", issuer(id).into(), subject.as_bytes()),
            Part::Client(id, client) => ("client", issuer(id).into(), client.as_bytes()),
            Part::Session(id, session) => ("session", issuer(id).into(), session.as_bytes()),
            Part::Route(_) => ("route", payer.route.name.as_bytes().into(), b""),
            Part::Header(name, value) => ("header", HeaderName::as_str(name).as_bytes().into(), value),
        };
        [kind.as_bytes().into(), first, second.into()]
    }
}
