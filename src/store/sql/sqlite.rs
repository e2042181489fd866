//! Statements on SQLite.
//!
//! What stands in a step is looked up by the parameter's own spelling; one without a value is a fault, where SQLite itself
//! would take it for NULL.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection};

use crate::store::sql::{Params, Result, Row, SqlFault, Value};

pub(super) fn execute(connection: &Connection, sql: &str, params: &dyn Params) -> Result<usize> {
    Ok(prepare(connection, sql, params)?.raw_execute()?)
}

pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    params: &dyn Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = prepare(connection, sql, params)?;
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(&Row::Sqlite(row))?);
    }
    Ok(found)
}

pub(super) fn optional<T>(
    connection: &Connection,
    sql: &str,
    params: &dyn Params,
    read: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = prepare(connection, sql, params)?;
    let mut rows = statement.raw_query();
    let found = rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()?;
    // A write with RETURNING is whole only once it has been read to its end.
    while rows.next()?.is_some() {}
    Ok(found)
}

fn prepare<'a>(connection: &'a Connection, sql: &str, params: &dyn Params) -> Result<CachedStatement<'a>> {
    let mut statement = connection.prepare_cached(sql)?;
    for place in 1..=statement.parameter_count() {
        let name = statement.parameter_name(place).unwrap_or_default();
        let missing = || SqlFault::Parameter(name.into());
        let value = params.value(name).ok_or_else(missing)?;
        statement.raw_bind_parameter(place, owned(value))?;
    }
    Ok(statement)
}

fn owned(value: Value<'_>) -> rusqlite::types::ToSqlOutput<'_> {
    let value = match value {
        Value::Null => ValueRef::Null,
        Value::Integer(number) => ValueRef::Integer(number),
        Value::Truth(truth) => ValueRef::Integer(i64::from(truth)),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    };
    rusqlite::types::ToSqlOutput::Borrowed(value)
}

pub(super) fn value<'a>(row: &'a rusqlite::Row<'_>, column: impl rusqlite::RowIndex) -> Result<Value<'a>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        // Nothing here is a fraction; whoever reads one finds that it is not what it looks for.
        ValueRef::Real(_) => Value::Blob(&[]),
        ValueRef::Text(text) => Value::Text(std::str::from_utf8(text).map_err(|_| SqlFault::Column("text".into()))?),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    })
}
