use std::sync::atomic::AtomicUsize;

use tokio::runtime::Runtime;

use super::*;

/// The servers of the black-box tests, here too.
#[path = "../../../tests/it/support/servers/mod.rs"]
#[expect(dead_code, unused_imports, reason = "only some of it is needed here")]
pub(in crate::store) mod servers;

/// A guard against hanging, never a measure.
const GUARD: Duration = Duration::from_mins(1);

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
    connect_within(server, terms(&[server]).deadline).await
}

/// A store with this deadline.
pub(in crate::store) async fn connect_within(server: &servers::Valkey, deadline: Duration) -> Valkey {
    let terms = Terms { deadline, ..terms(&[server]) };
    let valkey = Valkey::start(&terms, Arc::new(Log::default())).unwrap();
    assert!(valkey.ready(GUARD).await, "no connection");
    valkey
}

pub(in crate::store) fn terms(servers: &[&servers::Valkey]) -> Terms {
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

/// A store, what it tells of itself, and the runtime it is on.
struct Under {
    runtime: Runtime,
    valkey: Valkey,
    log: Arc<Log>,
}

impl Under {
    /// Begins to connect.
    fn start(terms: &Terms) -> Self {
        let (runtime, log) = (runtime(), Arc::new(Log::default()));
        let valkey = runtime.block_on(async { Valkey::start(terms, Arc::clone(&log) as _) }).unwrap();
        Self { runtime, valkey, log }
    }

    /// Waits for a connection.
    fn connected(terms: &Terms) -> Self {
        let under = Self::start(terms);
        under.until_up(true);
        under
    }

    fn until_up(&self, up: bool) {
        self.until(if up { "up" } else { "down" }, || self.valkey.is_up() == up);
    }

    fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let pause = Duration::from_millis(5);
        let seen = (0..GUARD.as_millis() / pause.as_millis()).any(|_| {
            let is_so = so();
            if !is_so {
                std::thread::sleep(pause);
            }
            is_so
        });
        assert!(seen, "never {what}: {:?}", self.log);
    }

    /// Counts one more under a key, by a script.
    fn count(&self, key: &str) -> Result<u64, Outage> {
        let script = redis::Script::new("return redis.call('INCR', KEYS[1])");
        self.runtime.block_on(self.valkey.run("count", &script.key(key)))
    }

    /// How often it was told to be up, and to be down.
    fn told(&self) -> (usize, usize) {
        (self.log.ups.load(Ordering::Relaxed), self.log.downs.load(Ordering::Relaxed))
    }
}

#[test]
fn a_server_that_is_killed_is_an_outage_at_once_and_its_successor_is_used_by_itself() {
    let Some(mut server) = servers::Valkey::start() else { return };
    // Nothing here is decided by the deadline: a minute would be too long for the test.
    let under = Under::connected(&Terms { deadline: GUARD, ..terms(&[&server]) });
    assert_eq!(under.count("key"), Ok(1));
    for round in 1..=2 {
        server.kill();
        under.until_up(false);
        for _ in 0..1_000 {
            assert_eq!(under.count("key"), Err(Outage));
        }
        assert_eq!(under.told(), (round, round), "once each, however long it lasts");
        server.start_again();
        under.until_up(true);
        assert_eq!(under.count("key"), Ok(round as u64 + 1), "scripts that the server has forgotten are told it again");
    }
    assert_eq!(under.log.failures.load(Ordering::Relaxed), 0, "what is known to be away is not asked");
}

#[test]
fn a_server_that_says_nothing_is_waited_for_no_longer_than_the_deadline_and_then_not_at_all() {
    let Some(server) = servers::Valkey::start() else { return };
    let under = Under::connected(&Terms { deadline: Duration::from_millis(100), ..terms(&[&server]) });
    server.freeze();
    for _ in 0..LATE_CALLS {
        assert_eq!(under.count("key"), Err(Outage));
    }
    assert!(!under.valkey.is_up());
    let late = under.log.failures.load(Ordering::Relaxed);
    assert!(late <= LATE_CALLS);
    for _ in 0..100 {
        assert_eq!(under.count("key"), Err(Outage));
    }
    assert_eq!(under.log.failures.load(Ordering::Relaxed), late);
    server.thaw();
    under.until_up(true);
    assert_eq!(under.told(), (2, 1));
}

/// As many calls as it takes to see that a server is away.
const LATE_CALLS: usize = PATIENCE as usize;

#[test]
fn one_slow_answer_is_no_outage_of_the_whole() {
    let Some(server) = servers::Valkey::start() else { return };
    let under = Under::connected(&Terms { deadline: Duration::from_secs(1), ..terms(&[&server]) });
    server.freeze();
    assert_eq!(under.count("key"), Err(Outage));
    server.thaw();
    // What was asked before may have been done, and its answer is not taken for another's.
    let counted = under.count("key");
    assert!(matches!(counted, Ok(1 | 2)), "{counted:?}");
    assert_eq!((under.count("other"), under.told()), (Ok(1), (1, 0)));
}

#[test]
fn a_wrong_password_is_an_outage_until_it_is_the_right_one() {
    let Some(server) = servers::Valkey::start_with_tls() else { return };
    let tls = Some(Tls::These(server.ca.clone().into_bytes().into()));
    let login = |password: &str| Login { username: None, password: Some(Secret::new(password.to_owned())) };
    let secured = |password| Terms { tls: tls.clone(), login: login(password), ..terms(&[&server]) };
    let right = Under::connected(&secured(servers::Valkey::PASSWORD));
    assert_eq!(right.count("key"), Ok(1));
    let named = Login { username: Some(servers::Valkey::USER.into()), ..login(servers::Valkey::PASSWORD) };
    assert_eq!(Under::connected(&Terms { login: named, ..secured("") }).count("key"), Ok(2));

    let wrong = Under::start(&secured("wrong"));
    wrong.until("told to be away", || wrong.told() == (0, 1));
    assert_eq!(wrong.count("key"), Err(Outage));
    server.ask::<()>(&["ACL", "SETUSER", "default", ">wrong"]);
    wrong.until_up(true);
    assert_eq!((wrong.count("key"), wrong.told()), (Ok(3), (1, 1)));

    // A certificate that nobody has vouched for, and a server that wants TLS and gets none.
    let stranger = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap().cert.pem();
    for tls in [Some(Tls::These(stranger.into_bytes().into())), None] {
        let under = Under::start(&Terms { tls, ..secured(servers::Valkey::PASSWORD) });
        under.until("told to be away", || under.told() == (0, 1));
        assert_eq!(under.count("key"), Err(Outage));
    }
}

#[test]
fn a_server_that_may_not_be_written_to_or_run_scripts_is_an_outage() {
    let Some(server) = servers::Valkey::start() else { return };
    let under = Under::connected(&terms(&[&server]));
    assert_eq!(under.count("key"), Ok(1));
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(under.count("key"), Err(Outage));
    assert!(!under.valkey.is_up());
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    under.until_up(true);
    assert_eq!((under.count("key"), under.told()), (Ok(2), (2, 1)));
    server.ask::<()>(&["ACL", "SETUSER", "default", "-eval", "-evalsha"]);
    assert_eq!(under.count("key"), Err(Outage));
    server.ask::<()>(&["ACL", "SETUSER", "default", "+@all"]);
    under.until_up(true);
    assert_eq!((under.count("key"), under.told()), (Ok(3), (3, 2)));
}

#[test]
fn when_a_sentinel_names_another_master_that_one_is_used() {
    let Some(mut watched) = servers::ValkeyWithSentinel::start() else { return };
    let topology = Topology::Sentinel { master: servers::ValkeyWithSentinel::MASTER.into(), login: Login::default() };
    let login = Login { username: None, password: Some(Secret::new(servers::Valkey::PASSWORD.to_owned())) };
    let under = Under::connected(&Terms { topology, login, ..terms(&[&watched.sentinel]) });
    assert_eq!(under.count("key"), Ok(1));
    under.until("replicated", || watched.replica.ask::<Option<String>>(&["GET", "key"]).is_some());
    watched.master.kill();
    under.until_up(false);
    under.until_up(true);
    assert_eq!((under.count("key"), under.told()), (Ok(2), (2, 1)));
    assert_eq!(watched.replica.ask::<String>(&["GET", "key"]), "2");
}

#[test]
fn a_server_is_another_one_after_a_restart_and_after_a_promotion_and_tells_so_to_who_reads_and_who_writes() {
    let Some(mut server) = servers::Valkey::start() else { return };
    let under = Under::connected(&terms(&[&server]));
    let bounds = stream::Bounds { retention: GUARD, most: 100 };
    let append = || under.runtime.block_on(under.valkey.append("cut", "test:cuts", bounds, &[vec![1]]));
    let mut tail = stream::Tail::new(&terms(&[&server]), "test:cuts").unwrap();
    let mut look = || {
        under.runtime.block_on(async {
            tail.open().await.unwrap();
            tail.look().await.unwrap().server
        })
    };
    let first = look();
    assert_eq!((append().as_ref(), &look()), (Ok(&first), &first), "what is written is no other server");
    // The same process: it follows another for a while, and is promoted then.
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    let promoted = look();
    assert_ne!(promoted, first);
    under.until("told by who writes", || append().as_ref() == Ok(&promoted));
    server.kill();
    server.start_again();
    let restarted = look();
    assert!(restarted != promoted && restarted != first);
    under.until("told by who writes", || append().as_ref() == Ok(&restarted));
}

#[test]
fn a_cluster_is_used_as_a_whole_and_is_away_as_a_whole() {
    let Some(mut cluster) = servers::ValkeyCluster::start() else { return };
    let under = Under::connected(&Terms { topology: Topology::Cluster, ..terms(&[&cluster.nodes[0]]) });
    let all = |expected: u64| (0..30).all(|key| under.count(&format!("key:{key}")) == Ok(expected));
    assert!(all(1));
    for node in &cluster.nodes {
        assert!(node.ask::<u64>(&["DBSIZE"]) > 0, "each has a part");
    }
    cluster.nodes[2].kill();
    under.until_up(false);
    cluster.nodes[2].start_again();
    under.until_up(true);
    under.until("whole again", || under.count("key:0").is_ok());
    let (ups, downs) = under.told();
    assert!(ups >= 2 && downs == ups - 1, "{ups} {downs}");
}

#[test]
fn the_connection_ends_with_the_last_handle() {
    let Some(server) = servers::Valkey::start() else { return };
    let clients = || server.ask::<String>(&["CLIENT", "LIST"]).lines().filter(|line| line.contains("laddr=127.0.0.1")).count();
    let under = Under::connected(&terms(&[&server]));
    assert_eq!(clients(), 1);
    let Under { runtime, valkey, .. } = under;
    drop(valkey);
    runtime.block_on(async {
        let gone = async {
            while clients() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(GUARD, gone).await.expect("the connection stays");
    });
}
