//! Whose word on the client's address, host and scheme counts (`X-Forwarded-*`, RFC 7239).

use ipnet::IpNet;

/// The proxies in front of the gateway that are believed. Empty by default: nobody is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedProxies(pub Box<[IpNet]>);
