//! The request's whole way, from top to bottom: [`Flow::admit`] → forward or answer → [`Flow::settle`]. START HERE.
//!
//! `limits` has the spending of quotas; `passage` what follows a forwarded request: whom it may have logged out; `login` what
//! goes before one that carries a password to a token service that is not ours.
//! Imports `model`, `rules`, `plan`, `reply`, `store` and `verify`. Knows no HTTP library: the rim (`gateway`) brings a
//! [`RequestHead`] and carries out what is decided. The order of the steps is the order of this file; that nothing is
//! forwarded unasked is a type: only an access rule makes a [`Permit`], and [`Forward`] cannot be had without one.

mod limits;
mod login;
mod passage;

use std::sync::Arc;

use http::header::ACCESS_CONTROL_REQUEST_METHOD;

use crate::model::{Credential, Denial, IssuerId, Location, Now, Principal, RequestHead};
use crate::plan::{Plan, Route};
use crate::reply::Reply;
use crate::rules::access::Permit;
use crate::rules::bearer;
use crate::rules::routing::Found;
use crate::store::cuts::Fingerprint;
use crate::store::login_guard::LoginGuard;
use crate::store::revocations::Revocations;
use crate::verify::{Recall, Verifier};

use limits::Payer;
pub use limits::{LimitOutcome, LimitTally, Limits, Standing};
use login::{Held, Unwritten};
use passage::Passenger;
pub use passage::{Asking, Inspection};

/// What requests are decided with.
#[derive(Debug)]
pub struct Flow {
    verifier: Arc<Verifier>,
    revocations: Revocations,
    limits: Limits,
    /// In the order of the plan's.
    login_guards: Box<[Arc<LoginGuard>]>,
}

/// What is to be done with a request that is not refused.
#[derive(Debug)]
pub enum Admission {
    /// Answer it ourselves.
    Answer(Arc<Route>, Reply),
    /// Let it through.
    Forward(Forward),
    /// Let it through once [`Flow::inspect`] has seen whom it is about.
    Inspect(Inspection),
}

/// A request that may be forwarded.
#[derive(Debug)]
pub struct Forward {
    /// Its route.
    pub route: Arc<Route>,
    /// The proof that the route's access rule allowed it.
    pub permit: Permit,
    /// Whom it is about, if it may end or change something at a token service.
    passenger: Option<Passenger>,
    /// The token that its upstream is shown, and whose it is.
    vouched: Option<(IssuerId, Fingerprint)>,
    /// What it holds of the budgets of its login guards, until that is settled.
    attempts: Vec<Held>,
    /// What is settled, and is to be written down before the request is done.
    settled: Unwritten,
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
    /// The client left before there was an answer, and nobody knows what the upstream did.
    Left,
}

impl Flow {
    /// A flow over these.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>, revocations: Revocations, limits: Limits) -> Self {
        Self { verifier, revocations, limits, login_guards: Box::default() }
    }

    /// The same with the guards of the plan, in its order.
    #[must_use]
    pub fn with_login_guards(self, login_guards: Box<[Arc<LoginGuard>]>) -> Self {
        Self { login_guards, ..self }
    }

    /// Decides about a request. With a token that is remembered, and no limits that gateways share, this completes without
    /// suspending. How the request stands with
    /// the limits of its route is told in `standing`, whatever is decided.
    ///
    /// # Errors
    /// A [`Refusal`] with whatever the steps below deny; each line names what it may say.
    pub async fn admit(
        &self,
        plan: &Plan,
        head: &RequestHead<'_>,
        now: Now,
        standing: &mut Standing,
    ) -> Result<Admission, Refusal> {
        let sought = find(plan, head); //                                 Where does it want to go?    404, 405
        serve(plan, sought.as_ref(), head)?; //                           Is its source served here?   403
        let route = match sought? {
            Sought::Request(route) => route,
            Sought::Options(route) => return Ok(Admission::Answer(route, Reply::preflight())),
        };
        match self.decide(&route, head, now, standing).await {
            Ok(decided) => Ok(self.admitted(route, decided)),
            Err(denial) => Err(Refusal { route: Some(route), denial }),
        }
    }

    fn admitted(&self, route: Arc<Route>, decided: Decided<'_>) -> Admission {
        let Decided { permit, credential } = decided;
        let presented = permit.principal().map(|principal| principal.facts()).zip(credential);
        let shown = presented.as_ref().filter(|_| route.forward_authorization);
        let vouched = shown.map(|(facts, credential)| (facts.issuer, Fingerprint::of(credential.token())));
        let passenger = match (&route.passage, presented) {
            (Some(passage), Some((facts, credential))) if passage.token == Location::Bearer && passage.subject.is_none() => {
                Some(Passenger::presenting(self, &credential, facts))
            }
            (Some(_) | None, _) => None,
        };
        if !route.is_guarded() && (route.passage.is_none() || passenger.is_some()) {
            let (attempts, settled) = (Vec::new(), Vec::new());
            return Admission::Forward(Forward { route, permit, passenger, vouched, attempts, settled });
        }
        Admission::Inspect(Inspection { route, permit, passenger, vouched })
    }

    async fn decide<'a>(
        &self,
        route: &Route,
        head: &RequestHead<'a>,
        now: Now,
        standing: &mut Standing,
    ) -> Result<Decided<'a>, Denial> {
        let payer = Payer { route, head, principal: None };
        self.limits.spend(&route.limits.of_source, payer, now.tick, standing).await?; // Spend the source's quota. 429, 503
        let credential = match route.access.requirements() {
            Some(_) => bearer::presented(head)?, //                       What does it present?        400, 401
            None => None,
        };
        let caller = match credential {
            Some(credential) => Some(self.caller(route, credential, head, now).await?), // Who is that?  401, 429, 503
            None => None,
        };
        let permit = route.access.permit(caller, now.wall)?; //           May they, strongly enough?   401, 403
        let payer = Payer { principal: permit.principal().map(|principal| &**principal), ..payer };
        self.limits.spend(&route.limits.of_caller, payer, now.tick, standing).await?; // Spend the caller's quota. 429, 503
        if let Some(principal) = permit.principal().filter(|_| route.activity) {
            principal.note_use(now.tick); //                              Sessions live by being used.
        }
        Ok(Decided { permit, credential })
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
}

/// What the access rule said, and about which token.
struct Decided<'a> {
    permit: Permit,
    credential: Option<Credential<'a>>,
}

enum Sought {
    Request(Arc<Route>),
    Options(Arc<Route>),
}

/// Whether this is served to whoever comes from there. Also for what is not here: who is shut out learns nothing of what is.
fn serve(plan: &Plan, sought: Result<&Sought, &Refusal>, head: &RequestHead<'_>) -> Result<(), Refusal> {
    let route = match sought {
        Ok(Sought::Request(route) | Sought::Options(route)) => Some(route),
        Err(refusal) => refusal.route.as_ref(),
    };
    let address = head.source.address();
    if plan.sources.serve(address) && route.is_none_or(|route| route.sources.serve(address)) {
        return Ok(());
    }
    Err(Refusal { route: route.cloned(), denial: Denial::SourceDenied })
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
