//! The database that is configured, opened; and what is heard over it of other gateways.

use std::sync::Arc;

use crate::model::{Clock, IssuerId, Tick};
use crate::plan::{Database, Postgres};
use crate::store::cuts::Reach;
use crate::store::revocations::{Cause, Revocations};
use crate::store::sql::postgres::{Encryption, Server, Terms};
use crate::tokens::store::Hearer;
use crate::tokens::store::steps::{OpenFault, StepStore};
use crate::tokens::{Settings, StartFault, Surroundings};

pub(super) fn open(database: &Database, settings: &Settings, surroundings: &Surroundings) -> Result<StepStore, StartFault> {
    let now = surroundings.clock.now().wall;
    match database {
        Database::Sqlite(path) => Ok(StepStore::open(path, now)?),
        Database::Postgres(server) => {
            let hearer = Echo {
                issuer: settings.issuer,
                revocations: surroundings.revocations.clone(),
                clock: Arc::clone(&surroundings.clock),
            };
            let hearer = settings.serves.then(|| Arc::new(hearer) as Arc<dyn Hearer>);
            if settings.serves {
                surroundings.revocations.outbox().listen();
            }
            let readers = if settings.serves { server.readers } else { 1 };
            Ok(StepStore::connect(terms(server, readers, &surroundings.clock)?, hearer, now)?)
        }
    }
}

fn terms(from: &Postgres, readers: usize, clock: &Arc<dyn Clock>) -> Result<Terms, StartFault> {
    let encryption = match &from.tls {
        Some(tls) => tls.ca_file.as_deref().map_or(Encryption::BySystem, Encryption::ByFile),
        None => Encryption::None,
    };
    let server = Server {
        host: &from.host,
        port: from.port,
        database: &from.database,
        user: &from.user,
        password: from.password.as_ref(),
        schema: &from.schema,
        encryption,
        readers,
        connect_timeout: from.connect_timeout,
        statement_timeout: from.statement_timeout,
        silence: from.max_silence,
    };
    Ok(Terms::new(&server, Arc::clone(clock)).map_err(OpenFault::from)?)
}

/// Cuts here what was ended through another gateway. What was ended through this one comes back too, and is cut once more:
/// nobody can tell the one from the other if the answer to a commit was lost.
#[derive(Debug)]
struct Echo {
    issuer: IssuerId,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
}

impl Hearer for Echo {
    fn ended(&self, reach: Reach) {
        self.revocations.suspect(self.issuer, reach, Cause::Outbox, self.clock.now());
    }

    fn everything(&self) {
        self.revocations.suspect_all(self.issuer, self.clock.now());
    }

    fn heard(&self, until: Tick) {
        self.revocations.outbox().heard(until);
    }

    fn is_deaf(&self) -> bool {
        self.revocations.outbox().is_deaf(self.clock.now().tick)
    }
}
