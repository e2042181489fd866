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
    /// `Locked`, `LimitReached`, `StoreUnavailable` or `Overloaded`, each with the time after which to try again.
    Denied(Denial),
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
