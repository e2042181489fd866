//! The whole way, over scripted issuers and hand-set clocks.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::verify::fixture::{Bench, Script, facts, remote};

#[tokio::test(start_paused = true)]
async fn two_hundred_concurrent_first_uses_are_one_question() {
    let script = Script::slow(Duration::from_millis(50));
    script.says("good", Ok(Some(facts())));
    let bench = Arc::new(Bench::over(vec![remote(0, &script)]));
    let mut uses = JoinSet::new();
    for _ in 0..200 {
        let bench = Arc::clone(&bench);
        uses.spawn(async move { bench.present("good").await.map(drop) });
    }
    assert_eq!(uses.join_all().await, vec![Ok(()); 200]);
    assert_eq!(script.calls(), 1);
}
