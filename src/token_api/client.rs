//! How clients say who they are: Basic or the body, never both (RFC 6749 section 2.3.1).

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::model::Secret;
use crate::rules::body::{Form, form_decode};
use crate::token_api::words::Complaint;
use crate::tokens::TokenService;
use crate::tokens::client::Client;
use crate::tokens::refusal::Refusal;

/// What a client presents.
#[derive(Debug)]
struct Presented {
    id: String,
    secret: Secret,
}

/// Why nothing usable was presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NotPresented {
    /// Nothing, or only half of it.
    Missing,
    /// In two ways at once, or for two clients.
    Twice,
    /// Basic credentials that cannot be read.
    Unreadable,
}

/// The client that this request presents, authenticated. What is said if it presents none is up to the operation.
pub(crate) async fn authenticate(
    service: &TokenService,
    parts: &Parts,
    form: &Form,
    if_missing: Complaint,
) -> Result<Client, Complaint> {
    match presented(parts, form) {
        Ok(Presented { id, secret }) => Ok(service.authenticate_client(&id, &secret).await?),
        Err(NotPresented::Missing) => Err(if_missing),
        Err(NotPresented::Twice) => Err(Complaint::ClientTwice),
        Err(NotPresented::Unreadable) => Err(Refusal::ClientUnknown.into()),
    }
}

/// What this request presents.
fn presented(parts: &Parts, form: &Form) -> Result<Presented, NotPresented> {
    let mut fields = parts.headers.get_all(AUTHORIZATION).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(NotPresented::Twice);
    }
    // Another scheme is no client authentication; clients are known to send an old Bearer token along with a refresh.
    let basic = field.and_then(|field| field.to_str().ok()).and_then(basic_credentials);
    let in_body = form.value("client_id").map(Secret::expose);
    match (basic, form.value("client_secret")) {
        (Some(_), Some(_)) => Err(NotPresented::Twice),
        (Some(encoded), None) => {
            let presented = decode(encoded).ok_or(NotPresented::Unreadable)?;
            if in_body.is_some_and(|id| id != presented.id) { Err(NotPresented::Twice) } else { Ok(presented) }
        }
        (None, Some(secret)) => {
            let id = in_body.ok_or(NotPresented::Missing)?.to_owned();
            Ok(Presented { id, secret: secret.clone() })
        }
        (None, None) => Err(NotPresented::Missing),
    }
}

fn basic_credentials(field: &str) -> Option<&str> {
    let (scheme, rest) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| rest.trim_matches(' '))
}

/// Id and secret are form-encoded before they are joined, so neither can hold the colon between them.
fn decode(encoded: &str) -> Option<Presented> {
    let joined = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = joined.split_once(':')?;
    Some(Presented { id: form_decode(id)?, secret: Secret::new(form_decode(secret)?) })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;

    use super::*;
    use crate::token_api::reading;

    async fn present(authorization: &[&str], body: &'static str) -> Result<(String, String), NotPresented> {
        let mut request = Request::builder().header("content-type", "application/x-www-form-urlencoded");
        for field in authorization {
            request = request.header(AUTHORIZATION, *field);
        }
        let (parts, form) = reading::form(request.body(Body::from(body)).unwrap()).await.unwrap();
        presented(&parts, &form).map(|presented| (presented.id, presented.secret.expose().to_owned()))
    }

    #[tokio::test]
    async fn a_client_presents_itself_in_the_body_or_by_basic_but_not_by_both() {
        let ann = Ok(("ann".to_owned(), "s:1".to_owned()));
        // ann:s%3A1
        let basic = "Basic YW5uOnMlM0Ex";
        assert_eq!(present(&[], "client_id=ann&client_secret=s%3A1").await, ann);
        assert_eq!(present(&[basic], "").await, ann);
        assert_eq!(present(&["basic YW5uOnMlM0Ex"], "client_id=ann").await, ann);
        assert_eq!(present(&[basic], "client_id=bob").await, Err(NotPresented::Twice));
        assert_eq!(present(&[basic], "client_secret=s").await, Err(NotPresented::Twice));
        assert_eq!(present(&[basic, basic], "").await, Err(NotPresented::Twice));
        assert_eq!(present(&["Bearer x"], "client_id=ann&client_secret=s%3A1").await, ann);
    }

    #[tokio::test]
    async fn half_a_credential_is_none_and_a_broken_one_is_unreadable() {
        for body in ["", "client_id=ann", "client_secret=s", "client_id=ann&client_secret="] {
            assert_eq!(present(&[], body).await, Err(NotPresented::Missing), "{body}");
        }
        for bad in ["Basic !", "Basic YW5u", "Basic /w==", "Basic YW5uOiU="] {
            assert_eq!(present(&[bad], "").await, Err(NotPresented::Unreadable), "{bad}");
        }
    }
}
