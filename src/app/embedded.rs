//! The embedded token service, wired to the gateway: its introspection without a socket, its HTTP face boxed.

use std::sync::Arc;

use async_trait::async_trait;

use crate::app::StartError;
use crate::app::machine::{SystemClock, SystemEntropy};
use crate::gateway::InProcess;
use crate::model::{Clock, Entropy, PrincipalFacts};
use crate::plan::{self, Plan};
use crate::store::cuts::Cuts;
use crate::store::revocations::{Revocations, Unwitnessed};
use crate::token_api;
use crate::tokens::notifier::{NoNotifier, Notifier};
use crate::tokens::{Settings, Surroundings, TokenService};
use crate::verify::Unavailable;
use crate::verify::in_process::EmbeddedTokens;

/// The running service and its HTTP face.
#[derive(Debug)]
pub(super) struct Embedded {
    /// The service.
    pub(super) tokens: Arc<TokenService>,
    /// Its HTTP face, for calls without a socket.
    pub(super) http: InProcess,
}

impl Embedded {
    /// Starts the service if the plan has one.
    pub(super) async fn start(
        plan: &Plan,
        revocations: &Revocations,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
        notifier: Arc<dyn Notifier>,
    ) -> Result<Option<Self>, StartError> {
        let Some(service) = &plan.token_service else { return Ok(None) };
        let surroundings =
            Surroundings { clock: Arc::clone(clock), entropy: Arc::clone(entropy), revocations: revocations.clone(), notifier };
        let settings = Settings::from_plan(service, plan.environment);
        let tokens = service_of(service, &settings, surroundings).await?;
        let router = token_api::router(Arc::clone(&tokens), service);
        let http = token_api::in_process(router.map_err(|fault| StartError::TokenService(fault.to_string()))?);
        Ok(Some(Self { tokens, http }))
    }

    /// The service as the verifier asks it.
    pub(super) fn introspection(&self) -> Arc<dyn EmbeddedTokens> {
        Arc::new(Introspection(Arc::clone(&self.tokens)))
    }
}

/// Opens the service of a plan for a command that changes accounts or clients; `None` if the plan has none. A gateway may run
/// on the same database meanwhile.
///
/// # Errors
/// If the database or its key cannot be used.
pub async fn open(plan: &Plan) -> Result<Option<Arc<TokenService>>, StartError> {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock::start()), Arc::new(SystemEntropy));
    let nobody_listens = Revocations::new(Arc::new(Cuts::new(std::time::Duration::ZERO)), None, Arc::new(Unwitnessed));
    let nobody_asks = Arc::new(NoNotifier);
    let Some(service) = &plan.token_service else { return Ok(None) };
    let surroundings = Surroundings { clock, entropy, revocations: nobody_listens, notifier: nobody_asks };
    let settings = Settings::from_plan(service, plan.environment).for_a_command();
    service_of(service, &settings, surroundings).await.map(Some)
}

async fn service_of(
    service: &plan::TokenService,
    settings: &Settings,
    surroundings: Surroundings,
) -> Result<Arc<TokenService>, StartError> {
    let opened = TokenService::open(&service.database, &service.key_file, settings, surroundings).await;
    opened.map(Arc::new).map_err(|fault| StartError::TokenService(fault.to_string()))
}

/// Stands for the service where it is not started because nobody will ask.
#[derive(Debug)]
pub(super) struct NotStarted;

#[async_trait]
impl EmbeddedTokens for NotStarted {
    async fn introspect(&self, _token: &str) -> Result<Option<PrincipalFacts>, Unavailable> {
        Err(Unavailable::Busy)
    }
}

/// The service as the verifier asks it.
#[derive(Debug)]
pub(super) struct Introspection(pub(super) Arc<TokenService>);

#[async_trait]
impl EmbeddedTokens for Introspection {
    async fn introspect(&self, token: &str) -> Result<Option<PrincipalFacts>, Unavailable> {
        self.0.introspect(token).await.map_err(|_| Unavailable::Busy)
    }
}
