//! The machine: its clocks and its randomness. The one file that reads them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;

use crate::model::{Clock, Entropy, Now, Secret, Tick, Timestamp};

/// What the monotonic clock shows when it starts: as much as anything is remembered over a restart, so that what happened before
/// it has an instant too.
const HEAD_START: Duration = Duration::from_hours(60 * 24);

/// The machine's clocks.
#[derive(Debug)]
pub(super) struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The monotonic clock starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
    fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall: Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)),
            tick: Tick::default().after(HEAD_START).after(self.started.elapsed()),
        }
    }
}

/// The operating system's generator.
#[derive(Debug)]
pub(super) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // There is no safe way on without randomness: everything that is issued would be guessable.
        if rand::fill(bytes).is_err() {
            std::process::abort();
        }
    }
}

/// An environment variable.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the operator wants logged, if that was said.
pub(super) fn log_filter() -> Option<String> {
    variable("PORTCULLIS_LOG")
}

/// A password that nobody can guess: 24 characters from 64, 144 bits.
#[must_use]
pub fn new_password() -> Secret {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 24];
    SystemEntropy.fill(&mut bytes);
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 64)).map_or('A', |letter| char::from(*letter));
    Secret::new(bytes.iter().map(letter).collect())
}
