//! What is done by the clock while a gateway serves: forgetting, writing down, and measuring by looking.

use std::sync::Arc;
use std::time::Duration;

use crate::gateway::OpenConnections;
use crate::model::Clock;
use crate::store::cuts::Cuts;
use crate::store::feed::Feed;
use crate::store::journal::Journal;
use crate::store::login_guard::LoginGuard;
use crate::telemetry::Metrics;
use crate::tokens::TokenService;
use crate::verify::Verifier;

/// How often what has expired is cleaned up.
const CLEAN_EVERY: Duration = Duration::from_mins(1);
/// How often it is written down when sessions were last used.
const WRITE_USES_EVERY: Duration = Duration::from_secs(5);
/// How often is measured what is measured by looking.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Forgets what has expired.
#[derive(Debug)]
pub(super) struct Cleaner {
    pub(super) tokens: Option<Arc<TokenService>>,
    pub(super) cuts: Arc<Cuts>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
}

impl Cleaner {
    pub(super) async fn clean_up(self) {
        loop {
            tokio::time::sleep(CLEAN_EVERY).await;
            self.cuts.forget_old(self.clock.now().tick);
            if let Some(journal) = &self.journal
                && let Err(fault) = journal.forget_old(self.clock.now()).await
            {
                self.metrics.store_failed("clean-up");
                tracing::warn!(%fault, "cannot clean up the state file");
            }
            if let Some(tokens) = &self.tokens
                && let Err(denial) = tokens.clean_up(self.clock.now()).await
            {
                tracing::warn!(reason = denial.reason(), "cannot clean up the token service's database");
            }
        }
    }
}

/// Writes down when sessions were last used.
pub(super) async fn write_uses(tokens: Arc<TokenService>) {
    loop {
        tokio::time::sleep(WRITE_USES_EVERY).await;
        if let Err(denial) = tokens.write_uses().await {
            tracing::warn!(reason = denial.reason(), "cannot write down when sessions were last used");
        }
    }
}

/// What is measured by looking rather than by counting.
pub(super) struct Gauges {
    pub(super) metrics: Arc<Metrics>,
    pub(super) cuts: Arc<Cuts>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) connections: OpenConnections,
    pub(super) login_guards: Box<[Arc<LoginGuard>]>,
    pub(super) tokens: Option<Arc<TokenService>>,
    pub(super) feed: Option<Arc<Feed>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Gauges {
    pub(super) async fn keep_current(self) {
        let set = |gauge: &prometheus::IntGauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        let entries = |table| self.metrics.cache_entries.with_label_values(&[table]);
        let (active, inactive) = (entries("active"), entries("inactive"));
        loop {
            let remembered = self.verifier.remembered();
            set(&active, remembered.0);
            set(&inactive, remembered.1);
            set(&self.metrics.cuts, self.cuts.len() as u64);
            set(&self.metrics.connections, self.connections.now() as u64);
            for guard in &self.login_guards {
                set(&self.metrics.guards.spraying.with_label_values(&[guard.name()]), guard.spraying() as u64);
            }
            for (outcome, so_far) in self.tokens.iter().flat_map(|tokens| tokens.attempts()) {
                self.metrics.passwords_attempted(outcome.name(), so_far);
            }
            if let Some(feed) = &self.feed {
                self.metrics.cuts_heard(self.clock.now().tick.since(feed.contact()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
