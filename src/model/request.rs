//! The part of a request that decisions may look at.

use http::{HeaderMap, Method};

use crate::model::Source;

/// A request's head after the rim has made it unambiguous. Everything in it is borrowed from the rim's own buffers.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path in normal form (`rules::path`): the same text is routed on, decided on and forwarded.
    pub path: &'a str,
    /// What stood after `?`, if anything; never decoded here.
    pub query: Option<&'a str>,
    /// The host in lower case, without a port. Empty for an HTTP/1.0 request that named none.
    pub host: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// Where it comes from.
    pub source: Source,
}
