//! Why the token service says no, before any API has put it into its own words.
//!
//! Imports `model`. Closed: a skin matches every variant, so a new reason does not compile until each API has words for it.
//! Deliberately absent: which of several secrets was wrong; nobody outside may learn that (contract A1).

use std::time::Duration;

use crate::model::Denial;
use crate::tokens::store::StoreFault;

/// A request that the token service refuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Unknown client or wrong client secret (RFC 6749 section 5.2, `invalid_client`).
    ClientUnknown,
    /// The client is who it says, but may not do this (`unauthorized_client`).
    ClientNotAllowed,
    /// Something of what was to prove the caller is wrong. Which part is not told, not even here.
    ProofWrong,
    /// The authorization code is unknown, used, expired, another client's or meant for another redirect URI.
    CodeInvalid,
    /// The refresh token is unknown, used, expired, revoked or another client's.
    RefreshInvalid,
    /// Unknown or revoked API key.
    KeyUnknown,
    /// The token is unknown, expired, revoked, or of a session that has ended.
    TokenInvalid,
    /// The token is good, but not for this.
    TokenKind,
    /// The account cannot act as this identity.
    IdentityForeign,
    /// It cannot be done as things stand.
    Conflict(Conflict),
    /// `Locked`, `LimitReached`, `StoreUnavailable` or `Overloaded`, each with the time after which to try again.
    Denied(Denial),
}

/// Why something cannot be done as things stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// There is no such channel, it asks in another way, or nobody is there to carry what it sends.
    ChannelNotSupported,
    /// The account has not enrolled the channel.
    ChannelNotRegistered,
    /// The account has enrolled the channel already.
    ChannelAlreadyRegistered,
    /// The account has no phone number.
    NoPhoneNumber,
    /// A code was sent a moment ago.
    TooSoon(Duration),
    /// Too many challenges were opened, or too many wrong codes were given.
    ChallengeLimit,
    /// Nothing is waiting for an answer, or something already is.
    State,
    /// The code comes too late.
    CodeExpired,
    /// The code is wrong.
    CodeWrong,
    /// The old password is wrong.
    PasswordIncorrect,
    /// The new password is the old one, or one that may not come back.
    PasswordAlreadyUsed,
    /// The new password lacks a kind of character that it must have.
    PasswordTooSimple,
    /// Fewer characters than a password has at least.
    PasswordTooShort,
    /// More characters than a password has at most.
    PasswordTooLong,
}

impl From<Conflict> for Refusal {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<StoreFault> for Denial {
    fn from(_: StoreFault) -> Self {
        Self::StoreUnavailable(Duration::from_secs(1))
    }
}

impl From<StoreFault> for Refusal {
    fn from(fault: StoreFault) -> Self {
        Self::Denied(fault.into())
    }
}
