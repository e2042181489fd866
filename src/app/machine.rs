//! The machine: its clocks and its randomness. The one file that reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;

use crate::model::{Clock, Entropy, Now, Secret, Tick, Timestamp};

/// What the monotonic clock shows when it starts: as much as anything is remembered over a restart, so that what happened before
/// it has an instant too.
const HEAD_START: Duration = Duration::from_hours(60 * 24);

/// The machine's clocks.
#[derive(Debug)]
pub(super) struct SystemClock {
    started: Duration,
    since_boot: fn() -> Duration,
}

impl SystemClock {
    /// The monotonic clock starts now.
    pub(super) fn start() -> Self {
        Self::by(since_boot)
    }

    fn by(since_boot: fn() -> Duration) -> Self {
        Self { started: since_boot(), since_boot }
    }
}

/// How long this machine has been on, whether it slept or not: what was revoked elsewhere while it slept has not been heard here,
/// so all that is trusted for a while has to grow old meanwhile. The monotonic clock that `Instant` shows stands still then.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    match clock_gettime(ClockId::CLOCK_BOOTTIME) {
        Ok(time) => time.into(),
        // There is no safe way on without a clock: nothing would ever grow old. Every Linux since 2.6.39 has this one.
        Err(_) => std::process::abort(),
    }
}

/// The same, but for the time that the machine slept.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
fn since_boot() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
    fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall: Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)),
            tick: Tick::default().after(HEAD_START).after((self.since_boot)().saturating_sub(self.started)),
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static ON_FOR: Cell<Duration> = const { Cell::new(Duration::from_hours(5)) };
    }

    #[test]
    fn ticks_go_on_while_the_machine_sleeps() {
        let clock = SystemClock::by(|| ON_FOR.get());
        assert_eq!(clock.now().tick, Tick::default().after(HEAD_START));
        ON_FOR.set(Duration::from_hours(13));
        assert_eq!(clock.now().tick, Tick::default().after(HEAD_START).after(Duration::from_hours(8)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_clock_is_the_one_that_counts_sleep() {
        use nix::time::{ClockId, clock_gettime};
        let read = || Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap());
        let (before, shown, after) = (read(), since_boot(), read());
        assert!(before <= shown && shown <= after, "{before:?} {shown:?} {after:?}");
    }
}
