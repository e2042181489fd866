//! The receivers of pushed revocations, boxed for the gateway.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tower::service_fn;

use crate::app::ground::Ground;
use crate::app::machine::SystemClock;
use crate::events::{Outcome, Receiver, Surroundings, Tally};
use crate::gateway::InProcess;
use crate::plan::Plan;
use crate::store::cuts::Cuts;
use crate::store::revocations::{Revocations, Unwitnessed};
use crate::verify::setup::SetupError;

/// The receivers of a plan, in its order.
pub(super) fn start(ground: &Ground) -> Result<Box<[InProcess]>, SetupError> {
    let surroundings = Surroundings {
        revocations: ground.revocations.clone(),
        clock: Arc::clone(&ground.clock),
        limits: ground.plan.cache.clone(),
        tally: Arc::clone(&ground.counting) as _,
    };
    all(&ground.plan, &surroundings)
}

fn all(plan: &Plan, surroundings: &Surroundings) -> Result<Box<[InProcess]>, SetupError> {
    plan.receivers.iter().map(|receiver| Receiver::new(receiver, surroundings.clone()).map(boxed)).collect()
}

fn boxed(receiver: Receiver) -> InProcess {
    let receiver = Arc::new(receiver);
    InProcess::new(service_fn(move |request: Request<Bytes>| {
        let receiver = Arc::clone(&receiver);
        async move { Ok(receiver.receive(request).await) }
    }))
}

/// Tries the files that receivers name.
pub(super) fn prove(plan: &Plan) -> Result<(), SetupError> {
    let nowhere = Revocations::new(Arc::new(Cuts::new(Duration::ZERO)), None, Arc::new(Unwitnessed));
    let clock = Arc::new(SystemClock::start());
    let surroundings = Surroundings { revocations: nowhere, clock, limits: plan.cache.clone(), tally: Arc::new(Uncounted) };
    all(plan, &surroundings).map(drop)
}

/// Counts nothing.
#[derive(Debug)]
struct Uncounted;

impl Tally for Uncounted {
    fn pushed(&self, _: &str, _: Outcome) {}
}
