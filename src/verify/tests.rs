//! The whole way, over scripted issuers, with time that is moved by hand. Latency is tokio's paused time: a sleep ends as soon
//! as nothing else can run.

mod deaf;
mod idle;
mod interleavings;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::model::{ClaimValue, Clock, Credential, Denial, IssuerId, Now, PrincipalFacts, Timestamp, TokenKind};
use crate::plan::{CacheLimits, Freshness, OnOutage};
use crate::store::cuts::{Fingerprint, Reach};
use crate::verify::authority::{Ageing, Authority, KnownIssuer, Takes, Unavailable};
use crate::verify::fixture::{Bench, LIMITS, START, Script, accepting, facts, remote, source};
use crate::verify::flight::Flights;
use crate::verify::observe::{Asked, Found};
use crate::verify::{CacheUse, Recall};

const SECOND: Duration = Duration::from_secs(1);
const INVALID: Denial = Denial::CredentialInvalid;
const DOWN: Denial = Denial::AuthorityUnavailable(SECOND);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn bench() -> (Arc<Script>, Bench) {
    let script = Arc::new(Script::default());
    script.says("good", Ok(Some(facts())));
    let bench = Bench::over(vec![remote(0, &script)]);
    (script, bench)
}

impl Bench {
    async fn passes(&self, token: &str) -> Result<(), Denial> {
        self.present(token).await.map(drop)
    }

    fn recall(&self, token: &str) -> Recall<'static> {
        let credential = Credential::new(token.to_owned().leak());
        self.verifier.recall(&credential, &self.requirements, &self.freshness, self.clock.now())
    }

    fn forward(&self, by: Duration) {
        self.clock.forward(by);
    }

    fn cut(&self, reach: Reach) {
        self.cuts.publish(IssuerId(0), reach, self.clock.now());
    }

    fn found(&self) -> Vec<Found> {
        std::mem::take(&mut self.notebook.found.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_concurrent_first_uses_are_one_question() {
    let script = Script::slow(millis(50));
    script.says("good", Ok(Some(facts())));
    let bench = Arc::new(Bench::over(vec![remote(0, &script)]));
    let mut uses = JoinSet::new();
    for _ in 0..200 {
        let bench = Arc::clone(&bench);
        uses.spawn(async move { bench.passes("good").await });
    }
    assert_eq!(uses.join_all().await, vec![Ok(()); 200]);
    assert_eq!(script.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_first_uses_on_several_threads_are_one_question_too() {
    let script = Script::slow(millis(20));
    script.says("good", Ok(Some(facts())));
    let bench = Arc::new(Bench::over(vec![remote(0, &script)]));
    let mut uses = JoinSet::new();
    for _ in 0..200 {
        let bench = Arc::clone(&bench);
        uses.spawn(async move { bench.passes("good").await });
    }
    assert_eq!(uses.join_all().await, vec![Ok(()); 200]);
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_request_whose_answer_lands_between_its_look_and_its_question_does_not_ask() {
    let (script, bench) = bench();
    for (token, verdict) in [("good", Ok(())), ("bad", Err(INVALID))] {
        let Recall::Miss(missed) = bench.recall(token) else { panic!("nothing is known yet") };
        assert_eq!(bench.passes(token).await, verdict);
        let now = bench.clock.now();
        let late = bench.verifier.resolve(missed, &bench.requirements, &bench.freshness, source(), now).await;
        assert_eq!(late.map(drop), verdict);
    }
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_goes_away_strands_nobody() {
    let script = Script::slow(millis(50));
    script.says("good", Ok(Some(facts())));
    let bench = Arc::new(Bench::over(vec![remote(0, &script)]));
    let (first, second) = (Arc::clone(&bench), Arc::clone(&bench));
    let leader = tokio::spawn(async move { first.passes("good").await });
    sleep(millis(10)).await;
    let follower = tokio::spawn(async move { second.passes("good").await });
    sleep(millis(10)).await;
    leader.abort();
    assert_eq!(follower.await.unwrap(), Ok(()));
    assert_eq!(script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_during_an_introspection_is_never_outlived_by_it() {
    let script = Script::slow(millis(200));
    script.says("good", Ok(Some(facts())));
    let bench = Arc::new(Bench::over(vec![remote(0, &script)]));
    let (first, second) = (Arc::clone(&bench), Arc::clone(&bench));
    let before = tokio::spawn(async move { first.passes("good").await });
    sleep(millis(50)).await;
    script.says("good", Ok(None));
    bench.cut(Reach::Token(Fingerprint::of("good")));
    let after = tokio::spawn(async move { second.passes("good").await });
    assert_eq!(after.await.unwrap(), Err(INVALID));
    assert_eq!(before.await.unwrap(), Err(INVALID));
    assert!(matches!(bench.recall("good"), Recall::Refused));
}

#[tokio::test]
async fn every_reach_of_a_cut_ends_a_remembered_token_at_once() {
    let subject = || Reach::Subject("ann".into());
    for reach in [Reach::Token(Fingerprint::of("good")), Reach::Session("s1".into()), subject()] {
        let (script, bench) = bench();
        assert_eq!(bench.passes("good").await, Ok(()));
        script.says("good", Ok(None));
        assert_eq!(bench.passes("good").await, Ok(()));
        bench.cut(reach);
        assert!(matches!(bench.recall("good"), Recall::Miss(_)));
        assert_eq!(bench.passes("good").await, Err(INVALID));
    }
}

#[tokio::test]
async fn a_cut_token_that_is_still_good_is_loaded_anew_with_its_new_state() {
    let (script, bench) = bench();
    assert_eq!(bench.present("good").await.unwrap().facts().acr, None);
    script.says("good", Ok(Some(PrincipalFacts { acr: Some("2fa".into()), ..facts() })));
    bench.cut(Reach::Token(Fingerprint::of("good")));
    assert_eq!(bench.present("good").await.unwrap().facts().acr.as_deref(), Some("2fa"));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_cut_during_each_load_is_given_up() {
    let script = Script::slow(millis(100));
    script.says("good", Ok(Some(facts())));
    let bench = Arc::new(Bench::over(vec![remote(0, &script)]));
    let user = Arc::clone(&bench);
    let request = tokio::spawn(async move { user.passes("good").await });
    for _ in 0..4 {
        sleep(millis(60)).await;
        bench.cut(Reach::Session("s1".into()));
    }
    sleep(millis(60)).await;
    bench.cut(Reach::Session("s1".into()));
    assert_eq!(request.await.unwrap(), Err(DOWN));
    assert_eq!(script.calls(), 3);
}

#[tokio::test]
async fn an_outage_is_no_verdict_and_is_remembered_as_none() {
    let (script, bench) = bench();
    script.says("good", Err(Unavailable::TooSlow));
    assert_eq!(bench.passes("good").await, Err(DOWN));
    assert!(matches!(bench.recall("good"), Recall::Miss(_)));
    script.says("good", Ok(Some(facts())));
    assert_eq!(bench.passes("good").await, Ok(()));
    assert_eq!(*bench.notebook.asked.lock().unwrap(), [Asked::Unavailable(Unavailable::TooSlow), Asked::Active]);
}

#[tokio::test]
async fn in_an_outage_a_token_goes_on_for_its_grace_and_not_longer() {
    let (script, mut bench) = bench();
    bench.freshness.on_outage = OnOutage::Grace(Duration::from_secs(10));
    assert_eq!(bench.passes("good").await, Ok(()));
    script.says("good", Err(Unavailable::Unreachable));
    script.says("unseen", Err(Unavailable::Unreachable));
    bench.forward(Duration::from_secs(30));
    assert!(matches!(bench.recall("good"), Recall::Miss(_)));
    assert_eq!(bench.passes("good").await, Ok(()));
    assert_eq!(bench.passes("unseen").await, Err(DOWN));
    bench.forward(Duration::from_secs(10));
    assert_eq!(bench.passes("good").await, Ok(()));
    bench.forward(millis(1));
    assert_eq!(bench.passes("good").await, Err(DOWN));
    bench.freshness.on_outage = OnOutage::Grace(Duration::from_secs(11));
    assert_eq!(bench.passes("good").await, Ok(()));
}

#[tokio::test]
async fn grace_helps_no_route_that_gives_none_and_no_token_that_was_cut_or_is_over() {
    let (script, mut bench) = bench();
    script.says("short", Ok(Some(PrincipalFacts { expires_at: Some(Timestamp::from_secs(START + 40)), ..facts() })));
    for token in ["good", "short"] {
        assert_eq!(bench.passes(token).await, Ok(()));
        script.says(token, Err(Unavailable::Unreachable));
    }
    bench.forward(Duration::from_secs(31));
    assert_eq!(bench.passes("good").await, Err(DOWN));
    bench.freshness.on_outage = OnOutage::Grace(Duration::from_mins(2));
    assert_eq!(bench.passes("short").await, Ok(()));
    bench.forward(Duration::from_secs(9));
    assert_eq!(bench.passes("short").await, Err(DOWN));
    assert_eq!(bench.passes("good").await, Ok(()));
    bench.cut(Reach::Subject("ann".into()));
    assert_eq!(bench.passes("good").await, Err(DOWN));
}

#[tokio::test]
async fn an_answer_is_used_while_it_is_younger_than_the_lag_that_the_route_allows() {
    let (script, mut bench) = bench();
    bench.freshness.max_revocation_lag = Duration::from_secs(5);
    assert_eq!(bench.passes("good").await, Ok(()));
    bench.forward(millis(3999));
    let Recall::Known(_, used) = bench.recall("good") else { panic!("it is fresh") };
    assert_eq!(used, CacheUse { issuer: IssuerId(0), age: millis(3999) });
    bench.forward(millis(1001));
    assert!(matches!(bench.recall("good"), Recall::Miss(_)));
    script.says("good", Ok(None));
    assert_eq!(bench.passes("good").await, Err(INVALID));
    bench.freshness.max_revocation_lag = Duration::from_mins(10);
    assert_eq!(bench.passes("good").await, Err(INVALID));
}

#[tokio::test]
async fn the_issuers_own_lifetime_bounds_a_route_that_allows_more() {
    let (script, mut bench) = bench();
    bench.freshness.max_revocation_lag = Duration::from_hours(1);
    assert_eq!(bench.passes("good").await, Ok(()));
    bench.forward(Duration::from_mins(1));
    assert_eq!(bench.passes("good").await, Ok(()));
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn with_no_lag_allowed_every_request_asks_for_itself() {
    let script = Script::slow(millis(50));
    script.says("good", Ok(Some(facts())));
    let mut bench = Bench::over(vec![remote(0, &script)]);
    bench.freshness.max_revocation_lag = Duration::ZERO;
    let bench = Arc::new(bench);
    let mut uses = JoinSet::new();
    for _ in 0..10 {
        let bench = Arc::clone(&bench);
        uses.spawn(async move { bench.passes("good").await });
    }
    assert_eq!(uses.join_all().await, vec![Ok(()); 10]);
    assert_eq!(script.calls(), 10);
    assert_eq!(bench.passes("good").await, Ok(()));
    assert_eq!(script.calls(), 11);
}

#[tokio::test(start_paused = true)]
async fn without_lag_a_request_is_not_served_from_a_load_that_began_before_it() {
    let script = Script::slow(millis(200));
    script.says("good", Ok(Some(facts())));
    let mut bench = Bench::over(vec![remote(0, &script)]);
    bench.freshness.max_revocation_lag = Duration::ZERO;
    let bench = Arc::new(bench);
    let (first, second) = (Arc::clone(&bench), Arc::clone(&bench));
    let before = tokio::spawn(async move { first.passes("good").await });
    sleep(millis(50)).await;
    // Revoked elsewhere: nobody publishes a cut here.
    script.says("good", Ok(None));
    let after = tokio::spawn(async move { second.passes("good").await });
    assert_eq!(after.await.unwrap(), Err(INVALID));
    assert_eq!(before.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn an_issuer_that_publishes_its_cuts_is_not_asked_for_every_request_of_a_strict_route() {
    let script = Arc::new(Script::default());
    script.says("good", Ok(Some(facts())));
    let mut embedded = remote(0, &script);
    embedded.terms.ageing = Ageing::Exact;
    let mut bench = Bench::over(vec![embedded]);
    bench.freshness.max_revocation_lag = Duration::ZERO;
    assert_eq!(bench.passes("good").await, Ok(()));
    assert_eq!(bench.passes("good").await, Ok(()));
    assert_eq!(script.calls(), 1);
    script.says("good", Ok(None));
    bench.cut(Reach::Session("s1".into()));
    assert_eq!(bench.passes("good").await, Err(INVALID));
}

#[tokio::test]
async fn an_inactive_answer_is_remembered_for_a_moment() {
    let (script, bench) = bench();
    assert_eq!(bench.passes("bad").await, Err(INVALID));
    bench.forward(millis(4999));
    assert!(matches!(bench.recall("bad"), Recall::Refused));
    bench.forward(millis(1));
    assert!(matches!(bench.recall("bad"), Recall::Miss(_)));
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_flood_of_random_tokens_pushes_no_good_one_out() {
    let script = Arc::new(Script::default());
    script.says("good", Ok(Some(facts())));
    let limits = CacheLimits { tokens: 10, inactive: 10, misses_per_second: 100_000, miss_burst: 100_000 };
    let bench = Bench::with(vec![remote(0, &script)], &limits);
    assert_eq!(bench.passes("good").await, Ok(()));
    for random in 0..2000 {
        assert_eq!(bench.passes(&format!("random-{random}")).await, Err(INVALID));
    }
    assert!(matches!(bench.recall("good"), Recall::Known(..)));
    bench.verifier.shared.cache.settle();
    let (active, inactive) = bench.verifier.remembered();
    assert_eq!(active, 1);
    assert!(inactive <= 10, "{inactive}");
}

#[tokio::test]
async fn a_source_pays_for_unknown_tokens_and_never_for_known_ones() {
    let script = Arc::new(Script::default());
    script.says("good", Ok(Some(facts())));
    let limits = CacheLimits { misses_per_second: 1, miss_burst: 3, ..LIMITS };
    let bench = Bench::with(vec![remote(0, &script)], &limits);
    assert_eq!(bench.passes("good").await, Ok(()));
    assert_eq!(bench.passes("bad-1").await, Err(INVALID));
    assert_eq!(bench.passes("bad-2").await, Err(INVALID));
    assert_eq!(bench.passes("bad-3").await, Err(Denial::LimitReached(SECOND)));
    assert_eq!(script.calls(), 3);
    for _ in 0..10 {
        bench.forward(Duration::ZERO);
        assert_eq!(bench.passes("good").await, Ok(()));
    }
    let mut strict = bench;
    strict.freshness.max_revocation_lag = Duration::ZERO;
    for _ in 0..10 {
        assert_eq!(strict.passes("good").await, Ok(()));
    }
    strict.forward(SECOND);
    assert_eq!(strict.passes("bad-3").await, Err(INVALID));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_answer_to_another_ones_question_pays_nothing() {
    let script = Script::slow(millis(50));
    script.says("good", Ok(Some(facts())));
    let limits = CacheLimits { misses_per_second: 1, miss_burst: 1, ..LIMITS };
    let bench = Arc::new(Bench::with(vec![remote(0, &script)], &limits));
    let mut uses = JoinSet::new();
    for _ in 0..20 {
        let bench = Arc::clone(&bench);
        uses.spawn(async move { bench.passes("good").await });
    }
    assert_eq!(uses.join_all().await, vec![Ok(()); 20]);
    assert_eq!(bench.passes("bad").await, Err(Denial::LimitReached(SECOND)));
}

#[tokio::test]
async fn issuers_are_asked_in_order_until_one_vouches_for_the_token() {
    let (first, second) = (Arc::new(Script::default()), Arc::new(Script::default()));
    second.says("good", Ok(Some(facts())));
    let bench = Bench::over(vec![remote(0, &first), remote(1, &second)]);
    assert_eq!(bench.present("good").await.unwrap().facts().issuer, IssuerId(1));
    assert_eq!((first.calls(), second.calls()), (1, 1));
    // The first one's refusal is forgotten before the second one's word is: it is not asked again meanwhile.
    bench.forward(Duration::from_secs(20));
    assert_eq!(bench.passes("good").await, Ok(()));
    assert_eq!((first.calls(), second.calls()), (1, 1));
    assert_eq!(bench.passes("bad").await, Err(INVALID));
    assert!(matches!(bench.recall("bad"), Recall::Refused));
}

#[tokio::test]
async fn a_token_that_one_issuer_does_not_know_may_still_be_good_while_another_is_down() {
    let (first, second) = (Arc::new(Script::default()), Arc::new(Script::default()));
    second.says("unsure", Err(Unavailable::Unreachable));
    first.says("good", Err(Unavailable::Unreachable));
    second.says("good", Ok(Some(facts())));
    let bench = Bench::over(vec![remote(0, &first), remote(1, &second)]);
    assert_eq!(bench.passes("unsure").await, Err(DOWN));
    assert!(matches!(bench.recall("unsure"), Recall::Miss(_)));
    assert_eq!(bench.passes("good").await, Ok(()));
}

#[tokio::test]
async fn a_token_is_never_shown_to_an_issuer_that_the_route_does_not_name_nor_taken_from_its_memory() {
    let (mine, other) = (Arc::new(Script::default()), Arc::new(Script::default()));
    other.says("theirs", Ok(Some(facts())));
    let mut bench = Bench::over(vec![remote(0, &mine), remote(1, &other)]);
    bench.requirements = accepting(vec![IssuerId(1)]);
    assert_eq!(bench.passes("theirs").await, Ok(()));
    bench.requirements = accepting(vec![IssuerId(0)]);
    assert_eq!(bench.passes("theirs").await, Err(INVALID));
    assert_eq!(other.calls(), 1);
    assert_eq!(bench.passes("secret").await, Err(INVALID));
    assert_eq!(other.calls(), 1);
}

#[tokio::test]
async fn an_issuer_sees_only_tokens_with_its_prefix() {
    let (prefixed, any) = (Arc::new(Script::default()), Arc::new(Script::default()));
    let first = KnownIssuer { takes: Takes::Prefixed("pc_".into()), ..remote(0, &prefixed) };
    let mut bench = Bench::over(vec![first, remote(1, &any)]);
    assert_eq!(bench.passes("other").await, Err(INVALID));
    assert_eq!((prefixed.calls(), any.calls()), (0, 1));
    assert_eq!(bench.passes("pc_1").await, Err(INVALID));
    assert_eq!((prefixed.calls(), any.calls()), (1, 2));
    bench.requirements = accepting(vec![IssuerId(0)]);
    assert_eq!(bench.passes("another").await, Err(INVALID));
    assert_eq!(prefixed.calls(), 1);
}

#[tokio::test]
async fn a_jwt_goes_to_the_issuer_that_it_names_or_to_those_that_can_be_asked() {
    let (signer, opaque) = (Arc::new(Script::default()), Arc::new(Script::default()));
    let mut first = KnownIssuer { takes: Takes::JwtsOf("https://a".into()), ..remote(0, &signer) };
    first.terms.ageing = Ageing::SelfContained;
    let bench = Bench::over(vec![first, remote(1, &opaque)]);
    // {"iss":"https://a"} and {"iss":"https://b"}
    assert_eq!(bench.passes("eyJ9.eyJpc3MiOiJodHRwczovL2EifQ.x").await, Err(INVALID));
    assert_eq!((signer.calls(), opaque.calls()), (1, 0));
    assert!(matches!(bench.recall("eyJ9.eyJpc3MiOiJodHRwczovL2EifQ.x"), Recall::Refused));
    assert_eq!(bench.passes("eyJ9.eyJpc3MiOiJodHRwczovL2IifQ.x").await, Err(INVALID));
    assert_eq!(bench.passes("opaque").await, Err(INVALID));
    assert_eq!((signer.calls(), opaque.calls()), (1, 2));
}

#[tokio::test]
async fn a_token_that_nobody_on_the_route_can_check_costs_nothing() {
    let signer = Arc::new(Script::default());
    let only = KnownIssuer { takes: Takes::JwtsOf("https://a".into()), ..remote(0, &signer) };
    let bench = Bench::with(vec![only], &CacheLimits { misses_per_second: 1, miss_burst: 1, ..LIMITS });
    for _ in 0..5 {
        assert_eq!(bench.passes("opaque").await, Err(INVALID));
    }
    assert_eq!(signer.calls(), 0);
}

#[tokio::test]
async fn a_jwt_that_was_cut_stays_denied_although_its_signature_is_good() {
    let signer = Arc::new(Script::default());
    let issued = PrincipalFacts { issued_at: Some(Timestamp::from_secs(START - 10)), ..facts() };
    signer.says("good", Ok(Some(issued)));
    let mut only = remote(0, &signer);
    only.terms.ageing = Ageing::SelfContained;
    let bench = Bench::over(vec![only]);
    assert_eq!(bench.passes("good").await, Ok(()));
    bench.cut(Reach::Subject("ann".into()));
    assert_eq!(bench.passes("good").await, Err(INVALID));
    bench.forward(Duration::from_secs(6));
    assert_eq!(bench.passes("good").await, Err(INVALID));
}

#[tokio::test]
async fn times_are_checked_on_each_use() {
    let (script, mut bench) = bench();
    bench.freshness = Freshness { max_revocation_lag: Duration::from_hours(1), on_outage: OnOutage::Deny };
    script.says("short", Ok(Some(PrincipalFacts { expires_at: Some(Timestamp::from_secs(START + 10)), ..facts() })));
    script.says("early", Ok(Some(PrincipalFacts { not_before: Some(Timestamp::from_secs(START + 10)), ..facts() })));
    assert_eq!(bench.passes("early").await, Err(INVALID));
    assert_eq!(bench.passes("short").await, Ok(()));
    bench.forward(millis(9999));
    assert!(matches!(bench.recall("short"), Recall::Known(..)));
    bench.forward(millis(1));
    assert!(matches!(bench.recall("short"), Recall::Miss(_)));
    assert_eq!(bench.passes("short").await, Err(INVALID));
    assert_eq!(bench.passes("early").await, Ok(()));
}

#[tokio::test]
async fn a_token_that_is_active_but_of_no_use_here_is_inactive() {
    let (script, bench) = bench();
    script.says("refresh", Ok(Some(PrincipalFacts { kind: TokenKind::Refresh, ..facts() })));
    script.says("unforwardable", Ok(Some(PrincipalFacts { subject: Some("a\r\nb".into()), ..facts() })));
    for token in ["refresh", "unforwardable"] {
        assert_eq!(bench.passes(token).await, Err(INVALID), "{token}");
        assert!(matches!(bench.recall(token), Recall::Refused), "{token}");
    }
}

#[tokio::test]
async fn an_answer_counts_for_the_issuer_that_was_asked_whatever_it_says() {
    let script = Arc::new(Script::default());
    script.says("good", Ok(Some(PrincipalFacts { issuer: IssuerId(9), ..facts() })));
    let bench = Bench::over(vec![remote(0, &script)]);
    assert_eq!(bench.present("good").await.unwrap().facts().issuer, IssuerId(0));
}

#[tokio::test(start_paused = true)]
async fn a_token_in_use_is_asked_about_again_before_anybody_must_wait() {
    let script = Script::slow(millis(50));
    script.says("good", Ok(Some(facts())));
    let bench = Bench::over(vec![remote(0, &script)]);
    assert_eq!(bench.passes("good").await, Ok(()));
    bench.forward(Duration::from_secs(23));
    assert!(matches!(bench.recall("good"), Recall::Known(..)));
    sleep(millis(100)).await;
    assert_eq!(script.calls(), 1, "nobody is in a hurry before four fifths of the time");
    bench.forward(Duration::from_secs(6));
    for _ in 0..10 {
        let Recall::Known(_, used) = bench.recall("good") else { panic!("it is fresh") };
        assert_eq!(used.age, Duration::from_secs(29));
    }
    sleep(millis(100)).await;
    assert_eq!(script.calls(), 2);
    let Recall::Known(_, used) = bench.recall("good") else { panic!("it is fresh") };
    assert_eq!(used.age, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_leaves_the_token_good_and_is_tried_again() {
    let (script, bench) = bench();
    assert_eq!(bench.passes("good").await, Ok(()));
    script.says("good", Err(Unavailable::Unreachable));
    bench.forward(Duration::from_secs(29));
    for calls in [2, 3] {
        assert!(matches!(bench.recall("good"), Recall::Known(..)));
        sleep(millis(1)).await;
        assert_eq!(script.calls(), calls);
    }
    script.says("good", Ok(None));
    assert!(matches!(bench.recall("good"), Recall::Known(..)));
    sleep(millis(1)).await;
    assert!(matches!(bench.recall("good"), Recall::Refused));
}

#[tokio::test(start_paused = true)]
async fn no_more_questions_are_open_than_may_be() {
    let script = Script::slow(millis(50));
    let issuer = KnownIssuer { flights: Flights::new(2), ..remote(0, &script) };
    let bench = Arc::new(Bench::over(vec![issuer]));
    let mut uses = JoinSet::new();
    for token in ["a", "b", "c"] {
        let bench = Arc::clone(&bench);
        uses.spawn(async move { bench.passes(token).await });
    }
    let results = uses.join_all().await;
    assert_eq!(results.iter().filter(|result| **result == Err(DOWN)).count(), 1);
    assert_eq!(bench.passes("d").await, Err(INVALID));
}

/// Fails in a way that nobody has thought of.
#[derive(Debug)]
struct Panics;

#[async_trait::async_trait]
impl Authority for Panics {
    async fn ask(&self, _: &str, _: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        panic!("an error of ours")
    }
}

#[tokio::test]
async fn a_load_that_panics_is_an_outage_for_who_waits_and_leaves_nothing_behind() {
    let issuer = KnownIssuer { authority: Box::new(Panics), flights: Flights::new(1), ..remote(0, &Arc::default()) };
    let bench = Bench::over(vec![issuer]);
    for _ in 0..3 {
        assert_eq!(bench.passes("good").await, Err(DOWN));
    }
}

#[tokio::test]
async fn every_look_up_is_told_to_whoever_counts() {
    let (script, mut bench) = bench();
    bench.freshness.on_outage = OnOutage::Grace(Duration::from_mins(1));
    let _ = bench.passes("good").await;
    let _ = bench.passes("good").await;
    let _ = bench.passes("bad").await;
    let _ = bench.passes("bad").await;
    script.says("good", Err(Unavailable::Unreachable));
    bench.forward(Duration::from_secs(40));
    let _ = bench.passes("good").await;
    let expected = [
        Found::Nothing,
        Found::Active(Duration::ZERO),
        Found::Nothing,
        Found::Inactive,
        Found::Nothing,
        Found::InGrace(Duration::from_secs(40)),
    ];
    assert_eq!(bench.found(), expected);
}

#[tokio::test]
async fn nothing_that_is_printed_of_a_verifier_has_a_token_in_it() {
    let (script, bench) = bench();
    script.says("tok-secret", Ok(Some(PrincipalFacts { claims: [("a".into(), ClaimValue::Bool(true))].into(), ..facts() })));
    assert_eq!(bench.passes("tok-secret").await, Ok(()));
    let missed = bench.recall("tok-missed");
    assert!(!format!("{:?} {missed:?} {:?}", bench.verifier.shared.cache, source()).contains("tok-"));
}
