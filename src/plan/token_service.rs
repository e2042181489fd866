//! What the embedded token service runs by.
//!
//! Imports `model`. Deliberately absent: what it does, which is the business of `tokens` and `token_api`.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::IssuerId;
use crate::plan::{Database, Notifier, SessionApi};

/// The embedded token service.
#[derive(Debug)]
pub struct TokenService {
    /// Its issuer.
    pub issuer: IssuerId,
    /// Its database.
    pub database: Database,
    /// The file of the server key.
    pub key_file: PathBuf,
    /// The public base address that its metadata names, without a trailing slash.
    pub public_url: Box<str>,
    /// Where API A is mounted, if it is.
    pub oauth: Option<OAuthApi>,
    /// Where API B is mounted, if it is.
    pub session: Option<SessionApi>,
    /// Where API C is mounted, if it is.
    pub back_office: Option<BackOfficeApi>,
    /// How long others may remember the keys that tokens are signed with; a new key signs only after that.
    pub keys_published_for: Duration,
    /// How passwords are hashed.
    pub hashing: Hashing,
    /// Consecutive failures after which an account is locked, and for how long (contract section 8).
    pub lock: LockSettings,
    /// Wrong passwords from one source within 10 minutes; one more, and it pauses for as long. Any number if it is not said.
    pub failures_per_source: Option<u32>,
    /// Who carries codes and questions; without one nothing is sent.
    pub notifier: Option<Notifier>,
}

/// API A: its mounts and its lifetimes (contract section 1).
#[derive(Clone, Debug)]
pub struct OAuthApi {
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token without use.
    pub refresh_idle: Duration,
    /// Life of a grant whatever its use.
    pub refresh_absolute: Duration,
    /// Within this time a retried refresh gets the same pair; 0 to 30 s.
    pub refresh_grace: Duration,
    /// How long the old access token lives on after a refresh; 0 to 60 s.
    pub superseded_access: Duration,
    /// Life of an authorization code; at most 10 min.
    pub code_ttl: Duration,
    /// Life of a verification code and of the token it is exchanged for; at most 10 min.
    pub verification_ttl: Duration,
    /// Wrong tries after which a verification code is void.
    pub verification_tries: u32,
    /// The shortest time between two codes for one phone number.
    pub resend_interval: Duration,
    /// Codes for one phone number within 10 minutes.
    pub codes_per_phone: u32,
    /// Codes that one source may ask for within 10 minutes; any number if it is not said.
    pub codes_per_source: Option<u32>,
    /// Sign-ins from one source in a minute; one more, and the source pauses for a minute. Any number if it is not said.
    pub logins_per_source: Option<u32>,
    /// Where its operations are mounted.
    pub paths: OAuthPaths,
}

/// The paths of API A, each the plain path of one route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OAuthPaths {
    /// Password and second factor for a code.
    pub password: Box<str>,
    /// Sends a verification code.
    pub request_code: Box<str>,
    /// Verification code for the token that proves it.
    pub verify_code: Box<str>,
    /// The token endpoint (RFC 6749).
    pub token: Box<str>,
    /// The revocation endpoint (RFC 7009).
    pub revoke: Box<str>,
    /// The caller's account.
    pub account: Box<str>,
    /// The caller's account, as a list.
    pub accounts: Box<str>,
}

/// API C: its mounts, its lifetimes and its limits (contract section 3).
#[derive(Clone, Debug)]
pub struct BackOfficeApi {
    /// For whom its access tokens are (`aud`).
    pub audience: Box<str>,
    /// The type that its access tokens name (`typ`).
    pub token_type: TokenType,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token without use.
    pub refresh_idle: Duration,
    /// Life of a session whatever its use.
    pub refresh_absolute: Duration,
    /// Within this time a retried refresh gets the same pair; 0 to 30 s.
    pub refresh_grace: Duration,
    /// How long the old access token lives on after a refresh; 0 to 60 s.
    pub superseded_access: Duration,
    /// Life of a code that is sent by e-mail, and of the token it is answered with; at most 10 min.
    pub code_ttl: Duration,
    /// Wrong tries after which a code is void.
    pub code_tries: u32,
    /// Codes for one account within 10 minutes.
    pub codes_per_account: u32,
    /// Sign-ins from one source in a minute; one more, and the source pauses for a minute. Any number if it is not said.
    pub logins_per_source: Option<u32>,
    /// How often its operations may be tried.
    pub limits: BackOfficeLimits,
    /// Where its operations are mounted.
    pub paths: BackOfficePaths,
}

/// The type of a signed token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenType {
    /// `JWT`, as the contract shows it.
    Jwt,
    /// `at+jwt` (RFC 9068 section 2.1).
    AccessToken,
}

/// How often an operation may be tried by one account from one source, right or wrong. Each is counted for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackOfficeLimits {
    /// Sign-ins within the window.
    pub sign_in: u32,
    /// Confirmations within the window.
    pub confirm: u32,
    /// Refreshes within the window.
    pub refresh: u32,
    /// The window; it slides.
    pub window: Duration,
    /// The pause for whoever tries more.
    pub block: Duration,
}

/// The paths of API C, each the plain path of one route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackOfficePaths {
    /// E-mail address and password for tokens, or for a second factor to be asked for.
    pub sign_in: Box<str>,
    /// The second factor for tokens.
    pub confirm: Box<str>,
    /// A refresh token for new tokens.
    pub refresh: Box<str>,
    /// Ends the session.
    pub sign_out: Box<str>,
}

/// How passwords are hashed (argon2id, RFC 9106).
#[derive(Clone, Debug)]
pub struct Hashing {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Hashes at once.
    pub parallel: usize,
    /// Hashes that may wait; beyond it 503.
    pub queue: usize,
}

/// When an account is locked.
#[derive(Clone, Copy, Debug)]
pub struct LockSettings {
    /// Consecutive failures.
    pub attempts: u32,
    /// Length of the lock, from its start; tries during it do not extend it.
    pub duration: Duration,
}
