//! Who vouches for tokens: introspection endpoints, issuers of JWTs.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use crate::config::At;
use crate::config::notation::{Bytes, Filled, Keys, Lasting, Placed, Whole, Word};
use crate::config::table::Table;
use crate::config::units::{KIB, MIB, days, hours, millis, minutes, seconds};
use crate::config::values::{FILE, SecretNotation, TEXT, TYPE, URL};

/// Where a secret is. The secret itself is never in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SecretReference {
    Variable(String),
    File(PathBuf),
}

impl SecretReference {
    pub(crate) fn read(t: &mut Table<'_>) -> Option<Self> {
        t.exactly_one(&["env", "file"]);
        let variable = t.optional("env", TEXT, "The environment variable that holds the secret.");
        let file = t.optional("file", FILE, "The file that holds the secret; a line break at its end does not count.");
        variable.map(|name| Self::Variable(name.value)).or(file.map(|path| Self::File(path.value)))
    }
}

/// `[issuer.NAME]`
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) introspection: Option<At<Introspection>>,
    pub(crate) jwt: Option<At<Jwt>>,
}

impl Issuer {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        t.exactly_one(&["introspection", "jwt"]);
        Self {
            introspection: t.optional("introspection", Keys(Introspection::read), "Asks a token service (RFC 7662)."),
            jwt: t.optional("jwt", Keys(Jwt::read), "Checks JWTs (RFC 7519, RFC 9068) against the issuer's keys."),
        }
    }
}

/// `introspection`
#[derive(Debug)]
pub(crate) struct Introspection {
    pub(crate) url: Option<At<Uri>>,
    pub(crate) client: Option<At<ClientLogin>>,
    pub(crate) deadline: At<Duration>,
    pub(crate) answer_size: At<u64>,
    pub(crate) idle: Option<At<Duration>>,
    pub(crate) cache_ttl: At<Duration>,
    pub(crate) negative_ttl: At<Duration>,
    pub(crate) pool: At<usize>,
    pub(crate) issuer: Option<At<String>>,
    pub(crate) token_type: Option<At<String>>,
    pub(crate) token_prefix: Option<At<String>>,
    pub(crate) ca_file: Option<At<PathBuf>>,
}

impl Introspection {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            url: t.required("url", URL, "The introspection endpoint."),
            client: t.required("client", Keys(ClientLogin::read), "How the gateway says who it is."),
            deadline: t.or(
                "deadline",
                deadline(),
                seconds(2),
                "From the first byte of the question to the last of the answer.",
            ),
            answer_size: t.or("answer_size", Bytes(KIB..=MIB), 64 * KIB, "The largest answer that is read."),
            idle: t.optional(
                "idle",
                Lasting(seconds(1)..=days(1)),
                "How long a token lives after its last use here; for a service whose tokens die of disuse. Answers are then remembered for a tenth of it at most.",
            ),
            cache_ttl: t.or(
                "cache_ttl",
                Lasting(seconds(0)..=hours(1)),
                seconds(30),
                "How long a good answer is remembered; never beyond the token's `exp`, nor a route's max_revocation_lag.",
            ),
            negative_ttl: t.or("negative_ttl", negative_ttl(), seconds(5), "How long a bad answer is remembered."),
            pool: t.or("pool", Whole(1..=10_000), 32, "Idle connections that are kept."),
            issuer: t.optional("issuer", TEXT, "What `iss` of an answer must be, when it has one."),
            token_type: t.optional(
                "token_type",
                TEXT,
                "What `token_type` of an answer must be for an access token: \"Bearer\". For services that tell their refresh tokens by its absence alone; when left out, it may be absent.",
            ),
            token_prefix: t.optional("token_prefix", TEXT, "Only tokens that begin with this are sent there."),
            ca_file: t.optional("ca_file", FILE, "PEM file of the certificates to trust; the system's when left out."),
        }
    }
}

impl Introspection {
    /// How long a good answer is remembered. Where tokens die of disuse the service must hear of their use, which it does by
    /// being asked: well before it thinks a token unused, and not more often than every second.
    pub(crate) fn remembered(&self) -> Duration {
        let tenth = self.idle.as_ref().map(|idle| (idle.value / 10).max(seconds(1)));
        tenth.map_or(self.cache_ttl.value, |tenth| tenth.min(self.cache_ttl.value))
    }
}

fn deadline() -> Lasting {
    Lasting(millis(10)..=minutes(1))
}

fn negative_ttl() -> Lasting {
    Lasting(seconds(0)..=seconds(10))
}

/// How the gateway authenticates to an introspection endpoint.
#[derive(Debug)]
pub(crate) struct ClientLogin {
    pub(crate) basic: Option<At<ClientSecret>>,
    pub(crate) post: Option<At<ClientSecret>>,
    pub(crate) bearer: Option<At<SecretReference>>,
}

/// A client id and its secret.
#[derive(Debug)]
pub(crate) struct ClientSecret {
    pub(crate) id: Option<At<String>>,
    pub(crate) secret: Option<At<SecretReference>>,
}

impl ClientLogin {
    fn read(t: &mut Table<'_>) -> Self {
        t.exactly_one(&["basic", "post", "bearer"]);
        Self {
            basic: t.optional("basic", Keys(ClientSecret::read), "In the Authorization field (client_secret_basic)."),
            post: t.optional("post", Keys(ClientSecret::read), "In the body (client_secret_post)."),
            bearer: t.optional("bearer", SecretNotation, "With a Bearer token of the gateway's own."),
        }
    }
}

impl ClientSecret {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            id: t.required("id", TEXT, "The client id."),
            secret: t.required("secret", SecretNotation, "The client secret: { env = \"VARIABLE\" } or { file = \"PATH\" }."),
        }
    }
}

/// Signature algorithms that can be allowed; the symmetric ones and `none` do not exist here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names of RFC 7518 section 3.1 and RFC 8037 explain themselves")]
pub enum JwtAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

pub(crate) const ALGORITHMS: &[(&str, JwtAlgorithm)] = &[
    ("RS256", JwtAlgorithm::Rs256),
    ("RS384", JwtAlgorithm::Rs384),
    ("RS512", JwtAlgorithm::Rs512),
    ("PS256", JwtAlgorithm::Ps256),
    ("PS384", JwtAlgorithm::Ps384),
    ("PS512", JwtAlgorithm::Ps512),
    ("ES256", JwtAlgorithm::Es256),
    ("ES384", JwtAlgorithm::Es384),
    ("EdDSA", JwtAlgorithm::EdDsa),
];

/// `jwt`
#[derive(Debug)]
pub(crate) struct Jwt {
    pub(crate) issuer: Option<At<String>>,
    pub(crate) audience: Option<At<Vec<String>>>,
    pub(crate) algorithms: At<Vec<JwtAlgorithm>>,
    pub(crate) types: At<Vec<String>>,
    pub(crate) keys: SigningSource,
    pub(crate) leeway: At<Duration>,
    pub(crate) max_lifetime: At<Duration>,
    pub(crate) cache_ttl: At<Duration>,
    pub(crate) negative_ttl: At<Duration>,
}

impl Jwt {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            issuer: t.required("issuer", TEXT, "The `iss` that its tokens carry."),
            audience: t.required(
                "audience",
                Filled(TEXT),
                "The `aud` values of which a token must carry one: who we are to the issuer.",
            ),
            algorithms: t.or(
                "algorithms",
                Filled(Word(ALGORITHMS)),
                vec![JwtAlgorithm::Rs256],
                "Signature algorithms that are taken.",
            ),
            types: t.or(
                "types",
                Filled(TYPE),
                vec!["at+jwt".to_owned(), "jwt".to_owned()],
                "The `typ` values that are taken, without `application/`; \"\" takes tokens without one.",
            ),
            keys: SigningSource::read(t),
            leeway: leeway(t),
            max_lifetime: t.or(
                "max_lifetime",
                Lasting(minutes(1)..=days(90)),
                hours(24),
                "The longest life of a token, from `iat` to `exp`. One that lives longer is refused: its revocation is remembered for as long as this and no longer.",
            ),
            cache_ttl: t.or(
                "cache_ttl",
                Lasting(seconds(0)..=hours(1)),
                minutes(5),
                "How long a checked token is remembered; never beyond its `exp`.",
            ),
            negative_ttl: t.or("negative_ttl", negative_ttl(), seconds(5), "How long a refused token is remembered."),
        }
    }
}

/// How far clocks may differ, for whoever checks JWTs.
pub(crate) fn leeway(t: &mut Table<'_>) -> At<Duration> {
    t.or("leeway", Lasting(seconds(0)..=seconds(60)), seconds(5), "How far clocks may differ.")
}

/// Where the keys are that a signer's JWTs are checked against.
#[derive(Debug)]
pub(crate) struct SigningSource {
    pub(crate) jwks_url: Option<At<Uri>>,
    pub(crate) key_files: Option<At<Vec<At<PathBuf>>>>,
    pub(crate) deadline: At<Duration>,
    pub(crate) refresh: At<Duration>,
    pub(crate) cooldown: At<Duration>,
    pub(crate) ca_file: Option<At<PathBuf>>,
}

impl SigningSource {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        t.exactly_one(&["jwks_url", "key_files"]);
        Self {
            jwks_url: t.optional("jwks_url", URL, "Where the keys are (RFC 7517)."),
            key_files: t.optional(
                "key_files",
                Filled(Placed(FILE)),
                "Instead of jwks_url: JWKS or PEM public key files, read at start.",
            ),
            deadline: t.or("deadline", deadline(), seconds(5), "For fetching the keys."),
            refresh: t.or(
                "refresh",
                Lasting(seconds(10)..=days(7)),
                minutes(15),
                "How old the keys may get before they are fetched again.",
            ),
            cooldown: t.or(
                "cooldown",
                Lasting(seconds(1)..=hours(1)),
                seconds(30),
                "Between two fetches caused by unknown key ids.",
            ),
            ca_file: t.optional("ca_file", FILE, "PEM file of the certificates to trust; the system's when left out."),
        }
    }
}
