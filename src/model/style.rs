//! The dialect in which a route's refusals are spoken.

/// Which body a response of our own has. A property of the route; `reply` turns it into bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Style {
    /// RFC 9457 problem details.
    #[default]
    Problem,
    /// API A: `message`/`errorMessage` pairs and OAuth errors.
    OAuth,
    /// API B: `code`/`message`, `errorCode`, `syntaxErrors`.
    Session,
    /// API C: `message`.
    BackOffice,
}
