//! What a route's requests do at a token service behind it.

use std::time::Duration;

use crate::model::{Ends, IssuerId, Location, NonEmpty, Role};

/// A role with everything that is needed to watch it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passage {
    /// What its requests do.
    pub role: Role,
    /// Where they show the token that it is about.
    pub token: Location,
    /// Where they name the subject, if they do.
    pub subject: Option<Location>,
    /// Whose tokens it is about.
    pub issuers: NonEmpty<IssuerId>,
    /// Whether a session or subject is the same one with all of them, because the configuration names them together; else what
    /// one of them says of a token is about its own tokens only.
    pub together: bool,
    /// What it ends, where that is not what the role says by itself.
    pub ends: Option<Ends>,
    /// The statuses that mean success; `None` for all of 2xx.
    pub success: Option<Box<[u16]>>,
    /// For how long nothing is remembered of a token after a step-up was started, or after a request whose outcome is unknown.
    pub pending: Duration,
}

impl Passage {
    /// Where in the body something is told that must be known before the request is forwarded.
    #[must_use]
    pub fn in_body(&self) -> Option<&Location> {
        std::iter::once(&self.token).chain(&self.subject).find(|location| location.is_in_body())
    }
}
