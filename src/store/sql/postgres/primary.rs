//! Which server counts: what all sessions of one gateway agree on.
//!
//! After a fail-over the configured name leads to another server, while connections to the one that was left may live on. That
//! one shows tokens as good that have ended since. So whoever listens says which server counts, and since when: each time that
//! it hears anew, an era begins, and no session that was opened before is used again. A session that turns out to be at another
//! server than the listener's is refused; if that server is not one that was left behind, the listener looks anew where the
//! name leads. Deliberately absent: how sessions are opened.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::store::sql::{Result, SqlFault};

/// Which server it is: no two that were ever written to apart have the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    /// What the cluster was called when it was made; its standbys are called the same.
    pub(super) system: Box<str>,
    /// One more with each fail-over of a cluster.
    pub(super) timeline: u32,
}

impl Identity {
    /// Whether a fail-over has left this server behind the other.
    fn is_behind(&self, other: &Self) -> bool {
        self.system == other.system && self.timeline < other.timeline
    }
}

/// What is agreed on. Where a server does not tell which it is (some that speak PostgreSQL's protocol do not), only eras count.
#[derive(Debug)]
pub(super) struct Primary {
    known: Mutex<Known>,
    era: watch::Sender<u64>,
    doubt: Notify,
}

#[derive(Debug, Default)]
struct Known {
    server: Option<Identity>,
    /// Somebody listened at it.
    heard: bool,
    /// Another one was met since.
    other: bool,
}

impl Primary {
    pub(super) fn new() -> Self {
        Self { known: Mutex::default(), era: watch::Sender::new(0), doubt: Notify::new() }
    }

    /// Sessions that were opened in another era are not to be used.
    pub(super) fn era(&self) -> u64 {
        *self.era.borrow()
    }

    /// Ends when this era has.
    pub(super) async fn beyond(&self, era: u64) {
        // It cannot fail: the sender lives as long as this.
        drop(self.era.subscribe().wait_for(|now| *now != era).await);
    }

    /// A session to listen has been opened: from now on its server counts. The era that begins with it.
    ///
    /// # Errors
    /// If a fail-over has left that server behind.
    pub(super) fn hear(&self, found: Option<Identity>) -> Result<u64> {
        let mut known = self.known();
        if let (Some(found), Some(known)) = (&found, &known.server)
            && found.is_behind(known)
        {
            return Err(SqlFault::Behind);
        }
        // Whoever listens for the first time has missed nothing of the server that all are at.
        let goes_on = !known.heard && found.is_some() && found == known.server;
        *known = Known { server: found, heard: true, other: false };
        if !goes_on {
            self.era.send_modify(|era| *era += 1);
        }
        Ok(self.era())
    }

    /// A session for something else has been opened. The first of all says which server counts until somebody listens.
    ///
    /// # Errors
    /// If it is at another server than the one that counts.
    pub(super) fn meet(&self, found: Option<Identity>) -> Result<()> {
        let mut known = self.known();
        let (Some(found), Some(server)) = (&found, &known.server) else {
            known.server = known.server.take().or(found);
            return Ok(());
        };
        if found == server {
            return Ok(());
        }
        if found.is_behind(server) {
            return Err(SqlFault::Behind);
        }
        known.other = true;
        self.doubt.notify_one();
        Err(SqlFault::OtherServer)
    }

    /// Ends when another server was met than the one that counts: whoever listens is to look where the name leads.
    pub(super) async fn doubted(&self) {
        while !self.known().other {
            self.doubt.notified().await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn server(system: &str, timeline: u32) -> Identity {
        Identity { system: system.into(), timeline }
    }

    #[test]
    fn an_era_begins_whenever_somebody_hears_anew() {
        let primary = Primary::new();
        primary.meet(Some(server("a", 1))).unwrap();
        assert_eq!(primary.hear(Some(server("a", 1))).unwrap(), 0, "all are where it listens");
        assert!(primary.beyond(0).now_or_never().is_none());
        assert_eq!(primary.hear(Some(server("a", 1))).unwrap(), 1, "even at the same: it was away");
        assert!(primary.beyond(0).now_or_never().is_some());
        assert_eq!(primary.hear(Some(server("a", 2))).unwrap(), 2);
    }

    #[test]
    fn what_does_not_tell_which_server_it_is_begins_an_era_too() {
        let primary = Primary::new();
        primary.meet(None).unwrap();
        assert_eq!(primary.hear(None).unwrap(), 1);
        primary.meet(Some(server("a", 1))).unwrap();
    }

    #[test]
    fn a_server_that_was_left_behind_never_counts_again() {
        let primary = Primary::new();
        primary.hear(Some(server("a", 2))).unwrap();
        assert!(matches!(primary.meet(Some(server("a", 1))), Err(SqlFault::Behind)));
        assert!(matches!(primary.hear(Some(server("a", 1))), Err(SqlFault::Behind)));
        assert!(primary.doubted().now_or_never().is_none(), "nobody doubts for its sake");
        primary.meet(Some(server("a", 2))).unwrap();
    }

    #[test]
    fn who_meets_another_server_is_refused_and_has_whoever_listens_look_anew() {
        for other in [server("a", 2), server("b", 1)] {
            let primary = Primary::new();
            primary.hear(Some(server("a", 1))).unwrap();
            assert!(matches!(primary.meet(Some(other.clone())), Err(SqlFault::OtherServer)));
            assert!(primary.doubted().now_or_never().is_some());
            primary.hear(Some(other.clone())).unwrap();
            assert!(primary.doubted().now_or_never().is_none());
            primary.meet(Some(other)).unwrap();
        }
    }
}
