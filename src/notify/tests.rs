//! Tests of the delivery, with carriers that do as they are told and a clock that is set by hand.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::*;
use crate::model::{Now, Secret};
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::identifier::{EmailAddress, PhoneNumber};
use crate::tokens::notifier::Content;

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_773_135_165);

fn message(content: Content) -> Message {
    Message { id: "17".into(), account: AccountId(50), expires: NOW.after(Duration::from_mins(5)), content }
}

fn code() -> Secret {
    Secret::new("402913".to_owned())
}

pub(super) fn sms() -> Message {
    message(Content::Sms { to: PhoneNumber::parse("+40711111298").unwrap(), code: code(), language: "ro".into() })
}

pub(super) fn email(to: &str) -> Message {
    message(Content::Email { to: EmailAddress::parse(to).unwrap(), code: code() })
}

pub(super) fn push() -> Message {
    message(Content::Push { channel: Channel::Authy })
}

/// Answers with its list, one after the other, and with success when that is at its end; each try takes so long.
#[derive(Debug)]
struct Scripted {
    answers: Mutex<Vec<Failure>>,
    tries: Arc<AtomicUsize>,
    /// Time passes for whoever tries.
    takes: Duration,
    clock: Arc<HandSet>,
    /// Nobody is answered before this is true.
    open: watch::Receiver<bool>,
}

#[async_trait]
impl Carrier for Scripted {
    async fn carry(&self, _: &Message, _: Timestamp) -> Result<(), Failure> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        self.open.clone().wait_for(|open| *open).await.unwrap();
        self.clock.advance(self.takes);
        self.answers.lock().unwrap().pop().map_or(Ok(()), Err)
    }
}

#[derive(Debug, Default)]
struct HandSet(AtomicI64);

impl HandSet {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandSet {
    fn now(&self) -> Now {
        Now { wall: Timestamp::from_millis(NOW.as_millis() + self.0.load(Ordering::SeqCst)), ..Now::default() }
    }
}

#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[derive(Debug)]
struct Told(UnboundedSender<(MessageKind, Outcome)>);

impl Observer for Told {
    fn ended(&self, kind: MessageKind, outcome: Outcome) {
        self.0.send((kind, outcome)).unwrap();
    }
}

struct World {
    carriers: Carriers,
    outcomes: UnboundedReceiver<(MessageKind, Outcome)>,
    tries: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
}

/// A webhook for text messages that answers like this, and nothing else.
fn world(answers: Vec<Failure>, takes: Duration) -> World {
    let (teller, outcomes) = unbounded_channel();
    let (open, opened) = watch::channel(true);
    let (clock, tries) = (Arc::<HandSet>::default(), Arc::<AtomicUsize>::default());
    let answers = Mutex::new(answers);
    let carrier = Scripted { answers, tries: Arc::clone(&tries), takes, clock: Arc::clone(&clock), open: opened };
    let schedule = Schedule::new(4).beginning_with(Duration::from_millis(1));
    let line = Arc::new(Line::new(Box::new(carrier), schedule));
    let surroundings =
        Surroundings { clock, entropy: Arc::new(Zeros), observer: Arc::new(Told(teller)), runtime: Handle::current() };
    let lines = Lines { webhook: Some((vec![MessageKind::Sms], line)), smtp: None };
    World { carriers: Carriers { lines, surroundings }, outcomes, tries, open }
}

fn temporary() -> Failure {
    Failure::Temporary("it answers 503".to_owned())
}

async fn outcome_of(answers: Vec<Failure>, takes: Duration) -> (Outcome, usize) {
    let mut world = world(answers, takes);
    world.carriers.send(sms());
    let (kind, outcome) = world.outcomes.recv().await.unwrap();
    assert_eq!(kind, MessageKind::Sms);
    (outcome, world.tries.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_message_is_tried_until_it_is_taken_or_refused_or_has_been_tried_often_enough() {
    let refused = Failure::Permanent("it answers 400".to_owned());
    assert_eq!(outcome_of(vec![], Duration::ZERO).await, (Outcome::Sent, 1));
    assert_eq!(outcome_of(vec![temporary(), temporary()], Duration::ZERO).await, (Outcome::Sent, 3));
    assert_eq!(outcome_of(vec![temporary(); 9], Duration::ZERO).await, (Outcome::GaveUp, 4));
    // The last of the list is the first answer.
    assert_eq!(outcome_of(vec![refused, temporary()], Duration::ZERO).await, (Outcome::Refused, 2));
}

#[tokio::test]
async fn a_message_is_not_tried_beyond_the_life_of_its_code() {
    let four_minutes = Duration::from_mins(4);
    assert_eq!(outcome_of(vec![temporary(); 9], four_minutes).await, (Outcome::GaveUp, 2));
    let mut world = world(vec![], Duration::ZERO);
    world.carriers.send(Message { expires: NOW, ..sms() });
    assert_eq!(world.outcomes.recv().await, Some((MessageKind::Sms, Outcome::GaveUp)));
    assert_eq!(world.tries.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_nobody_carries_is_counted() {
    let mut world = world(vec![], Duration::ZERO);
    world.carriers.send(push());
    assert_eq!(world.outcomes.recv().await, Some((MessageKind::Push, Outcome::NoCarrier)));
    world.carriers.send(email("ann@example.com"));
    assert_eq!(world.outcomes.recv().await, Some((MessageKind::Email, Outcome::NoCarrier)));
}

#[tokio::test]
async fn a_carrier_that_hangs_gets_so_many_messages_and_no_more() {
    let mut world = world(vec![], Duration::ZERO);
    world.open.send(false).unwrap();
    for _ in 0..ROOM {
        world.carriers.send(sms());
    }
    world.carriers.send(sms());
    assert_eq!(world.outcomes.recv().await, Some((MessageKind::Sms, Outcome::Dropped)));
    // Everybody who may has begun to try once no task has anything left to do but to wait.
    while world.tries.load(Ordering::SeqCst) < TURNS {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.tries.load(Ordering::SeqCst), TURNS);
    world.open.send(true).unwrap();
    world.carriers.idle().await;
    for _ in 0..ROOM {
        assert_eq!(world.outcomes.recv().await, Some((MessageKind::Sms, Outcome::Sent)));
    }
    world.carriers.send(sms());
    assert_eq!(world.outcomes.recv().await, Some((MessageKind::Sms, Outcome::Sent)));
}
