//! Logging in: e-mail address and password for a session, and what an expired password gives instead.

use crate::model::{Secret, Source, TokenKind};
use crate::rules::lockout::Ending;
use crate::rules::window::WindowRule;
use crate::tokens::account::{AccountId, AccountStatus};
use crate::tokens::identifier::{EmailAddress, Identifier};
use crate::tokens::identity::IdentityToken;
use crate::tokens::limits::Operation;
use crate::tokens::mint::Minted;
use crate::tokens::refusal::Refusal;
use crate::tokens::session::{Authentication, SessionRule};
use crate::tokens::store::OpenSession;
use crate::tokens::{TokenService, mint};

/// A login.
#[derive(Clone, Copy, Debug)]
pub struct LogIn<'a> {
    /// The program through which somebody logs in, authenticated.
    pub program: &'a str,
    /// Who.
    pub email: &'a EmailAddress,
    /// The password.
    pub password: &'a Secret,
    /// From where.
    pub source: Source,
}

/// What a right password gives.
#[derive(Clone, Debug)]
pub enum LoggedIn {
    /// A session, acting as the account's first identity.
    Open(IdentityToken),
    /// A token that is good for a new password and nothing else.
    PasswordExpired(Secret),
}

impl TokenService {
    /// Logs an account in, if there have not been too many logins from its source; a lock speaks before that. Whatever is wrong, the way through here is the same as for a wrong password.
    ///
    /// # Errors
    /// `ProofWrong`; `Locked`, `LimitReached`, `Overloaded`, `StoreUnavailable`.
    pub async fn log_in(&self, rule: &SessionRule, limit: &WindowRule, request: LogIn<'_>) -> Result<LoggedIn, Refusal> {
        let identifier = Identifier::Email(request.email);
        let account = self.store.enrolled(identifier).await?;
        let subject = self.subject(account.as_ref(), identifier);
        self.guard.check(subject, self.now())?;
        self.limits.charge_source(limit, Operation::LogIn, request.source.key(), self.now().tick)?;
        let tried = self.try_password_of(subject, account, request.password).await?;
        let now = self.now().wall;
        let usable = tried.proven.as_ref().filter(|account| account.status == AccountStatus::Active);
        let expired = usable.is_some_and(|account| account.password_expires.is_some_and(|end| end <= now));
        let kind = if expired { TokenKind::Temporary } else { TokenKind::Auth };
        let minted = mint::token(rule.format, self.entropy());
        let opened = match usable.map(|account| account.id) {
            Some(account) => {
                let step = self.session_to_open(rule, account, request.program, &minted, kind);
                let sid = step.sid.clone();
                let identity = self.store.open_session(step).await?;
                if identity.is_some() {
                    self.begin_activity(rule, &sid);
                }
                identity.map(|identity| (account, identity))
            }
            None => None,
        };
        let Some((account, identity)) = opened else {
            self.settle(tried.attempt, Ending::Failed).await?;
            return Err(Refusal::ProofWrong);
        };
        self.succeed(tried.attempt).await;
        self.renew_hash(tried.proven, tried.verdict, request.password).await;
        Ok(match kind {
            TokenKind::Temporary => LoggedIn::PasswordExpired(minted.text),
            TokenKind::Auth | TokenKind::Access | TokenKind::Refresh => {
                LoggedIn::Open(IdentityToken { token: minted.text, account, identity })
            }
        })
    }

    /// A session of an account whose password was right a moment ago.
    pub(in crate::tokens) fn session_to_open(
        &self,
        rule: &SessionRule,
        account: AccountId,
        program: &str,
        token: &Minted,
        kind: TokenKind,
    ) -> OpenSession {
        let now = self.now().wall;
        OpenSession {
            account,
            rule: *rule,
            kind,
            sid: mint::uuid(self.entropy()).into(),
            client: program.into(),
            token: token.fingerprint,
            authentication: Authentication::password(now),
            now,
        }
    }
}
