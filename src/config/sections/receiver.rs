//! Where others push revocations: an OpenID provider's logout tokens, a transmitter's security events.

use std::time::Duration;

use crate::config::At;
use crate::config::notation::{Filled, Keys, Lasting, Word};
use crate::config::sections::issuer::{ALGORITHMS, leeway};
use crate::config::sections::{JwtAlgorithm, SecretReference, SigningSource};
use crate::config::table::Table;
use crate::config::units::{days, seconds};
use crate::config::values::{PATH, SecretNotation, TEXT, TYPE};

/// What is pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReceiverKind {
    Logout,
    Events,
}

/// `[receiver.NAME]`
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) kind: Option<At<ReceiverKind>>,
    pub(crate) path: Option<At<String>>,
    pub(crate) issuer: Option<At<String>>,
    pub(crate) iss: Option<At<String>>,
    pub(crate) audience: Option<At<Vec<String>>>,
    pub(crate) keys: Option<At<SigningSource>>,
    pub(crate) algorithms: Option<At<Vec<JwtAlgorithm>>>,
    pub(crate) types: Option<At<Vec<String>>>,
    pub(crate) max_age: Option<At<Duration>>,
    pub(crate) leeway: At<Duration>,
    pub(crate) authorization: Option<At<SecretReference>>,
}

impl Receiver {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            kind: t.required(
                "kind",
                Word(&[("backchannel-logout", ReceiverKind::Logout), ("security-events", ReceiverKind::Events)]),
                "What is pushed: \"backchannel-logout\" (OpenID Connect) or \"security-events\" (RFC 8935, SSF, CAEP).",
            ),
            path: t.required("path", PATH, "Where it is pushed to, by POST; its route comes by itself."),
            issuer: t.required("issuer", TEXT, "The name of the issuer whose tokens are cut."),
            iss: t.optional("iss", TEXT, "The `iss` of who signs what is pushed; that of a JWT issuer when left out."),
            audience: t.optional(
                "audience",
                Filled(TEXT),
                "The `aud` values of which a pushed token must carry one. For logout it is the client id; for events that of a \
                 JWT issuer when left out.",
            ),
            keys: t.optional("keys", Keys(SigningSource::read), "Who signs has these keys; those of a JWT issuer when left out."),
            algorithms: t.optional(
                "algorithms",
                Filled(Word(ALGORITHMS)),
                "Signature algorithms that are taken; those of a JWT issuer when left out, else RS256, ES256 and EdDSA.",
            ),
            types: t.optional(
                "types",
                Filled(TYPE),
                "The `typ` values that are taken; \"\" takes tokens without one. When left out, \"logout+jwt\" and \"\", or \
                 \"secevent+jwt\".",
            ),
            max_age: t.optional(
                "max_age",
                Lasting(seconds(30)..=days(1)),
                "How old a pushed token may be, and for how long it is remembered; 5m for logout and 1d for events when left out.",
            ),
            leeway: leeway(t),
            authorization: t.optional(
                "authorization",
                SecretNotation,
                "The Bearer token that a transmitter of security events must present.",
            ),
        }
    }
}
