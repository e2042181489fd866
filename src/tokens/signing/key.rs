//! One RSA key: made, kept, signed and verified with, published.
//!
//! Imports the primitives of aws-lc-rs (the `rsa` crate leaks timing, RUSTSEC-2023-0071). Its generator is the library's own:
//! the one place where randomness is not passed in, because a key cannot be made from bytes that somebody else drew.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

/// An RSA key of 2048 bits. `Debug` prints its name only.
pub(crate) struct SigningKey {
    id: Box<str>,
    pair: RsaKeyPair,
}

/// A public key as it is published (RFC 7517, RFC 7518 section 6.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PublicKey {
    kty: &'static str,
    #[serde(rename = "use")]
    purpose: &'static str,
    alg: &'static str,
    kid: Box<str>,
    n: String,
    e: String,
}

impl SigningKey {
    /// A new key; some 0.1 s of work. `None` if the primitive fails.
    pub(crate) fn generate() -> Option<Self> {
        RsaKeyPair::generate(KeySize::Rsa2048).ok().map(Self::named)
    }

    /// The key in this PKCS #8 document; `None` if there is none of 2048 bits or more.
    pub(crate) fn from_pkcs8(document: &[u8]) -> Option<Self> {
        RsaKeyPair::from_pkcs8(document).ok().map(Self::named)
    }

    /// As a PKCS #8 document, to be sealed.
    pub(crate) fn to_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let document: Pkcs8V1Der<'_> = self.pair.as_der().ok()?;
        Some(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Its name: its own thumbprint (RFC 7638), so that no two keys share one.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// RS256: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3).
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
        Some(signature)
    }

    /// Whether this key signed the message.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key());
        public.verify(message, signature).is_ok()
    }

    /// Its public half.
    pub(crate) fn public(&self) -> PublicKey {
        let (n, e) = components(&self.pair);
        PublicKey { kty: "RSA", purpose: "sig", alg: "RS256", kid: self.id.clone(), n, e }
    }

    fn named(pair: RsaKeyPair) -> Self {
        let (n, e) = components(&pair);
        // The required members in the order of their names and without spaces (RFC 7638 section 3).
        let document = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        let id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, document.as_bytes()));
        Self { id: id.into(), pair }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// Modulus and exponent, base64url.
fn components(pair: &RsaKeyPair) -> (String, String) {
    let components = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    (URL_SAFE_NO_PAD.encode(components.n), URL_SAFE_NO_PAD.encode(components.e))
}
