//! API A: what its requests become, and how outcomes are said. Nothing is decided here.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::model::{Principal, Secret, Timestamp};
use crate::plan::OAuthApi;
use crate::token_api::client::{NotPresented, presented};
use crate::token_api::reading::{self, Form, Object};
use crate::token_api::words;
use crate::tokens::account::{Account, AccountId, AccountKind, AccountStatus};
use crate::tokens::client::Client;
use crate::tokens::identifier::PhoneNumber;
use crate::tokens::refusal::Refusal;
use crate::tokens::session::{CodeRule, SessionRule, VerificationRule};
use crate::tokens::{SignIn, TokenPair, TokenService, is_one_time_code};

/// API A over a token service.
#[derive(Debug)]
pub(crate) struct OAuthSkin {
    service: Arc<TokenService>,
    session: SessionRule,
    code: CodeRule,
    verification: VerificationRule,
}

impl OAuthSkin {
    pub(crate) fn new(service: Arc<TokenService>, api: &OAuthApi) -> Self {
        Self {
            service,
            session: SessionRule::oauth(api),
            code: CodeRule::oauth(api),
            verification: VerificationRule::oauth(api),
        }
    }
}

type Skin = State<Arc<OAuthSkin>>;

/// `POST /v2/verification/request-code`.
pub(crate) async fn request_code(State(skin): Skin, request: Request) -> Response {
    #[derive(Serialize)]
    struct Body {
        expiration: String,
    }
    let answer = async {
        let input = reading::json(request).await.map_err(words::unreadable)?;
        let phone = phone_number(&input)?;
        let language = optional(&input, "language")?.unwrap_or("en");
        let tag = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if language.is_empty() || language.len() > 35 || !language.bytes().all(tag) {
            return Err(words::invalid_input("language must be a BCP 47 language tag."));
        }
        if optional(&input, "destination")?.is_some_and(|destination| destination != "Phone") {
            return Err(words::invalid_input("destination must be Phone."));
        }
        let sent = skin.service.request_code(&skin.verification, &phone, language).await;
        let sent = sent.map_err(|refusal| words::refused(&refusal))?;
        Ok(words::success(&Body { expiration: instant(sent.expires, Digits::Nine) }))
    };
    either(answer.await)
}

/// `POST /v2/verification/verify-code`.
pub(crate) async fn verify_code(State(skin): Skin, request: Request) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        verification_token: &'a str,
    }
    let answer = async {
        let input = reading::json(request).await.map_err(words::unreadable)?;
        let phone = phone_number(&input)?;
        let code = required(&input, "verificationCode")?;
        if !is_one_time_code(code) {
            return Err(words::invalid_input("verificationCode must be 6 digits."));
        }
        let proof = skin.service.verify_code(&skin.verification, &phone, &secret(code)).await;
        let proof = proof.map_err(|refusal| words::refused(&refusal))?;
        Ok(words::success(&Body { verification_token: proof.expose() }))
    };
    either(answer.await)
}

/// `POST /v1/authentications/password`.
pub(crate) async fn sign_in(State(skin): Skin, request: Request) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        code: &'a str,
        expiration: String,
        account_id: i64,
        account_created: bool,
    }
    let answer = async {
        let input = reading::json(request).await.map_err(words::unreadable)?;
        let proof = required(&input, "mfaToken")?;
        if uuid::Uuid::try_parse(proof).is_err() || proof.len() != uuid::fmt::Hyphenated::LENGTH {
            return Err(words::invalid_input("mfaToken must be a UUID."));
        }
        let password = required(&input, "password")?;
        if password.is_empty() || password.len() > 1024 {
            return Err(words::invalid_input("password must have 1 to 1024 bytes."));
        }
        let (client_id, client_secret) = (required(&input, "clientId")?, required(&input, "clientSecret")?);
        let phone = phone_number(&input)?;
        let refused = |refusal: Refusal| words::refused(&refusal);
        let client = skin.service.authenticate_client(client_id, &secret(client_secret)).await.map_err(refused)?;
        let sign_in = SignIn { client: &client, phone: &phone, password: &secret(password), proof: &secret(proof) };
        let issued = skin.service.sign_in(&skin.code, sign_in).await.map_err(refused)?;
        Ok(words::success(&Body {
            code: issued.code.expose(),
            expiration: instant(issued.expires, Digits::Nine),
            account_id: issued.account.0,
            account_created: false,
        }))
    };
    either(answer.await)
}

/// `POST /v2/oauth/token`.
pub(crate) async fn token(State(skin): Skin, request: Request) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        access_token: &'a str,
        refresh_token: &'a str,
        token_type: &'static str,
        expires_in: u64,
        account_id: i64,
    }
    let answer = async {
        let (parts, form) = reading::form(request).await.map_err(words::unreadable_by_oauth)?;
        let pair = match parameter(&form, "grant_type")?.expose() {
            // Before anything else, and without counting: this grant is gone for everybody (RFC 9700 section 2.4).
            "password" => return Err(old_app_version()),
            "authorization_code" => {
                let (code, redirect_uri) = (parameter(&form, "code")?, parameter(&form, "redirect_uri")?);
                let client = client(&skin.service, &parts, &form, missing_parameter).await?;
                skin.service.redeem_code(&skin.session, &client, code, redirect_uri.expose()).await
            }
            "refresh_token" => {
                let refresh = parameter(&form, "refresh_token")?;
                let client = client(&skin.service, &parts, &form, missing_parameter).await?;
                skin.service.refresh(&skin.session, &client, refresh).await
            }
            _ => return Err(words::oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type", "UnsupportedGrantType")),
        };
        let TokenPair { access, refresh, expires_in, account } = pair.map_err(|refusal| words::refused_by_oauth(&refusal))?;
        Ok(words::success(&Body {
            access_token: access.expose(),
            refresh_token: refresh.expose(),
            token_type: "Bearer",
            expires_in: expires_in.as_secs(),
            account_id: account.0,
        }))
    };
    either(answer.await)
}

/// `POST /v2/oauth/revoke` (RFC 7009).
pub(crate) async fn revoke(State(skin): Skin, request: Request) -> Response {
    let answer = async {
        let (parts, form) = reading::form(request).await.map_err(words::unreadable_by_oauth)?;
        let client = client(&skin.service, &parts, &form, words::invalid_client).await?;
        // `token_type_hint` is only a hint (RFC 7009 section 2.1), and we need none.
        let token = parameter(&form, "token")?;
        skin.service.revoke(&client, token).await.map_err(|refusal| words::refused_by_oauth(&refusal))?;
        Ok(words::done())
    };
    either(answer.await)
}

/// `GET /v1/account`.
pub(crate) async fn account(State(skin): Skin, caller: Option<Extension<Arc<Principal>>>) -> Response {
    either(own_account(&skin, caller).await.map(|account| words::success(&AccountBody::of(&account))))
}

/// `GET /v1/accounts`.
pub(crate) async fn accounts(State(skin): Skin, caller: Option<Extension<Arc<Principal>>>) -> Response {
    either(own_account(&skin, caller).await.map(|account| words::success(&[AccountBody::of(&account)])))
}

/// The account of who the gateway says is calling. Without its word there is nobody, and so nothing to see.
async fn own_account(skin: &OAuthSkin, caller: Option<Extension<Arc<Principal>>>) -> Result<Account, Response> {
    let Extension(caller) = caller.ok_or_else(words::not_authenticated)?;
    let facts = caller.facts();
    let ours = facts.issuer == skin.service.issuer();
    let subject = facts.subject.as_deref().filter(|_| ours).and_then(AccountId::from_subject);
    let id = subject.ok_or_else(words::not_authenticated)?;
    let account = skin.service.account(id).await.map_err(|denial| words::denied(&denial))?;
    account.filter(|account| account.status == AccountStatus::Active).ok_or_else(words::not_authenticated)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the body of the contract")]
struct AccountBody<'a> {
    id: i64,
    email: &'a str,
    phone: Option<&'a str>,
    phone_country_code: Option<&'a str>,
    is_system_account: bool,
    is_support_account: bool,
    is_system_integration: bool,
    date_created: String,
    date_modified: String,
    date_last_authentication: Option<String>,
    registered: bool,
}

impl<'a> AccountBody<'a> {
    fn of(account: &'a Account) -> Self {
        Self {
            id: account.id.0,
            email: &account.email,
            phone: account.phone.as_deref(),
            phone_country_code: account.country.as_deref(),
            is_system_account: account.kind == AccountKind::System,
            is_support_account: account.kind == AccountKind::Support,
            is_system_integration: account.kind == AccountKind::Integration,
            date_created: instant(account.created, Digits::Six),
            date_modified: instant(account.modified, Digits::Six),
            date_last_authentication: account.last_authentication.map(|at| instant(at, Digits::Six)),
            registered: account.registered,
        }
    }
}

/// How many digits a fraction of a second has.
#[derive(Clone, Copy)]
enum Digits {
    Six,
    Nine,
}

/// RFC 3339 in UTC with `Z`.
fn instant(at: Timestamp, digits: Digits) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::MAX);
    match digits {
        Digits::Six => format!("{at:.6}"),
        Digits::Nine => format!("{at:.9}"),
    }
}

/// The client that presents itself; `missing` says that none does.
pub(crate) async fn client(
    service: &TokenService,
    parts: &axum::http::request::Parts,
    form: &Form,
    missing: fn() -> Response,
) -> Result<Client, Response> {
    let presented = presented(parts, form).map_err(|why| match why {
        NotPresented::Missing => missing(),
        NotPresented::Twice => words::oauth_error(StatusCode::BAD_REQUEST, "invalid_request", "RepeatedClientAuthentication"),
        NotPresented::Unreadable => words::invalid_client(),
    })?;
    let client = service.authenticate_client(&presented.id, &presented.secret).await;
    client.map_err(|refusal| words::refused_by_oauth(&refusal))
}

pub(crate) fn parameter<'a>(form: &'a Form, name: &str) -> Result<&'a Secret, Response> {
    form.value(name).ok_or_else(missing_parameter)
}

fn missing_parameter() -> Response {
    words::oauth_error(StatusCode::BAD_REQUEST, "invalid_request", "MissingParameter")
}

fn old_app_version() -> Response {
    let message = "This functionality is not supported. Please update the app to the latest version.";
    words::api_error(StatusCode::BAD_REQUEST, "OldAppVersion", message)
}

fn required<'a>(input: &'a Object, name: &str) -> Result<&'a str, Response> {
    input.text(name).ok_or_else(|| words::invalid_input(&format!("{name} must be a string.")))
}

fn optional<'a>(input: &'a Object, name: &str) -> Result<Option<&'a str>, Response> {
    if input.has(name) { required(input, name).map(Some) } else { Ok(None) }
}

fn phone_number(input: &Object) -> Result<PhoneNumber, Response> {
    let text = required(input, "phoneNumber")?;
    PhoneNumber::parse(text).map_err(|_| words::invalid_input("phoneNumber must be in E.164 form."))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Answers and refusals are both answers.
pub(crate) fn either(answer: Result<Response, Response>) -> Response {
    answer.unwrap_or_else(|refusal| refusal)
}
