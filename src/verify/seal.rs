//! The outside of a JWT (RFC 7519, RFC 8725): its header and its signature. What the claims must say is for its readers.
//!
//! Imports `model`, `plan` (algorithms, where keys are). The key comes from the issuer's own keys; whatever the header says of
//! keys but `kid` is not read. Deliberately absent: claims.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::{Clock, NonEmpty};
use crate::plan::{JwtAlgorithm, KeySource};
use crate::verify::answer::{Members, Unreadable};
use crate::verify::authority::Unavailable;
use crate::verify::jwks::KeyRing;
use crate::verify::keys;
use crate::verify::setup::SetupError;

/// What a signer's tokens look like, and the keys that prove them.
#[derive(Debug)]
pub(crate) struct Seal {
    algorithms: NonEmpty<JwtAlgorithm>,
    types: Box<[Box<str>]>,
    keys: KeyRing,
}

/// Why a token is refused: for the log of somebody who wonders, never for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

/// A token that has been read. Nothing in it is proven until [`Seal::holds`] says so.
#[derive(Debug)]
pub(crate) struct Opened<'t> {
    /// What it claims.
    pub(crate) claims: Members,
    message: &'t str,
    signature: &'t str,
    algorithm: JwtAlgorithm,
    key: Option<Box<str>>,
}

impl Seal {
    /// With keys that are known already.
    pub(crate) fn over(algorithms: NonEmpty<JwtAlgorithm>, types: Box<[Box<str>]>, keys: KeyRing) -> Self {
        Self { algorithms, types, keys }
    }

    /// With keys from this source: files are read now, a JWKS document is fetched when it is first needed.
    ///
    /// # Errors
    /// [`SetupError`] if a file cannot be used.
    pub(crate) fn new(
        algorithms: NonEmpty<JwtAlgorithm>,
        types: Box<[Box<str>]>,
        source: &KeySource,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        Ok(Self::over(algorithms, types, KeyRing::new(source, clock)?))
    }

    /// Reads a token and checks what its header says.
    ///
    /// # Errors
    /// [`Refused`] with `"alg"` for an algorithm that is not taken, and with other words for whatever else is wrong.
    pub(crate) fn open<'t>(&self, token: &'t str) -> Result<Opened<'t>, Refused> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refused("not three parts"))?;
        let (header, claims) = message.split_once('.').ok_or(Refused("not three parts"))?;
        let (algorithm, key) = self.header(&part(header)?)?;
        Ok(Opened { claims: part(claims)?, message, signature, algorithm, key })
    }

    fn header(&self, header: &Members) -> Result<(JwtAlgorithm, Option<Box<str>>), Refused> {
        // RFC 7515 section 4.1.11: what must be understood and is not makes the token invalid. Nothing is understood here.
        if header.value("crit").is_some() || header.value("b64").is_some() {
            return Err(Refused("crit"));
        }
        let algorithm = header.text("alg")?.and_then(keys::algorithm).ok_or(Refused("alg"))?;
        if !self.algorithms.contains(&algorithm) {
            return Err(Refused("alg"));
        }
        // RFC 8725 section 3.11, RFC 9068 section 4: a token of another type is none of ours, whoever signed it.
        let kind = header.text("typ")?.unwrap_or_default().to_ascii_lowercase();
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        if !self.types.iter().any(|taken| **taken == *kind) {
            return Err(Refused("typ"));
        }
        Ok((algorithm, header.text("kid")?.map(Box::from)))
    }

    /// Whether a key of the signer signed it. A token that names a key which is not known, or names none, may have been signed
    /// after the keys were fetched.
    ///
    /// # Errors
    /// [`Unavailable`] if the keys cannot be had.
    pub(crate) async fn holds(&self, token: &Opened<'_>) -> Result<bool, Unavailable> {
        let id = token.key.as_deref();
        let keys = self.keys.current().await?;
        if keys.verifies(id, token.algorithm, token.message, token.signature) {
            return Ok(true);
        }
        if id.is_some_and(|id| keys.names(id)) {
            return Ok(false);
        }
        let newer = self.keys.newer(&keys).await?;
        Ok(newer.is_some_and(|keys| keys.verifies(id, token.algorithm, token.message, token.signature)))
    }
}

/// A part of a token that is a JSON object.
pub(crate) fn part(text: &str) -> Result<Members, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refused("base64url"))?;
    Ok(Members::parse(&bytes)?)
}

impl From<Unreadable> for Refused {
    fn from(Unreadable(what): Unreadable) -> Self {
        Self(what)
    }
}
