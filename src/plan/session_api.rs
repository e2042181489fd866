//! API B: its lifetimes, its limits, and the table of its operations (contract section 2).
//!
//! Imports `model`. The table stands here because two read it: `compile` makes a route of each operation, and `token_api` puts
//! a handler behind it. Who may call what is said once.

use std::time::Duration;

use http::Method;

use crate::model::{Secret, TokenKind};

/// API B: its mount and its lifetimes.
#[derive(Clone, Debug)]
pub struct SessionApi {
    /// What all of its paths begin with; no slash at the end.
    pub prefix: Box<str>,
    /// How long a session lives after its last use.
    pub idle: Duration,
    /// How long a session lives whatever its use.
    pub absolute: Duration,
    /// What a token from a login is good for.
    pub auth_token: AuthTokenUse,
    /// How a token is stepped up, and factors are enrolled.
    pub challenges: ChallengeLimits,
    /// Logins from one source in a minute; one more, and the source pauses for a minute.
    pub logins_per_source: u32,
    /// Logins of one account, or with one address that is nobody's, in an hour.
    pub logins: u32,
    /// How long a new password is good; `None` for ever.
    pub password_life: Option<Duration>,
    /// What a new password must be like.
    pub password_policy: PasswordPolicy,
    /// The key under which push carriers sign what a device answered; without one nothing can be pushed.
    pub callback_secret: Option<Secret>,
}

/// What a token from a login is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthTokenUse {
    /// Every operation for users, and routes that accept it.
    Any,
    /// To see the identities, to be exchanged for a token that acts as one of them, and to log out.
    ExchangeOnly,
}

/// What a new password must be like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PasswordPolicy {
    /// Of some length, and not the old one (NIST SP 800-63B).
    Standard,
    /// Of every kind of character, not long, and none of the last five (contract section 2).
    Composition,
}

/// How one-time codes and approvals on devices are limited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChallengeLimits {
    /// How long a code or a push can be answered; at most 10 min.
    pub ttl: Duration,
    /// Wrong tries after which a code is void.
    pub tries: u32,
    /// The shortest time between two codes for one token and channel.
    pub resend_interval: Duration,
    /// Challenges on one channel of an account within 10 minutes.
    pub per_account: u32,
}

/// An operation of API B.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionOperation {
    /// E-mail address and password for a token.
    LogIn,
    /// The identities that the token's holder can act as.
    Identities,
    /// A token for one of them.
    AccessToken,
    /// Sends a one-time code to step the token up.
    BeginCode,
    /// Answers it.
    VerifyCode,
    /// Asks on a device to step the token up.
    BeginPush,
    /// Ends the session.
    LogOut,
    /// A new password for the old one.
    UpdatePassword,
    /// Sends a one-time code to enrol a channel.
    EnrolCode,
    /// Answers it.
    ConfirmCode,
    /// Asks on a device to enrol it.
    EnrolPush,
    /// What a device answered, told by the push carrier.
    PushAnswered,
}

/// Who may call an operation, besides knowing an API key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Anybody; no token is looked at.
    Anybody,
    /// Holders of such tokens. The gateway sees to it.
    Holder(&'static [TokenKind]),
    /// Holders of such tokens. The operation sees to it, since it refuses in its own way.
    HolderAsked(&'static [TokenKind]),
}

/// Where an operation is, how it is called, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperationTerms {
    /// The name of its route.
    pub name: &'static str,
    /// Its method.
    pub method: Method,
    /// Its path below the prefix. `{channel}` is one segment.
    pub path: &'static str,
    /// By whom.
    pub caller: Caller,
}

/// Tokens of a session that is open: the one from the login, and those it was exchanged for.
const OPEN: &[TokenKind] = &[TokenKind::Auth, TokenKind::Access];
/// The same, and the one that an expired password gives.
const ALL: &[TokenKind] = &[TokenKind::Auth, TokenKind::Access, TokenKind::Temporary];
/// What is left of the two where the token from the login is for the exchange only.
const EXCHANGED: &[TokenKind] = &[TokenKind::Access];
const EXCHANGED_OR_TEMPORARY: &[TokenKind] = &[TokenKind::Access, TokenKind::Temporary];

impl SessionOperation {
    /// Every operation.
    pub const ALL: [Self; 12] = [
        Self::LogIn,
        Self::Identities,
        Self::AccessToken,
        Self::BeginCode,
        Self::VerifyCode,
        Self::BeginPush,
        Self::LogOut,
        Self::UpdatePassword,
        Self::EnrolCode,
        Self::ConfirmCode,
        Self::EnrolPush,
        Self::PushAnswered,
    ];

    /// Where it is, how it is called, and by whom.
    #[must_use]
    pub fn terms(self, auth_token: AuthTokenUse) -> OperationTerms {
        let (open, all) = match auth_token {
            AuthTokenUse::Any => (OPEN, ALL),
            AuthTokenUse::ExchangeOnly => (EXCHANGED, EXCHANGED_OR_TEMPORARY),
        };
        let post = |name, path, caller| OperationTerms { name, method: Method::POST, path, caller };
        match self {
            Self::LogIn => post("session.log_in", "/login_with_password", Caller::Anybody),
            Self::Identities => OperationTerms {
                name: "session.identities",
                method: Method::GET,
                path: "/identities",
                caller: Caller::Holder(OPEN),
            },
            Self::AccessToken => post("session.access_token", "/access_token", Caller::HolderAsked(OPEN)),
            Self::BeginCode => post("session.begin_code", "/stepup/challenges/otp/{channel}", Caller::Holder(open)),
            Self::VerifyCode => post("session.verify_code", "/stepup/challenges/otp/{channel}/verify", Caller::Holder(open)),
            Self::BeginPush => post("session.begin_push", "/stepup/challenges/push/{channel}", Caller::Holder(open)),
            Self::LogOut => post("session.log_out", "/logout", Caller::Holder(OPEN)),
            Self::UpdatePassword => post("session.update_password", "/passwords/update", Caller::Holder(all)),
            Self::EnrolCode => post("session.enrol_code", "/authentication_factors/otp/{channel}", Caller::Holder(open)),
            Self::ConfirmCode => {
                post("session.confirm_code", "/authentication_factors/otp/{channel}/verify", Caller::Holder(open))
            }
            Self::EnrolPush => post("session.enrol_push", "/authentication_factors/push/{channel}", Caller::Holder(open)),
            Self::PushAnswered => post("session.push_answered", "/callbacks/push", Caller::Anybody),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operations that take this kind.
    fn takers(auth_token: AuthTokenUse, kind: TokenKind) -> Vec<SessionOperation> {
        let takes = |operation: &SessionOperation| match operation.terms(auth_token).caller {
            Caller::Anybody => false,
            Caller::Holder(kinds) | Caller::HolderAsked(kinds) => kinds.contains(&kind),
        };
        SessionOperation::ALL.into_iter().filter(takes).collect()
    }

    #[test]
    fn a_temporary_token_is_good_for_a_new_password_and_for_nothing_else() {
        for auth_token in [AuthTokenUse::Any, AuthTokenUse::ExchangeOnly] {
            assert_eq!(takers(auth_token, TokenKind::Temporary), [SessionOperation::UpdatePassword]);
        }
    }

    #[test]
    fn a_token_for_the_exchange_only_can_see_what_to_be_exchanged_for_and_log_out() {
        let is_for_users = |operation: &SessionOperation| operation.terms(AuthTokenUse::Any).caller != Caller::Anybody;
        let users: Vec<_> = SessionOperation::ALL.into_iter().filter(is_for_users).collect();
        assert_eq!(takers(AuthTokenUse::Any, TokenKind::Auth), users);
        let few = [SessionOperation::Identities, SessionOperation::AccessToken, SessionOperation::LogOut];
        assert_eq!(takers(AuthTokenUse::ExchangeOnly, TokenKind::Auth), few);
        assert_eq!(takers(AuthTokenUse::ExchangeOnly, TokenKind::Access), users);
    }
}
