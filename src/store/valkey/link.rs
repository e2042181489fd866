//! A connection, whatever the servers are to each other: one server, the master that sentinels name, or a cluster.
//!
//! Imports nothing of ours but the terms. The only file that knows there are three topologies.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, RedisFuture, RedisResult, ServerErrorKind, TlsCertificates, TlsMode, Value,
};

use crate::store::valkey::{Login, Terms, Tls, Topology};

/// How long connecting may take, with the question to a sentinel.
pub(super) const CONNECTING: Duration = Duration::from_secs(2);
/// How long any answer may take, beyond the deadline of who asked: what comes later is nobody's any more.
const ANSWERING: Duration = Duration::from_secs(5);

/// The servers cannot be spoken to as it is said.
#[derive(Debug, thiserror::Error)]
#[error("the shared store cannot be used as it is configured: {0}")]
pub struct LinkFault(RedisError);

/// A connection on which many calls are in flight at once. A clone is the same connection.
#[derive(Clone)]
pub enum Link {
    /// To one server.
    One(MultiplexedConnection),
    /// To all of a cluster.
    Cluster(ClusterConnection),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One(_) => "Link::One(…)",
            Self::Cluster(_) => "Link::Cluster(…)",
        })
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(&'a mut self, cmd: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Whether an error says that this connection will not do: it is gone, or leads to a server that is not the one to ask any more.
pub(super) fn is_broken(error: &RedisError) -> bool {
    let fallen = matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::ReadOnly
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::NoPerm
            )
    );
    fallen || (error.is_io_error() && !error.is_timeout()) || error.is_connection_dropped() || error.is_unrecoverable_error()
}

/// Makes connections.
pub(super) enum Opener {
    One(Box<Client>),
    Sentinel(Box<SentinelClient>),
    Cluster(Box<ClusterClient>),
}

impl Opener {
    pub(super) fn new(terms: &Terms) -> Result<Self, LinkFault> {
        let certificates = terms.tls.as_ref().map(|tls| TlsCertificates {
            client_tls: None,
            root_cert: match tls {
                Tls::System => None,
                Tls::These(pem) => Some(pem.to_vec()),
            },
        });
        match &terms.topology {
            Topology::Standalone => Self::one(terms, certificates),
            Topology::Sentinel { master, login } => Self::sentinel(terms, master, login, certificates),
            Topology::Cluster => Self::cluster(terms, certificates),
        }
        .map_err(LinkFault)
    }

    fn one(terms: &Terms, certificates: Option<TlsCertificates>) -> RedisResult<Self> {
        let server = terms.servers.iter().next().ok_or((ErrorKind::InvalidClientConfig, "no server is named"))?;
        let info = info(terms, server)?;
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        Ok(Self::One(Box::new(client)))
    }

    fn sentinel(terms: &Terms, master: &str, at_sentinels: &Login, certificates: Option<TlsCertificates>) -> RedisResult<Self> {
        let sentinels: Vec<_> = terms.servers.iter().map(|server| address(terms, server)).collect();
        let mut builder = SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?
            .set_client_to_redis_db(terms.database.into());
        if let Some(certificates) = certificates {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_certificates(certificates);
        }
        if let Some(username) = &terms.login.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &terms.login.password {
            builder = builder.set_client_to_redis_password(password.expose());
        }
        if let Some(username) = &at_sentinels.username {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = &at_sentinels.password {
            builder = builder.set_client_to_sentinel_password(password.expose());
        }
        Ok(Self::Sentinel(Box::new(builder.build()?)))
    }

    fn cluster(terms: &Terms, certificates: Option<TlsCertificates>) -> RedisResult<Self> {
        let nodes: RedisResult<Vec<ConnectionInfo>> = terms.servers.iter().map(|server| info(terms, server)).collect();
        let mut builder =
            ClusterClientBuilder::new(nodes?).connection_timeout(CONNECTING).response_timeout(ANSWERING).retries(2);
        if let Some(certificates) = certificates {
            builder = builder.tls(TlsMode::Secure).certs(certificates);
        }
        if let Some(username) = &terms.login.username {
            builder = builder.username(username);
        }
        if let Some(password) = &terms.login.password {
            builder = builder.password(password.expose());
        }
        Ok(Self::Cluster(Box::new(builder.build()?)))
    }

    /// Makes a connection. Not bounded in time by itself where sentinels are asked.
    pub(super) async fn open(&mut self) -> RedisResult<Link> {
        let config =
            || AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECTING)).set_response_timeout(Some(ANSWERING));
        Ok(match self {
            Self::One(client) => Link::One(client.get_multiplexed_async_connection_with_config(&config()).await?),
            Self::Sentinel(client) => Link::One(client.get_async_connection_with_config(&config()).await?),
            Self::Cluster(client) => Link::Cluster(client.get_async_connection().await?),
        })
    }
}

fn address(terms: &Terms, (host, port): &(Box<str>, u16)) -> ConnectionAddr {
    let host = host.to_string();
    match terms.tls {
        Some(_) => ConnectionAddr::TcpTls { host, port: *port, insecure: false, tls_params: None },
        None => ConnectionAddr::Tcp(host, *port),
    }
}

fn info(terms: &Terms, server: &(Box<str>, u16)) -> RedisResult<ConnectionInfo> {
    let mut login = RedisConnectionInfo::default().set_db(terms.database.into());
    if let Some(username) = &terms.login.username {
        login = login.set_username(username);
    }
    if let Some(password) = &terms.login.password {
        login = login.set_password(password.expose());
    }
    Ok(address(terms, server).into_connection_info()?.set_redis_settings(login))
}
