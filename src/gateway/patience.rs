//! How long an upstream's answer may take to begin, with one timer for all the messages of a connection.
//!
//! A timer for each message would be made and thrown away with nearly every one, since answers mostly come in time. So the timer
//! of an earlier message stays, and is moved only when it runs out before the message that is waited for now. Imports `model`.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::model::Tick;

/// What a connection knows of the answer that it waits for.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// When it runs out, in milliseconds as a [`Tick`]; 0 while nobody waits for an answer.
    due: AtomicU64,
    /// How long it was when the wait began, in milliseconds.
    length: AtomicU64,
    alarm: Option<Alarm>,
}

#[derive(Debug)]
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    due: u64,
}

impl Patience {
    /// Waits for an answer from `now` on, for so long.
    pub(super) fn begin(&self, now: Tick, length: Duration) {
        self.length.store(u64::try_from(length.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.due.store(now.after(length).as_millis().max(1), Ordering::Relaxed);
    }

    /// Waits no more.
    pub(super) fn end(&self) {
        self.due.store(0, Ordering::Relaxed);
    }

    /// Whether somebody waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.due.load(Ordering::Relaxed) != 0
    }

    /// Whether it has run out. If not, the task is woken when it may have.
    pub(super) fn has_run_out(&mut self, cx: &mut Context<'_>) -> bool {
        let due = *self.due.get_mut();
        if due == 0 {
            return false;
        }
        let length = Duration::from_millis(*self.length.get_mut());
        let alarm = self.alarm.get_or_insert_with(|| Alarm { sleep: Box::pin(tokio::time::sleep(length)), due });
        alarm.rings(due, cx)
    }
}

impl Alarm {
    fn rings(&mut self, due: u64, cx: &mut Context<'_>) -> bool {
        if due < self.due {
            self.set(due);
        }
        while self.sleep.as_mut().poll(cx) == Poll::Ready(()) {
            if self.due == due {
                return true;
            }
            self.set(due);
        }
        false
    }

    /// Moves it by as much as the two ends are apart.
    fn set(&mut self, due: u64) {
        let deadline = self.sleep.deadline();
        let moved = match due.checked_sub(self.due) {
            Some(later) => deadline.checked_add(Duration::from_millis(later)),
            None => deadline.checked_sub(Duration::from_millis(self.due - due)),
        };
        self.due = due;
        // What is too far away to be told is as good as where it stands.
        self.sleep.as_mut().reset(moved.unwrap_or(deadline));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Polls at every millisecond from `from` on; at which it ran out, `None` if it did not within so many.
    async fn runs_out(patience: &mut Patience, from: u64, within: u64) -> Option<u64> {
        for now in from..from + within {
            if poll_fn(|cx| Poll::Ready(patience.has_run_out(cx))).await {
                return Some(now);
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        None
    }

    const fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[tokio::test(start_paused = true)]
    async fn it_runs_out_when_it_is_over_and_only_while_somebody_waits() {
        let mut patience = Patience::default();
        assert_eq!(runs_out(&mut patience, 0, 50).await, None);
        patience.begin(Tick::from_millis(50), millis(20));
        assert_eq!(runs_out(&mut patience, 50, 10).await, None);
        patience.end();
        assert_eq!(runs_out(&mut patience, 60, 100).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_messages_each_has_its_own_end_whichever_timer_is_left_over() {
        for lengths in [[100, 30, 200], [10, 500, 20], [50, 50, 50], [300, 200, 100]] {
            let (mut patience, mut now) = (Patience::default(), 1);
            for length in lengths {
                // One that is answered in time, and one that is not.
                patience.begin(Tick::from_millis(now), millis(length));
                assert_eq!(runs_out(&mut patience, now, length / 2).await, None, "{lengths:?}");
                patience.end();
                now += length / 2;
                patience.begin(Tick::from_millis(now), millis(length));
                let end = runs_out(&mut patience, now, 2 * length).await.unwrap();
                // The timer wheel ticks once in a millisecond.
                assert!((now + length..=now + length + 1).contains(&end), "{lengths:?}: {now} + {length}: {end}");
                patience.end();
                now = end;
            }
        }
    }
}
