//! API B: what its requests become, and how outcomes are said. Nothing is decided here.
//!
//! Where its operations are and who may call them is a table of the plan. Every call shows an API key; a token is taken from
//! the Authorization field, where the gateway has looked at it already.

mod body;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, Request, State};
use axum::handler::Handler;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};
use serde::Serialize;

use crate::model::{Denial, Secret, Source, Timestamp};
use crate::plan::{Caller, OperationTerms, SessionApi, SessionOperation};
use crate::rules::body::Object;
use crate::token_api::reading;
use crate::token_api::session::body::{CODE_LENGTH, Inspection, REFERENCE, identity_to_act_as};
use crate::token_api::session::words::{IdentityIdBody, InSession, Limits, TokenBody, done, success};
use crate::tokens::refusal::Refusal;
use crate::tokens::session::SessionRule;
use crate::tokens::{
    Approval, CarrierKey, ChallengeId, Holder, LogIn, LogInLimits, LogInRefused, LoggedIn, NewPassword, Purpose, Question,
    TokenService,
};

/// API B over a token service.
#[derive(Debug)]
pub(crate) struct SessionSkin {
    service: Arc<TokenService>,
    api: SessionApi,
    rule: SessionRule,
    logins: LogInLimits,
    callback: Option<CarrierKey>,
}

type Skin = State<Arc<SessionSkin>>;
type Answer = Result<Response, InSession>;

/// The operations below the prefix, and what answers for everything else there.
pub(crate) fn mounts(service: Arc<TokenService>, api: &SessionApi) -> Vec<(String, MethodRouter)> {
    let rule = SessionRule::session(api);
    let callback = api.callback_secret.as_ref().map(CarrierKey::new);
    let skin = Arc::new(SessionSkin { service, api: api.clone(), rule, logins: LogInLimits::session(api), callback });
    let operations = SessionOperation::ALL.into_iter().map(|operation| {
        let OperationTerms { path, method, .. } = operation.terms(api.auth_token);
        (format!("{}{path}", api.prefix), handler(operation, method).with_state(Arc::clone(&skin)))
    });
    let elsewhere = ["", "/", "/{*elsewhere}"].map(|rest| (format!("{}{rest}", api.prefix), any(nowhere)));
    operations.chain(elsewhere).collect()
}

fn handler(operation: SessionOperation, method: Method) -> MethodRouter<Arc<SessionSkin>> {
    match operation {
        SessionOperation::LogIn => take(method, log_in),
        SessionOperation::Identities => take(method, identities),
        SessionOperation::AccessToken => take(method, access_token),
        SessionOperation::BeginCode => take(method, begin_code),
        SessionOperation::VerifyCode => take(method, verify_code),
        SessionOperation::BeginPush => take(method, begin_push),
        SessionOperation::LogOut => take(method, log_out),
        SessionOperation::UpdatePassword => take(method, update_password),
        SessionOperation::EnrolCode => take(method, enrol_code),
        SessionOperation::ConfirmCode => take(method, confirm_code),
        SessionOperation::EnrolPush => take(method, enrol_push),
        SessionOperation::PushAnswered => take(method, push_answered),
    }
}

fn take<H, T>(method: Method, handler: H) -> MethodRouter<Arc<SessionSkin>>
where
    H: Handler<T, Arc<SessionSkin>>,
    T: 'static,
{
    let router = if method == Method::GET { get(handler) } else { post(handler) };
    router.fallback(move || async move { InSession::from(Denial::MethodNotAllowed([method].into())) })
}

async fn nowhere() -> InSession {
    Denial::NoRoute.into()
}

impl SessionSkin {
    /// The program that calls.
    async fn program(&self, headers: &HeaderMap) -> Result<Box<str>, Refusal> {
        let key = only(headers, "api-key").ok_or(Refusal::KeyUnknown)?;
        self.service.authenticate_key(&Secret::new(key.to_owned())).await
    }

    /// The program that calls, and whose token it shows.
    async fn caller(&self, operation: SessionOperation, headers: &HeaderMap) -> Result<(Box<str>, Holder), Refusal> {
        let program = self.program(headers).await?;
        let token = bearer(headers).ok_or(Denial::CredentialMissing)?;
        let kinds = match operation.terms(self.api.auth_token).caller {
            Caller::Anybody => &[],
            Caller::Holder(kinds) | Caller::HolderAsked(kinds) => kinds,
        };
        let holder = self.service.holder(&token, &program, kinds).await?;
        Ok((program, holder))
    }
}

/// `POST /login_with_password`.
async fn log_in(State(skin): Skin, from: Option<Extension<Source>>, request: Request) -> Answer {
    let source = reading::source(from);
    let program = skin.program(request.headers()).await?;
    let input = reading::json(request).await?;
    let mut form = Inspection::of(&input);
    let (email, password) = (form.email("email"), form.password("password.value"));
    let (email, password) = form.complete(email.zip(password))?;
    let request = LogIn { program: &program, email: &email, password: &password, source };
    match skin.service.log_in(&skin.rule, &skin.logins, request).await {
        Ok(LoggedIn::Open(opened)) => Ok(success(&TokenBody::of(&opened, Some("AUTH")))),
        Ok(LoggedIn::PasswordExpired(token)) => Err(InSession::PasswordExpired(token)),
        Err(LogInRefused::SourceLimit(wait)) => Err(skin.too_many(wait, skin.api.logins_per_source)),
        Err(LogInRefused::AccountLimit(wait)) => Err(skin.too_many(wait, skin.api.logins)),
        Err(LogInRefused::Refused(refusal)) => Err(refusal.into()),
    }
}

/// `GET /identities`.
async fn identities(State(skin): Skin, request: Request) -> Answer {
    #[derive(Serialize)]
    struct Body<'a> {
        id: IdentityIdBody,
        name: &'a str,
    }
    let (_, holder) = skin.caller(SessionOperation::Identities, request.headers()).await?;
    let all = skin.service.identities(holder.account).await?;
    let all: Vec<_> = all.iter().map(|identity| Body { id: IdentityIdBody::of(identity), name: &identity.name }).collect();
    Ok(success(&all))
}

/// `POST /access_token`. Whatever is wrong with the token is forbidden here, not unauthorised.
async fn access_token(State(skin): Skin, request: Request) -> Answer {
    let caller = skin.caller(SessionOperation::AccessToken, request.headers()).await;
    let (_, holder) = caller.map_err(words::token_forbidden)?;
    let input = reading::json(request).await?;
    let identity = identity_to_act_as(&input)?;
    let issued = skin.service.exchange(&skin.rule, &holder, identity).await.map_err(words::token_forbidden)?;
    Ok(success(&TokenBody::of(&issued, None)))
}

/// `POST /stepup/challenges/otp/{channel}`.
async fn begin_code(State(skin): Skin, Path(channel): Path<String>, request: Request) -> Answer {
    let (_, holder) = skin.caller(SessionOperation::BeginCode, request.headers()).await?;
    skin.send_code(&holder, question(&request, &channel, Purpose::StepUp)?).await
}

/// `POST /stepup/challenges/otp/{channel}/verify`.
async fn verify_code(State(skin): Skin, Path(channel): Path<String>, request: Request) -> Answer {
    let (_, holder) = skin.caller(SessionOperation::VerifyCode, request.headers()).await?;
    let code = code(&reading::json(request).await?)?;
    skin.service.answer_code(&holder, &channel, Purpose::StepUp, &code).await?;
    Ok(done())
}

/// `POST /stepup/challenges/push/{channel}`.
async fn begin_push(State(skin): Skin, Path(channel): Path<String>, request: Request) -> Answer {
    let (_, holder) = skin.caller(SessionOperation::BeginPush, request.headers()).await?;
    skin.ask_on_device(&holder, question(&request, &channel, Purpose::StepUp)?).await
}

/// `POST /logout`.
async fn log_out(State(skin): Skin, request: Request) -> Answer {
    let (_, holder) = skin.caller(SessionOperation::LogOut, request.headers()).await?;
    skin.service.log_out(&holder).await?;
    Ok(done())
}

/// `POST /passwords/update`.
async fn update_password(State(skin): Skin, request: Request) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Info {
        identity_id: IdentityIdBody,
        /// Milliseconds since the epoch; 0 for never.
        expiry_date: i64,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        password_info: Info,
        token: &'a str,
    }
    let (program, holder) = skin.caller(SessionOperation::UpdatePassword, request.headers()).await?;
    let input = reading::json(request).await?;
    let mut form = Inspection::of(&input);
    let (old, new) = (form.password("oldPassword.value"), form.text("newPassword.value"));
    let (old, new) = form.complete(old.zip(new))?;
    let new = Secret::new(new.to_owned());
    let (life, policy) = (skin.api.password_life, skin.api.password_policy);
    let request = NewPassword { program: &program, old: &old, new: &new, life, policy };
    let changed = skin.service.change_password(&skin.rule, &holder, request).await?;
    let password_info = Info {
        identity_id: IdentityIdBody::of(&changed.token.identity),
        expiry_date: changed.expires.map_or(0, Timestamp::as_millis),
    };
    Ok(success(&Body { password_info, token: changed.token.token.expose() }))
}

/// `POST /authentication_factors/otp/{channel}`.
async fn enrol_code(State(skin): Skin, Path(channel): Path<String>, request: Request) -> Answer {
    let (_, holder) = skin.caller(SessionOperation::EnrolCode, request.headers()).await?;
    skin.send_code(&holder, question(&request, &channel, Purpose::Enrolment)?).await
}

/// `POST /authentication_factors/otp/{channel}/verify`.
async fn confirm_code(State(skin): Skin, Path(channel): Path<String>, request: Request) -> Answer {
    let (_, holder) = skin.caller(SessionOperation::ConfirmCode, request.headers()).await?;
    let code = code(&reading::json(request).await?)?;
    skin.service.answer_code(&holder, &channel, Purpose::Enrolment, &code).await?;
    Ok(done())
}

/// `POST /authentication_factors/push/{channel}`.
async fn enrol_push(State(skin): Skin, Path(channel): Path<String>, request: Request) -> Answer {
    let (_, holder) = skin.caller(SessionOperation::EnrolPush, request.headers()).await?;
    skin.ask_on_device(&holder, question(&request, &channel, Purpose::Enrolment)?).await
}

/// `POST /callbacks/push`: a carrier tells what a device answered. It shows a signature instead of an API key.
async fn push_answered(State(skin): Skin, request: Request) -> Answer {
    let key = skin.callback.as_ref().ok_or(Denial::NoRoute)?;
    let (parts, text) = reading::json_text(request).await?;
    let signature = only(&parts.headers, "signature").zip(only(&parts.headers, "published-timestamp"));
    let signed = signature.is_some_and(|(signature, at)| skin.service.is_signed(key, at, text.as_bytes(), signature));
    if !signed {
        return Err(InSession::SignatureWrong);
    }
    let input = Object::parse(&text)?;
    let mut form = Inspection::of(&input);
    let (id, approval) =
        (form.text("id"), form.one_of("status", &[("APPROVED", Approval::Approved), ("DECLINED", Approval::Declined)]));
    let (id, approval) = form.complete(id.zip(approval))?;
    let challenge = ChallengeId::from_number(id).ok_or(InSession::state_invalid())?;
    skin.service.answer_push(challenge, approval).await?;
    Ok(done())
}

impl SessionSkin {
    /// More logins than `reached`, one of the two limits that there are.
    fn too_many(&self, wait: Duration, reached: u32) -> InSession {
        let (a_minute, an_hour) = (self.api.logins_per_source, self.api.logins);
        InSession::TooMany(wait, Limits { reached, a_minute, an_hour })
    }

    async fn send_code(&self, holder: &Holder, question: Question<'_>) -> Answer {
        self.service.begin_code(&self.api.challenges, holder, question).await?;
        Ok(done())
    }

    async fn ask_on_device(&self, holder: &Holder, question: Question<'_>) -> Answer {
        #[derive(Serialize)]
        struct Body {
            id: String,
        }
        if self.callback.is_none() {
            return Err(InSession::channel_not_supported());
        }
        let id = self.service.begin_push(&self.api.challenges, holder, question).await?;
        Ok(success(&Body { id: id.to_number() }))
    }
}

fn code(input: &Object) -> Result<Secret, InSession> {
    let mut form = Inspection::of(input);
    let code = form.at_most("verificationCode", &CODE_LENGTH);
    Ok(Secret::new(form.complete(code)?.to_owned()))
}

/// What a call wants to be asked: once under each reference (`idempotency-ref`), if it has one.
fn question<'r>(request: &'r Request, channel: &'r str, purpose: Purpose) -> Result<Question<'r>, InSession> {
    let headers = request.headers();
    let reference = only(headers, REFERENCE).and_then(body::reference);
    if reference.is_none() && headers.contains_key(REFERENCE) {
        return Err(body::reference_invalid());
    }
    Ok(Question { channel, purpose, reference })
}

/// The value of a field that comes once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// The token of the only Authorization field, if that is of scheme Bearer (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, token) = only(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim_start_matches(' ').to_owned()))
}
