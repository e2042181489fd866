//! Several gateways with the embedded token service on one PostgreSQL: they are one service, and its outages are outages.
//!
//! What is measured is printed: `cargo test --test it many_nodes_postgres -- --nocapture`.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Answer, Gateway, PostgreSql, Request, Scratch, Upstream, until, upstream};

const EMAIL: &str = "ann@example.com";
const PASSWORD: &str = "four plain words here";

/// By when every gateway knows of an end that was answered (the requirement's bound).
const KNOWN_WITHIN: Duration = Duration::from_millis(50);

/// Senders of requests on each gateway.
const SENDERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(4);

#[expect(clippy::disallowed_methods, reason = "the bound that is tested is one of time")]
fn now() -> Instant {
    Instant::now()
}

/// Says what was measured to whoever wants to see it.
#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
fn say(what: &str) {
    println!("{what}");
}

/// Gateways on one database, in front of one application.
struct Nodes {
    gateways: Vec<Gateway>,
    _app: Upstream,
    _files: Scratch,
}

impl Nodes {
    fn start(server: &PostgreSql, count: usize) -> Self {
        let (app, files) = (Upstream::answering(Answer::ok("fine")), Scratch::new());
        let ca = files.write("ca.pem", &server.ca);
        let password = files.write("password", PostgreSql::PASSWORD);
        let own = files.write("account", PASSWORD);
        let key = files.write("server.key", "the same 32 bytes on every node!");
        let config = format!(
            "environment = \"sandbox\"\n\
             [token_service]\nstore = \"postgres\"\nkey_file = \"{key}\"\npublic_url = \"http://gateway.example\"\n\
             hashing = {{ memory = \"7MiB\", passes = 1 }}\n\
             [token_service.postgres]\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"{}\"\nuser = \"{}\"\nschema = \"tokens\"\n\
             password = {{ file = \"{password}\" }}\nca_file = \"{ca}\"\n\
             [token_service.back_office]\nlimits = {{ sign_in = 1000 }}\n{}\
             [[route]]\npath = \"/app/**\"\nupstream = \"app\"\naccess = {{ bearer = {{ issuers = [\"embedded\"] }} }}\n",
            server.address.port(),
            server.database(),
            PostgreSql::USER,
            upstream("app", &[app.address], ""),
            key = key.display(),
            password = password.display(),
            ca = ca.display(),
        );
        let gateways: Vec<_> = thread::scope(|scope| {
            // All at once: the schema and the first signing key are made by one of them.
            let starting: Vec<_> = (0..count).map(|_| scope.spawn(|| Gateway::start(&config))).collect();
            starting.into_iter().map(|node| node.join().unwrap()).collect()
        });
        gateways[0].command(&["account", "add", "--email", EMAIL, "--password-file", own.to_str().unwrap()]);
        Self { gateways, _app: app, _files: files }
    }

    fn sign_in(&self, node: usize) -> String {
        let answer = self.try_to_sign_in(node);
        answer.unwrap_or_else(|status| panic!("signing in: {status}"))
    }

    fn try_to_sign_in(&self, node: usize) -> Result<String, u16> {
        let answer =
            self.gateways[node].ask(&Request::json("/api/v2/signin", &json!({ "email": EMAIL, "password": PASSWORD })));
        if answer.status != 200 {
            return Err(answer.status);
        }
        Ok(answer.json().pointer("/accessToken/token").unwrap().as_str().unwrap().to_owned())
    }

    fn sign_out(&self, node: usize, token: &str) -> u16 {
        self.gateways[node].ask(&Request::new("POST", "/api/v2/signout").bearer(token).body("")).status
    }

    fn uses(&self, node: usize, token: &str) -> u16 {
        self.gateways[node].get_as(token, "/app/x").status
    }
}

/// A request: when it was sent, when it was answered, and how.
type Asked = (Instant, Instant, u16);

/// Uses a token on a gateway from several sides until told to stop; everything that was asked, and for how long the machine
/// kept a thread waiting that did nothing but sleep.
fn under_load(nodes: &Nodes, node: usize, token: &str, meanwhile: impl FnOnce(&Mutex<Vec<Asked>>)) -> (Vec<Asked>, Duration) {
    let (stop, asked) = (AtomicBool::new(false), Mutex::new(Vec::<Asked>::new()));
    let stall = thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let mut stall = Duration::ZERO;
            while !stop.load(Ordering::SeqCst) {
                let began = now();
                thread::sleep(PAUSE);
                stall = stall.max(began.elapsed().saturating_sub(PAUSE));
            }
            stall
        });
        for _ in 0..SENDERS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let began = now();
                    let status = nodes.uses(node, token);
                    asked.lock().unwrap().push((began, now(), status));
                    thread::sleep(PAUSE);
                }
            });
        }
        until("the token is in use", || asked.lock().unwrap().len() > 10 * SENDERS);
        meanwhile(&asked);
        stop.store(true, Ordering::SeqCst);
        sleeper.join().unwrap()
    });
    (asked.into_inner().unwrap(), stall)
}

fn count(asked: &[Asked], status: u16) -> usize {
    asked.iter().filter(|(_, _, answered)| *answered == status).count()
}

#[test]
fn gateways_on_one_database_are_one_token_service() {
    let Some(server) = PostgreSql::shared() else { return };
    let nodes = Nodes::start(server, 3);
    for node in 0..3 {
        let token = nodes.sign_in(node);
        for other in 0..3 {
            assert_eq!(nodes.uses(other, &token), 200, "signed in at {node}, used at {other}");
        }
        let elsewhere = (node + 1) % 3;
        assert_eq!(nodes.sign_out(elsewhere, &token), 200);
        assert_eq!(nodes.uses(elsewhere, &token), 401);
        until("every gateway knows that it ended", || (0..3).all(|other| nodes.uses(other, &token) == 401));
    }
}

#[test]
fn an_end_that_was_answered_by_one_gateway_is_known_to_the_other_within_50_ms_under_load() {
    let Some(server) = PostgreSql::shared() else { return };
    let nodes = Nodes::start(server, 2);
    let mut latest = Duration::ZERO;
    for round in 0..10 {
        let token = nodes.sign_in(round % 2);
        let mut answered = None;
        let (asked, stall) = under_load(&nodes, 1, &token, |asked| {
            assert_eq!(nodes.sign_out(0, &token), 200);
            let at = now();
            answered = Some(at);
            let is_late = |(began, _, _): &&Asked| *began > at + KNOWN_WITHIN;
            until("the other gateway is used for longer", || {
                asked.lock().unwrap().iter().filter(is_late).count() > 10 * SENDERS
            });
        });
        let answered = answered.unwrap();
        let mut last = Duration::ZERO;
        let told: BTreeMap<u16, usize> = asked.iter().map(|(_, _, status)| (*status, count(&asked, *status))).collect();
        assert!(told.keys().eq(&[200, 401]), "in use before and after, and nothing else: {told:?}, round {round}");
        for (began, _, status) in &asked {
            let after = began.saturating_duration_since(answered);
            if *status == 200 {
                last = last.max(after);
            }
        }
        // News takes some ten turns of threads and processes; a machine that keeps each of them waiting is not to blame on us.
        let bound = KNOWN_WITHIN.max(stall * 10);
        assert!(last <= bound, "let in {last:?} after the end was answered; the machine stalls for {stall:?}");
        latest = latest.max(last);
    }
    say(&format!("the latest request that was let in began {latest:?} after the end was answered elsewhere"));
}

#[test]
fn a_server_that_is_killed_is_an_outage_and_nothing_that_was_answered_is_lost() {
    let Some(mut server) = PostgreSql::start() else { return };
    let nodes = Nodes::start(&server, 2);
    let (kept, ended) = (nodes.sign_in(0), nodes.sign_in(1));
    let (mut killed, mut back, mut recovered) = (None, None, None);
    let (asked, _) = under_load(&nodes, 1, &kept, |_| {
        assert_eq!(nodes.sign_out(0, &ended), 200);
        server.kill();
        let at = now();
        killed = Some(at);
        until("what must be asked about is refused", || nodes.uses(1, &kept) == 503);
        assert_eq!(nodes.try_to_sign_in(0), Err(503));
        assert_eq!(nodes.sign_out(0, &kept), 503, "nothing has ended");
        server.start_again();
        let at = now();
        back = Some(at);
        until("it goes on without a restart", || nodes.uses(1, &kept) == 200 && nodes.uses(0, &kept) == 200);
        recovered = Some(at.elapsed());
        until("signing in works again", || nodes.try_to_sign_in(1).is_ok());
    });
    for (_, _, status) in &asked {
        assert!(matches!(status, 200 | 503), "an outage is never a {status}");
    }
    for node in 0..2 {
        until("it is asked about again", || nodes.uses(node, &ended) != 503);
        assert_eq!(nodes.uses(node, &ended), 401, "what ended before stays ended");
        assert_eq!(nodes.uses(node, &kept), 200, "what was issued before is good");
    }
    let (killed, back) = (killed.unwrap(), back.unwrap());
    let refused = asked.iter().filter(|(_, _, status)| *status == 503);
    let first = refused.clone().map(|(began, _, _)| *began).min().map(|at| at.saturating_duration_since(killed));
    let slowest = refused.map(|(began, ended, _)| *ended - *began).max();
    say(&format!(
        "{} served, {} refused with 503 (the first {first:?} after the kill, the slowest took {slowest:?}); the server was away \
         for {:?}; served again {:?} after it was back",
        count(&asked, 200),
        count(&asked, 503),
        back - killed,
        recovered.unwrap(),
    ));
}

/// A server that does nothing at all, until this is dropped: neither it nor the processes that it has made for its sessions.
struct Frozen<'a> {
    server: &'a PostgreSql,
    sessions: Vec<String>,
}

impl<'a> Frozen<'a> {
    fn freeze(server: &'a PostgreSql) -> Self {
        let query = "SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let sessions = server.client("postgres").query(query, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        server.freeze();
        let frozen = Self { server, sessions };
        frozen.signal("-STOP");
        frozen
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").arg(signal).args(&self.sessions).status().unwrap().success());
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.signal("-CONT");
        self.server.thaw();
    }
}

#[test]
fn a_server_that_hangs_is_an_outage_and_nobody_waits_for_it_for_ever() {
    let Some(server) = PostgreSql::start() else { return };
    let nodes = Nodes::start(&server, 2);
    let token = nodes.sign_in(0);
    assert_eq!(nodes.uses(1, &token), 200);
    let frozen = Frozen::freeze(&server);
    let at = now();
    assert_eq!(nodes.try_to_sign_in(0), Err(503));
    let signing_in = at.elapsed();
    until("nothing that is remembered is trusted any more", || nodes.uses(1, &token) == 503);
    let deaf = at.elapsed();
    drop(frozen);
    let back = now();
    until("it goes on without a restart", || (0..2).all(|node| nodes.uses(node, &token) == 200));
    say(&format!(
        "frozen: a sign-in was refused after {signing_in:?}, everything after {deaf:?}; served {:?} after the thaw",
        back.elapsed()
    ));
    until("signing in works again", || nodes.try_to_sign_in(0).is_ok());
}
