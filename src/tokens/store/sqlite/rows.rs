//! How our types are written into columns and read back. What cannot be read back is a fault, never a default.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::model::{Timestamp, TokenKind};
use crate::store::cuts::Fingerprint;
use crate::tokens::account::{AccountId, AccountKind, AccountStatus};
use crate::tokens::keyring::Mac;
use crate::tokens::store::{ChallengeId, ChallengeKind};

/// An instant in a column.
pub(super) struct At(pub(super) Timestamp);

impl FromSql for At {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|millis| Self(Timestamp::from_millis(millis)))
    }
}

impl ToSql for At {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_millis().into())
    }
}

impl FromSql for AccountId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

impl ToSql for AccountId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Mac {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 32]>::column_result(value).map(Self)
    }
}

impl ToSql for Mac {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.as_slice().to_sql()
    }
}

/// A fingerprint in a column.
pub(super) struct Hash(pub(super) Fingerprint);

impl ToSql for Hash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.0.as_slice().to_sql()
    }
}

impl FromSql for Hash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 32]>::column_result(value).map(|bytes| Self(Fingerprint(bytes)))
    }
}

impl FromSql for ChallengeKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for ChallengeId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 16]>::column_result(value).map(Self)
    }
}

impl ToSql for ChallengeId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.as_slice().to_sql()
    }
}

impl FromSql for AccountKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "person" => Ok(Self::Person),
            "system" => Ok(Self::System),
            "support" => Ok(Self::Support),
            "integration" => Ok(Self::Integration),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for AccountKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Person => "person",
            Self::System => "system",
            Self::Support => "support",
            Self::Integration => "integration",
        }
        .into())
    }
}

impl FromSql for AccountStatus {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "active" => Ok(Self::Active),
            "disabled" => Ok(Self::Disabled),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for AccountStatus {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
        .into())
    }
}

/// The kind of an access token in a column. Refresh tokens have a table of their own and never come here.
pub(super) struct Kind(pub(super) TokenKind);

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "access" => Ok(Self(TokenKind::Access)),
            "auth" => Ok(Self(TokenKind::Auth)),
            "temporary" => Ok(Self(TokenKind::Temporary)),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Kind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self.0 {
            TokenKind::Access => Ok("access".into()),
            TokenKind::Auth => Ok("auth".into()),
            TokenKind::Temporary => Ok("temporary".into()),
            TokenKind::Refresh => Err(rusqlite::Error::ToSqlConversionFailure("a refresh token is no access token".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn every_kind_of_challenge_is_read_as_it_was_written() {
        let db = Connection::open_in_memory().unwrap();
        let kinds = [
            ChallengeKind::Phone,
            ChallengeKind::SignIn,
            ChallengeKind::StepUpCode,
            ChallengeKind::StepUpPush,
            ChallengeKind::EnrolCode,
            ChallengeKind::EnrolPush,
        ];
        for kind in kinds {
            assert_eq!(db.query_row("SELECT ?1", [kind.name()], |row| row.get(0)), Ok(kind));
        }
    }
}
