//! The back office API of the embedded token service, and the keys that sign its tokens.

use std::time::Duration;

use crate::config::At;
use crate::config::notation::{Lasting, Whole, Word};
use crate::config::sections::token_service::logins_per_source;
use crate::config::table::Table;
use crate::config::units::{days, hours, minutes, seconds};
use crate::config::values::{PREFIX, TEXT};

/// `[token_service.back_office]`
#[derive(Debug)]
pub(crate) struct BackOfficeApi {
    pub(crate) prefix: At<String>,
    pub(crate) audience: Option<At<String>>,
    pub(crate) token_type: At<TokenType>,
    pub(crate) access_ttl: At<Duration>,
    pub(crate) refresh_idle: At<Duration>,
    pub(crate) refresh_absolute: At<Duration>,
    pub(crate) refresh_grace: At<Duration>,
    pub(crate) superseded_access: At<Duration>,
    pub(crate) code_ttl: At<Duration>,
    pub(crate) code_tries: At<u32>,
    pub(crate) codes_per_account: At<u32>,
    pub(crate) logins_per_source: At<Option<u32>>,
    pub(crate) limits: BackOfficeLimits,
}

/// The `typ` of a token that is signed here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenType {
    Jwt,
    AccessToken,
}

impl BackOfficeApi {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let life = || Lasting(seconds(1)..=days(3650));
        Self {
            prefix: t.or("prefix", PREFIX, "/api/v2".to_owned(), "What its paths begin with."),
            audience: t.optional("audience", TEXT, "For whom its access tokens are (`aud`); `public_url` when left out."),
            token_type: t.or(
                "token_type",
                Word(&[("JWT", TokenType::Jwt), ("at+jwt", TokenType::AccessToken)]),
                TokenType::Jwt,
                "The type that its access tokens name (`typ`).",
            ),
            access_ttl: t.or("access_ttl", Lasting(seconds(1)..=days(30)), hours(10), "Life of an access token."),
            refresh_idle: t.or("refresh_idle", life(), days(14), "Life of a refresh token without use."),
            refresh_absolute: t.or("refresh_absolute", life(), days(30), "Life of a session whatever its use."),
            refresh_grace: t.or(
                "refresh_grace",
                Lasting(seconds(0)..=seconds(30)),
                seconds(0),
                "Within this time a retried refresh gets the same pair; after it, reuse ends the session.",
            ),
            superseded_access: t.or(
                "superseded_access",
                Lasting(seconds(0)..=seconds(60)),
                seconds(60),
                "How long the old access token lives on after a refresh.",
            ),
            code_ttl: t.or(
                "code_ttl",
                Lasting(seconds(1)..=minutes(10)),
                minutes(10),
                "Life of a code that is sent by e-mail, and of the token it is answered with.",
            ),
            code_tries: t.or("code_tries", Whole(1..=10), 5, "Wrong tries after which a code is void."),
            codes_per_account: t.or("codes_per_account", Whole(1..=1000), 10, "Codes for one account within 10 minutes."),
            logins_per_source: logins_per_source(t),
            limits: t.section(
                "limits",
                BackOfficeLimits::read,
                "How often one account may try from one source, right or wrong; each operation is counted for itself.",
            ),
        }
    }
}

/// `[token_service.back_office.limits]`
#[derive(Debug)]
pub(crate) struct BackOfficeLimits {
    pub(crate) sign_in: At<u32>,
    pub(crate) confirm: At<u32>,
    pub(crate) refresh: At<u32>,
    pub(crate) window: At<Duration>,
    pub(crate) block: At<Duration>,
}

impl BackOfficeLimits {
    fn read(t: &mut Table<'_>) -> Self {
        let attempts = || Whole(1..=1000);
        Self {
            sign_in: t.or("sign_in", attempts(), 5, "Sign-ins within the window."),
            confirm: t.or("confirm", attempts(), 3, "Confirmations within the window."),
            refresh: t.or("refresh", attempts(), 5, "Refreshes within the window."),
            window: t.or("window", Lasting(seconds(1)..=hours(1)), minutes(1), "The window; it slides."),
            block: t.or(
                "block",
                Lasting(seconds(1)..=days(1)),
                minutes(10),
                "The pause for whoever tries more; trying does not prolong it.",
            ),
        }
    }
}

/// `[token_service.keys]`
#[derive(Debug)]
pub(crate) struct SigningKeys {
    pub(crate) max_age: At<Duration>,
}

impl SigningKeys {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            max_age: t.or(
                "max_age",
                Lasting(seconds(0)..=days(7)),
                minutes(10),
                "How long others may remember the published keys; a new key signs only after that.",
            ),
        }
    }
}
