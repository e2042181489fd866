//! Tokens that carry their own proof: JWTs (RFC 7519) signed with RS256, and the keys that sign them.
//!
//! Imports `model`, the keyring and the store's row. A signature alone never makes a token good: whoever asks here goes on to
//! ask the store whether its session lives. Deliberately absent: tokens that anybody else signed.

mod key;
mod schedule;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::model::{Entropy, Secret, Timestamp};
use crate::tokens::account::AccountId;
use crate::tokens::keyring::Keyring;
use crate::tokens::mint;
use crate::tokens::signing::schedule::Schedule;
use crate::tokens::store::SigningKeyRow;

pub use key::PublicKey;
pub(crate) use key::SigningKey;
pub use schedule::KeyState;

/// What signed tokens say of whom they are from and for, and how long keys wait and stay.
#[derive(Clone, Debug)]
pub struct SigningSettings {
    /// Who issues them (`iss`): the public base address.
    pub issuer: Box<str>,
    /// For whom they are (`aud`).
    pub audience: Box<str>,
    /// Their type (`typ`): `JWT`, or `at+jwt` (RFC 9068).
    pub token_type: &'static str,
    /// How long others may remember the published keys; a new key signs only after that.
    pub published_for: Duration,
    /// The longest life of a token; so long a key is kept after its last signature.
    pub longest_life: Duration,
}

/// The keys, and what is signed with them.
#[derive(Debug)]
pub(crate) struct Signing {
    settings: SigningSettings,
    schedule: Schedule,
    /// In the order in which they begin to sign; never empty once the service has started.
    keys: RwLock<Arc<[HeldKey]>>,
}

/// A key with its times.
#[derive(Clone, Debug)]
pub(crate) struct HeldKey {
    pub(crate) key: Arc<SigningKey>,
    pub(crate) created: Timestamp,
    pub(crate) signs_from: Timestamp,
}

/// What a token is to say of its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) account: AccountId,
    pub(crate) sid: &'a str,
    pub(crate) acr: &'a str,
    pub(crate) amr: &'a str,
    pub(crate) auth_time: Timestamp,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
}

/// What a token of ours says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Signed {
    pub(crate) token_id: Box<str>,
    pub(crate) sid: Box<str>,
    pub(crate) audience: Box<str>,
    pub(crate) expires: Timestamp,
}

/// A key in the database cannot be opened with the server key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the signing key {0} cannot be opened")]
pub struct SealedKeyFault(Box<str>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
}

/// In the order in which the contract shows them; what it does not show comes after.
#[derive(Serialize)]
struct Claims<'a> {
    sub: String,
    iat: i64,
    exp: i64,
    iss: &'a str,
    aud: &'a str,
    jti: String,
    sid: &'a str,
    auth_time: i64,
    acr: &'a str,
    amr: Vec<&'a str>,
}

/// Of the claims what is looked at again. Nobody but us could have written them.
#[derive(Deserialize)]
struct OwnClaims {
    iss: Box<str>,
    aud: Box<str>,
    exp: i64,
    jti: Box<str>,
    sid: Box<str>,
}

impl Signing {
    pub(crate) fn new(settings: SigningSettings) -> Self {
        let schedule = Schedule { published_for: settings.published_for, longest_life: settings.longest_life };
        Self { settings, schedule, keys: RwLock::new(Arc::new([])) }
    }

    pub(crate) fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Takes over the keys as they are in the database. Those that are known already are not opened again.
    ///
    /// # Errors
    /// [`SealedKeyFault`]; nothing is taken over then.
    pub(crate) fn adopt(&self, rows: Vec<SigningKeyRow>, keyring: &Keyring) -> Result<(), SealedKeyFault> {
        let known = self.held();
        let hold = |row: SigningKeyRow| {
            let same = known.iter().find(|held| *held.key.id() == *row.kid).map(|held| Arc::clone(&held.key));
            let opened = || Some(Arc::new(SigningKey::from_pkcs8(&keyring.unseal_signing_key(&row.kid, &row.sealed)?)?));
            let key = same.or_else(opened).ok_or_else(|| SealedKeyFault(row.kid.clone()))?;
            Ok(HeldKey { key, created: row.created, signs_from: row.signs_from })
        };
        let mut keys: Vec<HeldKey> = rows.into_iter().map(hold).collect::<Result<_, _>>()?;
        keys.sort_by_key(|held| (held.signs_from, held.created));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(())
    }

    /// Every key, with what it is at `now`; `None` for one that can be forgotten.
    pub(crate) fn keys(&self, now: Timestamp) -> Vec<(HeldKey, Option<KeyState>)> {
        let keys = self.held();
        let signs_from: Vec<_> = keys.iter().map(|held| held.signs_from).collect();
        keys.iter().cloned().zip(self.schedule.states(&signs_from, now)).collect()
    }

    /// Signs a token with the key that is active when it is issued. `None` if there is no key, or the primitive fails.
    pub(crate) fn sign(&self, what: &Statement<'_>, entropy: &dyn Entropy) -> Option<Secret> {
        let active = self.keys(what.issued).into_iter().find(|(_, state)| *state == Some(KeyState::Active))?.0.key;
        let header = Header { typ: self.settings.token_type, alg: ALGORITHM, kid: active.id() };
        let claims = Claims {
            sub: what.account.to_string(),
            iat: what.issued.as_secs(),
            exp: what.expires.as_secs(),
            iss: &self.settings.issuer,
            aud: &self.settings.audience,
            jti: mint::uuid(entropy),
            sid: what.sid,
            auth_time: what.auth_time.as_secs(),
            acr: what.acr,
            amr: what.amr.split_whitespace().collect(),
        };
        let (header, claims) = (serde_json::to_vec(&header).ok()?, serde_json::to_vec(&claims).ok()?);
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = active.sign(message.as_bytes())?;
        Some(Secret::new(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }

    /// What a token says of itself, if one of our keys signed it and its time is not over. The key is looked up among ours by
    /// its name and used with our one algorithm, whatever the header says (RFC 8725 section 3.1).
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Option<Signed> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        let header: Header<'_> = serde_json::from_slice(&header).ok()?;
        if header.alg != ALGORITHM || !TYPES.contains(&header.typ) {
            return None;
        }
        let (key, _) = self.keys(now).into_iter().find(|(held, state)| held.key.id() == header.kid && state.is_some())?;
        if !key.key.signed(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?) {
            return None;
        }
        let claims: OwnClaims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let expires = Timestamp::from_secs(claims.exp);
        let meant = self.is_meant(&claims, now);
        meant.then_some(Signed { token_id: claims.jti, sid: claims.sid, audience: claims.aud, expires })
    }

    /// Whether a token says that it is one of ours and still good, but was signed by a key that is not among ours. Anybody can
    /// write such a token: it is a reason to look for new keys, and nothing else.
    pub(crate) fn names_unknown_key(&self, token: &str, now: Timestamp) -> bool {
        let mut parts = token.split('.');
        let mut part = || URL_SAFE_NO_PAD.decode(parts.next()?).ok();
        let (Some(header), Some(claims)) = (part(), part()) else { return false };
        let header = serde_json::from_slice::<Header<'_>>(&header);
        let claims = serde_json::from_slice::<OwnClaims>(&claims);
        let (Ok(header), Ok(claims)) = (header, claims) else { return false };
        let ours = header.alg == ALGORITHM && TYPES.contains(&header.typ) && self.is_meant(&claims, now);
        ours && !self.held().iter().any(|held| held.key.id() == header.kid)
    }

    fn is_meant(&self, claims: &OwnClaims, now: Timestamp) -> bool {
        claims.iss == self.settings.issuer && claims.aud == self.settings.audience && now < Timestamp::from_secs(claims.exp)
    }

    fn held(&self) -> Arc<[HeldKey]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256, as the contract has it.
const ALGORITHM: &str = "RS256";

/// The types of the tokens that our keys sign. Nothing but access tokens is ever signed, so none of them passes for another.
pub(crate) const TYPES: [&str; 2] = ["JWT", "at+jwt"];

#[cfg(test)]
pub(crate) mod tests;
