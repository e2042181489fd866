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
    /// How a token is stepped up, and factors are enrolled.
    pub challenges: ChallengeLimits,
    /// Logins from one source in a minute; one more, and the source pauses for a minute.
    pub logins_per_source: u32,
    /// How long a new password is good; `None` for ever.
    pub password_life: Option<Duration>,
    /// The key under which push carriers sign what a device answered; without one nothing can be pushed.
    pub callback_secret: Option<Secret>,
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
    pub fn terms(self) -> OperationTerms {
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
            Self::BeginCode => post("session.begin_code", "/stepup/challenges/otp/{channel}", Caller::Holder(OPEN)),
            Self::VerifyCode => post("session.verify_code", "/stepup/challenges/otp/{channel}/verify", Caller::Holder(OPEN)),
            Self::BeginPush => post("session.begin_push", "/stepup/challenges/push/{channel}", Caller::Holder(OPEN)),
            Self::LogOut => post("session.log_out", "/logout", Caller::Holder(OPEN)),
            Self::UpdatePassword => post("session.update_password", "/passwords/update", Caller::Holder(ALL)),
            Self::EnrolCode => post("session.enrol_code", "/authentication_factors/otp/{channel}", Caller::Holder(OPEN)),
            Self::ConfirmCode => {
                post("session.confirm_code", "/authentication_factors/otp/{channel}/verify", Caller::Holder(OPEN))
            }
            Self::EnrolPush => post("session.enrol_push", "/authentication_factors/push/{channel}", Caller::Holder(OPEN)),
            Self::PushAnswered => post("session.push_answered", "/callbacks/push", Caller::Anybody),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_token_is_good_for_a_new_password_and_for_nothing_else() {
        let takes_temporary = |operation: &SessionOperation| match operation.terms().caller {
            Caller::Anybody => false,
            Caller::Holder(kinds) | Caller::HolderAsked(kinds) => kinds.contains(&TokenKind::Temporary),
        };
        let takers: Vec<_> = SessionOperation::ALL.into_iter().filter(takes_temporary).collect();
        assert_eq!(takers, [SessionOperation::UpdatePassword]);
    }
}
