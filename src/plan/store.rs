//! What is remembered beyond a request, and with whom that is shared.
//!
//! Imports `model`. Deliberately absent: connections, which are `store::valkey`'s.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{NonEmpty, Secret};

/// What is remembered beyond a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    /// The state file, made when there is something to be kept in it; `None` if the operator wants none.
    pub file: Option<PathBuf>,
    /// What this gateway shares with others; `None` if it is alone.
    pub valkey: Option<Valkey>,
}

/// Valkey or Redis servers that several gateways share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Valkey {
    /// Names or addresses, with ports.
    pub servers: NonEmpty<(Box<str>, u16)>,
    /// How they stand to each other.
    pub topology: Topology,
    /// Whom the gateway signs in as there.
    pub username: Option<Box<str>>,
    /// And with which password.
    pub password: Option<Secret>,
    /// The number of the database; 0 in a cluster.
    pub database: u32,
    /// Certificates to trust, if connections are encrypted.
    pub tls: Option<Trust>,
    /// The key under which accounts and callers are hashed, the same on every gateway; at least 32 bytes.
    pub secret: Secret,
    /// What every key there begins with.
    pub prefix: Box<str>,
    /// How many gateways share it, at least 1.
    pub nodes: u32,
    /// How long a request waits for it at most.
    pub deadline: Duration,
    /// For how long what is remembered of tokens is trusted while other gateways cannot be heard; at least a second.
    pub trust_without: Duration,
}

/// How the servers stand to each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Topology {
    /// There is one.
    Standalone,
    /// They are sentinels, which know who the master is.
    Sentinel {
        /// The name of the master.
        master: Box<str>,
        /// Whom the gateway signs in as at the sentinels.
        username: Option<Box<str>>,
        /// And with which password.
        password: Option<Secret>,
    },
    /// They are part of a cluster.
    Cluster,
}

/// Whose certificates are trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Those that the system trusts.
    System,
    /// Those in this PEM file.
    File(PathBuf),
}
