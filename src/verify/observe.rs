//! What happened, told to whoever counts it.
//!
//! Imports nothing of ours but the neighbours' errors. Deliberately absent: metrics. `app` connects this to the one table of
//! metrics, so that verifying knows nothing of telemetry.

use std::fmt;
use std::time::Duration;

use crate::verify::authority::Unavailable;

/// Counts. Called on every request: must not block, and keeps nothing that it is shown.
pub trait Observer: Send + Sync + fmt::Debug {
    /// An issuer was asked about a token, which took so long.
    fn asked(&self, issuer: &str, answer: Asked, took: Duration);

    /// A token was looked up.
    fn looked_up(&self, issuer: &str, found: Found);
}

/// What an issuer answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The token is active.
    Active,
    /// It is of no use here.
    Inactive,
    /// There was no answer.
    Unavailable(Unavailable),
}

impl Asked {
    /// The label of the metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Unavailable(reason) => reason.word(),
        }
    }
}

/// What was remembered of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// An active answer of this age.
    Active(Duration),
    /// An inactive answer.
    Inactive,
    /// An active answer that a cut has reached since: it stopped a token that would have passed.
    Cut,
    /// Nothing fresh: a load was begun for it.
    Nothing,
    /// Nothing fresh, but a load was already in the air.
    InTheAir,
    /// The issuer cannot be asked, and an answer of this age was used in its stead.
    InGrace(Duration),
}

impl Found {
    /// The label of the metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Active(_) => "hit",
            Self::Inactive => "hit-inactive",
            Self::Cut => "cut",
            Self::Nothing => "miss",
            Self::InTheAir => "joined",
            Self::InGrace(_) => "grace",
        }
    }
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn asked(&self, _: &str, _: Asked, _: Duration) {}

    fn looked_up(&self, _: &str, _: Found) {}
}
