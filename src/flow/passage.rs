//! Requests that pass through to a token service that is not ours, and what they end there.
//!
//! Whom such a request is about is learnt before it is forwarded, because afterwards nobody may know any more; what it ended
//! is cut before the first byte of its answer goes down. Imports as the parent; the rule is `rules::passage`.

use std::sync::Arc;

use http::HeaderMap;

use crate::flow::{Flow, Forward, Outcome, login};
use crate::model::{BadRequest, Credential, Denial, IssuerId, Location, Now, PrincipalFacts, Source};
use crate::plan::{Passage, Route};
use crate::rules::access::Permit;
use crate::rules::bearer;
use crate::rules::body::{Body, Unreadable, told_in_pairs};
use crate::rules::passage::{Effect, Nature, Verdict, effect, verdict};
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::revocations::Cause;
use crate::verify::TokenMark;

/// A request that may be forwarded once it is known whom it is about.
#[derive(Debug)]
pub struct Inspection {
    /// Its route.
    pub route: Arc<Route>,
    pub(super) permit: Permit,
    /// Whom it is about, if that is known from the token that let it in.
    pub(super) passenger: Option<Passenger>,
    pub(super) vouched: Option<(IssuerId, Fingerprint)>,
}

impl Inspection {
    /// Whether its body must be read for that.
    #[must_use]
    pub fn wants_body(&self) -> bool {
        let passage = self.route.passage.as_ref().filter(|_| self.passenger.is_none());
        passage.is_some_and(|passage| passage.in_body().is_some()) || login::wants_body(&self.route)
    }
}

/// What is looked at to learn whom a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Its query, as it came.
    pub query: Option<&'a str>,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// Where it comes from.
    pub source: Source,
    /// The whole of its body, empty if it has none or it need not be read.
    pub body: &'a [u8],
}

/// Whom a request is about.
#[derive(Debug)]
pub(super) struct Passenger {
    token: Option<(Fingerprint, TokenMark)>,
    /// Who knows the token.
    told_by: Option<IssuerId>,
    session: Option<Box<str>>,
    subject: Option<Box<str>>,
}

impl Passenger {
    /// Whoever presented a token to be let in.
    pub(super) fn presenting(flow: &Flow, credential: &Credential<'_>, facts: &PrincipalFacts) -> Self {
        Self::known(Some(flow.marks(credential.token())), Some(facts))
    }

    fn known(token: Option<(Fingerprint, TokenMark)>, facts: Option<&PrincipalFacts>) -> Self {
        Self {
            token,
            told_by: facts.map(|facts| facts.issuer),
            session: facts.and_then(|facts| facts.session.clone()),
            subject: facts.and_then(|facts| facts.subject.clone()),
        }
    }
}

impl Flow {
    /// Learns whom a request is about.
    ///
    /// # Errors
    /// `BadRequest(Body)` if it can be read in more than one way (also from its query), `BadRequest(Credential)` if it presents more than one token,
    /// `UnsupportedMediaType`, `BodyTooLarge`; `LimitReached` or `AuthorityUnavailable` if nobody can be asked whose token it
    /// shows, since what it ended could not be told then. `Locked`, `LimitReached` or `Overloaded` if its login guard says so;
    /// `BadRequest(Body)` or `ClaimMissing` if it names no account.
    pub async fn inspect(&self, inspection: Inspection, asking: Asking<'_>, now: Now) -> Result<Forward, Denial> {
        let Inspection { route, permit, passenger, vouched } = inspection;
        let passenger = match (passenger, &route.passage) {
            (None, Some(passage)) => Some(self.passenger(passage, asking, now).await?),
            (passenger, _) => passenger,
        };
        // Last, so that no attempt is held while something else is waited for.
        let attempts = self.attempt(&route, &permit, asking).await?;
        Ok(Forward { route, permit, passenger, vouched, attempts, settled: Vec::new() })
    }

    async fn passenger(&self, passage: &Passage, asking: Asking<'_>, now: Now) -> Result<Passenger, Denial> {
        let Asking { query, headers, source, body } = asking;
        if [Some(&passage.token), passage.subject.as_ref()].into_iter().flatten().any(|place| is_in_query(place, query)) {
            return Err(Denial::BadRequest(BadRequest::Body));
        }
        let body = match passage.in_body() {
            Some(location) => Body::read(location, headers, body).map_err(unreadable)?,
            None => None,
        };
        let token = match &passage.token {
            Location::Bearer => presented(headers)?,
            Location::Header(_) | Location::Json(_) | Location::Form(_) => told(&passage.token, headers, body.as_ref())?,
        };
        let subject = match &passage.subject {
            Some(location) => told(location, headers, body.as_ref())?,
            None => None,
        };
        if subject.is_some_and(|subject| subject.len() > LONGEST_SUBJECT) {
            return Err(Denial::BadRequest(BadRequest::Body));
        }
        let facts = match token {
            Some(token) => self.verifier.inquire(&Credential::new(token), &passage.issuers, source, now).await?,
            None => None,
        };
        let mut passenger = Passenger::known(token.map(|token| self.marks(token)), facts.as_ref());
        if let Some(subject) = subject {
            passenger.subject = Some(subject.into());
        }
        Ok(passenger)
    }

    fn marks(&self, token: &str) -> (Fingerprint, TokenMark) {
        (Fingerprint::of(token), self.verifier.mark(token))
    }

    /// Closes the books on a forwarded request, before the first byte of its answer goes down: what it may have ended is cut.
    /// Only a login whose answer tells in its body how it ended stays open ([`Forward::awaits_body`]).
    pub async fn settle(&self, forward: &mut Forward, outcome: Outcome, now: Now) {
        Self::settle_attempts(forward, outcome).await;
        if let (Some(passage), Some(passenger)) = (&forward.route.passage, &forward.passenger) {
            self.disembark(passage, passenger, outcome, now).await;
        }
        if let (Outcome::Answered(401), Some((issuer, token))) = (outcome, forward.vouched)
            && self.verifier.nature(issuer) == Nature::Asked
        {
            // The upstream was shown the token and refuses it. It may know of a revocation that we missed; asking again tells.
            self.revocations.suspect(issuer, Reach::Token(token), Cause::Upstream, now);
        }
    }

    async fn disembark(&self, passage: &Passage, passenger: &Passenger, outcome: Outcome, now: Now) {
        let status = match outcome {
            Outcome::Answered(status) => Some(status),
            Outcome::Unknown | Outcome::Left => None,
        };
        let verdict = verdict(status, passage.success.as_deref());
        let told = passenger.told_by.map_or(Nature::Asked, |issuer| self.verifier.nature(issuer));
        let concerned = |issuer: &&IssuerId| passage.together || passenger.told_by.is_none_or(|told_by| told_by == **issuer);
        for issuer in passage.issuers.iter().filter(concerned) {
            let Some(effect) = effect(passage.role, passage.ends, verdict, told, self.verifier.nature(*issuer)) else {
                continue;
            };
            // A step-up that was begun ends at a time that nobody tells; so does what was asked for and not answered.
            let open = effect == Effect::Unsettled || verdict == Verdict::Unknown;
            if let (true, Some((_, mark))) = (open, &passenger.token) {
                self.verifier.unsettle(*issuer, *mark, now.tick.after(passage.pending));
            }
            let signed = self.verifier.nature(*issuer) == Nature::Signed;
            for reach in reaches(effect, passenger).into_iter().flatten() {
                // What does not verify is no token of theirs. Cuts of it would let anybody fill their table, the disk, and what
                // gateways share.
                if passenger.told_by.is_none() && matches!(reach, Reach::Token(_)) {
                    if !signed {
                        self.revocations.suspect(*issuer, reach, Cause::Passage, now);
                    }
                    continue;
                }
                self.publish(*issuer, reach, Cause::Passage, now).await;
            }
        }
    }

    async fn publish(&self, issuer: IssuerId, reach: Reach, cause: Cause, now: Now) {
        if let Err(fault) = self.revocations.publish(issuer, reach, cause, now).await {
            tracing::error!(issuer = issuer.0, %fault, "a revocation holds here, and not more for now");
        }
    }
}

/// What an effect reaches of whom a request is about. What is not known of them cannot be reached: the next smaller thing is.
fn reaches(effect: Effect, passenger: &Passenger) -> [Option<Reach>; 2] {
    let token = passenger.token.as_ref().map(|(token, _)| Reach::Token(*token));
    let session = || passenger.session.clone().map(Reach::Session);
    let subject = || passenger.subject.clone().map(Reach::Subject);
    match effect {
        Effect::Token | Effect::Unsettled => [token, None],
        Effect::Session => [session().or(token), None],
        Effect::Subject => [subject().or_else(session).or(token), None],
        Effect::Grant => [token, session().or_else(subject)],
    }
}

/// The longest name of a subject, in bytes; those of tokens are no longer.
const LONGEST_SUBJECT: usize = 512;

/// Whether the query has what is looked for in a form. Some services read a form's parameters from both, and the query first.
fn is_in_query(location: &Location, query: Option<&str>) -> bool {
    let (Location::Form(name), Some(query)) = (location, query) else { return false };
    told_in_pairs(query, name) > 0
}

/// The Bearer token of a request that no access rule has asked for it.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, Denial> {
    match bearer::found(headers, None) {
        Ok(credential) => Ok(credential.map(|credential| credential.token())),
        Err(denial @ Denial::BadRequest(_)) => Err(denial),
        // Another scheme, say, with which the caller names its client: it shows no token of ours.
        Err(_) => Ok(None),
    }
}

fn told<'a>(location: &Location, headers: &'a HeaderMap, body: Option<&'a Body>) -> Result<Option<&'a str>, Denial> {
    let malformed = Denial::BadRequest(BadRequest::Body);
    let text = match location {
        Location::Bearer => None,
        Location::Header(name) => {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (None, _) => None,
                (Some(only), None) => Some(only.to_str().map_err(|_| Denial::BadRequest(BadRequest::Head))?),
                (Some(_), Some(_)) => return Err(Denial::BadRequest(BadRequest::Head)),
            }
        }
        Location::Json(_) | Location::Form(_) => match body {
            Some(body) => body.told(location).map_err(unreadable)?,
            None => None,
        },
    };
    // RFC 6749 appendix A: tokens are visible ASCII and spaces. So are subjects, or they could not be told upstream.
    let fits = |text: &&str| text.len() <= Credential::MAX_LEN && text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if text.as_ref().is_some_and(|text| !fits(text)) { Err(malformed) } else { Ok(text.filter(|text| !text.is_empty())) }
}

pub(super) fn unreadable(problem: Unreadable) -> Denial {
    match problem {
        Unreadable::MediaType => Denial::UnsupportedMediaType,
        Unreadable::TooLarge => Denial::BodyTooLarge,
        Unreadable::Malformed => Denial::BadRequest(BadRequest::Body),
    }
}
