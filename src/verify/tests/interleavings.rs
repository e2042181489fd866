//! Whatever the order in which loads begin and land, tokens are revoked and used, and time passes: no token passes for a use
//! that began after its revocation, and none past its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::model::{Clock, Credential, Denial, IssuerId, Now, Principal, PrincipalFacts, Timestamp};
use crate::plan::OnOutage;
use crate::store::cuts::{Fingerprint, Reach};
use crate::verify::Recall;
use crate::verify::authority::{Authority, KnownIssuer, Unavailable};
use crate::verify::fixture::{Bench, START, Script, facts, remote, source};

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A request with this token arrives.
    Use(usize),
    /// The load that has been in the air for the longest time (or the shortest) lands.
    Land { youngest: bool },
    /// The load that has been in the air for the longest time fails.
    Fail,
    /// A token is revoked, by itself, its session or its subject.
    Revoke(usize, u8),
    /// Seconds pass.
    Pass(u64),
}

const TOKENS: [&str; 3] = ["first", "second", "third"];
/// Seconds after the start at which each token ends.
const ENDS: [i64; 3] = [20, 60, 3600];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..TOKENS.len()).prop_map(Step::Use),
        3 => any::<bool>().prop_map(|youngest| Step::Land { youngest }),
        1 => Just(Step::Fail),
        1 => (0..TOKENS.len(), 0..3_u8).prop_map(|(token, reach)| Step::Revoke(token, reach)),
        2 => (1..15_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

/// Knows the truth when it is asked, and answers when it is told to.
#[derive(Debug, Default)]
struct Gated {
    revoked: Mutex<[bool; 3]>,
    air: Mutex<VecDeque<oneshot::Sender<Result<(), Unavailable>>>>,
}

#[async_trait]
impl Authority for Arc<Gated> {
    async fn ask(&self, token: &str, _: Now) -> Result<Option<PrincipalFacts>, Unavailable> {
        let which = TOKENS.iter().position(|known| *known == token).unwrap();
        let revoked = self.revoked.lock().unwrap()[which];
        let (land, landing) = oneshot::channel();
        self.air.lock().unwrap().push_back(land);
        landing.await.unwrap_or(Err(Unavailable::Lost))?;
        Ok((!revoked).then(|| facts_of(which)))
    }
}

fn facts_of(which: usize) -> PrincipalFacts {
    PrincipalFacts {
        subject: Some(format!("subject-{which}").into()),
        session: Some(format!("session-{which}").into()),
        expires_at: Some(Timestamp::from_secs(START + ENDS[which])),
        ..facts()
    }
}

/// A request on its way, and what must be true of it if it passes.
struct Pending {
    which: usize,
    revoked_before: bool,
    began: Now,
    result: JoinHandle<Result<Arc<Principal>, Denial>>,
}

struct World {
    bench: Arc<Bench>,
    truth: Arc<Gated>,
    pending: Vec<Pending>,
}

impl World {
    fn new() -> Self {
        let truth = Arc::new(Gated::default());
        let issuer = KnownIssuer { authority: Box::new(Arc::clone(&truth)), ..remote(0, &Arc::new(Script::default())) };
        let mut bench = Bench::over(vec![issuer]);
        bench.freshness.on_outage = OnOutage::Grace(Duration::from_mins(1));
        Self { bench: Arc::new(bench), truth, pending: Vec::new() }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Use(which) => self.begin(which),
            Step::Land { youngest } => self.land(youngest, Ok(())),
            Step::Fail => self.land(false, Err(Unavailable::TooSlow)),
            Step::Revoke(which, reach) => self.revoke(which, reach),
            Step::Pass(secs) => self.bench.clock.forward(Duration::from_secs(secs)),
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn begin(&mut self, which: usize) {
        let bench = Arc::clone(&self.bench);
        let began = bench.clock.now();
        let revoked_before = self.truth.revoked.lock().unwrap()[which];
        let result = tokio::spawn(async move {
            match bench.verifier.recall(&Credential::new(TOKENS[which]), &bench.requirements, &bench.freshness, began) {
                Recall::Known(principal, _) => Ok(principal),
                Recall::Refused => Err(Denial::CredentialInvalid),
                Recall::Miss(missed) => {
                    bench.verifier.resolve(missed, &bench.requirements, &bench.freshness, source(), began).await
                }
            }
        });
        self.pending.push(Pending { which, revoked_before, began, result });
    }

    fn land(&self, youngest: bool, how: Result<(), Unavailable>) {
        let mut air = self.truth.air.lock().unwrap();
        if let Some(flight) = if youngest { air.pop_back() } else { air.pop_front() } {
            let _ = flight.send(how);
        }
    }

    /// The commit, then the cut.
    fn revoke(&self, which: usize, reach: u8) {
        self.truth.revoked.lock().unwrap()[which] = true;
        let reach = match reach {
            0 => Reach::Token(Fingerprint::of(TOKENS[which])),
            1 => Reach::Session(format!("session-{which}").into()),
            _ => Reach::Subject(format!("subject-{which}").into()),
        };
        self.bench.cuts.publish(IssuerId(0), reach, self.bench.clock.now());
    }

    async fn finish(mut self) -> Result<(), TestCaseError> {
        while self.pending.iter().any(|pending| !pending.result.is_finished()) {
            self.step(Step::Land { youngest: false }).await;
        }
        for Pending { which, revoked_before, began, result } in self.pending {
            let Ok(principal) = result.await.unwrap() else { continue };
            prop_assert!(!revoked_before, "{} passed after its revocation", TOKENS[which]);
            prop_assert!(began.wall < Timestamp::from_secs(START + ENDS[which]), "{} passed after its end", TOKENS[which]);
            prop_assert_eq!(principal.facts(), &facts_of(which));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_token_passes_after_its_cut_or_past_its_end(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.step(step).await;
            }
            world.finish().await
        })?;
    }
}
