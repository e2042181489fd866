//! What every part of a gateway stands on: the plan, the clocks, the counters, and what is remembered beyond a request.

use std::fs::File;
use std::sync::Arc;

use crate::app::StartError;
use crate::app::machine::{SystemClock, SystemEntropy};
use crate::app::observer::Counting;
use crate::app::shared;
use crate::app::state::{self, State};
use crate::model::{Clock, Entropy};
use crate::plan::Plan;
use crate::store::cuts::Cuts;
use crate::store::feed::{self, Feed};
use crate::store::journal::Journal;
use crate::store::revocations::{Ledger, Others, Revocations};
use crate::store::valkey::Valkey;
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
    /// What is shared with other gateways, if anything is.
    #[expect(dead_code, reason = "the first to use it comes with the next change")]
    pub(super) valkey: Option<Valkey>,
    /// How gateways hear each other's cuts.
    pub(super) feed: Option<Arc<Feed>>,
    /// Keep a second gateway off the embedded service's database and off the state file.
    _claims: [Option<File>; 2],
}

impl Ground {
    /// Claims and opens what the plan names.
    pub(super) async fn lay(plan: Plan) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let metrics = Arc::new(Metrics::new(&plan).map_err(|error| StartError::Program(error.to_string()))?);
        let counting = Arc::new(Counting(Arc::clone(&metrics)));
        let database = plan.token_service.as_ref().map(|service| state::claim(&service.database)).transpose()?;
        let State { cuts, journal, claim } = State::open(&plan, clock.now())?;
        let valkey = shared::start(&plan, Arc::clone(&counting) as _).await?;
        let ledger = journal.clone().map(|journal| journal as Arc<dyn Ledger>);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let beneath = feed::Ground {
            cuts: Arc::clone(&cuts),
            ledger: ledger.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            witness: Arc::clone(&counting) as _,
        };
        let feed = shared::follow(&plan, valkey.as_ref(), beneath).await?;
        let revocations = Revocations::new(Arc::clone(&cuts), ledger, Arc::clone(&counting) as _)
            .telling(feed.clone().map(|feed| feed as Arc<dyn Others>));
        Ok(Self {
            plan: Arc::new(plan),
            clock,
            entropy,
            metrics,
            counting,
            cuts,
            journal,
            revocations,
            valkey,
            feed,
            _claims: [database, claim],
        })
    }
}
