//! What the embedded token service runs by.
//!
//! Imports `model`. Deliberately absent: what it does, which is the business of `tokens` and `token_api`.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::IssuerId;
use crate::plan::SessionApi;

/// The embedded token service.
#[derive(Debug)]
pub struct TokenService {
    /// Its issuer.
    pub issuer: IssuerId,
    /// Its database file.
    pub database: PathBuf,
    /// The public base address that its metadata names, without a trailing slash.
    pub public_url: Box<str>,
    /// Where API A is mounted, if it is.
    pub oauth: Option<OAuthApi>,
    /// Where API B is mounted, if it is.
    pub session: Option<SessionApi>,
    /// How passwords are hashed.
    pub hashing: Hashing,
    /// Consecutive failures after which an account is locked, and for how long (contract section 8).
    pub lock: LockSettings,
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
