//! The embedded token service.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::At;
use crate::config::notation::{Bytes, Keys, Lasting, OrOff, Whole, Word};
use crate::config::sections::{BackOfficeApi, Notifier, Postgres, SessionApi, SigningKeys, TokenStoreKind};
use crate::config::table::Table;
use crate::config::units::{GIB, MIB, days, hours, minutes, seconds};
use crate::config::values::{BASE_URL, FILE, PATH};

/// `[token_service]`
#[derive(Debug)]
pub(crate) struct TokenService {
    pub(crate) store: At<TokenStoreKind>,
    pub(crate) database: At<PathBuf>,
    pub(crate) postgres: Option<At<Postgres>>,
    pub(crate) key_file: Option<At<PathBuf>>,
    pub(crate) public_url: Option<At<String>>,
    pub(crate) hashing: Hashing,
    pub(crate) lock: Lock,
    pub(crate) failures_per_source: At<Option<u32>>,
    pub(crate) oauth: Option<At<OAuthApi>>,
    pub(crate) session: Option<At<SessionApi>>,
    pub(crate) back_office: Option<At<BackOfficeApi>>,
    pub(crate) keys: SigningKeys,
    pub(crate) notifier: Option<At<Notifier>>,
}

impl TokenService {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            store: t.or(
                "store",
                Word(&[("sqlite", TokenStoreKind::Sqlite), ("postgres", TokenStoreKind::Postgres)]),
                TokenStoreKind::Sqlite,
                "Where it keeps its state: \"sqlite\", a file that one gateway uses; \"postgres\", a database that several share.",
            ),
            database: t.or("database", FILE, PathBuf::from("portcullis.db"), "Its database file, with store = \"sqlite\"."),
            postgres: t.optional("postgres", Keys(Postgres::read), "Its database, with store = \"postgres\"."),
            key_file: t.optional(
                "key_file",
                FILE,
                "The file of the server key, made at the first start. Beside the database file when left out; with store = \
                 \"postgres\" it must be named, and hold the same on every gateway.",
            ),
            public_url: t.optional(
                "public_url",
                BASE_URL,
                "The public base address that its metadata names. In the sandbox the first listener's when left out.",
            ),
            hashing: t.section("hashing", Hashing::read, "How passwords are hashed (argon2id, RFC 9106)."),
            lock: t.section("lock", Lock::read, "When an account is locked."),
            failures_per_source: t.or(
                "failures_per_source",
                OrOff(Whole(1..=100_000)),
                Some(100),
                "Wrong passwords from one source within 10 minutes, whoever's; one more, and the source pauses for 10 minutes.",
            ),
            oauth: t.optional("oauth", Keys(OAuthApi::read), "The OAuth API; it is not mounted when left out."),
            session: t.optional("session", Keys(SessionApi::read), "The session API; it is not mounted when left out."),
            back_office: t.optional(
                "back_office",
                Keys(BackOfficeApi::read),
                "The back office API; it is not mounted when left out.",
            ),
            keys: t.section("keys", SigningKeys::read, "The keys that tokens are signed with."),
            notifier: t.optional(
                "notifier",
                Keys(Notifier::read),
                "Who carries one-time codes and questions to people. Left out in the sandbox, nothing is sent and codes are fixed.",
            ),
        }
    }
}

/// `[token_service.hashing]`
#[derive(Debug)]
pub(crate) struct Hashing {
    pub(crate) memory: At<u64>,
    pub(crate) passes: At<u32>,
    pub(crate) parallel: Option<At<usize>>,
    pub(crate) queue: At<usize>,
}

impl Hashing {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            memory: t.or("memory", Bytes(7 * MIB..=4 * GIB), 19 * MIB, "Memory of one hash."),
            passes: t.or("passes", Whole(1..=64), 2, "Passes over it."),
            parallel: t.optional("parallel", Whole(1..=256), "Hashes at once; one less than there are cores."),
            queue: t.or("queue", Whole(1..=100_000), 64, "Hashes that may wait; beyond it 503."),
        }
    }
}

/// `[token_service.lock]`
#[derive(Debug)]
pub(crate) struct Lock {
    pub(crate) attempts: At<u32>,
    pub(crate) duration: At<Duration>,
}

impl Lock {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            attempts: t.or("attempts", Whole(1..=100), 5, "Consecutive failures."),
            duration: t.or(
                "duration",
                Lasting(seconds(1)..=days(30)),
                minutes(30),
                "Length of the lock from its start; tries during it do not extend it.",
            ),
        }
    }
}

/// `[token_service.oauth]`
#[derive(Debug)]
pub(crate) struct OAuthApi {
    pub(crate) access_ttl: At<Duration>,
    pub(crate) refresh_idle: At<Duration>,
    pub(crate) refresh_absolute: At<Duration>,
    pub(crate) refresh_grace: At<Duration>,
    pub(crate) superseded_access: At<Duration>,
    pub(crate) code_ttl: At<Duration>,
    pub(crate) verification_ttl: At<Duration>,
    pub(crate) verification_tries: At<u32>,
    pub(crate) resend_interval: At<Duration>,
    pub(crate) codes_per_phone: At<u32>,
    pub(crate) codes_per_source: At<Option<u32>>,
    pub(crate) logins_per_source: At<Option<u32>>,
    pub(crate) paths: OAuthPaths,
}

impl OAuthApi {
    fn read(t: &mut Table<'_>) -> Self {
        let life = || Lasting(seconds(1)..=days(3650));
        let code = || Lasting(seconds(1)..=minutes(10));
        Self {
            access_ttl: t.or("access_ttl", life(), hours(24), "Life of an access token."),
            refresh_idle: t.or("refresh_idle", life(), days(30), "Life of a refresh token without use."),
            refresh_absolute: t.or("refresh_absolute", life(), days(90), "Life of a grant whatever its use."),
            refresh_grace: t.or(
                "refresh_grace",
                Lasting(seconds(0)..=seconds(30)),
                seconds(0),
                "Within this time a retried refresh gets the same pair; after it, reuse ends the grant.",
            ),
            superseded_access: t.or(
                "superseded_access",
                Lasting(seconds(0)..=seconds(60)),
                seconds(60),
                "How long the old access token lives on after a refresh.",
            ),
            code_ttl: t.or("code_ttl", code(), minutes(10), "Life of an authorization code."),
            verification_ttl: t.or(
                "verification_ttl",
                code(),
                minutes(10),
                "Life of a verification code, and of the token it earns.",
            ),
            verification_tries: t.or(
                "verification_tries",
                Whole(1..=10),
                5,
                "Wrong tries after which a verification code is void.",
            ),
            resend_interval: t.or(
                "resend_interval",
                Lasting(seconds(0)..=hours(1)),
                seconds(15),
                "Between two codes for one phone number.",
            ),
            codes_per_phone: t.or("codes_per_phone", Whole(1..=1000), 10, "Codes for one phone number within 10 minutes."),
            codes_per_source: t.or(
                "codes_per_source",
                OrOff(Whole(1..=100_000)),
                Some(30),
                "Codes that one source may ask for within 10 minutes, whoever is to get them; one more waits until there is room.",
            ),
            logins_per_source: logins_per_source(t),
            paths: t.section("paths", OAuthPaths::read, "Where its operations are mounted."),
        }
    }
}

/// How many passwords one source may try at an API whose contract does not say.
pub(super) fn logins_per_source(t: &mut Table<'_>) -> At<Option<u32>> {
    t.or(
        "logins_per_source",
        OrOff(Whole(1..=100_000)),
        Some(60),
        "Sign-ins from one source in a minute; one more, and the source pauses for a minute.",
    )
}

/// `[token_service.oauth.paths]`
#[derive(Debug)]
pub(crate) struct OAuthPaths {
    pub(crate) password: At<String>,
    pub(crate) request_code: At<String>,
    pub(crate) verify_code: At<String>,
    pub(crate) token: At<String>,
    pub(crate) revoke: At<String>,
    pub(crate) account: At<String>,
    pub(crate) accounts: At<String>,
}

impl OAuthPaths {
    fn read(t: &mut Table<'_>) -> Self {
        let mut path = |key, default: &str, meaning| t.or(key, PATH, default.to_owned(), meaning);
        Self {
            password: path("password", "/v1/authentications/password", "Password and second factor for a code."),
            request_code: path("request_code", "/v2/verification/request-code", "Sends a verification code."),
            verify_code: path("verify_code", "/v2/verification/verify-code", "Verification code for a token that proves it."),
            token: path("token", "/v2/oauth/token", "The token endpoint (RFC 6749)."),
            revoke: path("revoke", "/v2/oauth/revoke", "The revocation endpoint (RFC 7009)."),
            account: path("account", "/v1/account", "The caller's account."),
            accounts: path("accounts", "/v1/accounts", "The caller's account, as a list."),
        }
    }
}
