//! A feed over two servers, as there are while one takes the place of the other.

use super::*;
use crate::model::{Now, PrincipalFacts, Timestamp};
use crate::store::cuts::Fingerprint;
use crate::store::valkey::tests::{connect, runtime, servers, terms};

const ISSUER: IssuerId = IssuerId(1);

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now { wall: Timestamp::from_secs(1_000_000), tick: Tick::from_millis(1_000_000) }
    }
}

#[derive(Debug)]
struct Same;

impl Entropy for Same {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

#[derive(Debug)]
struct Nobody;

impl Listener for Nobody {
    fn heard(&self, _: Option<&Reach>) {}
    fn missed(&self, _: &'static str) {}
    fn not_kept(&self) {}
}

/// A guard against hanging, never a measure.
const GUARD: Duration = Duration::from_mins(1);

/// A gateway that tells one server and reads from another.
async fn apart(told: &servers::Valkey, read: &servers::Valkey) -> (Arc<Cuts>, Feed) {
    let cuts = Arc::new(Cuts::new(Duration::from_hours(1)));
    let ground = Ground {
        cuts: Arc::clone(&cuts),
        ledger: None,
        clock: Arc::new(Still),
        entropy: Arc::new(Same),
        witness: Arc::new(Nobody),
    };
    let issuers = HashMap::from([(Arc::from("main"), (ISSUER, true))]);
    let between = Terms { issuers, trust: Duration::from_secs(1) };
    let feed = Feed::start(&connect(told).await, &terms(&[read]), between, ground).unwrap();
    (cuts, feed)
}

async fn revoke(cuts: &Cuts, feed: &Feed, session: &str) -> Result<(), NotTold> {
    let (reach, now) = (Reach::Session(session.into()), Still.now());
    let cut = cuts.publish(ISSUER, reach.clone(), now);
    feed.tell(Revocation { issuer: ISSUER, reach, at: now.wall }, cut).await
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let pause = Duration::from_millis(5);
    for _ in 0..GUARD.as_millis() / pause.as_millis() {
        if so() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
    panic!("never {what}");
}

#[test]
fn what_was_told_where_this_gateway_does_not_read_is_not_told() {
    let (Some(old), Some(new)) = (servers::Valkey::start(), servers::Valkey::start()) else { return };
    runtime().block_on(async {
        let (cuts, feed) = apart(&old, &new).await;
        assert!(feed.up_to_date(GUARD).await);
        assert_eq!(revoke(&cuts, &feed, "s").await, Err(NotTold));
        assert!(old.ask::<u64>(&["XLEN", "test:cuts"]) >= 1, "it was told all the same");
        let (cuts, feed) = apart(&new, &new).await;
        assert!(feed.up_to_date(GUARD).await);
        assert_eq!(revoke(&cuts, &feed, "s").await, Ok(()));
    });
}

#[test]
fn what_was_told_before_the_first_word_from_the_store_is_told_again_after_it() {
    let (Some(old), Some(mut new)) = (servers::Valkey::start(), servers::Valkey::start()) else { return };
    new.kill();
    runtime().block_on(async {
        let (cuts, feed) = apart(&old, &new).await;
        assert_eq!(revoke(&cuts, &feed, "s").await, Ok(()), "nobody knows of another server yet");
        assert_eq!(old.ask::<u64>(&["XLEN", "test:cuts"]), 1);
        new.start_again();
        assert!(feed.up_to_date(GUARD).await);
        until("told again", || old.ask::<u64>(&["XLEN", "test:cuts"]) > 1).await;
    });
}

#[test]
fn a_server_whose_clock_is_ahead_has_no_jwt_of_later_denied() {
    let Some(server) = servers::Valkey::start() else { return };
    let in_two_hours = format!("{}-0", (Still.now().wall.as_secs() + 7_200) * 1_000);
    server.ask::<String>(&["XADD", "test:cuts", &in_two_hours, "before", "0-0", "event", "written by nobody who may"]);
    runtime().block_on(async {
        let (cuts, feed) = apart(&server, &server).await;
        assert!(feed.up_to_date(GUARD).await);
        let issued = |minutes: u64| PrincipalFacts {
            issued_at: Some(Still.now().wall.after(Duration::from_mins(minutes))),
            ..PrincipalFacts::of_issuer(ISSUER)
        };
        let denied = [0, 1, 2, 119].map(|minutes| cuts.denies(&issued(minutes), Fingerprint([7; 32])));
        assert_eq!(denied, [true, true, false, false]);
    });
}
