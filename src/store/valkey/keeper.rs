//! Keeps a connection: makes one, tries it every second, and makes another when it breaks.
//!
//! Imports as the parent. Runs as one task, which ends with the last handle.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{RedisError, cmd};

use crate::store::valkey::link::{CONNECTING, Link, Opener, is_broken};
use crate::store::valkey::{Live, Shared};

/// How soon a second attempt follows the first, and how far apart attempts get.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often a connection is tried that nobody uses.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How long a try may take. Longer than a request's deadline: one late answer is no reason to connect anew.
const TRYING: Duration = Duration::from_millis(500);

/// Reads the clock and writes something short-lived.
const PROBE: &str = "return redis.call('SET', KEYS[1], redis.call('TIME')[1], 'PX', 1000)";

/// Starts the task.
pub(super) fn spawn(shared: Weak<Shared>, opener: Opener) {
    tokio::spawn(keep(shared, opener));
}

async fn keep(shared: Weak<Shared>, mut opener: Opener) {
    let (mut number, mut wait, mut complained) = (0_u64, FIRST_WAIT, false);
    while shared.strong_count() > 0 {
        let opened = tokio::time::timeout(CONNECTING * 2, connect(&mut opener, &shared)).await;
        match opened {
            Ok(Ok(link)) => {
                number += 1;
                let Some(strong) = shared.upgrade() else { return };
                strong.come_up(link.clone(), number);
                drop(strong);
                // One that breaks at once, again and again, is not made again and again at once.
                if watch(&shared, link, number).await {
                    wait = FIRST_WAIT;
                }
                complained = true;
            }
            Ok(Err(error)) => complain(&mut complained, &shared, &error.to_string()),
            Err(_) => complain(&mut complained, &shared, "connecting takes too long"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Says once for each outage that there is no connection; of one that broke it has been said already.
fn complain(complained: &mut bool, shared: &Weak<Shared>, why: &str) {
    if let Some(shared) = shared.upgrade().filter(|_| !*complained) {
        tracing::warn!(why, "cannot connect to the shared store; trying again until it works");
        shared.watcher.is_up(false);
        *complained = true;
    }
}

async fn connect(opener: &mut Opener, shared: &Weak<Shared>) -> Result<Link, RedisError> {
    let mut link = opener.open().await?;
    prove(&mut link, shared).await?;
    Ok(link)
}

/// Does what scripts do: a replica, a full server, and one that may not be written to or run scripts are found out by nothing
/// else. Of a cluster every master must answer as well.
async fn prove(link: &mut Link, shared: &Weak<Shared>) -> Result<(), RedisError> {
    let key = shared.upgrade().map_or_else(String::new, |shared| shared.names.common("probe"));
    cmd("EVAL").arg(PROBE).arg(1).arg(key).query_async::<()>(link).await?;
    match link {
        Link::One(_) => Ok(()),
        Link::Cluster(_) => cmd("PING").query_async(link).await,
    }
}

/// Returns when the connection is not in use any more; whether it was ever tried with success.
async fn watch(shared: &Weak<Shared>, mut link: Link, number: u64) -> bool {
    let mut worked = false;
    loop {
        let Some(strong) = shared.upgrade() else { return worked };
        if strong.live.load().as_ref().is_none_or(|live| live.number != number) {
            return worked;
        }
        let broken = tokio::time::timeout(TRY_EVERY, strong.broken.notified()).await;
        drop(strong);
        if broken.is_ok() {
            continue;
        }
        let tried = tokio::time::timeout(TRYING, prove(&mut link, shared)).await;
        let Some(strong) = shared.upgrade() else { return worked };
        match tried {
            Ok(Ok(())) => {
                worked = true;
                strong.failures.store(0, Ordering::Relaxed);
            }
            Ok(Err(error)) if is_broken(&error) => strong.give_up(number, &error.to_string()),
            Ok(Err(error)) => strong.count(number, &error.to_string()),
            Err(_) => strong.count(number, "it does not answer"),
        }
    }
}

impl Shared {
    fn come_up(&self, link: Link, number: u64) {
        self.failures.store(0, Ordering::Relaxed);
        self.live.store(Some(Arc::new(Live { link, number })));
        self.connections.send_replace(number);
        self.watcher.is_up(true);
        tracing::info!("the shared store can be used");
    }
}
