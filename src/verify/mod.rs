//! From a credential to a principal: introspection (RFC 7662), JWTs by JWKS, and the cache that both share.
//!
//! Imports `model`, `fetch`, `rules` (what a route accepts), `store` (cuts), `plan` (issuers). The whole way is in this file, top to
//! bottom. Deliberately absent: policy. What a route asks of a principal is decided anew on every request, in `rules::access`.

pub mod in_process;
pub mod observe;
pub mod setup;

mod answer;
mod authority;
mod breaker;
mod budget;
mod cache;
mod flight;
mod inquire;
mod introspect;
mod jwks;
mod jwt;
mod keys;
mod seal;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub(crate) use answer::{Members, Unreadable};
pub use authority::Unavailable;
pub(crate) use budget::MissBudget;
pub use inquire::TokenMark;
pub(crate) use seal::{Refused, Seal};

use crate::model::{Clock, Credential, Denial, IssuerId, Now, Principal, PrincipalFacts, Secret, Source, TokenKind};
use crate::plan::{Freshness, OnOutage};
use crate::rules::access::Requirements;
use crate::store::cuts::{Cuts, Fingerprint};
use crate::verify::authority::{Ageing, KnownIssuer, candidates};
use crate::verify::budget::Toll;
use crate::verify::cache::{Began, Digest, Entry, EntryKey, KeyedHash, TokenCache, Worth};
use crate::verify::flight::{Boarding, Outcome, Ticket};
use crate::verify::jwt::claimed_issuer;
use crate::verify::observe::{Asked, Found, Observer};

/// Says who a credential belongs to. One for the process, or for each plan.
#[derive(Debug)]
pub struct Verifier {
    shared: Arc<Shared>,
}

/// What is remembered of a credential.
#[derive(Debug)]
pub enum Recall<'a> {
    /// Who it belongs to, as far as this route may rely on it.
    Known(Arc<Principal>, CacheUse),
    /// It was of no use a moment ago, and still counts as such: `CredentialInvalid`.
    Refused,
    /// Nothing that this route may rely on; [`Verifier::resolve`] asks.
    Miss(Missed<'a>),
}

/// Which memory was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheUse {
    /// Whose answer it was.
    pub issuer: IssuerId,
    /// How long ago the question was asked.
    pub age: Duration,
}

/// A credential of which nothing is remembered.
#[derive(Debug)]
pub struct Missed<'a> {
    credential: Credential<'a>,
    digest: Digest,
}

/// What requests and the loads that outlive them share.
#[derive(Debug)]
struct Shared {
    issuers: Box<[Arc<KnownIssuer>]>,
    cache: TokenCache,
    budget: MissBudget,
    inquiries: tokio::sync::Semaphore,
    hash: KeyedHash,
    cuts: Arc<Cuts>,
    clock: Arc<dyn Clock>,
    longest_grace: Duration,
    observer: Arc<dyn Observer>,
}

/// What is remembered of a token, for a route.
enum Memory {
    Fresh(Arc<Entry>),
    /// It would be fresh, had no cut reached it.
    Cut,
    /// Nothing, or nothing that this route may rely on.
    Stale,
}

/// What an issuer's word amounts to for one request.
enum Standing {
    Good(Arc<Principal>),
    Inactive,
    Unavailable(Unavailable),
    Denied(Denial),
}

impl Verifier {
    /// Looks the credential up. Synchronous: no await, no lock over IO, no allocation for a token that is known.
    ///
    /// A known token is one whose answer is fresh enough for this route, whose times allow it at `now`, and that no cut has
    /// reached. Near the end of its freshness it is asked about again in the background.
    #[must_use]
    pub fn recall<'a>(
        &self,
        credential: &Credential<'a>,
        requirements: &Requirements,
        freshness: &Freshness,
        now: Now,
    ) -> Recall<'a> {
        let missed = Missed { credential: *credential, digest: self.shared.hash.digest(credential.token().as_bytes()) };
        let mut refused = false;
        for issuer in self.shared.accepted(requirements) {
            match self.shared.memory(issuer, missed.digest, freshness, now) {
                Memory::Fresh(entry) => {
                    let age = entry.age(now.tick);
                    self.shared.observer.looked_up(&issuer.name, Found::Active(age));
                    self.shared.renew_ahead(issuer, &missed, &entry, freshness, now);
                    return Recall::Known(Arc::clone(entry.principal()), CacheUse { issuer: issuer.id, age });
                }
                Memory::Cut => self.shared.observer.looked_up(&issuer.name, Found::Cut),
                Memory::Stale => {}
            }
            refused = refused || self.shared.is_inactive(issuer, missed.digest, now);
        }
        if refused && self.shared.is_inactive_everywhere(&missed, requirements, now) {
            return Recall::Refused;
        }
        Recall::Miss(missed)
    }

    /// Asks whoever the route accepts and the credential may be shown to, in order, until one vouches for it. However many
    /// requests ask about one token at once, each issuer is asked once.
    ///
    /// # Errors
    /// `CredentialInvalid` if nobody vouches for it, `LimitReached` if the source has presented too many unknown tokens,
    /// `AuthorityUnavailable` if somebody who might have vouched for it cannot be asked, and the route's grace does not help.
    pub async fn resolve(
        &self,
        missed: Missed<'_>,
        requirements: &Requirements,
        freshness: &Freshness,
        source: Source,
        now: Now,
    ) -> Result<Arc<Principal>, Denial> {
        let issuers = self.shared.candidates(&missed.credential, requirements);
        // A token that is known and only too old for this route floods nobody: it draws on no budget.
        let known = issuers.iter().any(|issuer| self.shared.held(issuer, missed.digest, now).is_some());
        let mut toll = self.shared.budget.toll(source, known);
        let mut unavailable = None;
        for issuer in issuers {
            match self.shared.standing(issuer, &missed, freshness, &mut toll, now).await {
                Standing::Denied(denial) => return Err(denial),
                Standing::Good(principal) => return Ok(principal),
                Standing::Inactive => {}
                Standing::Unavailable(reason) => match self.shared.in_grace(issuer, missed.digest, freshness) {
                    Some(principal) => return Ok(principal),
                    None => unavailable = Some(reason),
                },
            }
        }
        Err(unavailable.map_or(Denial::CredentialInvalid, |reason| Denial::AuthorityUnavailable(reason.retry_after())))
    }

    /// How many active and inactive tokens are remembered, about.
    #[must_use]
    pub fn remembered(&self) -> (u64, u64) {
        self.shared.cache.sizes()
    }
}

/// What is remembered.
impl Shared {
    fn accepted(&self, requirements: &Requirements) -> impl Iterator<Item = &Arc<KnownIssuer>> + Clone {
        requirements.issuers.as_slice().iter().filter_map(|id| self.issuers.get(usize::from(id.0)))
    }

    fn candidates(&self, credential: &Credential<'_>, requirements: &Requirements) -> Vec<&Arc<KnownIssuer>> {
        candidates(self.accepted(requirements), credential, claimed_issuer)
    }

    /// The entry of a token that is active as far as is known, however old that knowledge is.
    fn held(&self, issuer: &KnownIssuer, digest: Digest, now: Now) -> Option<Arc<Entry>> {
        let entry = self.cache.active(&EntryKey { issuer: issuer.id, digest })?;
        (entry.worth(&self.cuts, now, issuer.terms.leeway) == Worth::Good).then_some(entry)
    }

    fn fresh(&self, issuer: &KnownIssuer, digest: Digest, freshness: &Freshness, now: Now) -> Option<Arc<Entry>> {
        match self.memory(issuer, digest, freshness, now) {
            Memory::Fresh(entry) => Some(entry),
            Memory::Cut | Memory::Stale => None,
        }
    }

    fn memory(&self, issuer: &KnownIssuer, digest: Digest, freshness: &Freshness, now: Now) -> Memory {
        let Some(entry) = self.cache.active(&EntryKey { issuer: issuer.id, digest }) else { return Memory::Stale };
        if entry.age(now.tick) >= self.limit(issuer, freshness, now) {
            return Memory::Stale;
        }
        match entry.worth(&self.cuts, now, issuer.terms.leeway) {
            Worth::Good => Memory::Fresh(entry),
            Worth::Cut => Memory::Cut,
            Worth::Over => Memory::Stale,
        }
    }

    /// An answer is fresh on a route while its age is less than this. While what other gateways cut cannot be heard, an answer
    /// of somebody who can be asked again is good for the request that asked.
    fn limit(&self, issuer: &KnownIssuer, freshness: &Freshness, now: Now) -> Duration {
        if self.is_deaf(issuer, now) { Duration::ZERO } else { issuer.terms.limit(freshness) }
    }

    fn is_deaf(&self, issuer: &KnownIssuer, now: Now) -> bool {
        match issuer.terms.ageing {
            Ageing::Lagging => self.cuts.is_deaf(now.tick),
            Ageing::Exact => self.cuts.outbox().is_deaf(now.tick),
            Ageing::SelfContained => false,
        }
    }

    fn is_inactive(&self, issuer: &KnownIssuer, digest: Digest, now: Now) -> bool {
        self.cache.is_inactive(&EntryKey { issuer: issuer.id, digest }, now.tick)
    }

    fn is_inactive_everywhere(&self, missed: &Missed<'_>, requirements: &Requirements, now: Now) -> bool {
        self.candidates(&missed.credential, requirements).iter().all(|issuer| {
            let inactive = self.is_inactive(issuer, missed.digest, now);
            if inactive {
                self.observer.looked_up(&issuer.name, Found::Inactive);
            }
            inactive
        })
    }

    /// The outage policy: what was last known of a token, while nobody can be asked. The clock is read again, because a
    /// deadline has passed since the request came.
    fn in_grace(&self, issuer: &KnownIssuer, digest: Digest, freshness: &Freshness) -> Option<Arc<Principal>> {
        let OnOutage::Grace(grace) = freshness.on_outage else { return None };
        let now = self.clock.now();
        if self.is_deaf(issuer, now) {
            return None;
        }
        let entry = self.held(issuer, digest, now)?;
        let age = entry.age(now.tick);
        if age > issuer.terms.limit(freshness).saturating_add(grace) {
            return None;
        }
        self.observer.looked_up(&issuer.name, Found::InGrace(age));
        Some(Arc::clone(entry.principal()))
    }
}

/// What is asked.
impl Shared {
    /// Joins or leads a load, and judges what it brought. A load that began before a cut that reaches the token brings nothing
    /// that counts, so it is made again; were there a cut during each of them, the token's state cannot be told.
    async fn standing(
        self: &Arc<Self>,
        issuer: &Arc<KnownIssuer>,
        missed: &Missed<'_>,
        freshness: &Freshness,
        toll: &mut Toll<'_>,
        now: Now,
    ) -> Standing {
        if issuer.terms.idle.is_some() && self.cache.is_unused(&EntryKey { issuer: issuer.id, digest: missed.digest }, now.tick)
        {
            // It is over here, whatever its service says; to ask would even tell the service that it is in use.
            return Standing::Inactive;
        }
        for _ in 0..TRIES {
            let outcome = match self.board(issuer, missed.digest, freshness, toll, now) {
                Boarding::Known(outcome) => outcome,
                Boarding::Denied(denial) => return Standing::Denied(denial),
                Boarding::Full => return Standing::Unavailable(Unavailable::Busy),
                Boarding::Joined(landing) => {
                    self.observer.looked_up(&issuer.name, Found::InTheAir);
                    landing.wait().await
                }
                Boarding::Leads(ticket, landing) => {
                    self.observer.looked_up(&issuer.name, Found::Nothing);
                    self.take_off(issuer, missed, ticket, None);
                    landing.wait().await
                }
            };
            match outcome {
                Outcome::Inactive => return Standing::Inactive,
                Outcome::Unavailable(reason) => return Standing::Unavailable(reason),
                Outcome::Active(entry) => match entry.worth(&self.cuts, self.clock.now(), issuer.terms.leeway) {
                    Worth::Good => return Standing::Good(Arc::clone(entry.principal())),
                    Worth::Over => return Standing::Inactive,
                    Worth::Cut => {}
                },
            }
        }
        Standing::Unavailable(Unavailable::Lost)
    }

    fn board(&self, issuer: &KnownIssuer, digest: Digest, freshness: &Freshness, toll: &mut Toll<'_>, now: Now) -> Boarding {
        let known = || match self.fresh(issuer, digest, freshness, now) {
            Some(entry) => Some(Outcome::Active(entry)),
            None => self.is_inactive(issuer, digest, now).then_some(Outcome::Inactive),
        };
        let begin = || toll.pay().map(|()| self.begin());
        issuer.flights.board(digest, (now.tick, self.limit(issuer, freshness, now)), known, begin)
    }

    /// The number is read before the question is asked: a cut from here on is later than what the load brings.
    fn begin(&self) -> Began {
        Began { sequence: self.cuts.sequence(), tick: self.clock.now().tick }
    }

    /// Near the end of its freshness, a token in use is asked about again before anybody must wait for it. Each token has its
    /// own moment, so that tokens that were first seen together are not all renewed together.
    fn renew_ahead(
        self: &Arc<Self>,
        issuer: &Arc<KnownIssuer>,
        missed: &Missed<'_>,
        entry: &Arc<Entry>,
        freshness: &Freshness,
        now: Now,
    ) {
        let percent = 80 + u32::from(missed.digest.share() % 16);
        let due = issuer.terms.limit(freshness).saturating_mul(percent) / 100;
        if entry.age(now.tick) < due || !issuer.terms.renews() || Handle::try_current().is_err() || !entry.claim_renewal() {
            return;
        }
        match issuer.flights.board(missed.digest, (now.tick, Duration::MAX), || None, || Ok(self.begin())) {
            Boarding::Leads(ticket, _) => self.take_off(issuer, missed, ticket, Some(Arc::clone(entry))),
            Boarding::Known(_) | Boarding::Joined(_) | Boarding::Denied(_) | Boarding::Full => entry.release_renewal(),
        }
    }

    /// Loads in a task of its own, which outlives the request that began it.
    fn take_off(self: &Arc<Self>, issuer: &Arc<KnownIssuer>, missed: &Missed<'_>, ticket: Ticket, renewed: Option<Arc<Entry>>) {
        let (shared, issuer, digest) = (Arc::clone(self), Arc::clone(issuer), missed.digest);
        let token = Secret::new(missed.credential.token().to_owned());
        tokio::spawn(async move {
            let outcome = shared.load(&issuer, digest, &token, ticket.began()).await;
            if let (Outcome::Unavailable(_), Some(entry)) = (&outcome, renewed) {
                entry.release_renewal();
            }
            ticket.land(outcome);
        });
    }

    /// Asks, and remembers the answer. No answer is not remembered, neither as active nor as inactive.
    async fn load(&self, issuer: &KnownIssuer, digest: Digest, token: &Secret, began: Began) -> Outcome {
        let answer = issuer.authority.ask(token.expose(), self.clock.now()).await;
        let (now, key) = (self.clock.now(), EntryKey { issuer: issuer.id, digest });
        let (asked, outcome) = match answer {
            Err(reason) => (Asked::Unavailable(reason), Outcome::Unavailable(reason)),
            Ok(facts) => match facts.and_then(|facts| self.entry(issuer, key, facts, token, (began, now))) {
                Some(entry) => (Asked::Active, Outcome::Active(Arc::new(entry))),
                None => (Asked::Inactive, Outcome::Inactive),
            },
        };
        match &outcome {
            Outcome::Active(_) if self.cache.is_unsettled(&key, now.tick) => {}
            Outcome::Active(entry) => self.cache.remember_active(key, entry, self.kept_for(issuer, entry, now)),
            Outcome::Inactive => self.cache.remember_inactive(key, began.tick, now, issuer.terms.negative_lifetime),
            Outcome::Unavailable(Unavailable::LeftAlone(_)) => {}
            Outcome::Unavailable(reason) => tracing::warn!(issuer = &*issuer.name, %reason, "cannot ask about a token"),
        }
        self.observer.asked(&issuer.name, asked, now.tick.since(began.tick));
        outcome
    }

    /// The entry of a token that somebody vouches for; `None` if it cannot be used here all the same.
    fn entry(
        &self,
        issuer: &KnownIssuer,
        key: EntryKey,
        facts: PrincipalFacts,
        token: &Secret,
        (began, now): (Began, Now),
    ) -> Option<Entry> {
        let fingerprint = Fingerprint::of(token.expose());
        let mut facts = PrincipalFacts { issuer: issuer.id, ..facts };
        let denied = issuer.terms.ageing == Ageing::SelfContained && self.cuts.denies(&facts, fingerprint);
        if denied || facts.kind == TokenKind::Refresh {
            return None;
        }
        if let Some(idle) = issuer.terms.idle {
            facts.activity = Some(self.cache.clock(key, idle, began.tick));
        }
        match Principal::new(facts) {
            Ok(principal) if principal.is_current(now, issuer.terms.leeway) => Some(Entry::new(principal, fingerprint, began)),
            Ok(_) => None,
            Err(problem) => {
                tracing::warn!(issuer = &*issuer.name, token = ?fingerprint, %problem, "a token is not usable");
                None
            }
        }
    }

    /// As long as a route may want it: its lifetime with the longest grace, but not past its own end.
    fn kept_for(&self, issuer: &KnownIssuer, entry: &Entry, now: Now) -> Duration {
        let useful = issuer.terms.lifetime.saturating_add(self.longest_grace);
        let end = entry.principal().facts().expires_at;
        end.map_or(useful, |end| useful.min(end.after(issuer.terms.leeway).since(now.wall)))
    }
}

/// How often a load is made for one request before its token's state counts as not to be told.
const TRIES: usize = 3;
