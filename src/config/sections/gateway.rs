//! The process, its listeners and its bounds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::At;
use crate::config::SecretReference;
use crate::config::notation::{Bytes, Keys, Lasting, Whole, Word};
use crate::config::table::Table;
use crate::config::units::{GIB, KIB, hours, millis, minutes, seconds};
use crate::config::values::{ADDRESS, FILE, SecretNotation};

/// Where a gateway runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Environment {
    /// For real.
    Production,
    /// To try things out: one-time codes are fixed and nothing is sent.
    Sandbox,
}

/// `[server]`
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) threads: Option<At<usize>>,
    pub(crate) drain: At<Duration>,
    pub(crate) upstream_pool: At<usize>,
    pub(crate) log: At<LogForm>,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogForm {
    Json,
    Text,
}

impl Server {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            threads: t.optional("threads", Whole(1..=1024), "Worker threads; as many as the machine has cores."),
            drain: t.or(
                "drain",
                Lasting(seconds(0)..=hours(1)),
                seconds(25),
                "How long requests in flight may go on after SIGTERM. Below what the supervisor waits before it kills.",
            ),
            upstream_pool: t.or(
                "upstream_pool",
                Whole(1..=1_000_000),
                256,
                "Idle upstream connections that are kept, over all threads.",
            ),
            log: t.or(
                "log",
                Word(&[("json", LogForm::Json), ("text", LogForm::Text)]),
                LogForm::Json,
                "The form of log lines.",
            ),
        }
    }
}

/// `[[listener]]`
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: Option<At<SocketAddr>>,
    pub(crate) tls: Option<At<Tls>>,
}

/// A certificate and its key.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) certificates: Option<At<PathBuf>>,
    pub(crate) key: Option<At<PathBuf>>,
}

impl Listener {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            address: t.required(
                "address",
                ADDRESS,
                "Where to listen, such as \"127.0.0.1:8080\"; port 0 lets the system choose.",
            ),
            tls: t.optional("tls", Keys(Tls::read), "Speaks HTTPS."),
        }
    }
}

impl Tls {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            certificates: t.required("certificates", FILE, "PEM file with the certificate chain, leaf first."),
            key: t.required("key", FILE, "PEM file with the private key."),
        }
    }
}

/// `[admin]`
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) address: At<SocketAddr>,
    pub(crate) token: Option<At<SecretReference>>,
}

impl Admin {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            address: t.or(
                "address",
                ADDRESS,
                (Ipv4Addr::LOCALHOST, 9901).into(),
                "Where health, metrics and the admin API listen; loopback unless there is a token.",
            ),
            token: t.optional("token", SecretNotation, "The Bearer token of admin calls; health and metrics need none."),
        }
    }
}

/// `[guard]`
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) head_size: At<u64>,
    pub(crate) target_size: At<u64>,
    pub(crate) fields: At<usize>,
    pub(crate) head_deadline: At<Duration>,
    pub(crate) idle: At<Duration>,
    pub(crate) body_idle: At<Duration>,
    pub(crate) connections: At<usize>,
    pub(crate) connections_per_source: At<usize>,
    pub(crate) requests_per_connection: At<u32>,
}

impl Guard {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let wait = || Lasting(millis(100)..=hours(1));
        Self {
            head_size: t.or("head_size", Bytes(KIB..=512 * KIB), 16 * KIB, "Request line and header fields together."),
            target_size: t.or("target_size", Bytes(128..=60 * KIB), 8 * KIB, "The request target."),
            fields: t.or("fields", Whole(8..=256), 100, "Header fields."),
            head_deadline: t.or("head_deadline", wait(), seconds(10), "From the first byte of a head to its end."),
            idle: t.or("idle", wait(), minutes(1), "Between two requests on a connection."),
            body_idle: t.or("body_idle", wait(), seconds(30), "Between two reads of a body, and two writes of a response."),
            connections: t.or("connections", Whole(1..=10_000_000), 20_000, "Connections at once, over all clients."),
            connections_per_source: t.or(
                "connections_per_source",
                Whole(1..=10_000_000),
                2000,
                "Connections at once from one source.",
            ),
            requests_per_connection: t.or(
                "requests_per_connection",
                Whole(1..=u32::MAX),
                10_000,
                "Requests on one connection, after which it is closed.",
            ),
        }
    }
}

/// `[cache]`
#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) tokens: At<u64>,
    pub(crate) inactive: At<u64>,
    pub(crate) misses_per_second: At<u32>,
    pub(crate) miss_burst: At<u32>,
}

impl Cache {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            tokens: t.or("tokens", Whole(1..=GIB), 100_000, "Good tokens that are remembered."),
            inactive: t.or("inactive", Whole(1..=GIB), 10_000, "Bad tokens that are remembered."),
            misses_per_second: t.or(
                "misses_per_second",
                Whole(1..=1_000_000),
                200,
                "Unknown tokens that one source may have looked up per second, sustained.",
            ),
            miss_burst: t.or(
                "miss_burst",
                Whole(1..=1_000_000),
                10_000,
                "Unknown tokens that one source may have looked up at once.",
            ),
        }
    }
}
