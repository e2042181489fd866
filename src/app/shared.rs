//! What this gateway shares with others: the plan's servers, as the store wants to be told of them.

use std::sync::Arc;
use std::time::Duration;

use crate::app::StartError;
use crate::model::Secret;
use crate::plan::{self, IssuerKind, Plan};
use crate::store::feed::{self, Feed};
use crate::store::valkey::{Login, Terms, Tls, Topology, Valkey, Watcher};

/// How long a start waits for a connection. After that the gateway starts all the same, and decides as in any outage.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a start waits until all that other gateways have told is read, if there is a connection.
const READING: Duration = Duration::from_secs(10);

/// Begins to connect, and waits a little for it. `None` if the plan shares nothing.
pub(super) async fn start(plan: &Plan, watcher: Arc<dyn Watcher>) -> Result<Option<Valkey>, StartError> {
    let Some(settings) = &plan.store.valkey else { return Ok(None) };
    let valkey = Valkey::start(&terms(settings)?, watcher)?;
    if !valkey.ready(PATIENCE).await {
        tracing::warn!("starting without the shared store, which does not answer");
    }
    Ok(Some(valkey))
}

/// Begins to hear the cuts of other gateways and to tell them ours, and waits a little until all that they have told is known.
pub(super) async fn follow(
    plan: &Plan,
    valkey: Option<&Valkey>,
    ground: feed::Ground,
) -> Result<Option<Arc<Feed>>, StartError> {
    let (Some(settings), Some(valkey)) = (&plan.store.valkey, valkey) else { return Ok(None) };
    let issuer = |issuer: &plan::Issuer| (Arc::clone(&issuer.name), (issuer.id, matches!(issuer.kind, IssuerKind::Jwt(_))));
    let between = feed::Terms { issuers: plan.issuers.iter().map(issuer).collect(), trust: settings.trust_without };
    let feed = Feed::start(valkey, &terms(settings)?, between, ground)?;
    let patience = if valkey.is_up() { READING } else { Duration::ZERO };
    if !feed.up_to_date(patience).await {
        tracing::warn!("starting without the cuts of other gateways; until they are heard, every opaque token is asked about");
    }
    Ok(Some(Arc::new(feed)))
}

/// What a start would make of the plan's servers, without connecting.
pub(super) fn prove(plan: &Plan) -> Result<(), StartError> {
    match &plan.store.valkey {
        Some(settings) => Ok(Valkey::prove(&terms(settings)?)?),
        None => Ok(()),
    }
}

fn terms(settings: &plan::Valkey) -> Result<Terms, StartError> {
    let tls = match &settings.tls {
        None => None,
        Some(plan::Trust::System) => Some(Tls::System),
        Some(plan::Trust::File(path)) => {
            let pem = std::fs::read(path).map_err(|error| StartError::Unreadable(path.clone(), error))?;
            Some(Tls::These(pem.into()))
        }
    };
    Ok(Terms {
        servers: settings.servers.clone(),
        topology: match &settings.topology {
            plan::Topology::Standalone => Topology::Standalone,
            plan::Topology::Sentinel { master, username, password } => {
                Topology::Sentinel { master: master.clone(), login: login(username.as_deref(), password.as_ref()) }
            }
            plan::Topology::Cluster => Topology::Cluster,
        },
        login: login(settings.username.as_deref(), settings.password.as_ref()),
        database: settings.database,
        tls,
        prefix: settings.prefix.clone(),
        secret: settings.secret.clone(),
        deadline: settings.deadline,
    })
}

fn login(username: Option<&str>, password: Option<&Secret>) -> Login {
    Login { username: username.map(Box::from), password: password.cloned() }
}
