//! Until when others are heard: a tick, which runs out by itself.
//!
//! Imports `model`. Whoever hears moves it after each time that all there was has been heard. If that task or thread hangs,
//! nothing moves it, and whoever asks finds it in the past: nothing has to notice that nothing is heard. Deliberately absent:
//! what is done while nothing is heard.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Tick;

/// A tick in milliseconds; the end of time where there are no others.
#[derive(Debug)]
pub struct Hearing(AtomicU64);

impl Default for Hearing {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Hearing {
    /// There are others, of whom nothing has been heard yet.
    pub fn listen(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Whatever others cut until now, or will until `until`, is heard in time.
    pub fn heard(&self, until: Tick) {
        self.0.fetch_max(until.as_millis(), Ordering::AcqRel);
    }

    /// Whether others may have cut something that is not heard in time. Never, if there are no others.
    #[must_use]
    pub fn is_deaf(&self, now: Tick) -> bool {
        now.as_millis() >= self.0.load(Ordering::Acquire)
    }
}
