//! Whose word on the client's address, host and scheme counts (`X-Forwarded-*`, RFC 7239).
//!
//! Imports `model`'s neighbours `host` and `ipnet`. Deliberately absent: believing a host that a proxy reports; upstreams are
//! told the Host that the request was routed by.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::rules::host;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How many proxies in a row are believed at most.
const LONGEST_CHAIN: usize = 32;

/// The proxies in front of the gateway that are believed. Empty by default: nobody is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedProxies(pub Box<[IpNet]>);

/// By which scheme a request came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Under TLS.
    Https,
}

/// What an upstream is told about where a request came from. It replaces all that the client sent under these names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardedFields {
    /// `X-Forwarded-For`: the client, then the believed proxies up to the peer.
    pub for_: HeaderValue,
    /// `X-Forwarded-Proto`: the scheme that the client used.
    pub proto: HeaderValue,
    /// `X-Forwarded-Host`: the Host of the request, if it has one.
    pub host: Option<HeaderValue>,
    /// `Forwarded` (RFC 7239): the same hops; the first one carries host and scheme.
    pub forwarded: HeaderValue,
}

impl TrustedProxies {
    /// Whether an address is that of a proxy that is believed.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The client's address. That is the socket's peer, unless the peer is believed: then it is the nearest hop that is not,
    /// read from the right, since a client can write whatever it likes further left. Behind a hop that is no address nothing
    /// is believed.
    ///
    /// If there are both `X-Forwarded-For` and `Forwarded`, and they do not lead to the same client, the peer it is: most
    /// proxies write one of them and let the other through as the client wrote it, and nothing tells which.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.contains(peer) {
            return peer.to_canonical();
        }
        self.chain(peer, headers).last().copied().unwrap_or(peer)
    }

    /// What to tell the upstream. `scheme` and `peer` are the connection's, `host` is the Host field as it came. Hops and
    /// scheme that a believed proxy reports are passed on, as far as they are believed; whatever anybody else sent is not.
    #[must_use]
    pub fn upstream_fields(
        &self,
        peer: IpAddr,
        scheme: Scheme,
        host: Option<&HeaderValue>,
        headers: &HeaderMap,
    ) -> ForwardedFields {
        let chain = self.chain(peer, headers);
        let proto = if self.contains(peer) { reported_scheme(headers).unwrap_or(scheme) } else { scheme };
        let host = host.filter(|host| host.to_str().is_ok_and(|host| host::normalize(host).is_ok()));
        let mut addresses = String::new();
        let mut elements = String::new();
        for (index, address) in chain.iter().rev().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            addresses.push_str(separator);
            let start = addresses.len();
            // Writing to a String cannot fail. It is the dearest step here, so it is made once for both fields.
            let _ = write!(addresses, "{address}");
            let written = addresses.get(start..).unwrap_or_default();
            let (open, close) = if address.is_ipv6() { ("for=\"[", "]\"") } else { ("for=", "") };
            elements.extend([separator, open, written, close]);
            if index == 0 {
                if let Some(host) = host.and_then(|host| host.to_str().ok()) {
                    elements.extend([";host=\"", host, "\""]);
                }
                elements.extend([";proto=", proto.as_str()]);
            }
        }
        ForwardedFields {
            for_: value(addresses),
            proto: HeaderValue::from_static(proto.as_str()),
            host: host.cloned(),
            forwarded: value(elements),
        }
    }

    /// The believed hops: the peer, then further away, at last the client. Never empty.
    fn chain(&self, peer: IpAddr, headers: &HeaderMap) -> Vec<IpAddr> {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return vec![peer];
        }
        let listed = self.walk(peer, &x_forwarded_for(headers));
        let elements = forwarded_for(headers);
        if elements.is_empty() {
            return listed;
        }
        let described = self.walk(peer, &elements);
        if !headers.contains_key(FOR) || listed.last() == described.last() { described } else { vec![peer] }
    }

    /// Follows the hops from the right as far as they are believed.
    fn walk(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> Vec<IpAddr> {
        let mut chain = vec![peer];
        for hop in hops.iter().rev().take(LONGEST_CHAIN) {
            match (hop, chain.last()) {
                (Some(hop), Some(nearer)) if self.contains(*nearer) => chain.push(*hop),
                (Some(_) | None, _) => break,
            }
        }
        chain
    }
}

impl Scheme {
    /// In lower case, as in a URI.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Addresses and checked hosts are always good values; should one not be, RFC 7239 section 6.2 has a word for it.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"))
}

/// The scheme that a proxy reports, if it reports exactly one.
fn reported_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let mut values = headers.get_all(PROTO).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    [Scheme::Http, Scheme::Https].into_iter().find(|scheme| only.as_bytes().eq_ignore_ascii_case(scheme.as_str().as_bytes()))
}

/// The hops of all `X-Forwarded-For` lines, left to right; `None` for what is no address.
fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(FOR).iter().map(|line| line.to_str().unwrap_or("unreadable"));
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|hop| !hop.is_empty()).map(address).collect()
}

/// The hops of all `Forwarded` lines, left to right; `None` for an element that does not say one address.
fn forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let mut hops = Vec::new();
    for line in headers.get_all(FORWARDED) {
        match line.to_str().ok().and_then(|line| split_outside_quotes(line, ',')) {
            Some(elements) => {
                hops.extend(elements.into_iter().filter(|element| !element.trim().is_empty()).map(element_address));
            }
            None => hops.push(None),
        }
    }
    hops
}

/// The address in the one `for` parameter of an element (RFC 7239 section 4).
fn element_address(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split_outside_quotes(element, ';')? {
        let Some((name, value)) = pair.trim().split_once('=') else { continue };
        if !name.eq_ignore_ascii_case("for") {
            continue;
        }
        if found.is_some() {
            return None;
        }
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        found = Some(unquoted.unwrap_or(value));
    }
    address(found?)
}

/// The parts between separators that stand outside quoted strings; `None` if a quoted string does not end.
fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            other if other == separator && !quoted => {
                parts.push(text.get(start..index)?);
                start = index + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text.get(start..)?);
    if quoted { None } else { Some(parts) }
}

/// An address as proxies write it: bare, IPv6 in brackets, either with a port behind.
fn address(text: &str) -> Option<IpAddr> {
    let is_port = |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let parsed = if let Some(bracketed) = text.strip_prefix('[') {
        let (inside, port) = bracketed.split_once(']')?;
        let good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        inside.parse().ok().filter(|_| good).map(IpAddr::V6)
    } else {
        let with_port = || text.split_once(':').filter(|(_, port)| is_port(port)).and_then(|(v4, _)| v4.parse().ok());
        text.parse().ok().or_else(|| with_port().map(IpAddr::V4))
    };
    parsed.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
