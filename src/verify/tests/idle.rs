//! Tokens of a remote service that die of disuse: the clock of a token goes on whatever becomes of the answers about it.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Clock, Denial, IssuerId};
use crate::plan::OnOutage;
use crate::store::cuts::{Fingerprint, Reach};
use crate::verify::authority::{KnownIssuer, Terms, Unavailable};
use crate::verify::fixture::{Bench, Script, facts, remote};

const IDLE: Duration = Duration::from_mins(5);

/// A service whose tokens are remembered for half a minute and die after five minutes without use.
fn bench(script: &Arc<Script>) -> Bench {
    script.says("token", Ok(Some(facts())));
    let issuer = remote(0, script);
    let terms = Terms { lifetime: Duration::from_secs(30), idle: Some(IDLE), ..issuer.terms };
    Bench::over(vec![KnownIssuer { terms, ..issuer }])
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl Bench {
    /// A request that counts as use, as `flow` notes it.
    async fn uses(&self, token: &str) -> Result<(), Denial> {
        let now = self.clock.now();
        self.present(token).await.map(|principal| principal.note_use(now.tick))
    }
}

#[tokio::test]
async fn a_token_that_nobody_used_for_its_idle_time_is_refused_without_asking_though_the_service_says_it_is_active() {
    let script = Arc::new(Script::default());
    let bench = bench(&script);
    bench.uses("token").await.unwrap();
    bench.clock.forward(secs(299));
    bench.uses("token").await.unwrap();
    bench.clock.forward(secs(299));
    bench.present("token").await.unwrap();
    let asked = script.calls();
    bench.clock.forward(secs(1));
    for _ in 0..3 {
        assert_eq!(bench.present("token").await.unwrap_err(), Denial::CredentialInvalid);
        bench.clock.forward(secs(20));
    }
    assert_eq!(script.calls(), asked, "to ask would be a sign of use");
}

#[tokio::test]
async fn requests_that_do_not_count_as_use_keep_no_token_alive_however_often_it_is_asked_about() {
    let script = Arc::new(Script::default());
    let bench = bench(&script);
    bench.uses("token").await.unwrap();
    for _ in 0..29 {
        bench.clock.forward(secs(10));
        bench.present("token").await.unwrap();
    }
    assert!(script.calls() >= 9, "asked {} times", script.calls());
    bench.clock.forward(secs(10));
    assert_eq!(bench.present("token").await.unwrap_err(), Denial::CredentialInvalid);
}

#[tokio::test]
async fn the_clock_outlives_cuts_refusals_outages_and_rest() {
    let script = Arc::new(Script::default());
    let bench = bench(&script);
    bench.uses("token").await.unwrap();
    bench.clock.forward(secs(100));
    bench.cuts.publish(IssuerId(0), Reach::Token(Fingerprint::of("token")), bench.clock.now());
    bench.present("token").await.unwrap();

    script.says("token", Ok(None));
    bench.clock.forward(secs(31));
    assert!(bench.present("token").await.is_err());
    script.says("token", Ok(Some(facts())));
    bench.clock.forward(secs(10));
    bench.present("token").await.unwrap();

    script.says("token", Err(Unavailable::TooSlow));
    bench.clock.forward(secs(31));
    assert!(matches!(bench.present("token").await, Err(Denial::AuthorityUnavailable(_))));
    script.says("token", Ok(Some(facts())));

    bench.verifier.unsettle(IssuerId(0), bench.verifier.mark("token"), bench.clock.now().tick.after(secs(1_000)));
    bench.clock.forward(secs(127));
    bench.present("token").await.unwrap();
    bench.clock.forward(secs(1));
    assert_eq!(bench.present("token").await.unwrap_err(), Denial::CredentialInvalid, "300 s after its only use");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_lands_after_the_end_of_a_token_does_not_let_it_in() {
    let script = Script::slow(Duration::from_millis(20));
    let bench = bench(&script);
    bench.uses("token").await.unwrap();
    bench.clock.forward(secs(299));
    let (late, ()) = tokio::join!(bench.present("token"), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        bench.clock.forward(secs(1));
    });
    assert_eq!(late.unwrap_err(), Denial::CredentialInvalid);
    assert_eq!(bench.uses("token").await.unwrap_err(), Denial::CredentialInvalid);
}

#[tokio::test]
async fn a_renewal_in_the_background_goes_on_with_the_same_clock() {
    let script = Arc::new(Script::default());
    let bench = bench(&script);
    bench.uses("token").await.unwrap();
    bench.clock.forward(secs(29));
    let before = bench.present("token").await.unwrap();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(script.calls(), 2, "it was renewed ahead");
    bench.clock.forward(secs(10));
    bench.uses("token").await.unwrap();
    let after = bench.present("token").await.unwrap();
    let clock = |principal: &crate::model::Principal| principal.facts().activity.clone().unwrap();
    assert!(Arc::ptr_eq(&clock(&before), &clock(&after)));
}

#[tokio::test]
async fn grace_in_an_outage_goes_on_no_longer_than_the_token_may_be_unused() {
    let script = Arc::new(Script::default());
    let mut bench = bench(&script);
    bench.freshness.on_outage = OnOutage::Grace(Duration::from_mins(5));
    bench.uses("token").await.unwrap();
    script.says("token", Err(Unavailable::Unreachable));
    bench.clock.forward(secs(299));
    bench.present("token").await.unwrap();
    bench.clock.forward(secs(1));
    assert_eq!(bench.present("token").await.unwrap_err(), Denial::CredentialInvalid);
}

#[tokio::test]
async fn tokens_that_do_not_die_of_disuse_have_no_clock() {
    let script = Arc::new(Script::default());
    script.says("token", Ok(Some(facts())));
    let bench = Bench::over(vec![remote(0, &script)]);
    assert_eq!(bench.present("token").await.unwrap().facts().activity, None);
}
