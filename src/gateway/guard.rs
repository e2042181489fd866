//! The front guard: reads and checks a request's head before pingora sees a byte of it.
//!
//! pingora answers malformed requests by itself, without our headers, and has no deadline for a head. Here a head is read
//! under one deadline and one size limit, checked by `rules::head`, and refused in our own words; what passes is handed on
//! message by message ([`Connection`]). Deliberately absent: anything about routes or tokens.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use pingora::time::fast_timeout::fast_timeout;
use tokio::io::AsyncWriteExt;

use crate::gateway::answer;
use crate::gateway::connection::Connection;
use crate::gateway::proxy::Gateway;
use crate::gateway::slots::Slots;
use crate::gateway::wire::Wire;
use crate::model::{Denial, Source, Style};
use crate::plan::GuardLimits;
use crate::reply::Reply;
use crate::rules::envelope::Envelope;
use crate::rules::head::{self, Examined, Head, HeadLimits};
use crate::telemetry::Metrics;

/// What stands in front of the proxy on every listener.
pub(super) struct Guard {
    proxy: Arc<HttpProxy<Gateway>>,
    limits: GuardLimits,
    head_limits: HeadLimits,
    envelope: Arc<Envelope>,
    slots: Arc<Slots>,
    metrics: Arc<Metrics>,
}

/// What came of waiting for a head.
enum Awaited {
    Head(Head),
    Refused(Denial),
    /// The client went away, had nothing to say in time, or we are stopping.
    Closed,
}

impl Guard {
    /// A guard in front of `proxy`. `envelope` dresses what it answers itself.
    pub(super) fn new(proxy: HttpProxy<Gateway>, limits: GuardLimits, envelope: Arc<Envelope>, metrics: Arc<Metrics>) -> Self {
        let head_limits = limits.head();
        let slots = Slots::new(limits.connections, limits.connections_per_source);
        Self { proxy: Arc::new(proxy), limits, head_limits, envelope, slots, metrics }
    }

    /// How many connections are open.
    pub(super) fn open_connections(&self) -> usize {
        self.slots.open()
    }

    /// How long a TLS handshake may take.
    pub(super) fn handshake_deadline(&self) -> std::time::Duration {
        self.limits.head_deadline
    }

    /// The connection that a client gets, or why it gets none.
    pub(super) fn admit(&self, wire: Wire, peer: SocketAddr) -> Result<Box<Connection>, Wire> {
        match self.slots.take(Source::apart_by(peer.ip(), self.limits.source_prefix).key()) {
            Some(slot) => Ok(Box::new(Connection::new(wire, peer, slot))),
            None => Err(wire),
        }
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(&self, mut connection: Box<Connection>, mut shutdown: ShutdownWatch) {
        if connection.is_http2() {
            connection.open_tunnel();
            self.proxy.process_new(connection, &shutdown).await;
            return;
        }
        let mut left = self.limits.requests_per_connection;
        loop {
            let head = match self.await_head(&mut connection, &mut shutdown).await {
                Awaited::Head(head) if head.asterisk_options => return self.say(connection, &Reply::preflight()).await,
                Awaited::Head(head) => head,
                Awaited::Refused(denial) => return self.refuse(connection, &denial).await,
                Awaited::Closed => return,
            };
            left = left.saturating_sub(1);
            match self.hand_over(connection, &head, left > 0, &shutdown).await {
                Some(served) if served.is_done() => connection = served,
                Some(_) | None => return,
            }
        }
    }

    /// Lets pingora serve one message; gives the connection back if it can serve another.
    async fn hand_over(
        &self,
        mut connection: Box<Connection>,
        head: &Head,
        keep: bool,
        shutdown: &ShutdownWatch,
    ) -> Option<Box<Connection>> {
        connection.begin(head);
        let stream: Stream = connection;
        let mut session = ServerSession::new_http1(stream);
        // pingora takes "no keep-alive" for itself where framing or shutdown demand it; this is only the upper bound.
        session.set_keepalive(keep.then(|| self.limits.idle.as_secs().max(1)));
        session.set_read_timeout(Some(self.limits.body_idle));
        session.set_write_timeout(Some(self.limits.body_idle));
        session.set_total_drain_timeout(Some(self.limits.body_idle));
        // HTTP/1.0 has no interim responses (RFC 9110 section 15.2).
        session.set_ignore_info_resp(head.http10);
        session.set_abort_on_close(false);
        // An answer that comes before the end of the body need not end the connection: where the body ends is known here.
        session.set_close_on_response_before_downstream_finish(false);
        let (stream, _) = self.proxy.process_new_http(session, shutdown).await?.consume();
        stream.into_any().downcast().ok()
    }

    /// Reads until there is a whole head or a reason to stop.
    async fn await_head(&self, connection: &mut Connection, shutdown: &mut ShutdownWatch) -> Awaited {
        if connection.unread().is_empty() {
            let first = fast_timeout(self.limits.idle, connection.read_more());
            tokio::select! {
                biased;
                read = first => if !matches!(read, Ok(Ok(1..))) { return Awaited::Closed },
                _ = shutdown.changed() => return Awaited::Closed,
            }
        }
        if let Some(examined) = self.examine(connection, 0) {
            return examined;
        }
        // Incomplete at first sight: now the deadline runs, from here to the end of the head however slowly bytes drip.
        match fast_timeout(self.limits.head_deadline, self.read_rest(connection)).await {
            Ok(awaited) => awaited,
            Err(_) => Awaited::Refused(Denial::RequestTimeout),
        }
    }

    async fn read_rest(&self, connection: &mut Connection) -> Awaited {
        loop {
            let seen = connection.unread().len();
            if !matches!(connection.read_more().await, Ok(1..)) {
                return Awaited::Closed;
            }
            if let Some(examined) = self.examine(connection, seen) {
                return examined;
            }
        }
    }

    /// What the bytes so far are; `None` if there must be more. The first `seen` of them have been looked at before.
    fn examine(&self, connection: &Connection, seen: usize) -> Option<Awaited> {
        match head::examine(connection.unread(), seen, &self.head_limits) {
            Ok(Examined::Incomplete) => None,
            Ok(Examined::Complete(head)) => Some(Awaited::Head(head)),
            Err(denial) => Some(Awaited::Refused(denial)),
        }
    }

    /// Answers in our own words and closes: after a head that cannot be read, nobody knows where the next one begins.
    async fn refuse(&self, connection: Box<Connection>, denial: &Denial) {
        self.metrics.refused_by_guard(denial);
        self.say(connection, &Reply::refusal(denial, self.envelope.style, "")).await;
    }

    /// Says something without pingora, and closes. `OPTIONS *` asks about the server itself (RFC 9110 section 9.3.7), so no
    /// route can answer it.
    async fn say(&self, mut connection: Box<Connection>, reply: &Reply) {
        let bytes = answer::to_wire(reply, &self.envelope);
        let sent = async {
            connection.write_all(&bytes).await?;
            connection.flush().await
        };
        let _ = fast_timeout(self.limits.body_idle, sent).await;
    }

    /// Says that there is no room, as far as that can be said without waiting, and closes.
    pub(super) fn turn_away(&self, wire: Wire) {
        let denial = Denial::Overloaded(std::time::Duration::from_secs(1));
        self.metrics.refused_by_guard(&denial);
        let reply = Reply::refusal(&denial, Style::Problem, "");
        if let Wire::Plain(tcp) = wire {
            let _ = tcp.try_write(&answer::to_wire(&reply, &self.envelope));
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("limits", &self.limits).finish_non_exhaustive()
    }
}
