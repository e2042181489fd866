//! Challenges: what is kept of an open question, and what becomes of asking it.
//!
//! Imports `model` and the nouns of `tokens`. Deliberately absent: what a right answer does; those are steps of their own.

use std::time::Duration;

use crate::model::Timestamp;
use crate::store::cuts::Fingerprint;
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::keyring::Mac;
use crate::tokens::store::LockTerms;

/// The name of a challenge: random, or derived from something that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChallengeId(pub [u8; 16]);

/// What a challenge is for. A code for one purpose answers no other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChallengeKind {
    /// To prove a phone number before a sign-in.
    Phone,
    /// To finish a sign-in whose password was right.
    SignIn,
    /// To step a token up by a code.
    StepUpCode,
    /// To step a token up by an approval on a device.
    StepUpPush,
    /// To enrol a channel by a code.
    EnrolCode,
    /// To enrol a device by an approval on it.
    EnrolPush,
}

impl ChallengeKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Phone, Self::SignIn, Self::StepUpCode, Self::StepUpPush, Self::EnrolCode, Self::EnrolPush];

    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::SignIn => "sign-in",
            Self::StepUpCode => "step-up-code",
            Self::StepUpPush => "step-up-push",
            Self::EnrolCode => "enrol-code",
            Self::EnrolPush => "enrol-push",
        }
    }
}

/// A challenge to be opened.
#[derive(Clone, Debug)]
pub struct ChallengeRow {
    /// Its name.
    pub id: ChallengeId,
    /// What it is for.
    pub kind: ChallengeKind,
    /// Where the code is sent.
    pub destination: Mac,
    /// Whose destination it is; of those that are nobody's, only so many are kept.
    pub account: Option<AccountId>,
    /// The token for which it is opened, and the channel on which it is asked, if it is for one.
    pub asked: Option<(Fingerprint, Channel)>,
    /// The code.
    pub code: Mac,
    /// Tries after which it is void.
    pub max_tries: u32,
    /// When it is opened.
    pub now: Timestamp,
    /// Until when it can be answered.
    pub expires: Timestamp,
    /// How soon another may be opened for the destination.
    pub resend_interval: Duration,
    /// How many may be opened for the destination within `budget_window`.
    pub budget: u32,
    /// The window of the budget.
    pub budget_window: Duration,
    /// What becomes of the one before it.
    pub if_open: IfOpen,
    /// How long its name is remembered at least.
    pub remembered_for: Duration,
}

/// What becomes of a challenge that is open when another is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IfOpen {
    /// It is void.
    Replace,
    /// It stays, and the other is not opened.
    Keep,
    /// It stays, and the other is opened beside it: each is answered by a token of its own.
    Join,
}

/// What became of opening a challenge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// It is open.
    Opened,
    /// The last was too recent; how long until the next.
    TooSoon(Duration),
    /// There were too many; how long until the next.
    Exhausted(Duration),
    /// There is one, and it stays.
    AlreadyOpen,
    /// One of this very name was opened before; nothing has changed.
    Repeated,
}

/// A code that is presented. If it is wrong, it counts towards a lock; but a challenge does so once, at its first wrong code, since
/// its further tries are bounded by themselves.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named by what they are")]
pub struct Answer {
    pub if_wrong: LockTerms,
    pub challenge: ChallengeId,
    pub code: Mac,
    pub proof: Fingerprint,
    pub proof_expires: Timestamp,
    pub now: Timestamp,
}
