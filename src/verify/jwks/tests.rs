//! Keys that are published by a real server, which rotates them, fails, and comes back.

use serde_json::Value;
use tokio::task::JoinSet;

use super::*;
use crate::plan::JwtAlgorithm;
use crate::verify::fixture::signing::{SigningKey, jwks};
use crate::verify::fixture::{HandClock, Served};

const MINUTE: Duration = Duration::from_mins(1);

struct Town {
    server: Served,
    clock: Arc<HandClock>,
    ring: KeyRing,
}

impl Town {
    /// Keys are fetched again when they are ten minutes old, and for unknown names once a minute.
    async fn publishing(keys: &[Value]) -> Self {
        let server = Served::saying(200, &jwks(keys)).await;
        let clock = Arc::new(HandClock::default());
        let source = KeySource::Url {
            url: server.url(),
            deadline: Duration::from_secs(20),
            refresh: 10 * MINUTE,
            cooldown: MINUTE,
            ca_file: None,
        };
        let ring = KeyRing::new(&source, Arc::<HandClock>::clone(&clock)).unwrap();
        Self { server, clock, ring }
    }

    fn fetches(&self) -> usize {
        self.server.heard().len()
    }

    async fn names(&self, kid: &str) -> Result<bool, Unavailable> {
        let keys = self.ring.current().await?;
        if keys.names(kid) {
            return Ok(true);
        }
        Ok(self.ring.newer(&keys).await?.is_some_and(|keys| keys.names(kid)))
    }
}

fn key(kid: &str) -> Value {
    SigningKey::ed25519().jwk(kid)
}

#[tokio::test]
async fn a_hundred_first_tokens_are_one_fetch() {
    let town = Arc::new(Town::publishing(&[key("a")]).await);
    town.server.takes(Duration::from_millis(20));
    let mut tokens = JoinSet::new();
    for _ in 0..100 {
        let town = Arc::clone(&town);
        tokens.spawn(async move { town.names("a").await });
    }
    assert_eq!(tokens.join_all().await, vec![Ok(true); 100]);
    assert_eq!(town.fetches(), 1);
}

#[tokio::test]
async fn a_rotated_key_is_found_by_one_fetch_however_many_tokens_need_it() {
    let town = Arc::new(Town::publishing(&[key("a")]).await);
    assert_eq!(town.names("a").await, Ok(true));
    town.server.says(200, &jwks(&[key("b")]));
    town.server.takes(Duration::from_millis(20));
    town.clock.forward(MINUTE);
    let mut tokens = JoinSet::new();
    for _ in 0..100 {
        let town = Arc::clone(&town);
        tokens.spawn(async move { town.names("b").await });
    }
    assert_eq!(tokens.join_all().await, vec![Ok(true); 100]);
    assert_eq!(town.fetches(), 2);
}

#[tokio::test]
async fn invented_key_names_cost_one_fetch_per_cooldown() {
    let town = Town::publishing(&[key("a")]).await;
    assert_eq!(town.names("a").await, Ok(true));
    town.clock.forward(MINUTE);
    for invented in 0..50 {
        assert_eq!(town.names(&format!("x{invented}")).await, Ok(false));
    }
    assert_eq!(town.fetches(), 2);
    town.clock.forward(MINUTE);
    assert_eq!(town.names("x").await, Ok(false));
    assert_eq!(town.fetches(), 3);
    assert_eq!(town.names("a").await, Ok(true));
}

#[tokio::test]
async fn known_keys_go_on_while_the_issuer_fails_and_unknown_ones_are_an_outage() {
    let town = Town::publishing(&[key("a")]).await;
    assert_eq!(town.names("a").await, Ok(true));
    let large = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(300 * 1024));
    let failures = [
        (500, String::new(), Unavailable::Failing(500)),
        (200, "<html>".to_owned(), Unavailable::Unreadable("not one JSON object in which every name occurs once")),
        (200, r#"{"keys":[]}"#.to_owned(), Unavailable::Unreadable("no usable key")),
        (200, large, Unavailable::TooLarge),
    ];
    for (status, body, reason) in failures {
        town.server.says(status, &body);
        town.clock.forward(MINUTE);
        assert_eq!(town.names("a").await, Ok(true));
        assert_eq!(town.names("b").await, Err(reason));
    }
    town.server.says(200, &jwks(&[key("b")]));
    town.clock.forward(RETRY);
    assert_eq!(town.names("b").await, Ok(true));
}

#[tokio::test]
async fn before_keys_are_seen_nothing_can_be_told_and_a_failing_issuer_is_asked_once_a_second() {
    let town = Town::publishing(&[]).await;
    town.server.says(503, "");
    for _ in 0..10 {
        assert_eq!(town.names("a").await, Err(Unavailable::Failing(503)));
    }
    assert_eq!(town.fetches(), 1);
    town.server.says(200, &jwks(&[key("a")]));
    town.clock.forward(RETRY);
    assert_eq!(town.names("a").await, Ok(true));
}

#[tokio::test]
async fn old_keys_are_fetched_again_behind_the_back_of_those_who_use_them() {
    let town = Town::publishing(&[key("a")]).await;
    assert_eq!(town.names("a").await, Ok(true));
    town.server.says(200, &jwks(&[key("b")]));
    town.clock.forward(10 * MINUTE);
    let old = town.ring.current().await.unwrap();
    assert!(old.names("a"), "nobody waits for the new ones");
    while town.ring.current().await.unwrap().names("a") {
        tokio::task::yield_now().await;
    }
    assert_eq!(town.fetches(), 2);
}

#[test]
fn files_of_either_kind_are_read_once_and_joined() {
    let (json, pem) = (SigningKey::ed25519(), SigningKey::ed25519());
    let path = |name: &str| std::env::temp_dir().join(format!("portcullis-{}-{name}", std::process::id()));
    let (first, second) = (path("keys.json"), path("key.pem"));
    std::fs::write(&first, jwks(&[json.jwk("a")])).unwrap();
    std::fs::write(&second, pem.pem()).unwrap();
    let keys = from_files(&NonEmpty::new(vec![first.clone(), second.clone()]).unwrap()).unwrap();
    for key in [json, pem] {
        let token = key.sign("EdDSA", "{}", "{}");
        let (message, signature) = token.rsplit_once('.').unwrap();
        assert!(keys.verifies(Some("a"), JwtAlgorithm::EdDsa, message, signature));
    }
    std::fs::write(&second, "nothing").unwrap();
    let refused = from_file(&second).unwrap_err().to_string();
    assert!(refused.contains("key.pem"), "{refused}");
    assert!(from_file(&path("absent")).is_err());
    for path in [first, second] {
        std::fs::remove_file(path).unwrap();
    }
}
