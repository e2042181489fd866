//! What a request presents to say who sent it.

use std::fmt;

/// A Bearer token as it was presented; borrowed from the request. `Debug` prints its shape only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    token: &'a str,
    shape: CredentialShape,
}

/// What a token looks like from outside, which decides who may be asked about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CredentialShape {
    /// Anything that is not a compact JWS.
    Opaque,
    /// Three base64url parts separated by dots, the first of which starts like a JSON object (RFC 7515 section 3.1).
    Jwt,
}

impl<'a> Credential<'a> {
    /// The longest token that is looked at, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// Takes a token that `rules::bearer` has already checked against the `b64token` grammar.
    #[must_use]
    pub fn new(token: &'a str) -> Self {
        let dots = token.bytes().filter(|b| *b == b'.').count();
        let shape = if dots == 2 && token.starts_with("ey") { CredentialShape::Jwt } else { CredentialShape::Opaque };
        Self { token, shape }
    }

    /// The token's text, for hashing, verifying or forwarding. Never for a log line.
    #[must_use]
    pub fn token(&self) -> &'a str {
        self.token
    }

    /// What it looks like.
    #[must_use]
    pub fn shape(&self) -> CredentialShape {
        self.shape
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:?}, …)", self.shape)
    }
}
