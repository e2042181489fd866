//! Making accounts and clients, changing them, and telling clients from impostors. There is no default account or secret.

use crate::model::{Denial, Secret};
use crate::store::cuts::Reach;
use crate::tokens::account::{Account, AccountId, AccountStatus, NewAccount};
use crate::tokens::client::{Client, ClientRight, NewClient};
use crate::tokens::refusal::Refusal;
use crate::tokens::store::{AccountRow, EmailFactor, Taken};
use crate::tokens::{TokenService, mint};

/// An account was not made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccountRefused {
    /// Another account has the e-mail address, in this or another spelling.
    #[error("another account has this e-mail address")]
    EmailTaken,
    /// Another account has the phone number.
    #[error("another account has this phone number")]
    PhoneTaken,
    /// Fewer than 8 characters (NIST SP 800-63B), or more than 1024 bytes.
    #[error("a password has 8 characters to 1024 bytes")]
    PasswordLength,
    /// Not two upper-case letters.
    #[error("a country is two upper-case letters (ISO 3166)")]
    Country,
    /// The token service could not do it now.
    #[error("the token service cannot do this now ({})", .0.reason())]
    Denied(Denial),
}

/// A client was not made or changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClientRefused {
    /// There is one of this id.
    #[error("there is a client of this id")]
    Exists,
    /// There is none of this id.
    #[error("there is no client of this id")]
    Unknown,
    /// The id is empty, longer than 128 characters, or not visible ASCII without `:` (which ends it in Basic credentials).
    #[error("a client id is 1 to 128 visible ASCII characters other than `:`")]
    Id,
    /// A client that redeems codes needs an exact URI to which they may be sent; each is visible ASCII without a fragment
    /// (RFC 6749 section 3.1.2).
    #[error("a client that redeems codes needs redirect URIs, of visible ASCII and without a fragment")]
    RedirectUri,
    /// The token service could not do it now.
    #[error("the token service cannot do this now ({})", .0.reason())]
    Denied(Denial),
}

/// The longest password, in bytes. Longer ones are refused before they cost anything.
pub const PASSWORD_MAX: usize = 1024;

impl TokenService {
    /// Makes an account.
    ///
    /// # Errors
    /// [`AccountRefused`].
    pub async fn add_account(&self, new: NewAccount) -> Result<Account, AccountRefused> {
        let long_enough = |password: &Secret| password.expose().chars().count() >= 8 && password.expose().len() <= PASSWORD_MAX;
        if !new.password.as_ref().is_none_or(long_enough) {
            return Err(AccountRefused::PasswordLength);
        }
        let is_country = |code: &str| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase());
        if !new.country.as_deref().is_none_or(is_country) {
            return Err(AccountRefused::Country);
        }
        let password = match &new.password {
            Some(password) => Some(self.passwords.hash(password, self.entropy()).await.map_err(AccountRefused::Denied)?),
            None => None,
        };
        let derived = new.phone.as_ref().and_then(|phone| phone.country().map(Into::into));
        let row = AccountRow {
            kind: new.kind,
            email: new.email.as_given().into(),
            email_key: new.email.key().into(),
            country: new.country.or(derived),
            phone: new.phone.map(|phone| phone.as_str().into()),
            password,
            now: self.now().wall,
        };
        let added = self.store.add_account(row).await.map_err(|fault| AccountRefused::Denied(fault.into()))?;
        added.map_err(|taken| match taken {
            Taken::Email => AccountRefused::EmailTaken,
            Taken::Phone => AccountRefused::PhoneTaken,
        })
    }

    /// The account of this number.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, Denial> {
        Ok(self.store.account(id).await?)
    }

    /// At most `limit` accounts with numbers above `after`, in order.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, Denial> {
        Ok(self.store.accounts(after, limit).await?)
    }

    /// Disables an account and ends its sessions, or enables it again. False if there is none.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn switch_account(&self, id: AccountId, status: AccountStatus) -> Result<bool, Denial> {
        let known = self.store.switch_account(id, status, self.now().wall).await?;
        if known {
            self.cut(Reach::Subject(id.to_string().into())).await;
        }
        Ok(known)
    }

    /// Switches the second factor by e-mail of an account. False if there is none. Sessions that exist go on.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn switch_email_factor(&self, id: AccountId, factor: EmailFactor) -> Result<bool, Denial> {
        Ok(self.store.switch_email_factor(id, factor, self.now().wall).await?)
    }

    /// Makes a client and its secret, which is shown this once and kept nowhere.
    ///
    /// # Errors
    /// [`ClientRefused`].
    pub async fn add_client(&self, new: NewClient) -> Result<Secret, ClientRefused> {
        let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !visible(&new.id) || new.id.len() > 128 || new.id.contains(':') {
            return Err(ClientRefused::Id);
        }
        let redeems = new.rights.contains(&ClientRight::AuthorizationCode);
        let exact = new.redirect_uris.iter().all(|uri| visible(uri) && !uri.contains('#'));
        if !exact || (redeems && new.redirect_uris.is_empty()) {
            return Err(ClientRefused::RedirectUri);
        }
        let secret = mint::client_secret(self.entropy());
        let mac = self.keyring.client_secret(&new.id, &secret);
        let added = self.store.add_client(new, mac, self.now().wall).await;
        let added = added.map_err(|fault| ClientRefused::Denied(fault.into()))?;
        if added { Ok(secret) } else { Err(ClientRefused::Exists) }
    }

    /// Every client.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn clients(&self) -> Result<Vec<Client>, Denial> {
        Ok(self.store.clients().await?)
    }

    /// Gives a client a new secret. The one before stays good beside it until the next rotation, so that the client can
    /// change over without a gap.
    ///
    /// # Errors
    /// [`ClientRefused::Unknown`], [`ClientRefused::Denied`].
    pub async fn rotate_client(&self, id: &str) -> Result<Secret, ClientRefused> {
        let secret = mint::client_secret(self.entropy());
        let rotated = self.store.rotate_client(id, self.keyring.client_secret(id, &secret), self.now().wall).await;
        let rotated = rotated.map_err(|fault| ClientRefused::Denied(fault.into()))?;
        if rotated { Ok(secret) } else { Err(ClientRefused::Unknown) }
    }

    /// The client that presents this secret. A client that does not exist costs the same comparison.
    ///
    /// # Errors
    /// `ClientUnknown`; `StoreUnavailable`.
    pub async fn authenticate_client(&self, id: &str, secret: &Secret) -> Result<Client, Refusal> {
        let presented = self.keyring.client_secret(id, secret);
        let known = self.store.client(id).await?.ok_or(Refusal::ClientUnknown)?;
        let current = known.secret == presented;
        let previous = known.previous_secret.is_some_and(|previous| previous == presented);
        if current | previous { Ok(known.client) } else { Err(Refusal::ClientUnknown) }
    }
}
