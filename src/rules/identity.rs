//! Identity headers have one author: every spelling that the client sent is removed, ours are set once.

use http::HeaderName;

/// The names under which the caller's identity goes upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityNames {
    /// The subject; `X-Auth-Subject` unless configured.
    pub subject: HeaderName,
    /// The client; `X-Auth-Client`.
    pub client: HeaderName,
    /// The scopes; `X-Auth-Scope`.
    pub scope: HeaderName,
    /// The session; `X-Auth-Session`.
    pub session: HeaderName,
}
