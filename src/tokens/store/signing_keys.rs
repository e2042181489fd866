//! What is kept of the keys that tokens are signed with.

use std::fmt;

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::tokens::store::StoreFault;

/// The signing keys at rest.
#[async_trait]
pub trait SigningKeyStore: Send + Sync + fmt::Debug {
    /// Every key that tokens are signed with.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreFault>;
    /// Keeps a key. False, and nothing kept, if there is one that begins to sign later than `unless_after`.
    async fn add_signing_key(&self, key: SigningKeyRow, unless_after: Timestamp) -> Result<bool, StoreFault>;
    /// How often hearing what other gateways do on this database has begun anew; `None` while they may not be heard.
    fn heard_since(&self) -> Option<u64>;
    /// Forgets a key.
    async fn forget_signing_key(&self, kid: &str) -> Result<(), StoreFault>;
}

/// A key that tokens are signed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SigningKeyRow {
    /// Its name.
    pub kid: Box<str>,
    /// The key, sealed under the server key.
    pub sealed: Box<[u8]>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
}
