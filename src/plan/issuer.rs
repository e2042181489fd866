//! Who is asked about a token, and how.
//!
//! Imports `model` and the words of `config`. Deliberately absent: how the asking is done, which is `verify`'s business.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::JwtAlgorithm;
use crate::model::{IssuerId, NonEmpty, Secret};

/// Who vouches for tokens.
#[derive(Debug)]
pub struct Issuer {
    /// Its name: label of its metrics.
    pub name: Arc<str>,
    /// Its place in `Plan::issuers`.
    pub id: IssuerId,
    /// How it is asked.
    pub kind: IssuerKind,
}

/// How an issuer is asked.
#[derive(Debug)]
pub enum IssuerKind {
    /// The embedded token service, in process.
    Embedded,
    /// RFC 7662 at a remote service.
    Introspection(Introspection),
    /// JWTs, checked here against the issuer's keys.
    Jwt(Jwt),
}

/// A remote introspection endpoint (RFC 7662).
#[derive(Debug)]
pub struct Introspection {
    /// The endpoint.
    pub url: http::Uri,
    /// How we say who we are.
    pub authentication: ClientAuthentication,
    /// From the first byte of the request to the last of the answer.
    pub deadline: Duration,
    /// The largest answer read, in bytes.
    pub answer_bytes: usize,
    /// How long a token lives after its last use here; `None` if its use does not matter.
    pub idle: Option<Duration>,
    /// How long an active answer is remembered; never beyond the token's `exp`, and a tenth of `idle` at most.
    pub cache_ttl: Duration,
    /// How long an inactive answer is remembered; at most 10 s.
    pub negative_ttl: Duration,
    /// Idle connections kept.
    pub pool: usize,
    /// If set, `iss` of an answer must be this when the answer has one.
    pub issuer: Option<Box<str>>,
    /// If set, `token_type` of an answer must be this, or the token is taken to be a refresh token.
    pub token_type: Option<Box<str>>,
    /// If set, only tokens that begin with this are sent there.
    pub token_prefix: Option<Box<str>>,
    /// PEM file of the certificates to trust; the system's when absent.
    pub ca_file: Option<PathBuf>,
}

/// How the gateway authenticates to an introspection endpoint.
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// `client_secret_basic` (RFC 6749 section 2.3.1).
    Basic {
        /// Client id.
        id: Box<str>,
        /// Client secret.
        secret: Secret,
    },
    /// `client_secret_post`.
    Post {
        /// Client id.
        id: Box<str>,
        /// Client secret.
        secret: Secret,
    },
    /// A Bearer token of our own (RFC 7662 section 2.1).
    Bearer(Secret),
}

/// An issuer of self-contained JWTs.
#[derive(Debug)]
pub struct Jwt {
    /// The `iss` its tokens must carry.
    pub issuer: Box<str>,
    /// The `aud` values of which its tokens must carry one; never empty.
    pub audience: NonEmpty<Box<str>>,
    /// The signature algorithms that are taken; never empty, never `none`, never symmetric.
    pub algorithms: NonEmpty<JwtAlgorithm>,
    /// The `typ` header values that are taken, without `application/`, in lower case. An absent `typ` is taken only if the
    /// list has the empty string.
    pub types: Box<[Box<str>]>,
    /// Where the keys are.
    pub keys: KeySource,
    /// How far clocks may differ; at most 60 s.
    pub leeway: Duration,
    /// The longest life of a token, for which its revocation is remembered; a token that lives longer is refused.
    pub max_lifetime: Duration,
    /// How long a verified token is remembered; never beyond its `exp`.
    pub cache_ttl: Duration,
    /// How long a refused token is remembered; at most 10 s.
    pub negative_ttl: Duration,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A JWKS document (RFC 7517) over HTTP(S).
    Url {
        /// The document.
        url: http::Uri,
        /// From the first byte of the request to the last of the answer.
        deadline: Duration,
        /// How old the keys may get before they are fetched again; they go on being used while that fails.
        refresh: Duration,
        /// The shortest time between two fetches caused by unknown key ids.
        cooldown: Duration,
        /// PEM file of the certificates to trust; the system's when absent.
        ca_file: Option<PathBuf>,
    },
    /// JWKS or PEM public key files, read at start.
    Files(NonEmpty<PathBuf>),
}
