//! Putting on the wire what we say ourselves, dressed: through pingora where a request is being served, as bytes where pingora
//! has not seen it yet.
//!
//! The only file that knows how an envelope's fields go into pingora's headers. Deliberately absent: what is said (`reply`).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::proxy::Session;

use crate::flow::Standing;
use crate::gateway::adornment::Beside;
use crate::gateway::connection::Connection;
use crate::gateway::reading;
use crate::plan::RouteLimits;
use crate::reply::Reply;
use crate::rules::envelope::{Envelope, Field, Fields};

/// The field that names a request in answers and towards upstreams.
pub(super) const REQUEST_ID: (HeaderName, &str) = (HeaderName::from_static("x-request-id"), "X-Request-Id");

/// The name under which contract B knows it.
const REQUEST_REF: (HeaderName, &str) = (HeaderName::from_static("request-ref"), "request-ref");

/// pingora's response header as something that can be dressed.
struct Dressing<'h>(&'h mut ResponseHeader);

impl Fields for Dressing<'_> {
    fn set(&mut self, field: &Field) {
        // Fails only for names and values that are none, and these are parsed already.
        let _ = self.0.insert_header(Bytes::from_static(field.wire.as_bytes()), field.value.clone());
    }

    fn append(&mut self, field: &Field) {
        let _ = self.0.append_header(Bytes::from_static(field.wire.as_bytes()), field.value.clone());
    }

    fn remove(&mut self, name: &HeaderName) {
        self.0.remove_header(name);
    }

    fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }
}

/// Sends a reply of our own in answer to the request being served. An unread body is left to pingora, which drains what is
/// small and closes otherwise.
///
/// # Errors
/// Whatever pingora meets while writing; the client is gone then.
pub(super) async fn send(session: &mut Session, reply: Reply, dress: &Dress<'_>) -> Result<()> {
    let bodiless = session.req_header().method == Method::HEAD || reply.status == StatusCode::NO_CONTENT;
    let mut header = head_of(&reply)?;
    dress.put_on(session, &mut header);
    session.downstream_session.write_response_header(Box::new(header)).await?;
    let body = if bodiless { Bytes::new() } else { reply.body };
    session.downstream_session.write_response_body(body, true).await
}

/// With what a reply is dressed.
pub(super) struct Dress<'d> {
    /// The envelope of its route.
    pub(super) envelope: &'d Envelope,
    /// The request's `Origin`, if it has one.
    pub(super) origin: Option<&'d HeaderValue>,
    /// Whether it answers a preflight.
    pub(super) preflight: bool,
    /// How the request stands with the limits of its route, if it has one.
    pub(super) quotas: Option<(&'d Standing, &'d RouteLimits)>,
    /// The request's id.
    pub(super) request_id: &'d HeaderValue,
    /// Whether clients of its route know that as `request-ref`.
    pub(super) request_ref: bool,
}

impl Dress<'_> {
    /// Dresses what pingora is about to write on this session. In HTTP/1 our fields go beside pingora's maps, see
    /// [`Adornment`](crate::gateway::adornment::Adornment).
    pub(super) fn put_on(&self, session: &Session, response: &mut ResponseHeader) {
        match connection(session) {
            Some(connection) => {
                let mut beside = Beside::new(response);
                self.fill(&mut beside);
                connection.adorn(beside.into_lines());
            }
            None => self.fill(&mut Dressing(response)),
        }
    }

    fn fill(&self, fields: &mut dyn Fields) {
        if self.preflight {
            self.envelope.dress_preflight(self.origin, fields);
        } else {
            self.envelope.dress(self.origin, fields);
        }
        if let Some((standing, limits)) = self.quotas {
            standing.tell(limits, self.envelope.style, fields);
        }
        let (name, wire) = REQUEST_ID;
        fields.set(&Field { name, wire, value: self.request_id.clone() });
        if self.request_ref {
            let (name, wire) = REQUEST_REF;
            fields.set(&Field { name, wire, value: self.request_id.clone() });
        }
    }
}

/// A body that nobody reads is drained if it is small and surely on its way; else the connection ends with the answer.
pub(super) fn keep_alive_only_if_drained_cheaply(session: &mut Session) {
    const CHEAP: u64 = 64 * 1024;
    let request = session.req_header();
    let bodiless = !request.headers.contains_key(TRANSFER_ENCODING) && !request.headers.contains_key(CONTENT_LENGTH);
    let cheap =
        reading::declared_length(request).is_some_and(|length| length <= CHEAP) && !request.headers.contains_key(EXPECT);
    if !(bodiless || cheap || session.downstream_session.is_body_done()) {
        session.set_keepalive(None);
    }
}

/// How long the client may take over one piece of an answer, which is what was read of the upstream at once: pingora gives streams
/// no such bound, and a stream has a window that its client may leave shut. Connections of HTTP/1 have it from the guard.
pub(super) fn bound_writes(session: &mut Session, idle: Duration) {
    if session.is_http2() {
        session.set_write_timeout(Some(idle));
    }
}

/// The client's connection; `None` for an HTTP/2 stream, which shares its connection with others.
pub(super) fn connection(session: &Session) -> Option<&Connection> {
    session.stream()?.as_any().downcast_ref()
}

fn head_of(reply: &Reply) -> Result<ResponseHeader> {
    let mut header = ResponseHeader::build(reply.status, Some(reply.headers.len() + 20))?;
    for (name, value) in &reply.headers {
        header.append_header(wire_name(name), value.clone())?;
    }
    if reply.status != StatusCode::NO_CONTENT {
        header.insert_header(CONTENT_LENGTH, HeaderValue::from(reply.body.len()))?;
    }
    Ok(header)
}

/// A reply as the bytes of an HTTP/1.1 response that closes the connection.
pub(super) fn to_wire(reply: &Reply, envelope: &Envelope) -> Bytes {
    let mut out = BytesMut::with_capacity(1536 + reply.body.len());
    let Ok(mut header) = ResponseHeader::build(reply.status, Some(reply.headers.len() + 20)) else { return Bytes::new() };
    for (name, value) in &reply.headers {
        let _ = header.append_header(wire_name(name), value.clone());
    }
    let _ = header.insert_header("Date", get_cached_date());
    if reply.status != StatusCode::NO_CONTENT {
        let _ = header.insert_header(CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    }
    let _ = header.insert_header(CONNECTION, HeaderValue::from_static("close"));
    envelope.dress(None, &mut Dressing(&mut header));
    out.put_slice(
        format!("HTTP/1.1 {} {}\r\n", reply.status.as_u16(), reply.status.canonical_reason().unwrap_or("")).as_bytes(),
    );
    header.header_to_h1_wire(&mut out);
    out.put_slice(b"\r\n");
    out.put_slice(&reply.body);
    out.freeze()
}

/// How our own fields are spelt in HTTP/1.1: every word with a capital, but for one that everybody knows otherwise.
fn wire_name(name: &HeaderName) -> Bytes {
    if name == WWW_AUTHENTICATE {
        return Bytes::from_static(b"WWW-Authenticate");
    }
    let mut spelt = Vec::with_capacity(name.as_str().len());
    let mut start = true;
    for byte in name.as_str().bytes() {
        spelt.push(if start { byte.to_ascii_uppercase() } else { byte });
        start = byte == b'-';
    }
    spelt.into()
}
