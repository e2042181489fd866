//! Puts the parts together: the only module that names concrete adapters, reads clocks, the environment and files.
//!
//! A gateway is loaded (`load`), started (`Gateway::start`), and runs until it is told to stop (`Gateway::run`). Deliberately
//! absent: decisions, and words for the operator, which are `cli`'s.

mod echo;
mod embedded;
mod files;
mod machine;
mod observer;
mod signals;

use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::admin::{self, Readiness, Shown};
use crate::app::embedded::{Embedded, NotStarted};
use crate::app::machine::{SystemClock, SystemEntropy};
use crate::app::observer::Counting;
use crate::flow::Flow;
use crate::gateway::{self, ListenError, Parts, Workers};
use crate::model::{Clock, Entropy};
use crate::plan::{IssuerKind, OnOutage, Plan, Servers};
use crate::store::cuts::Cuts;
use crate::store::revocations::Revocations;
use crate::telemetry::{Metrics, start_logs};
use crate::tokens::TokenService;
use crate::verify::Verifier;
use crate::verify::observe::Unobserved;
use crate::verify::setup::{Needs, Setup, SetupError};

pub use embedded::open as open_token_service;
pub use files::{LoadError, Loaded, load};
pub use machine::new_password;

/// How often what has expired is cleaned up.
const CLEAN_EVERY: Duration = Duration::from_mins(1);
/// How often it is written down when sessions were last used.
const WRITE_USES_EVERY: Duration = Duration::from_secs(5);
/// How long an introspection may be in the air when a cut is made; added to what cuts must be remembered for.
const LONGEST_LOAD: Duration = Duration::from_mins(1);

/// Why a gateway did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address or certificate cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The admin address cannot be used.
    #[error("cannot listen on {0} for admin: {1}")]
    Admin(SocketAddr, std::io::Error),
    /// The embedded token service cannot be opened.
    #[error("the token service cannot start: {0}")]
    TokenService(String),
    /// Issuers cannot be set up.
    #[error(transparent)]
    Issuers(#[from] SetupError),
    /// The system gives no threads, or the like.
    #[error("the system is out of something: {0}")]
    System(#[from] std::io::Error),
    /// Two metrics have the same name, or logging was started twice: a mistake in this program.
    #[error("{0}")]
    Program(String),
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    runtime: Runtime,
    workers: Workers,
    ready: Readiness,
    clock: Arc<dyn Clock>,
    cuts: Arc<Cuts>,
    verifier: Arc<Verifier>,
    metrics: Arc<Metrics>,
    tokens: Option<Arc<TokenService>>,
    /// Keeps a second gateway off the embedded service's database.
    _claim: Option<File>,
    /// Where it listens, with the real ports, and whether over TLS.
    pub addresses: Vec<(SocketAddr, bool)>,
    /// Where health and metrics are served.
    pub admin: SocketAddr,
}

impl Gateway {
    /// Starts to serve a plan.
    ///
    /// # Errors
    /// The first thing that does not work; nothing is left running then.
    pub fn start(plan: Plan) -> Result<Self, StartError> {
        // Before anything builds a TLS configuration: a second provider in the tree would make the choice panic.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let program = |error: &dyn std::fmt::Display| StartError::Program(error.to_string());
        start_logs(plan.server.log_json, machine::log_filter().as_deref()).map_err(|error| program(&error))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let plan = Arc::new(plan);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let metrics = Arc::new(Metrics::new(&plan).map_err(|error| program(&error))?);
        let cuts = Arc::new(Cuts::new(retention(&plan)));
        let revocations = Revocations::new(Arc::clone(&cuts), None, Arc::new(Counting(Arc::clone(&metrics))));

        let claim = plan.token_service.as_ref().map(|service| claim(&service.database)).transpose()?;
        let embedded = runtime.block_on(Embedded::start(&plan, &revocations, &clock, &entropy))?;
        let verifier =
            Arc::new(runtime.block_on(async { verifier(&plan, &cuts, &clock, &*entropy, &metrics, embedded.as_ref()) })?);
        let flow = Arc::new(Flow::new(Arc::clone(&verifier), revocations));

        let bound = gateway::bind(&plan.listeners)?;
        let addresses = bound.iter().map(|listener| (listener.address, listener.is_tls())).collect();
        let admin_listener = runtime.block_on(TcpListener::bind(plan.admin.address));
        let admin_listener = admin_listener.map_err(|error| StartError::Admin(plan.admin.address, error))?;
        let admin = admin_listener.local_addr()?;
        let wants_echo = plan.upstreams.iter().any(|upstream| upstream.servers == Servers::Echo);
        let echo = if wants_echo { Some(runtime.block_on(echo::start())?) } else { None };

        let ready = Readiness::default();
        let shown = Shown { metrics: Arc::clone(&metrics), ready: ready.clone(), envelope: Arc::clone(&plan.fallback) };
        runtime.spawn(admin::serve(admin_listener, shown));
        let (service, tokens) = embedded.map(|embedded| (embedded.http, embedded.tokens)).unzip();
        let parts = Parts { plan, flow, clock: Arc::clone(&clock), entropy, service, metrics: Arc::clone(&metrics), echo };
        let workers = gateway::start(parts, &bound)?;
        Ok(Self { runtime, workers, ready, clock, cuts, verifier, metrics, tokens, _claim: claim, addresses, admin })
    }

    /// Serves until the process is told to stop, then lets requests in flight end.
    ///
    /// # Errors
    /// If the system cannot deliver signals.
    pub fn run(self) -> std::io::Result<()> {
        self.ready.begin();
        self.runtime.spawn(clean_up(self.tokens.clone(), Arc::clone(&self.cuts), Arc::clone(&self.clock)));
        if let Some(tokens) = &self.tokens {
            self.runtime.spawn(write_uses(Arc::clone(tokens)));
        }
        let gauges =
            Gauges { metrics: self.metrics, cuts: self.cuts, verifier: self.verifier, connections: self.workers.counter() };
        self.runtime.spawn(gauges.keep_current());
        let told = self.runtime.block_on(signals::stop())?;
        tracing::info!(signal = told, "stopping: no new requests, those in flight go on");
        self.ready.end();
        self.workers.stop();
        if let Some(tokens) = &self.tokens
            && let Err(denial) = self.runtime.block_on(tokens.write_all_uses())
        {
            tracing::warn!(reason = denial.reason(), "sessions used in the last seconds may end early");
        }
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }
}

/// Claims a database for one gateway. Two would each count failed sign-ins by themselves, and neither would hear of what the
/// other revokes. The claim ends with the process, however that ends; commands that change accounts need none.
fn claim(database: &Path) -> Result<File, StartError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StartError::TokenService(format!("another gateway runs on {}", database.display())))
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Tries what a start would try with the files that a plan names, certificates and keys, without listening or asking anybody.
///
/// # Errors
/// The first file that cannot be used.
pub fn prove(plan: &Plan) -> Result<(), StartError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    gateway::prove(&plan.listeners)?;
    let (clock, cuts) = (Arc::new(SystemClock::start()), Arc::new(Cuts::new(Duration::ZERO)));
    Verifier::new(Setup {
        issuers: &plan.issuers,
        limits: &plan.cache,
        needs: Needs::of(&plan.routes),
        cuts,
        clock,
        entropy: &SystemEntropy,
        embedded: Some(Arc::new(NotStarted)),
        observer: Arc::new(Unobserved),
    })?;
    Ok(())
}

fn verifier(
    plan: &Plan,
    cuts: &Arc<Cuts>,
    clock: &Arc<dyn Clock>,
    entropy: &dyn Entropy,
    metrics: &Arc<Metrics>,
    embedded: Option<&Embedded>,
) -> Result<Verifier, SetupError> {
    Verifier::new(Setup {
        issuers: &plan.issuers,
        limits: &plan.cache,
        needs: Needs::of(&plan.routes),
        cuts: Arc::clone(cuts),
        clock: Arc::clone(clock),
        entropy,
        embedded: embedded.map(Embedded::introspection),
        observer: Arc::new(Counting(Arc::clone(metrics))),
    })
}

/// How long a cut must be remembered: until nothing can be remembered, or be in the air, that was loaded before it; and for
/// JWTs, which nobody can be asked about again, as long as one may live.
fn retention(plan: &Plan) -> Duration {
    /// The longest life of a JWT against which a cut is kept, a day.
    const LONGEST_JWT: Duration = Duration::from_hours(24);
    let remembered = plan.issuers.iter().map(|issuer| match &issuer.kind {
        IssuerKind::Embedded => LONGEST_LOAD,
        IssuerKind::Introspection(remote) => remote.cache_ttl,
        IssuerKind::Jwt(_) => LONGEST_JWT,
    });
    let graces = plan.routes.iter().map(|route| match route.freshness.on_outage {
        OnOutage::Deny => Duration::ZERO,
        OnOutage::Grace(grace) => grace,
    });
    remembered.max().unwrap_or_default() + graces.max().unwrap_or_default() + LONGEST_LOAD
}

async fn clean_up(tokens: Option<Arc<TokenService>>, cuts: Arc<Cuts>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(CLEAN_EVERY).await;
        cuts.forget_old(clock.now().tick);
        if let Some(tokens) = &tokens
            && let Err(denial) = tokens.clean_up(clock.now()).await
        {
            tracing::warn!(reason = denial.reason(), "cannot clean up the token service's database");
        }
    }
}

async fn write_uses(tokens: Arc<TokenService>) {
    loop {
        tokio::time::sleep(WRITE_USES_EVERY).await;
        if let Err(denial) = tokens.write_uses().await {
            tracing::warn!(reason = denial.reason(), "cannot write down when sessions were last used");
        }
    }
}

/// What is measured by looking rather than by counting.
struct Gauges {
    metrics: Arc<Metrics>,
    cuts: Arc<Cuts>,
    verifier: Arc<Verifier>,
    connections: gateway::OpenConnections,
}

impl Gauges {
    async fn keep_current(self) {
        let set = |gauge: &prometheus::IntGauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        let entries = |table| self.metrics.cache_entries.with_label_values(&[table]);
        let (active, inactive) = (entries("active"), entries("inactive"));
        loop {
            let remembered = self.verifier.remembered();
            set(&active, remembered.0);
            set(&inactive, remembered.1);
            set(&self.metrics.cuts, self.cuts.len() as u64);
            set(&self.metrics.connections, self.connections.now() as u64);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

#[cfg(test)]
mod tests;
