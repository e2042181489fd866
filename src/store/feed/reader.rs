//! Hears what other gateways cut: reads the stream on a connection of its own, and cuts here what stands in it.
//!
//! Imports the neighbours. Each read waits for what comes, so an event is here as soon as the server has it; after about a second
//! without any, the server is looked at, and then it counts as heard since before that read. Deliberately absent: whether
//! something is missing (`follower`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::model::{IssuerId, Tick, Timestamp};
use crate::store::cuts::Reach;
use crate::store::feed::Shared;
use crate::store::feed::event::Event;
use crate::store::feed::follower::{Follower, Gap};
use crate::store::feed::teller::Debt;
use crate::store::revocations::{Ledger, NotKept, Revocation};
use crate::store::valkey::stream::{BATCH, Entry, EntryId, Tail, Unread};

/// How long a read waits for an event, at most.
const LONGEST_READ: Duration = Duration::from_secs(1);
/// How soon a second attempt to connect follows the first, and how far apart attempts get.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often it is said at most that events cannot be opened.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);
/// By how much the clocks of gateways, issuers and servers that are in order differ at most.
const CLOCKS_DIFFER: Duration = Duration::from_mins(1);
/// How many cuts that were heard wait to be written down, at most.
const QUEUE: usize = 1 << 13;
/// How many are written down at once.
const GROUP: usize = 64;

/// The task.
pub(super) struct Reader {
    shared: Arc<Shared>,
    tail: Tail,
    follower: Follower,
    /// Whether the stream has been read up to its end.
    began: bool,
    complained: Option<Tick>,
    /// Where cuts go that are to be written down.
    keeper: Option<mpsc::Sender<Revocation>>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, tail: Tail) -> Self {
        let keeper = shared.ground.ledger.clone().map(|ledger| {
            let (keeper, heard) = mpsc::channel(QUEUE);
            tokio::spawn(keep(ledger, Arc::clone(&shared), heard));
            keeper
        });
        Self { shared, tail, follower: Follower::default(), began: false, complained: None, keeper }
    }

    /// For ever: connects, reads, and connects again.
    pub(super) async fn follow(mut self) {
        let (mut wait, mut silent) = (FIRST_WAIT, false);
        loop {
            let before = self.contact();
            let Err(why) = self.session().await;
            if self.contact() > before {
                (wait, silent) = (FIRST_WAIT, false);
            }
            if !silent {
                tracing::warn!(%why, "the cuts of other gateways are not heard; trying again until they are");
                silent = true;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// One connection, until it breaks.
    async fn session(&mut self) -> Result<std::convert::Infallible, Unread> {
        self.tail.open().await?;
        self.look().await?;
        let patience = LONGEST_READ.min(self.shared.terms.trust / 4);
        let (mut waits, mut looked) = (Duration::ZERO, None);
        loop {
            let asked = self.now();
            let shared = Arc::clone(&self.shared);
            let entries = tokio::select! {
                entries = self.tail.read(self.follower.last(), waits) => entries?,
                () = shared.doubt.notified() => return Err(Unread::in_doubt()),
            };
            let all = entries.len() < BATCH;
            if !self.take(&entries) || !all {
                // There is more: it is not waited for.
                waits = Duration::ZERO;
                continue;
            }
            waits = patience;
            if looked.is_none_or(|looked| asked.since(looked) >= patience / 2) {
                looked = Some(asked);
                if self.look().await? {
                    self.heard(asked);
                }
            }
        }
    }

    /// Looks where the connection leads. Whether nothing can be missing.
    async fn look(&mut self) -> Result<bool, Unread> {
        let standing = self.tail.look().await?;
        let gap = self.follower.look(&standing);
        *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = self.follower.server().map(Box::from);
        if let Some(gap) = gap {
            self.mend(gap);
        }
        Ok(gap.is_none())
    }

    /// Cuts what was read. False if the stream is to be read from its beginning.
    fn take(&mut self, entries: &[Entry]) -> bool {
        for entry in entries {
            let gap = self.follower.take(entry);
            if let Some(gap) = gap {
                self.mend(gap);
            }
            if gap == Some(Gap::Lost) {
                return false;
            }
            match self.shared.seal.open(&entry.body) {
                Ok(event) if event.node == self.shared.node => {}
                Ok(event) => self.cut(event),
                Err(_) => self.cut_what_is_not_known(entry.id),
            }
        }
        true
    }

    /// All that was appended before `asked` is cut here.
    fn heard(&mut self, asked: Tick) {
        if !self.began {
            self.began = true;
            // What was loaded before there was word from the store may have been revoked before there was.
            self.shared.ground.cuts.publish_everything();
            // What was told before now may have been told to another server, whose place this one has taken since.
            self.shared.owe(Debt::ours().and(Debt::of_before()));
            tracing::info!("the cuts of other gateways are heard");
        }
        self.shared.contact.store(asked.as_millis(), Ordering::Release);
        self.shared.ground.cuts.heard(asked.after(self.shared.terms.trust));
        self.shared.up_to_date.send_replace(true);
    }

    fn cut(&self, event: Event) {
        let at = event.made();
        // An issuer that is not configured here has no tokens here.
        let Some((issuer, self_contained)) = self.shared.terms.issuers.get(&*event.issuer).copied() else { return };
        let reach: Option<Reach> = event.reach.into();
        self.shared.ground.witness.heard(reach.as_ref());
        self.shared.ground.cuts.hear(issuer, reach.clone(), at, self.shared.ground.clock.now());
        if let (Some(keeper), Some(reach), true) = (&self.keeper, reach, self_contained)
            && keeper.try_send(Revocation { issuer, reach, at }).is_err()
        {
            self.shared.ground.witness.not_kept();
        }
    }

    /// An event of which nobody knows what it reaches reaches everything.
    fn cut_what_is_not_known(&mut self, id: EntryId) {
        let now = self.now();
        if self.complained.is_none_or(|last| now.since(last) >= COMPLAIN_EVERY) {
            self.complained = Some(now);
            tracing::error!(
                "an event of another gateway cannot be opened, so everything is cut: does every gateway have the same secret in \
                 [store.valkey]?"
            );
        }
        self.shared.ground.witness.missed("sealed");
        self.cut_all_until(id);
    }

    fn mend(&mut self, gap: Gap) {
        let why = match gap {
            // A stream is trimmed by and by: nobody need be told of that.
            Gap::Beginning(before) => return self.cut_all_until(before),
            Gap::Trimmed(before) => {
                self.cut_all_until(before);
                "trimmed"
            }
            Gap::Lost => {
                self.shared.ground.cuts.publish_everything();
                self.shared.owe(Debt::all());
                "lost"
            }
            Gap::Server => {
                self.shared.ground.cuts.publish_everything();
                self.shared.owe(Debt::ours());
                "server"
            }
        };
        tracing::warn!(why, "cuts of other gateways may have been missed, so everything is cut");
        self.shared.ground.witness.missed(why);
    }

    fn cut_all_until(&self, id: EntryId) {
        self.shared.ground.cuts.publish_everything();
        self.cut_jwts_until(id);
    }

    /// JWTs are loaded from nowhere: what was cut of them and cannot be read is known by nothing but when that was, at the
    /// latest. Nothing happens if it was so long ago that no such token lives. The server's clock may be far ahead, or have been
    /// so when it named the entry: what stands in the stream was made by now all the same, and JWTs of later are good.
    fn cut_jwts_until(&self, id: EntryId) {
        let now = self.shared.ground.clock.now();
        let named = Timestamp::from_millis(i64::try_from(id.millis).unwrap_or(i64::MAX));
        let at = named.min(now.wall.after(CLOCKS_DIFFER));
        let signed = |(_, (issuer, self_contained)): (_, &(IssuerId, bool))| self_contained.then_some(*issuer);
        for issuer in self.shared.terms.issuers.iter().filter_map(signed) {
            if now.wall.since(at) < self.shared.ground.cuts.retention() {
                self.shared.ground.cuts.hear(issuer, None, at, now);
            }
        }
    }

    fn contact(&self) -> u64 {
        self.shared.contact.load(Ordering::Acquire)
    }

    fn now(&self) -> Tick {
        self.shared.ground.clock.now().tick
    }
}

/// Writes down what was heard, many at once.
async fn keep(ledger: Arc<dyn Ledger>, shared: Arc<Shared>, mut heard: mpsc::Receiver<Revocation>) {
    let mut group = Vec::with_capacity(GROUP);
    while heard.recv_many(&mut group, GROUP).await > 0 {
        let mut writing = JoinSet::new();
        for revocation in group.drain(..) {
            let ledger = Arc::clone(&ledger);
            writing.spawn(async move { ledger.keep(revocation).await });
        }
        while let Some(kept) = writing.join_next().await {
            if !matches!(kept, Ok(Ok(()))) {
                let NotKept = NotKept;
                shared.ground.witness.not_kept();
            }
        }
    }
}
