//! What things are called in the shared store.
//!
//! Imports `model` and the primitives of aws-lc-rs. Nobody's address, name or subject can be read there: what names somebody is
//! a MAC under a key that only gateways have. What one script touches stands in one slot of a Cluster, which the braces see to.

use std::fmt;

use aws_lc_rs::hmac;

use crate::model::Secret;

/// Bytes of a MAC that are kept: too many to meet another by chance.
const KEPT: usize = 16;

/// Makes names.
#[derive(Clone)]
pub struct Names {
    prefix: Box<str>,
    key: hmac::Key,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Names {
    pub(super) fn new(prefix: &str, secret: &Secret) -> Self {
        Self { prefix: prefix.into(), key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()) }
    }

    /// The MAC of parts that name somebody; parts do not run into each other.
    #[must_use]
    pub fn hash<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; KEPT] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut kept = [0; KEPT];
        kept.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        kept
    }

    /// A key of the whole deployment: `prefix:what`.
    #[must_use]
    pub fn common(&self, what: &str) -> String {
        format!("{}:{what}", self.prefix)
    }

    /// A key of somebody: `prefix:{what:name}:hash`, in a slot by itself unless `together` puts all of `what:name` into one,
    /// which a script needs that touches several of them.
    #[must_use]
    pub fn of(&self, what: &str, name: &str, hash: &[u8], together: bool) -> String {
        let mut hex = String::with_capacity(hash.len() * 2);
        for byte in hash {
            hex.extend([byte >> 4, byte & 15].into_iter().filter_map(|digit| char::from_digit(digit.into(), 16)));
        }
        if together {
            format!("{}:{{{what}:{name}}}:{hex}", self.prefix)
        } else {
            format!("{}:{what}:{name}:{{{hex}}}", self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(secret: &str) -> Names {
        Names::new("gate", &Secret::new(secret.to_owned()))
    }

    #[test]
    fn who_is_named_cannot_be_read_and_parts_do_not_run_together() {
        let names_one = names("a key of thirty-two bytes or more");
        let hash = |names: &Names, parts: &[&str]| names.hash(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(hash(&names_one, &["ab", "c"]), hash(&names_one, &["ab", "c"]));
        assert_ne!(hash(&names_one, &["ab", "c"]), hash(&names_one, &["a", "bc"]));
        assert_ne!(hash(&names_one, &["ab", "c"]), hash(&names("another key"), &["ab", "c"]));
    }

    #[test]
    fn keys_begin_with_the_prefix_and_say_which_slot_they_are_in() {
        let names = names("a key");
        assert_eq!(names.common("cuts"), "gate:cuts");
        assert_eq!(names.of("limit", "each", &[0x0a, 0xff], false), "gate:limit:each:{0aff}");
        assert_eq!(names.of("login", "each", &[0x0a, 0xff], true), "gate:{login:each}:0aff");
    }
}
