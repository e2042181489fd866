//! Public keys that signatures are checked with: from JWKS documents (RFC 7517) and from PEM.
//!
//! Imports `plan` (algorithms). A key that must not be used is left out when the set is read: symmetric and private ones, those
//! for encryption, unknown curves, RSA below 2048 bits. So nothing in a token can bring one back.
//! Deliberately absent: where keys come from, and everything that a token's header says of keys (`jku`, `x5u`, `jwk`, `x5c`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{SubjectPublicKeyInfoDer, alg_id};
use serde_json::Value;

use crate::plan::JwtAlgorithm;
use crate::verify::answer::{Members, Unreadable};

/// Keys of one issuer; never empty.
#[derive(Debug)]
pub(crate) struct KeySet(Box<[Key]>);

#[derive(Debug)]
struct Key {
    /// Its `kid`. A key without one is tried for every token that its kind fits.
    id: Option<Box<str>>,
    kind: Kind,
    /// The only algorithm that it may be used with, if it says so.
    only: Option<JwtAlgorithm>,
    public: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeySet {
    /// The most keys of a set that are kept.
    const MOST: usize = 64;
    /// The most keys that are tried for one token.
    const TRIED: usize = 8;

    /// The usable keys of a JWKS document. A key that is not usable spoils only itself.
    pub(crate) fn from_jwks(document: &[u8]) -> Result<Self, Unreadable> {
        let members = Members::parse(document)?;
        let keys = members.value("keys").and_then(Value::as_array).ok_or(Unreadable("keys"))?;
        Self::of(keys.iter().filter_map(Key::from_jwk).take(Self::MOST).collect())
    }

    /// The public keys (`BEGIN PUBLIC KEY`) in a PEM text.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self, Unreadable> {
        let keys = SubjectPublicKeyInfoDer::pem_slice_iter(text);
        let keys = keys.map(|key| key.ok().and_then(|key| Key::from_info(&key)).ok_or(Unreadable("a key in the PEM text")));
        Self::of(keys.collect::<Result<_, _>>()?)
    }

    /// The keys of several sets in one.
    pub(crate) fn joined(sets: Vec<Self>) -> Self {
        Self(sets.into_iter().flat_map(|set| set.0).collect())
    }

    fn of(keys: Vec<Key>) -> Result<Self, Unreadable> {
        if keys.is_empty() { Err(Unreadable("no usable key")) } else { Ok(Self(keys.into())) }
    }

    /// Whether a key of this name is in the set.
    pub(crate) fn names(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Whether `signature` (base64url) was made over `message` with a key of this set that may be used so.
    pub(crate) fn verifies(&self, id: Option<&str>, algorithm: JwtAlgorithm, message: &str, signature: &str) -> bool {
        let fits = |key: &&Key| key.fits(id, algorithm);
        let verifies = |key: &Key| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.public, scheme(algorithm)).unwrap_or(false)
        };
        self.0.iter().filter(fits).take(Self::TRIED).any(verifies)
    }
}

impl Key {
    fn fits(&self, id: Option<&str>, algorithm: JwtAlgorithm) -> bool {
        let named = self.id.is_none() || id.is_none() || self.id.as_deref() == id;
        named && self.kind == kind(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let operations =
            jwk.get("key_ops").map(|operations| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify")));
        if jwk.get("use").is_some_and(|usage| usage != "sig") || operations == Some(false) || jwk.get("d").is_some() {
            return None;
        }
        let (kind, public) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Kind::Rsa, rsa(&bytes("n")?, &bytes("e")?)?),
            ("EC", Some("P-256")) => (Kind::P256, DecodingKey::from_ec_der(&point(&bytes("x")?, &bytes("y")?, 32)?)),
            ("EC", Some("P-384")) => (Kind::P384, DecodingKey::from_ec_der(&point(&bytes("x")?, &bytes("y")?, 48)?)),
            ("OKP", Some("Ed25519")) => (Kind::Ed25519, ed25519(&bytes("x")?)?),
            _ => return None,
        };
        let only = match jwk.get("alg") {
            None => None,
            Some(name) => Some(algorithm(name.as_str()?)?),
        };
        let id = match jwk.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.into()),
        };
        Some(Self { id, kind, only, public })
    }

    /// From a `SubjectPublicKeyInfo` (RFC 5280 section 4.1): an algorithm and a bit string.
    fn from_info(info: &[u8]) -> Option<Self> {
        let (body, rest) = element(SEQUENCE, info)?;
        let (algorithm, body) = element(SEQUENCE, body)?;
        let (bits, end) = element(BIT_STRING, body)?;
        let [0, bits @ ..] = bits else { return None };
        if !rest.is_empty() || !end.is_empty() {
            return None;
        }
        let (kind, public) = if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
            let (numbers, _) = element(SEQUENCE, bits)?;
            let (modulus, numbers) = element(INTEGER, numbers)?;
            let (exponent, _) = element(INTEGER, numbers)?;
            (Kind::Rsa, rsa(modulus, exponent)?)
        } else if algorithm == alg_id::ECDSA_P256.as_ref() {
            (Kind::P256, uncompressed(bits, 32)?)
        } else if algorithm == alg_id::ECDSA_P384.as_ref() {
            (Kind::P384, uncompressed(bits, 48)?)
        } else if algorithm == alg_id::ED25519.as_ref() {
            (Kind::Ed25519, ed25519(bits)?)
        } else {
            return None;
        };
        Some(Self { id: None, kind, only: None, public })
    }
}

/// An RSA key of 2048 to 8192 bits.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<DecodingKey> {
    let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    let odd = exponent.last().is_some_and(|last| last % 2 == 1);
    let large = exponent.len() <= 8 && exponent != [1];
    ((2048..=8192).contains(&bits) && odd && large).then(|| DecodingKey::from_rsa_raw_components(modulus, exponent))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    number.iter().position(|byte| *byte != 0).and_then(|start| number.get(start..)).unwrap_or_default()
}

fn ed25519(public: &[u8]) -> Option<DecodingKey> {
    (public.len() == 32).then(|| DecodingKey::from_ed_der(public))
}

/// The uncompressed form of a point (SEC 1 section 2.3.3); coordinates have their full length (RFC 7518 section 6.2.1.2).
fn point(x: &[u8], y: &[u8], len: usize) -> Option<Vec<u8>> {
    (x.len() == len && y.len() == len).then(|| [&[4], x, y].concat())
}

fn uncompressed(point: &[u8], len: usize) -> Option<DecodingKey> {
    (point.len() == 1 + 2 * len && point.first() == Some(&4)).then(|| DecodingKey::from_ec_der(point))
}

/// The contents of the DER element with this tag at the start of `bytes`, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (len, rest) = rest.split_first()?;
    let (len, rest) = match usize::from(*len) {
        short @ 0..=127 => (short, rest),
        form @ (129 | 130) => {
            let (len, rest) = rest.split_at_checked(form - 128)?;
            (len.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if *first == tag { rest.split_at_checked(len) } else { None }
}

/// A token's `alg`; `None` for whatever must not be used.
pub(crate) fn algorithm(name: &str) -> Option<JwtAlgorithm> {
    Some(match name {
        "RS256" => JwtAlgorithm::Rs256,
        "RS384" => JwtAlgorithm::Rs384,
        "RS512" => JwtAlgorithm::Rs512,
        "PS256" => JwtAlgorithm::Ps256,
        "PS384" => JwtAlgorithm::Ps384,
        "PS512" => JwtAlgorithm::Ps512,
        "ES256" => JwtAlgorithm::Es256,
        "ES384" => JwtAlgorithm::Es384,
        // RFC 9864 section 2.2 has the second name; with Ed25519 keys, which are the only ones here, they are the same.
        "EdDSA" | "Ed25519" => JwtAlgorithm::EdDsa,
        _ => return None,
    })
}

fn kind(algorithm: JwtAlgorithm) -> Kind {
    match algorithm {
        JwtAlgorithm::Rs256
        | JwtAlgorithm::Rs384
        | JwtAlgorithm::Rs512
        | JwtAlgorithm::Ps256
        | JwtAlgorithm::Ps384
        | JwtAlgorithm::Ps512 => Kind::Rsa,
        JwtAlgorithm::Es256 => Kind::P256,
        JwtAlgorithm::Es384 => Kind::P384,
        JwtAlgorithm::EdDsa => Kind::Ed25519,
    }
}

fn scheme(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

#[cfg(test)]
mod tests;
