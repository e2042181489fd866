//! The state file: what this gateway must not forget when it is restarted. That is the cuts of self-contained tokens, and what
//! login guards have counted.
//!
//! Imports `model`, the cuts, the login guards and `store::sqlite`. An issuer that can be asked again needs no memory of ours: its tokens are
//! loaded anew after a restart. A JWT is loaded from nowhere, so its cuts are written down, by the issuer's name, because its
//! number changes with the configuration. Deliberately absent: SQL (`file`, `guards`), and what a cut means (`cuts`).

mod file;
mod guards;
mod pad;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{IssuerId, Now, Timestamp};
use crate::store::cuts::Cuts;
use crate::store::journal::file::Row;
use crate::store::journal::pad::Pad;
use crate::store::login_guard::{GuardKey, GuardLedger, GuardMemory, Noted};
use crate::store::revocations::{Ledger, NotKept, Revocation};
use crate::store::sqlite::{StoreFault, Writer, connect, keep_private};

/// How long a request waits for its cut or lock to be written down. It holds all the while.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state file cannot be used. A gateway that started all the same would let in whom it had shut out.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// It cannot be made or written.
    #[error("the state file {path} cannot be made or written: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// SQLite says no.
    #[error("the state file {path} cannot be opened: {source}", path = path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// What is in it cannot be believed.
    #[error("the state file {path} is damaged ({what}): restore it, or move it away to start without what it remembers", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It is a database of something else.
    #[error("{path} is a database, but no state file of Portcullis: name another file in [store]", path = path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// A newer program has written it.
    #[error("the state file {path} has version {found}; this program knows versions up to {known}", path = path.display(), known = file::VERSION)]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}

/// What the journal is told once.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The issuers of self-contained tokens, by the names that the configuration gives them.
    pub issuers: HashMap<IssuerId, Arc<str>>,
    /// How long a cut is remembered, as [`Cuts`] do.
    pub retention: Duration,
    /// How many cuts of one issuer are told apart; beyond it they are folded into one, as [`Cuts`] do.
    pub capacity: usize,
    /// The key of login guards that a file without one is given.
    pub fresh_key: GuardKey,
}

/// Cuts and the counters of login guards, written down.
pub struct Journal {
    pad: Arc<Pad>,
    writer: Writer,
    terms: Terms,
    opened: Now,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the file, makes it if it is not there, and restores what it remembers into `cuts`; what it knows of login guards
    /// is for them.
    ///
    /// # Errors
    /// [`JournalFault`]; what the file remembers is left as it is.
    pub fn open(path: &Path, terms: Terms, cuts: &Cuts, now: Now) -> Result<(Self, GuardMemory), JournalFault> {
        keep_private(path).map_err(|source| JournalFault::File { path: path.to_owned(), source })?;
        let database = |source| JournalFault::Database { path: path.to_owned(), source };
        let mut connection = connect(path).map_err(database)?;
        file::recognise(&mut connection).map_err(|fault| fault.of(path))?;
        let mut restored = 0;
        for (issuer, name) in &terms.issuers {
            let read = file::each_cut(&connection, name, |row: Row| {
                cuts.restore(*issuer, row.reach, row.at, now);
                restored += 1;
            });
            read.map_err(|fault| fault.of(path))?;
        }
        let guards = guards::recall(&connection, terms.fresh_key.clone()).map_err(|fault| fault.of(path))?;
        tracing::info!(file = %path.display(), restored, "the state file is open");
        let writer = Writer::start(connection, "state-writer");
        let writer = writer.map_err(|source| JournalFault::File { path: path.to_owned(), source })?;
        Ok((Self { pad: Arc::default(), writer, terms, opened: now }, guards))
    }

    /// Deletes cuts that are older than the retention and counters that mean nothing any more, a little at a time. To be called about once a minute. How many were deleted.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn forget_old(&self, now: Now) -> Result<usize, StoreFault> {
        const ROUNDS: usize = 50;
        const BATCH: u32 = 1000;
        // A page that found the writer's queue full goes along.
        let _ = self.pad.queue(&self.writer);
        let today = self.age_clock(now);
        let edge = today.before(self.terms.retention);
        let mut total = 0;
        for _ in 0..ROUNDS {
            let forget = move |db: &_| -> rusqlite::Result<usize> {
                Ok(file::forget(db, edge, BATCH)? + guards::forget(db, today, BATCH)?)
            };
            let deleted = self.writer.step(forget).await?;
            total += deleted;
            if deleted == 0 {
                break;
            }
        }
        Ok(total)
    }

    /// The time by which cuts grow old: the wall clock, but never more of it than has really passed since the start. A wall
    /// clock that jumps ahead and is set right again has deleted nothing.
    fn age_clock(&self, now: Now) -> Timestamp {
        now.wall.min(self.opened.wall.after(now.tick.since(self.opened.tick)))
    }
}

#[async_trait]
impl Ledger for Journal {
    async fn keep(&self, revocation: Revocation) -> Result<(), NotKept> {
        let Revocation { issuer, reach, at } = revocation;
        let Some(issuer) = self.terms.issuers.get(&issuer).cloned() else { return Ok(()) };
        let capacity = i64::try_from(self.terms.capacity).unwrap_or(i64::MAX);
        let step = self.writer.step(move |db| file::keep(db, &issuer, &reach, at, capacity));
        match tokio::time::timeout(PATIENCE, step).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fault)) => {
                tracing::error!(%fault, "a cut could not be written down; it holds until a restart");
                Err(NotKept)
            }
            Err(_) => {
                tracing::error!("a cut is not written down after {PATIENCE:?}; it may not survive a restart");
                Err(NotKept)
            }
        }
    }
}

#[async_trait]
impl GuardLedger for Journal {
    fn note(&self, guard: &Arc<str>, counters: Vec<Noted>) {
        self.pad.note(&self.writer, guard, counters);
    }

    async fn written(&self) -> Result<(), NotKept> {
        let told = self.pad.written(&self.writer).map_err(|_| NotKept)?;
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotKept),
        }
    }
}

#[cfg(test)]
mod tests;
