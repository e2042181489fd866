//! What the gateway remembers beyond a request, where, and with whom it shares that.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::node::{Kind, Node};
use crate::config::notation::{Filled, Flag, Keys, Lasting, Notation, Parsed, Placed, Whole, Word, expected};
use crate::config::sections::SecretReference;
use crate::config::table::Table;
use crate::config::units::{millis, minutes, seconds};
use crate::config::values::{FILE, SERVER, SecretNotation, ServerName, TEXT};
use crate::config::{At, Finding, Report};

/// `[store]`
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) kind: At<StoreKind>,
    pub(crate) file: At<StateFile>,
    pub(crate) valkey: Option<At<Valkey>>,
}

/// Where limits, login guards, locks and cuts are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreKind {
    Memory,
    Valkey,
}

/// `[store.valkey]`
#[derive(Debug)]
pub(crate) struct Valkey {
    pub(crate) servers: Option<At<Vec<At<ServerName>>>>,
    pub(crate) topology: At<Topology>,
    pub(crate) master: Option<At<String>>,
    pub(crate) username: Option<At<String>>,
    pub(crate) password: Option<At<SecretReference>>,
    pub(crate) sentinel_username: Option<At<String>>,
    pub(crate) sentinel_password: Option<At<SecretReference>>,
    pub(crate) database: At<u32>,
    pub(crate) tls: At<bool>,
    pub(crate) ca_file: Option<At<PathBuf>>,
    pub(crate) secret: Option<At<SecretReference>>,
    pub(crate) prefix: At<String>,
    pub(crate) nodes: At<u32>,
    pub(crate) deadline: At<Duration>,
    pub(crate) trust_without: At<Duration>,
}

/// How the servers stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Topology {
    Standalone,
    Sentinel,
    Cluster,
}

/// What stands before every key; plain, and without the braces that a Cluster reads.
const PREFIX: Parsed<String> = Parsed { what: "a prefix such as \"portcullis\"", parse: parse_prefix, show: Clone::clone };

/// Where state is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum StateFile {
    At(PathBuf),
    None,
}

impl Store {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let meaning = "The file in which the revocations of JWTs and what login guards have counted are kept over a restart, made \
                       when an issuer of JWTs or a login guard is configured; false keeps them in memory only.";
        Self {
            kind: t.or(
                "kind",
                Word(&[("memory", StoreKind::Memory), ("valkey", StoreKind::Valkey)]),
                StoreKind::Memory,
                "Where limits, login guards, locks and cuts are kept: \"memory\" for one gateway, \"valkey\" for several.",
            ),
            file: t.or("file", StateFileNotation, StateFile::At(PathBuf::from("portcullis-state.db")), meaning),
            valkey: t.optional(
                "valkey",
                Keys(Valkey::read),
                "The Valkey or Redis servers (7 or later) that several gateways share.",
            ),
        }
    }
}

impl Valkey {
    fn read(t: &mut Table<'_>) -> Self {
        let topology =
            &[("standalone", Topology::Standalone), ("sentinel", Topology::Sentinel), ("cluster", Topology::Cluster)];
        Self {
            servers: t.required(
                "servers",
                Filled(Placed(SERVER)),
                "The server, the sentinels, or some servers of the cluster: \"10.0.0.5:6379\".",
            ),
            topology: t.or(
                "topology",
                Word(topology),
                Topology::Standalone,
                "How they stand to each other: \"standalone\", \"sentinel\" or \"cluster\".",
            ),
            master: t.optional("master", TEXT, "The name by which the sentinels know the master."),
            username: t.optional("username", TEXT, "Whom the gateway signs in as; the default user when left out."),
            password: t.optional("password", SecretNotation, "With which password."),
            sentinel_username: t.optional("sentinel_username", TEXT, "The same for the sentinels."),
            sentinel_password: t.optional("sentinel_password", SecretNotation, "The same for the sentinels."),
            database: t.or("database", Whole(0..=65_535), 0, "The number of the database; 0 in a cluster."),
            tls: t.or("tls", Flag, false, "Whether connections are encrypted. In production they are, to servers that are not on this machine."),
            ca_file: t.optional("ca_file", FILE, "PEM file of the certificates to trust; the system's when left out."),
            secret: t.required(
                "secret",
                SecretNotation,
                "The key under which accounts and callers are hashed before they are named there, and cuts are sealed: the same \
                 on every gateway, and at least 32 characters.",
            ),
            prefix: t.or("prefix", PREFIX, "portcullis".to_owned(), "What every key begins with."),
            nodes: t.or(
                "nodes",
                Whole(1..=1_000),
                2,
                "How many gateways share it: while it is away, each allows this part of a budget.",
            ),
            deadline: t.or(
                "deadline",
                Lasting(millis(5)..=seconds(2)),
                millis(50),
                "How long a request waits for it at most; after that it counts as away.",
            ),
            trust_without: t.or(
                "trust_without",
                Lasting(seconds(1)..=minutes(5)),
                seconds(5),
                "For how long tokens are trusted from memory while the revocations of other gateways cannot be heard; after \
                 that every request asks about its token.",
            ),
        }
    }
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err("a prefix is 1 to 64 letters, digits and `-_.:`".to_owned())
}

/// A file, or `false`.
struct StateFileNotation;

impl Notation for StateFileNotation {
    type Value = StateFile;

    fn read(&self, node: &Node, report: &mut Report) -> Option<StateFile> {
        match &node.kind {
            Kind::Text(_) => FILE.read(node, report).map(StateFile::At),
            Kind::Flag(false) => Some(StateFile::None),
            Kind::Flag(true) => {
                report.add(Finding::error(node.place, "`true` names no file").label("a file, or false"));
                None
            }
            Kind::Whole(_) | Kind::List(_) | Kind::Table(_) | Kind::Other(_) => {
                expected("a file, or false", node, report);
                None
            }
        }
    }

    fn show(&self, value: &StateFile) -> Option<Json> {
        match value {
            StateFile::At(path) => FILE.show(path),
            StateFile::None => Some(false.into()),
        }
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [FILE.schema(), { "enum": [false] }] })
    }
}
