//! A gateway running a configuration of the test's own.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;

use crate::support::process::{Finished, Process, SECRET, TOKEN, run};
use crate::support::{Request, Response, Scratch, until};

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where health and metrics are.
    pub(crate) admin: SocketAddr,
    process: Process,
    dir: Scratch,
}

impl Gateway {
    /// Starts with this configuration, to which a listener and the admin listener are added, both on free ports.
    /// The admin token is [`ADMIN_TOKEN`](crate::support::ADMIN_TOKEN).
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        Self::start_in(Scratch::new(), config, "")
    }

    /// The same over TLS, with this certificate chain and key (PEM).
    #[track_caller]
    pub(crate) fn start_with_tls(config: &str, chain: &str, key: &str) -> Self {
        let dir = Scratch::new();
        dir.write("chain.pem", chain);
        dir.write("key.pem", key);
        Self::start_in(dir, config, "tls = { certificates = \"chain.pem\", key = \"key.pem\" }\n")
    }

    /// The same, in a directory that holds files which the configuration names.
    #[track_caller]
    pub(crate) fn start_beside(dir: Scratch, config: &str) -> Self {
        Self::start_in(dir, config, "")
    }

    /// Starts again with the configuration, and on the files, of a gateway that ran here before.
    #[track_caller]
    pub(crate) fn start_again(dir: Scratch) -> Self {
        Self::run(dir)
    }

    /// Ends it as a power cut would (SIGKILL); what it leaves.
    pub(crate) fn kill(self) -> Scratch {
        let Self { process, dir, .. } = self;
        drop(process);
        dir
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    #[track_caller]
    fn start_in(dir: Scratch, config: &str, keys: &str) -> Self {
        let listener = format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{keys}");
        let admin = format!("[admin]\naddress = \"127.0.0.1:0\"\ntoken = {{ env = \"{}\" }}\n", TOKEN.0);
        dir.write("gateway.toml", &format!("{config}\n{listener}{admin}"));
        Self::run(dir)
    }

    #[track_caller]
    fn run(dir: Scratch) -> Self {
        let (process, address, admin) = run_in(&dir);
        Self { address, admin, process, dir }
    }

    /// Runs a command of the binary on its configuration; what it says.
    #[track_caller]
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let file = self.dir.path().join("gateway.toml");
        let config = ["--config".as_ref(), file.as_os_str()];
        let finished = run(arguments.iter().map(OsStr::new).chain(config));
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
        finished.output
    }

    /// Sends a request on a connection of its own.
    #[track_caller]
    pub(crate) fn ask(&self, request: &Request) -> Response {
        request.to(self.address)
    }

    /// Asks for a path with a Bearer token.
    #[track_caller]
    pub(crate) fn get_as(&self, token: &str, path: &str) -> Response {
        self.ask(&Request::get(path).bearer(token))
    }

    /// The value of a metric; 0 if it is not there.
    #[track_caller]
    pub(crate) fn metric<T: FromStr + Default>(&self, name: &str) -> T {
        let page = Request::get("/metrics").to(self.admin);
        let told = page.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        told.map_or_else(T::default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value}")))
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Finished {
        self.process.finish()
    }
}

/// Runs the configuration of a directory: the process, where it listens, and where its admin listener is.
#[track_caller]
pub(crate) fn run_in(dir: &Scratch) -> (Process, SocketAddr, SocketAddr) {
    let file = dir.path().join("gateway.toml");
    serving(Process::start(["run".as_ref(), "--config".as_ref(), file.as_os_str()]))
}

/// Waits until a process that was started serves: it, where it listens, and where its admin listener is.
#[track_caller]
pub(crate) fn serving(mut process: Process) -> (Process, SocketAddr, SocketAddr) {
    let (address, admin) = (announced(&mut process, "listening on "), announced(&mut process, "admin on "));
    await_readiness(admin);
    (process, address, admin)
}

/// The address behind `http://` or `https://` of the line that begins like this.
#[track_caller]
pub(crate) fn announced(process: &mut Process, prefix: &str) -> SocketAddr {
    let url = process.announced(prefix);
    let address = url.split_once("://").and_then(|(_, address)| address.parse().ok());
    address.unwrap_or_else(|| panic!("no address: {url}"))
}

/// Waits until the gateway says that it takes requests.
#[track_caller]
pub(crate) fn await_readiness(admin: SocketAddr) {
    until("the gateway is ready", || Request::get("/readyz").to(admin).status == 200);
}

/// The configuration of an upstream with these servers, and further keys.
pub(crate) fn upstream(name: &str, servers: &[SocketAddr], keys: &str) -> String {
    let mut list = String::new();
    for server in servers {
        write!(list, "\"http://{server}\", ").unwrap();
    }
    format!("[upstream.{name}]\nservers = [{list}]\n{keys}\n")
}

/// The configuration of an issuer that is asked at this address, and further keys. Unless they say otherwise it has all the
/// time in the world, so that a busy machine is no outage.
pub(crate) fn issuer(name: &str, at: SocketAddr, keys: &str) -> String {
    let client = format!("client = {{ basic = {{ id = \"gate way\", secret = {{ env = \"{}\" }} }} }}", SECRET.0);
    let deadline = if keys.contains("deadline") { "" } else { "deadline = \"1m\"" };
    format!("[issuer.{name}.introspection]\nurl = \"http://{at}/introspect\"\n{client}\n{deadline}\n{keys}\n")
}
