//! Puts the parts together: the only module that names concrete adapters, reads clocks, the environment and files.
//!
//! A gateway is loaded (`load`), started (`Gateway::start`), and runs until it is told to stop (`Gateway::run`). Deliberately
//! absent: decisions, and words for the operator, which are `cli`'s.

mod call;
mod echo;
mod embedded;
mod files;
mod machine;
mod messages;
mod observer;
mod signals;
mod state;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::admin::{self, Readiness, Revoker, Shown};
use crate::app::embedded::{Embedded, NotStarted};
use crate::app::machine::{SystemClock, SystemEntropy};
use crate::app::messages::Messages;
use crate::app::observer::Counting;
use crate::app::state::State;
use crate::flow::Flow;
use crate::gateway::{self, ListenError, Parts, Workers};
use crate::model::{Clock, Entropy};
use crate::notify;
use crate::plan::{Admin, Plan, Servers};
use crate::store::cuts::Cuts;
use crate::store::journal::{Journal, JournalFault};
use crate::store::revocations::{Ledger, Revocations};
use crate::telemetry::{Metrics, start_logs};
use crate::tokens::TokenService;
use crate::verify::Verifier;
use crate::verify::observe::Unobserved;
use crate::verify::setup::{Needs, Setup, SetupError};

pub use call::{CallError, Called, call_admin};
pub use embedded::open as open_token_service;
pub use files::{LoadError, Loaded, load};
pub use machine::{new_password, variable};

/// How often it is written down when sessions were last used.
const WRITE_USES_EVERY: Duration = Duration::from_secs(5);

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
    /// The carriers of messages cannot be set up.
    #[error(transparent)]
    Notifier(#[from] notify::SetupError),
    /// What was to be remembered cannot be had.
    #[error(transparent)]
    State(#[from] JournalFault),
    /// Somebody else uses the file.
    #[error("another gateway runs on {}", .0.display())]
    Claimed(PathBuf),
    /// The file that says so cannot be made.
    #[error("cannot make {path}: {1}", path = .0.display())]
    Unclaimed(PathBuf, std::io::Error),
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
    messages: Messages,
    journal: Option<Arc<Journal>>,
    /// Keep a second gateway off the embedded service's database and off the state file.
    _claims: [Option<File>; 2],
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
        let database = plan.token_service.as_ref().map(|service| state::claim(&service.database)).transpose()?;
        let State { cuts, journal, claim } = State::open(&plan, clock.now())?;
        let ledger = journal.clone().map(|journal| journal as Arc<dyn Ledger>);
        let revocations = Revocations::new(Arc::clone(&cuts), ledger, Arc::new(Counting(Arc::clone(&metrics))));
        let messages = Messages::new(&plan, &clock, &entropy, &metrics, runtime.handle())?;
        let embedded = runtime.block_on(Embedded::start(&plan, &revocations, &clock, &entropy, messages.notifier()))?;
        let verifier =
            Arc::new(runtime.block_on(async { verifier(&plan, &cuts, &clock, &*entropy, &metrics, embedded.as_ref()) })?);
        let flow = Arc::new(Flow::new(Arc::clone(&verifier), revocations.clone()));

        let bound = gateway::bind(&plan.listeners)?;
        let addresses = bound.iter().map(|listener| (listener.address, listener.is_tls())).collect();
        let wants_echo = plan.upstreams.iter().any(|upstream| upstream.servers == Servers::Echo);
        let echo = if wants_echo { Some(runtime.block_on(echo::start())?) } else { None };

        let ready = Readiness::default();
        let shown = Shown { metrics: Arc::clone(&metrics), ready: ready.clone(), envelope: Arc::clone(&plan.fallback) };
        let revoker = Revoker {
            issuers: plan.issuers.iter().map(|issuer| (Arc::clone(&issuer.name), issuer.id)).collect(),
            embedded: embedded.as_ref().map(|embedded| Arc::clone(&embedded.tokens)),
            revocations: revocations.clone(),
            clock: Arc::clone(&clock),
        };
        let admin = runtime.block_on(serve_admin(&plan.admin, shown, revoker))?;
        let (service, tokens) = embedded.map(|embedded| (embedded.http, embedded.tokens)).unzip();
        let parts = Parts { plan, flow, clock: Arc::clone(&clock), entropy, service, metrics: Arc::clone(&metrics), echo };
        let workers = gateway::start(parts, &bound)?;
        Ok(Self {
            runtime,
            workers,
            ready,
            clock,
            cuts,
            verifier,
            metrics,
            tokens,
            messages,
            journal,
            _claims: [database, claim],
            addresses,
            admin,
        })
    }

    /// Serves until the process is told to stop, then lets requests in flight end.
    ///
    /// # Errors
    /// If the system cannot deliver signals.
    pub fn run(self) -> std::io::Result<()> {
        self.ready.begin();
        let cleaner = state::Cleaner {
            tokens: self.tokens.clone(),
            cuts: Arc::clone(&self.cuts),
            journal: self.journal.clone(),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
        };
        self.runtime.spawn(cleaner.clean_up());
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
            && let Err(denial) = self.runtime.block_on(tokens.write_uses())
        {
            tracing::warn!(reason = denial.reason(), "sessions used in the last seconds may end early");
        }
        self.runtime.block_on(self.messages.finish());
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }
}

/// Binds the admin listener and serves it from now on; where it is.
async fn serve_admin(plan: &Admin, shown: Shown, revoker: Revoker) -> Result<SocketAddr, StartError> {
    let listener = TcpListener::bind(plan.address).await.map_err(|error| StartError::Admin(plan.address, error))?;
    let address = listener.local_addr()?;
    tokio::spawn(admin::serve(listener, shown, plan.token.clone(), revoker));
    Ok(address)
}

/// Tries what a start would try with the files that a plan names, certificates and keys, without listening or asking anybody.
///
/// # Errors
/// The first file that cannot be used.
pub fn prove(plan: &Plan) -> Result<(), StartError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    gateway::prove(&plan.listeners)?;
    if let Some(notifier) = plan.token_service.as_ref().and_then(|service| service.notifier.as_ref()) {
        notify::prove(notifier)?;
    }
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
