//! Where tokens, codes and names come from: each from fresh random bytes, none from a counter.
//!
//! Imports `model`. Deliberately absent: a source of randomness of its own; `Entropy` is passed in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::{Entropy, Secret};
use crate::store::cuts::Fingerprint;
use crate::tokens::keyring::fingerprint;
use crate::tokens::session::TokenFormat;

/// A token that was just made: its text for whoever asked, its fingerprint for the store.
#[derive(Clone, Debug)]
pub(crate) struct Minted {
    pub(crate) text: Secret,
    pub(crate) fingerprint: Fingerprint,
}

/// A new token.
pub(crate) fn token(format: TokenFormat, entropy: &dyn Entropy) -> Minted {
    let text = match format {
        TokenFormat::Uuid => uuid(entropy),
        TokenFormat::Opaque => URL_SAFE_NO_PAD.encode(bytes::<32>(entropy)),
    };
    Minted::of(Secret::new(text))
}

impl Minted {
    /// A token that was made elsewhere.
    pub(crate) fn of(text: Secret) -> Self {
        Self { fingerprint: fingerprint(text.expose()), text }
    }
}

/// A new random UUID (version 4, RFC 9562 section 5.4).
pub(crate) fn uuid(entropy: &dyn Entropy) -> String {
    uuid::Builder::from_random_bytes(bytes(entropy)).into_uuid().hyphenated().to_string()
}

/// A new client secret: 256 random bits, in characters that need no escaping anywhere.
pub(crate) fn client_secret(entropy: &dyn Entropy) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(bytes::<32>(entropy)))
}

/// A new one-time code: six digits, equally likely (the bias of the remainder is below 2^-44).
pub(crate) fn one_time_code(entropy: &dyn Entropy) -> Secret {
    Secret::new(format!("{:06}", u64::from_be_bytes(bytes(entropy)) % 1_000_000))
}

/// So many random bytes.
pub(crate) fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}
