//! The request as the upstream gets it: built from what was decided on, with the fields that only we may write.
//!
//! Hop-by-hop fields are gone before this runs (pingora's strict policy), so a client cannot have a field of ours removed by
//! naming it in `Connection`. Deliberately absent: who the caller is (`flow`), and what may pass (`rules::identity`).

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, COOKIE, FORWARDED, HOST, IF_RANGE, RANGE};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};

use crate::flow::Forward;
use crate::gateway::answer::REQUEST_ID;
use crate::gateway::request_ids::{RequestNames, TRACEPARENT};
use crate::plan::Plan;
use crate::rules::forwarded::Scheme;
use crate::rules::identity::{IdentityNames, Strip, is_hop_by_hop};

/// What the connection says of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The address at the other end of the socket.
    pub(super) peer: IpAddr,
    /// Whether it came over TLS.
    pub(super) tls: bool,
}

/// Rewrites the head that pingora is about to send.
///
/// # Errors
/// If a value does not fit a header, which checked values always do.
pub(super) fn rewrite(
    upstream: &mut RequestHeader,
    forward: &Forward,
    strip: &Strip,
    names: &RequestNames,
    plan: &Plan,
    arrival: Arrival,
) -> Result<()> {
    let scheme = if arrival.tls { Scheme::Https } else { Scheme::Http };
    let forwarded = {
        let (host, headers) = (upstream.headers.get(HOST), &upstream.headers);
        plan.trusted_proxies.upstream_fields(arrival.peer, scheme, host, headers)
    };
    // What is hop-by-hop and still there is pingora's: the framing of the body that it sends, or an upgrade that it allows.
    let passes = |name: &HeaderName| strip.keeps(name) || is_hop_by_hop(name.as_str());
    let unwanted: Vec<HeaderName> = upstream.headers.keys().filter(|name| !passes(name)).cloned().collect();
    for name in &unwanted {
        upstream.remove_header(name);
    }
    join_cookies(upstream)?;
    if forward.route.reads_answers() {
        // Its answers are read here, whole and plain.
        upstream.insert_header(ACCEPT_ENCODING, "identity")?;
        for name in [RANGE, IF_RANGE] {
            upstream.remove_header(&name);
        }
    }
    if !forward.route.forward_authorization {
        upstream.remove_header(&AUTHORIZATION);
    }
    if !upstream.headers.contains_key(HOST) {
        // An HTTP/1.0 client named no host. What we send is HTTP/1.1, which needs the field even so (RFC 9112 section 3.2).
        upstream.insert_header("Host", "")?;
    }
    upstream.insert_header("X-Forwarded-For", forwarded.for_)?;
    upstream.insert_header("X-Forwarded-Proto", forwarded.proto)?;
    if let Some(host) = forwarded.host {
        upstream.insert_header("X-Forwarded-Host", host)?;
    }
    upstream.insert_header(FORWARDED, forwarded.forwarded)?;
    upstream.insert_header(REQUEST_ID.1, names.id.clone())?;
    upstream.insert_header(TRACEPARENT, names.trace.clone())?;
    introduce(upstream, forward, &forward.route.identity)
}

/// Makes one Cookie field of several: browsers split it in HTTP/2, and in HTTP/1 there is only one (RFC 9113 section 8.2.3).
fn join_cookies(upstream: &mut RequestHeader) -> Result<()> {
    let cookies: Vec<&[u8]> = upstream.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() < 2 {
        return Ok(());
    }
    let joined = HeaderValue::from_bytes(&cookies.join(&b"; "[..])).map_err(|_| Error::new(ErrorType::InternalError))?;
    upstream.insert_header(COOKIE, joined)
}

/// Tells who the caller is. An absent fact is an absent field.
fn introduce(upstream: &mut RequestHeader, forward: &Forward, names: &IdentityNames) -> Result<()> {
    let Some(principal) = forward.permit.principal() else { return Ok(()) };
    let identity = principal.identity();
    let facts: [(&HeaderName, &Option<HeaderValue>); 4] = [
        (&names.subject, &identity.subject),
        (&names.client, &identity.client),
        (&names.scope, &identity.scope),
        (&names.session, &identity.session),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            upstream.insert_header(Bytes::copy_from_slice(name.as_str().as_bytes()), value.clone())?;
        }
    }
    Ok(())
}
