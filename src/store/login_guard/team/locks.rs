//! The locks of a guard that gateways share, as an operator lists and clears them.
//!
//! Imports as the parent. Deliberately absent: who may ask (`admin`).

use crate::model::Now;
use crate::rules::login_budget::{Budget, Closed, Kept};
use crate::store::login_guard::locks::{Remainder, position};
use crate::store::login_guard::memory::CounterName;
use crate::store::login_guard::shared::PAGE;
use crate::store::login_guard::team::{Team, lock};
use crate::store::valkey::Outage;

/// Locks that are cleared in one go, and how often that is done for one operator.
const AT_ONCE: usize = 200;
const CLEARED_AT_MOST: usize = 50;

impl Team {
    /// At most `limit` of the counters that admit nobody for now and are meant, the first in the order of their positions.
    pub(in crate::store::login_guard) async fn closed(
        &self,
        means: impl Fn(&CounterName) -> bool,
        limit: usize,
    ) -> Result<Vec<(CounterName, Closed)>, Outage> {
        let mut found = Vec::new();
        for from in (0..).step_by(PAGE) {
            let page = self.shared.locks(&self.terms, from).await?;
            let is_last = page.len() < PAGE;
            found.extend(page.into_iter().filter(|(name, _)| means(name)).map(|(name, left)| (position(&name), name, left)));
            found.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
            found.truncate(limit);
            if is_last {
                break;
            }
        }
        let names: Vec<CounterName> = found.iter().map(|(_, name, _)| *name).collect();
        let said = self.shared.show(&self.terms, &names).await?;
        let left = found.into_iter().map(|(_, _, left)| left);
        Ok(self
            .stood(&names, &said.counters)
            .zip(left)
            // Of a window its counter tells no more than the latest; the list says too much where the clock went back.
            .filter_map(|((name, closed), left)| closed.map(|closed| (name, Closed { left: left.min(closed.left), ..closed })))
            .collect())
    }

    /// Has those that are meant forget what they have counted; how they stood.
    pub(in crate::store::login_guard) async fn clear(
        &self,
        means: impl Fn(&CounterName) -> bool,
    ) -> (Vec<(CounterName, Closed)>, Remainder) {
        let mut cleared = Vec::new();
        // What is cleared is gone from the list. Whoever comes in between is cleared too, so rounds are bounded.
        for _ in 0..CLEARED_AT_MOST {
            match self.clear_some(&means, &mut cleared).await {
                Ok(true) => {}
                Ok(false) => return (cleared, Remainder::Nothing),
                Err(Outage) => return (cleared, Remainder::Unknown),
            }
        }
        (cleared, Remainder::More)
    }

    /// Whether there were any.
    async fn clear_some(
        &self,
        means: &impl Fn(&CounterName) -> bool,
        cleared: &mut Vec<(CounterName, Closed)>,
    ) -> Result<bool, Outage> {
        let found = self.closed(means, AT_ONCE).await?;
        let names: Vec<CounterName> = found.iter().map(|(name, _)| *name).collect();
        if names.is_empty() {
            return Ok(false);
        }
        let pardoned = self.shared.pardon(&self.terms, &names).await;
        // Where the answer is lost they may be cleared all the same, and are told of as if they were.
        cleared.extend(found);
        lock(&self.believed).clear();
        pardoned.map(|_| true)
    }

    fn stood<'a>(
        &'a self,
        names: &'a [CounterName],
        counters: &'a [Kept],
    ) -> impl Iterator<Item = (CounterName, Option<Closed>)> + 'a {
        let Now { tick, .. } = self.clock.now();
        names.iter().zip(counters).map(move |(name, kept)| {
            let rule = self.terms.rule_of(name);
            (*name, Budget::restored(&rule, kept, tick).closed(&rule, tick))
        })
    }
}
