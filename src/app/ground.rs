//! What every part of a gateway stands on: the plan, the clocks, the counters, and what is remembered beyond a request.

use std::fs::File;
use std::sync::Arc;

use crate::app::StartError;
use crate::app::machine::{SystemClock, SystemEntropy};
use crate::app::observer::Counting;
use crate::app::state::{self, State};
use crate::model::{Clock, Entropy};
use crate::plan::Plan;
use crate::store::cuts::Cuts;
use crate::store::journal::Journal;
use crate::store::revocations::{Ledger, Revocations};
use crate::telemetry::Metrics;

/// The ground of one gateway.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) plan: Arc<Plan>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) metrics: Arc<Metrics>,
    /// Counts into the metrics whatever the parts tell.
    pub(super) counting: Arc<Counting>,
    pub(super) cuts: Arc<Cuts>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) revocations: Revocations,
    /// Keep a second gateway off the embedded service's database and off the state file.
    _claims: [Option<File>; 2],
}

impl Ground {
    /// Claims and opens what the plan names.
    pub(super) fn lay(plan: Plan) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let metrics = Arc::new(Metrics::new(&plan).map_err(|error| StartError::Program(error.to_string()))?);
        let counting = Arc::new(Counting(Arc::clone(&metrics)));
        let database = plan.token_service.as_ref().and_then(|service| service.database.file()).map(state::claim).transpose()?;
        let State { cuts, journal, claim } = State::open(&plan, clock.now())?;
        let ledger = journal.clone().map(|journal| journal as Arc<dyn Ledger>);
        let revocations = Revocations::new(Arc::clone(&cuts), ledger, Arc::clone(&counting) as _);
        Ok(Self {
            plan: Arc::new(plan),
            clock,
            entropy: Arc::new(SystemEntropy),
            metrics,
            counting,
            cuts,
            journal,
            revocations,
            _claims: [database, claim],
        })
    }
}
