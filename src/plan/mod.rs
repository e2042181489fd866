//! What a request reads: everything of the configuration with all names resolved and all patterns built.
//!
//! Imports `model`, `rules` and `config`. A plan never changes; a request takes one `Arc<Plan>` when it arrives and keeps it.
//! Deliberately absent: names that are looked up later, and `Option`s that mean "not configured yet".

pub mod compile;
mod database;
mod issuer;
mod limit;
mod login_guard;
mod notifier;
mod passage;
mod receiver;
mod session_api;
mod store;
mod token_service;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

pub use crate::config::{Environment, JwtAlgorithm, MessageKind, SmtpTls};
use crate::model::{Location, NonEmpty, Secret, Source, SourcePrefix, Style};
use crate::rules::access::Access;
use crate::rules::envelope::Envelope;
use crate::rules::forwarded::TrustedProxies;
use crate::rules::head::HeadLimits;
use crate::rules::identity::IdentityNames;
use crate::rules::networks::Sources;
use crate::rules::routing::RouteTable;
pub use database::{Database, Postgres, PostgresTls};
pub use issuer::{ClientAuthentication, Introspection, Issuer, IssuerKind, Jwt, KeySource};
pub use limit::{Limit, LimitKey, OnStoreOutage, Policy, RouteLimits};
pub use login_guard::{GuardCheck, LoginGuard, LoginGuardId};
pub use notifier::{Notifier, Smtp, Webhook};
pub use passage::Passage;
pub use receiver::{PushProtocol, Receiver, ReceiverId};
pub use session_api::{AuthTokenUse, Caller, ChallengeLimits, OperationTerms, PasswordPolicy, SessionApi, SessionOperation};
pub use store::{Store, Topology, Trust, Valkey};
pub use token_service::{
    BackOfficeApi, BackOfficeLimits, BackOfficePaths, Hashing, LockSettings, OAuthApi, OAuthPaths, TokenService, TokenType,
};

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
    /// Who is served at all, by where they come from.
    pub sources: Sources,
    /// Finds the route of a request: an index into `routes`.
    pub table: RouteTable,
    /// The routes, in the order of the file.
    pub routes: Box<[Arc<Route>]>,
    /// How answers are dressed that belong to no route.
    pub fallback: Arc<Envelope>,
    /// The issuers; an `IssuerId` is an index into this.
    pub issuers: Box<[Issuer]>,
    /// Where others push revocations; a `ReceiverId` is an index into this.
    pub receivers: Box<[Receiver]>,
    /// The guards on logins; a `LoginGuardId` is an index into this.
    pub login_guards: Box<[Arc<LoginGuard>]>,
    /// The upstreams; a route's target holds one of these.
    pub upstreams: Box<[Arc<Upstream>]>,
    /// The rate limits; `Limit::index` is an index into this.
    pub limits: Box<[Arc<Limit>]>,
    /// The embedded token service, if it runs.
    pub token_service: Option<TokenService>,
    /// Bounds on remembering tokens.
    pub cache: CacheLimits,
    /// What is remembered beyond a request, and where.
    pub store: Store,
}

impl Plan {
    /// Where a request comes from, by its connection and what a trusted proxy says.
    #[must_use]
    pub fn source(&self, peer: IpAddr, headers: &HeaderMap) -> Source {
        Source::apart_by(self.trusted_proxies.client(peer, headers), self.guard.source_prefix)
    }
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
    /// Connections at once from one source.
    pub connections_per_source: usize,
    /// Requests on one connection, after which it is closed.
    pub requests_per_connection: u32,
    /// How sources are told apart, here and wherever else something is counted by source.
    pub source_prefix: SourcePrefix,
}

impl GuardLimits {
    /// Those of a head, whichever protocol it comes in.
    #[must_use]
    pub fn head(&self) -> HeadLimits {
        HeadLimits { head_bytes: self.head_bytes, target_bytes: self.target_bytes, fields: self.fields }
    }
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its name: label of its metrics, field of its log lines.
    pub name: Arc<str>,
    /// Its place in `Plan::routes`.
    pub index: usize,
    /// Who is served here, by where they come from.
    pub sources: Sources,
    /// Who may use it.
    pub access: Access,
    /// Where its requests go.
    pub target: Target,
    /// How its answers are dressed and its refusals are spoken.
    pub envelope: Arc<Envelope>,
    /// Whether its requests count as use of what dies of disuse. If not, the idle clock is checked and not moved.
    pub activity: bool,
    /// How old an answer of the token service may be here, and what is done when there is none.
    pub freshness: Freshness,
    /// The largest body it takes, in bytes.
    pub body_limit: u64,
    /// Whether the Authorization field goes upstream.
    pub forward_authorization: bool,
    /// The identity headers it sets.
    pub identity: Arc<IdentityNames>,
    /// Whether its answers name the request as `request-ref` too (contract section 2), besides `X-Request-Id`.
    pub request_ref: bool,
    /// What its requests do at the token service behind it, if that is where they go.
    pub passage: Option<Passage>,
    /// Its rate limits.
    pub limits: RouteLimits,
    /// What keeps passwords from being guessed here, if it is a login at a token service that is not ours. All must admit an
    /// attempt; none is here twice.
    pub login_guards: Box<[Arc<LoginGuard>]>,
    /// The guards whose locks hold here too, though no password is tried.
    pub checks: Box<[GuardCheck]>,
}

impl Route {
    /// Whether guards are asked about its requests.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        !self.login_guards.is_empty() || !self.checks.is_empty()
    }

    /// The places in a request at which its guards look.
    pub fn guarded_places(&self) -> impl Iterator<Item = &Location> {
        let own = self.login_guards.iter().flat_map(|guard| login_guard::places(&guard.account, guard.client.as_ref()));
        own.chain(self.checks.iter().flat_map(|check| login_guard::places(&check.account, check.client.as_ref())))
    }

    /// Whether the bodies of its answers tell how logins ended.
    #[must_use]
    pub fn reads_answers(&self) -> bool {
        self.login_guards.iter().any(|guard| guard.answers.reads_bodies())
    }

    /// The style in which its refusals are spoken.
    #[must_use]
    pub fn style(&self) -> Style {
        self.envelope.style
    }

    /// Whether its answers carry tokens.
    #[must_use]
    pub fn gives_tokens(&self) -> bool {
        self.passage.as_ref().is_some_and(|passage| passage.role.gives_tokens())
    }
}

impl fmt::Display for Route {
    /// What is mounted, who may use it, where it goes: a line of the start's report.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match &self.access {
            Access::Public => "public",
            Access::Optional(_) => "optional",
            Access::Bearer(wanted) if wanted.assurance.is_some() => "bearer, step-up",
            Access::Bearer(_) => "bearer",
        };
        write!(f, "route {} ({access}) -> ", self.name)?;
        match &self.target {
            Target::Upstream(upstream) => write!(f, "upstream {}", upstream.name),
            Target::TokenService => f.write_str("embedded token service"),
            Target::Receiver(_, what) => write!(f, "receiver of {what}"),
        }
    }
}

/// Where a route's requests go.
#[derive(Clone, Debug)]
pub enum Target {
    /// To an upstream.
    Upstream(Arc<Upstream>),
    /// To the embedded token service, in process.
    TokenService,
    /// To one of the gateway's own receivers, of what this says.
    Receiver(ReceiverId, &'static str),
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
    At(NonEmpty<UpstreamServer>),
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
