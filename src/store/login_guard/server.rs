//! A real server for tests, on a free port of the loopback address. It ends with the test process, however that ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Ends the server when its input ends, which it does with this process.
    _keeper: Child,
}

/// The server of this process. `None` if none is installed, which is a failure where CI is set.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
}

fn start() -> Option<Server> {
    let program = ["valkey-server", "redis-server"].into_iter().find(|program| {
        Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    let Some(program) = program else {
        assert!(std::env::var_os("CI").is_none(), "neither valkey-server nor redis-server is installed");
        #[expect(clippy::print_stderr, reason = "a test that is skipped must not look like one that passed")]
        {
            eprintln!("SKIPPED: neither valkey-server nor redis-server is installed");
        }
        return None;
    };
    (0..10).find_map(|_| try_start(program)).or_else(|| panic!("the server does not start"))
}

fn try_start(program: &str) -> Option<Server> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let script = format!(
        "{program} --bind 127.0.0.1 --port {} --save '' --appendonly no --dir /tmp >/dev/null & \
         server=$!; read -r _; kill -9 $server",
        address.port()
    );
    let keeper = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    let client = redis::Client::open(format!("redis://{address}/")).unwrap();
    let pongs = |_| {
        std::thread::sleep(Duration::from_millis(20));
        client.get_connection().is_ok_and(|mut connection| redis::cmd("PING").query::<String>(&mut connection).is_ok())
    };
    (0..250).any(pongs).then_some(Server { address, _keeper: keeper })
}
