//! Receivers: where revocations are pushed to the gateway, by OpenID providers (Back-Channel Logout 1.0) and by transmitters of
//! security events (RFC 8417, RFC 8935, SSF 1.0, CAEP 1.0). The whole way of a push is in this file, top to bottom.
//!
//! Imports `model`, `rules` (what an event means), `plan`, `store` (revocations) and `verify` (signatures, budgets). A push is
//! answered with success only when its cut holds and is written down. Deliberately absent: sockets; the gateway calls in process.

mod claims;
mod logout;
mod replays;
mod security;
mod words;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::{HeaderMap, Request, Response};
use subtle::ConstantTimeEq;

use crate::events::claims::{Checks, Pushed};
use crate::events::replays::{Replays, Turn};
use crate::model::{Clock, IssuerId, Secret, Source};
use crate::plan::{self, CacheLimits, PushProtocol};
use crate::rules::body::{FORM, Form, is_of_type};
use crate::rules::security_event::Reached;
use crate::store::cuts::Reach;
use crate::store::revocations::{Cause, Incomplete, Revocations};
use crate::verify::setup::SetupError;
use crate::verify::{MissBudget, Refused, Seal};

/// Counts what is pushed.
pub trait Tally: Send + Sync + fmt::Debug {
    /// Something was pushed to the receiver of this name.
    fn pushed(&self, receiver: &str, outcome: Outcome);
}

/// What came of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Tokens were cut.
    Cut,
    /// It was known already, and taken again without an effect.
    Replayed,
    /// It was about the stream itself.
    Stream,
    /// Its kind is not known here.
    Ignored,
    /// It names nobody whom tokens know.
    Unmapped,
    /// It is not what it should be.
    Refused,
    /// Its transmitter did not authenticate.
    Unauthenticated,
    /// Its source has pushed too much.
    Limited,
    /// It could not be checked, or not be written down.
    Unavailable,
}

impl Outcome {
    /// The label of the metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Replayed => "replayed",
            Self::Stream => "stream",
            Self::Ignored => "ignored",
            Self::Unmapped => "unmapped",
            Self::Refused => "refused",
            Self::Unauthenticated => "unauthenticated",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What receivers work with.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where revocations are published.
    pub revocations: Revocations,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Bounds on checking signatures for one source.
    pub limits: CacheLimits,
    /// Who counts.
    pub tally: Arc<dyn Tally>,
}

/// One receiver.
#[derive(Debug)]
pub struct Receiver {
    name: Arc<str>,
    issuer: IssuerId,
    protocol: PushProtocol,
    checks: Checks,
    subjects_of: Box<str>,
    seal: Seal,
    replays: Replays,
    budget: MissBudget,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
    tally: Arc<dyn Tally>,
}

/// Why a push is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Complaint {
    /// Another media type, or a compressed body.
    MediaType,
    /// Not what its protocol says; holds what is wrong.
    Malformed(&'static str),
    /// Not signed by a key that is taken.
    Key,
    /// Signed by somebody else.
    Issuer,
    /// Meant for somebody else.
    Audience,
    /// The transmitter did not present its token.
    Unauthenticated,
    /// Known already, where that is no success.
    Replayed,
    /// The source may push again after this.
    Limited(Duration),
    /// It could not be checked or written down; may be tried again after this.
    Unavailable(Duration),
}

/// What a push that is as it should be amounts to.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Message {
    /// What is cut.
    reached: Vec<Reached>,
    /// What came of it once that is done.
    outcome: Outcome,
}

impl Receiver {
    /// A receiver of the plan. Reads its key files; fetches nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] if a file of keys or certificates cannot be used.
    pub fn new(plan: &plan::Receiver, surroundings: Surroundings) -> Result<Self, SetupError> {
        let Surroundings { revocations, clock, limits, tally } = surroundings;
        Ok(Self {
            name: Arc::clone(&plan.name),
            issuer: plan.issuer,
            protocol: plan.protocol.clone(),
            checks: Checks::of(plan),
            subjects_of: plan.subjects_of.clone(),
            seal: Seal::new(plan.algorithms.clone(), plan.types.clone(), &plan.keys, Arc::clone(&clock))?,
            replays: Replays::new(Replays::MOST),
            budget: MissBudget::new(&limits, Arc::clone(&clock)),
            revocations,
            clock,
            tally,
        })
    }

    /// Takes a push. The [`Source`] is expected among the request's extensions.
    pub async fn receive(&self, request: Request<Bytes>) -> Response<Bytes> {
        let taken = self.take(&request).await;
        let outcome = taken.unwrap_or_else(Complaint::outcome);
        match taken {
            Ok(_) => tracing::info!(receiver = &*self.name, outcome = outcome.word(), "a push is taken"),
            Err(why) => tracing::info!(receiver = &*self.name, outcome = outcome.word(), ?why, "a push is not taken"),
        }
        self.tally.pushed(&self.name, outcome);
        match taken {
            Ok(_) => words::taken(&self.protocol),
            Err(complaint) => words::refused(&self.protocol, complaint),
        }
    }

    /// The steps, in order; each line names what it may say.
    async fn take(&self, request: &Request<Bytes>) -> Result<Outcome, Complaint> {
        let now = self.clock.now();
        self.authenticate(request.headers())?; //                    Who pushes?                      Unauthenticated
        let token = self.token(request)?; //                         What is pushed?                  MediaType, Malformed
        let opened = self.seal.open(&token)?; //                     Of the right kind?               Malformed, Key
        let pushed = self.checks.check(&opened.claims, now.wall)?; //  By whom, for whom, when?       Issuer, Audience, Malformed
        let message = self.read(&pushed)?; //                        What does it say?                Malformed
        self.pay(request)?; //                                       May this source have it checked? Limited
        let signed = self.seal.holds(&opened).await; //              Is it true?                      Key, Unavailable
        if !signed.map_err(|reason| Complaint::Unavailable(reason.retry_after()))? {
            return Err(Complaint::Key);
        }
        match self.replays.begin(pushed.id, pushed.until, now.wall) {
            Turn::First(turn) => {
                self.publish(message.reached).await?; //             Is it written down?              Unavailable
                turn.keep();
                Ok(message.outcome)
            }
            Turn::Again => self.again(),
            Turn::Busy => Err(Complaint::Unavailable(SOON)),
        }
    }

    /// Whether the transmitter presents its token (RFC 8935 section 2.1 leaves the way to the two sides).
    fn authenticate(&self, headers: &HeaderMap) -> Result<(), Complaint> {
        match &self.protocol {
            PushProtocol::Logout | PushProtocol::Events { authorization: None } => Ok(()),
            PushProtocol::Events { authorization: Some(secret) } => {
                if presents(headers, secret) {
                    Ok(())
                } else {
                    Err(Complaint::Unauthenticated)
                }
            }
        }
    }

    fn token(&self, request: &Request<Bytes>) -> Result<String, Complaint> {
        let wanted = match self.protocol {
            PushProtocol::Logout => FORM,
            PushProtocol::Events { .. } => security::TYPE,
        };
        let headers = request.headers();
        if headers.contains_key(CONTENT_ENCODING) || !is_of_type(headers, &[wanted]) {
            return Err(Complaint::MediaType);
        }
        let text = std::str::from_utf8(request.body()).map_err(|_| Complaint::Malformed("the body is not UTF-8"))?;
        match self.protocol {
            PushProtocol::Logout => only_token(text).ok_or(Complaint::Malformed("not exactly one logout_token")),
            PushProtocol::Events { .. } => Ok(text.to_owned()),
        }
    }

    fn read(&self, pushed: &Pushed<'_>) -> Result<Message, Complaint> {
        match self.protocol {
            PushProtocol::Logout => logout::read(pushed),
            PushProtocol::Events { .. } => security::read(pushed, &self.subjects_of),
        }
    }

    fn pay(&self, request: &Request<Bytes>) -> Result<(), Complaint> {
        // Whoever cannot be told apart shares one budget.
        let nobody = Source::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let source = request.extensions().get::<Source>().copied().unwrap_or(nobody);
        self.budget.take(source).map_err(Complaint::Limited)
    }

    /// Cuts all of it, and sees to it that it lasts. If something could not be written down, whoever pushes tries again, and
    /// all of it is cut again.
    async fn publish(&self, all: Vec<Reached>) -> Result<(), Complaint> {
        let cause = match self.protocol {
            PushProtocol::Logout => Cause::Logout,
            PushProtocol::Events { .. } => Cause::Event,
        };
        let mut kept = Ok(());
        for reached in all {
            let reach = match reached {
                Reached::Session(session) => Reach::Session(session),
                Reached::Subject(subject) => Reach::Subject(subject),
            };
            // The clock is read again: fetching keys may have taken a while.
            match self.revocations.publish(self.issuer, reach, cause, self.clock.now()).await {
                Ok(()) => {}
                Err(fault @ Incomplete::NotKept(_)) => {
                    tracing::error!(receiver = &*self.name, %fault, "a pushed revocation holds until a restart only");
                    kept = Err(Complaint::Unavailable(SOON));
                }
                // It lasts, and the others are told as soon as they can be: a second push would bring nothing.
                Err(fault @ Incomplete::NotTold(_)) => {
                    tracing::warn!(receiver = &*self.name, %fault, "a pushed revocation holds here only, for now");
                }
            }
        }
        kept
    }

    /// A transmitter repeats what it got no answer to, and must hear that it arrived (RFC 8935 section 2). A logout token is
    /// good once (Back-Channel Logout 1.0 section 2.6).
    fn again(&self) -> Result<Outcome, Complaint> {
        match self.protocol {
            PushProtocol::Logout => Err(Complaint::Replayed),
            PushProtocol::Events { .. } => Ok(Outcome::Replayed),
        }
    }
}

impl Complaint {
    fn outcome(self) -> Outcome {
        match self {
            Self::MediaType | Self::Malformed(_) | Self::Key | Self::Issuer | Self::Audience => Outcome::Refused,
            Self::Replayed => Outcome::Replayed,
            Self::Unauthenticated => Outcome::Unauthenticated,
            Self::Limited(_) => Outcome::Limited,
            Self::Unavailable(_) => Outcome::Unavailable,
        }
    }
}

impl From<Refused> for Complaint {
    fn from(Refused(what): Refused) -> Self {
        if what == "alg" { Self::Key } else { Self::Malformed(what) }
    }
}

/// Whether there is one Authorization field, with this Bearer token. Takes as long for a wrong token as for the right one.
fn presents(headers: &HeaderMap, secret: &Secret) -> bool {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (fields.next(), fields.next()) else { return false };
    let Some((scheme, token)) = only.to_str().ok().and_then(|field| field.split_once(' ')) else { return false };
    scheme.eq_ignore_ascii_case("bearer") && bool::from(token.as_bytes().ct_eq(secret.expose().as_bytes()))
}

/// The token of a form that holds exactly one.
fn only_token(text: &str) -> Option<String> {
    let form = Form::parse(text).ok()?;
    form.value("logout_token").map(|token| token.expose().to_owned())
}

/// When to come back after something that passes.
const SOON: Duration = Duration::from_secs(1);
