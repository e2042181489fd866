//! Asking a remote token service about a token: RFC 7662 over HTTP(S).
//!
//! Imports `model`, `plan` (the endpoint). What is no answer is an outage, never a verdict on the token; what is a verdict on
//! the token, even a rude one (400), is no outage. Deliberately absent: caching.

use std::fmt::Write;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;

use crate::fetch::{Bounds, Fetcher};
use crate::model::{Clock, Now, PrincipalFacts, Secret, TokenKind};
use crate::plan::{ClientAuthentication, Introspection};
use crate::verify::answer::{FactsReader, Members, Unreadable};
use crate::verify::authority::{Authority, Unavailable};
use crate::verify::breaker::Breaker;
use crate::verify::setup::SetupError;

/// An introspection endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    url: Uri,
    authorization: Option<HeaderValue>,
    /// What follows the token in the form: our credentials, if they go there.
    form_tail: Secret,
    expected_issuer: Option<Box<str>>,
    expected_type: Option<Box<str>>,
    fetcher: Fetcher,
    reader: FactsReader,
    breaker: Breaker,
    clock: Arc<dyn Clock>,
}

impl Endpoint {
    /// Sets everything up; connects to nobody yet.
    pub(crate) fn new(plan: &Introspection, reader: FactsReader, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let bounds = Bounds { deadline: plan.deadline, answer: plan.answer_bytes, idle: plan.pool };
        let (authorization, form_tail) = credentials(&plan.authentication)?;
        Ok(Self {
            url: plan.url.clone(),
            authorization,
            form_tail: Secret::new(form_tail),
            expected_issuer: plan.issuer.clone(),
            expected_type: plan.token_type.clone(),
            fetcher: Fetcher::new(&plan.url, plan.ca_file.as_deref(), bounds)?,
            reader,
            breaker: Breaker::new(plan.deadline),
            clock,
        })
    }

    fn request(&self, token: &str, hint: &str) -> Result<Request<Full<Bytes>>, Unavailable> {
        let mut form = String::with_capacity(token.len() + self.form_tail.expose().len() + 64);
        form.push_str("token=");
        push_encoded(&mut form, token);
        form.push_str("&token_type_hint=");
        form.push_str(hint);
        form.push_str(self.form_tail.expose());
        let mut request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request.body(Full::new(form.into())).map_err(|_| Unavailable::Lost)
    }

    async fn exchange(&self, question: Request<Full<Bytes>>, now: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        self.breaker.admit(now.tick).map_err(Unavailable::LeftAlone)?;
        let answer = match self.fetcher.fetch(question).await {
            Ok((status, body)) => self.read(status, &body),
            Err(none) => Err(none.into()),
        };
        match answer {
            Ok(_) => self.breaker.succeeded(),
            Err(_) => self.breaker.failed(self.clock.now().tick),
        }
        answer
    }

    fn read(&self, status: StatusCode, body: &[u8]) -> Result<Option<PrincipalFacts>, Unavailable> {
        match status.as_u16() {
            200 => self.facts(body).map_err(|Unreadable(what)| Unavailable::Unreadable(what)),
            code @ (401 | 403) => Err(Unavailable::Unauthorized(code)),
            400 if blames_the_client(body) => Err(Unavailable::Unauthorized(400)),
            // It does not want to hear of this token (RFC 6749 section 5.2, `unsupported_token_type` and the like). Were that
            // an outage, anybody could cause one with a token that the service does not like.
            400 | 413 | 422 => Ok(None),
            code => Err(Unavailable::Failing(code)),
        }
    }

    fn facts(&self, body: &[u8]) -> Result<Option<PrincipalFacts>, Unreadable> {
        let members = Members::parse(body)?;
        if !members.truth("active")? {
            return Ok(None);
        }
        let issuer = members.text("iss")?;
        if let (Some(expected), Some(issuer)) = (self.expected_issuer.as_deref(), issuer)
            && expected != issuer
        {
            return Ok(None);
        }
        let facts = self.reader.read(&members)?;
        let Some(expected) = &self.expected_type else { return Ok(facts) };
        // RFC 7662 section 2.2 with RFC 6749 section 5.1: only an access token has a type, and case does not matter in it.
        if members.text("token_type")?.is_some_and(|kind| kind.eq_ignore_ascii_case(expected)) {
            return Ok(facts);
        }
        Ok(facts.map(|facts| PrincipalFacts { kind: TokenKind::Refresh, ..facts }))
    }
}

#[async_trait]
impl Authority for Endpoint {
    async fn ask(&self, token: &str, now: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        self.exchange(self.request(token, "access_token")?, now).await
    }

    async fn ask_of_any_kind(&self, token: &str, now: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        self.exchange(self.request(token, "refresh_token")?, now).await
    }
}

/// The Authorization field and the tail of the form that say who we are.
fn credentials(authentication: &ClientAuthentication) -> Result<(Option<HeaderValue>, String), SetupError> {
    let field = |text: String| {
        let mut value = HeaderValue::from_str(&text).map_err(|_| SetupError::ClientCredentials)?;
        value.set_sensitive(true);
        Ok::<_, SetupError>(Some(value))
    };
    match authentication {
        // RFC 6749 section 2.3.1: both are form-urlencoded before they are joined, so that a colon cannot move.
        ClientAuthentication::Basic { id, secret } => {
            let mut pair = String::new();
            push_encoded(&mut pair, id);
            pair.push(':');
            push_encoded(&mut pair, secret.expose());
            Ok((field(format!("Basic {}", STANDARD.encode(pair)))?, String::new()))
        }
        ClientAuthentication::Post { id, secret } => {
            let mut tail = String::from("&client_id=");
            push_encoded(&mut tail, id);
            tail.push_str("&client_secret=");
            push_encoded(&mut tail, secret.expose());
            Ok((None, tail))
        }
        ClientAuthentication::Bearer(token) => Ok((field(format!("Bearer {}", token.expose()))?, String::new())),
    }
}

/// A 400 that is about us and not about the token.
fn blames_the_client(body: &[u8]) -> bool {
    let members = Members::parse(body);
    let error = members.as_ref().ok().and_then(|members| members.text("error").ok().flatten());
    matches!(error, Some("invalid_client" | "unauthorized_client"))
}

/// `application/x-www-form-urlencoded`: what could end a value, or begin another parameter, cannot.
fn push_encoded(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => into.push(char::from(byte)),
            b' ' => into.push('+'),
            // Writing into a string cannot fail.
            _ => drop(write!(into, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests;
