//! How our types are written into columns and read back. What cannot be read back is a fault, never a default.

use crate::model::{Timestamp, TokenKind};
use crate::store::cuts::Fingerprint;
use crate::store::sql::{Bind, FromColumn, Value, text};
use crate::tokens::account::{AccountId, AccountKind, AccountStatus};
use crate::tokens::keyring::Mac;
use crate::tokens::store::{ChallengeId, ChallengeKind};

/// An instant in a column.
pub(super) struct At(pub(super) Timestamp);

impl FromColumn for At {
    fn from_column(value: Value<'_>) -> Option<Self> {
        i64::from_column(value).map(|millis| Self(Timestamp::from_millis(millis)))
    }
}

impl Bind for At {
    fn bind(&self) -> Value<'_> {
        Value::Integer(self.0.as_millis())
    }
}

impl FromColumn for AccountId {
    fn from_column(value: Value<'_>) -> Option<Self> {
        i64::from_column(value).map(Self)
    }
}

impl Bind for AccountId {
    fn bind(&self) -> Value<'_> {
        Value::Integer(self.0)
    }
}

impl FromColumn for Mac {
    fn from_column(value: Value<'_>) -> Option<Self> {
        <[u8; 32]>::from_column(value).map(Self)
    }
}

impl Bind for Mac {
    fn bind(&self) -> Value<'_> {
        Value::Blob(&self.0)
    }
}

/// A fingerprint in a column.
pub(super) struct Hash(pub(super) Fingerprint);

impl Bind for Hash {
    fn bind(&self) -> Value<'_> {
        Value::Blob(&self.0.0)
    }
}

impl FromColumn for Hash {
    fn from_column(value: Value<'_>) -> Option<Self> {
        <[u8; 32]>::from_column(value).map(|bytes| Self(Fingerprint(bytes)))
    }
}

impl FromColumn for ChallengeKind {
    fn from_column(value: Value<'_>) -> Option<Self> {
        let name = text(value)?;
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl FromColumn for ChallengeId {
    fn from_column(value: Value<'_>) -> Option<Self> {
        <[u8; 16]>::from_column(value).map(Self)
    }
}

impl Bind for ChallengeId {
    fn bind(&self) -> Value<'_> {
        Value::Blob(&self.0)
    }
}

impl FromColumn for AccountKind {
    fn from_column(value: Value<'_>) -> Option<Self> {
        match text(value)? {
            "person" => Some(Self::Person),
            "system" => Some(Self::System),
            "support" => Some(Self::Support),
            "integration" => Some(Self::Integration),
            _ => None,
        }
    }
}

impl Bind for AccountKind {
    fn bind(&self) -> Value<'_> {
        Value::Text(match self {
            Self::Person => "person",
            Self::System => "system",
            Self::Support => "support",
            Self::Integration => "integration",
        })
    }
}

impl FromColumn for AccountStatus {
    fn from_column(value: Value<'_>) -> Option<Self> {
        match text(value)? {
            "active" => Some(Self::Active),
            "disabled" => Some(Self::Disabled),
            _ => None,
        }
    }
}

impl Bind for AccountStatus {
    fn bind(&self) -> Value<'_> {
        Value::Text(match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        })
    }
}

/// The kind of an access token in a column. Refresh tokens have a table of their own and never come here.
pub(super) struct Kind(pub(super) TokenKind);

impl FromColumn for Kind {
    fn from_column(value: Value<'_>) -> Option<Self> {
        match text(value)? {
            "access" => Some(Self(TokenKind::Access)),
            "auth" => Some(Self(TokenKind::Auth)),
            "temporary" => Some(Self(TokenKind::Temporary)),
            _ => None,
        }
    }
}

impl Bind for Kind {
    fn bind(&self) -> Value<'_> {
        match self.0 {
            TokenKind::Access => Value::Text("access"),
            TokenKind::Auth => Value::Text("auth"),
            TokenKind::Temporary => Value::Text("temporary"),
            // No row is kept with this: the column takes the other three.
            TokenKind::Refresh => Value::Text("refresh"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_challenge_is_read_as_it_was_written() {
        for kind in ChallengeKind::ALL {
            assert_eq!(ChallengeKind::from_column(Value::Text(kind.name())), Some(kind));
        }
    }
}
