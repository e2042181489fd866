//! Calls the admin listener of a gateway that runs, as commands do.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::model::Secret;

/// For the whole call.
const DEADLINE: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// What the gateway answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Called {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Why a gateway could not be called.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The token cannot be sent in a header field.
    #[error("the admin token holds a character that no header field can carry")]
    Token,
    /// The address is none.
    #[error("{0} is not an address that can be called")]
    Address(String),
    /// Nobody answered.
    #[error("cannot call {0}: {1}")]
    Silence(String, String),
}

/// What is asked of the admin API.
#[derive(Clone, Debug)]
pub enum Calling<'a> {
    /// POST of a JSON body.
    Post(String),
    /// GET with a query.
    Get(&'a [(&'a str, &'a str)]),
    /// DELETE with a query.
    Delete(&'a [(&'a str, &'a str)]),
}

impl Calling<'_> {
    fn parts(self) -> (Method, String, String) {
        match self {
            Self::Post(body) => (Method::POST, String::new(), body),
            Self::Get(query) => (Method::GET, encoded(query), String::new()),
            Self::Delete(query) => (Method::DELETE, encoded(query), String::new()),
        }
    }
}

/// A query, with everything escaped that may mean something else in one (RFC 3986 section 2.3).
fn encoded(query: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in query {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a text does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// Calls `path` of the admin listener at `admin` (http).
///
/// # Errors
/// [`CallError`].
pub async fn call_admin(admin: &str, path: &str, token: &Secret, calling: Calling<'_>) -> Result<Called, CallError> {
    let (method, query, body) = calling.parts();
    let address = format!("{}{path}{query}", admin.trim_end_matches('/'));
    let uri: Uri = address.parse().map_err(|_| CallError::Address(admin.to_owned()))?;
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| CallError::Token)?;
    bearer.set_sensitive(true);
    let request = Request::builder().method(method).uri(uri).header(AUTHORIZATION, bearer);
    let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)));
    let request = request.map_err(|_| CallError::Address(admin.to_owned()))?;
    let silence = |why: String| CallError::Silence(admin.to_owned(), why);
    let exchange = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.request(request).await.map_err(|error| silence(whole(&error)))?;
        let status = answer.status().as_u16();
        let read = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let bytes = read.map_err(|error| silence(error.to_string()))?.to_bytes();
        Ok(Called { status, body: String::from_utf8_lossy(&bytes).into_owned() })
    };
    tokio::time::timeout(DEADLINE, exchange).await.unwrap_or_else(|_| Err(silence("no answer in 30 s".to_owned())))
}

/// An error with what caused it: by itself it only says that something did not work.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
