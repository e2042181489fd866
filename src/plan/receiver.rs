//! Where others push revocations, and what is taken there.
//!
//! Imports `model` and the words of `config`. Deliberately absent: how a push is read and checked, which is `events`' business.

use std::sync::Arc;
use std::time::Duration;

use crate::config::JwtAlgorithm;
use crate::model::{IssuerId, NonEmpty, Secret};
use crate::plan::KeySource;

/// The place of a receiver in the plan's table of receivers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceiverId(pub usize);

/// An address to which revocations are pushed.
#[derive(Debug)]
pub struct Receiver {
    /// Its name: label of its metrics.
    pub name: Arc<str>,
    /// What is pushed.
    pub protocol: PushProtocol,
    /// Whose tokens are cut.
    pub issuer: IssuerId,
    /// The `iss` of the tokens that are cut, by which a subject of theirs is known (RFC 9493 section 3.2.4).
    pub subjects_of: Box<str>,
    /// The `iss` of who signs what is pushed.
    pub signer: Box<str>,
    /// The `aud` values of which a pushed token must carry one; never empty.
    pub audience: NonEmpty<Box<str>>,
    /// The signature algorithms that are taken; never empty, never `none`, never symmetric.
    pub algorithms: NonEmpty<JwtAlgorithm>,
    /// The `typ` header values that are taken, without `application/`, in lower case; the empty string takes an absent one.
    pub types: Box<[Box<str>]>,
    /// Where the signer's keys are.
    pub keys: KeySource,
    /// How long after its `iat` a pushed token is taken, and how long it is remembered; 30 s to a day.
    pub max_age: Duration,
    /// How far clocks may differ; at most 60 s.
    pub leeway: Duration,
}

/// What is pushed to a receiver.
#[derive(Clone, Debug)]
pub enum PushProtocol {
    /// Logout tokens (OpenID Connect Back-Channel Logout 1.0).
    Logout,
    /// Security event tokens (RFC 8417), by push (RFC 8935).
    Events {
        /// The Bearer token that the transmitter must present, if it must.
        authorization: Option<Secret>,
    },
}

impl PushProtocol {
    /// What it is called where something is mounted.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Logout => "logout tokens",
            Self::Events { .. } => "security events",
        }
    }
}
