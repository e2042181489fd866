//! The server key and everything computed with it: MACs of secrets and codes, and the sealing of a retried refresh.
//!
//! Imports `model`, `store` and the aws-lc-rs primitives. The key is 32 random bytes in a file beside the database, so that
//! a stolen database alone opens nothing. Tokens and authorization codes need no key: they are random enough to be kept
//! as plain SHA-256 (OWASP ASVS 6.5.2 draws that line at 112 bits).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::{aead, digest, hkdf, hmac};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::model::{Entropy, Secret};
use crate::store::cuts::Fingerprint;
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::identifier::Identifier;
use crate::tokens::store::{ChallengeId, ChallengeKind, Operation};

/// An HMAC-SHA256 under the server key. Compared in constant time; `Debug` prints nothing of it.
#[derive(Clone, Copy)]
pub struct Mac(pub [u8; 32]);

impl PartialEq for Mac {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Mac {}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(…)")
    }
}

/// The server key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The file cannot be read or made.
    #[error("the key file {path} cannot be used")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file does not hold exactly 32 bytes.
    #[error("the key file {0} does not hold exactly 32 bytes")]
    Length(PathBuf),
}

/// The server key.
pub struct Keyring {
    key: hmac::Key,
    /// What keys for sealing are derived from.
    sealing: hkdf::Prk,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// The SHA-256 of a token or code, under which it is kept.
#[must_use]
pub fn fingerprint(token: &str) -> Fingerprint {
    Fingerprint(thirty_two(digest::digest(&digest::SHA256, token.as_bytes()).as_ref()))
}

impl Keyring {
    const LENGTH: usize = 32;

    /// From 32 random bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let sealing = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis server key").extract(key);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), sealing }
    }

    /// Reads the key file or, at the first start, makes it: mode 0600, synced before it is used.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn open(path: &Path, entropy: &dyn Entropy) -> Result<Self, KeyFault> {
        let failed = |source| KeyFault::File { path: path.to_owned(), source };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => Self::make(file, path, entropy).map_err(failed),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let mut bytes = Zeroizing::new(Vec::new());
                let limit = Self::LENGTH as u64 + 1;
                File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
                let key = <&[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyFault::Length(path.to_owned()))?;
                Ok(Self::new(key))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn make(mut file: File, path: &Path, entropy: &dyn Entropy) -> std::io::Result<Self> {
        let mut key = Zeroizing::new([0; Self::LENGTH]);
        entropy.fill(key.as_mut_slice());
        file.write_all(key.as_slice())?;
        file.sync_all()?;
        // The name must survive a crash as well as the bytes, or the database would outlive its key.
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            File::open(directory)?.sync_all()?;
        }
        Ok(Self::new(&key))
    }

    /// What tells this key from another without telling anything about it.
    #[must_use]
    pub fn check(&self) -> Mac {
        self.mac("check", &[])
    }

    /// Of a client's secret. Bound to the client, so that equal secrets do not show.
    #[must_use]
    pub fn client_secret(&self, client: &str, secret: &Secret) -> Mac {
        self.mac("client", &[client.as_bytes(), secret.expose().as_bytes()])
    }

    /// Of a one-time code. Bound to its challenge: six digits alone could be looked up in a table.
    #[must_use]
    pub fn one_time_code(&self, challenge: ChallengeId, code: &str) -> Mac {
        self.mac("one-time-code", &[&challenge.0, code.as_bytes()])
    }

    /// The name of a challenge that is asked for under a reference: the same for the same question.
    #[must_use]
    pub fn challenge(&self, token: Fingerprint, kind: ChallengeKind, channel: Channel, reference: &str) -> ChallengeId {
        let parts = [&token.0[..], kind.name().as_bytes(), channel.name().as_bytes(), reference.as_bytes()];
        let [name @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = self.mac("challenge", &parts).0;
        ChallengeId(name)
    }

    /// Of a place to which codes are sent.
    #[must_use]
    pub fn destination(&self, identifier: Identifier<'_>) -> Mac {
        self.mac("destination", &[identifier.distinct_text().as_bytes()])
    }

    /// Of an API key. It is random enough to be looked up by its MAC.
    #[must_use]
    pub fn api_key(&self, key: &Secret) -> Mac {
        self.mac("api-key", &[key.expose().as_bytes()])
    }

    /// Of a channel of an account, to which codes and pushes are sent.
    #[must_use]
    pub fn channel(&self, account: AccountId, channel: Channel) -> Mac {
        self.mac("channel", &[&account.0.to_be_bytes(), channel.name().as_bytes()])
    }

    /// Of an account, whatever it is called by: its attempts are counted under this.
    #[must_use]
    pub fn attempts_of_account(&self, account: AccountId) -> Mac {
        self.mac("attempts-of-account", &[&account.0.to_be_bytes()])
    }

    /// Of whose attempts are counted: an account, whatever it is called by, else the identifier itself.
    #[must_use]
    pub fn attempts_of(&self, account: Option<AccountId>, identifier: Identifier<'_>) -> Mac {
        match account {
            Some(account) => self.attempts_of_account(account),
            None => self.mac("attempts-of-nobody", &[identifier.distinct_text().as_bytes()]),
        }
    }

    /// Of a token that leads to nobody, as a caller whose attempts are counted.
    #[must_use]
    pub fn attempts_with(&self, token: Fingerprint) -> Mac {
        self.mac("attempts-with-token", &[&token.0])
    }

    /// Of a caller: what is tried, by whom if that matters, and from where if that does.
    #[must_use]
    pub fn caller(&self, operation: Operation, subject: Option<Mac>, source: Option<&str>) -> Mac {
        let subject = subject.map(|subject| subject.0);
        let subject = subject.as_ref().map_or(&[][..], |subject| subject.as_slice());
        self.mac("caller", &[operation.name().as_bytes(), subject, source.unwrap_or_default().as_bytes()])
    }

    /// Seals a signing key, bound to its name. `None` if the primitive fails.
    #[must_use]
    pub fn seal_signing_key(&self, kid: &str, document: &[u8], entropy: &dyn Entropy) -> Option<Box<[u8]>> {
        seal_with(&self.signing_key_sealer()?, kid, document, entropy)
    }

    /// Opens what [`Keyring::seal_signing_key`] made; `None` if it was made under another name or key.
    #[must_use]
    pub fn unseal_signing_key(&self, kid: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        unseal_with(&self.signing_key_sealer()?, kid, sealed)
    }

    fn signing_key_sealer(&self) -> Option<aead::LessSafeKey> {
        derived(&self.sealing, b"signing key")
    }

    /// Each part with its length before it, so that no two lists of parts are the same bytes.
    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Mac {
        let mut context = hmac::Context::with_key(&self.key);
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Mac(thirty_two(context.sign().as_ref()))
    }
}

/// Seals `text` so that only who holds `token` can open it, and nothing at rest can. `None` if the primitive fails.
#[must_use]
pub fn seal(token: &Secret, text: &str, entropy: &dyn Entropy) -> Option<Box<[u8]>> {
    seal_with(&successor_sealer(token)?, "", text.as_bytes(), entropy)
}

/// Opens what [`seal`] made; `None` if the token is another or a byte was changed.
#[must_use]
pub fn unseal(token: &Secret, sealed: &[u8]) -> Option<Secret> {
    let text = unseal_with(&successor_sealer(token)?, "", sealed)?;
    std::str::from_utf8(&text).ok().map(|text| Secret::new(text.to_owned()))
}

fn successor_sealer(token: &Secret) -> Option<aead::LessSafeKey> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis refresh successor");
    derived(&salt.extract(token.expose().as_bytes()), b"")
}

fn derived(root: &hkdf::Prk, purpose: &[u8]) -> Option<aead::LessSafeKey> {
    let key = root.expand(&[purpose], &aead::AES_256_GCM).map(aead::UnboundKey::from).ok()?;
    Some(aead::LessSafeKey::new(key))
}

/// AES-256-GCM; a fresh nonce goes before what is sealed. `about` is not kept, but must be the same again.
fn seal_with(key: &aead::LessSafeKey, about: &str, content: &[u8], entropy: &dyn Entropy) -> Option<Box<[u8]>> {
    let mut nonce = [0; aead::NONCE_LEN];
    entropy.fill(&mut nonce);
    let mut sealed = content.to_vec();
    let about = aead::Aad::from(about.as_bytes());
    key.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), about, &mut sealed).ok()?;
    Some([nonce.as_slice(), &sealed].concat().into())
}

fn unseal_with(key: &aead::LessSafeKey, about: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk::<{ aead::NONCE_LEN }>()?;
    let mut rest = Zeroizing::new(rest.to_vec());
    let about = aead::Aad::from(about.as_bytes());
    let length = key.open_in_place(aead::Nonce::assume_unique_for_key(*nonce), about, &mut rest).ok()?.len();
    rest.truncate(length);
    Some(rest)
}

fn thirty_two(bytes: &[u8]) -> [u8; 32] {
    let mut all = [0; 32];
    for (to, from) in all.iter_mut().zip(bytes) {
        *to = *from;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::identifier::{EmailAddress, PhoneNumber};

    #[derive(Debug)]
    struct Nines;

    impl Entropy for Nines {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(9);
        }
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_fingerprint_is_the_sha_256_of_the_token() {
        // FIPS 180-4, example for "abc".
        let expected = [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23];
        assert_eq!(fingerprint("abc").0[..16], expected);
    }

    #[test]
    fn a_mac_depends_on_the_key_the_purpose_and_where_its_parts_end() {
        let keyring = Keyring::new(&[1; 32]);
        let known = keyring.client_secret("ab", &secret("c"));
        assert_eq!(known, keyring.client_secret("ab", &secret("c")));
        assert_ne!(known, keyring.client_secret("a", &secret("bc")));
        assert_ne!(known, Keyring::new(&[2; 32]).client_secret("ab", &secret("c")));
        assert_ne!(keyring.one_time_code(ChallengeId([1; 16]), "1"), keyring.one_time_code(ChallengeId([2; 16]), "1"));
    }

    #[test]
    fn an_account_is_counted_by_its_number_whatever_it_is_called_by() {
        let keyring = Keyring::new(&[1; 32]);
        let (phone, email) = (PhoneNumber::parse("+40711111298").unwrap(), EmailAddress::parse("a@b.c").unwrap());
        let (phone, email) = (Identifier::Phone(&phone), Identifier::Email(&email));
        let account = Some(AccountId(7));
        assert_eq!(keyring.attempts_of(account, phone), keyring.attempts_of(account, email));
        assert_ne!(keyring.attempts_of(None, phone), keyring.attempts_of(None, email));
        assert_ne!(keyring.attempts_of(account, phone), keyring.attempts_of(Some(AccountId(8)), phone));
    }

    #[test]
    fn only_the_holder_of_the_token_opens_what_was_sealed_for_it() {
        let mut sealed = seal(&secret("token"), "next pair", &Nines).unwrap();
        assert_eq!(unseal(&secret("token"), &sealed), Some(secret("next pair")));
        assert_eq!(unseal(&secret("other"), &sealed), None);
        assert_eq!(unseal(&secret("token"), &sealed[..11]), None);
        *sealed.last_mut().unwrap() ^= 1;
        assert_eq!(unseal(&secret("token"), &sealed), None);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let keyring = Keyring::new(&[1; 32]);
        assert_eq!(format!("{keyring:?} {:?}", keyring.check()), "Keyring(…) Mac(…)");
    }
}
