//! Upstream servers as pingora connects to them: addresses resolved ahead, every timeout set, taken in turn.
//!
//! Deliberately absent: name resolution on a request's way. A server whose name does not resolve is left out until it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::HttpPeer;
use tokio::net::lookup_host;

use crate::plan::{Plan, Servers, Target, Upstream, UpstreamServer};

/// How long a name's addresses are used before it is asked about again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How long one name may take.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);

/// The servers of every route, by the route's index.
#[derive(Debug)]
pub(super) struct Peers {
    by_route: Box<[Option<Arc<PeerSet>>]>,
    sets: Box<[Arc<PeerSet>]>,
}

/// The servers of one upstream.
#[derive(Debug)]
pub(super) struct PeerSet {
    /// The upstream.
    pub(super) upstream: Arc<Upstream>,
    servers: Box<[UpstreamServer]>,
    peers: ArcSwap<Vec<HttpPeer>>,
    next: AtomicUsize,
}

impl Peers {
    /// The servers of `plan`; `echo` is where the built-in echo service listens, if it does.
    pub(super) fn new(plan: &Plan, echo: Option<SocketAddr>) -> Self {
        let sets: Box<[Arc<PeerSet>]> = plan.upstreams.iter().map(|upstream| Arc::new(PeerSet::new(upstream, echo))).collect();
        let set_of = |wanted: &Arc<Upstream>| sets.iter().find(|set| Arc::ptr_eq(&set.upstream, wanted)).cloned();
        let by_route = plan.routes.iter().map(|route| match &route.target {
            Target::Upstream(upstream) => set_of(upstream),
            Target::TokenService | Target::Receiver(..) => None,
        });
        Self { by_route: by_route.collect(), sets }
    }

    /// The servers of the route with this index; `None` if it has no upstream.
    pub(super) fn of_route(&self, index: usize) -> Option<&Arc<PeerSet>> {
        self.by_route.get(index)?.as_ref()
    }

    /// Resolves every name once.
    pub(super) async fn resolve(&self) {
        for set in &self.sets {
            set.resolve().await;
        }
    }

    /// Resolves names again and again, until the task is dropped.
    pub(super) async fn keep_resolved(self: Arc<Self>) {
        let named = |set: &Arc<PeerSet>| set.servers.iter().any(|server| address_of(server).is_none());
        if !self.sets.iter().any(named) {
            return;
        }
        loop {
            tokio::time::sleep(RESOLVE_EVERY).await;
            self.resolve().await;
        }
    }
}

impl PeerSet {
    fn new(upstream: &Arc<Upstream>, echo: Option<SocketAddr>) -> Self {
        let servers: Box<[UpstreamServer]> = match (&upstream.servers, echo) {
            (Servers::At(servers), _) => servers.iter().cloned().collect(),
            (Servers::Echo, Some(at)) => {
                Box::new([UpstreamServer { host: at.ip().to_string().into(), port: at.port(), tls: false }])
            }
            (Servers::Echo, None) => Box::default(),
        };
        let (peers, next) = (ArcSwap::default(), AtomicUsize::new(0));
        Self { upstream: Arc::clone(upstream), servers, peers, next }
    }

    /// The server whose turn it is; `None` while none is known by address.
    pub(super) fn pick(&self) -> Option<Box<HttpPeer>> {
        let peers = self.peers.load();
        let turn = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(peers.len())?;
        peers.get(turn).cloned().map(Box::new)
    }

    async fn resolve(&self) {
        let mut peers = Vec::new();
        for server in &self.servers {
            match addresses_of(server).await {
                Ok(addresses) => peers.extend(addresses.into_iter().map(|address| self.peer(server, address))),
                Err(error) => {
                    let (upstream, host) = (&self.upstream.name, &server.host);
                    tracing::warn!(%upstream, %host, %error, "upstream server cannot be resolved");
                }
            }
        }
        // A failed look-up never takes away what is known: old addresses are better than none.
        if !peers.is_empty() {
            self.peers.store(Arc::new(peers));
        }
    }

    fn peer(&self, server: &UpstreamServer, address: SocketAddr) -> HttpPeer {
        let mut peer = HttpPeer::new(address, server.tls, server.host.to_string());
        let (upstream, options) = (&self.upstream, &mut peer.options);
        options.connection_timeout = Some(upstream.connect_timeout);
        options.total_connection_timeout = Some(upstream.connect_timeout);
        options.read_timeout = Some(upstream.read_timeout.min(upstream.total_timeout));
        options.write_timeout = Some(upstream.write_timeout);
        options.idle_timeout = Some(upstream.idle_timeout);
        let (idle, interval) = (Duration::from_mins(1), Duration::from_secs(10));
        options.tcp_keepalive = Some(TcpKeepalive { idle, interval, count: 3, user_timeout: Duration::ZERO });
        peer
    }
}

fn address_of(server: &UpstreamServer) -> Option<SocketAddr> {
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    host.parse().ok().map(|ip| SocketAddr::new(ip, server.port))
}

async fn addresses_of(server: &UpstreamServer) -> std::io::Result<Vec<SocketAddr>> {
    if let Some(address) = address_of(server) {
        return Ok(vec![address]);
    }
    let lookup = lookup_host((&*server.host, server.port));
    match tokio::time::timeout(RESOLVE_DEADLINE, lookup).await {
        Ok(found) => found.map(Iterator::collect),
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
