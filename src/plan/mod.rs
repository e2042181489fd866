//! What a request reads: everything of the configuration with all names resolved and all patterns built.
//!
//! Imports `model`, `rules` and `config`. A plan never changes; a request takes one `Arc<Plan>` when it arrives and keeps it.
//! Deliberately absent: names that are looked up later, and `Option`s that mean "not configured yet".

pub mod compile;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{IssuerId, Secret, Style};
use crate::rules::access::Access;
use crate::rules::envelope::Envelope;
use crate::rules::forwarded::TrustedProxies;
use crate::rules::identity::IdentityNames;
use crate::rules::routing::RouteTable;

/// The compiled configuration.
#[derive(Debug)]
pub struct Plan {
    /// Where it runs; some conveniences exist in the sandbox only.
    pub environment: Environment,
    /// Process-wide settings.
    pub server: Server,
    /// Where the gateway listens; never empty.
    pub listeners: Box<[Listener]>,
    /// Where health, metrics and the admin API listen.
    pub admin: Admin,
    /// Bounds on what the front guard reads.
    pub guard: GuardLimits,
    /// Whose word on the client's address counts.
    pub trusted_proxies: TrustedProxies,
    /// Finds the route of a request: an index into `routes`.
    pub table: RouteTable,
    /// The routes, in the order of the file.
    pub routes: Box<[Arc<Route>]>,
    /// How answers are dressed that belong to no route.
    pub fallback: Arc<Envelope>,
    /// The issuers; an `IssuerId` is an index into this.
    pub issuers: Box<[Issuer]>,
    /// The upstreams; a route's target holds one of these.
    pub upstreams: Box<[Arc<Upstream>]>,
    /// The embedded token service, if it runs.
    pub token_service: Option<TokenService>,
    /// Bounds on remembering tokens.
    pub cache: CacheLimits,
}

/// Where a gateway runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Environment {
    /// For real.
    Production,
    /// To try things out: one-time codes are fixed and nothing is sent.
    Sandbox,
}

/// Process-wide settings.
#[derive(Clone, Debug)]
pub struct Server {
    /// Worker threads of the proxy, at least 1.
    pub threads: usize,
    /// How long requests in flight may go on after SIGTERM.
    pub drain: Duration,
    /// How many idle upstream connections are kept, over all threads.
    pub upstream_pool: usize,
    /// Log lines as JSON rather than as text.
    pub log_json: bool,
}

/// One listening address.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Certificate chain and key, for HTTPS.
    pub tls: Option<TlsFiles>,
}

/// A certificate chain and its key, PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificates: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The address; loopback unless a token is set.
    pub address: SocketAddr,
    /// The Bearer token that admin calls need. Health and metrics need none.
    pub token: Option<Secret>,
}

/// Bounds on what the front guard reads of a connection.
#[derive(Clone, Debug)]
pub struct GuardLimits {
    /// Bytes of request line and header fields together.
    pub head_bytes: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
    /// Header fields.
    pub fields: usize,
    /// From the first byte of a head to its end.
    pub head_deadline: Duration,
    /// Between two requests on a connection.
    pub idle: Duration,
    /// Between two reads of a body, and two writes of a response.
    pub body_idle: Duration,
    /// Connections at once, over all clients.
    pub connections: usize,
    /// Connections at once from one source (IPv4 address or IPv6 /64).
    pub connections_per_source: usize,
    /// Requests on one connection, after which it is closed.
    pub requests_per_connection: u32,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its name: label of its metrics, field of its log lines.
    pub name: Arc<str>,
    /// Its place in `Plan::routes`.
    pub index: usize,
    /// Who may use it.
    pub access: Access,
    /// Where its requests go.
    pub target: Target,
    /// How its answers are dressed and its refusals are spoken.
    pub envelope: Arc<Envelope>,
    /// How old an answer of the token service may be here, and what is done when there is none.
    pub freshness: Freshness,
    /// The largest body it takes, in bytes.
    pub body_limit: u64,
    /// Whether the Authorization field goes upstream.
    pub forward_authorization: bool,
    /// The identity headers it sets.
    pub identity: Arc<IdentityNames>,
    /// What a request that this route lets through ends, as soon as its answer may be a success.
    pub ends: Option<Ends>,
}

impl Route {
    /// The style in which its refusals are spoken.
    #[must_use]
    pub fn style(&self) -> Style {
        self.envelope.style
    }
}

/// Where a route's requests go.
#[derive(Clone, Debug)]
pub enum Target {
    /// To an upstream.
    Upstream(Arc<Upstream>),
    /// To the embedded token service, in process.
    TokenService,
}

/// What a route's request ends for the token it presents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// The presented token.
    Token,
    /// Every token of its session.
    Session,
    /// Every token of its subject.
    Subject,
}

/// How old an answer of the token service may be, per route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Freshness {
    /// How long after a revocation elsewhere its token may still pass here; zero asks anew for every request. Issuers that
    /// publish cuts in this process (the embedded service) are exact whatever this says.
    pub max_revocation_lag: Duration,
    /// What is done when the token service cannot be asked.
    pub on_outage: OnOutage,
}

/// What is done for a request whose token cannot be asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnOutage {
    /// 503 with Retry-After.
    Deny,
    /// A token that was last seen active goes on for this long after its answer became too old; never past its `exp`, an
    /// idle deadline or a cut.
    Grace(Duration),
}

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
    /// How long an active answer is remembered; never beyond the token's `exp`.
    pub cache_ttl: Duration,
    /// How long an inactive answer is remembered; at most 10 s.
    pub negative_ttl: Duration,
    /// Idle connections kept.
    pub pool: usize,
    /// If set, `iss` of an answer must be this when the answer has one.
    pub issuer: Option<Box<str>>,
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
    pub audience: crate::model::NonEmpty<Box<str>>,
    /// The signature algorithms that are taken; never empty, never `none`, never symmetric.
    pub algorithms: crate::model::NonEmpty<JwtAlgorithm>,
    /// The `typ` header values that are taken, without `application/`, in lower case. An absent `typ` is taken only if the
    /// list has the empty string.
    pub types: Box<[Box<str>]>,
    /// Where the keys are.
    pub keys: KeySource,
    /// How far clocks may differ; at most 60 s.
    pub leeway: Duration,
    /// How long a verified token is remembered; never beyond its `exp`.
    pub cache_ttl: Duration,
    /// How long a refused token is remembered; at most 10 s.
    pub negative_ttl: Duration,
}

/// Signature algorithms that can be allowed; the symmetric ones and `none` do not exist here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names of RFC 7518 section 3.1 and RFC 8037 explain themselves")]
pub enum JwtAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
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
    Files(crate::model::NonEmpty<PathBuf>),
}

/// One or more servers that do the same.
#[derive(Debug)]
pub struct Upstream {
    /// Its name: label of its metrics.
    pub name: Arc<str>,
    /// Its servers, taken in turn; never empty.
    pub servers: Servers,
    /// To establish a connection.
    pub connect_timeout: Duration,
    /// Between two reads of a response.
    pub read_timeout: Duration,
    /// Between two writes of a request.
    pub write_timeout: Duration,
    /// From the first attempt to the head of the response.
    pub total_timeout: Duration,
    /// How long an unused connection is kept; below what the server keeps it.
    pub idle_timeout: Duration,
    /// How often a request that is safe to repeat is tried again on another server.
    pub retries: usize,
    /// Response headers of this upstream that are not passed on.
    pub hide_headers: Box<[http::HeaderName]>,
}

/// The servers of an upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Servers {
    /// At these addresses; never empty.
    At(crate::model::NonEmpty<UpstreamServer>),
    /// The echo service built in for the quick start, which answers with what reached it.
    Echo,
}

/// One server of an upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamServer {
    /// Host name or address.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// Whether it is spoken to over TLS.
    pub tls: bool,
}

/// The embedded token service.
#[derive(Debug)]
pub struct TokenService {
    /// Its issuer.
    pub issuer: IssuerId,
    /// Its database file.
    pub database: PathBuf,
    /// The public base address that its metadata names, without a trailing slash.
    pub public_url: Box<str>,
    /// Where API A is mounted, if it is.
    pub oauth: Option<OAuthApi>,
    /// How passwords are hashed.
    pub hashing: Hashing,
    /// Consecutive failures after which an account is locked, and for how long (contract section 8).
    pub lock: LockSettings,
}

/// API A: its mounts and its lifetimes (contract section 1).
#[derive(Clone, Debug)]
pub struct OAuthApi {
    /// Where its operations are mounted.
    pub paths: OAuthPaths,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token without use.
    pub refresh_idle: Duration,
    /// Life of a grant whatever its use.
    pub refresh_absolute: Duration,
    /// Within this time a retried refresh gets the same pair; 0 to 30 s.
    pub refresh_grace: Duration,
    /// How long the old access token lives on after a refresh; 0 to 60 s.
    pub superseded_access: Duration,
    /// Life of an authorization code; at most 10 min.
    pub code_ttl: Duration,
    /// Life of a verification code and of the token it is exchanged for; at most 10 min.
    pub verification_ttl: Duration,
    /// Wrong tries after which a verification code is void.
    pub verification_tries: u32,
    /// The shortest time between two codes for one phone number.
    pub resend_interval: Duration,
    /// Codes for one phone number within 10 minutes.
    pub codes_per_phone: u32,
}

/// The mount of each operation of API A.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OAuthPaths {
    /// Sign-in with password and second factor.
    pub password: Box<str>,
    /// Asking for a verification code.
    pub request_code: Box<str>,
    /// Exchanging it for a verification token.
    pub verify_code: Box<str>,
    /// The token endpoint.
    pub token: Box<str>,
    /// The revocation endpoint (RFC 7009).
    pub revoke: Box<str>,
    /// The caller's account, as an object.
    pub account: Box<str>,
    /// The same in an array.
    pub accounts: Box<str>,
}

/// How passwords are hashed (argon2id, RFC 9106).
#[derive(Clone, Debug)]
pub struct Hashing {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Hashes at once.
    pub parallel: usize,
    /// Hashes that may wait; beyond it 503.
    pub queue: usize,
}

/// When an account is locked.
#[derive(Clone, Copy, Debug)]
pub struct LockSettings {
    /// Consecutive failures.
    pub attempts: u32,
    /// Length of the lock, from its start; tries during it do not extend it.
    pub duration: Duration,
}

/// Bounds on remembering tokens.
#[derive(Clone, Debug)]
pub struct CacheLimits {
    /// Active tokens.
    pub tokens: u64,
    /// Inactive tokens.
    pub inactive: u64,
    /// Misses that one source may cause per second, sustained.
    pub misses_per_second: u32,
    /// Misses that one source may cause at once.
    pub miss_burst: u32,
}
