//! Where the server is, and how long it may take.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::fetch::trust;
use crate::model::{Clock, Secret};
use crate::store::sql::postgres::Role;
use crate::store::sql::postgres::primary::Primary;
use crate::store::sql::{OpenFault, SqlFault};

/// How much longer than the server we wait for it to say that something took too long.
const BEYOND: Duration = Duration::from_millis(500);

/// Where the server is, and how it is used.
pub(crate) struct Terms {
    pub(super) server: Config,
    pub(super) tls: Option<MakeRustlsConnect>,
    pub(super) schema: Box<str>,
    pub(super) statement: Duration,
    pub(super) connect: Duration,
    pub(super) readers: usize,
    /// How long nothing may be heard before everything that is remembered counts as stale.
    pub(super) silence: Duration,
    /// By which waits are measured.
    pub(super) clock: Arc<dyn Clock>,
    /// Which server all sessions are to be at.
    pub(super) primary: Primary,
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// Whether a session is encrypted, and who says that the server is who it should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Encryption<'a> {
    /// It is not.
    None,
    /// Certificates that the system trusts.
    BySystem,
    /// Certificates in a PEM file.
    ByFile(&'a Path),
}

/// The words of a configuration.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    /// A name, an address, or the folder of a Unix socket.
    pub host: &'a str,
    pub port: u16,
    pub database: &'a str,
    pub user: &'a str,
    pub password: Option<&'a Secret>,
    /// The schema that our tables are in: lower-case letters, digits and `_`.
    pub schema: &'a str,
    pub encryption: Encryption<'a>,
    pub readers: usize,
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
    pub silence: Duration,
}

impl Terms {
    /// # Errors
    /// If the certificates to trust cannot be had.
    pub(crate) fn new(server: &Server<'_>, clock: Arc<dyn Clock>) -> Result<Self, OpenFault> {
        let tls = match server.encryption {
            Encryption::None => None,
            Encryption::BySystem => Some(trust(None)?),
            Encryption::ByFile(path) => Some(trust(Some(path))?),
        };
        let mut config = Config::new();
        config.host(server.host).port(server.port).dbname(server.database).user(server.user).application_name("portcullis");
        if let Some(password) = server.password {
            config.password(password.expose());
        }
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        // A standby would show sessions that have ended since.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(server.connect_timeout).tcp_user_timeout(server.statement_timeout + BEYOND);
        config.keepalives_idle(Duration::from_secs(10)).keepalives_interval(Duration::from_secs(2)).keepalives_retries(3);
        Ok(Self {
            server: config,
            tls: tls.map(MakeRustlsConnect::new),
            schema: server.schema.into(),
            statement: server.statement_timeout,
            connect: server.connect_timeout,
            readers: server.readers,
            silence: server.silence,
            clock,
            primary: Primary::new(),
        })
    }

    /// Which database this is, for a log line.
    pub(crate) fn place(&self) -> String {
        let database = self.server.get_dbname().unwrap_or_default();
        let host = match self.server.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(name)) => name.clone(),
            Some(tokio_postgres::config::Host::Unix(folder)) => folder.display().to_string(),
            None => String::new(),
        };
        let port = self.server.get_ports().first().copied().unwrap_or_default();
        format!("{database} at {host}:{port}, schema {}", self.schema)
    }

    /// Says why there is no session: aloud the first time, since the next attempts follow within moments.
    pub(super) fn complain(&self, fault: &SqlFault, first: bool) {
        if first {
            tracing::warn!(place = self.place(), %fault, "no session with the database; trying again until there is one");
        } else {
            tracing::debug!(place = self.place(), %fault, "no session with the database");
        }
    }

    /// How long a statement is waited for.
    pub(super) fn deadline(&self) -> Duration {
        self.statement + BEYOND
    }

    /// The statements with which a session begins.
    pub(super) fn opening(&self, role: Role) -> String {
        let (schema, limit) = (&self.schema, self.statement.as_millis().max(1));
        // Whoever writes leaves it as it is: a server that is told to take no writes any more is to take none of ours.
        let read_only = if role == Role::Read { "SET default_transaction_read_only = on;" } else { "" };
        // An answer that was given survives a power cut: a server that is told not to wait for its disk is told to wait. One
        // that waits for its standbys too goes on doing so.
        format!(
            "SET search_path TO \"{schema}\"; SET statement_timeout = {limit}; SET lock_timeout = {limit};
             SET idle_in_transaction_session_timeout = {limit}; {read_only}
             SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning;
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    }

    /// The number of the lock that lets one writer at a time into this schema.
    pub(super) fn lock(&self) -> i64 {
        let digest = digest::digest(&digest::SHA256, format!("portcullis writer {}", self.schema).as_bytes());
        digest.as_ref().iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
    }

    /// The channel on which a commit wakes the others.
    pub(super) fn channel(&self) -> String {
        format!("portcullis_{}", self.schema)
    }
}
