//! What was revoked stays revoked, however the gateway ended.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Answer, Gateway, Request, Scratch, SigningKey, Upstream, epoch_seconds, run, upstream};

const ISSUER: &str = "https://issuer.example";

/// A way in and ways out, for the tokens of a signer whose keys are in a file.
struct Signer {
    key: SigningKey,
    app: Upstream,
}

impl Signer {
    fn new() -> Self {
        Self { key: SigningKey::new("k1"), app: Upstream::answering(Answer::ok("fine")) }
    }

    /// The configuration; the keys lie beside it.
    fn config(&self, keys: &std::path::Path, more: &str) -> String {
        let access = "upstream = \"app\"\naccess = { bearer = { issuers = [\"staff\"] } }";
        let out = |ends: &str| format!("[[route]]\npath = \"/logout/{ends}\"\nends = \"{ends}\"\n{access}\n");
        upstream("app", &[self.app.address], "")
            + &format!(
                "[issuer.staff.jwt]\nissuer = \"{ISSUER}\"\naudience = [\"orders\"]\nalgorithms = [\"ES256\"]\nkey_files = [\"{}\"]\n",
                keys.display()
            )
            + &format!("[[route]]\npath = \"/api/**\"\n{access}\n")
            + &["token", "session", "subject"].map(out).concat()
            + more
    }

    fn start(&self, elsewhere: &Scratch, more: &str) -> Gateway {
        let keys = elsewhere.write("keys.json", &json!({ "keys": [self.key.jwk()] }).to_string());
        Gateway::start(&self.config(&keys, more))
    }

    fn token(&self, subject: &str, session: &str, id: &str) -> String {
        self.key.sign(&claims(subject, session, id))
    }
}

fn claims(subject: &str, session: &str, id: &str) -> Value {
    let now = epoch_seconds();
    json!({ "iss": ISSUER, "aud": "orders", "sub": subject, "sid": session, "jti": id, "iat": now, "exp": now + 3600 })
}

#[test]
fn a_jwt_that_was_logged_out_stays_out_after_a_kill_and_a_restart() {
    for ends in ["token", "session", "subject"] {
        let (signer, keys) = (Signer::new(), Scratch::new());
        let gateway = signer.start(&keys, "");
        let (token, sibling) = (signer.token("ann", "s1", "1"), signer.token("ann", "s1", "2"));
        let stranger = signer.token("bob", "s2", "3");
        for token in [&token, &sibling, &stranger] {
            assert_eq!(gateway.get_as(token, "/api/x").status, 200);
        }
        assert_eq!(gateway.get_as(&token, &format!("/logout/{ends}")).status, 200);
        let mut gateway = Gateway::start_again(gateway.kill());
        for round in 0..2 {
            assert_eq!(gateway.get_as(&token, "/api/x").status, 401, "{ends}, restart {round}");
            let reached = if ends == "token" { 200 } else { 401 };
            assert_eq!(gateway.get_as(&sibling, "/api/x").status, reached, "{ends}, restart {round}");
            assert_eq!(gateway.get_as(&stranger, "/api/x").status, 200, "{ends}, restart {round}");
            gateway = Gateway::start_again(gateway.kill());
        }
    }
}

#[test]
fn without_a_state_file_a_cut_ends_with_the_process_and_that_has_to_be_asked_for() {
    let (signer, keys) = (Signer::new(), Scratch::new());
    let gateway = signer.start(&keys, "[store]\nfile = false\n");
    let token = signer.token("ann", "s1", "1");
    assert_eq!(gateway.get_as(&token, "/logout/token").status, 200);
    assert_eq!(gateway.get_as(&token, "/api/x").status, 401);
    assert!(!gateway.dir().join("portcullis-state.db").exists());
    assert_eq!(Gateway::start_again(gateway.kill()).get_as(&token, "/api/x").status, 200);
}

#[test]
fn nobody_starts_on_a_state_file_that_is_damaged_or_in_use() {
    let (signer, keys) = (Signer::new(), Scratch::new());
    let gateway = signer.start(&keys, "[store]\nfile = \"kept.db\"\n");
    let start = |dir: &std::path::Path| run(["run".as_ref(), "--config".as_ref(), dir.join("gateway.toml").as_os_str()]);
    let second = start(gateway.dir());
    assert_eq!(second.code, Some(2), "{second:#?}");
    assert!(second.errors.contains("another gateway runs on") && second.errors.contains("kept.db"), "{second:#?}");
    let dir = gateway.kill();
    // The log beside it holds every page until it is written back, and would mend the file.
    fs::remove_file(dir.path().join("kept.db-wal")).unwrap();
    fs::write(dir.path().join("kept.db"), "no database".repeat(1000)).unwrap();
    let damaged = start(dir.path());
    assert_eq!(damaged.code, Some(2), "{damaged:#?}");
    assert!(damaged.errors.contains("kept.db cannot be opened"), "{damaged:#?}");
}

#[test]
fn a_gateway_without_jwts_makes_no_state_file() {
    let app = Upstream::answering(Answer::ok("fine"));
    let route = "[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    let gateway = Gateway::start(&(upstream("app", &[app.address], "") + route));
    assert_eq!(gateway.ask(&Request::get("/x")).status, 200);
    assert!(!gateway.dir().join("portcullis-state.db").exists());
}
