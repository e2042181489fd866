//! The request's whole way, from top to bottom: [`Flow::admit`] → forward or answer → [`Flow::settle`]. START HERE.
//!
//! Imports `model`, `rules`, `plan`, `reply`, `store` and `verify`. Knows no HTTP library: the rim (`gateway`) brings a
//! [`RequestHead`] and carries out what is decided. The order of the steps is the order of this file; that nothing is
//! forwarded unasked is a type: only an access rule makes a [`Permit`], and [`Forward`] cannot be had without one.

use std::sync::Arc;

use http::header::ACCESS_CONTROL_REQUEST_METHOD;

use crate::model::{Credential, Denial, Now, Principal, RequestHead};
use crate::plan::{Ends, Plan, Route};
use crate::reply::Reply;
use crate::rules::access::Permit;
use crate::rules::bearer;
use crate::rules::routing::Found;
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::revocations::{Cause, Revocations};
use crate::verify::{Recall, Verifier};

/// What requests are decided with.
#[derive(Debug)]
pub struct Flow {
    verifier: Arc<Verifier>,
    revocations: Revocations,
}

/// What is to be done with a request that is not refused.
#[derive(Debug)]
pub enum Admission {
    /// Answer it ourselves.
    Answer(Arc<Route>, Reply),
    /// Let it through.
    Forward(Forward),
}

/// A request that may be forwarded.
#[derive(Debug)]
pub struct Forward {
    /// Its route.
    pub route: Arc<Route>,
    /// The proof that the route's access rule allowed it.
    pub permit: Permit,
    /// What it presented, if it ends what that reaches.
    ending: Option<Ending>,
}

/// A request that is refused, and the route in whose style that is said; `None` if it reached none.
#[derive(Debug)]
pub struct Refusal {
    /// The route.
    pub route: Option<Arc<Route>>,
    /// The reason.
    pub denial: Denial,
}

/// What came of a forwarded request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The upstream's status.
    Answered(u16),
    /// No answer: nobody knows what the upstream did.
    Unknown,
}

#[derive(Debug)]
struct Ending {
    token: Fingerprint,
    principal: Arc<Principal>,
    reach: Ends,
}

impl Flow {
    /// A flow over these.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>, revocations: Revocations) -> Self {
        Self { verifier, revocations }
    }

    /// Decides about a request. With a token that is remembered this completes without suspending.
    ///
    /// # Errors
    /// A [`Refusal`] with whatever the steps below deny; each line names what it may say.
    pub async fn admit(&self, plan: &Plan, head: &RequestHead<'_>, now: Now) -> Result<Admission, Refusal> {
        let route = match find(plan, head)? {
            Sought::Request(route) => route, //                           Where does it want to go?    404, 405
            Sought::Options(route) => return Ok(Admission::Answer(route, Reply::preflight())),
        };
        match self.decide(&route, head, now).await {
            Ok((permit, ending)) => Ok(Admission::Forward(Forward { route, permit, ending })),
            Err(denial) => Err(Refusal { route: Some(route), denial }),
        }
    }

    async fn decide(&self, route: &Route, head: &RequestHead<'_>, now: Now) -> Result<(Permit, Option<Ending>), Denial> {
        let credential = match route.access.requirements() {
            Some(_) => bearer::presented(head)?, //                       What does it present?        400, 401
            None => None,
        };
        let caller = match credential {
            Some(credential) => Some(self.caller(route, credential, head, now).await?), // Who is that?  401, 429, 503
            None => None,
        };
        let permit = route.access.permit(caller, now.wall)?; //           May they, strongly enough?   401, 403
        if let Some(principal) = permit.principal() {
            principal.note_use(now.wall); //                              Sessions live by being used.
        }
        let ending = ending(route, credential, &permit);
        Ok((permit, ending))
    }

    /// Who presented this: from memory if it is there, else from whom the route trusts.
    async fn caller(
        &self,
        route: &Route,
        credential: Credential<'_>,
        head: &RequestHead<'_>,
        now: Now,
    ) -> Result<Arc<Principal>, Denial> {
        let Some(requirements) = route.access.requirements() else { return Err(Denial::CredentialInvalid) };
        match self.verifier.recall(&credential, requirements, &route.freshness, now) {
            Recall::Known(principal, _) => Ok(principal),
            Recall::Refused => Err(Denial::CredentialInvalid),
            Recall::Miss(missed) => self.verifier.resolve(missed, requirements, &route.freshness, head.source, now).await,
        }
    }

    /// Closes the books on a forwarded request, before the first byte of its answer goes down: what it may have ended is cut.
    /// An answer of 4xx says that nothing was ended; on anything else, and on none, it is taken to be.
    pub async fn settle(&self, forward: &Forward, outcome: Outcome, now: Now) {
        let Some(ending) = &forward.ending else { return };
        if matches!(outcome, Outcome::Answered(400..=499)) {
            return;
        }
        let facts = ending.principal.facts();
        let token = Reach::Token(ending.token);
        let reach = match ending.reach {
            Ends::Token => token,
            Ends::Session => facts.session.clone().map_or(token, Reach::Session),
            Ends::Subject => facts.subject.clone().map_or(token, Reach::Subject),
        };
        if let Err(fault) = self.revocations.publish(facts.issuer, reach, Cause::Passage, now).await {
            tracing::error!(route = &*forward.route.name, %fault, "a revocation holds until a restart only");
        }
    }
}

enum Sought {
    Request(Arc<Route>),
    Options(Arc<Route>),
}

fn find(plan: &Plan, head: &RequestHead<'_>) -> Result<Sought, Refusal> {
    let requested = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|value| value.as_bytes().try_into().ok());
    let route = |index: usize| plan.routes.get(index).cloned();
    let sought = match plan.table.find(head.host, head.path, head.method, requested.as_ref()) {
        Found::Route(index) => route(index).map(Sought::Request),
        Found::Options(index) => route(index).map(Sought::Options),
        Found::WrongMethod { route: index, allowed } => {
            return Err(Refusal { route: route(index), denial: Denial::MethodNotAllowed(allowed.into()) });
        }
        Found::None => None,
    };
    sought.ok_or(Refusal { route: None, denial: Denial::NoRoute })
}

fn ending(route: &Route, credential: Option<Credential<'_>>, permit: &Permit) -> Option<Ending> {
    let (reach, credential, principal) = (route.ends?, credential?, permit.principal()?);
    Some(Ending { token: Fingerprint::of(credential.token()), principal: Arc::clone(principal), reach })
}
