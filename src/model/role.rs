//! What a request that passes through does at a token service that is not ours, and where it says to whom.

use http::HeaderName;

/// What a route's requests do at the token service behind it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Takes a password, gives tokens.
    Login,
    /// Takes a second factor, gives tokens.
    Confirm,
    /// Takes a refresh token, gives new ones.
    Refresh,
    /// Ends a session.
    Logout,
    /// Revokes a token (RFC 7009), of either kind.
    Revoke,
    /// Asks on a device to step a token up; the answer comes by a way that does not lead through here.
    StepUpStart,
    /// Steps a token up.
    StepUpVerify,
    /// Changes a password, which ends every other session of its subject.
    PasswordUpdate,
}

impl Role {
    /// Whether its answers carry tokens, so that nobody may store them (RFC 6749 section 5.1).
    #[must_use]
    pub fn gives_tokens(self) -> bool {
        match self {
            Self::Login | Self::Confirm | Self::Refresh | Self::PasswordUpdate => true,
            Self::Logout | Self::Revoke | Self::StepUpStart | Self::StepUpVerify => false,
        }
    }
}

/// What a request ends for the token it shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ends {
    /// That token.
    Token,
    /// Every token of its session.
    Session,
    /// Every token of its subject.
    Subject,
}

/// Where in a request something is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// The Bearer token in the Authorization field.
    Bearer,
    /// A header field.
    Header(HeaderName),
    /// A member of a JSON body.
    Json(Pointer),
    /// A parameter of a form.
    Form(Box<str>),
}

impl Location {
    /// Whether it is in the body.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        match self {
            Self::Bearer | Self::Header(_) => false,
            Self::Json(_) | Self::Form(_) => true,
        }
    }
}

/// Where in a JSON object a member is (RFC 6901); the names on the way to it, never empty. Elements of lists are out of its
/// reach: which of several is meant is for nobody to guess.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pointer(Box<[Box<str>]>);

impl Pointer {
    /// Reads `/password/value`; `None` if it does not start with a slash or has a `~` that escapes nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let names = text.strip_prefix('/')?.split('/').map(unescape);
        names.collect::<Option<_>>().map(Self)
    }

    /// The names on the way, from the outside in.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.names().try_for_each(|name| write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape(name: &str) -> Option<Box<str>> {
    let mut parts = name.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push(match part.as_bytes().first()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        });
        plain.push_str(part.get(1..)?);
    }
    Some(plain.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_read_is_written_alike_and_names_are_what_they_were(
            names in prop::collection::vec("[a~/01é]{0,4}", 1..4), text in "[/~01a]{0,8}",
        ) {
            let pointer = Pointer(names.iter().map(|name| name.as_str().into()).collect());
            prop_assert_eq!(Pointer::parse(&pointer.to_string()), Some(pointer));
            if let Some(read) = Pointer::parse(&text) {
                prop_assert_eq!(read.to_string(), text);
            }
        }
    }

    #[test]
    fn a_pointer_is_read_and_written_alike() {
        for text in ["/a", "/a/b", "/a~1b/~0", "/", "/a//b"] {
            assert_eq!(Pointer::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Pointer::parse("/a~1b/~0").unwrap().names().collect::<Vec<_>>(), ["a/b", "~"]);
        for bad in ["", "a", "/~", "/~2", "/a~"] {
            assert_eq!(Pointer::parse(bad), None, "{bad}");
        }
    }
}
