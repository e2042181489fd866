//! What a cut reaches, and by what it names a token.
//!
//! Imports the primitives of aws-lc-rs. Deliberately absent: when something was cut.

use std::fmt;

use aws_lc_rs::digest;

/// SHA-256 of a token: what a cut names a single token by, so that no token is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a token's text.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        for (into, from) in bytes.iter_mut().zip(digest::digest(&digest::SHA256, token.as_bytes()).as_ref()) {
            *into = *from;
        }
        Self(bytes)
    }
}

impl fmt::Debug for Fingerprint {
    /// The first four bytes: enough to find a token again in the log, far too little to find the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, fourth, ..] = self.0;
        write!(f, "Fingerprint({first:02x}{second:02x}{third:02x}{fourth:02x}…)")
    }
}

/// What a cut reaches.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reach {
    /// One token.
    Token(Fingerprint),
    /// Every token of a session.
    Session(Box<str>),
    /// Every token of a subject.
    Subject(Box<str>),
    /// Every token that a client holds.
    Client(Box<str>),
}

impl Reach {
    /// Its kind in a word: the label of the metric.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Session(_) => "session",
            Self::Subject(_) => "subject",
            Self::Client(_) => "client",
        }
    }
}
