//! The rules by which sessions live and the words for how they began: the data in which the APIs differ.
//!
//! Imports `model`, `plan` and `rules`. One session core serves every API; an API is a [`SessionRule`] here and a skin in `token_api`.

use std::time::Duration;

use crate::model::Timestamp;
use crate::plan::{BackOfficeApi, OAuthApi, SessionApi};
use crate::rules::window::WindowRule;

/// Which API a session was opened by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Api {
    /// API A.
    OAuth,
    /// API B.
    Session,
    /// API C.
    BackOffice,
}

impl Api {
    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OAuth => "oauth",
            Self::Session => "session",
            Self::BackOffice => "back-office",
        }
    }
}

/// What tokens look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenFormat {
    /// A random UUID (version 4, RFC 9562): 122 random bits in 36 characters.
    Uuid,
    /// 256 random bits in 43 characters (base64url).
    Opaque,
}

/// Whether access tokens tell what they are worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessForm {
    /// They do not: whoever wants to know asks.
    Opaque,
    /// They do, signed. Whether their session lives is asked all the same.
    Signed,
}

/// How the sessions of an API live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRule {
    /// Which API it is.
    pub api: Api,
    /// What its opaque tokens look like.
    pub format: TokenFormat,
    /// Whether its access tokens are among those.
    pub access: AccessForm,
    /// Life of an access token; cut short by the session's end.
    pub access_ttl: Duration,
    /// How long a session lives without activity; `None` if activity does not matter.
    pub idle: Option<Duration>,
    /// How long a session lives whatever happens.
    pub absolute: Duration,
    /// How its tokens are refreshed; `None` if they are not.
    pub refresh: Option<RefreshRule>,
}

/// How tokens are refreshed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefreshRule {
    /// Life of a refresh token without use.
    pub idle: Duration,
    /// Within this time after its use a refresh token is answered with the same pair again; zero takes any reuse for theft.
    pub grace: Duration,
    /// How long the old access token lives on after a refresh.
    pub superseded_access: Duration,
}

/// How authorization codes are issued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeRule {
    /// What codes look like.
    pub format: TokenFormat,
    /// Life of a code; at most 10 minutes (RFC 6749 section 4.1.2).
    pub ttl: Duration,
    /// Passwords from one source, whoever's; any number if it is not said.
    pub per_source: Option<WindowRule>,
}

/// How one-time codes are sent and checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerificationRule {
    /// What the proof looks like for which a right code is exchanged.
    pub format: TokenFormat,
    /// Life of a code, and of the proof.
    pub ttl: Duration,
    /// Tries after which a code is void.
    pub tries: u32,
    /// The shortest time between two codes for one destination.
    pub resend_interval: Duration,
    /// Codes for one destination within `budget_window`.
    pub budget: u32,
    /// The window of the budget; it slides.
    pub budget_window: Duration,
    /// Codes that one source may ask for; any number if it is not said.
    pub per_source: Option<WindowRule>,
}

/// Within which time the codes for a destination, and those that a source asks for, are counted.
const CODES_WITHIN: Duration = Duration::from_mins(10);

/// So many passwords from one source in a minute, and a pause of a minute for whoever tries more.
fn a_minute(attempts: u32) -> WindowRule {
    let minute = Duration::from_mins(1);
    WindowRule::new(attempts, minute, minute)
}

impl SessionRule {
    /// The sessions of API A.
    #[must_use]
    pub fn oauth(api: &OAuthApi) -> Self {
        Self {
            api: Api::OAuth,
            format: TokenFormat::Uuid,
            access: AccessForm::Opaque,
            access_ttl: api.access_ttl,
            idle: None,
            absolute: api.refresh_absolute,
            refresh: Some(RefreshRule {
                idle: api.refresh_idle,
                grace: api.refresh_grace,
                superseded_access: api.superseded_access,
            }),
        }
    }

    /// The sessions of API B: nothing is refreshed, every use extends.
    #[must_use]
    pub fn session(api: &SessionApi) -> Self {
        Self {
            api: Api::Session,
            format: TokenFormat::Opaque,
            access: AccessForm::Opaque,
            access_ttl: api.absolute,
            idle: Some(api.idle),
            absolute: api.absolute,
            refresh: None,
        }
    }

    /// The sessions of API C.
    #[must_use]
    pub fn back_office(api: &BackOfficeApi) -> Self {
        Self {
            api: Api::BackOffice,
            format: TokenFormat::Opaque,
            access: AccessForm::Signed,
            access_ttl: api.access_ttl,
            idle: None,
            absolute: api.refresh_absolute,
            refresh: Some(RefreshRule {
                idle: api.refresh_idle,
                grace: api.refresh_grace,
                superseded_access: api.superseded_access,
            }),
        }
    }
}

/// How people enter by e-mail address and password: how often they may try, and how their second factor is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryRule {
    /// The sessions that are opened.
    pub session: SessionRule,
    /// The codes of the second factor. The proof is the token that a code is answered with.
    pub second_factor: VerificationRule,
    /// Passwords from one source, whoever's; any number if it is not said.
    pub per_source: Option<WindowRule>,
    /// Passwords of one account from one source.
    pub sign_ins: WindowRule,
    /// Codes of second factors, likewise.
    pub confirmations: WindowRule,
    /// Refresh tokens, likewise.
    pub refreshes: WindowRule,
}

impl EntryRule {
    /// How people enter API C.
    #[must_use]
    pub fn back_office(api: &BackOfficeApi) -> Self {
        let window = |attempts| WindowRule::new(attempts, api.limits.window, api.limits.block);
        Self {
            session: SessionRule::back_office(api),
            second_factor: VerificationRule {
                format: TokenFormat::Uuid,
                ttl: api.code_ttl,
                tries: api.code_tries,
                resend_interval: Duration::ZERO,
                budget: api.codes_per_account,
                budget_window: CODES_WITHIN,
                // They are asked for with a right password only.
                per_source: None,
            },
            per_source: api.logins_per_source.map(a_minute),
            sign_ins: window(api.limits.sign_in),
            confirmations: window(api.limits.confirm),
            refreshes: window(api.limits.refresh),
        }
    }
}

impl CodeRule {
    /// The codes of API A.
    #[must_use]
    pub fn oauth(api: &OAuthApi) -> Self {
        Self { format: TokenFormat::Uuid, ttl: api.code_ttl, per_source: api.logins_per_source.map(a_minute) }
    }
}

impl VerificationRule {
    /// The phone verification of API A.
    #[must_use]
    pub fn oauth(api: &OAuthApi) -> Self {
        Self {
            format: TokenFormat::Uuid,
            ttl: api.verification_ttl,
            tries: api.verification_tries,
            resend_interval: api.resend_interval,
            budget: api.codes_per_phone,
            budget_window: CODES_WITHIN,
            per_source: api.codes_per_source.map(|codes| WindowRule::sliding(codes, CODES_WITHIN)),
        }
    }
}

/// How a subject was proven (RFC 9068 section 2.2.1): what a session begins with, and a step-up replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authentication {
    /// How strongly (`acr`).
    pub context: &'static str,
    /// By which methods, space-separated (`amr`, RFC 8176).
    pub methods: &'static str,
    /// When (`auth_time`).
    pub at: Timestamp,
}

impl Authentication {
    /// By password.
    #[must_use]
    pub fn password(at: Timestamp) -> Self {
        Self { context: "password", methods: "pwd", at }
    }

    /// By password and a one-time code.
    #[must_use]
    pub fn second_factor(at: Timestamp) -> Self {
        Self { context: SECOND_FACTOR, methods: "pwd otp", at }
    }

    /// By password and an approval on a device that was enrolled.
    #[must_use]
    pub fn approval(at: Timestamp) -> Self {
        Self { context: SECOND_FACTOR, methods: "pwd hwk", at }
    }
}

/// The authentication context of whoever showed a second factor.
const SECOND_FACTOR: &str = "second-factor";
