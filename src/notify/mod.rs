//! Carries one-time codes and questions to people: by a webhook, by a mail server.
//!
//! Imports `model`, `fetch`, `plan` (the carriers) and the messages of `tokens`. A message is taken over at once and delivered in
//! a task of its own on a runtime that no request runs on; it is tried again with longer and longer pauses (`schedule`) while
//! the code that it brings is alive. Deliberately absent: clocks and randomness, which are passed in; metrics, which `app` counts;
//! what a message means.
//!
//! **When a carrier has no room left** its messages are dropped, which the log and a metric tell, and the answer to whoever
//! asked for the code is the usual one. Only messages to accounts that exist are ever sent: an answer that told of the room
//! would tell, to whoever fills it, whose account exists.

mod schedule;
mod smtp;
mod webhook;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::fetch::TrustError;
use crate::model::{Clock, Entropy, Timestamp};
use crate::notify::schedule::Schedule;
use crate::notify::smtp::Mailer;
use crate::notify::webhook::Poster;
use crate::plan::{self, MessageKind};
use crate::tokens::notifier::{Message, Notifier};

/// Messages that one carrier has at once, waiting or on their way; more are dropped.
const ROOM: u32 = 1_000;
/// Tries that one carrier makes at once.
const TURNS: usize = 32;

/// Carries a message.
#[async_trait]
trait Carrier: Send + Sync + fmt::Debug {
    /// Tries once. Over within a bounded time. A message may be tried again although it arrived, under the same id.
    async fn carry(&self, message: &Message, now: Timestamp) -> Result<(), Failure>;
}

/// A try that failed, and why. The reason names no person and no code.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Failure {
    /// Another try may do better.
    Temporary(String),
    /// Another one would fail alike.
    Permanent(String),
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The carrier took it.
    Sent,
    /// The carrier refused it.
    Refused,
    /// It was tried as often as it may be, or as long as its code lived.
    GaveUp,
    /// The carrier had no room left for it.
    Dropped,
    /// No carrier is configured for it.
    NoCarrier,
}

impl Outcome {
    /// The label of the metric.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::GaveUp => "gave-up",
            Self::Dropped => "dropped",
            Self::NoCarrier => "no-carrier",
        }
    }
}

/// Counts. Must not block.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A message of this kind has come to its end.
    fn ended(&self, kind: MessageKind, outcome: Outcome);
}

/// The world outside, as far as carriers need it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for the length of pauses.
    pub entropy: Arc<dyn Entropy>,
    /// Who counts.
    pub observer: Arc<dyn Observer>,
    /// Where messages are delivered; not where requests are served.
    pub runtime: Handle,
}

/// A carrier cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The certificates to trust cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The TLS of the mail server's client refuses.
    #[error("TLS to the mail server cannot be set up: {0}")]
    Smtp(String),
}

/// The configured carriers.
#[derive(Debug)]
pub struct Carriers {
    lines: Lines,
    surroundings: Surroundings,
}

#[derive(Debug)]
struct Lines {
    /// Whatever its list names.
    webhook: Option<(Vec<MessageKind>, Arc<Line>)>,
    /// E-mail.
    smtp: Option<Arc<Line>>,
}

/// A carrier with its bounds. Each has its own, so that one that hangs holds up no other.
#[derive(Debug)]
struct Line {
    carrier: Box<dyn Carrier>,
    schedule: Schedule,
    room: Arc<Semaphore>,
    turns: Semaphore,
}

/// Tries what a start would try, without asking anybody.
///
/// # Errors
/// [`SetupError`].
pub fn prove(plan: &plan::Notifier) -> Result<(), SetupError> {
    Lines::new(Some(plan)).map(drop)
}

impl Carriers {
    /// Sets everything up; connects to nobody yet. Without a plan nothing is carried.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(plan: Option<&plan::Notifier>, surroundings: Surroundings) -> Result<Self, SetupError> {
        Ok(Self { lines: Lines::new(plan)?, surroundings })
    }

    /// Waits until no message is waiting or on its way. What is taken over meanwhile is waited for too.
    pub async fn idle(&self) {
        let lines = self.lines.webhook.iter().map(|(_, line)| line).chain(&self.lines.smtp);
        for line in lines {
            // Never closed, so this ends when every place is free.
            let _all = line.room.acquire_many(ROOM).await;
        }
    }
}

impl Lines {
    fn new(plan: Option<&plan::Notifier>) -> Result<Self, SetupError> {
        let Some(plan) = plan else { return Ok(Self { webhook: None, smtp: None }) };
        let schedule = Schedule::new(plan.attempts);
        let webhook = plan.webhook.as_ref().map(|webhook| {
            let line = Line::new(Box::new(Poster::new(webhook)?), schedule);
            Ok::<_, SetupError>((webhook.carries.as_slice().to_vec(), Arc::new(line)))
        });
        let smtp =
            plan.smtp.as_ref().map(|smtp| Ok::<_, SetupError>(Arc::new(Line::new(Box::new(Mailer::new(smtp)?), schedule))));
        Ok(Self { webhook: webhook.transpose()?, smtp: smtp.transpose()? })
    }

    fn of(&self, kind: MessageKind) -> Option<&Arc<Line>> {
        let smtp = self.smtp.as_ref().filter(|_| kind == MessageKind::Email);
        smtp.or_else(|| self.webhook.as_ref().filter(|(kinds, _)| kinds.contains(&kind)).map(|(_, line)| line))
    }
}

impl Notifier for Carriers {
    fn send(&self, message: Message) {
        let kind = message.content.kind();
        let surroundings = self.surroundings.clone();
        let Some(line) = self.lines.of(kind).cloned() else {
            tracing::warn!(kind = kind.word(), "a message has no carrier and was not sent");
            return surroundings.observer.ended(kind, Outcome::NoCarrier);
        };
        let Ok(place) = Arc::clone(&line.room).try_acquire_owned() else {
            tracing::warn!(kind = kind.word(), "too many messages are waiting; one was dropped");
            return surroundings.observer.ended(kind, Outcome::Dropped);
        };
        self.surroundings.runtime.spawn(async move {
            let outcome = line.deliver(&message, &surroundings).await;
            surroundings.observer.ended(kind, outcome);
            drop(place);
        });
    }
}

impl Line {
    fn new(carrier: Box<dyn Carrier>, schedule: Schedule) -> Self {
        let room = Arc::new(Semaphore::new(usize::try_from(ROOM).unwrap_or(usize::MAX)));
        Self { carrier, schedule, room, turns: Semaphore::new(TURNS) }
    }

    async fn deliver(&self, message: &Message, surroundings: &Surroundings) -> Outcome {
        let (clock, kind, id) = (&surroundings.clock, message.content.kind().word(), &*message.id);
        let mut failed = 0;
        loop {
            let reason = match self.attempt(message, clock.as_ref()).await {
                Ok(()) => return Outcome::Sent,
                Err(Failure::Permanent(reason)) => {
                    tracing::warn!(kind, id, reason, "a message was refused");
                    return Outcome::Refused;
                }
                Err(Failure::Temporary(reason)) => reason,
            };
            failed += 1;
            let left = message.expires.since(clock.now().wall);
            let Some(pause) = self.schedule.pause(failed, left, surroundings.entropy.as_ref()) else {
                tracing::warn!(kind, id, reason, attempts = failed, "a message was given up");
                return Outcome::GaveUp;
            };
            tracing::info!(kind, id, reason, pause_ms = pause.as_millis(), "a message will be tried again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One try, when it is its turn. Nobody holds a turn while pausing.
    async fn attempt(&self, message: &Message, clock: &dyn Clock) -> Result<(), Failure> {
        let _turn = self.turns.acquire().await;
        let now = clock.now().wall;
        if now >= message.expires {
            return Err(Failure::Temporary("its code has expired".to_owned()));
        }
        self.carrier.carry(message, now).await
    }
}

#[cfg(test)]
mod tests;
