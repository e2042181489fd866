//! Logging in: e-mail address and password for a session, and what an expired password gives instead.

use std::time::Duration;

use crate::model::{Secret, Source, TokenKind};
use crate::plan::SessionApi;
use crate::rules::lockout::Ending;
use crate::rules::window::WindowRule;
use crate::tokens::account::{AccountId, AccountStatus};
use crate::tokens::guard::Held;
use crate::tokens::identifier::{EmailAddress, Identifier};
use crate::tokens::identity::IdentityToken;
use crate::tokens::mint::Minted;
use crate::tokens::refusal::Refusal;
use crate::tokens::session::{Authentication, SessionRule};
use crate::tokens::store::{OpenSession, Operation};
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

/// How many logins there may be, right or wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogInLimits {
    /// From one source.
    pub per_source: WindowRule,
    /// Of one account, or with one address that is nobody's.
    pub per_account: WindowRule,
}

/// Why somebody is not logged in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogInRefused {
    /// There were too many logins from this source; after which time there may be more.
    SourceLimit(Duration),
    /// There were too many logins of this account.
    AccountLimit(Duration),
    /// For any other reason.
    Refused(Refusal),
}

impl LogInLimits {
    /// The logins of the session API: a minute's from a source, then a pause of a minute; an hour's of an account.
    #[must_use]
    pub fn session(api: &SessionApi) -> Self {
        let minute = Duration::from_mins(1);
        Self {
            per_source: WindowRule::new(api.logins_per_source, minute, minute),
            per_account: WindowRule::sliding(api.logins, Duration::from_hours(1)),
        }
    }
}

impl LogInRefused {
    /// Says which of the two limits of a login it is that holds it back, if it is one.
    fn of(held: Held) -> Self {
        match held {
            Held::Window(Operation::LogIn, wait) => Self::SourceLimit(wait),
            Held::Window(Operation::LogInOf, wait) => Self::AccountLimit(wait),
            held @ (Held::Window(..) | Held::Denied(_)) => Self::Refused(held.denial().into()),
        }
    }
}

impl<T: Into<Refusal>> From<T> for LogInRefused {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

impl TokenService {
    /// Logs an account in, unless there have been too many logins; a lock speaks before that. Whatever is wrong, the way
    /// through here is the same as for a wrong password.
    ///
    /// # Errors
    /// A limit; `ProofWrong`; `Locked`, `LimitReached` if every attempt of the account is in flight, `Overloaded`,
    /// `StoreUnavailable`.
    pub async fn log_in(&self, rule: &SessionRule, limits: &LogInLimits, request: LogIn<'_>) -> Result<LoggedIn, LogInRefused> {
        let identifier = Identifier::Email(request.email);
        let account = self.store.enrolled(identifier).await?;
        let subject = self.subject(account.as_ref(), identifier);
        // The source first: its limit speaks before the account's.
        let of_source = self.of_source(Operation::LogIn, limits.per_source, request.source);
        let of_account = self.of_subject(Operation::LogInOf, limits.per_account, subject);
        let charges: Vec<_> = [of_source, of_account].into_iter().chain(self.failures_of(request.source)).collect();
        let tried = self.try_password_of(subject, account, request.password, &charges).await.map_err(LogInRefused::of)?;
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
            return Err(Refusal::ProofWrong.into());
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
