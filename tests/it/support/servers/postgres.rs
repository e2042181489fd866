//! PostgreSQL.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, process};

use postgres::{Client, Config, NoTls};

use super::{Server, User, in_path, major_version, skip, unused_address};

/// The oldest that is supported.
const OLDEST: u32 = 15;

/// A PostgreSQL server with a user who may do everything. It takes passwords (SCRAM) only, and TLS from whoever wants it.
#[derive(Debug)]
pub(crate) struct PostgreSql {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its certificate (PEM), which vouches for itself.
    pub(crate) ca: String,
    server: Server,
}

impl PostgreSql {
    /// The user's name.
    pub(crate) const USER: &str = "portcullis";
    /// The user's password.
    pub(crate) const PASSWORD: &str = "pass: with / special & characters";

    /// A server that all tests of this process share, each with databases of its own. Nobody may end it.
    #[track_caller]
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<PostgreSql>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A server of the test's own; `None` where it is missing, which has been said then. Making it takes seconds.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let Some((postgres, initdb)) = programs() else {
            skip("PostgreSQL 15 or later (postgres, initdb)");
            return None;
        };
        let user = User::unless_root_may(&["postgres", "nobody"]);
        // SIGQUIT ends it at once, and with its shared memory, which SIGKILL would leave.
        let mut server = Server::new(&postgres, user, "QUIT");
        let password = server.write("password", Self::PASSWORD);
        let mut command = server.command(&initdb);
        command.args(["--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8", "--auth=scram-sha-256"]);
        command.args(["--username", Self::USER, "--pgdata=data", "--pwfile"]).arg(password);
        server.run(command);
        let (chain, key, ca) = server.certificate();
        let address = unused_address();
        server.arguments = vec!["-D".into(), "data".into(), "-h".into(), "127.0.0.1".into()];
        server.arguments.extend(["-p".into(), address.port().to_string().into()]);
        let certificate = [format!("ssl_cert_file={}", chain.display()), format!("ssl_key_file={}", key.display())];
        // What is committed outlives a kill without fsync, which guards against the end of the machine.
        let settings = ["unix_socket_directories=", "fsync=off", "full_page_writes=off", "ssl=on", "max_connections=300"];
        for setting in settings.into_iter().chain(certificate.iter().map(String::as_str)) {
            server.arguments.extend(["-c".into(), setting.into()]);
        }
        let mut started = Self { address, ca, server };
        started.start_again();
        Some(started)
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
        let config = self.config("postgres");
        self.server.start(|| config.connect(NoTls).is_ok());
    }

    /// Makes an empty database; its name.
    #[track_caller]
    pub(crate) fn database(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}_{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        self.client("postgres").batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        name
    }

    /// A connection to a database.
    #[track_caller]
    pub(crate) fn client(&self, database: &str) -> Client {
        self.config(database).connect(NoTls).unwrap()
    }

    fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.address.port()).dbname(database).user(Self::USER).password(Self::PASSWORD);
        config
    }
}

/// `postgres` and `initdb`, from where Debian has them or from the path.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs: Vec<_> = versions.map(|entry| entry.path().join("bin")).collect();
    dirs.sort();
    let of_debian = dirs.into_iter().rev().map(|dir| (dir.join("postgres"), dir.join("initdb")));
    let on_the_path = in_path("postgres").zip(in_path("initdb"));
    let is_right = |program: &Path| major_version(program).is_some_and(|version| version >= OLDEST);
    on_the_path.into_iter().chain(of_debian).find(|(postgres, initdb)| is_right(postgres) && initdb.exists())
}
