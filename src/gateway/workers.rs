//! The threads that serve: each accepts, and serves what it accepted to the end, on a runtime of its own.
//!
//! A connection never moves between threads, so nothing on a request's way waits for another core. Stopping: no more is
//! accepted, idle connections close at once, requests in flight go on until they end or the drain time is over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::proxy::http_proxy;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::time::fast_timeout::fast_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::flow::Flow;
use crate::gateway::guard::Guard;
use crate::gateway::in_process::{InProcess, Inside};
use crate::gateway::listen::Bound;
use crate::gateway::peers::Peers;
use crate::gateway::proxy::Gateway;
use crate::gateway::request_ids::RequestIds;
use crate::gateway::wire::Wire;
use crate::model::{Clock, Entropy};
use crate::plan::{Plan, Target};
use crate::rules::identity::Strip;
use crate::telemetry::Metrics;

/// How often a draining worker looks whether all is done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long accepting pauses when the process has no file descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What a gateway is made of.
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub plan: Arc<Plan>,
    /// Who decides.
    pub flow: Arc<Flow>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where the start of request ids comes from.
    pub entropy: Arc<dyn Entropy>,
    /// The embedded token service's HTTP face, if it runs.
    pub service: Option<InProcess>,
    /// The receivers of pushed revocations, in the plan's order.
    pub receivers: Box<[InProcess]>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Where the built-in echo service listens, if it does.
    pub echo: Option<SocketAddr>,
}

/// The running threads.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    guard: Arc<Guard>,
}

/// Starts the threads. Upstream names are resolved before this returns.
///
/// # Errors
/// If the system gives no thread, runtime or copy of a socket.
pub fn start(parts: Parts, bound: &[Bound]) -> io::Result<Workers> {
    let plan = Arc::clone(&parts.plan);
    let peers = Arc::new(Peers::new(&plan, parts.echo));
    let guard = Arc::new(guard(parts, Arc::clone(&peers)));
    let (stop, stopping) = watch::channel(false);
    let mut threads = Vec::with_capacity(plan.server.threads);
    for number in 0..plan.server.threads.max(1) {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        if number == 0 {
            runtime.block_on(peers.resolve());
            runtime.spawn(Arc::clone(&peers).keep_resolved());
        }
        for listener in bound {
            let socket = listener.socket.try_clone()?;
            let tls = listener.tls.clone().map(TlsAcceptor::from);
            runtime.spawn(accept(socket, tls, Arc::clone(&guard), stopping.clone()));
        }
        let (guard, stopping, drain) = (Arc::clone(&guard), stopping.clone(), plan.server.drain);
        let named = std::thread::Builder::new().name(format!("worker-{number}"));
        threads.push(named.spawn(move || run(&runtime, &guard, stopping, drain))?);
    }
    Ok(Workers { threads, stop, guard })
}

/// Tells how many client connections are open.
#[derive(Clone, Debug)]
pub struct OpenConnections(Arc<Guard>);

impl OpenConnections {
    /// How many at this moment.
    #[must_use]
    pub fn now(&self) -> usize {
        self.0.open_connections()
    }
}

impl Workers {
    /// What tells how many client connections are open.
    #[must_use]
    pub fn counter(&self) -> OpenConnections {
        OpenConnections(Arc::clone(&self.guard))
    }

    /// Stops accepting and waits until all requests in flight have ended, at most the drain time.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            // A worker that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

fn guard(parts: Parts, peers: Arc<Peers>) -> Guard {
    let plan = parts.plan;
    let conf = ServerConf {
        threads: plan.server.threads,
        upstream_keepalive_pool_size: plan.server.upstream_pool,
        max_retries: 16,
        ..ServerConf::default()
    };
    let strip = Strip::new(plan.routes.iter().map(|route| &*route.identity));
    let service =
        if plan.routes.iter().any(|route| matches!(route.target, Target::TokenService)) { parts.service } else { None };
    let (limits, envelope) = (plan.guard.clone(), Arc::clone(&plan.fallback));
    let (ids, metrics) = (RequestIds::new(&*parts.entropy), parts.metrics);
    let inside = Inside { service, receivers: parts.receivers };
    let gateway =
        Gateway { plan, flow: parts.flow, clock: parts.clock, peers, inside, strip, ids, metrics: Arc::clone(&metrics) };
    let mut proxy = http_proxy(&Arc::new(conf), gateway);
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(limits.idle);
    // It reaches our own check of the head, which refuses it as it refuses it in HTTP/1: in our words.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    Guard::new(proxy, limits, envelope, metrics)
}

/// A worker's life: serves until told to stop, then until nothing is open any more.
fn run(runtime: &Runtime, guard: &Guard, mut stopping: ShutdownWatch, drain: Duration) {
    runtime.block_on(async {
        let _ = stopping.wait_for(|stop| *stop).await;
        let drained = async {
            while guard.open_connections() > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        if tokio::time::timeout(drain, drained).await.is_err() {
            tracing::warn!(open = guard.open_connections(), "drain time is over; closing what is left");
        }
    });
}

async fn accept(socket: std::net::TcpListener, tls: Option<TlsAcceptor>, guard: Arc<Guard>, mut stopping: ShutdownWatch) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot accept"),
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(welcome(stream, peer, tls.clone(), Arc::clone(&guard), stopping.clone()));
            }
            // Out of file descriptors or memory: what is open must end first. Anything else concerns one client only.
            Err(error) if matches!(error.raw_os_error(), Some(12 | 23 | 24)) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
            Err(_) => {}
        }
    }
}

/// Brings a new connection to where requests can be read from it, and serves it.
async fn welcome(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, guard: Arc<Guard>, stopping: ShutdownWatch) {
    let _ = stream.set_nodelay(true);
    let mut connection = match guard.admit(Wire::Plain(stream), peer) {
        Ok(connection) => connection,
        Err(wire) => return guard.turn_away(wire),
    };
    if let Some(acceptor) = tls {
        let handshake = connection.secure(&acceptor);
        match fast_timeout(guard.handshake_deadline(), handshake).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    guard.serve(connection, stopping).await;
}
