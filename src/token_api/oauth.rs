//! API A: what its requests become, and how outcomes are said. Nothing is decided here.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use serde::Serialize;

use crate::model::{Principal, Secret, Source, Timestamp};
use crate::plan::OAuthApi;
use crate::rules::body::Object;
use crate::token_api::reading;
use crate::token_api::words::{Complaint, InJson, InOAuth};
use crate::token_api::{client, words};
use crate::tokens::account::{Account, AccountId, AccountKind, AccountStatus};
use crate::tokens::identifier::PhoneNumber;
use crate::tokens::refusal::Refusal;
use crate::tokens::session::{CodeRule, SessionRule, VerificationRule};
use crate::tokens::{PASSWORD_MAX, SignIn, TokenService, is_one_time_code, is_proof};

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
type From = Option<Extension<Source>>;

/// `POST /v2/verification/request-code`.
pub(crate) async fn request_code(State(skin): Skin, from: From, request: Request) -> Result<Response, InJson> {
    #[derive(Serialize)]
    struct Body {
        expiration: String,
    }
    let input = reading::json(request).await?;
    let phone = phone_number(&input)?;
    let language = optional(&input, "language")?.unwrap_or("en");
    let in_tag = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if language.is_empty() || language.len() > 35 || !language.bytes().all(in_tag) {
        return Err(Complaint::Member("language", "a BCP 47 language tag").into());
    }
    if optional(&input, "destination")?.is_some_and(|destination| destination != "Phone") {
        return Err(Complaint::Member("destination", "Phone").into());
    }
    let sent = skin.service.request_code(&skin.verification, &phone, language, reading::source(from)).await?;
    Ok(words::success(&Body { expiration: instant(sent.expires, Digits::Nine) }))
}

/// `POST /v2/verification/verify-code`.
pub(crate) async fn verify_code(State(skin): Skin, request: Request) -> Result<Response, InJson> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        verification_token: &'a str,
    }
    let input = reading::json(request).await?;
    let phone = phone_number(&input)?;
    let code = required(&input, "verificationCode")?;
    if !is_one_time_code(code) {
        return Err(Complaint::Member("verificationCode", "6 digits").into());
    }
    let proof = skin.service.verify_code(&skin.verification, &phone, &secret(code)).await?;
    Ok(words::success(&Body { verification_token: proof.expose() }))
}

/// `POST /v1/authentications/password`.
pub(crate) async fn sign_in(State(skin): Skin, from: From, request: Request) -> Result<Response, InJson> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        code: &'a str,
        expiration: String,
        account_id: i64,
        account_created: bool,
    }
    let input = reading::json(request).await?;
    let proof = required(&input, "mfaToken")?;
    if !is_proof(proof) {
        return Err(Complaint::Member("mfaToken", "a UUID").into());
    }
    let password = required(&input, "password")?;
    if password.is_empty() || password.len() > PASSWORD_MAX {
        return Err(Complaint::Member("password", "1 to 1024 bytes").into());
    }
    let (client_id, client_secret) = (required(&input, "clientId")?, required(&input, "clientSecret")?);
    let phone = phone_number(&input)?;
    let client = skin.service.authenticate_client(client_id, &secret(client_secret)).await?;
    let (password, proof, source) = (secret(password), secret(proof), reading::source(from));
    let sign_in = SignIn { client: &client, phone: &phone, password: &password, proof: &proof, source };
    let issued = skin.service.sign_in(&skin.code, sign_in).await?;
    Ok(words::success(&Body {
        code: issued.code.expose(),
        expiration: instant(issued.expires, Digits::Nine),
        account_id: issued.account.0,
        account_created: false,
    }))
}

/// `POST /v2/oauth/token`.
pub(crate) async fn token(State(skin): Skin, request: Request) -> Result<Response, InOAuth> {
    #[derive(Serialize)]
    struct Body<'a> {
        access_token: &'a str,
        refresh_token: &'a str,
        token_type: &'static str,
        expires_in: u64,
        account_id: i64,
    }
    let (parts, form) = reading::form(request).await?;
    let pair = match reading::parameter(&form, "grant_type")?.expose() {
        // Before anything else, and without counting.
        "password" => return Err(Complaint::GrantRetired.into()),
        "authorization_code" => {
            let (code, redirect_uri) = (reading::parameter(&form, "code")?, reading::parameter(&form, "redirect_uri")?);
            let client = client::authenticate(&skin.service, &parts, &form, Complaint::ParameterMissing).await?;
            skin.service.redeem_code(&skin.session, &client, code, redirect_uri.expose()).await?
        }
        "refresh_token" => {
            let refresh = reading::parameter(&form, "refresh_token")?;
            let client = client::authenticate(&skin.service, &parts, &form, Complaint::ParameterMissing).await?;
            skin.service.refresh(&skin.session, &client, refresh).await?
        }
        _ => return Err(Complaint::GrantUnknown.into()),
    };
    Ok(words::success(&Body {
        access_token: pair.access.expose(),
        refresh_token: pair.refresh.expose(),
        token_type: "Bearer",
        expires_in: pair.expires_in.as_secs(),
        account_id: pair.account.0,
    }))
}

/// `POST /v2/oauth/revoke` (RFC 7009).
pub(crate) async fn revoke(State(skin): Skin, request: Request) -> Result<Response, InOAuth> {
    let (parts, form) = reading::form(request).await?;
    let client = client::authenticate(&skin.service, &parts, &form, Refusal::ClientUnknown.into()).await?;
    // `token_type_hint` is only a hint (RFC 7009 section 2.1), and we need none.
    skin.service.revoke(&client, reading::parameter(&form, "token")?).await?;
    Ok(words::done())
}

type Caller = Option<Extension<Arc<Principal>>>;

/// `GET /v1/account`.
pub(crate) async fn account(State(skin): Skin, caller: Caller) -> Result<Response, InJson> {
    Ok(words::success(&AccountBody::of(&own_account(&skin, caller).await?)))
}

/// `GET /v1/accounts`.
pub(crate) async fn accounts(State(skin): Skin, caller: Caller) -> Result<Response, InJson> {
    Ok(words::success(&[AccountBody::of(&own_account(&skin, caller).await?)]))
}

/// The account of who the gateway says is calling. Without its word there is nobody, and so nothing to see.
async fn own_account(skin: &OAuthSkin, caller: Caller) -> Result<Account, Complaint> {
    let Extension(caller) = caller.ok_or(Complaint::NotAuthenticated)?;
    let facts = caller.facts();
    let ours = facts.issuer == skin.service.issuer();
    let subject = facts.subject.as_deref().filter(|_| ours).and_then(AccountId::from_subject);
    let account = skin.service.account(subject.ok_or(Complaint::NotAuthenticated)?).await?;
    account.filter(|account| account.status == AccountStatus::Active).ok_or(Complaint::NotAuthenticated)
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

fn required<'a>(input: &'a Object, name: &'static str) -> Result<&'a str, Complaint> {
    input.text(name).ok_or(Complaint::Member(name, "a string"))
}

fn optional<'a>(input: &'a Object, name: &'static str) -> Result<Option<&'a str>, Complaint> {
    if input.has(name) { required(input, name).map(Some) } else { Ok(None) }
}

fn phone_number(input: &Object) -> Result<PhoneNumber, Complaint> {
    let text = required(input, "phoneNumber")?;
    PhoneNumber::parse(text).map_err(|_| Complaint::Member("phoneNumber", "in E.164 form"))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}
