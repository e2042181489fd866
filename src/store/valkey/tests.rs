use std::sync::atomic::AtomicUsize;

use tokio::runtime::Runtime;

use super::*;

/// The servers of the black-box tests, here too.
#[path = "../../../tests/it/support/servers/mod.rs"]
#[expect(dead_code, unused_imports, reason = "only some of it is needed here")]
pub(in crate::store) mod servers;

/// A guard against hanging, never a measure.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a connection tells of itself.
#[derive(Debug, Default)]
struct Log {
    ups: AtomicUsize,
    downs: AtomicUsize,
    failures: AtomicUsize,
}

impl Watcher for Log {
    fn is_up(&self, up: bool) {
        if up { &self.ups } else { &self.downs }.fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&self, _: &'static str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

pub(in crate::store) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A store with a deadline that a busy machine keeps.
pub(in crate::store) async fn connect(server: &servers::Valkey) -> Valkey {
    let valkey = Valkey::start(&terms(&[server]), Arc::new(Log::default())).unwrap();
    assert!(valkey.ready(PATIENCE).await, "no connection");
    valkey
}

fn terms(servers: &[&servers::Valkey]) -> Terms {
    let servers = servers.iter().map(|server| (server.address.ip().to_string().into(), server.address.port())).collect();
    Terms {
        servers: NonEmpty::new(servers).unwrap(),
        topology: Topology::Standalone,
        login: Login::default(),
        database: 0,
        tls: None,
        prefix: "test".into(),
        secret: Secret::new("a secret of thirty-two bytes or so".to_owned()),
        deadline: Duration::from_secs(10),
    }
}
