//! Clients: the programs that redeem codes and refresh tokens on behalf of accounts.
//!
//! Imports nothing of ours. Deliberately absent: secrets, of which only MACs are kept; the store compares those.

/// What a client may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClientRight {
    /// Sign accounts in and redeem the codes (`authorization_code`).
    AuthorizationCode,
    /// Refresh (`refresh_token`).
    RefreshToken,
    /// Ask about the tokens of other clients (RFC 7662).
    Introspection,
}

impl ClientRight {
    /// Every right, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::AuthorizationCode, Self::RefreshToken, Self::Introspection];

    /// Its name in the database and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::Introspection => "introspection",
        }
    }

    /// The right of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name() == name)
    }
}

/// A client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// Its id: visible ASCII.
    pub id: Box<str>,
    /// What it may do.
    pub rights: Box<[ClientRight]>,
    /// Where its codes may be sent; compared byte for byte.
    pub redirect_uris: Box<[Box<str>]>,
}

impl Client {
    /// Whether it may do this.
    #[must_use]
    pub fn may(&self, right: ClientRight) -> bool {
        self.rights.contains(&right)
    }

    /// Whether this is one of its redirect URIs.
    #[must_use]
    pub fn redirects_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|known| &**known == uri)
    }
}

/// A client to be made. Its secret is made for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewClient {
    /// Its id: 1 to 128 characters of visible ASCII except `:`.
    pub id: Box<str>,
    /// What it may do.
    pub rights: Box<[ClientRight]>,
    /// Its redirect URIs; at least one if it may redeem codes.
    pub redirect_uris: Box<[Box<str>]>,
}
