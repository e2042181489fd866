//! Opening a database of a PostgreSQL server.

use std::sync::Arc;

use crate::store::sql::postgres::{self, Terms};
use crate::store::sql::{Db, OpenFault, Readers, Writer};

/// Connects, and lets `prepare` bring the schema up to date in one transaction. Two programs that start together do it one
/// after the other. The threads are called `name`. Blocks until there is an answer.
///
/// # Errors
/// If the server cannot be used, or what `prepare` says; nothing is changed then.
pub(crate) fn open_server<E: From<OpenFault> + Send + 'static>(
    terms: &Arc<Terms>,
    name: &str,
    prepare: impl FnOnce(&Db<'_>) -> Result<(), E> + Send + 'static,
) -> Result<(Readers, Writer), E> {
    let writer = postgres::Writer::start(terms, &format!("{name}-writer"), prepare)?;
    let readers = postgres::Readers::start(terms, &format!("{name}-reader"))?;
    Ok((Readers::Postgres(readers), Writer::Postgres(writer)))
}
