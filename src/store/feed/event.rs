//! A cut on its way to other gateways: what it says, and sealed so that the store does not learn it.
//!
//! Imports `model`, the cuts and the primitives of aws-lc-rs. Subjects, sessions and clients must be told by name, since
//! that is how they are cut; the store knows nobody's name. So an event is AES-256-GCM under a key that only gateways have,
//! which also shows that a gateway wrote it, and into this stream. Nonces are random: one key is good for 2^32 events (NIST SP
//! 800-38D section 8.3), which is a thousand a second for seven weeks; a new `secret` is a new key.

use std::fmt;

use aws_lc_rs::{aead, hkdf};
use serde::{Deserialize, Serialize};

use crate::model::{Entropy, Secret, Timestamp};
use crate::store::cuts::{Fingerprint, Reach};

/// Bytes of a nonce, which stands before what is sealed.
const NONCE: usize = aead::NONCE_LEN;

/// Which process wrote an event; random at each start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Node(pub(super) u64);

/// A cut as it is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    /// By whom.
    pub(super) node: Node,
    /// The issuer's name: its number differs from gateway to gateway.
    pub(super) issuer: Box<str>,
    /// What is cut of it.
    pub(super) reach: Reached,
    /// When, in milliseconds since the Unix epoch by the clock of who cut it.
    pub(super) at: i64,
}

/// What is cut, as it is written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reached {
    /// By its fingerprint.
    Token([u8; 32]),
    Session(Box<str>),
    Subject(Box<str>),
    Client(Box<str>),
    /// Whatever was issued until then.
    All,
}

impl From<Option<Reach>> for Reached {
    fn from(reach: Option<Reach>) -> Self {
        match reach {
            Some(Reach::Token(Fingerprint(bytes))) => Self::Token(bytes),
            Some(Reach::Session(name)) => Self::Session(name),
            Some(Reach::Subject(name)) => Self::Subject(name),
            Some(Reach::Client(name)) => Self::Client(name),
            None => Self::All,
        }
    }
}

impl From<Reached> for Option<Reach> {
    fn from(reached: Reached) -> Self {
        match reached {
            Reached::Token(bytes) => Some(Reach::Token(Fingerprint(bytes))),
            Reached::Session(name) => Some(Reach::Session(name)),
            Reached::Subject(name) => Some(Reach::Subject(name)),
            Reached::Client(name) => Some(Reach::Client(name)),
            Reached::All => None,
        }
    }
}

impl Event {
    /// When the cut was made.
    pub(super) fn made(&self) -> Timestamp {
        Timestamp::from_millis(self.at)
    }
}

/// An event cannot be opened: another secret wrote it, or nobody who has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the event cannot be opened")]
pub(super) struct Unopened;

/// Seals and opens events.
pub(super) struct Seal {
    key: aead::LessSafeKey,
    /// What an event is bound to: the stream that it stands in.
    place: Box<[u8]>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// For the stream of this name. `None` never happens: the lengths are those of the algorithms.
    pub(super) fn new(secret: &Secret, stream: &str) -> Option<Self> {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis shared store").extract(secret.expose().as_bytes());
        let key = aead::UnboundKey::from(root.expand(&[b"cuts 1"], &aead::AES_256_GCM).ok()?);
        Some(Self { key: aead::LessSafeKey::new(key), place: stream.as_bytes().into() })
    }

    /// `None` never happens: events are far smaller than what can be sealed.
    pub(super) fn seal(&self, event: &Event, entropy: &dyn Entropy) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce);
        let mut text = serde_json::to_vec(event).ok()?;
        let bound = aead::Aad::from(&*self.place);
        self.key.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), bound, &mut text).ok()?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut text);
        Some(sealed)
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Result<Event, Unopened> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE>().ok_or(Unopened)?;
        let mut text = text.to_vec();
        let bound = aead::Aad::from(&*self.place);
        let opened = self.key.open_in_place(aead::Nonce::assume_unique_for_key(*nonce), bound, &mut text);
        serde_json::from_slice(opened.map_err(|_| Unopened)?).map_err(|_| Unopened)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Always(u8);

    impl Entropy for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn seal(secret: &str, stream: &str) -> Seal {
        Seal::new(&Secret::new(secret.to_owned()), stream).unwrap()
    }

    fn event(reach: Option<Reach>) -> Event {
        Event { node: Node(u64::MAX), issuer: "main".into(), reach: reach.into(), at: 1_700_000_000_123 }
    }

    fn reaches() -> impl Strategy<Value = Option<Reach>> {
        let name = || ".{1,40}".prop_map(String::into_boxed_str);
        prop_oneof![
            any::<[u8; 32]>().prop_map(|bytes| Some(Reach::Token(Fingerprint(bytes)))),
            name().prop_map(|name| Some(Reach::Session(name))),
            name().prop_map(|name| Some(Reach::Subject(name))),
            name().prop_map(|name| Some(Reach::Client(name))),
            Just(None),
        ]
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_to_the_same(reach in reaches(), at in any::<i64>(), node in any::<u64>()) {
            let told = Event { node: Node(node), at, ..event(reach.clone()) };
            let sealed = seal("secret", "gate:cuts").seal(&told, &Always(7)).unwrap();
            let opened = seal("secret", "gate:cuts").open(&sealed).unwrap();
            prop_assert_eq!(&opened, &told);
            prop_assert_eq!(Option::<Reach>::from(opened.reach), reach);
        }

        #[test]
        fn what_was_changed_anywhere_does_not_open(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut sealed = seal("secret", "gate:cuts").seal(&event(None), &Always(7)).unwrap();
            let place = place.index(sealed.len());
            sealed[place] ^= 1 << bit;
            prop_assert_eq!(seal("secret", "gate:cuts").open(&sealed), Err(Unopened));
        }
    }

    #[test]
    fn nothing_of_an_event_can_be_read_and_only_its_gateways_open_it() {
        let sealed =
            seal("secret", "gate:cuts").seal(&event(Some(Reach::Subject("ada@example.org".into()))), &Always(7)).unwrap();
        assert!(!sealed.windows(3).any(|three| three == b"ada"));
        assert_eq!(seal("another", "gate:cuts").open(&sealed), Err(Unopened));
        assert_eq!(seal("secret", "other:cuts").open(&sealed), Err(Unopened), "it stands in another stream");
        assert_eq!(seal("secret", "gate:cuts").open(&[]), Err(Unopened));
    }

    #[test]
    fn one_event_is_sealed_differently_each_time() {
        let seal = seal("secret", "gate:cuts");
        assert_ne!(seal.seal(&event(None), &Always(7)), seal.seal(&event(None), &Always(8)));
    }
}
