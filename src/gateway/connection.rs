//! A client's connection as pingora sees it: exactly one message at a time.
//!
//! The guard reads and checks a request's head before pingora does; from then on this stream hands pingora that message and
//! not a byte more. Bytes of a pipelined next request wait here, and a chunked body is scanned strictly while it passes, so a
//! message that two readers could cut differently never gets through in either reading. Deliberately absent: timeouts (the
//! guard's and pingora's) and decisions.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{ALPN, Peek, Shutdown, Ssl, UniqueID, UniqueIDType};
use pingora::protocols::{GetProxyDigest, GetSocketDigest, GetTimingDigest, SocketDigest, TimingDigest};
use pingora::time::fast_timeout::fast_timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;
use tokio_util::io::poll_read_buf;

use crate::gateway::adornment::Adornment;
use crate::gateway::patience::Patience;
use crate::gateway::slots::Slot;
use crate::gateway::wire::Wire;
use crate::model::{Denial, Tick};
use crate::rules::chunked::ChunkScanner;
use crate::rules::head::{Framing, Head};

/// How long, and how many bytes, a client may go on sending after our last answer before the socket is closed on it.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;
/// How much is read at once, and kept for a connection that waits.
const READ_SIZE: usize = 4096;
/// How many bytes of later messages wait here while one is served; beyond it nothing more is read.
const STASH_LIMIT: usize = 16 * 1024;
/// How many bytes of a response are gathered before they are written.
const GATHER_LIMIT: usize = 16 * 1024;

/// A client's connection.
pub(super) struct Connection {
    wire: Wire,
    peer: SocketAddr,
    digest: Arc<SocketDigest>,
    /// Read from the wire, not yet handed on.
    inbox: BytesMut,
    /// Written by pingora, not yet on the wire.
    outbox: BytesMut,
    /// Our fields of the response that pingora is about to write.
    adornment: Adornment,
    message: Message,
    /// Whether the message being served may become a tunnel.
    may_upgrade: bool,
    /// Set once a tunnel (101) is established: from then on bytes pass as they come.
    tunnel: AtomicBool,
    fault: Option<Denial>,
    /// How long the upstream's answer may still take to begin.
    patience: Patience,
    /// Its place among the connections that are allowed; given back when the connection is closed.
    slot: Option<Slot>,
}

/// What is still to be handed on of the message being served.
enum Message {
    /// This many bytes of the head, then the body.
    Head(usize, Framing),
    /// A body of this many bytes.
    Length(u64),
    /// A chunked body.
    Chunked(ChunkScanner),
    /// Nothing.
    Done,
}

impl Connection {
    /// A connection that has been accepted.
    pub(super) fn new(wire: Wire, peer: SocketAddr, slot: Slot) -> Self {
        let digest = SocketDigest::from_raw_fd(wire.raw_fd());
        let _ = digest.peer_addr.set(Some(peer.into()));
        Self {
            wire,
            peer,
            digest: Arc::new(digest),
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            adornment: Adornment::default(),
            message: Message::Done,
            may_upgrade: false,
            tunnel: AtomicBool::new(false),
            fault: None,
            patience: Patience::default(),
            slot: Some(slot),
        }
    }

    /// Puts TLS over the connection.
    ///
    /// # Errors
    /// If the handshake fails; the connection is gone then.
    pub(super) async fn secure(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        if let Wire::Plain(tcp) = std::mem::replace(&mut self.wire, Wire::Gone) {
            self.wire = Wire::Tls(Box::new(acceptor.accept(tcp).await?));
        }
        Ok(())
    }

    /// Whether the client came over TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.wire, Wire::Tls(_))
    }

    /// Whether the client chose HTTP/2 (ALPN).
    pub(super) fn is_http2(&self) -> bool {
        matches!(&self.wire, Wire::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"))
    }

    /// The bytes that have been read and belong to no message yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.inbox
    }

    /// Reads once from the wire; 0 is the end of the stream.
    pub(super) async fn read_more(&mut self) -> io::Result<usize> {
        self.inbox.reserve(READ_SIZE);
        self.wire.read_buf(&mut self.inbox).await
    }

    /// Begins to serve the message whose head has been checked.
    pub(super) fn begin(&mut self, head: &Head) {
        self.message = Message::Head(head.length, head.framing);
        self.may_upgrade = head.upgrade;
        self.fault = None;
        self.patience.end();
    }

    /// From `now` on the upstream's answer may take this long to begin. pingora bounds each read of it only, which an upstream
    /// that drips its head never exceeds; but while it waits, it watches this connection, so the wait can be ended from here.
    pub(super) fn await_answer(&self, now: Tick, within: Duration) {
        self.patience.begin(now, within);
    }

    /// The upstream's answer has begun.
    pub(super) fn answer_begins(&self) {
        self.patience.end();
    }

    /// Whether the message being served has been handed on to its end.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.message, Message::Done) && !self.tunnel.load(Ordering::Relaxed)
    }

    /// Why the message could not be handed on to its end, if its framing broke.
    pub(super) fn fault(&self) -> Option<&Denial> {
        self.fault.as_ref()
    }

    /// Whether the message being served asks for another protocol, of those that can be tunnelled.
    pub(super) fn may_upgrade(&self) -> bool {
        self.may_upgrade
    }

    /// From now on bytes pass as they come: the upstream has agreed to another protocol (101).
    pub(super) fn open_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }

    /// Puts these lines into the head that pingora writes next.
    pub(super) fn adorn(&self, lines: Vec<u8>) {
        self.adornment.hang(lines);
    }

    /// Hands on what the message allows of what has been read; `None` if more must be read first.
    fn hand_on(&mut self, out: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let room = out.remaining().min(self.inbox.len());
        let offered = self.inbox.get(..room).filter(|bytes| !bytes.is_empty())?;
        if self.tunnel.load(Ordering::Relaxed) {
            out.put_slice(offered);
            self.inbox.advance(room);
            return Some(Ok(()));
        }
        let count = match &mut self.message {
            Message::Head(left, _) => room.min(*left),
            Message::Length(left) => usize::try_from(*left).map_or(room, |left| room.min(left)),
            Message::Chunked(scanner) => match scanner.scan(offered) {
                Ok(scanned) if scanned.done => {
                    self.message = Message::Done;
                    scanned.consumed
                }
                Ok(scanned) => scanned.consumed,
                Err(denial) => {
                    self.fault = Some(denial);
                    return Some(Err(io::Error::new(io::ErrorKind::InvalidData, "the body's framing is broken")));
                }
            },
            Message::Done => return None,
        };
        out.put_slice(offered.get(..count).unwrap_or_default());
        self.inbox.advance(count);
        self.advance(count);
        Some(Ok(()))
    }

    fn advance(&mut self, count: usize) {
        match &mut self.message {
            Message::Head(left, framing) => {
                *left = left.saturating_sub(count);
                if *left == 0 {
                    self.message = match framing {
                        Framing::None | Framing::Length(0) => Message::Done,
                        Framing::Length(bytes) => Message::Length(*bytes),
                        Framing::Chunked => Message::Chunked(ChunkScanner::default()),
                    };
                }
            }
            Message::Length(left) => {
                *left = left.saturating_sub(count as u64);
                if *left == 0 {
                    self.message = Message::Done;
                }
            }
            Message::Chunked(_) | Message::Done => {}
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let written = ready!(Pin::new(&mut self.wire).poll_write(cx, &self.outbox))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(written);
        }
        self.outbox.clear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.patience.has_run_out(cx) {
            this.answer_begins();
            this.fault = Some(Denial::UpstreamTimeout);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the upstream's answer did not begin in time")));
        }
        loop {
            if let Some(handed) = this.hand_on(out) {
                return Poll::Ready(handed);
            }
            // Between messages this only watches for the client going away; what it sends meanwhile waits its turn.
            if this.is_done() && this.inbox.len() >= STASH_LIMIT {
                return Poll::Pending;
            }
            this.inbox.reserve(READ_SIZE);
            if ready!(poll_read_buf(Pin::new(&mut this.wire), cx, &mut this.inbox))? == 0 {
                // A client that has said all and waits for the answers is told from one that went away by what it left here. And
                // while an answer is waited for, pingora must not be told: it would look here no more, and that wait would have no
                // end.
                let awaits_more = this.is_done() && (!this.inbox.is_empty() || this.patience.is_waiting());
                return if awaits_more { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.outbox.len() + bytes.len() > GATHER_LIMIT {
            ready!(this.poll_write_out(cx))?;
            if bytes.len() > GATHER_LIMIT && !this.adornment.hangs() {
                return Pin::new(&mut this.wire).poll_write(cx, bytes);
            }
        }
        this.adornment.copy(bytes, &mut this.outbox)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_write_out(cx))?;
        Pin::new(&mut this.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_write_out(cx))?;
        Pin::new(&mut this.wire).poll_shutdown(cx)
    }
}

impl Drop for Connection {
    /// A socket that is closed while bytes wait unread in it is reset, and a reset can overtake our last answer. So what the
    /// client is still sending is read and thrown away for a moment, in the background.
    fn drop(&mut self) {
        if self.is_done() && self.inbox.is_empty() && self.outbox.is_empty() {
            return;
        }
        let wire = std::mem::replace(&mut self.wire, Wire::Gone);
        let (outbox, slot) = (std::mem::take(&mut self.outbox), self.slot.take());
        if let (false, Ok(runtime)) = (matches!(wire, Wire::Gone), Handle::try_current()) {
            runtime.spawn(async move {
                let _ = fast_timeout(LINGER, linger(wire, outbox)).await;
                drop(slot);
            });
        }
    }
}

async fn linger(mut wire: Wire, mut outbox: BytesMut) -> io::Result<()> {
    wire.write_all_buf(&mut outbox).await?;
    wire.shutdown().await?;
    let mut waste = BytesMut::with_capacity(READ_SIZE);
    let mut read = 0;
    while read < LINGER_BYTES {
        waste.clear();
        match wire.read_buf(&mut waste).await? {
            0 => break,
            count => read += count,
        }
    }
    Ok(())
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).field("tls", &self.is_tls()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.wire.raw_fd()
    }
}

impl Ssl for Connection {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.is_http2().then_some(ALPN::H2)
    }
}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl Peek for Connection {}
