//! `POST /admin/revoke`: an operator ends a token, a session, a subject or a client.
//!
//! The order is that of every revocation: what the embedded service has is ended in its database, then cut; what others issued
//! is cut, then written down if nobody can be asked about it again; then the call is answered.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::admin::words::{Problem, answer};
use crate::model::{Clock, Credential, IssuerId, Secret};
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::revocations::{Cause, Incomplete, NotKept, Revocations};
use crate::tokens::TokenService;

/// The largest body, in bytes.
const BODY_MAX: usize = 16 * 1024;
/// How long a body may take.
const BODY_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// What a revocation is done with.
#[derive(Clone, Debug)]
pub struct Revoker {
    /// Every issuer, by its name.
    pub issuers: Arc<[(Arc<str>, IssuerId)]>,
    /// The embedded service, if it runs.
    pub embedded: Option<Arc<TokenService>>,
    /// Where everything else is cut.
    pub revocations: Revocations,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// What the body says: exactly one of the first four.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default, deserialize_with = "text")]
    token: Option<String>,
    #[serde(default, deserialize_with = "text")]
    session: Option<String>,
    #[serde(default, deserialize_with = "text")]
    subject: Option<String>,
    #[serde(default, deserialize_with = "text")]
    client: Option<String>,
    #[serde(default, deserialize_with = "text")]
    issuer: Option<String>,
}

/// A string, where null is none.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// What is to be revoked, and of whom.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) reach: Reach,
    pub(super) issuers: Vec<(Arc<str>, IssuerId)>,
}

impl Revoker {
    /// Reads what is wanted.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Wanted, Problem> {
        if !is_json(headers) {
            return Err(Problem::MEDIA_TYPE);
        }
        let collected = tokio::time::timeout(BODY_DEADLINE, Limited::new(body, BODY_MAX).collect()).await;
        let bytes = match collected.map_err(|_| Problem::TOO_SLOW)? {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(Problem::TOO_LARGE),
            Err(_) => return Err(Problem::malformed("the body cannot be read")),
        };
        self.parse(&bytes)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Wanted, Problem> {
        // An array would be read as the members in their order.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Problem::malformed("the body is a JSON object"));
        }
        let body: Said = serde_json::from_slice(bytes).map_err(|_| {
            Problem::malformed("the body is a JSON object of strings: one of token, session, subject and client; and issuer")
        })?;
        let one_of = "exactly one of token, session, subject and client says what is revoked";
        let reach = match (body.token.map(Secret::new), body.session, body.subject, body.client) {
            (Some(token), None, None, None) => {
                if token.expose().is_empty() || token.expose().len() > Credential::MAX_LEN {
                    return Err(Problem::malformed("the token is empty or longer than any that is taken"));
                }
                Reach::Token(Fingerprint::of(token.expose()))
            }
            (None, Some(name), None, None) => Reach::Session(filled(name)?),
            (None, None, Some(name), None) => Reach::Subject(filled(name)?),
            (None, None, None, Some(name)) => Reach::Client(filled(name)?),
            (_, _, _, _) => return Err(Problem::malformed(one_of)),
        };
        Ok(Wanted { reach, issuers: self.named(body.issuer.as_deref())? })
    }

    /// The issuer of this name; all if there is no name.
    fn named(&self, name: Option<&str>) -> Result<Vec<(Arc<str>, IssuerId)>, Problem> {
        let wanted = |(known, _): &&(Arc<str>, IssuerId)| name.is_none_or(|name| **known == *name);
        let found: Vec<_> = self.issuers.iter().filter(wanted).cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let known: Vec<&str> = self.issuers.iter().map(|(name, _)| &**name).collect();
        Err(if known.is_empty() {
            Problem::malformed("no issuer is configured: there are no tokens to revoke")
        } else {
            Problem::malformed(&format!("there is no such issuer; there are: {}", known.join(", ")))
        })
    }

    /// Revokes it everywhere it can be, and says so once it holds and lasts, on every gateway.
    pub(super) async fn revoke(&self, wanted: Wanted, from: std::net::IpAddr) -> Response {
        let names: Vec<&str> = wanted.issuers.iter().map(|(name, _)| &**name).collect();
        let (mut failed, mut untold) = (Vec::new(), Vec::new());
        for (name, id) in &wanted.issuers {
            match self.revoke_of(*id, wanted.reach.clone()).await {
                Ok(()) => {}
                Err(Incomplete::NotKept(_)) => failed.push(&**name),
                Err(Incomplete::NotTold(_)) => untold.push(&**name),
            }
        }
        let reach = &wanted.reach;
        if failed.is_empty() && untold.is_empty() {
            tracing::info!(target: "portcullis::audit", actor = "admin", %from, ?reach, issuers = ?names, "revoked");
            return answer(
                StatusCode::OK,
                "application/json",
                &json!({ "revoked": { "issuers": names, "reach": reach.word() } }),
            );
        }
        tracing::error!(target: "portcullis::audit", actor = "admin", %from, ?reach, issuers = ?names, ?failed, ?untold, "not all revoked");
        let problem = if failed.is_empty() { Problem::not_told(&untold) } else { Problem::not_kept(&failed) };
        problem.into_answer()
    }

    async fn revoke_of(&self, issuer: IssuerId, reach: Reach) -> Result<(), Incomplete> {
        match self.embedded.as_ref().filter(|service| service.issuer() == issuer) {
            Some(service) => Ok(service.end(reach).await.map_err(|_| NotKept)??),
            None => self.revocations.publish(issuer, reach, Cause::Operator, self.clock.now()).await,
        }
    }
}

fn filled(name: String) -> Result<Box<str>, Problem> {
    if name.is_empty() { Err(Problem::malformed("an empty name is nobody's")) } else { Ok(name.into()) }
}

/// Whether there is one Content-Type, JSON, and no compression.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.to_str().ok().and_then(|only| only.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) && !headers.contains_key(CONTENT_ENCODING)
}
