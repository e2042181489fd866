//! Values on their way to the server and back.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::store::sql::{Index, Result, Value};

/// A value for a parameter.
#[derive(Debug)]
pub(super) struct Bound<'a>(pub(super) Value<'a>);

type Fault = Box<dyn Error + Sync + Send>;

impl ToSql for Bound<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        match (self.0, kind) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Integer(number), &Type::INT8) => number.to_sql(kind, out),
            (Value::Integer(number), &Type::INT4) => i32::try_from(number)?.to_sql(kind, out),
            (Value::Truth(truth), &Type::BOOL) => truth.to_sql(kind, out),
            (Value::Text(text), &Type::TEXT | &Type::VARCHAR | &Type::NAME) if text.contains('\0') => {
                // The one character that the server takes for no text at all. Nothing is called like this, so nothing is
                // found; refusing it would make an outage of a client's nonsense.
                text.replace('\0', "\u{fffd}").to_sql(kind, out)
            }
            (Value::Text(text), &Type::TEXT | &Type::VARCHAR | &Type::NAME) => text.to_sql(kind, out),
            (Value::Blob(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            (Value::Integer(_) | Value::Truth(_) | Value::Text(_) | Value::Blob(_), _) => {
                Err(format!("a parameter of type {kind} is given something else").into())
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// What is in a column.
struct Read<'a>(Value<'a>);

impl<'a> FromSql<'a> for Read<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Fault> {
        Ok(Self(match *kind {
            Type::INT8 => Value::Integer(i64::from_sql(kind, raw)?),
            Type::INT4 => Value::Integer(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => Value::Truth(bool::from_sql(kind, raw)?),
            Type::TEXT | Type::VARCHAR | Type::NAME => Value::Text(<&str>::from_sql(kind, raw)?),
            Type::BYTEA => Value::Blob(raw),
            _ => return Err(format!("a column of type {kind} is not read here").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Fault> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

pub(in crate::store::sql) fn value<'a>(row: &'a tokio_postgres::Row, column: impl Index) -> Result<Value<'a>> {
    Ok(row.try_get::<_, Read<'a>>(column)?.0)
}
