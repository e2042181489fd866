//! What every part of a gateway stands on: the plan, the clocks, the counters, and what is remembered beyond a request.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use crate::app::StartError;
use crate::app::machine::{SystemClock, SystemEntropy};
use crate::app::observer::Counting;
use crate::app::shared;
use crate::app::state::{self, State};
use crate::gateway::SERVICE_DEADLINE;
use crate::model::{Clock, Entropy};
use crate::plan::{self, LoginGuardId, Plan, Target};
use crate::store::cuts::Cuts;
use crate::store::feed::{self, Feed};
use crate::store::journal::Journal;
use crate::store::login_guard::{GuardKey, GuardLedger, GuardMemory, GuardTerms, LoginGuard, SharedTerms, watch_eviction};
use crate::store::revocations::{Ledger, Others, Revocations};
use crate::store::valkey::Valkey;
use crate::telemetry::Metrics;

/// What a reservation of a login attempt lasts beyond the longest wait for its answer.
const LEASE_SLACK: Duration = Duration::from_secs(5);

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
    pub(super) valkey: Option<Valkey>,
    /// The login guards, in the order of the plan's.
    pub(super) login_guards: Box<[Arc<LoginGuard>]>,
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
        let database = plan.token_service.as_ref().and_then(|service| service.database.file()).map(state::claim).transpose()?;
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let State { cuts, journal, guards, claim } = State::open(&plan, &*entropy, clock.now())?;
        let valkey = shared::start(&plan, Arc::clone(&counting) as _).await?;
        let ledger = journal.clone().map(|journal| journal as Arc<dyn Ledger>);
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
        let login_guards = login_guards(
            &plan,
            guards,
            &Means {
                clock: &clock,
                entropy: &*entropy,
                journal: journal.as_ref(),
                valkey: valkey.as_ref(),
                counting: &counting,
            },
        );
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
            login_guards,
            feed,
            _claims: [database, claim],
        })
    }
}

/// What login guards are made of.
struct Means<'a> {
    clock: &'a Arc<dyn Clock>,
    entropy: &'a dyn Entropy,
    journal: Option<&'a Arc<Journal>>,
    valkey: Option<&'a Valkey>,
    counting: &'a Arc<Counting>,
}

fn login_guards(plan: &Plan, mut memory: GuardMemory, means: &Means<'_>) -> Box<[Arc<LoginGuard>]> {
    if let Some(valkey) = means.valkey.filter(|_| !plan.login_guards.is_empty()) {
        tokio::spawn(watch_eviction(valkey.clone()));
    }
    let key = means.valkey.map_or(memory.key, |valkey| GuardKey::shared(valkey.names()));
    let mut start = |guard: &Arc<plan::LoginGuard>| {
        let terms = GuardTerms { name: Arc::clone(&guard.name), by: guard.by.clone(), rule: guard.rule };
        let mut started = LoginGuard::new(terms, &key, Arc::clone(means.clock), Arc::clone(means.counting) as _);
        let counted = memory.counters.remove(&*guard.name).unwrap_or_default();
        if let Some(journal) = means.journal {
            started = started.remembering(counted, Arc::clone(journal) as Arc<dyn GuardLedger>);
        }
        if let (Some(valkey), Some(settings)) = (means.valkey, &plan.store.valkey) {
            let sharing = SharedTerms {
                valkey: valkey.clone(),
                lease: lease(plan, guard.id),
                gateways: settings.nodes,
                without: guard.without_store,
            };
            started = started.sharing(sharing, means.entropy);
        }
        Arc::new(started)
    };
    plan.login_guards.iter().map(&mut start).collect()
}

/// How long an attempt may be under way, and a little more. A client may go on sending for as long as the upstream has to answer,
/// which is given its time to read after that; then, where the body of the answer tells how it ended, so is that body, which the
/// client may be slow to take. A service inside is asked once the body is there.
fn lease(plan: &Plan, guard: LoginGuardId) -> Duration {
    let guarded = plan.routes.iter().filter(|route| route.login_guards.iter().any(|named| named.id == guard));
    let longest = guarded.map(|route| match &route.target {
        Target::Upstream(upstream) => {
            let read = upstream.read_timeout.min(upstream.total_timeout);
            let body = if route.reads_answers() { read + plan.guard.body_idle } else { Duration::ZERO };
            upstream.total_timeout + read + body
        }
        Target::TokenService | Target::Receiver(..) => plan.guard.body_idle + SERVICE_DEADLINE,
    });
    longest.max().unwrap_or_default() + LEASE_SLACK
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::compile::{Machine, SecretSource, load};

    #[derive(Debug)]
    struct NoSecrets;

    impl SecretSource for NoSecrets {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }

        fn file(&self, _: &Path) -> std::io::Result<String> {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    /// The leases of two guards, of which the first has further keys.
    fn leases(guard: &str) -> Vec<u64> {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[guard]\nbody_idle = \"7s\"\n\
             [upstream.app]\nservers = [\"http://127.0.0.1:1\"]\ntotal_timeout = \"40s\"\nread_timeout = \"11s\"\n\
             [upstream.quick]\nservers = [\"http://127.0.0.1:1\"]\ntotal_timeout = \"3s\"\nread_timeout = \"1m\"\n\
             [login_guard.one]\naccount = {{ header = \"x-user\" }}\n{guard}\n\
             [login_guard.two]\naccount = {{ header = \"x-user\" }}\n\
             [[route]]\npath = \"/one\"\nupstream = \"app\"\naccess = \"public\"\nlogin_guard = \"one\"\n\
             [[route]]\npath = \"/both\"\nupstream = \"quick\"\naccess = \"public\"\nlogin_guard = [\"one\", \"two\"]\n"
        );
        let loaded = load("gateway.toml", &text, &NoSecrets, Machine { cores: 1, folder: Path::new("") });
        let (plan, _) = loaded.unwrap_or_else(|report| panic!("{report}"));
        plan.login_guards.iter().map(|guard| lease(&plan, guard.id).as_secs()).collect()
    }

    #[test]
    fn a_lease_is_longer_than_an_attempt_can_be_under_way() {
        assert_eq!(leases(""), [40 + 11 + 5, 3 + 3 + 5]);
        let judged = leases("failure = [{ status = 200, pointer = \"/ok\", equals = false }]");
        assert_eq!(judged, [40 + 11 + 11 + 7 + 5, 3 + 3 + 3 + 7 + 5]);
    }
}
