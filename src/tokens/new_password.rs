//! A new password for the old one. It ends every session of the account, and opens the one from which it was asked anew.

use std::time::Duration;

use crate::model::{Denial, Secret, Timestamp, TokenKind};
use crate::rules::lockout::Ending;
use crate::store::cuts::Reach;
use crate::tokens::account::AccountId;
use crate::tokens::holder::Holder;
use crate::tokens::identity::{Identity, IdentityToken};
use crate::tokens::refusal::{Conflict, Refusal};
use crate::tokens::session::SessionRule;
use crate::tokens::store::{Enrolled, PasswordChange};
use crate::tokens::{TokenService, mint};

/// A new password to be set.
#[derive(Clone, Copy, Debug)]
pub struct NewPassword<'a> {
    /// The program through which it is set, authenticated.
    pub program: &'a str,
    /// The old one.
    pub old: &'a Secret,
    /// The new one.
    pub new: &'a Secret,
    /// How long the new one is good; `None` for ever.
    pub life: Option<Duration>,
}

/// A password that was changed.
#[derive(Clone, Debug)]
pub struct PasswordChanged {
    /// The token of the session that was opened.
    pub token: IdentityToken,
    /// Until when the new password is good.
    pub expires: Option<Timestamp>,
}

/// Characters of a password: at least (NIST SP 800-63B), and at most what a login of the session API takes.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=100;

impl TokenService {
    /// Changes a password for who knows the old one. A wrong one counts as a failed login.
    ///
    /// # Errors
    /// `Conflict`; `TokenInvalid` if the account cannot be used any more; `Locked`, `LimitReached`, `Overloaded`,
    /// `StoreUnavailable`.
    pub async fn change_password(
        &self,
        rule: &SessionRule,
        holder: &Holder,
        request: NewPassword<'_>,
    ) -> Result<PasswordChanged, Refusal> {
        let length = request.new.expose().chars().count();
        if length < *LENGTHS.start() {
            return Err(Conflict::PasswordTooShort.into());
        }
        if length > *LENGTHS.end() {
            return Err(Conflict::PasswordTooLong.into());
        }
        let account = self.store.enrolled_account(holder.account).await?.ok_or(Refusal::TokenInvalid)?;
        let tried = self.try_password_of(self.subject_of(holder.account), Some(account), request.old).await?;
        let Some(Enrolled { id, password: Some(old), .. }) = tried.proven else {
            self.settle(tried.attempt, Ending::Failed).await?;
            return Err(Conflict::PasswordIncorrect.into());
        };
        self.succeed(tried.attempt).await;
        if request.old == request.new {
            return Err(Conflict::PasswordAlreadyUsed.into());
        }
        let new = self.passwords.hash(request.new, self.entropy()).await?;
        let minted = mint::token(rule.format, self.entropy());
        let session = self.session_to_open(rule, id, request.program, &minted, TokenKind::Auth);
        let expires = request.life.map(|life| session.now.after(life));
        let sid = session.sid.clone();
        let identity = self.replace(PasswordChange { old, new, expires, session }).await?;
        self.begin_activity(rule, &sid);
        Ok(PasswordChanged { token: IdentityToken { token: minted.text, account: id, identity }, expires })
    }

    async fn replace(&self, change: PasswordChange) -> Result<Identity, Refusal> {
        let account = change.session.account;
        let identity = self.store.change_password(change).await?.ok_or(Conflict::PasswordIncorrect)?;
        self.cut(Reach::Subject(account.to_string().into()));
        Ok(identity)
    }

    /// Lets an account's password expire now: its next login gives a token for a new password and nothing else. False if it
    /// has none.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn expire_password(&self, account: AccountId) -> Result<bool, Denial> {
        Ok(self.store.expire_password(account, self.now().wall).await?)
    }
}
