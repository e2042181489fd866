//! The servers of the other tests: that they are what those tests take them for.

use std::net::TcpStream;

use crate::support::{PostgreSql, Valkey, ValkeyCluster, ValkeyWithSentinel, until};

#[test]
fn a_valkey_that_was_killed_comes_back_with_what_it_had_or_empty() {
    let Some(mut valkey) = Valkey::start() else { return };
    valkey.ask::<()>(&["SET", "name", "ada"]);
    valkey.kill();
    assert!(TcpStream::connect(valkey.address).is_err());
    valkey.start_again();
    assert_eq!(valkey.ask::<String>(&["GET", "name"]), "ada");
    valkey.freeze();
    assert!(TcpStream::connect(valkey.address).is_ok(), "it takes connections, and answers nothing");
    valkey.thaw();
    valkey.kill();
    valkey.start_empty();
    assert_eq!(valkey.ask::<Option<String>>(&["GET", "name"]), None);
}

#[test]
fn a_valkey_with_tls_wants_its_password() {
    let Some(valkey) = Valkey::start_with_tls() else { return };
    assert!(valkey.ca.starts_with("-----BEGIN CERTIFICATE-----"));
    let plain = redis::Client::open(format!("redis://{}", valkey.address)).unwrap();
    assert!(plain.get_connection().is_err(), "it takes no connection without TLS");
    let mut link = valkey.connection();
    for (password, good) in [("wrong", false), (Valkey::PASSWORD, true)] {
        assert_eq!(redis::cmd("AUTH").arg(Valkey::USER).arg(password).exec(&mut link).is_ok(), good);
    }
}

#[test]
fn a_sentinel_makes_the_replica_the_master_when_the_master_is_gone() {
    let Some(mut set) = ValkeyWithSentinel::start() else { return };
    let told = |set: &ValkeyWithSentinel| {
        set.sentinel.ask::<Vec<String>>(&["SENTINEL", "get-master-addr-by-name", ValkeyWithSentinel::MASTER])
    };
    let port = |valkey: &Valkey| valkey.address.port().to_string();
    assert_eq!(told(&set), ["127.0.0.1", &port(&set.master)]);
    set.master.kill();
    until("the replica is the master", || told(&set)[1] == port(&set.replica));
    until("it takes writes", || redis::cmd("SET").arg("name").arg("ada").exec(&mut set.replica.connection()).is_ok());
}

#[test]
fn a_cluster_has_its_keys_at_three_servers() {
    let Some(cluster) = ValkeyCluster::start() else { return };
    for key in ["a", "b", "c", "d", "e", "f"] {
        let write = |valkey: &Valkey| redis::cmd("SET").arg(key).arg("x").exec(&mut valkey.connection());
        let (done, moved): (Vec<_>, Vec<_>) = cluster.nodes.iter().map(write).partition(Result::is_ok);
        assert_eq!((done.len(), moved.len()), (1, 2));
        assert!(moved.into_iter().all(|moved| moved.is_err_and(|error| error.to_string().contains("Moved"))));
    }
}

#[test]
fn a_postgresql_that_was_killed_comes_back_with_what_was_committed() {
    let Some(mut server) = PostgreSql::start() else { return };
    let database = server.database();
    let mut client = server.client(&database);
    client.batch_execute("CREATE TABLE person (name text); INSERT INTO person VALUES ('ada')").unwrap();
    server.freeze();
    server.thaw();
    server.kill();
    assert!(client.batch_execute("SELECT 1").is_err());
    server.start_again();
    let row = server.client(&database).query_one("SELECT name FROM person", &[]).unwrap();
    assert_eq!(row.get::<_, String>(0), "ada");
    assert!(server.ca.starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn tests_that_share_a_postgresql_have_a_database_each() {
    let Some(server) = PostgreSql::shared() else { return };
    let (one, other) = (server.database(), server.database());
    for database in [&one, &other] {
        server.client(database).batch_execute("CREATE TABLE person (name text)").unwrap();
    }
}
