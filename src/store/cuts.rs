//! Cuts: how a token dies at the gateway the moment its owner logs out.
//!
//! One counter gives every cut a number. Whatever is remembered of a token carries the number that was read *before* it was
//! loaded, and is good only while no cut that applies to it has a higher one. So an introspection that began before a logout
//! can finish after it and be stored: it is recognised as stale at its first use, because the cut came later than its number.
//! A load that begins after the cut is good again, which makes the same tool serve changed state (step-up, a new scope).
//!
//! The commit comes first, then the cut, then the answer to who asked for it; never the reverse.
//!
//! Self-contained tokens (JWTs) are not loaded from anywhere, so for them a cut must go on denying: see [`Cuts::denies`].
//! What other gateways publish is heard ([`Cuts::hear`]). While it cannot be heard, nothing that was loaded from an issuer that
//! can be asked is to be used again: see [`Cuts::is_deaf`]; and of the embedded service nothing, while its database cannot be heard:
//! see [`Cuts::outbox`].
//!
//! Deliberately absent: knowledge of what is remembered, and how others are heard (`store::feed`). Whoever remembers asks here,
//! at every use.

mod hearing;
mod reach;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::model::{IssuerId, Now, PrincipalFacts, Tick, Timestamp};
pub use hearing::Hearing;
pub use reach::{Fingerprint, Reach};

/// Who made a cut. Of a cut that several made, the last of these in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// This gateway, for itself: a suspicion that others need not share.
    Suspicion,
    /// This gateway, before it was started again.
    Before,
    /// Another gateway.
    Others,
    /// This gateway.
    Here,
}

/// A cut that is remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// Whose tokens.
    pub issuer: IssuerId,
    /// Which of them; `None` for all that were issued until then.
    pub reach: Option<Reach>,
    /// When it was made.
    pub at: Timestamp,
}

/// A point in the order of cuts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Sequence(u64);

/// The point up to which something remembered is known to be spared; it only ever moves forward.
#[derive(Debug)]
pub struct Watermark(AtomicU64);

impl Watermark {
    /// At the number that was read before the load.
    #[must_use]
    pub fn at(sequence: Sequence) -> Self {
        Self(AtomicU64::new(sequence.0))
    }

    /// Where it stands.
    #[must_use]
    pub fn level(&self) -> Sequence {
        Sequence(self.0.load(Ordering::Acquire))
    }

    fn rise(&self, to: Sequence) {
        self.0.fetch_max(to.0, Ordering::AcqRel);
    }
}

/// The revocations that this process knows of. Bounded twice: each cut is forgotten after `retention`, when nothing that was
/// loaded before it can be remembered any more, and an issuer with [`Cuts::CAPACITY`] cuts has them folded into one that reaches
/// everything it issued until then. That is harsher than was asked for. Cuts of tokens and sessions, which deny what is issued
/// later too, stay beside it; only if they are more than half of all they are folded as well, and then a JWT of a session that
/// was cut, issued after the fold, passes.
///
/// Suspicions have a room of their own, a quarter as large: whoever can cause them as often as they like pushes out no cut. Too
/// many of them become one of everything that was loaded.
#[derive(Debug)]
pub struct Cuts {
    latest: AtomicU64,
    everything: AtomicU64,
    /// Until when others are heard who publish what they cut.
    others: Hearing,
    /// Until when others are heard who end tokens in the database of the embedded service.
    outbox: Hearing,
    table: RwLock<Table>,
    retention: Duration,
    capacity: usize,
}

/// What has been cut, and what is suspected to have been.
#[derive(Debug, Default)]
struct Table {
    cut: HashMap<IssuerId, Reached>,
    suspected: HashMap<IssuerId, Reached>,
}

impl Table {
    fn of(&self, issuer: IssuerId) -> impl Iterator<Item = &Reached> {
        self.cut.get(&issuer).into_iter().chain(self.suspected.get(&issuer))
    }
}

/// What has been cut of one issuer.
#[derive(Debug, Default)]
struct Reached {
    tokens: HashMap<Fingerprint, Made>,
    sessions: HashMap<Box<str>, Made>,
    subjects: HashMap<Box<str>, Made>,
    clients: HashMap<Box<str>, Made>,
    folded: Option<Made>,
}

/// When a cut was made, and when it can be forgotten.
#[derive(Clone, Copy, Debug)]
struct Made {
    sequence: Sequence,
    wall: Timestamp,
    until: Tick,
    origin: Origin,
}

impl Made {
    /// Two cuts of the same: the wall clock may have been set back between them, which must spare nothing that was cut.
    fn and(self, other: Self) -> Self {
        Self {
            sequence: self.sequence.max(other.sequence),
            wall: self.wall.max(other.wall),
            until: self.until.max(other.until),
            origin: self.origin.max(other.origin),
        }
    }
}

impl Cuts {
    /// How many cuts of one issuer are told apart.
    pub const CAPACITY: usize = 1 << 20;

    /// An empty set. `retention` is at least the longest life of anything remembered plus the longest load: the largest cache
    /// lifetime with its grace, and the largest lifetime of a JWT that must stay denied.
    #[must_use]
    pub fn new(retention: Duration) -> Self {
        Self::with_capacity(retention, Self::CAPACITY)
    }

    pub(crate) fn with_capacity(retention: Duration, capacity: usize) -> Self {
        let (table, others, outbox) = (RwLock::default(), Hearing::default(), Hearing::default());
        Self { latest: AtomicU64::new(0), everything: AtomicU64::new(0), others, outbox, table, retention, capacity }
    }

    /// How long cuts are remembered.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// The number to read before a load begins, and to keep with what it brings.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        Sequence(self.latest.load(Ordering::Acquire))
    }

    /// Cuts whatever of `issuer` is reached. When this returns, no request that begins later is served from anything loaded
    /// before. Its place in the order of cuts.
    pub fn publish(&self, issuer: IssuerId, reach: Reach, now: Now) -> Sequence {
        self.make(issuer, Some(reach), (now.wall, Origin::Here), now.tick.after(self.retention))
    }

    /// As [`Cuts::publish`], of what may have been revoked or not: others are not told of it, and no JWT is denied by it.
    pub fn suspect(&self, issuer: IssuerId, reach: Reach, now: Now) {
        self.make(issuer, Some(reach), (now.wall, Origin::Suspicion), now.tick.after(self.retention));
    }

    /// Cuts what another gateway has cut at `at`, by its clock. It is remembered for as long as one of our own: what it reaches
    /// may have been loaded just now. `None` reaches everything that the issuer issued until then.
    pub fn hear(&self, issuer: IssuerId, reach: Option<Reach>, at: Timestamp, now: Now) {
        self.make(issuer, reach, (at, Origin::Others), now.tick.after(self.retention));
    }

    /// Cuts anew what was cut at `at`, before this process began, for what is left of its retention; nothing if that is over.
    /// A cut from the future, made before the wall clock was set back, is as young as can be. `None` reaches everything that
    /// the issuer issued until then.
    pub fn restore(&self, issuer: IssuerId, reach: Option<Reach>, at: Timestamp, now: Now) {
        let left = self.retention.saturating_sub(now.wall.since(at));
        if !left.is_zero() {
            self.make(issuer, reach, (at, Origin::Before), now.tick.after(left));
        }
    }

    fn make(&self, issuer: IssuerId, reach: Option<Reach>, (wall, origin): (Timestamp, Origin), until: Tick) -> Sequence {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let made = Made { sequence: Sequence(self.sequence().0 + 1), wall, until, origin };
        let (all, capacity) = match origin {
            Origin::Suspicion => (&mut table.suspected, (self.capacity / 4).max(1)),
            Origin::Before | Origin::Others | Origin::Here => (&mut table.cut, self.capacity),
        };
        let reached = all.entry(issuer).or_default();
        if reached.len() >= capacity {
            tracing::warn!(issuer = issuer.0, ?origin, "too many cuts to tell apart: everything issued until now is cut");
            reached.fold(made, capacity / 2);
        }
        reached.insert(reach, made);
        // The table first, the number after it: who reads the new number finds the cut in the table.
        self.latest.store(made.sequence.0, Ordering::Release);
        made.sequence
    }

    /// The cuts that are remembered and wanted, by issuer, who made them, and their place in the order; but for those that were
    /// made longer ago than the retention. They are remembered because they were heard late, and if gateways went on telling
    /// each other of them, they would be for ever.
    #[must_use]
    pub fn remembered(&self, now: Timestamp, wanted: impl Fn(IssuerId, Origin, Sequence) -> bool) -> Vec<Remembered> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let of_issuer = |(issuer, reached): (&IssuerId, &Reached)| {
            let (issuer, wanted) = (*issuer, &wanted);
            let is_young = |made: &Made| now.since(made.wall) < self.retention;
            let found = reached.named().filter(move |(_, made)| is_young(made) && wanted(issuer, made.origin, made.sequence));
            found.map(move |(reach, made)| Remembered { issuer, reach, at: made.wall }).collect::<Vec<_>>()
        };
        table.cut.iter().flat_map(of_issuer).collect()
    }

    /// There are others, of whom nothing has been heard yet.
    pub fn listen(&self) {
        self.others.listen();
    }

    /// Whatever others cut until now, or will until `until`, is heard in time.
    pub fn heard(&self, until: Tick) {
        self.others.heard(until);
    }

    /// Whether others may have cut something that is not heard in time. What was loaded from an issuer that can be asked is
    /// not to be used again then; what is loaded for a request is good for that request. Never, if there are no others.
    #[must_use]
    pub fn is_deaf(&self, now: Tick) -> bool {
        self.others.is_deaf(now)
    }

    /// The same of who ends tokens of the embedded service in the database that gateways share: of its tokens nothing that is
    /// remembered is to be used while it is deaf.
    #[must_use]
    pub fn outbox(&self) -> &Hearing {
        &self.outbox
    }

    /// Cuts everything that was loaded, after a gap in which cuts may have been missed. JWTs are loaded from nowhere: what
    /// was missed of them must be published again one by one.
    pub fn publish_everything(&self) {
        let _table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.sequence().0 + 1;
        self.everything.store(sequence, Ordering::Release);
        self.latest.store(sequence, Ordering::Release);
    }

    /// Whether what was loaded at `mark` or checked up to it is still good. If so the mark rises, so that the next check
    /// costs one atomic read unless there was another cut in between.
    #[must_use]
    pub fn spare(&self, facts: &PrincipalFacts, token: Fingerprint, mark: &Watermark) -> bool {
        let (latest, loaded) = (self.sequence(), mark.level());
        if loaded >= latest {
            return true;
        }
        if self.everything.load(Ordering::Acquire) > loaded.0 {
            return false;
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let later = |made: &Made| made.sequence > loaded;
        if table.of(facts.issuer).any(|reached| reached.lasting(facts, token).chain(reached.dated(facts)).any(later)) {
            return false;
        }
        mark.rise(latest);
        true
    }

    /// Whether a self-contained token was cut: by its fingerprint, its session, or its subject or client if it was issued
    /// before that. `iat` is in whole seconds, so a token issued in the very second of the cut is denied too, and so is one
    /// that does not say when it was issued.
    #[must_use]
    pub fn denies(&self, facts: &PrincipalFacts, token: Fingerprint) -> bool {
        let issued_later = |made: &Made| facts.issued_at.is_some_and(|issued| issued.as_secs() > made.wall.as_secs());
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.cut.get(&facts.issuer).is_some_and(|reached| {
            reached.lasting(facts, token).next().is_some() || reached.dated(facts).any(|made| !issued_later(made))
        })
    }

    /// Forgets the cuts that nothing remembered can be older than. Called about once a minute.
    pub fn forget_old(&self, now: Tick) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let Table { cut, suspected } = &mut *table;
        for all in [cut, suspected] {
            all.retain(|_, reached| {
                reached.retain(|made| now < made.until);
                reached.len() > 0
            });
        }
    }

    /// How many cuts are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.cut.values().chain(table.suspected.values()).map(Reached::len).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Reached {
    fn insert(&mut self, reach: Option<Reach>, made: Made) {
        fn put<K: Eq + Hash>(cuts: &mut HashMap<K, Made>, key: K, made: Made) {
            cuts.entry(key).and_modify(|known| *known = known.and(made)).or_insert(made);
        }
        match reach {
            Some(Reach::Token(token)) => put(&mut self.tokens, token, made),
            Some(Reach::Session(session)) => put(&mut self.sessions, session, made),
            Some(Reach::Subject(subject)) => put(&mut self.subjects, subject, made),
            Some(Reach::Client(client)) => put(&mut self.clients, client, made),
            None => self.folded = Some(self.folded.map_or(made, |known| known.and(made))),
        }
    }

    /// Puts one cut of everything in the place of all; but for the lasting ones, if they are no more than this.
    fn fold(&mut self, made: Made, most: usize) {
        let (mut tokens, mut sessions) = (HashMap::new(), HashMap::new());
        if self.tokens.len() + self.sessions.len() <= most {
            (tokens, sessions) = (std::mem::take(&mut self.tokens), std::mem::take(&mut self.sessions));
        }
        let folded = self.all().fold(made, |all, cut| all.and(*cut));
        *self = Self { tokens, sessions, folded: Some(folded), ..Self::default() };
    }

    /// All of them, each with what it reaches.
    fn named(&self) -> impl Iterator<Item = (Option<Reach>, &Made)> {
        let tokens = self.tokens.iter().map(|(token, made)| (Some(Reach::Token(*token)), made));
        let sessions = self.sessions.iter().map(|(name, made)| (Some(Reach::Session(name.clone())), made));
        let subjects = self.subjects.iter().map(|(name, made)| (Some(Reach::Subject(name.clone())), made));
        let clients = self.clients.iter().map(|(name, made)| (Some(Reach::Client(name.clone())), made));
        tokens.chain(sessions).chain(subjects).chain(clients).chain(self.folded.iter().map(|made| (None, made)))
    }

    fn all(&self) -> impl Iterator<Item = &Made> {
        let named = self.sessions.values().chain(self.subjects.values()).chain(self.clients.values());
        self.tokens.values().chain(named).chain(&self.folded)
    }

    /// The cuts after which no token that they reach is good again.
    fn lasting(&self, facts: &PrincipalFacts, token: Fingerprint) -> impl Iterator<Item = &Made> {
        self.tokens.get(&token).into_iter().chain(named(&self.sessions, facts.session.as_deref()))
    }

    /// The cuts that reach only what was issued before them.
    fn dated(&self, facts: &PrincipalFacts) -> impl Iterator<Item = &Made> {
        let subject = named(&self.subjects, facts.subject.as_deref());
        subject.into_iter().chain(named(&self.clients, facts.client.as_deref())).chain(&self.folded)
    }

    fn retain(&mut self, keep: impl Fn(&Made) -> bool) {
        fn sweep<K: Eq + Hash>(cuts: &mut HashMap<K, Made>, keep: impl Fn(&Made) -> bool) {
            cuts.retain(|_, made| keep(made));
            // A burst of cuts must not hold its memory for ever.
            if cuts.capacity() > 4 * cuts.len() {
                cuts.shrink_to(2 * cuts.len());
            }
        }
        sweep(&mut self.tokens, &keep);
        sweep(&mut self.sessions, &keep);
        sweep(&mut self.subjects, &keep);
        sweep(&mut self.clients, &keep);
        self.folded = self.folded.filter(&keep);
    }

    fn len(&self) -> usize {
        let named = self.sessions.len() + self.subjects.len() + self.clients.len();
        self.tokens.len() + named + usize::from(self.folded.is_some())
    }
}

fn named<'a>(cuts: &'a HashMap<Box<str>, Made>, name: Option<&str>) -> Option<&'a Made> {
    name.and_then(|name| cuts.get(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ISSUER: IssuerId = IssuerId(3);
    const TOKEN: Fingerprint = Fingerprint([7; 32]);
    const HOUR: Duration = Duration::from_hours(1);

    fn at(secs: u64) -> Now {
        Now { wall: Timestamp::from_secs(i64::try_from(secs).unwrap()), tick: Tick::from_millis(secs * 1000) }
    }

    fn facts() -> PrincipalFacts {
        let text = |text: &str| Some(text.into());
        PrincipalFacts {
            subject: text("ann"),
            client: text("shop"),
            session: text("s1"),
            issued_at: Some(Timestamp::from_secs(100)),
            ..PrincipalFacts::of_issuer(ISSUER)
        }
    }

    fn every_reach() -> [Reach; 4] {
        [Reach::Token(TOKEN), Reach::Session("s1".into()), Reach::Subject("ann".into()), Reach::Client("shop".into())]
    }

    #[test]
    fn whatever_began_to_load_before_a_cut_is_cut_and_what_began_after_it_is_good() {
        for reach in every_reach() {
            let cuts = Cuts::new(HOUR);
            let before = Watermark::at(cuts.sequence());
            cuts.publish(ISSUER, reach.clone(), at(100));
            assert!(!cuts.spare(&facts(), TOKEN, &before), "{reach:?}");
            assert!(cuts.spare(&facts(), TOKEN, &Watermark::at(cuts.sequence())), "{reach:?}");
        }
    }

    #[test]
    fn a_cut_reaches_neither_other_names_nor_other_issuers() {
        let cuts = Cuts::new(HOUR);
        let mark = Watermark::at(cuts.sequence());
        cuts.publish(ISSUER, Reach::Token(Fingerprint([8; 32])), at(100));
        for name in ["bob", "s2", "web"] {
            cuts.publish(ISSUER, Reach::Session(name.into()), at(100));
            cuts.publish(ISSUER, Reach::Subject(name.into()), at(100));
            cuts.publish(ISSUER, Reach::Client(name.into()), at(100));
        }
        for reach in every_reach() {
            cuts.publish(IssuerId(4), reach, at(100));
        }
        assert!(cuts.spare(&facts(), TOKEN, &mark));
        assert!(!cuts.denies(&facts(), TOKEN));
        assert_eq!(mark.level(), cuts.sequence());
    }

    #[test]
    fn after_a_gap_everything_is_loaded_anew() {
        let cuts = Cuts::new(HOUR);
        let mark = Watermark::at(cuts.sequence());
        cuts.publish_everything();
        assert!(!cuts.spare(&facts(), TOKEN, &mark));
        assert!(cuts.spare(&facts(), TOKEN, &Watermark::at(cuts.sequence())));
    }

    #[test]
    fn a_jwt_stays_denied_by_its_token_or_session_and_by_its_subject_if_it_is_not_younger() {
        let issued = |secs: i64| PrincipalFacts { issued_at: Some(Timestamp::from_secs(secs)), ..facts() };
        for reach in every_reach() {
            let cuts = Cuts::new(HOUR);
            let by_time = matches!(reach, Reach::Subject(_) | Reach::Client(_));
            cuts.publish(ISSUER, reach, at(100));
            assert!(cuts.denies(&issued(99), TOKEN));
            assert!(cuts.denies(&issued(100), TOKEN));
            assert!(cuts.denies(&PrincipalFacts { issued_at: None, ..facts() }, TOKEN));
            assert_eq!(cuts.denies(&issued(101), TOKEN), !by_time);
        }
    }

    #[test]
    fn a_cut_is_forgotten_after_its_retention_and_not_before() {
        let cuts = Cuts::new(HOUR);
        for reach in every_reach() {
            cuts.publish(ISSUER, reach, at(100));
        }
        cuts.forget_old(at(100 + 3599).tick);
        assert_eq!(cuts.len(), 4);
        cuts.forget_old(at(100 + 3600).tick);
        assert!(cuts.is_empty());
    }

    #[test]
    fn cuts_beyond_the_capacity_are_folded_into_one_that_reaches_all_of_the_issuer() {
        let cuts = Cuts::with_capacity(HOUR, 3);
        let mark = Watermark::at(cuts.sequence());
        for name in ["a", "b", "c", "d"] {
            cuts.publish(ISSUER, Reach::Session(name.into()), at(100));
        }
        assert_eq!(cuts.len(), 2);
        assert!(!cuts.spare(&facts(), TOKEN, &mark));
        assert!(cuts.denies(&facts(), TOKEN));
        let younger = PrincipalFacts { issued_at: Some(Timestamp::from_secs(101)), ..facts() };
        assert!(!cuts.denies(&younger, TOKEN));
        let other = PrincipalFacts { issuer: IssuerId(4), ..facts() };
        assert!(!cuts.denies(&other, TOKEN));
    }

    /// What can be cut: of few names, so that the same is cut more than once.
    fn reaches() -> impl Strategy<Value = Reach> {
        (0_u8..4, 0_u8..6).prop_map(|(kind, name)| match kind {
            0 => Reach::Token(Fingerprint([name % 3; 32])),
            1 => Reach::Session((name % 3).to_string().into()),
            2 => Reach::Subject(name.to_string().into()),
            _ => Reach::Client(name.to_string().into()),
        })
    }

    proptest! {
        #[test]
        fn a_table_that_is_full_is_never_milder_and_suspicions_fold_no_cut(
            steps in proptest::collection::vec((reaches(), any::<bool>()), 1..80),
            names in proptest::array::uniform3(0_u8..6),
            token in 0_u8..6,
            issued in 100_i64..190,
            seen in 0_usize..80,
        ) {
            // Eighteen can be told apart, six of them lasting.
            let (full, whole, ample) =
                (Cuts::with_capacity(HOUR, 12), Cuts::with_capacity(HOUR, 200), Cuts::with_capacity(HOUR, 19));
            let [subject, client, session] = names.map(|name| Some(name.to_string().into()));
            let facts = PrincipalFacts {
                subject, client, session, issued_at: Some(Timestamp::from_secs(issued)), ..PrincipalFacts::of_issuer(ISSUER)
            };
            let token = Fingerprint([token; 32]);
            let all = [&full, &whole, &ample];
            let mut marks = all.map(|cuts| Watermark::at(cuts.sequence()));
            for (step, (reach, suspected)) in steps.into_iter().enumerate() {
                let now = at(100 + step as u64);
                for (cuts, mark) in all.iter().zip(&mut marks) {
                    if step == seen {
                        *mark = Watermark::at(cuts.sequence());
                    }
                    if suspected {
                        cuts.suspect(ISSUER, reach.clone(), now);
                    } else {
                        cuts.publish(ISSUER, reach.clone(), now);
                    }
                }
            }
            let denied = all.map(|cuts| cuts.denies(&facts, token));
            prop_assert!(denied[0] || !denied[1], "the full one is milder");
            prop_assert_eq!(denied[2], denied[1], "what is suspected takes no room from what is cut");
            let spared = [0, 1, 2].map(|which: usize| all[which].spare(&facts, token, &marks[which]));
            prop_assert!(!spared[0] && !spared[2] || spared[1], "something that was cut is served");
        }
    }

    #[test]
    fn a_flood_of_suspicions_denies_nothing_and_leaves_the_cuts_as_they_were() {
        let cuts = Cuts::with_capacity(HOUR, 16);
        cuts.publish(ISSUER, Reach::Session("other".into()), at(100));
        let mark = Watermark::at(cuts.sequence());
        for name in 0..100_u8 {
            cuts.suspect(ISSUER, Reach::Token(Fingerprint([name; 32])), at(100));
        }
        assert!(cuts.len() <= 1 + 5, "they are bounded");
        assert!(!cuts.denies(&facts(), TOKEN));
        assert!(!cuts.spare(&facts(), TOKEN, &mark), "it is asked about again");
        assert!(cuts.spare(&facts(), TOKEN, &Watermark::at(cuts.sequence())));
        let told = cuts.remembered(at(100).wall, |_, origin, _| origin == Origin::Here);
        assert_eq!(told.into_iter().map(|cut| cut.reach).collect::<Vec<_>>(), [Some(Reach::Session("other".into()))]);
    }

    #[test]
    fn a_session_that_was_cut_stays_cut_when_the_subjects_are_too_many() {
        let cuts = Cuts::with_capacity(HOUR, 10);
        cuts.publish(ISSUER, Reach::Session("s1".into()), at(100));
        for name in 0..100_u8 {
            cuts.publish(ISSUER, Reach::Subject(name.to_string().into()), at(100));
        }
        assert!(cuts.len() <= 10);
        let younger = PrincipalFacts { issued_at: Some(Timestamp::from_secs(101)), ..facts() };
        assert!(cuts.denies(&younger, TOKEN));
        assert!(!cuts.denies(&PrincipalFacts { session: Some("s2".into()), ..younger }, TOKEN));
    }

    #[test]
    fn a_restored_cut_denies_what_it_denied_for_what_is_left_of_its_retention() {
        for reach in every_reach() {
            let (before, after) = (Cuts::new(HOUR), Cuts::new(HOUR));
            before.publish(ISSUER, reach.clone(), at(100));
            // The process that restores it began 40 minutes later; its monotonic clock begins at nothing.
            let began = Now { wall: at(2500).wall, tick: Tick::from_millis(0) };
            after.restore(ISSUER, Some(reach), at(100).wall, began);
            for issued in [None, Some(99), Some(100), Some(101)] {
                let facts = PrincipalFacts { issued_at: issued.map(Timestamp::from_secs), ..facts() };
                assert_eq!(before.denies(&facts, TOKEN), after.denies(&facts, TOKEN), "{issued:?}");
            }
            after.forget_old(Tick::from_millis(1_199_999));
            assert!(after.denies(&facts(), TOKEN));
            after.forget_old(Tick::from_millis(1_200_000));
            assert!(after.is_empty());
        }
    }

    #[test]
    fn a_cut_whose_retention_is_over_is_not_restored_and_one_from_the_future_is_kept_the_longest() {
        let cuts = Cuts::new(HOUR);
        let now = Now { wall: at(5000).wall, tick: Tick::from_millis(0) };
        cuts.restore(ISSUER, Some(Reach::Token(TOKEN)), at(1400).wall, now);
        assert!(cuts.is_empty());
        cuts.restore(ISSUER, Some(Reach::Subject("ann".into())), at(9000).wall, now);
        let issued = |secs: i64| PrincipalFacts { issued_at: Some(Timestamp::from_secs(secs)), ..facts() };
        cuts.forget_old(Tick::from_millis(3_599_999));
        assert!(cuts.denies(&issued(9000), TOKEN) && !cuts.denies(&issued(9001), TOKEN));
        cuts.forget_old(Tick::from_millis(3_600_000));
        assert!(cuts.is_empty());
    }

    #[test]
    fn a_second_cut_by_a_clock_that_was_set_back_does_not_soften_the_first() {
        let issued = |secs: i64| PrincipalFacts { issued_at: Some(Timestamp::from_secs(secs)), ..facts() };
        let later = |tick: u64, wall: i64| Now { wall: Timestamp::from_secs(wall), tick: Tick::from_millis(tick) };
        let cuts = Cuts::new(HOUR);
        cuts.publish(ISSUER, Reach::Subject("ann".into()), later(0, 100));
        cuts.publish(ISSUER, Reach::Subject("ann".into()), later(1000, 50));
        assert!(cuts.denies(&issued(100), TOKEN));
        let full = Cuts::with_capacity(HOUR, 1);
        full.publish(ISSUER, Reach::Subject("ann".into()), later(0, 100));
        full.publish(ISSUER, Reach::Subject("bob".into()), later(1000, 50));
        assert!(full.denies(&issued(100), TOKEN), "folded");
    }

    #[test]
    fn everything_that_was_cut_of_an_issuer_is_restored_as_such() {
        let cuts = Cuts::new(HOUR);
        cuts.restore(ISSUER, None, at(100).wall, at(200));
        assert!(cuts.denies(&facts(), TOKEN));
        assert!(!cuts.denies(&PrincipalFacts { issued_at: Some(Timestamp::from_secs(101)), ..facts() }, TOKEN));
    }

    #[test]
    fn what_others_cut_reaches_what_was_loaded_before_it_was_heard_however_old_it_is() {
        for reach in every_reach() {
            let cuts = Cuts::new(HOUR);
            let before = Watermark::at(cuts.sequence());
            cuts.hear(ISSUER, Some(reach.clone()), at(100).wall, at(90_000));
            assert!(!cuts.spare(&facts(), TOKEN, &before), "{reach:?}");
            assert!(cuts.spare(&facts(), TOKEN, &Watermark::at(cuts.sequence())), "{reach:?}");
            assert!(cuts.denies(&facts(), TOKEN), "{reach:?}");
            cuts.forget_old(at(90_000 + 3_599).tick);
            assert!(!cuts.spare(&facts(), TOKEN, &before), "{reach:?} is remembered from when it was heard");
        }
    }

    #[test]
    fn others_are_heard_until_it_was_said_and_always_where_there_are_none() {
        let cuts = Cuts::new(HOUR);
        assert!(!cuts.is_deaf(Tick::from_millis(u64::MAX - 1)));
        cuts.listen();
        assert!(cuts.is_deaf(Tick::from_millis(0)), "nothing has been heard yet");
        cuts.heard(Tick::from_millis(10));
        cuts.heard(Tick::from_millis(5));
        assert!(!cuts.is_deaf(Tick::from_millis(9)) && cuts.is_deaf(Tick::from_millis(10)));
    }

    #[test]
    fn what_is_remembered_is_found_again_by_who_made_it() {
        let cuts = Cuts::new(HOUR);
        cuts.restore(ISSUER, Some(Reach::Session("s1".into())), at(10).wall, at(100));
        cuts.hear(ISSUER, Some(Reach::Subject("ann".into())), at(20).wall, at(100));
        cuts.hear(ISSUER, None, at(30).wall, at(100));
        let first = cuts.publish(ISSUER, Reach::Client("shop".into()), at(100));
        let second = cuts.publish(ISSUER, Reach::Token(TOKEN), at(100));
        let found = |from: Origin, since: Sequence| {
            let mut found =
                cuts.remembered(at(100).wall, |issuer, origin, made| issuer == ISSUER && origin == from && made >= since);
            found.sort_by_key(|cut| (cut.at, cut.reach.is_some()));
            found.into_iter().map(|cut| (cut.reach, cut.at.as_secs())).collect::<Vec<_>>()
        };
        let start = Sequence::default();
        assert_eq!(found(Origin::Before, start), [(Some(Reach::Session("s1".into())), 10)]);
        assert_eq!(found(Origin::Others, start), [(Some(Reach::Subject("ann".into())), 20), (None, 30)]);
        assert_eq!(found(Origin::Here, first).len(), 2);
        assert_eq!(found(Origin::Here, second), [(Some(Reach::Token(TOKEN)), 100)]);
        // What was made longer ago than it counts is told to nobody again, however lately it was heard.
        assert_eq!(cuts.remembered(at(10 + 3599).wall, |_, origin, _| origin == Origin::Before).len(), 1);
        assert_eq!(cuts.remembered(at(10 + 3600).wall, |_, origin, _| origin == Origin::Before).len(), 0);
        // Whoever cuts the same here later is who made it.
        cuts.publish(ISSUER, Reach::Session("s1".into()), at(100));
        assert_eq!(found(Origin::Before, start), []);
    }

    #[test]
    fn a_fingerprint_prints_a_short_prefix_only() {
        assert_eq!(format!("{:?}", Fingerprint::of("abc")), "Fingerprint(ba7816bf…)");
    }
}
