//! Cross-origin rules (Fetch standard): which origins may read a route's responses, and the answer to a preflight.

use http::{HeaderName, Method};

/// The cross-origin rules of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CorsPolicy {
    /// Which origins may read.
    pub origins: Origins,
    /// Methods that a preflight allows.
    pub methods: Box<[Method]>,
    /// Request headers that a preflight allows.
    pub headers: Box<[HeaderName]>,
    /// Response headers that a script may read.
    pub expose: Box<[HeaderName]>,
    /// For how many seconds a preflight's answer may be kept; `None` leaves it to the browser.
    pub max_age: Option<u32>,
}

/// Which origins may read a route's responses. Credentials (cookies) are never allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origins {
    /// Every origin: `*`.
    Any,
    /// Exactly these, compared byte for byte.
    Listed(Box<[Box<str>]>),
}
