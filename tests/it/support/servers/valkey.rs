//! Valkey, or Redis: by itself, watched by a Sentinel, and as a Cluster.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use redis::{Client, Connection, FromRedisValue};

use super::{PAUSE, Server, TRIES, in_path, major_version, skip, unused_address};

/// A server. What was answered outlives a kill.
#[derive(Debug)]
pub(crate) struct Valkey {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its certificate (PEM), which vouches for itself; empty if it listens without TLS.
    pub(crate) ca: String,
    password: Option<&'static str>,
    server: Server,
}

/// A server, its replica, and a Sentinel that makes the replica the master once the master has been silent for half a second.
#[derive(Debug)]
pub(crate) struct ValkeyWithSentinel {
    /// The master at first.
    pub(crate) master: Valkey,
    /// The replica at first.
    pub(crate) replica: Valkey,
    /// Who knows which is which.
    pub(crate) sentinel: Valkey,
}

/// Three servers that have a third of the keys each.
#[derive(Debug)]
pub(crate) struct ValkeyCluster {
    /// The servers, in the order of their slots.
    pub(crate) nodes: [Valkey; 3],
}

impl Valkey {
    /// The name of a user with this [`PASSWORD`](Self::PASSWORD), on servers that want one; the default user has the same.
    pub(crate) const USER: &str = "gateway";
    /// The password, on servers that want one.
    pub(crate) const PASSWORD: &str = "pass+word";

    /// One that wants no password; `None` where it is missing, which has been said then.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        Some(Self::with(&program()?, None, false, ""))
    }

    /// One that wants TLS and a password.
    #[track_caller]
    pub(crate) fn start_with_tls() -> Option<Self> {
        Some(Self::with(&program()?, Some(Self::PASSWORD), true, ""))
    }

    #[track_caller]
    fn with(program: &Path, password: Option<&'static str>, tls: bool, settings: &str) -> Self {
        let (address, server) = (unused_address(), Server::new(program, None, "KILL"));
        let mut config = format!("bind 127.0.0.1\nunixsocket {}/socket\ndir {0}\n", server.dir.display());
        let mut ca = String::new();
        if tls {
            let (chain, key, certificate) = server.certificate();
            let (chain, key, port) = (chain.display(), key.display(), address.port());
            let files = format!("tls-cert-file {chain}\ntls-key-file {key}\ntls-auth-clients no");
            write!(config, "port 0\ntls-port {port}\n{files}\n").unwrap();
            ca = certificate;
        } else {
            writeln!(config, "port {}", address.port()).unwrap();
        }
        if let Some(password) = password {
            writeln!(config, "requirepass {password}\nuser {} on >{password} ~* &* +@all", Self::USER).unwrap();
        }
        config.push_str(settings);
        let mut started = Self { address, ca, password, server };
        started.server.arguments = vec![started.server.write("valkey.conf", &config).into()];
        if settings.contains("sentinel") {
            started.server.arguments.push("--sentinel".into());
        } else {
            started.server.arguments.extend(["--save", "", "--appendonly", "yes", "--appendfsync", "no"].map(Into::into));
        }
        started.start_again();
        started
    }

    /// Ends it as a power cut would (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Stops it in its tracks: it answers nothing, and its connections stay.
    pub(crate) fn freeze(&self) {
        self.server.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.server.signal("-CONT");
    }

    /// Starts it again, where it was and with what it had.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        // Connecting to the socket of a killed server fails, as it does before there is one.
        let client = self.client();
        self.server.start(|| client.get_connection().is_ok_and(|mut link| redis::cmd("PING").exec(&mut link).is_ok()));
    }

    /// Starts it again, where it was but with nothing, as one does that was kept in memory only.
    #[track_caller]
    pub(crate) fn start_empty(&mut self) {
        match fs::remove_dir_all(self.server.dir.join("appendonlydir")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => self.start_again(),
        }
    }

    /// A connection, not over the port but beside it, so without TLS.
    #[track_caller]
    pub(crate) fn connection(&self) -> Connection {
        self.client().get_connection().unwrap()
    }

    /// What it answers to a command.
    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query(&mut self.connection()).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    fn client(&self) -> Client {
        let password = self.password.map_or_else(String::new, |password| format!("?pass={password}").replace('+', "%2B"));
        Client::open(format!("unix://{}/socket{password}", self.server.dir.display())).unwrap()
    }

    fn until_told(&self, words: &[&str], expected: &str) {
        let told = (0..TRIES).any(|_| {
            let so = self.ask::<String>(words).contains(expected);
            if !so {
                std::thread::sleep(PAUSE);
            }
            so
        });
        assert!(told, "never `{expected}` in {words:?}:\n{}\n{}", self.ask::<String>(words), self.server.log());
    }
}

impl ValkeyWithSentinel {
    /// What the Sentinel calls the master.
    pub(crate) const MASTER: &str = "portcullis";

    /// All three, with a password for the first two; `None` where the server is missing, which has been said then.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let (program, password, name) = (program()?, Valkey::PASSWORD, Self::MASTER);
        let data = format!("masterauth {password}\nrepl-diskless-sync-delay 0\n");
        let master = Valkey::with(&program, Some(password), false, &data);
        let port = master.address.port();
        let replica = Valkey::with(&program, Some(password), false, &format!("{data}replicaof 127.0.0.1 {port}\n"));
        replica.until_told(&["INFO", "replication"], "master_link_status:up");
        let watching = format!(
            "sentinel monitor {name} 127.0.0.1 {port} 1\nsentinel auth-pass {name} {password}\n\
             sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 2000\n"
        );
        let sentinel = Valkey::with(&program, None, false, &watching);
        sentinel.until_told(&["INFO", "sentinel"], "slaves=1");
        Some(Self { master, replica, sentinel })
    }
}

impl ValkeyCluster {
    const SLOTS: [(&str, &str); 3] = [("0", "5461"), ("5462", "10922"), ("10923", "16383")];

    /// All three, in agreement; `None` where the server is missing, which has been said then.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let program = program()?;
        let node = |index: usize| {
            let bus = unused_address().port();
            let settings = format!("cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 1000\n");
            let node = Valkey::with(&program, None, false, &settings);
            let (first, last) = Self::SLOTS[index];
            node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
            node.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            (node, bus.to_string())
        };
        let [(first, _), others @ ..] = [node(0), node(1), node(2)];
        for (other, bus) in &others {
            first.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &other.address.port().to_string(), bus]);
        }
        let [(second, _), (third, _)] = others;
        let cluster = Self { nodes: [first, second, third] };
        for node in &cluster.nodes {
            node.until_told(&["CLUSTER", "INFO"], "cluster_known_nodes:3");
            node.until_told(&["CLUSTER", "INFO"], "cluster_state:ok");
        }
        Some(cluster)
    }
}

/// Where the server is; `None` if it is missing, which has been said then.
fn program() -> Option<PathBuf> {
    let found = ["valkey-server", "redis-server"].into_iter().find_map(|name| {
        // Redis says `Redis server v=7.0.15`, Valkey the same in its own name.
        in_path(name).filter(|path| major_version(path).is_some_and(|version| version >= 7))
    });
    if found.is_none() {
        skip("Valkey or Redis 7 (valkey-server, redis-server)");
    }
    found
}
