//! A gateway that does not hear what others cut: what it remembers of tokens that can be asked about is not used.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Clock, Denial, Tick};
use crate::plan::{Freshness, OnOutage};
use crate::verify::authority::{Ageing, KnownIssuer, Terms, Unavailable};
use crate::verify::fixture::{Bench, Script, facts, remote};
use crate::verify::tests::{DOWN, SECOND};

fn bench(script: &Arc<Script>, ageing: Ageing) -> Bench {
    script.says("token", Ok(Some(facts())));
    let issuer = remote(0, script);
    let terms = Terms { lifetime: Duration::from_hours(1), ageing, ..issuer.terms };
    Bench::over(vec![KnownIssuer { terms, ..issuer }])
}

impl Bench {
    fn in_a(&self, while_: Duration) -> Tick {
        self.clock.now().tick.after(while_)
    }
}

#[tokio::test]
async fn every_request_asks_for_itself_until_the_others_are_heard() {
    let script = Arc::new(Script::default());
    let bench = bench(&script, Ageing::Lagging);
    bench.cuts.listen();
    for asked in 1..=3 {
        bench.passes("token").await.unwrap();
        assert_eq!(script.calls(), asked);
    }
    bench.cuts.heard(bench.in_a(SECOND));
    bench.passes("token").await.unwrap();
    assert_eq!(script.calls(), 3, "what is remembered is trusted");
    bench.clock.forward(SECOND);
    bench.passes("token").await.unwrap();
    assert_eq!(script.calls(), 4, "for as long as it was said, and no longer");
    bench.cuts.heard(bench.in_a(SECOND));
    bench.passes("token").await.unwrap();
    assert_eq!(script.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_long_is_good_for_who_asked_and_for_nobody_else() {
    let script = Script::slow(Duration::from_millis(300));
    let bench = Arc::new(bench(&script, Ageing::Lagging));
    bench.cuts.listen();
    let (one, two) = tokio::join!(bench.passes("token"), bench.passes("token"));
    assert_eq!((one, two), (Ok(()), Ok(())));
    assert_eq!(script.calls(), 2, "they share no question: the second may have begun after a cut");
}

#[tokio::test]
async fn there_is_no_grace_while_deaf() {
    let script = Arc::new(Script::default());
    let mut bench = bench(&script, Ageing::Lagging);
    bench.freshness = Freshness { on_outage: OnOutage::Grace(Duration::from_hours(1)), ..bench.freshness };
    bench.passes("token").await.unwrap();
    script.says("token", Err(Unavailable::TooSlow));
    bench.cuts.listen();
    assert_eq!(bench.passes("token").await, Err::<(), Denial>(DOWN));
}

#[tokio::test]
async fn who_is_asked_in_this_process_and_who_cannot_be_asked_is_believed_all_the_same() {
    for ageing in [Ageing::Exact, Ageing::SelfContained] {
        let script = Arc::new(Script::default());
        let bench = bench(&script, ageing);
        bench.cuts.listen();
        for _ in 0..3 {
            bench.passes("token").await.unwrap();
        }
        assert_eq!(script.calls(), 1, "{ageing:?}");
    }
}

#[tokio::test]
async fn the_embedded_service_is_asked_for_each_request_while_its_database_is_not_heard() {
    let script = Arc::new(Script::default());
    let bench = bench(&script, Ageing::Exact);
    bench.cuts.outbox().listen();
    bench.cuts.outbox().heard(bench.in_a(SECOND));
    for asked in [1, 1] {
        bench.passes("token").await.unwrap();
        assert_eq!(script.calls(), asked);
    }
    bench.clock.forward(SECOND);
    for asked in [2, 3] {
        bench.passes("token").await.unwrap();
        assert_eq!(script.calls(), asked, "nobody has to notice that nothing is heard");
    }
    bench.cuts.outbox().heard(bench.in_a(SECOND));
    bench.passes("token").await.unwrap();
    assert_eq!(script.calls(), 3, "and what was remembered meanwhile is good again");
}
