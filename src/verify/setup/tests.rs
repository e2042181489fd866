//! A verifier as the plan describes it: an embedded service, a remote one and an issuer of JWTs, over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::model::{ClaimValue, Credential, Denial, IssuerId, NonEmpty, Now, Principal, PrincipalFacts, Secret};
use crate::plan::{ClientAuthentication, JwtAlgorithm, KeySource};
use crate::rules::access::{ClaimRule, Requirements};
use crate::verify::fixture::signing::{SigningKey, jwks};
use crate::verify::fixture::{Counting, HandClock, LIMITS, START, Served, accepting, source};
use crate::verify::observe::Unobserved;
use crate::verify::{Recall, Unavailable};

const INVALID: Denial = Denial::CredentialInvalid;

/// An embedded service that knows one token.
#[derive(Debug)]
struct Embedded;

#[async_trait]
impl EmbeddedTokens for Embedded {
    async fn introspect(&self, token: &str) -> Result<Option<PrincipalFacts>, Unavailable> {
        let claim = |name: &str| (Box::from(name), ClaimValue::Bool(true));
        let claims = BTreeMap::from([claim("asked"), claim("unasked")]);
        let facts = PrincipalFacts { subject: Some("inside".into()), claims, ..PrincipalFacts::of_issuer(IssuerId(0)) };
        Ok((token == "inside").then_some(facts))
    }
}

fn remote(address: SocketAddr, deadline: Duration) -> IssuerKind {
    IssuerKind::Introspection(Introspection {
        url: format!("http://{address}/introspect").parse().unwrap(),
        authentication: ClientAuthentication::Bearer(Secret::new("our-own".to_owned())),
        deadline,
        answer_bytes: 64 * 1024,
        idle: None,
        cache_ttl: Duration::from_mins(1),
        negative_ttl: Duration::from_secs(5),
        pool: 2,
        issuer: None,
        token_type: None,
        token_prefix: None,
        ca_file: None,
    })
}

fn jwt(keys: KeySource) -> IssuerKind {
    IssuerKind::Jwt(Jwt {
        issuer: "https://a".into(),
        audience: NonEmpty::one("orders".into()),
        algorithms: NonEmpty::one(JwtAlgorithm::EdDsa),
        types: Box::new(["at+jwt".into()]),
        keys,
        leeway: Duration::from_secs(30),
        max_lifetime: Duration::from_hours(24),
        cache_ttl: Duration::from_mins(5),
        negative_ttl: Duration::from_secs(5),
    })
}

fn published(server: &Served) -> KeySource {
    KeySource::Url {
        url: server.url(),
        deadline: Duration::from_secs(20),
        refresh: Duration::from_hours(1),
        cooldown: Duration::from_mins(1),
        ca_file: None,
    }
}

/// A verifier and one route that takes all its issuers.
struct House {
    verifier: Verifier,
    clock: Arc<HandClock>,
    requirements: Requirements,
    freshness: Freshness,
}

fn build(kinds: Vec<IssuerKind>, embedded: Option<Arc<dyn EmbeddedTokens>>) -> Result<House, SetupError> {
    let clock = Arc::new(HandClock::default());
    let name = |id: usize| format!("issuer-{id}").into();
    let numbered = kinds.into_iter().enumerate();
    let issuers: Vec<Issuer> =
        numbered.map(|(id, kind)| Issuer { name: name(id), id: IssuerId(u16::try_from(id).unwrap()), kind }).collect();
    let verifier = Verifier::new(Setup {
        issuers: &issuers,
        limits: &LIMITS,
        needs: Needs { longest_grace: Duration::from_mins(1), claims: ["asked".into()].into() },
        cuts: Arc::new(Cuts::new(Duration::from_hours(1))),
        clock: Arc::<HandClock>::clone(&clock),
        entropy: &Counting,
        embedded,
        observer: Arc::new(Unobserved),
    })?;
    let requirements = accepting(issuers.iter().map(|issuer| issuer.id).collect());
    let freshness = Freshness { max_revocation_lag: Duration::from_secs(30), on_outage: OnOutage::Deny };
    Ok(House { verifier, clock, requirements, freshness })
}

impl House {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn recall<'a>(&self, token: &'a str) -> Recall<'a> {
        self.verifier.recall(&Credential::new(token), &self.requirements, &self.freshness, self.now())
    }

    async fn present(&self, token: &str) -> Result<Arc<Principal>, Denial> {
        match self.recall(token) {
            Recall::Known(principal, _) => Ok(principal),
            Recall::Refused => Err(INVALID),
            Recall::Miss(missed) => {
                self.verifier.resolve(missed, &self.requirements, &self.freshness, source(), self.now()).await
            }
        }
    }

    async fn subject(&self, token: &str) -> Result<String, Denial> {
        self.present(token).await.map(|principal| principal.facts().subject.as_deref().unwrap_or_default().to_owned())
    }
}

fn token(key: &SigningKey, kid: Option<&str>) -> String {
    let header = match kid {
        Some(kid) => json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}),
        None => json!({"alg": "EdDSA", "typ": "at+jwt"}),
    };
    let claims = json!({"iss": "https://a", "aud": "orders", "sub": "signed", "exp": START + 600, "asked": 1, "unasked": 2});
    key.sign("EdDSA", &header.to_string(), &claims.to_string())
}

#[tokio::test]
async fn each_token_finds_the_issuer_that_can_tell() {
    let key = SigningKey::ed25519();
    let keys = Served::saying(200, &jwks(&[key.jwk("a")])).await;
    let service = Served::saying(200, r#"{"active":true,"sub":"remote","asked":[1]}"#).await;
    let deadline = Duration::from_secs(20);
    let kinds = vec![IssuerKind::Embedded, remote(service.address, deadline), jwt(published(&keys))];
    let house = build(kinds, Some(Arc::new(Embedded))).unwrap();
    assert_eq!(house.subject("inside").await.as_deref(), Ok("inside"));
    assert_eq!(service.heard().len(), 0);
    assert_eq!(house.subject("outside").await.as_deref(), Ok("remote"));
    let signed = token(&key, Some("a"));
    assert_eq!(house.subject(&signed).await.as_deref(), Ok("signed"));
    assert!(matches!(house.recall(&signed), Recall::Known(..)));
    assert_eq!(house.subject(&token(&SigningKey::ed25519(), Some("a"))).await, Err(INVALID));
    assert_eq!((service.heard().len(), keys.heard().len()), (1, 1));
    for token in ["inside", "outside", &signed] {
        let claims = &house.present(token).await.unwrap().facts().claims.clone();
        assert_eq!(claims.keys().map(|name| &**name).collect::<Vec<_>>(), ["asked"], "only what routes ask about is kept");
    }
}

#[tokio::test]
async fn a_rotated_key_is_found_by_its_name_or_without_one_and_a_known_name_never_fetches() {
    let (old, new, last) = (SigningKey::ed25519(), SigningKey::ed25519(), SigningKey::ed25519());
    let keys = Served::saying(200, &jwks(&[old.jwk("old")])).await;
    let house = build(vec![jwt(published(&keys))], None).unwrap();
    assert_eq!(house.subject(&token(&old, Some("old"))).await.as_deref(), Ok("signed"));
    keys.says(200, &jwks(&[new.jwk("new")]));
    house.clock.forward(Duration::from_mins(1));
    assert_eq!(house.subject(&token(&new, Some("old"))).await, Err(INVALID));
    assert_eq!(keys.heard().len(), 1);
    assert_eq!(house.subject(&token(&new, Some("new"))).await.as_deref(), Ok("signed"));
    assert_eq!(keys.heard().len(), 2);
    keys.says(200, &jwks(&[last.jwk("last")]));
    house.clock.forward(Duration::from_mins(1));
    assert_eq!(house.subject(&token(&last, None)).await.as_deref(), Ok("signed"));
}

#[tokio::test]
async fn without_keys_a_jwt_is_an_outage_and_not_a_bad_token() {
    let key = SigningKey::ed25519();
    let keys = Served::saying(500, "").await;
    let house = build(vec![jwt(published(&keys))], None).unwrap();
    let signed = token(&key, Some("a"));
    assert_eq!(house.subject(&signed).await, Err(Denial::AuthorityUnavailable(Duration::from_secs(1))));
    keys.says(200, &jwks(&[key.jwk("a")]));
    house.clock.forward(Duration::from_secs(1));
    assert_eq!(house.subject(&signed).await.as_deref(), Ok("signed"));
    house.clock.forward(Duration::from_secs(628));
    assert_eq!(house.subject(&signed).await.as_deref(), Ok("signed"), "clocks may differ by the leeway");
    house.clock.forward(Duration::from_secs(1));
    assert_eq!(house.subject(&signed).await, Err(INVALID));
}

#[tokio::test]
async fn however_the_token_service_fails_known_tokens_go_on_for_their_grace_and_nothing_is_held_against_the_others() {
    let long = format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(10 * 1024 * 1024));
    let ways: [(u16, &str, Duration); 7] = [
        (500, "", Duration::ZERO),
        (429, "", Duration::ZERO),
        (401, r#"{"active":false}"#, Duration::ZERO),
        (200, "<html>down for repairs</html>", Duration::ZERO),
        (200, r#"{"active":"yes"}"#, Duration::ZERO),
        (200, &long, Duration::ZERO),
        (200, r#"{"active":true}"#, Duration::from_mins(10)),
    ];
    for (status, body, latency) in ways {
        let service = Served::saying(200, r#"{"active":true,"sub":"ann"}"#).await;
        let deadline = Duration::from_secs(if latency.is_zero() { 20 } else { 1 });
        let mut house = build(vec![remote(service.address, deadline)], None).unwrap();
        house.freshness.on_outage = OnOutage::Grace(Duration::from_secs(10));
        assert_eq!(house.subject("known").await.as_deref(), Ok("ann"));
        service.says(status, body);
        service.takes(latency);
        house.clock.forward(Duration::from_secs(35));
        assert_eq!(house.subject("known").await.as_deref(), Ok("ann"), "{status}");
        assert!(matches!(house.subject("unknown").await, Err(Denial::AuthorityUnavailable(_))), "{status}");
        house.clock.forward(Duration::from_secs(6));
        assert!(matches!(house.subject("known").await, Err(Denial::AuthorityUnavailable(_))), "{status}");
        service.says(200, r#"{"active":true,"sub":"ann"}"#);
        service.takes(Duration::ZERO);
        assert_eq!(house.subject("unknown").await.as_deref(), Ok("ann"), "{status}");
        assert_eq!(house.subject("known").await.as_deref(), Ok("ann"), "{status}");
    }
}

#[test]
fn an_embedded_issuer_needs_the_service_and_key_files_must_be_there() {
    assert!(matches!(build(vec![IssuerKind::Embedded], None), Err(SetupError::NoEmbeddedService)));
    let absent = jwt(KeySource::Files(NonEmpty::one("/nonexistent/keys.pem".into())));
    assert!(matches!(build(vec![absent], None), Err(SetupError::Keys { .. })));
}

#[test]
fn routes_need_the_longest_grace_and_all_their_claims_remembered() {
    let freshness = |on_outage| Freshness { max_revocation_lag: Duration::ZERO, on_outage };
    let rule = |name: &str| ClaimRule { name: name.into(), one_of: NonEmpty::one(ClaimValue::Bool(true)) };
    let asking =
        |names: &[&str]| Requirements { claims: names.iter().copied().map(rule).collect(), ..accepting(vec![IssuerId(0)]) };
    let mut needs = Needs::default();
    needs.add(&Access::Public, &freshness(OnOutage::Deny));
    assert_eq!(needs, Needs::default());
    needs.add(&Access::Bearer(asking(&["a", "b"])), &freshness(OnOutage::Grace(Duration::from_secs(9))));
    needs.add(&Access::Optional(asking(&["b", "c"])), &freshness(OnOutage::Grace(Duration::from_secs(5))));
    let claims = ["a", "b", "c"].map(Box::from).into();
    assert_eq!(needs, Needs { longest_grace: Duration::from_secs(9), claims });
}
