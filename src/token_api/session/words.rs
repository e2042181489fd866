//! The bodies of API B, key by key, and which refusal is said in which of them (contract section 2).
//!
//! What the gateway refuses in the same API is said by `reply`, and so is what it can say here: one reason has one answer.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;

use crate::model::{Denial, Secret, Style};
use crate::reply::Reply;
use crate::rules::body::Unreadable;
use crate::token_api::session::body::InvalidField;
use crate::token_api::words::{not_stored, retry_after, with};
use crate::tokens::identity::{Identity, IdentityKind, IdentityToken, Role};
use crate::tokens::refusal::{Conflict, Refusal};

/// The limit that was exceeded, and those that are in force.
const LIMITS: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// Until when a limit holds, in seconds.
const LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// An answer that says what was asked for.
pub(super) fn success(body: &impl Serialize) -> Response {
    not_stored((StatusCode::OK, Json(body)).into_response())
}

/// An answer that says nothing but that it is done.
pub(super) fn done() -> Response {
    not_stored(StatusCode::NO_CONTENT.into_response())
}

/// `IdentityId` of the contract.
#[derive(Serialize)]
pub(super) struct IdentityIdBody {
    r#type: &'static str,
    id: String,
}

impl IdentityIdBody {
    pub(super) fn of(identity: &Identity) -> Self {
        Self { r#type: kind_word(identity.kind), id: identity.id.0.to_string() }
    }
}

/// What an identity of this kind is called in bodies.
pub(super) fn kind_word(kind: IdentityKind) -> &'static str {
    match kind {
        IdentityKind::Consumer => "CONSUMER",
        IdentityKind::Corporate => "CORPORATE",
    }
}

/// A token, as whom it acts, and whose it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenBody<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    identity: IdentityIdBody,
    credentials: Credentials,
}

#[derive(Serialize)]
struct Credentials {
    r#type: &'static str,
    id: String,
}

impl<'a> TokenBody<'a> {
    pub(super) fn of(issued: &'a IdentityToken, token_type: Option<&'static str>) -> Self {
        let r#type = match issued.identity.role {
            Role::Root => "ROOT",
            Role::User => "USER",
        };
        Self {
            token: issued.token.expose(),
            token_type,
            identity: IdentityIdBody::of(&issued.identity),
            credentials: Credentials { r#type, id: issued.account.to_string() },
        }
    }
}

/// How many logins there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The limit that was reached, one of the others.
    pub(super) reached: u32,
    /// From one source.
    pub(super) a_minute: u32,
    /// Of one account.
    pub(super) an_hour: u32,
}

/// Why an operation of API B has no success to tell.
#[derive(Debug)]
pub(crate) enum InSession {
    /// The body was not read.
    Unreadable(Unreadable),
    /// Members of the body are not what they must be.
    Invalid(Vec<InvalidField>),
    /// The password is right but has expired: a token for a new one.
    PasswordExpired(Secret),
    /// There were too many logins for now; for how long, and how many there may be.
    TooMany(Duration, Limits),
    /// The token does not entitle to another.
    TokenForbidden,
    /// Who calls back has not signed what it says.
    SignatureWrong,
    /// The token service says no.
    Refused(Refusal),
}

impl InSession {
    /// Nothing is waiting for an answer.
    pub(super) fn state_invalid() -> Self {
        Self::Refused(Conflict::State.into())
    }

    /// Nobody carries what goes out on this channel.
    pub(super) fn channel_not_supported() -> Self {
        Self::Refused(Conflict::ChannelNotSupported.into())
    }
}

/// What is wrong with a token where that is forbidden rather than unauthorised.
pub(super) fn token_forbidden(refusal: Refusal) -> InSession {
    match refusal {
        Refusal::TokenInvalid | Refusal::TokenKind | Refusal::Denied(Denial::CredentialMissing) => InSession::TokenForbidden,
        Refusal::ClientUnknown
        | Refusal::ClientNotAllowed
        | Refusal::ProofWrong
        | Refusal::CodeInvalid
        | Refusal::RefreshInvalid
        | Refusal::KeyUnknown
        | Refusal::IdentityForeign
        | Refusal::Conflict(_)
        | Refusal::Denied(_) => InSession::Refused(refusal),
    }
}

impl From<Unreadable> for InSession {
    fn from(why: Unreadable) -> Self {
        Self::Unreadable(why)
    }
}

impl From<Denial> for InSession {
    fn from(denial: Denial) -> Self {
        Self::Refused(denial.into())
    }
}

impl From<Refusal> for InSession {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl IntoResponse for InSession {
    fn into_response(self) -> Response {
        match self {
            Self::Unreadable(Unreadable::MediaType) => denied(&Denial::UnsupportedMediaType),
            Self::Unreadable(Unreadable::TooLarge) => denied(&Denial::BodyTooLarge),
            Self::Unreadable(Unreadable::Malformed) => {
                invalid("The body must be one JSON object without repeated members.", &[])
            }
            Self::Invalid(fields) => invalid("The request is not valid.", &fields),
            Self::PasswordExpired(token) => {
                #[derive(Serialize)]
                struct Body<'a> {
                    token: &'a str,
                }
                not_stored((StatusCode::CONFLICT, Json(Body { token: token.expose() })).into_response())
            }
            Self::TooMany(wait, Limits { reached, a_minute, an_hour }) => {
                let limits = HeaderValue::try_from(format!("{reached}, {a_minute};w=60, {an_hour};w=3600"));
                let answer = denied(&Denial::LimitReached(wait));
                if let Ok(limits) = limits { with(answer, LIMITS, limits) } else { answer }
            }
            Self::TokenForbidden => say(StatusCode::FORBIDDEN, "FORBIDDEN", "The auth token is not specified or is incorrect."),
            Self::SignatureWrong => {
                let answer = say(StatusCode::UNAUTHORIZED, "SIGNATURE_INVALID", "The signature is missing or incorrect.");
                with(answer, WWW_AUTHENTICATE, HeaderValue::from_static("Signature realm=\"portcullis\""))
            }
            Self::Refused(refusal) => refused(&refusal),
        }
    }
}

fn refused(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Denied(denial) => denied(denial),
        Refusal::TokenInvalid => denied(&Denial::CredentialInvalid),
        Refusal::TokenKind => denied(&Denial::CredentialKind),
        Refusal::Conflict(conflict) => conflicting(*conflict),
        Refusal::IdentityForeign => {
            say(StatusCode::FORBIDDEN, "FORBIDDEN", "Access to the requested resource or action is forbidden.")
        }
        Refusal::KeyUnknown => {
            let answer = say(StatusCode::UNAUTHORIZED, "API_KEY_INVALID", "The API key is missing or incorrect.");
            with(answer, WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey realm=\"portcullis\""))
        }
        // The others are refusals of other APIs; whatever of a caller's proof is wrong is said in these words.
        Refusal::ProofWrong
        | Refusal::ClientUnknown
        | Refusal::ClientNotAllowed
        | Refusal::CodeInvalid
        | Refusal::RefreshInvalid => {
            let message = "The authentication credentials are not found or are incorrect.";
            say(StatusCode::FORBIDDEN, "CREDENTIALS_INCORRECT", message)
        }
    }
}

/// What the gateway would say.
fn denied(denial: &Denial) -> Response {
    let Reply { status, headers, body } = Reply::refusal(denial, Style::Session, "");
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().extend(headers);
    let answer = not_stored(answer);
    if let Denial::LimitReached(wait) = denial { with(answer, LIMIT_RESET, HeaderValue::from(seconds(*wait))) } else { answer }
}

fn say(status: StatusCode, code: &str, message: &str) -> Response {
    #[derive(Serialize)]
    struct Said<'a> {
        code: &'a str,
        message: &'a str,
    }
    not_stored((status, Json(Said { code, message })).into_response())
}

fn invalid(message: &str, fields: &[InvalidField]) -> Response {
    #[derive(Serialize)]
    struct Broken<'a> {
        params: &'a [&'static str],
        #[serde(rename = "fieldName")]
        field: &'static str,
        error: &'static str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Errors<'a> {
        invalid_fields: Vec<Broken<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Said<'a> {
        message: &'a str,
        syntax_errors: Errors<'a>,
    }
    let broken = fields.iter().map(|InvalidField { field, rule, params }| Broken { params, field, error: rule.word() });
    let said = Said { message, syntax_errors: Errors { invalid_fields: broken.collect() } };
    not_stored((StatusCode::BAD_REQUEST, Json(said)).into_response())
}

fn conflicting(conflict: Conflict) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        error_code: &'static str,
    }
    let error_code = match conflict {
        Conflict::ChannelNotSupported => "CHANNEL_NOT_SUPPORTED",
        Conflict::ChannelNotRegistered => "CHANNEL_NOT_REGISTERED",
        Conflict::ChannelAlreadyRegistered => "CHANNEL_ALREADY_REGISTERED",
        Conflict::NoPhoneNumber => "MOBILE_NUMBER_NOT_REGISTERED",
        Conflict::TooSoon(_) => "RETRY_IN_15SEC",
        Conflict::ChallengeLimit => "CHALLENGE_LIMIT_EXCEEDED",
        Conflict::State => "STATE_INVALID",
        Conflict::CodeExpired => "VERIFICATION_CODE_EXPIRED",
        Conflict::CodeWrong => "VERIFICATION_CODE_INVALID",
        Conflict::PasswordIncorrect => "PASSWORD_INCORRECT",
        Conflict::PasswordAlreadyUsed => "PASSWORD_ALREADY_USED",
        Conflict::PasswordTooSimple => "PASSWORD_TOO_SIMPLE",
        Conflict::PasswordTooShort => "PASSWORD_TOO_SHORT",
        Conflict::PasswordTooLong => "PASSWORD_TOO_LONG",
    };
    let answer = not_stored((StatusCode::CONFLICT, Json(Said { error_code })).into_response());
    if let Conflict::TooSoon(wait) = conflict { retry_after(answer, wait) } else { answer }
}

fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}
