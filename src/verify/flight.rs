//! Single flight: however many requests need the answer to one question, it is asked once.
//!
//! Imports `model` and the neighbours' cache. The load runs in a task of its own, so that a request that goes away strands
//! nobody. Deliberately absent: what is loaded, and whether what landed is still good; who waited must check that, because a
//! cut may have come while it was in the air.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{Denial, Tick};
use crate::verify::authority::Unavailable;
use crate::verify::cache::{Began, Digest, Entry};

/// What a load brought.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The token is active.
    Active(Arc<Entry>),
    /// It is of no use here.
    Inactive,
    /// There is no answer.
    Unavailable(Unavailable),
}

/// The loads of one issuer that are in the air.
#[derive(Debug)]
pub(crate) struct Flights {
    air: Mutex<Air>,
    most: usize,
}

#[derive(Debug, Default)]
struct Air {
    flights: HashMap<Digest, Flight>,
    /// Loads under way, including those that a younger one has taken the place of.
    under_way: usize,
    taken_off: u64,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    tick: Tick,
    landing: watch::Receiver<Option<Outcome>>,
}

/// What became of the wish to know.
#[derive(Debug)]
pub(crate) enum Boarding {
    /// It was known after all.
    Known(Outcome),
    /// Somebody is asking already.
    Joined(Landing),
    /// The caller is to ask, and to land the ticket; then everybody has the answer.
    Leads(Ticket, Landing),
    /// The caller may not begin one.
    Denied(Denial),
    /// As many loads are under way as may be.
    Full,
}

/// Where to wait for the answer.
#[derive(Debug)]
pub(crate) struct Landing(watch::Receiver<Option<Outcome>>);

/// The right and the duty to load. Dropped without landing, it tells everybody who waits that the question was lost.
#[derive(Debug)]
pub(crate) struct Ticket {
    flights: Arc<Flights>,
    digest: Digest,
    number: u64,
    began: Began,
    tower: watch::Sender<Option<Outcome>>,
}

impl Flights {
    /// How many loads of one issuer may be under way at once.
    pub(crate) const MOST: usize = 1024;

    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { air: Mutex::default(), most })
    }

    /// Joins the load of `digest` if one younger than `limit` is in the air, or else begins one if `permit` allows it.
    ///
    /// `known` is asked under the lock, after every landed load has been remembered: between a first look at the cache and
    /// this one a load may have landed, and without the second look it would be made again.
    pub(crate) fn board(
        self: &Arc<Self>,
        digest: Digest,
        (now, limit): (Tick, Duration),
        known: impl FnOnce() -> Option<Outcome>,
        permit: impl FnOnce() -> Result<Began, Denial>,
    ) -> Boarding {
        let mut air = self.air();
        if let Some(outcome) = known() {
            return Boarding::Known(outcome);
        }
        if let Some(flight) = air.flights.get(&digest)
            && now.since(flight.tick) < limit
        {
            return Boarding::Joined(Landing(flight.landing.clone()));
        }
        if air.under_way >= self.most {
            return Boarding::Full;
        }
        let began = match permit() {
            Ok(began) => began,
            Err(denial) => return Boarding::Denied(denial),
        };
        air.under_way += 1;
        air.taken_off += 1;
        let number = air.taken_off;
        let (tower, landing) = watch::channel(None);
        air.flights.insert(digest, Flight { number, tick: began.tick, landing: landing.clone() });
        Boarding::Leads(Ticket { flights: Arc::clone(self), digest, number, began, tower }, Landing(landing))
    }

    fn air(&self) -> MutexGuard<'_, Air> {
        self.air.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// When the load began. What it brings is judged by this.
    pub(crate) fn began(&self) -> Began {
        self.began
    }

    /// Tells everybody who waits. Whatever is to be remembered has been remembered before.
    pub(crate) fn land(self, outcome: Outcome) {
        let tower = self.tower.clone();
        // The flight ends (in `drop`) before the news: nobody joins what has landed.
        drop(self);
        tower.send_replace(Some(outcome));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut air = self.flights.air();
        air.under_way = air.under_way.saturating_sub(1);
        if air.flights.get(&self.digest).is_some_and(|flight| flight.number == self.number) {
            air.flights.remove(&self.digest);
        }
    }
}

impl Landing {
    /// Waits for the answer.
    pub(crate) async fn wait(mut self) -> Outcome {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Outcome::Unavailable(Unavailable::Lost)),
            Err(_) => Outcome::Unavailable(Unavailable::Lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cuts::Sequence;
    use crate::verify::cache::KeyedHash;
    use crate::verify::fixture::Counting;

    const NOW: Tick = Tick::from_millis(1000);
    const LONG: Duration = Duration::from_mins(1);

    fn digest() -> Digest {
        KeyedHash::new(&Counting).digest(b"token")
    }

    fn board(flights: &Arc<Flights>, limit: Duration) -> Boarding {
        let permit = || Ok(Began { sequence: Sequence::default(), tick: NOW });
        flights.board(digest(), (NOW, limit), || None, permit)
    }

    fn lead(flights: &Arc<Flights>, limit: Duration) -> (Ticket, Landing) {
        let Boarding::Leads(ticket, landing) = board(flights, limit) else { panic!("nothing to join") };
        (ticket, landing)
    }

    #[tokio::test]
    async fn who_joins_hears_what_the_leader_lands() {
        let flights = Flights::new(1);
        let (ticket, leader) = lead(&flights, LONG);
        let Boarding::Joined(joiner) = board(&flights, LONG) else { panic!("there is one to join") };
        ticket.land(Outcome::Inactive);
        assert!(matches!(leader.wait().await, Outcome::Inactive));
        assert!(matches!(joiner.wait().await, Outcome::Inactive));
        drop(lead(&flights, LONG));
    }

    #[tokio::test]
    async fn a_dropped_ticket_is_a_lost_question_and_makes_room() {
        let flights = Flights::new(1);
        let (ticket, landing) = lead(&flights, LONG);
        drop(ticket);
        assert!(matches!(landing.wait().await, Outcome::Unavailable(Unavailable::Lost)));
        drop(lead(&flights, LONG));
    }

    #[test]
    fn a_load_that_lands_late_takes_nothing_from_the_younger_one_in_its_place() {
        let flights = Flights::new(2);
        let (older, _landing) = lead(&flights, Duration::ZERO);
        let (_younger, _other) = lead(&flights, Duration::ZERO);
        older.land(Outcome::Inactive);
        assert!(matches!(board(&flights, LONG), Boarding::Joined(_)));
    }

    #[test]
    fn loads_that_were_replaced_count_until_they_land() {
        let flights = Flights::new(2);
        let older = lead(&flights, Duration::ZERO);
        let _younger = lead(&flights, Duration::ZERO);
        assert!(matches!(board(&flights, Duration::ZERO), Boarding::Full));
        drop(older);
        assert!(matches!(board(&flights, Duration::ZERO), Boarding::Leads(..)));
    }

    #[test]
    fn who_may_not_ask_may_still_join() {
        let flights = Flights::new(2);
        let denial = Denial::LimitReached(LONG);
        let denied = || Err(denial.clone());
        let refused = flights.board(digest(), (NOW, LONG), || None, denied);
        assert!(matches!(refused, Boarding::Denied(_)));
        let _leader = lead(&flights, LONG);
        let joined = flights.board(digest(), (NOW, LONG), || None, denied);
        assert!(matches!(joined, Boarding::Joined(_)));
    }
}
