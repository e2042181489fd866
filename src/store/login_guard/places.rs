//! What the counters of a guard are called in the store that gateways share, and how a lock there says whose it is.
//!
//! Imports `store::valkey`'s names. Nobody is named there: accounts, clients and sources stand in it as MACs, and the source of a lock,
//! which an operator wants to see, under a pad that only gateways can make.

use std::net::IpAddr;

use crate::model::{CountedBy, SourceKey};
use crate::store::login_guard::GuardTerms;
use crate::store::login_guard::memory::{CounterName, GuardKey};
use crate::store::login_guard::table::Caller;
use crate::store::valkey::Names;

/// The bytes of a MAC.
const MAC: usize = 16;

/// What a lock says of itself: the MAC of its counter, the hash of its account or client (no counter is by both), its source
/// under a pad, and what kind it is of.
pub(super) const TAG: usize = MAC + 32 + MAC + 1;

/// The names of counters, and what the script is to know of each: two lists that belong together.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) keys: Vec<String>,
    pub(super) words: Vec<Vec<u8>>,
}

/// One counter in the store.
struct Place {
    key: String,
    tag: [u8; TAG],
}

impl GuardKey {
    /// The key that all gateways have which share a store, so that an account is called the same at each.
    #[must_use]
    pub fn shared(names: &Names) -> Self {
        let halves = [b"first", b"other"].map(|half: &[u8; 5]| names.hash([b"login-guard-key".as_slice(), half]));
        let mut key = [0; 32];
        key.iter_mut().zip(halves.as_flattened()).for_each(|(to, from)| *to = *from);
        Self(key)
    }
}

impl Places {
    /// Those that an attempt draws on.
    pub(super) fn of_attempt(names: &Names, terms: &GuardTerms, caller: Caller) -> Self {
        let mut places = Self::none(names, terms);
        let name = |account: bool, source: bool, acquainted| CounterName {
            account: account.then_some(caller.account),
            source: source.then_some(caller.source),
            client: None,
            acquainted,
        };
        for counted_by in terms.by.iter() {
            match counted_by {
                CountedBy::Account => {
                    let [all, known] =
                        [name(true, false, false), name(true, true, true)].map(|name| Place::new(names, terms, &name));
                    let sources = names.hash([b"sources".as_slice(), &caller.account]);
                    places.keys.extend([all.key, names.of("login", &terms.name, &sources, true), known.key]);
                    places.words.extend([b"account".to_vec(), all.tag.to_vec(), known.tag.to_vec()]);
                }
                CountedBy::AccountAndSource => places.add(names, terms, &name(true, true, false)),
                CountedBy::Source => places.add(names, terms, &name(false, true, false)),
                CountedBy::Client => {
                    places.add(names, terms, &CounterName { client: caller.client, ..name(false, false, false) });
                }
            }
        }
        places
    }

    /// Those counters.
    pub(super) fn of(names: &Names, terms: &GuardTerms, counters: &[CounterName]) -> Self {
        let mut places = Self::none(names, terms);
        for counter in counters {
            places.add(names, terms, counter);
        }
        places
    }

    /// The index of counters, and that of locks, which comes second.
    fn none(names: &Names, terms: &GuardTerms) -> Self {
        let index = |what: &str| names.of("login", &terms.name, &names.hash([b"index".as_slice(), what.as_bytes()]), true);
        Self { keys: vec![index("counters"), index("locks")], words: Vec::new() }
    }

    fn add(&mut self, names: &Names, terms: &GuardTerms, counter: &CounterName) {
        let place = Place::new(names, terms, counter);
        self.keys.push(place.key);
        self.words.extend([kind(counter).as_bytes().to_vec(), place.tag.to_vec()]);
    }

    /// The index of locks.
    pub(super) fn locks(&self) -> &str {
        self.keys.get(1).map_or("", String::as_str)
    }
}

fn kind(counter: &CounterName) -> &'static str {
    match (&counter.account, &counter.source, counter.acquainted) {
        (Some(_), Some(_), true) => "known",
        (Some(_), Some(_), false) => "both",
        (Some(_), None, _) => "account alone",
        (None, Some(_), _) => "source",
        (None, None, _) => "client",
    }
}

impl Place {
    fn new(names: &Names, terms: &GuardTerms, counter: &CounterName) -> Self {
        let address = counter.source.map(SourceKey::octets);
        let hash = counter.account.or(counter.client).unwrap_or_default();
        let kind = kind(counter);
        let mac = names.hash([kind.as_bytes(), &hash, address.as_ref().map_or(&[], <[u8; 16]>::as_slice)]);
        let key = names.of("login", &terms.name, &mac, true);
        let pad = pad(names, &mac);
        let hidden = address.unwrap_or_default();
        let mut tag = [0; TAG];
        let hidden = hidden.iter().zip(&pad).map(|(byte, pad)| byte ^ pad);
        let told = [counter.account.is_some(), address.is_some(), counter.acquainted, counter.client.is_some()];
        let flags = told.iter().rev().fold(0, |flags, is_so| flags << 1 | u8::from(*is_so));
        let bytes = mac.iter().chain(&hash).copied().chain(hidden).chain([flags]);
        tag.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Self { key, tag }
    }
}

fn pad(names: &Names, mac: &[u8; MAC]) -> [u8; MAC] {
    names.hash([b"pad".as_slice(), mac])
}

/// Which counter has this tag; `None` if it is none that a gateway made.
pub(super) fn named(names: &Names, tag: &[u8]) -> Option<CounterName> {
    let (mac, rest) = tag.split_first_chunk::<MAC>()?;
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    let (hidden, rest) = rest.split_first_chunk::<MAC>()?;
    let [flags] = *rest else { return None };
    let pad = pad(names, mac);
    let mut address = [0; MAC];
    address.iter_mut().zip(hidden.iter().zip(&pad)).for_each(|(to, (byte, pad))| *to = byte ^ pad);
    Some(CounterName {
        account: (flags & 1 != 0).then_some(*hash),
        source: (flags & 2 != 0).then(|| SourceKey::told(IpAddr::from(address).to_canonical())),
        client: (flags & 8 != 0).then_some(*hash),
        acquainted: flags & 4 != 0,
    })
}
