//! Tells the other gateways of cuts: at once, and what could not be told, as soon as it can be.
//!
//! Imports the neighbours. What is waiting is told in one call. A debt is no list: what is owed is found again among the cuts
//! themselves, which are bounded and forget what nothing can have been loaded before. Cuts need no order among each other: of two
//! that reach the same the later counts, whichever is heard first. Deliberately absent: what a cut is.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::model::IssuerId;
use crate::store::cuts::{Origin, Remembered, Sequence};
use crate::store::feed::Shared;
use crate::store::feed::event::Event;
use crate::store::revocations::{NotTold, Revocation};
use crate::store::valkey::stream::Bounds;
use crate::store::valkey::{Outage, Valkey};

/// The most events of one call.
const BATCH: usize = 64;
/// How soon debts are paid that could not be paid.
const AGAIN: Duration = Duration::from_millis(250);
/// How many times as long it takes at most where they were told and nobody reads: two servers that stay apart are not to be
/// filled with what was told again and again.
const LONGEST_REST: u32 = 32;

/// A revocation that somebody waits for.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) revocation: Revocation,
    pub(super) cut: Sequence,
    pub(super) told: oneshot::Sender<Result<(), NotTold>>,
}

/// What others must still be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Debt {
    /// What was cut here, from this place in the order on.
    here: Option<Sequence>,
    /// Of JWTs, what was cut before the start.
    before: bool,
    /// Of JWTs, what others cut.
    others: bool,
}

impl Debt {
    /// What was cut here from there on.
    pub(super) fn since(cut: Sequence) -> Self {
        Self { here: Some(cut), before: false, others: false }
    }

    /// What was cut here.
    pub(super) fn ours() -> Self {
        Self::since(Sequence::default())
    }

    /// What the state file remembers and the store does not.
    pub(super) fn of_before() -> Self {
        Self { here: None, before: true, others: false }
    }

    /// All that can be told.
    pub(super) fn all() -> Self {
        Self { here: Some(Sequence::default()), before: true, others: true }
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        let here = match (self.here, other.here) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self { here, before: self.before || other.before, others: self.others || other.others }
    }

    fn holds(self, self_contained: bool, origin: Origin, made: Sequence) -> bool {
        match origin {
            Origin::Suspicion => false,
            Origin::Here => self.here.is_some_and(|from| made >= from),
            Origin::Before => self.before && self_contained,
            Origin::Others => self.others && self_contained,
        }
    }
}

/// Whether it was told where the reader reads. If not, one of the two is at a server that is not the right one any more. If
/// that is the teller, what it told is lost; so it is told again until both agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Agreed {
    Yes,
    No,
}

/// The task.
pub(super) struct Teller {
    shared: Arc<Shared>,
    valkey: Valkey,
    bounds: Bounds,
    queue: mpsc::Receiver<Message>,
    /// What of a debt is being told.
    due: Vec<Event>,
    rest: Rest,
}

/// The turns that debts wait after they were told where nobody reads; more each time, until the reader is somewhere else.
#[derive(Debug, Default)]
struct Rest {
    turns: u32,
    left: u32,
    /// Where the reader was.
    reader: Option<Box<str>>,
}

impl Rest {
    fn begin(&mut self, reader: Option<Box<str>>) {
        self.turns = (self.turns * 2).clamp(1, LONGEST_REST);
        self.left = self.turns;
        self.reader = reader;
    }

    /// Whether this turn is for waiting.
    fn takes(&mut self, reader: Option<&str>) -> bool {
        if self.reader.as_deref() != reader {
            *self = Self::default();
        }
        let rests = self.left > 0;
        self.left = self.left.saturating_sub(1);
        rests
    }
}

impl Teller {
    pub(super) fn new(shared: Arc<Shared>, valkey: Valkey, bounds: Bounds, queue: mpsc::Receiver<Message>) -> Self {
        Self { shared, valkey, bounds, queue, due: Vec::new(), rest: Rest::default() }
    }

    /// Until the feed is dropped.
    pub(super) async fn tell(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut again = tokio::time::interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut waiting = Vec::with_capacity(BATCH);
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut waiting, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.deliver(waiting).await;
                }
                () = shared.owed.notified() => self.pay().await,
                _ = again.tick() => self.pay().await,
            }
        }
    }

    async fn deliver(&self, messages: Vec<Message>) {
        let events: Vec<Event> = messages.iter().filter_map(|message| self.event(&message.revocation)).collect();
        let told = self.append(&events).await;
        // Told where this gateway does not read is told to nobody, as far as it knows.
        let told = match told {
            Ok(Agreed::Yes) => Ok(()),
            Ok(Agreed::No) | Err(Outage) => Err(NotTold),
        };
        let first = messages.iter().map(|message| message.cut).min();
        if let (Err(NotTold), Some(first)) = (told, first) {
            self.shared.owe(Debt::since(first));
        }
        for message in messages {
            // Whoever has gone away needs no answer.
            let _ = message.told.send(told);
        }
    }

    /// Pays a part of what is owed; the rest waits behind those who wait.
    async fn pay(&mut self) {
        let reader = self.shared.server();
        if self.rest.takes(reader.as_deref()) {
            return;
        }
        if self.due.is_empty() {
            let Some(debt) = self.shared.debt.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
            let wanted = |issuer, origin, made| debt.holds(self.shared.is_self_contained(issuer), origin, made);
            let owed = self.shared.ground.cuts.remembered(self.shared.ground.clock.now().wall, wanted);
            self.due = owed.into_iter().filter_map(|cut| self.remembered(cut)).collect();
            if !self.due.is_empty() {
                tracing::info!(cuts = self.due.len(), "telling the other gateways what they may not know");
            }
        }
        let part = self.due.split_off(self.due.len().saturating_sub(BATCH));
        if part.is_empty() {
            return;
        }
        match self.append(&part).await {
            Ok(Agreed::Yes) => {
                self.rest = Rest::default();
                if !self.due.is_empty() {
                    self.shared.owed.notify_one();
                }
            }
            // Tried again after a while.
            Ok(Agreed::No) => {
                self.due.extend(part);
                self.rest.begin(reader);
            }
            Err(Outage) => self.due.extend(part),
        }
    }

    async fn append(&self, events: &[Event]) -> Result<Agreed, Outage> {
        let seal = |event: &Event| self.shared.seal.seal(event, &*self.shared.ground.entropy);
        let sealed: Vec<Vec<u8>> = events.iter().filter_map(seal).collect();
        if sealed.is_empty() {
            return Ok(Agreed::Yes);
        }
        let server = self.valkey.append("cut", &self.shared.stream, self.bounds, &sealed).await?;
        if self.shared.server().is_none_or(|read_from| read_from == server) {
            return Ok(Agreed::Yes);
        }
        self.shared.doubt.notify_one();
        Ok(Agreed::No)
    }

    fn event(&self, revocation: &Revocation) -> Option<Event> {
        let Revocation { issuer, reach, at } = revocation.clone();
        self.remembered(Remembered { issuer, reach: Some(reach), at })
    }

    fn remembered(&self, cut: Remembered) -> Option<Event> {
        let name = self.name(cut.issuer)?;
        Some(Event { node: self.shared.node, issuer: name, reach: cut.reach.into(), at: cut.at.as_millis() })
    }

    fn name(&self, issuer: IssuerId) -> Option<Box<str>> {
        self.shared.name(issuer).map(|name| Box::from(&**name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_rest_longer_each_time_they_are_told_where_nobody_reads_until_the_reader_is_elsewhere() {
        let mut rest = Rest::default();
        assert!(!rest.takes(Some("a")), "nothing was told in vain");
        for turns in [1, 2, 4, 8, 16, 32, 32] {
            rest.begin(Some("a".into()));
            assert!((0..turns).all(|_| rest.takes(Some("a"))), "{turns}");
            assert!(!rest.takes(Some("a")), "{turns}");
        }
        rest.begin(Some("a".into()));
        assert!(!rest.takes(Some("b")) && !rest.takes(Some("b")));
        rest.begin(Some("b".into()));
        assert!(rest.takes(Some("b")) && !rest.takes(Some("b")));
    }

    #[test]
    fn a_debt_holds_what_was_cut_here_and_of_others_only_what_nobody_can_be_asked_about() {
        let (early, late) = (Sequence::default(), {
            let cuts = crate::store::cuts::Cuts::new(AGAIN);
            cuts.publish_everything();
            cuts.sequence()
        });
        let held = |debt: Debt| {
            let mut found = Vec::new();
            for origin in [Origin::Suspicion, Origin::Before, Origin::Others, Origin::Here] {
                for self_contained in [false, true] {
                    for made in [early, late] {
                        if debt.holds(self_contained, origin, made) {
                            found.push((origin, self_contained, made == late));
                        }
                    }
                }
            }
            found
        };
        let here = |late| [(Origin::Here, false, late), (Origin::Here, true, late)];
        assert_eq!(held(Debt::since(late)), here(true));
        assert_eq!(held(Debt::since(late).and(Debt::of_before())).len(), 4);
        assert_eq!(held(Debt::since(late).and(Debt::ours())), held(Debt::ours()));
        assert_eq!(held(Debt::ours()).len(), 4);
        assert_eq!(held(Debt::of_before()), [(Origin::Before, true, false), (Origin::Before, true, true)]);
        assert_eq!(held(Debt::all()).len(), 8);
    }
}
