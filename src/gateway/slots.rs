//! How many connections there may be at once: over all clients, and from one source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::SourceKey;

/// The connections that are open. Bounded by the total.
#[derive(Debug)]
pub(super) struct Slots {
    total: usize,
    per_source: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_source: HashMap<SourceKey, usize>,
}

/// A place among the open connections, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    source: SourceKey,
}

impl Slots {
    /// None open, at most this many.
    pub(super) fn new(total: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self { total, per_source, open: Mutex::default() })
    }

    /// A place for one more connection from `source`; `None` if there is none left for it.
    pub(super) fn take(self: &Arc<Self>, source: SourceKey) -> Option<Slot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.by_source.get(&source).copied().unwrap_or(0);
        if open.total >= self.total || here >= self.per_source {
            return None;
        }
        open.total += 1;
        open.by_source.insert(source, here + 1);
        Some(Slot { slots: Arc::clone(self), source })
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        match open.by_source.get_mut(&self.source) {
            Some(here) if *here > 1 => *here -= 1,
            Some(_) | None => drop(open.by_source.remove(&self.source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Source;

    #[test]
    fn one_source_cannot_take_all_places_and_a_place_comes_back_when_it_is_dropped() {
        let source = |text: &str| Source::new(text.parse().unwrap()).key();
        let slots = Slots::new(3, 2);
        let first = slots.take(source("10.0.0.1"));
        let _second = slots.take(source("10.0.0.1"));
        assert!(first.is_some() && slots.take(source("10.0.0.1")).is_none());
        let _third = slots.take(source("10.0.0.2"));
        assert!(slots.take(source("10.0.0.3")).is_none());
        drop(first);
        assert_eq!(slots.open(), 2);
        assert!(slots.take(source("10.0.0.1")).is_some());
    }
}
