//! Puts the parts together: the only module that names concrete adapters, reads clocks, the environment and files.
//!
//! A gateway is loaded (`load`), started (`Gateway::start`), and runs until it is told to stop (`Gateway::run`). Deliberately
//! absent: decisions, and words for the operator, which are `cli`'s.

mod call;
mod echo;
mod embedded;
mod files;
mod ground;
mod machine;
mod messages;
mod observer;
mod receivers;
mod shared;
mod signals;
mod state;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::admin::{self, EmbeddedLocks, LockKeeper, Locks, Readiness, Revoker, Shown};
use crate::app::embedded::{Embedded, NotStarted};
use crate::app::ground::Ground;
use crate::app::machine::{SystemClock, SystemEntropy};
use crate::app::messages::Messages;
use crate::app::upkeep::{Cleaner, Gauges, write_uses};
use crate::fetch;
use crate::flow::{Flow, Limits};
use crate::gateway::{self, ListenError, Parts, Workers};
use crate::notify;
use crate::plan::{Database, Plan, Servers};
use crate::store::counters::SharedCounters;
use crate::store::cuts::Cuts;
use crate::store::feed::FeedFault;
use crate::store::journal::JournalFault;
use crate::store::valkey::LinkFault;
use crate::telemetry::start_logs;
use crate::tokens::TokenService;
use crate::verify::Verifier;
use crate::verify::observe::Unobserved;
use crate::verify::setup::{Needs, Setup, SetupError};

pub use call::{CallError, Called, Calling, call_admin};
pub use embedded::open as open_token_service;
pub use files::{LoadError, Loaded, load};
pub use machine::{new_password, variable};

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
    /// What is shared with other gateways cannot be set up.
    #[error(transparent)]
    Shared(#[from] LinkFault),
    /// Other gateways cannot be heard.
    #[error(transparent)]
    Feed(#[from] FeedFault),
    /// A file that the configuration names cannot be read.
    #[error("cannot read {path}: {1}", path = .0.display())]
    Unreadable(PathBuf, std::io::Error),
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
    ground: Ground,
    workers: Workers,
    ready: Readiness,
    verifier: Arc<Verifier>,
    tokens: Option<Arc<TokenService>>,
    messages: Messages,
    /// Where it listens, with the real ports, and whether over TLS.
    pub addresses: Vec<(SocketAddr, bool)>,
    /// Where health, metrics and the admin API are served.
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
        start_logs(plan.server.log_json, machine::log_filter().as_deref())
            .map_err(|error| StartError::Program(error.to_string()))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let ground = runtime.block_on(Ground::lay(plan))?;
        let plan = &ground.plan;
        let messages = Messages::new(&ground, runtime.handle())?;
        let embedded = runtime.block_on(Embedded::start(
            plan,
            &ground.revocations,
            &ground.clock,
            &ground.entropy,
            messages.notifier(),
        ))?;
        let verifier = Arc::new(runtime.block_on(async { verifier(&ground, embedded.as_ref()) })?);
        let receivers = runtime.block_on(async { receivers::start(&ground) })?;

        let bound = gateway::bind(&plan.listeners)?;
        let addresses = bound.iter().map(|listener| (listener.address, listener.is_tls())).collect();
        let wants_echo = plan.upstreams.iter().any(|upstream| upstream.servers == Servers::Echo);
        let echo = if wants_echo { Some(runtime.block_on(echo::start())?) } else { None };
        let (service, tokens) = embedded.map(|embedded| (embedded.http, embedded.tokens)).unzip();
        let ready = Readiness::default();
        let admin = runtime.block_on(serve_admin(&ground, &ready, tokens.clone()))?;
        let parts = Parts {
            plan: Arc::clone(plan),
            flow: Arc::new(flow(&ground, &verifier)),
            clock: Arc::clone(&ground.clock),
            entropy: Arc::clone(&ground.entropy),
            service,
            receivers,
            metrics: Arc::clone(&ground.metrics),
            echo,
        };
        let workers = gateway::start(parts, &bound)?;
        Ok(Self { runtime, ground, workers, ready, verifier, tokens, messages, addresses, admin })
    }

    /// Serves until the process is told to stop, then lets requests in flight end.
    ///
    /// # Errors
    /// If the system cannot deliver signals.
    pub fn run(self) -> std::io::Result<()> {
        self.ready.begin();
        self.keep_up();
        let told = self.runtime.block_on(signals::stop())?;
        tracing::info!(signal = told, "stopping: no new requests, those in flight go on");
        self.ready.end();
        self.workers.stop();
        if let Some(tokens) = &self.tokens
            && let Err(denial) = self.runtime.block_on(tokens.write_all_uses())
        {
            tracing::warn!(reason = denial.reason(), "sessions used in the last seconds may end early");
        }
        self.runtime.block_on(self.messages.finish());
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }

    fn keep_up(&self) {
        let ground = &self.ground;
        let cleaner = Cleaner {
            tokens: self.tokens.clone(),
            cuts: Arc::clone(&ground.cuts),
            journal: ground.journal.clone(),
            clock: Arc::clone(&ground.clock),
            metrics: Arc::clone(&ground.metrics),
        };
        self.runtime.spawn(cleaner.clean_up());
        if let Some(tokens) = &self.tokens {
            self.runtime.spawn(write_uses(Arc::clone(tokens)));
        }
        let gauges = Gauges {
            metrics: Arc::clone(&ground.metrics),
            cuts: Arc::clone(&ground.cuts),
            verifier: Arc::clone(&self.verifier),
            connections: self.workers.counter(),
            login_guards: ground.login_guards.clone(),
            tokens: self.tokens.clone(),
            feed: ground.feed.clone(),
            clock: Arc::clone(&ground.clock),
        };
        self.runtime.spawn(gauges.keep_current());
    }
}

/// Binds the admin listener and serves it from now on; where it is.
async fn serve_admin(
    ground: &Ground,
    ready: &Readiness,
    embedded: Option<Arc<TokenService>>,
) -> Result<SocketAddr, StartError> {
    let plan = &ground.plan;
    let metrics = Arc::clone(&ground.metrics);
    let shown = Shown { metrics, ready: ready.clone(), envelope: Arc::clone(&plan.fallback) };
    let revoker = Revoker {
        issuers: plan.issuers.iter().map(|issuer| (Arc::clone(&issuer.name), issuer.id)).collect(),
        embedded: embedded.clone(),
        revocations: ground.revocations.clone(),
        clock: Arc::clone(&ground.clock),
    };
    let wanted = plan.admin.address;
    let listener = TcpListener::bind(wanted).await.map_err(|error| StartError::Admin(wanted, error))?;
    let address = listener.local_addr()?;
    let guards = ground.login_guards.iter().map(|guard| Arc::clone(guard) as Arc<dyn LockKeeper>);
    let embedded = embedded.map(|tokens| Arc::new(EmbeddedLocks(tokens)) as Arc<dyn LockKeeper>);
    let locks = Locks::new(guards.chain(embedded).collect(), plan.guard.source_prefix);
    tokio::spawn(admin::serve(listener, shown, plan.admin.token.clone(), revoker, locks));
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
    if let Some(service) = &plan.token_service
        && let Database::Postgres(server) = &service.database
        && let Some(tls) = &server.tls
    {
        fetch::trust(tls.ca_file.as_deref()).map_err(|error| StartError::TokenService(error.to_string()))?;
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
    receivers::prove(plan)?;
    shared::prove(plan)?;
    Ok(())
}

fn flow(ground: &Ground, verifier: &Arc<Verifier>) -> Flow {
    let limits = Limits::new(&ground.plan.limits, &*ground.entropy, Arc::clone(&ground.counting) as _);
    let limits = match &ground.valkey {
        Some(valkey) => limits.sharing(SharedCounters::new(valkey.clone()), &ground.plan.issuers),
        None => limits,
    };
    Flow::new(Arc::clone(verifier), ground.revocations.clone(), limits).with_login_guards(ground.login_guards.clone())
}

fn verifier(ground: &Ground, embedded: Option<&Embedded>) -> Result<Verifier, SetupError> {
    Verifier::new(Setup {
        issuers: &ground.plan.issuers,
        limits: &ground.plan.cache,
        needs: Needs::of(&ground.plan.routes),
        cuts: Arc::clone(&ground.cuts),
        clock: Arc::clone(&ground.clock),
        entropy: &*ground.entropy,
        embedded: embedded.map(Embedded::introspection),
        observer: Arc::clone(&ground.counting) as _,
    })
}

#[cfg(test)]
mod tests;
