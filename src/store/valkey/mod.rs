//! Valkey or Redis: what several gateways share. One handle, whatever the servers are to each other, and whatever happens to
//! them.
//!
//! Imports `model`. A request asks through [`Valkey::run`], which answers within the deadline or says [`Outage`]; while there is
//! no connection it says so at once. One task of its own (`keeper`) makes connections and tries them. Whoever is refused here
//! decides what that means: this module knows nothing of limits and locks. Deliberately absent: scripts, which stand beside what
//! they decide.

mod keeper;
mod link;
mod names;
pub mod stream;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{FromRedisValue, RedisError, ScriptInvocation};
use tokio::sync::{Notify, watch};

use crate::model::{NonEmpty, Secret};
pub use link::{Link, LinkFault};
pub use names::Names;

/// Calls in a row that may fail or be late before the connection counts as broken.
const PATIENCE: u32 = 3;

/// Where the servers are, and how they are spoken to.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Names or addresses, with ports.
    pub servers: NonEmpty<(Box<str>, u16)>,
    /// How they stand to each other.
    pub topology: Topology,
    /// Whom the gateway signs in as, and with which password.
    pub login: Login,
    /// The number of the database; 0 in a cluster.
    pub database: u32,
    /// Set if connections are encrypted.
    pub tls: Option<Tls>,
    /// What every key begins with.
    pub prefix: Box<str>,
    /// The key under which accounts and callers are hashed.
    pub secret: Secret,
    /// How long a call may take.
    pub deadline: Duration,
}

/// Who signs in, and how.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The default user if it is not said.
    pub username: Option<Box<str>>,
    /// No password if it is not said.
    pub password: Option<Secret>,
}

/// How the servers stand to each other.
#[derive(Clone, Debug)]
pub enum Topology {
    /// There is one.
    Standalone,
    /// They are sentinels, which know who the master is.
    Sentinel {
        /// The name of the master.
        master: Box<str>,
        /// Who signs in at the sentinels.
        login: Login,
    },
    /// They are part of a cluster.
    Cluster,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug)]
pub enum Tls {
    /// Those that the system trusts.
    System,
    /// These, in PEM.
    These(Box<[u8]>),
}

/// The store cannot be asked, or did not answer in time. What was asked may have been done all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the shared store is away")]
pub struct Outage;

/// Who is told how the store is.
pub trait Watcher: Send + Sync + fmt::Debug {
    /// It can be asked from now on, or cannot.
    fn is_up(&self, up: bool);
    /// A call failed or was late.
    fn failed(&self, operation: &'static str);
}

/// The shared store. A clone is the same.
#[derive(Clone)]
pub struct Valkey(Arc<Shared>);

impl fmt::Debug for Valkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Valkey").field("up", &self.is_up()).finish_non_exhaustive()
    }
}

struct Shared {
    live: ArcSwapOption<Live>,
    /// Fails in a row.
    failures: AtomicU32,
    /// Wakes the keeper.
    broken: Notify,
    /// Tells whoever reads the stream that there is a new connection.
    connections: watch::Sender<u64>,
    deadline: Duration,
    names: Names,
    watcher: Arc<dyn Watcher>,
}

/// A connection that works, as far as is known.
struct Live {
    link: Link,
    number: u64,
}

impl Valkey {
    /// Begins to connect, on the runtime that it is called on; does not wait for it.
    ///
    /// # Errors
    /// [`LinkFault`]: the terms cannot be used, for example because there are no certificates in what is to be trusted.
    pub fn start(terms: &Terms, watcher: Arc<dyn Watcher>) -> Result<Self, LinkFault> {
        let opener = link::Opener::new(terms)?;
        let shared = Arc::new(Shared {
            live: ArcSwapOption::empty(),
            failures: AtomicU32::new(0),
            broken: Notify::new(),
            connections: watch::Sender::new(0),
            deadline: terms.deadline,
            names: Names::new(&terms.prefix, &terms.secret),
            watcher,
        });
        keeper::spawn(Arc::downgrade(&shared), opener);
        Ok(Self(shared))
    }

    /// Whether these terms can be used, without connecting.
    ///
    /// # Errors
    /// [`LinkFault`].
    pub fn prove(terms: &Terms) -> Result<(), LinkFault> {
        link::Opener::new(terms).map(|_| ())
    }

    /// Runs a script with its keys and arguments, in one round trip.
    ///
    /// # Errors
    /// [`Outage`], within the deadline. `operation` is what failed, for the metric and the log.
    pub async fn run<T: FromRedisValue>(&self, operation: &'static str, script: &ScriptInvocation<'_>) -> Result<T, Outage> {
        let mut live = self.live()?;
        let answer = tokio::time::timeout(self.0.deadline, script.invoke_async(&mut live.0)).await;
        self.judge(operation, live.1, answer)
    }

    /// Runs a command.
    ///
    /// # Errors
    /// As [`Valkey::run`].
    pub async fn command<T: FromRedisValue>(&self, operation: &'static str, command: &redis::Cmd) -> Result<T, Outage> {
        let mut live = self.live()?;
        let answer = tokio::time::timeout(self.0.deadline, command.query_async(&mut live.0)).await;
        self.judge(operation, live.1, answer)
    }

    /// The names that things have there.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// How long a call may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// Whether there is a connection that works, as far as is known.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.live.load().is_some()
    }

    /// Waits until there is a connection, but no longer than this. Whether there is one.
    pub async fn ready(&self, patience: Duration) -> bool {
        let mut connections = self.connections();
        let up = tokio::time::timeout(patience, connections.wait_for(|number| *number > 0)).await;
        matches!(up, Ok(Ok(_)))
    }

    /// The number of the connection; a new one has a higher number. 0 before the first. Changes are told.
    #[must_use]
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.0.connections.subscribe()
    }

    fn live(&self) -> Result<(Link, u64), Outage> {
        self.0.live.load().as_ref().map(|live| (live.link.clone(), live.number)).ok_or(Outage)
    }

    fn judge<T, E>(&self, operation: &'static str, number: u64, answer: Result<Result<T, RedisError>, E>) -> Result<T, Outage> {
        match answer {
            Ok(Ok(value)) => {
                // Read first: a write by every request would bounce the cache line between the workers.
                if self.0.failures.load(Ordering::Relaxed) != 0 {
                    self.0.failures.store(0, Ordering::Relaxed);
                }
                return Ok(value);
            }
            Ok(Err(error)) => {
                tracing::debug!(operation, %error, "the shared store refused or failed");
                if link::is_broken(&error) {
                    self.0.give_up(number, &error.to_string());
                } else {
                    self.0.count(number, &error.to_string());
                }
            }
            Err(_) => self.0.count(number, "calls are late"),
        }
        self.0.watcher.failed(operation);
        Err(Outage)
    }
}

impl Shared {
    fn count(&self, number: u64, why: &str) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= PATIENCE {
            self.give_up(number, why);
        }
    }

    /// Whoever finds the connection of this number broken takes it away; the first one logs it, once.
    fn give_up(&self, number: u64, why: &str) {
        let current = self.live.load();
        let Some(live) = current.as_ref().filter(|live| live.number == number) else { return };
        let taken = self.live.compare_and_swap(&current, None);
        if taken.as_ref().is_some_and(|taken| Arc::ptr_eq(taken, live)) {
            tracing::error!(why, "the shared store is away: what is shared is decided as `on_store_outage` says");
            self.watcher.is_up(false);
            self.broken.notify_one();
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
