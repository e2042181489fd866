//! The session API of the embedded token service.

use std::time::Duration;

use crate::config::At;
use crate::config::notation::{Lasting, Whole, Word};
use crate::config::sections::SecretReference;
use crate::config::table::Table;
use crate::config::units::{days, hours, minutes, seconds};
use crate::config::values::{PREFIX, SecretNotation};

/// `[token_service.session]`
#[derive(Debug)]
pub(crate) struct SessionApi {
    pub(crate) prefix: At<String>,
    pub(crate) idle: At<Duration>,
    pub(crate) absolute: At<Duration>,
    pub(crate) auth_token: At<AuthTokenUse>,
    pub(crate) challenge_ttl: At<Duration>,
    pub(crate) code_tries: At<u32>,
    pub(crate) resend_interval: At<Duration>,
    pub(crate) challenges_per_account: At<u32>,
    pub(crate) logins_per_source: At<u32>,
    pub(crate) logins: At<u32>,
    pub(crate) password_life: Option<At<Duration>>,
    pub(crate) password_policy: At<PasswordPolicy>,
    pub(crate) callback_secret: Option<At<SecretReference>>,
}

/// What a token from a login is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AuthTokenUse {
    Any,
    ExchangeOnly,
}

/// What a new password must be like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PasswordPolicy {
    Standard,
    Composition,
}

impl SessionApi {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            prefix: t.or("prefix", PREFIX, "/multi".to_owned(), "What its paths begin with."),
            idle: t.or("idle", Lasting(seconds(1)..=days(1)), minutes(5), "Life of a session after its last use."),
            absolute: t.or("absolute", Lasting(seconds(1)..=days(30)), hours(12), "Life of a session whatever its use."),
            auth_token: auth_token(t),
            challenge_ttl: t.or(
                "challenge_ttl",
                Lasting(seconds(1)..=minutes(10)),
                minutes(5),
                "How long a one-time code or a push can be answered.",
            ),
            code_tries: t.or("code_tries", Whole(1..=10), 5, "Wrong tries after which a one-time code is void."),
            resend_interval: t.or(
                "resend_interval",
                Lasting(seconds(0)..=hours(1)),
                seconds(15),
                "Between two one-time codes for one token and channel.",
            ),
            challenges_per_account: t.or(
                "challenges_per_account",
                Whole(1..=1000),
                10,
                "Codes, and pushes, on one channel of an account within 10 minutes.",
            ),
            logins_per_source: t.or(
                "logins_per_source",
                Whole(1..=100_000),
                10,
                "Logins from one source in a minute; one more, and the source pauses for a minute.",
            ),
            logins: t.or(
                "logins",
                Whole(1..=10_000),
                20,
                "Logins of one account within an hour, right or wrong, from anywhere; one more waits until there is room.",
            ),
            password_life: t.optional(
                "password_life",
                Lasting(hours(1)..=days(3650)),
                "How long a new password is good; for ever when left out.",
            ),
            password_policy: password_policy(t),
            callback_secret: t.optional(
                "callback_secret",
                SecretNotation,
                "The key under which a push carrier signs what a device answered. Without it nothing can be pushed.",
            ),
        }
    }
}

fn auth_token(t: &mut Table<'_>) -> At<AuthTokenUse> {
    t.or(
        "auth_token",
        Word(&[("any", AuthTokenUse::Any), ("exchange_only", AuthTokenUse::ExchangeOnly)]),
        AuthTokenUse::Any,
        "What a token from a login is good for: everything, or only to be exchanged for an access token.",
    )
}

fn password_policy(t: &mut Table<'_>) -> At<PasswordPolicy> {
    t.or(
        "password_policy",
        Word(&[("standard", PasswordPolicy::Standard), ("composition", PasswordPolicy::Composition)]),
        PasswordPolicy::Standard,
        "What a new password must be like: 8 to 100 characters, or 8 to 30 of every kind and none of the last five.",
    )
}
