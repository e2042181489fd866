//! Enrolling a channel on somebody's behalf: by an operator who knows whose phone or device it is.

use crate::model::Denial;
use crate::tokens::TokenService;
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;

impl TokenService {
    /// Enrols a channel without asking on it. False if it is enrolled already, or there is no such account.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn enrol_channel(&self, account: AccountId, channel: Channel) -> Result<bool, Denial> {
        Ok(self.store.enrol(account, channel, self.now().wall).await?)
    }
}
