//! A new password for the old one. It ends every session of the account, and opens the one from which it was asked anew.

use std::time::Duration;

use crate::model::{Denial, Secret, Timestamp, TokenKind};
use crate::plan::PasswordPolicy;
use crate::rules::lockout::Ending;
use crate::store::cuts::Reach;
use crate::tokens::account::AccountId;
use crate::tokens::holder::Holder;
use crate::tokens::identity::{Identity, IdentityToken};
use crate::tokens::passwords::Verdict;
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
    /// What it must be like.
    pub policy: PasswordPolicy,
}

/// A password that was changed.
#[derive(Clone, Debug)]
pub struct PasswordChanged {
    /// The token of the session that was opened.
    pub token: IdentityToken,
    /// Until when the new password is good.
    pub expires: Option<Timestamp>,
}

impl PasswordPolicy {
    /// What a new password lacks, as far as that can be told from it alone. At least 8 characters is NIST SP 800-63B, at most
    /// 100 what a login of the session API takes.
    fn complaint(self, new: &str) -> Option<Conflict> {
        let (most, is_simple) = match self {
            Self::Standard => (100, false),
            Self::Composition => (30, is_simple(new)),
        };
        match new.chars().count() {
            0..8 => Some(Conflict::PasswordTooShort),
            length if length > most => Some(Conflict::PasswordTooLong),
            _ if is_simple => Some(Conflict::PasswordTooSimple),
            _ => None,
        }
    }

    /// How many passwords before the present one may not come back.
    fn former(self) -> u32 {
        match self {
            Self::Standard => 0,
            Self::Composition => 4,
        }
    }
}

/// Whether a password lacks a small letter, a capital, a digit, or a character that is neither letter, digit nor space.
fn is_simple(password: &str) -> bool {
    let special = |c: char| !c.is_alphanumeric() && !c.is_whitespace() && !c.is_control();
    let kinds: [fn(char) -> bool; 3] = [char::is_lowercase, char::is_uppercase, |c| c.is_ascii_digit()];
    !kinds.into_iter().all(|kind| password.chars().any(kind)) || !password.chars().any(special)
}

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
        if let Some(complaint) = request.policy.complaint(request.new.expose()) {
            return Err(complaint.into());
        }
        let account = self.store.enrolled_account(holder.account).await?.ok_or(Refusal::TokenInvalid)?;
        let tried = self.try_password_of(self.subject_of(holder.account), Some(account), request.old, &[]).await?;
        let Some(Enrolled { id, password: Some(old), .. }) = tried.proven else {
            self.settle(tried.attempt, Ending::Failed).await?;
            return Err(Conflict::PasswordIncorrect.into());
        };
        self.succeed(tried.attempt).await;
        if request.old == request.new || self.is_former(id, request.policy, request.new).await? {
            return Err(Conflict::PasswordAlreadyUsed.into());
        }
        let new = self.passwords.hash(request.new, self.entropy()).await?;
        let minted = mint::token(rule.format, self.entropy());
        let session = self.session_to_open(rule, id, request.program, &minted, TokenKind::Auth);
        let expires = request.life.map(|life| session.now.after(life));
        let (former_kept, sid) = (request.policy.former(), session.sid.clone());
        let identity = self.replace(PasswordChange { old, new, expires, former_kept, session }).await?;
        self.begin_activity(rule, &sid);
        Ok(PasswordChanged { token: IdentityToken { token: minted.text, account: id, identity }, expires })
    }

    /// Whether a password is one of those that may not come back. Each costs a hash, so they are few.
    async fn is_former(&self, account: AccountId, policy: PasswordPolicy, new: &Secret) -> Result<bool, Refusal> {
        if policy.former() == 0 {
            return Ok(false);
        }
        for former in self.store.former_passwords(account).await? {
            if self.passwords.check(Some(former), new).await? != Verdict::Wrong {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn replace(&self, change: PasswordChange) -> Result<Identity, Refusal> {
        let account = change.session.account;
        let identity = self.store.change_password(change).await?.ok_or(Conflict::PasswordIncorrect)?;
        self.cut(Reach::Subject(account.to_string().into())).await;
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
