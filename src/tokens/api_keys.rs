//! API keys: what a program shows with every call of the session API.

use crate::model::{Denial, Secret};
use crate::tokens::refusal::Refusal;
use crate::tokens::{ClientRefused, TokenService, mint};

impl TokenService {
    /// Makes an API key, which is shown this once and kept nowhere. Programs that go by the same name may have several, so
    /// that one can change over to another without a gap.
    ///
    /// # Errors
    /// [`ClientRefused::Id`], [`ClientRefused::Denied`].
    pub async fn add_api_key(&self, name: &str) -> Result<Secret, ClientRefused> {
        if name.is_empty() || name.len() > 128 || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
            return Err(ClientRefused::Id);
        }
        let key = mint::client_secret(self.entropy());
        let added = self.store.add_api_key(name, self.keyring.api_key(&key), self.now().wall).await;
        added.map(|()| key).map_err(|fault| ClientRefused::Denied(fault.into()))
    }

    /// Makes every API key of this name worthless; how many. Sessions go on, but nobody can call anything with them.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn revoke_api_keys(&self, name: &str) -> Result<usize, Denial> {
        Ok(self.store.revoke_api_keys(name, self.now().wall).await?)
    }

    /// The name of the program that shows this key.
    ///
    /// # Errors
    /// `KeyUnknown`; `StoreUnavailable`.
    pub async fn authenticate_key(&self, key: &Secret) -> Result<Box<str>, Refusal> {
        self.store.api_key(self.keyring.api_key(key)).await?.ok_or(Refusal::KeyUnknown)
    }
}
