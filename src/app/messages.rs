//! Who carries the messages of the embedded token service: the configured carriers, or in the sandbox without any, nobody.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::app::ground::Ground;
use crate::notify::{Carriers, SetupError, Surroundings};
use crate::plan::Environment;
use crate::tokens::notifier::{NoNotifier, Notifier, SandboxNotifier};

/// How long a stop waits for messages that are still on their way.
const LAST_MESSAGES: Duration = Duration::from_secs(5);

/// The messages of a gateway.
#[derive(Debug)]
pub(super) enum Messages {
    /// There is no token service, so there are none.
    None,
    /// None is sent.
    Sandbox,
    /// They are carried.
    Carried(Arc<Carriers>),
}

impl Messages {
    /// As the plan says; delivered on `runtime`.
    pub(super) fn new(ground: &Ground, runtime: &Handle) -> Result<Self, SetupError> {
        let Some(service) = &ground.plan.token_service else { return Ok(Self::None) };
        if service.notifier.is_none() && ground.plan.environment == Environment::Sandbox {
            return Ok(Self::Sandbox);
        }
        let surroundings = Surroundings {
            clock: Arc::clone(&ground.clock),
            entropy: Arc::clone(&ground.entropy),
            observer: Arc::clone(&ground.counting) as _,
            runtime: runtime.clone(),
        };
        Carriers::new(service.notifier.as_ref(), surroundings).map(Arc::new).map(Self::Carried)
    }

    pub(super) fn notifier(&self) -> Arc<dyn Notifier> {
        match self {
            Self::None => Arc::new(NoNotifier),
            Self::Sandbox => Arc::new(SandboxNotifier),
            Self::Carried(carriers) => Arc::<Carriers>::clone(carriers),
        }
    }

    /// Waits a little for messages that are still on their way.
    pub(super) async fn finish(&self) {
        let Self::Carried(carriers) = self else { return };
        if tokio::time::timeout(LAST_MESSAGES, carriers.idle()).await.is_err() {
            tracing::warn!("some messages were still on their way and are lost");
        }
    }
}
