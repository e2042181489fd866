//! Scopes (RFC 6749 section 3.3).

use std::fmt;

/// One scope token: one or more of the visible ASCII characters except `"` and `\`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope(Box<str>);

/// The text is not a scope token of RFC 6749 section 3.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a scope is one word of visible ASCII characters other than `\"` and `\\`")]
pub struct InvalidScope;

impl Scope {
    /// Checks the text against the grammar.
    ///
    /// # Errors
    /// [`InvalidScope`] if it is empty or holds a character outside the grammar.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let allowed = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(InvalidScope);
        }
        Ok(Self(text.into()))
    }

    /// The token's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A set of scopes, kept sorted and without repetition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScopeSet(Box<[Scope]>);

impl ScopeSet {
    /// From single scopes, in any order.
    #[must_use]
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut all: Vec<Scope> = scopes.into_iter().collect();
        all.sort();
        all.dedup();
        Self(all.into())
    }

    /// From the space-separated form of a `scope` member or parameter.
    ///
    /// # Errors
    /// [`InvalidScope`] if a word of it is not a scope.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let words = text.split(' ').filter(|word| !word.is_empty());
        Ok(Self::new(words.map(Scope::parse).collect::<Result<Vec<_>, _>>()?))
    }

    /// Whether every scope of `required` is in this set. An empty `required` asks for nothing and is always contained.
    #[must_use]
    pub fn contains_all(&self, required: &Self) -> bool {
        required.0.iter().all(|scope| self.0.binary_search(scope).is_ok())
    }

    /// Whether there is no scope in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl fmt::Display for ScopeSet {
    /// The space-separated form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&scope.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_what_it_was_given_in_any_order_and_nothing_else() {
        let held = ScopeSet::parse("write  read read").unwrap();
        assert!(held.contains_all(&ScopeSet::parse("read write").unwrap()));
        assert!(!held.contains_all(&ScopeSet::parse("read admin").unwrap()));
        assert_eq!(held.to_string(), "read write");
    }

    #[test]
    fn words_outside_the_grammar_are_refused() {
        for bad in ["", "a b", "a\"", "a\\", "é", "a\n"] {
            assert_eq!(Scope::parse(bad), Err(InvalidScope), "{bad:?}");
        }
    }
}
