//! How gateways that share a store hear each other's cuts: a stream that each writes and all read.
//!
//! Imports `model`, the cuts and `store::valkey`. What is cut here is appended to the stream (`teller`) before the answer goes
//! out to who asked for it; what others cut is read from it (`reader`) and cut here too. The stream is the truth, and a read
//! that waits is woken by what is appended, so nothing else is needed to wake anybody.
//!
//! What holds, for an entry of the cache that was loaded before a revocation that another gateway answered:
//!
//! - While both reach the same server, it dies as soon as the event has crossed the network twice.
//! - A gateway that has not heard from its server for `trust_without` trusts nothing that it remembers of an issuer that can be
//!   asked ([`Cuts::is_deaf`]). To have heard is: a read that began then brought all there was, the server was looked at after
//!   it, and it was the same server as before it, which takes writes. So an event that the server took before that is read.
//! - Whatever can have been missed without being deaf (see `follower`) is answered by cutting everything, before the server
//!   counts as heard.
//! - A server that ends takes with it what it has not kept. Whoever sees another server in its place tells it all that it
//!   cut itself; if cuts that were read are gone, also those of JWTs that it heard of, since their makers may be gone too.
//!
//! What does not hold: while a gateway cannot reach the store, it tells nobody. The others go on by what they remember, as long
//! as their routes allow it (`max_revocation_lag`), and by JWTs, until it can. Deliberately absent: which tokens are cut
//! (`flow`, `tokens`), and connections.

mod event;
mod follower;
mod reader;
mod teller;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::model::{Clock, Entropy, IssuerId, Tick};
use crate::store::cuts::{Cuts, Reach, Sequence};
use crate::store::feed::event::{Node, Seal};
use crate::store::feed::reader::Reader;
use crate::store::feed::teller::{Debt, Message, Teller};
use crate::store::revocations::{Ledger, NotTold, Others, Revocation};
use crate::store::valkey::stream::{Bounds, Tail};
use crate::store::valkey::{self, LinkFault, Valkey};

/// How many revocations wait to be told, at most. Beyond that they are told as debts are.
const QUEUE: usize = 1 << 10;

/// How many events the stream keeps, about: 100 MB at most. To whom more are missing, all JWTs of before count as cut.
const LONGEST: usize = 1 << 18;
/// For how long the stream keeps events, at least: gateways that know JWTs of a shorter life trim it for all.
const LEAST_RETENTION: Duration = Duration::from_hours(24);

/// What a feed stands on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// What it cuts, and tells of.
    pub cuts: Arc<Cuts>,
    /// Where cuts that were heard are written down, so that they outlive the store.
    pub ledger: Option<Arc<dyn Ledger>>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Who counts.
    pub witness: Arc<dyn Listener>,
}

/// Between whom, and for how long.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The issuers by their names, which are the same on every gateway; true for those whose tokens nobody can be asked about.
    pub issuers: HashMap<Arc<str>, (IssuerId, bool)>,
    /// How long what is remembered is trusted without word from the store, at least a second.
    pub trust: Duration,
}

/// Who counts what is heard.
pub trait Listener: Send + Sync + fmt::Debug {
    /// A cut of another gateway was heard.
    fn heard(&self, reach: Option<&Reach>);
    /// Some may have been missed, and everything was cut; why, in a word of a closed list.
    fn missed(&self, why: &'static str);
    /// A cut that was heard could not be written down.
    fn not_kept(&self);
}

/// What the reader and the teller share.
#[derive(Debug)]
struct Shared {
    ground: Ground,
    terms: Terms,
    node: Node,
    seal: Seal,
    stream: String,
    /// The server that the reader reads from.
    server: Mutex<Option<Box<str>>>,
    /// The reader is to look where its connection leads.
    doubt: Notify,
    /// What others must still be told.
    debt: Mutex<Option<Debt>>,
    /// There is a debt.
    owed: Notify,
    /// When the store was heard last, in milliseconds; a tick.
    contact: AtomicU64,
    /// Whether it has been heard.
    up_to_date: watch::Sender<bool>,
}

impl Shared {
    fn owe(&self, debt: Debt) {
        let mut owed = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        *owed = Some(owed.take().map_or(debt, |known| known.and(debt)));
        drop(owed);
        self.owed.notify_one();
    }

    fn server(&self) -> Option<Box<str>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn name(&self, issuer: IssuerId) -> Option<&Arc<str>> {
        self.terms.issuers.iter().find_map(|(name, (id, _))| (*id == issuer).then_some(name))
    }

    fn is_self_contained(&self, issuer: IssuerId) -> bool {
        self.terms.issuers.values().any(|(id, self_contained)| *id == issuer && *self_contained)
    }
}

/// The feed of a gateway. Its tasks end when it is dropped.
pub struct Feed {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
    tasks: [AbortHandle; 2],
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("stream", &self.shared.stream).finish_non_exhaustive()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// The feed cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum FeedFault {
    /// The servers cannot be spoken to as it is said.
    #[error(transparent)]
    Link(#[from] LinkFault),
    /// No key can be made of the secret.
    #[error("no key can be made of the secret of the shared store")]
    Key,
}

impl Feed {
    /// Begins to read and to tell, on the runtime that it is called on. The cuts are deaf until the store was heard.
    ///
    /// # Errors
    /// [`FeedFault`].
    pub fn start(valkey: &Valkey, at: &valkey::Terms, terms: Terms, ground: Ground) -> Result<Self, FeedFault> {
        let stream = valkey.names().common("cuts");
        let tail = Tail::new(at, &stream)?;
        let seal = Seal::new(&at.secret, &stream).ok_or(FeedFault::Key)?;
        let mut node = [0; 8];
        ground.entropy.fill(&mut node);
        ground.cuts.listen();
        let shared = Arc::new(Shared {
            terms,
            node: Node(u64::from_be_bytes(node)),
            seal,
            stream,
            server: Mutex::default(),
            doubt: Notify::new(),
            debt: Mutex::default(),
            owed: Notify::new(),
            contact: AtomicU64::new(ground.clock.now().tick.as_millis()),
            up_to_date: watch::Sender::new(false),
            ground,
        });
        let (queue, waiting) = mpsc::channel(QUEUE);
        let bounds = Bounds { retention: shared.ground.cuts.retention().max(LEAST_RETENTION), most: LONGEST };
        let reader = tokio::spawn(Reader::new(Arc::clone(&shared), tail).follow());
        let teller = tokio::spawn(Teller::new(Arc::clone(&shared), valkey.clone(), bounds, waiting).tell());
        Ok(Self { shared, queue, tasks: [reader.abort_handle(), teller.abort_handle()] })
    }

    /// Waits until all that others have told is known, but no longer than this. Whether it is.
    pub async fn up_to_date(&self, patience: Duration) -> bool {
        let mut heard = self.shared.up_to_date.subscribe();
        let up_to_date = tokio::time::timeout(patience, heard.wait_for(|heard| *heard)).await;
        matches!(up_to_date, Ok(Ok(_)))
    }

    /// When the store was heard last; the start if it never was.
    #[must_use]
    pub fn contact(&self) -> Tick {
        Tick::from_millis(self.shared.contact.load(Ordering::Acquire))
    }
}

#[async_trait]
impl Others for Feed {
    async fn tell(&self, revocation: Revocation, cut: Sequence) -> Result<(), NotTold> {
        let (told, answer) = oneshot::channel();
        if self.queue.try_send(Message { revocation, cut, told }).is_err() {
            self.shared.owe(Debt::since(cut));
            return Err(NotTold);
        }
        // The teller answers within the deadline of a call or two. If it cannot, it owes.
        answer.await.unwrap_or(Err(NotTold))
    }
}

#[cfg(test)]
mod tests;
