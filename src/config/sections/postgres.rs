//! The PostgreSQL database of the embedded token service.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::notation::{Flag, Lasting, Parsed, Whole};
use crate::config::table::Table;
use crate::config::units::{millis, minutes, seconds};
use crate::config::values::{FILE, HOST, SecretNotation, TEXT};
use crate::config::{At, SecretReference};

/// Where the token service keeps its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenStoreKind {
    /// In a file of this machine.
    Sqlite,
    /// In a database that several gateways share.
    Postgres,
}

/// `[token_service.postgres]`
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) host: Option<At<String>>,
    pub(crate) port: At<u16>,
    pub(crate) database: At<String>,
    pub(crate) user: At<String>,
    pub(crate) password: Option<At<SecretReference>>,
    pub(crate) schema: At<String>,
    pub(crate) tls: At<bool>,
    pub(crate) ca_file: Option<At<PathBuf>>,
    pub(crate) readers: At<usize>,
    pub(crate) connect_timeout: At<Duration>,
    pub(crate) statement_timeout: At<Duration>,
    pub(crate) max_silence: At<Duration>,
}

impl Postgres {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let name = || "portcullis".to_owned();
        let timeout = || Lasting(millis(100)..=minutes(1));
        Self {
            host: t.required("host", SERVER, "The server's name or address, or the folder of its Unix socket."),
            port: t.or("port", Whole(1..=65_535), 5432, "Its port."),
            database: t.or("database", TEXT, name(), "The database."),
            user: t.or("user", TEXT, name(), "As whom the gateway signs in."),
            password: t.optional("password", SecretNotation, "With what; nothing when left out."),
            schema: t.or("schema", SCHEMA, "public".to_owned(), "The schema of its tables; made if it is not there."),
            tls: t.or(
                "tls",
                Flag,
                true,
                "Whether the connection is encrypted and the server's name checked; false only on this machine.",
            ),
            ca_file: t.optional("ca_file", FILE, "PEM file of the certificates to trust; the system's when left out."),
            readers: t.or("readers", Whole(1..=64), 4, "Connections that read. Two more write and listen."),
            connect_timeout: t.or("connect_timeout", timeout(), seconds(2), "For one attempt to connect."),
            statement_timeout: t.or(
                "statement_timeout",
                timeout(),
                seconds(2),
                "For one statement, and for the wait until other gateways have written.",
            ),
            max_silence: t.or(
                "max_silence",
                Lasting(millis(500)..=seconds(30)),
                seconds(2),
                "For how long revocations of other gateways may go unread; after that nothing that is remembered is trusted.",
            ),
        }
    }
}

/// A server, or the folder of a socket.
const SERVER: Parsed<String> = Parsed { what: "a server such as \"db.example\"", parse: parse_server, show: Clone::clone };

fn parse_server(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return (TEXT.parse)(text);
    }
    (HOST.parse)(text)
}

/// A name that needs no quotes and is the same in every spelling.
const SCHEMA: Parsed<String> = Parsed { what: "a schema such as \"portcullis\"", parse: parse_schema, show: Clone::clone };

fn parse_schema(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    if !begins || text.starts_with("pg_") || text.len() > 40 || !text.bytes().all(fits) {
        return Err(format!(
            "`{text}` is not a schema: 1 to 40 lower-case letters, digits and `_`, no digit first, not `pg_…`"
        ));
    }
    Ok(text.to_owned())
}
