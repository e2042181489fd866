//! What outlives a request, put together: the cuts, what login guards have counted, and the file that keeps both.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::app::StartError;
use crate::model::{Entropy, Now};
use crate::plan::{IssuerKind, OnOutage, Plan};
use crate::store::cuts::Cuts;
use crate::store::journal::{Journal, Terms};
use crate::store::login_guard::{GuardKey, GuardMemory};

/// How long an introspection may be in the air when a cut is made; added to what cuts must be remembered for.
const LONGEST_LOAD: Duration = Duration::from_mins(1);

/// The cuts of this process, with those of the one before it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) cuts: Arc<Cuts>,
    /// Where all of it is kept, if the plan has tokens that nobody can be asked about, or login guards.
    pub(super) journal: Option<Arc<Journal>>,
    /// What login guards had counted before.
    pub(super) guards: GuardMemory,
    /// Keeps a second gateway off the journal.
    pub(super) claim: Option<File>,
}

impl State {
    pub(super) fn open(plan: &Plan, entropy: &dyn Entropy, now: Now) -> Result<Self, StartError> {
        let retention = retention(plan);
        let cuts = Arc::new(Cuts::new(retention));
        let self_contained = plan.issuers.iter().filter(|issuer| matches!(issuer.kind, IssuerKind::Jwt(_)));
        let terms = Terms {
            issuers: self_contained.map(|issuer| (issuer.id, issuer.name.clone())).collect(),
            retention,
            capacity: Cuts::CAPACITY,
            fresh_key: GuardKey::random(entropy),
        };
        let is_needed = !terms.issuers.is_empty() || !plan.login_guards.is_empty();
        let Some(file) = plan.store.file.as_ref().filter(|_| is_needed) else {
            return Ok(Self { cuts, journal: None, guards: GuardMemory::none(entropy), claim: None });
        };
        let claim = claim(file)?;
        let (journal, guards) = Journal::open(file, terms, &cuts, now)?;
        Ok(Self { cuts, journal: Some(Arc::new(journal)), guards, claim: Some(claim) })
    }
}

/// Claims a database or state file for one gateway. Two would each count failed sign-ins by themselves, and neither would hear
/// of what the other revokes. The claim ends with the process, however that ends; commands that change accounts need none.
pub(super) fn claim(database: &Path) -> Result<File, StartError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = made.map_err(|error| StartError::Unclaimed(PathBuf::from(&path), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::Claimed(database.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// How long a cut must be remembered: until nothing can be remembered, or be in the air, that was loaded before it; and for
/// JWTs, which nobody can be asked about again, as long as one may live.
fn retention(plan: &Plan) -> Duration {
    let remembered = plan.issuers.iter().map(|issuer| match &issuer.kind {
        IssuerKind::Embedded => LONGEST_LOAD,
        IssuerKind::Introspection(remote) => remote.cache_ttl,
        IssuerKind::Jwt(signed) => signed.max_lifetime + signed.leeway,
    });
    let graces = plan.routes.iter().map(|route| match route.freshness.on_outage {
        OnOutage::Deny => Duration::ZERO,
        OnOutage::Grace(grace) => grace,
    });
    remembered.max().unwrap_or_default() + graces.max().unwrap_or_default() + LONGEST_LOAD
}
