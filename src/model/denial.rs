//! Why a request is refused. Closed: a new reason does not compile until `reply` gives it a status, a code and a text.

use std::time::Duration;

use http::Method;

use crate::model::ScopeSet;

/// Every reason for which the gateway answers a request itself. The detail is for the answer's fields; never a token,
/// never a cause that the client has no business knowing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denial {
    /// 400: the message cannot be read in exactly one way.
    BadRequest(BadRequest),
    /// 408: the client did not finish its head or body in time.
    RequestTimeout,
    /// 413: the body is larger than the route takes.
    BodyTooLarge,
    /// 414: the target is longer than the gateway reads.
    TargetTooLong,
    /// 415: the body's type or encoding is not one that can be checked here.
    UnsupportedMediaType,
    /// 431: the head is larger than the gateway reads.
    HeadTooLarge,
    /// 404: no route has this host and path. Default deny: what no route names is never forwarded.
    NoRoute,
    /// 403: nobody is served here who comes from this address.
    SourceDenied,
    /// 405: routes have this path, none this method. Holds the methods that they have.
    MethodNotAllowed(Box<[Method]>),
    /// 401 without an error code (RFC 6750 section 3.1): nothing was presented.
    CredentialMissing,
    /// 401: a token was presented in a place from which none is taken.
    CredentialMisplaced(Misplaced),
    /// 401 `invalid_token`: unknown, expired, revoked, not meant for us. One answer for all of them.
    CredentialInvalid,
    /// 403: the token is good, but its kind may not be used here (contract B: a temporary token).
    CredentialKind,
    /// 403 `insufficient_scope`: holds every scope that the route asks for.
    ScopeMissing(ScopeSet),
    /// 403: a claim that the route asks for is absent or different.
    ClaimMissing,
    /// 401 `insufficient_user_authentication` (RFC 9470), in style `session` 403 `STEP_UP_REQUIRED`.
    StepUpRequired(Challenge),
    /// 429: a budget is spent; holds when there will be some again.
    LimitReached(Duration),
    /// 423 in style `session`, 429 in the others: the account is locked for this long.
    Locked(Duration),
    /// 503: the token service cannot be asked. Never 401: the token may be good.
    AuthorityUnavailable(Duration),
    /// 503: the store that must remember this cannot be reached, or its queue is full.
    StoreUnavailable(Duration),
    /// 503: too many connections or too much work in flight.
    Overloaded(Duration),
    /// 502: the upstream cannot be reached or speaks no HTTP.
    UpstreamUnavailable,
    /// 504: the upstream took longer than the route waits.
    UpstreamTimeout,
    /// 500: our own fault; the log has the id.
    Internal(ErrorId),
}

/// In which way a message is unreadable. The answer tells it, since it says nothing about anybody but its sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BadRequest {
    /// The head is no HTTP/1.1 message (RFC 9112), or one that two readers may read differently.
    Head,
    /// The path cannot be brought into a single normal form.
    Path,
    /// Host is missing, repeated or no host.
    Host,
    /// More than one way to tell where the body ends (RFC 9112 section 6).
    Framing,
    /// More than one Authorization field, or more than one credential (RFC 6750 section 3.1, `invalid_request`).
    Credential,
    /// The body is not what its type says, or can be read in more than one way.
    Body,
}

/// Where a token was found that is taken from nowhere but the Authorization field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Misplaced {
    /// In `X-Auth-Token` (contract A: refused with the 401 body).
    AuthTokenHeader,
    /// In the query (`access_token`).
    Query,
    /// Under an Authorization scheme other than Bearer.
    Scheme,
}

/// What a step-up challenge asks for (RFC 9470 section 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// The authentication contexts of which one is needed, in order of preference.
    pub acr_values: Box<[Box<str>]>,
    /// How old the authentication may be.
    pub max_age: Option<Duration>,
}

/// Ties an answer to the log line with its cause.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ErrorId(pub u64);

impl Denial {
    /// The reason in the field's words: label of the metric, field of the log line, `code` of the problem body.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad-request",
            Self::RequestTimeout => "request-timeout",
            Self::BodyTooLarge => "body-too-large",
            Self::TargetTooLong => "target-too-long",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::HeadTooLarge => "head-too-large",
            Self::NoRoute => "no-route",
            Self::SourceDenied => "source-denied",
            Self::MethodNotAllowed(_) => "method-not-allowed",
            Self::CredentialMissing => "credential-missing",
            Self::CredentialMisplaced(_) => "credential-misplaced",
            Self::CredentialInvalid => "credential-invalid",
            Self::CredentialKind => "credential-kind",
            Self::ScopeMissing(_) => "scope-missing",
            Self::ClaimMissing => "claim-missing",
            Self::StepUpRequired(_) => "step-up-required",
            Self::LimitReached(_) => "limit-reached",
            Self::Locked(_) => "locked",
            Self::AuthorityUnavailable(_) => "authority-unavailable",
            Self::StoreUnavailable(_) => "store-unavailable",
            Self::Overloaded(_) => "overloaded",
            Self::UpstreamUnavailable => "upstream-unavailable",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::Internal(_) => "internal",
        }
    }
}
