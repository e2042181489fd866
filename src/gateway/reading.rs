//! Reading a request's head as pingora has it: what `flow` wants to know of it, and of where it came from.
//!
//! Deliberately absent: what is made of it. HTTP/1 heads have passed the guard, heads in frames `rules::stream_head`.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::header::{CONTENT_LENGTH, HOST, UPGRADE};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::gateway::answer::connection;
use crate::gateway::connection::Connection;
use crate::gateway::forward::Arrival;
use crate::model::{BadRequest, Denial};
use crate::rules::host;

/// Drops an Upgrade that asks for anything that is not spoken here, so that nobody further on takes it up (RFC 9110 section
/// 7.8: whoever is asked may ignore it).
pub(super) fn ignore_other_protocols(session: &mut Session) {
    if session.is_upgrade_req() && !connection(session).is_some_and(Connection::may_upgrade) {
        session.req_header_mut().remove_header(&UPGRADE);
    }
}

/// Where a request comes from and how. HTTP/2 streams share their connection, which only TLS listeners offer.
pub(super) fn arrival(session: &Session) -> Arrival {
    let peer = session.client_addr().and_then(|address| address.as_inet()).map_or([0, 0, 0, 0].into(), SocketAddr::ip);
    Arrival { peer, tls: connection(session).map_or(session.is_http2(), Connection::is_tls) }
}

/// The host that it is for, normalised; empty if an HTTP/1.0 request named none.
///
/// # Errors
/// `BadRequest(Host)`.
pub(super) fn host(request: &RequestHeader) -> Result<Cow<'_, str>, Denial> {
    let malformed = || Denial::BadRequest(BadRequest::Host);
    let named = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => match request.headers.get(HOST) {
            Some(value) => value.to_str().map_err(|_| malformed())?,
            None => return Ok(Cow::Borrowed("")),
        },
    };
    host::normalize(named)
}

/// The length of its body as it says, if it does.
pub(super) fn declared_length(request: &RequestHeader) -> Option<u64> {
    request.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
