//! API C: what its requests become, and how outcomes are said. Nothing is decided here.

#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use serde::Serialize;

use crate::model::{Principal, Secret, Source, Timestamp};
use crate::plan::BackOfficeApi;
use crate::rules::body::Object;
use crate::token_api::back_office::words::InBackOffice;
use crate::token_api::reading;
use crate::token_api::words::{Complaint, done, success};
use crate::tokens::identifier::EmailAddress;
use crate::tokens::session::{Api, EntryRule};
use crate::tokens::{Entered, Entry, PASSWORD_MAX, TokenPair, TokenService};

/// API C over a token service.
#[derive(Debug)]
pub(crate) struct BackOfficeSkin {
    service: Arc<TokenService>,
    rule: EntryRule,
}

impl BackOfficeSkin {
    pub(crate) fn new(service: Arc<TokenService>, api: &BackOfficeApi) -> Self {
        Self { service, rule: EntryRule::back_office(api) }
    }
}

type Skin = State<Arc<BackOfficeSkin>>;
type From = Option<Extension<Source>>;

/// `POST /api/v2/signin`.
pub(crate) async fn sign_in(State(skin): Skin, from: From, request: Request) -> Result<Response, InBackOffice> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Body<'a> {
        Open {
            #[serde(rename = "2faRequired")]
            required: bool,
            #[serde(flatten)]
            pair: PairBody<'a>,
        },
        SecondFactor {
            #[serde(rename = "2faRequired")]
            required: bool,
            #[serde(rename = "2faDetails")]
            details: Details<'a>,
        },
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Details<'a> {
        token: &'a str,
        provider: &'static str,
        expires_at: String,
    }
    let input = reading::json_however_labelled(request).await?;
    let email = EmailAddress::parse(required(&input, "email")?);
    let email = email.map_err(|_| Complaint::Member("email", "an e-mail address"))?;
    let password = required(&input, "password")?;
    if password.len() > PASSWORD_MAX {
        return Err(Complaint::Member("password", "1 to 1024 bytes").into());
    }
    let entry = Entry { email: &email, password: &secret(password), source: reading::source(from) };
    Ok(match skin.service.enter(&skin.rule, entry).await? {
        Entered::Open(pair) => success(&Body::Open { required: false, pair: PairBody::of(&pair) }),
        Entered::SecondFactor(factor) => {
            let details = Details { token: factor.token.expose(), provider: "email", expires_at: instant(factor.expires) };
            success(&Body::SecondFactor { required: true, details })
        }
    })
}

/// `POST /api/v2/2fa/confirm`.
pub(crate) async fn confirm(State(skin): Skin, from: From, request: Request) -> Result<Response, InBackOffice> {
    let input = reading::json_however_labelled(request).await?;
    let (token, code) = (secret(required(&input, "token")?), secret(required(&input, "code")?));
    let pair = skin.service.confirm(&skin.rule, &token, &code, reading::source(from)).await?;
    Ok(success(&PairBody::of(&pair)))
}

/// `POST /api/v2/refresh`.
pub(crate) async fn refresh(State(skin): Skin, from: From, request: Request) -> Result<Response, InBackOffice> {
    let input = reading::json_however_labelled(request).await?;
    let token = secret(required(&input, "refreshToken")?);
    let pair = skin.service.refresh_own(&skin.rule, &token, reading::source(from)).await?;
    Ok(success(&PairBody::of(&pair)))
}

/// `POST /api/v2/signout`. What the body holds, if anything, is of no interest.
pub(crate) async fn sign_out(State(skin): Skin, caller: Option<Extension<Arc<Principal>>>) -> Result<Response, InBackOffice> {
    let Extension(caller) = caller.ok_or(Complaint::NotAuthenticated)?;
    let facts = caller.facts();
    let ours = facts.issuer == skin.service.issuer();
    let session = facts.session.as_deref().filter(|_| ours).ok_or(Complaint::NotAuthenticated)?;
    // Somebody else's sign-out may have come first, and the sessions of other APIs end elsewhere.
    if skin.service.sign_out(Api::BackOffice, session).await? { Ok(done()) } else { Err(Complaint::NotAuthenticated.into()) }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PairBody<'a> {
    access_token: TokenBody<'a>,
    refresh_token: TokenBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenBody<'a> {
    token: &'a str,
    created_at: String,
    expires_at: String,
}

impl<'a> PairBody<'a> {
    fn of(pair: &'a TokenPair) -> Self {
        let body = |token: &'a Secret, expires| TokenBody {
            token: token.expose(),
            created_at: instant(pair.issued),
            expires_at: instant(expires),
        };
        Self { access_token: body(&pair.access, pair.access_expires), refresh_token: body(&pair.refresh, pair.refresh_expires) }
    }
}

/// RFC 3339 with a numeric offset and whole seconds, rounded down: nobody is promised more than there is.
fn instant(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_second(at.as_secs()).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

fn required<'a>(input: &'a Object, name: &'static str) -> Result<&'a str, Complaint> {
    input.text(name).filter(|text| !text.is_empty()).ok_or(Complaint::Member(name, "a string that is not empty"))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}
